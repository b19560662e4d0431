//! `hermake stop`.

use anyhow::{Result, bail};

use super::args::Stop;
use crate::config::Kind;
use crate::engine::{Engine, Options};
use crate::report::Say;

pub(super) fn stop(args: &Stop) -> Result<u8> {
    let say = Say::new(false, false);
    let engine = Engine::open(&super::root()?, Options::default(), say, false)?;
    let wanted: Vec<usize> = if args.all {
        (0..engine.graph.tasks.len()).collect()
    } else {
        super::find(&engine, &args.tasks)?
    };
    // what depends on another service goes first
    let order = engine.closure(&wanted);
    for index in order.into_iter().rev().filter(|i| wanted.contains(i)) {
        let task = engine.task(index);
        match &task.kind {
            Kind::Service(service) => {
                if engine.stop(task, service)? {
                    say.note(&task.name, "stopped");
                }
            }
            _ if args.all => {}
            _ => bail!("`{}` is no service", task.name),
        }
    }
    Ok(0)
}

//! `hermake check`.

use anyhow::Result;

use super::args::Check;
use crate::engine::determinism::Verdict;
use crate::engine::{Engine, Options};
use crate::exec::signals;
use crate::report::Say;

pub(super) fn check(args: &Check) -> Result<u8> {
    signals::install()?;
    let say = Say::new(false, false);
    let engine = Engine::open(&super::root()?, Options::default(), say, true)?;
    let wanted: Vec<usize> = if args.tasks.is_empty() {
        (0..engine.graph.tasks.len()).collect()
    } else {
        super::find(&engine, &args.tasks)?
    };
    let mut code = 0;
    for index in wanted {
        let task = engine.task(index);
        let verdict = if task.in_place() {
            engine.check(task)?
        } else {
            let before: Vec<usize> = task.needs.iter().chain(&task.after).copied().collect();
            if let Some(error) = engine.walk(&before)?.errors.pop() {
                return Err(error);
            }
            engine.check(task)?
        };
        let text = match verdict {
            Verdict::Same => "deterministic".to_owned(),
            Verdict::Not(why) => format!("not checked ({why})"),
            Verdict::Differs(what) => {
                code = super::FAILED;
                format!("NOT deterministic: {what}")
            }
        };
        super::print(&format!("{}: {text}\n", task.name))?;
    }
    Ok(code)
}

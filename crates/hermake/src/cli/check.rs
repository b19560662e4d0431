//! `hermake check`.

use anyhow::Result;

use super::args::Check;
use crate::config::Task;
use crate::engine::determinism::Verdict;
use crate::engine::runner::Failed;
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
        let text = match checked(&engine, task) {
            Ok(verdict) => {
                if matches!(verdict, Verdict::Differs(_)) && task.nondeterministic.is_none() {
                    code = super::FAILED;
                }
                told(&verdict, task.nondeterministic.as_deref())
            }
            Err(e) if signals::interrupted() => return Err(e),
            // others are checked all the same
            Err(e) if e.downcast_ref::<Failed>().is_some() => {
                super::complain(&e);
                code = super::FAILED;
                "failed".to_owned()
            }
            Err(e) => return Err(e),
        };
        super::print(&format!("{}: {text}\n", task.name))?;
    }
    Ok(code)
}

/// The verdict, beside what the task file says.
fn told(verdict: &Verdict, said: Option<&str>) -> String {
    match (verdict, said) {
        (Verdict::Same, None) => "deterministic".to_owned(),
        (Verdict::Same, Some(why)) => {
            format!("the same twice, though its task file says it needn't be: {why}")
        }
        (Verdict::Differs(what), None) => format!("NOT deterministic: {what}"),
        (Verdict::Differs(what), Some(why)) => {
            format!("not deterministic, as its task file says: {why} ({what})")
        }
        (Verdict::Not(why), None) => format!("not checked ({why})"),
        (Verdict::Not(_), Some(why)) => format!("not checked, as its task file says: {why}"),
    }
}

fn checked(engine: &Engine, task: &Task) -> Result<Verdict> {
    if !task.in_place() {
        let before: Vec<usize> = task.needs.iter().chain(&task.after).copied().collect();
        if let Some(error) = engine.walk(&before)?.errors.pop() {
            return Err(error);
        }
    }
    engine.check(task)
}

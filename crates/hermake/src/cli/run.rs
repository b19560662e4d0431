//! `hermake run`.

use anyhow::{Context, Result};

use super::args::Run;
use super::{FAILED, INTERRUPTED, WRONG};
use crate::engine::runner::Failed;
use crate::engine::walk::was_interrupted;
use crate::engine::{Engine, Options, Outcome};
use crate::exec::signals;
use crate::makeflags::MakeFlags;
use crate::report::{Say, voice};

/// `options` with those of the Make that started us.
pub(super) fn from_make(options: &Options) -> Options {
    let make = MakeFlags::here();
    Options {
        dry: options.dry || make.dry,
        question: options.question || make.question,
        silent: options.silent || make.silent,
        force: options.force || make.force,
        keep_going: options.keep_going || make.keep_going,
        verbose: options.verbose,
        group: options.group || make.group,
        jobs: options.jobs,
    }
}

fn open(options: Options) -> Result<Engine> {
    let say = Say {
        group: options.group,
        ..Say::new(options.verbose, options.silent)
    };
    let write = !options.dry && !options.question;
    signals::install()?;
    let root = super::root()?;
    if write {
        voice::share(root.join("build/.hermake/output.lock"));
    }
    std::env::set_current_dir(&root).with_context(|| format!("changing to {}", root.display()))?;
    Engine::open(&root, options, say, write)
}

/// One task, as rules of Make call it.
pub(super) fn leaf(name: &str, options: Options) -> Result<u8> {
    let question = options.question;
    let engine = open(options)?;
    let index = super::find_one(&engine, name)?;
    let outcome = engine.leaf(index)?;
    engine.tidy();
    Ok(u8::from(question && outcome == Outcome::Would))
}

/// As typed by a person.
pub(super) fn run(run: &Run) -> Result<u8> {
    let options = from_make(&Options {
        force: run.force,
        dry: run.dry,
        question: run.question,
        keep_going: run.keep_going,
        verbose: run.verbose,
        silent: run.silent,
        group: run.group,
        jobs: run.jobs,
    });
    if let Some(name) = &run.leaf {
        return leaf(name, options);
    }
    let question = options.question;
    let engine = open(options)?;
    let wanted = if run.tasks.is_empty() {
        (0..engine.graph.tasks.len()).collect()
    } else {
        super::find(&engine, &run.tasks)?
    };
    let summary = engine.walk(&wanted)?;
    engine.tidy();
    let mut code = u8::from(question && summary.would > 0);
    for error in &summary.errors {
        super::complain(error);
        code = match code {
            _ if was_interrupted(error) => INTERRUPTED,
            WRONG | INTERRUPTED => code,
            _ if error.downcast_ref::<Failed>().is_some() => FAILED,
            _ => WRONG,
        };
    }
    if signals::interrupted() {
        code = INTERRUPTED;
    }
    Ok(code)
}

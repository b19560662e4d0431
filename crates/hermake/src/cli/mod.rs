//! Arguments as typed, and what each command does.
//!
//! Exit codes: 0 all is well, 1 a task failed (or `-q`: something would run), 2 the command line,
//! a task file or the machine is at fault, 130 interrupted.

mod args;
mod check;
mod color;
mod complete;
mod follow;
mod gc;
mod graph;
mod log;
mod man;
mod mk;
mod run;
mod schema;
mod stats;
mod status;
mod stop;
mod svg;
mod trace;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use crate::config::graph::find_root;
use crate::engine::{Engine, Options};
use crate::report::Say;
use args::{Args, Command};

/// A task failed.
const FAILED: u8 = 1;
/// Something else is wrong.
const WRONG: u8 = 2;
/// A signal asked us to stop.
const INTERRUPTED: u8 = 130;

/// Runs the command line; gives the exit code.
pub fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    if words
        .first()
        .is_some_and(|w| w == crate::exec::sandbox::init::WORD)
    {
        return crate::exec::sandbox::init::main(&words[1..]);
    }
    // the way Make calls us, once per target: spared the parser of arguments
    let done = if let [run, leaf, task] = words.as_slice()
        && run == "run"
        && leaf == "--leaf"
        && task.to_str().is_some_and(|t| !t.starts_with('-'))
    {
        run::leaf(
            task.to_str().unwrap_or(""),
            run::from_make(&Options::default()),
        )
    } else {
        complete::answer();
        command(Args::parse())
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(e) if crate::engine::walk::was_interrupted(&e) => {
            complain(&e);
            ExitCode::from(INTERRUPTED)
        }
        Err(e) if e.downcast_ref::<crate::engine::runner::Failed>().is_some() => {
            complain(&e);
            ExitCode::from(FAILED)
        }
        Err(e) if broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            complain(&e);
            ExitCode::from(WRONG)
        }
    }
}

fn broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

fn complain(error: &anyhow::Error) {
    // in one piece: errors of parallel tasks don't mix
    crate::report::voice::speak(&format!("hermake: {error:#}\n"));
}

fn command(args: Args) -> Result<u8> {
    if let Some(dir) = &args.directory {
        std::env::set_current_dir(dir).with_context(|| format!("changing to {}", dir.display()))?;
    }
    match args.command {
        Command::Run(run) => run::run(&run),
        Command::Mk(mk) => mk::mk(mk.out.as_deref(), args.directory.is_some()),
        Command::Log(log) => log::log(&log),
        Command::Why(why) => why::why(&why),
        Command::Status(status) => status::status(&status),
        Command::Graph(graph) => graph::graph(&graph),
        Command::Gc(gc) => gc::gc(&gc),
        Command::Verify(verify) => gc::verify(&verify),
        Command::Check(check) => check::check(&check),
        Command::Stop(stop) => stop::stop(&stop),
        Command::Trace(trace) => trace::trace(&trace),
        Command::Stats(stats) => stats::stats(&stats),
        Command::Schema(schema) => schema::schema(&schema),
        Command::Completion(completion) => complete::script(&completion),
        Command::Man(man) => man::man(&man),
    }
}

/// The project's root.
fn root() -> Result<PathBuf> {
    find_root(&std::env::current_dir().context("the current folder")?)
}

/// An engine that only answers.
fn reader() -> Result<Engine> {
    Engine::open(&root()?, Options::default(), Say::default(), false)
}

/// The indices of tasks called `names`.
fn find(engine: &Engine, names: &[String]) -> Result<Vec<usize>> {
    names.iter().map(|name| find_one(engine, name)).collect()
}

fn find_one(engine: &Engine, name: &str) -> Result<usize> {
    engine.graph.find(name).with_context(|| {
        let names = engine.graph.tasks.iter().map(|t| t.name.as_str());
        match crate::config::source::nearest(name, names) {
            Some(near) => format!("there is no task `{name}`; did you mean `{near}`?"),
            None => format!("there is no task `{name}`: `hermake status` lists them"),
        }
    })
}

/// Writes an answer as JSON.
fn print_json(answer: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(answer).context("encoding the answer")?;
    print(&(text + "\n"))
}

/// An answer as one line of JSON.
fn json_line(answer: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(answer).context("encoding the answer")
}

/// Writes data to standard output.
fn print(text: &str) -> Result<()> {
    use std::io::Write as _;
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

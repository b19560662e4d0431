//! Shell completion: commands, options, and the project's tasks. The shell asks this program itself, so that the
//! answer is never out of date.

use std::ffi::OsStr;
use std::io::IsTerminal as _;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::CompletionCandidate;
use clap_complete::env::{CompleteEnv, Shells};

use super::args::{Args, Completion};
use crate::config::Graph;

/// The variable by which a shell asks.
const ASKED: &str = "HERMAKE_COMPLETE";

/// Answers a shell that asks, and ends; else does nothing.
pub(super) fn answer() {
    if std::env::var_os(ASKED).is_some() {
        CompleteEnv::with_factory(Args::command)
            .var(ASKED)
            .complete();
    }
}

/// Names of tasks that begin with `word`.
pub(super) fn tasks(word: &OsStr) -> Vec<CompletionCandidate> {
    let graph = super::root().and_then(|root| Graph::open(&root, false));
    let word = word.to_string_lossy();
    let tasks = graph.map(|g| g.tasks).unwrap_or_default();
    tasks
        .into_iter()
        .filter(|t| t.name.starts_with(word.as_ref()))
        .map(|t| CompletionCandidate::new(t.name).help((!t.doc.is_empty()).then(|| t.doc.into())))
        .collect()
}

/// Prints the script that makes a shell ask.
pub(super) fn script(args: &Completion) -> Result<u8> {
    let shells = Shells::builtins();
    let shell = shells.completer(&args.shell).with_context(|| {
        let known: Vec<_> = shells.names().collect();
        format!("no shell `{}`: known are {}", args.shell, known.join(", "))
    })?;
    let mut script = Vec::new();
    shell
        .write_registration(ASKED, "hermake", "hermake", "hermake", &mut script)
        .context("writing the script")?;
    if std::io::stdout().is_terminal() {
        eprintln!(
            "# for your shell's start-up file: source <(hermake completion {})",
            args.shell
        );
    }
    super::print(&String::from_utf8_lossy(&script))?;
    Ok(0)
}

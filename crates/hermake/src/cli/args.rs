//! The command line as typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::ArgValueCompleter;

/// What stands below the help, and in the manual page.
const AFTER: &str = "\
Exit status: 0 all is well; 1 a task failed, or with -q something would run, or verify or check found something; \
2 the command line, a task file or the machine is at fault; 130 interrupted.

Environment: NO_COLOR turns colours off; XDG_CACHE_HOME is where results are kept; \
under Make, MAKEFLAGS gives -n, -q, -s, -B, -k and -O.";

/// Runs tasks whose inputs changed, and only those.
///
/// Task files are in tasks/*.toml; what can be set for the whole project is in hermake.toml.
#[derive(Debug, Parser)]
#[command(name = "hermake", version, after_help = AFTER)]
pub(super) struct Args {
    /// Work in this folder
    #[arg(short = 'C', long, value_name = "DIR", global = true)]
    pub(super) directory: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Bring tasks and all that they need up to date
    Run(Run),
    /// Write the rules that a Makefile includes
    Mk(Mk),
    /// Show what tasks printed
    Log(Log),
    /// Show why a task would run, or why it ran last
    Why(Why),
    /// List tasks and whether they are up to date
    Status(Status),
    /// Show how tasks depend on each other
    Graph(Graph),
    /// Remove results that are over the limits
    Gc(Gc),
    /// Read the whole store and find what is damaged
    Verify(Verify),
    /// Run tasks twice and compare: are they deterministic?
    ///
    /// Tasks that run in the checkout itself, services and downloads are not run. A task that says in its task file
    /// why it is not deterministic may differ.
    Check(Check),
    /// Stop services
    Stop(Stop),
    /// Write a run as a Chrome trace, for ui.perfetto.dev
    Trace(Trace),
    /// Show what costs time, what the store saves and why tasks run
    Stats(Stats),
    /// Print the JSON Schema of a file that people write, or of what --json prints
    Schema(Schema),
    /// Print a script that completes commands, options and tasks
    Completion(Completion),
    /// Print the manual page, or write those of all commands to a folder
    Man(Man),
}

#[derive(Debug, clap::Args)]
pub(super) struct Trace {
    /// This run; the last one if none is named
    pub(super) run: Option<String>,
    /// Write here instead of to standard output
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Stats {
    /// Only what began since then, like 7d
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<String>,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Schema {
    /// Of what; without it their names are listed
    #[arg(value_enum)]
    pub(super) of: Option<Of>,
    /// Write all of them to this folder
    #[arg(long, value_name = "DIR", conflicts_with = "of")]
    pub(super) out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Of {
    /// Task files, `tasks/*.toml`
    Tasks,
    /// hermake.toml
    Project,
    /// `hermake status --json`
    Status,
    /// `hermake why --json`
    Why,
    /// A line of `hermake log --json`
    Log,
    /// A line of `hermake log --json --task …`
    LogLine,
    /// A line of `hermake log --json --grep …`
    LogHit,
    /// `hermake graph --form json`
    Graph,
    /// `hermake stats --json`
    Stats,
    /// `hermake verify --json`
    Verify,
}

#[derive(Debug, clap::Args)]
pub(super) struct Completion {
    /// bash, zsh, fish, elvish or powershell
    pub(super) shell: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// Write hermake.1, hermake-run.1 and so on to this folder
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one option of the command line"
)]
pub(super) struct Run {
    /// Tasks; all if none is named
    #[arg(add = ArgValueCompleter::new(super::complete::tasks))]
    pub(super) tasks: Vec<String>,
    /// Only this task: what it needs is up to date (this is what rules of `hermake mk` call)
    #[arg(long, value_name = "TASK", conflicts_with = "tasks", add = ArgValueCompleter::new(super::complete::tasks))]
    pub(super) leaf: Option<String>,
    /// Tasks at a time
    #[arg(short, long, value_name = "N")]
    pub(super) jobs: Option<usize>,
    /// Run even if up to date
    #[arg(short = 'B', long)]
    pub(super) force: bool,
    /// Say what would run, and why; change nothing
    #[arg(short = 'n', long = "dry-run")]
    pub(super) dry: bool,
    /// Only answer by the exit status whether something would run
    #[arg(short, long)]
    pub(super) question: bool,
    /// Go on with what doesn't depend on a failed task
    #[arg(short, long)]
    pub(super) keep_going: bool,
    /// Tell of hits too, and show all that tasks print
    #[arg(short, long)]
    pub(super) verbose: bool,
    /// Tell of failures only
    #[arg(short, long)]
    pub(super) silent: bool,
    /// Show what a task prints in one piece, when it is done (under Make, its -O does the same)
    #[arg(short, long)]
    pub(super) group: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Mk {
    /// Write here instead of build/tasks.mk, and print nothing
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one option of the command line"
)]
pub(super) struct Log {
    /// Show what this task printed last
    #[arg(short, long, value_name = "TASK", add = ArgValueCompleter::new(super::complete::tasks))]
    pub(super) task: Option<String>,
    /// Only this run
    #[arg(long, value_name = "RUN")]
    pub(super) run: Option<String>,
    /// Only the last run
    #[arg(long)]
    pub(super) last: bool,
    /// A line for each run instead of for each task
    #[arg(long, conflicts_with_all = ["task", "grep", "follow", "json"])]
    pub(super) runs: bool,
    /// Only what failed
    #[arg(long)]
    pub(super) failed: bool,
    /// Only what began since then, like 2h
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<String>,
    /// Only lines that contain this, of all selected logs
    #[arg(long, value_name = "TEXT")]
    pub(super) grep: Option<String>,
    /// Only standard error
    #[arg(long)]
    pub(super) stderr: bool,
    /// Go on showing what is added
    #[arg(short, long)]
    pub(super) follow: bool,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Why {
    /// The task
    #[arg(add = ArgValueCompleter::new(super::complete::tasks))]
    pub(super) task: String,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Status {
    /// Tasks; all if none is named
    #[arg(add = ArgValueCompleter::new(super::complete::tasks))]
    pub(super) tasks: Vec<String>,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Form {
    /// A text tree with the state of each task
    Tree,
    /// For Graphviz
    Dot,
    /// For Markdown
    Mermaid,
    /// JSON
    Json,
    /// A picture
    Svg,
}

#[derive(Debug, clap::Args)]
pub(super) struct Graph {
    /// Tasks; all if none is named
    #[arg(add = ArgValueCompleter::new(super::complete::tasks))]
    pub(super) tasks: Vec<String>,
    /// Form of the output
    #[arg(long, value_enum, default_value = "tree")]
    pub(super) form: Form,
}

#[derive(Debug, clap::Args)]
pub(super) struct Gc {
    /// Only say what would go, and why
    #[arg(short = 'n', long)]
    pub(super) dry_run: bool,
    /// Instead of the project's limit, like 5GiB
    #[arg(long, value_name = "SIZE")]
    pub(super) size: Option<String>,
    /// Instead of the project's limit, like 30d
    #[arg(long, value_name = "TIME")]
    pub(super) age: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// Remove what is damaged: it is made again when needed
    #[arg(long)]
    pub(super) remove: bool,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Stop {
    /// Services
    #[arg(required_unless_present = "all", add = ArgValueCompleter::new(super::complete::tasks))]
    pub(super) tasks: Vec<String>,
    /// All services, dependants first
    #[arg(long, conflicts_with = "tasks")]
    pub(super) all: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// Tasks; all if none is named
    #[arg(add = ArgValueCompleter::new(super::complete::tasks))]
    pub(super) tasks: Vec<String>,
    /// All tasks
    #[arg(long, conflicts_with = "tasks")]
    pub(super) all: bool,
}

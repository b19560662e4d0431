//! `lab config`: the resolved files, one a consumer, so that a change to one
//! key of `lab.toml` reaches only the tasks that use it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::model::{Auto, Install, Lab, Network, Server, Target};
use crate::fsutil;
use crate::host::{Backend, Distribution, Host, capacity};

/// Options of `lab config`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

/// What to do with the configuration.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Check lab.toml and write it with defaults filled in, one file a consumer.
    Resolve(ResolveArgs),
    /// Check lab.toml, and say whether its machines fit into this host.
    Check(CheckArgs),
}

/// Options of `lab config resolve`.
#[derive(Debug, clap::Args)]
pub struct ResolveArgs {
    /// Name of the lab.
    #[arg(long, value_name = "NAME", default_value = "lab")]
    lab: String,
    /// What the user edits.
    #[arg(long = "in", value_name = "FILE", default_value = "lab.toml")]
    input: PathBuf,
    /// What this host was found to be.
    #[arg(long, value_name = "FILE", default_value = "build/host.toml")]
    host: PathBuf,
    /// Folder for the resolved files.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Options of `lab config check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// What the user edits.
    #[arg(long = "in", value_name = "FILE", default_value = "lab.toml")]
    input: PathBuf,
}

/// Runs the subcommand.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Resolve(args) => {
            let host = Host::load(&args.host)?;
            let auto = Auto {
                backend: host.network.backend,
                distribution: host.distribution,
            };
            let lab = read(&args.input, &args.lab, auto)?;
            Resolved::new(&args.out).write(&lab)
        }
        Command::Check(args) => {
            // What `auto` means has no part in whether the file is good.
            let auto = Auto {
                backend: Backend::Hub,
                distribution: Distribution::Debian,
            };
            let lab = read(&args.input, "lab", auto)?;
            if let Some(note) = capacity::note(&lab) {
                eprint!("{note}");
            }
            Ok(())
        }
    }
}

fn read(path: &Path, name: &str, auto: Auto) -> anyhow::Result<Lab> {
    let text =
        fs_err::read_to_string(path).context("lab.toml is the file that describes the lab")?;
    // an empty path is the working directory as well
    let project = path.parent();
    let file = path.display().to_string();
    Ok(Lab::parse_in(project, &text, &file, name, auto)?)
}

/// A folder with resolved files.
#[derive(Debug, Clone)]
pub struct Resolved {
    dir: PathBuf,
}

impl Resolved {
    /// The resolved files in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Writes all of `lab`; files of targets that are gone are deleted.
    pub fn write(&self, lab: &Lab) -> anyhow::Result<()> {
        fs_err::create_dir_all(&self.dir)?;
        self.put("network.toml", &lab.network)?;
        self.put("server.toml", &lab.server)?;
        self.put("install.toml", &lab.install)?;
        for target in &lab.targets {
            self.put(&format!("target-{}.toml", target.name), target)?;
        }
        for name in self.target_names()? {
            if !lab.targets.iter().any(|target| target.name == name) {
                fs_err::remove_file(self.dir.join(format!("target-{name}.toml")))?;
            }
        }
        Ok(())
    }

    /// The lab segment.
    pub fn network(&self) -> anyhow::Result<Network> {
        self.get("network.toml")
    }

    /// The server VM.
    pub fn server(&self) -> anyhow::Result<Server> {
        self.get("server.toml")
    }

    /// How and what to install.
    pub fn install(&self) -> anyhow::Result<Install> {
        self.get("install.toml")
    }

    /// One target.
    pub fn target(&self, name: &str) -> anyhow::Result<Target> {
        let file = format!("target-{name}.toml");
        if !self.dir.join(&file).exists() {
            let known = self.target_names()?.join(", ");
            anyhow::bail!("no target is called {name:?}; lab.toml lists: {known}");
        }
        self.get(&file)
    }

    /// Whether it is the server or a target of lab.toml; else an error that lists
    /// those. A lab that was never configured knows nobody, which others say.
    pub fn machine(&self, name: &str) -> anyhow::Result<()> {
        if name == "server" || !self.dir.exists() {
            return Ok(());
        }
        self.target(name).map(drop)
    }

    /// All targets, by name.
    pub fn targets(&self) -> anyhow::Result<Vec<Target>> {
        self.target_names()?
            .iter()
            .map(|name| self.target(name))
            .collect()
    }

    /// The targets' names, sorted.
    pub fn target_names(&self) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs_err::read_dir(&self.dir)? {
            let file = entry?.file_name();
            let name = file
                .to_str()
                .and_then(|file| file.strip_prefix("target-"))
                .and_then(|file| file.strip_suffix(".toml"));
            names.extend(name.map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    fn put(&self, file: &str, value: &impl Serialize) -> anyhow::Result<()> {
        let text = toml::to_string(value).with_context(|| format!("cannot write {file}"))?;
        fsutil::write_if_changed(&self.dir.join(file), text.as_bytes(), 0o644).map(drop)
    }

    fn get<T: DeserializeOwned>(&self, file: &str) -> anyhow::Result<T> {
        let path = self.dir.join(file);
        let text = fs_err::read_to_string(&path)
            .context("the resolved configuration is missing; `lab config resolve` writes it")?;
        toml::from_str(&text).with_context(|| {
            format!(
                "{} is not what `lab config resolve` writes; delete it and run that again",
                path.display()
            )
        })
    }
}

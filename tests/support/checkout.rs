//! A copy of the repository's files, with a lab in it.

use std::io::{Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fs_err as fs;

use crate::Outcome;

/// How long something that will be said may take.
const SAID: Duration = Duration::from_secs(180);

/// What `make` has built or found already and need not again.
const TAKEN_ALONG: &[&str] = &["build/bin", "build/host-packages"];

/// A checkout of its own: what a test edits in it is nobody else's.
#[derive(Debug)]
pub struct Checkout {
    dir: tempfile::TempDir,
}

impl Checkout {
    /// Copies the files that git knows from the repository around this package.
    pub fn new() -> anyhow::Result<Self> {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("the repository around tests/")?;
        let dir = tempfile::Builder::new().prefix("lab-e2e-").tempdir()?;
        let list = Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(repository)
            .output()
            .context("starting git")?;
        anyhow::ensure!(list.status.success(), "git ls-files failed");
        let checkout = Self { dir };
        for file in String::from_utf8(list.stdout)?.split_terminator('\0') {
            copy(&repository.join(file), &checkout.path(file))?;
        }
        for path in TAKEN_ALONG {
            copy(&repository.join(path), &checkout.path(path))?;
        }
        Ok(checkout)
    }

    /// A file of the checkout.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    /// The text of a file of the checkout.
    pub fn read(&self, file: &str) -> anyhow::Result<String> {
        let bytes = fs::read(self.path(file))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A program in the checkout, with these arguments and no input.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.dir.path())
            // the test may itself run under make, whose jobs are not ours
            .env_remove("MAKEFLAGS")
            .env_remove("MAKELEVEL")
            .env_remove("MFLAGS")
            .stdin(Stdio::null());
        command
    }

    /// Runs `make` with these arguments.
    pub fn make(&self, arguments: &[&str]) -> anyhow::Result<Outcome> {
        self.run("make", arguments)
    }

    /// Runs the checkout's own `hermake` with these arguments.
    pub fn hermake(&self, arguments: &[&str]) -> anyhow::Result<Outcome> {
        let program = self.path("build/bin/hermake");
        self.run(&program.to_string_lossy(), arguments)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<Outcome> {
        let (mut reader, writer) = std::io::pipe()?;
        let start = Instant::now();
        let mut command = self.command(program, arguments);
        command.stdout(writer.try_clone()?).stderr(writer);
        let mut child = command
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        // it holds the pipe's other end
        drop(command);
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        let status = child.wait()?;
        Ok(Outcome::new(
            program,
            arguments,
            status.code(),
            &bytes,
            start,
        ))
    }

    /// Runs `make`, which has to succeed, and returns its standard output alone.
    pub fn make_printing(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let start = Instant::now();
        let output = self
            .command("make", arguments)
            .output()
            .context("starting make")?;
        let said = [&*output.stdout, &output.stderr].concat();
        Outcome::new("make", arguments, output.status.code(), &said, start).success()?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs `make`, and kills it and all that it started in its process group as
    /// soon as it has said every one of `words`: what it has said by then.
    pub fn make_until(&self, arguments: &[&str], words: &[&str]) -> anyhow::Result<Outcome> {
        let start = Instant::now();
        let mut output = tempfile::tempfile()?;
        let mut make = self.command("make", arguments);
        make.stdout(output.try_clone()?).stderr(output.try_clone()?);
        let mut child = make.process_group(0).spawn().context("starting make")?;
        loop {
            let ended = child.try_wait()?;
            let late = start.elapsed() > SAID;
            let mut bytes = Vec::new();
            output.rewind()?;
            output.read_to_end(&mut bytes)?;
            let code = ended.map(|status| status.code().unwrap_or(-1));
            let outcome = Outcome::new("make", arguments, code, &bytes, start);
            let said = words.iter().all(|word| outcome.text.contains(word));
            if ended.is_none() && (said || late) {
                kill_group(&mut child)?;
            }
            if ended.is_some() || said || late {
                anyhow::ensure!(ended.is_none(), "it ended by itself: {outcome:?}");
                return outcome.says(words);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs `make`, and kills it and all that it started in its process group
    /// after a while; one that has ended by then is as good.
    pub fn make_killed_or_done(&self, arguments: &[&str], after: Duration) -> anyhow::Result<()> {
        let mut make = self.command("make", arguments);
        make.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = make.process_group(0).spawn().context("starting make")?;
        std::thread::sleep(after);
        match child.try_wait()? {
            Some(_) => Ok(()),
            None => kill_group(&mut child),
        }
    }

    /// Runs `command` on a machine of the lab.
    pub fn ssh(&self, vm: &str, command: &str) -> anyhow::Result<Outcome> {
        self.make(&["ssh", &format!("VM={vm}"), &format!("CMD={command}")])
    }

    /// Does `during` with `old` replaced by `new` in a file; the file is put
    /// back afterwards, whatever happened.
    pub fn with_edit<T>(
        &self,
        file: &str,
        old: &str,
        new: &str,
        during: impl FnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let before = self.read(file)?;
        anyhow::ensure!(before.contains(old), "{file} has no {old:?} to edit");
        fs::write(self.path(file), before.replacen(old, new, 1))?;
        let result = during(self);
        fs::write(self.path(file), before)?;
        result
    }

    /// The record of a running VM.
    pub fn record(&self, vm: &str) -> anyhow::Result<serde_json::Value> {
        let text = self.read(&format!("build/labs/lab/vm/{vm}/vm.json"))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Processes whose command line or working folder is in this checkout.
    pub fn processes(&self) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            let process = entry?.path();
            let Ok(folder) = std::fs::read_link(process.join("cwd")) else {
                continue;
            };
            if folder.starts_with(self.dir.path()) {
                let arguments = std::fs::read(process.join("cmdline")).unwrap_or_default();
                found.push(String::from_utf8_lossy(&arguments).replace('\0', " "));
            }
        }
        Ok(found)
    }
}

impl Drop for Checkout {
    /// Nothing runs on after the test, however it ended.
    fn drop(&mut self) {
        let labs = std::fs::read_dir(self.path("build/labs"))
            .into_iter()
            .flatten();
        for lab in labs.flatten() {
            let name = format!("LAB={}", lab.file_name().to_string_lossy());
            if let Err(error) = self.make(&["clean", &name]).and_then(Outcome::success) {
                eprintln!("{error:#}");
            }
        }
    }
}

/// Kills the process group that the child leads.
fn kill_group(child: &mut Child) -> anyhow::Result<()> {
    let group = format!("-{}", child.id());
    let killed = Command::new("kill")
        .args(["-KILL", "--", &group])
        .status()?;
    child.wait()?;
    anyhow::ensure!(killed.success(), "kill {group}");
    Ok(())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    if from.is_dir() {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else if from.exists() {
        fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
        fs::copy(from, to)?;
    }
    Ok(())
}

//! Does a task make the same of the same? It runs twice, in different folders and at different times.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Engine;
use super::why::Why;
use crate::config::{Kind, Task};
use crate::fs::tree::{Entry, Node, Stamped};
use crate::runlog::Ending;

/// So long apart are the two runs: times in whole seconds differ.
const APART: Duration = Duration::from_millis(1100);

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Both runs made the same.
    Same,
    /// The first difference.
    Differs(String),
    /// It can't be checked, for this reason.
    Not(String),
}

impl Engine {
    /// Runs the task twice; its outputs in the checkout stay as they are. What it needs is up to date.
    /// A task that runs in the checkout itself, a service and a download are not run.
    pub fn check(&self, task: &Task) -> Result<Verdict> {
        let argv = match &task.kind {
            _ if task.impure.is_some() => {
                return Ok(Verdict::Not(format!(
                    "impure: {}",
                    task.impure.as_deref().unwrap_or_default()
                )));
            }
            Kind::Run { argv } => argv,
            Kind::Service(_) => return Ok(Verdict::Not("a service keeps running".into())),
            Kind::Fetch { .. } => return Ok(Verdict::Not("its digest is given".into())),
            Kind::Render { template, context } => {
                return self.check_render(task, template, context);
            }
        };
        self.check_run(task, argv)
    }

    fn check_render(
        &self,
        task: &Task,
        template: &str,
        context: &[(String, String)],
    ) -> Result<Verdict> {
        let command = [format!("render {template}")];
        let mut log = self.run().task(task, &Why::Forced, &command);
        let texts = || -> Result<_> {
            let one = self.rendered(task, template, context)?;
            std::thread::sleep(APART);
            Ok((one, self.rendered(task, template, context)?))
        };
        let (one, two) = self.or_failed(task, &mut log, texts())?;
        self.run().end(&mut log, Ending::Ok, "");
        let differ = || {
            let first = one.lines().zip(two.lines()).position(|(a, b)| a != b);
            let line = first.unwrap_or_else(|| one.lines().count().min(two.lines().count())) + 1;
            format!("{} differs from line {line} on", task.outputs[0].path)
        };
        Ok(if one == two {
            Verdict::Same
        } else {
            Verdict::Differs(differ())
        })
    }

    fn check_run(&self, task: &Task, argv: &[String]) -> Result<Verdict> {
        let plan = self.plan(task)?;
        let mut stages = Vec::new();
        for round in 0..2 {
            if round > 0 {
                std::thread::sleep(APART);
            }
            let mut log = self.run().task(task, &Why::Forced, argv);
            let stage = self.run_in_stage(task, argv, &plan, &mut log);
            let stage = self.or_failed(task, &mut log, stage)?;
            self.run().end(&mut log, Ending::Ok, "");
            stages.push(stage);
        }
        for output in &task.outputs {
            let paths: Vec<_> = stages.iter().map(|s| s.root().join(&output.path)).collect();
            let (one, two) = (self.scan(&paths[0], true)?, self.scan(&paths[1], true)?);
            if let Some(what) = difference(&output.path, (&paths[0], &one), (&paths[1], &two))? {
                return Ok(Verdict::Differs(what));
            }
        }
        Ok(Verdict::Same)
    }
}

type Side<'a> = (&'a Path, &'a [Stamped]);

fn difference(name: &str, one: Side<'_>, two: Side<'_>) -> Result<Option<String>> {
    let shown = |e: &Entry| {
        if e.path.is_empty() {
            name.to_owned()
        } else {
            format!("{name}/{}", e.path)
        }
    };
    for (a, b) in one.1.iter().zip(two.1) {
        let (a, b) = (&a.entry, &b.entry);
        if a == b {
            continue;
        }
        if a.path != b.path {
            return Ok(Some(format!("{} is there, or {}", shown(a), shown(b))));
        }
        return Ok(Some(match (&a.node, &b.node) {
            (Node::File(x), Node::File(y)) if x != y => {
                let at = |root: &Path| {
                    if a.path.is_empty() {
                        root.to_path_buf()
                    } else {
                        root.join(a.path.as_path())
                    }
                };
                format!("{} {}", shown(a), first_byte(&at(one.0), &at(two.0))?)
            }
            (Node::Symlink(x), Node::Symlink(y)) => format!("{} leads to {x}, or to {y}", shown(a)),
            (x, y) if x == y => format!("{} has mode {:o}, or {:o}", shown(a), a.mode, b.mode),
            _ => format!("{} is of another kind", shown(a)),
        }));
    }
    let extra = one.1.get(two.1.len()).or_else(|| two.1.get(one.1.len()));
    Ok(extra.map(|s| format!("{} is there only once", shown(&s.entry))))
}

/// So many bytes are shown before the first that differs, and so many in all.
const BEFORE: u64 = 12;
const SHOWN: usize = 40;

/// Where two files begin to differ, with the bytes around.
fn first_byte(one: &Path, two: &Path) -> Result<String> {
    let open = |path: &Path| -> Result<_> {
        let file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(BufReader::new(file).bytes())
    };
    let (mut a, mut b) = (open(one)?, open(two)?);
    let (mut at, mut line) = (0u64, 1u64);
    loop {
        match (a.next().transpose()?, b.next().transpose()?) {
            (x, y) if x != y => break,
            (None, None) => return Ok("differs".to_owned()),
            (x, _) => {
                at += 1;
                line += u64::from(x == Some(b'\n'));
            }
        }
    }
    let (one, two) = (around(one, at)?, around(two, at)?);
    Ok(format!(
        "differs from byte {at} on (line {line}): `{one}`, or `{two}`"
    ))
}

/// The bytes around `at`, as text.
fn around(path: &Path, at: u64) -> Result<String> {
    let what = || format!("reading {}", path.display());
    let mut file = File::open(path).with_context(what)?;
    let from = at.saturating_sub(BEFORE);
    file.seek(SeekFrom::Start(from)).with_context(what)?;
    let mut bytes = Vec::new();
    file.take(SHOWN as u64)
        .read_to_end(&mut bytes)
        .with_context(what)?;
    let ends = if bytes.len() < SHOWN { "" } else { "…" };
    let begins = if from > 0 { "…" } else { "" };
    Ok(format!("{begins}{}{ends}", bytes.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_differs_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let told = |a: &[u8], b: &[u8]| {
            let (one, two) = (dir.path().join("a"), dir.path().join("b"));
            std::fs::write(&one, a).unwrap();
            std::fs::write(&two, b).unwrap();
            first_byte(&one, &two).unwrap()
        };
        assert_eq!(
            told(b"first\nat 12:00\n", b"first\nat 12:01\n"),
            r"differs from byte 13 on (line 2): `…irst\nat 12:00\n`, or `…irst\nat 12:01\n`"
        );
        assert_eq!(
            told(b"", b"\0x"),
            r"differs from byte 0 on (line 1): ``, or `\x00x`"
        );
    }
}

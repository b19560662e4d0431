//! Which line to add to a task that failed because it read what it did not declare.

use super::Engine;
use super::plan::named;
use crate::config::{Kind, Task};
use crate::exec::sandbox::layout;
use crate::runlog::TaskLog;

impl Engine {
    /// Words of the last lines that name files of the project that the task did not declare.
    pub(super) fn undeclared_reads(&self, task: &Task, log: &TaskLog) -> Vec<String> {
        let mut hints = Vec::new();
        if task.in_place() {
            return hints;
        }
        let own = self.root.display().to_string();
        let mut lines = log.tail();
        // what it printed tells more, but some commands fail without a word
        if let Kind::Run { argv } = &task.kind {
            // its program was found
            lines.extend(argv.iter().skip(1).map(|a| named(task, a)));
        }
        for line in lines {
            for word in line.split(|c: char| c.is_whitespace() || "'\"`:,;()[]<>‘’“”".contains(c))
            {
                if let Some(hint) = by_path(task, word) {
                    if !hints.contains(&hint) {
                        hints.push(hint);
                    }
                    continue;
                }
                // as the task sees the project, or as it is
                let word = [layout::ROOT, &own]
                    .iter()
                    .find_map(|root| word.strip_prefix(*root)?.strip_prefix('/'))
                    .unwrap_or(word);
                let Ok(path) = crate::fs::relpath::normal(word) else {
                    if let Some(hint) = outside(task, word)
                        && !hints.contains(&hint)
                    {
                        hints.push(hint);
                    }
                    continue;
                };
                let declared = task.inputs.iter().any(|i| {
                    *i == path
                        || i.ends_with('/') && path.starts_with(i.as_str())
                        || glob::Pattern::new(i).is_ok_and(|p| p.matches(&path))
                });
                let is_output = task
                    .outputs
                    .iter()
                    .any(|o| o.path == path || path.starts_with(&format!("{}/", o.path)));
                if declared || is_output || !self.root.join(&path).is_file() {
                    continue;
                }
                let maker = self.graph.tasks.iter().find(|t| {
                    t.outputs
                        .iter()
                        .any(|o| o.path == path || path.starts_with(&format!("{}/", o.path)))
                });
                if maker.is_some_and(|m| task.needs.iter().any(|n| self.task(*n).name == m.name)) {
                    continue;
                }
                let hint = match maker {
                    Some(maker) => format!(
                        "{path} is made by `{}`, which this task does not declare: add needs = [\"{}\"] at {}",
                        maker.name, maker.name, task.at
                    ),
                    None => format!(
                        "{path} is there but not declared: add inputs = [\"{path}\"] at {}",
                        task.at
                    ),
                };
                if !hints.contains(&hint) {
                    hints.push(hint);
                }
            }
        }
        hints.truncate(3);
        hints
    }
}

/// A tool that was looked for where it is on the machine: for the task it is elsewhere, so that results don't depend
/// on where that is.
fn by_path(task: &Task, word: &str) -> Option<String> {
    let path = std::path::Path::new(word);
    let tool = path.is_absolute() && task.tools.iter().any(|t| t == word);
    (tool && !layout::in_system(path)).then(|| {
        let name = word.rsplit('/').next().unwrap_or(word);
        format!("{word} is among its tools, and those are on its PATH by their names alone: call `{name}`")
    })
}

/// Folders that every task sees something of.
const SEEN: [&str; 10] = [
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/dev", "/tmp",
];

/// A file elsewhere on the machine.
fn outside(task: &Task, word: &str) -> Option<String> {
    let path = std::path::Path::new(word);
    let seen = SEEN.iter().any(|dir| path.starts_with(dir));
    (path.is_absolute() && !seen && !task.tools.iter().any(|t| t == word) && path.is_file()).then(|| {
        format!(
            "{word} is outside of the project, where a task sees nothing: have it in the project and add it to `inputs` at {}, or to `tools` if it is a program",
            task.at
        )
    })
}

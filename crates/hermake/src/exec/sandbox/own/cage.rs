//! What a sandbox is made of, as steps that a child can take without allocating.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// A change to the tree of mounts. Places are relative to what will be the root.
#[derive(Debug)]
pub enum Step {
    /// `from`, with what is mounted below it, is at `at` too.
    Bind {
        /// Where it is, from the root as it is now.
        from: CString,
        /// Where it will be as well.
        at: CString,
    },
    /// No set-user-id programs at `at`, nor what else is named here.
    Limit {
        /// A mount.
        at: CString,
        /// Whether those below are meant as well.
        below: bool,
        /// Nothing can be written.
        read_only: bool,
    },
    /// A file system of the kernel's.
    Fresh {
        /// Its kind.
        kind: &'static CStr,
        /// Where.
        at: &'static CStr,
        /// Its options.
        options: &'static CStr,
        /// Whether programs may be run from it.
        programs: bool,
    },
    /// A folder that anyone may write to.
    Folder(&'static CStr),
    /// An empty file, to mount something at.
    File(CString),
    /// A link, and where it points.
    Link(&'static CStr, &'static CStr),
}

/// All that sets a sandbox up.
#[derive(Debug)]
pub struct Cage {
    /// The prepared folder that becomes the root.
    pub root: CString,
    /// In this order.
    pub steps: Vec<Step>,
    /// Whether the task may use the network.
    pub network: bool,
    /// Where it is noted that sandboxes can be made; forgotten if one can't.
    pub tried: PathBuf,
}

/// `path` as the system calls take it.
pub(super) fn text(path: &Path) -> std::io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

impl Cage {
    /// `from` at `at`, an absolute path inside.
    pub fn bind(&mut self, from: &Path, at: &Path) -> std::io::Result<()> {
        self.steps.push(Step::Bind {
            from: text(&std::path::absolute(from)?)?,
            at: inside(at)?,
        });
        Ok(())
    }

    /// Limits what is mounted at `at`, an absolute path inside.
    pub fn limit(&mut self, at: &Path, below: bool, read_only: bool) -> std::io::Result<()> {
        let at = inside(at)?;
        self.steps.push(Step::Limit {
            at,
            below,
            read_only,
        });
        Ok(())
    }

    /// What the step with this number does, for people.
    pub fn step(&self, number: usize) -> String {
        match self.steps.get(number) {
            Some(Step::Bind { from, at }) => {
                format!(
                    "mounting {} at /{}",
                    from.to_string_lossy(),
                    at.to_string_lossy()
                )
            }
            Some(Step::Limit { at, .. }) => format!("limiting /{}", at.to_string_lossy()),
            Some(Step::Fresh { kind, at, .. }) => {
                format!(
                    "mounting {} at /{}",
                    kind.to_string_lossy(),
                    at.to_string_lossy()
                )
            }
            Some(Step::Folder(at) | Step::Link(at, _)) => making(at),
            Some(Step::File(at)) => making(at),
            None => "a step".to_owned(),
        }
    }
}

fn making(at: &CStr) -> String {
    format!("making /{}", at.to_string_lossy())
}

/// `at` relative to the root.
pub(super) fn inside(at: &Path) -> std::io::Result<CString> {
    let path = at.strip_prefix("/").unwrap_or(at);
    text(if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    })
}

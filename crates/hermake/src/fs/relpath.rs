//! Paths below the project's root, which may be any bytes.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// A path relative to the project's root (or to the root of an output), as bytes: not all are UTF-8.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct RelPath(Vec<u8>);

impl RelPath {
    /// `path` as it is.
    pub fn new(path: impl AsRef<OsStr>) -> Self {
        Self(path.as_ref().as_bytes().to_vec())
    }

    /// A path of these bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// As a path of the standard library.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// `self/name`; the same as `name` if `self` is empty.
    #[must_use]
    pub fn join(&self, name: &OsStr) -> Self {
        let mut bytes = self.0.clone();
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name.as_bytes());
        Self(bytes)
    }

    /// Where this path below `root` is; `root` itself if it is empty.
    pub fn below(&self, root: &Path) -> PathBuf {
        if self.is_empty() {
            root.to_path_buf()
        } else {
            root.join(self.as_path())
        }
    }

    /// This path below the path `root`; `root` itself if it is empty.
    #[must_use]
    pub fn under(&self, root: &Self) -> Self {
        if self.is_empty() {
            root.clone()
        } else {
            root.join(self.as_path().as_os_str())
        }
    }

    /// True for the empty path.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An owned path.
    pub fn to_path_buf(&self) -> PathBuf {
        PathBuf::from(OsString::from_vec(self.0.clone()))
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_path().display().fmt(f)
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_path().fmt(f)
    }
}

/// True if the symlink `link`, a path below the project's root, leads to `target` outside of the project.
/// Absolute targets do: other checkouts are elsewhere.
pub fn leads_out(link: &RelPath, target: &RelPath) -> bool {
    let mut depth = link.as_path().components().count().saturating_sub(1);
    target.as_path().components().any(|part| {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return true,
        }
        false
    })
}

/// Why a path can't be used, or its normal form: relative, no `.`, no `..`, no doubled slash.
pub fn normal(path: &str) -> Result<String, &'static str> {
    if path.is_empty() {
        return Err("is empty");
    }
    let mut out = String::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => {
                if !out.is_empty() {
                    out.push('/');
                }
                out.push_str(&name.to_string_lossy());
            }
            Component::CurDir => {}
            Component::ParentDir => return Err("leaves the project through `..`"),
            Component::RootDir | Component::Prefix(_) => {
                return Err("is absolute; paths are relative to the project's root");
            }
        }
    }
    if out.is_empty() {
        Err("is the project's root itself")
    } else {
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::normal;

    #[test]
    fn paths_that_leave_the_project_are_refused() {
        assert!(normal("../x").is_err());
        assert!(normal("a/../../x").is_err());
        assert!(normal("/etc/passwd").is_err());
        assert!(normal("").is_err());
        assert!(normal(".").is_err());
        assert_eq!(normal("./a//b/"), Ok("a/b".to_owned()));
    }

    proptest::proptest! {
        #[test]
        fn what_is_accepted_stays_inside(path in "(\\.\\.|\\.|/|[a-z]{1,3}|\\PC){0,8}") {
            if let Ok(normal) = normal(&path) {
                proptest::prop_assert!(!normal.starts_with('/') && !normal.is_empty());
                proptest::prop_assert!(!normal.split('/').any(|part| part == ".." || part == "." || part.is_empty()));
                proptest::prop_assert_eq!(super::normal(&normal), Ok(normal.clone()));
            }
        }
    }
}

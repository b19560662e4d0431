//! The site that the host pushed, read anew when it changes.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use fs_err as fs;
use protocol::{Site, SiteError};
use thiserror::Error;

use crate::render::{RenderError, Templates};

/// A site that was read.
pub struct LoadedSite {
    /// `site.json`.
    pub site: Site,
    /// The templates beside it.
    pub templates: Templates,
}

/// Why a site can't be used.
#[derive(Debug, Error, Clone)]
pub enum LoadError {
    /// A file can't be read.
    #[error("{0}")]
    Io(Arc<std::io::Error>),
    /// `site.json` is wrong.
    #[error("{path}: {error}")]
    Site {
        /// The file.
        path: String,
        /// What is wrong.
        error: Arc<SiteError>,
    },
    /// A template is wrong.
    #[error("{0}")]
    Template(RenderError),
}

impl From<std::io::Error> for LoadError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl LoadedSite {
    /// Reads the site in `folder`: `site.json`, `ipxe/*.tera`, `cloud-init/*.tera`
    /// and `machines/*/*.tera`.
    pub fn read(folder: &Path) -> Result<Self, LoadError> {
        let path = folder.join("site.json");
        let json = fs::read_to_string(&path)?;
        let site = Site::from_json(&json).map_err(|error| LoadError::Site {
            path: path.display().to_string(),
            error: Arc::new(error),
        })?;
        let templates =
            Templates::parse(&sources(folder)?, &site.machines).map_err(LoadError::Template)?;
        Ok(Self { site, templates })
    }
}

/// The name and text of every template below `folder`.
fn sources(folder: &Path) -> Result<Vec<(String, String)>, LoadError> {
    let templates = files(folder)?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|it| it == "tera"));
    templates
        .map(|path| {
            let name = path.strip_prefix(folder).unwrap_or(&path);
            Ok((name.display().to_string(), fs::read_to_string(&path)?))
        })
        .collect()
}

/// The files in the folders of a site, sorted.
fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let in_folder = |folder: &Path| {
        let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
        entries.collect::<std::io::Result<Vec<_>>>()
    };
    let mut folders = vec![folder.join("ipxe"), folder.join("cloud-init")];
    // there only if a machine has templates of its own
    let machines = folder.join("machines");
    if machines.is_dir() {
        folders.extend(in_folder(&machines)?);
    }
    let mut files = Vec::new();
    for folder in folders {
        files.extend(in_folder(&folder)?);
    }
    files.sort();
    Ok(files)
}

type Loaded = Result<Arc<LoadedSite>, LoadError>;

/// The site in a folder or behind a symlink, as it is now.
pub struct CurrentSite {
    link: PathBuf,
    last: Mutex<Option<(Fingerprint, Loaded)>>,
}

impl CurrentSite {
    /// The site at `link`, which need not be there yet.
    pub fn new(link: &Path) -> Self {
        Self {
            link: link.into(),
            last: Mutex::new(None),
        }
    }

    /// The site as it is on disk now. Nothing is read again while nothing has changed.
    pub fn get(&self) -> Loaded {
        // through the symlink once, so that all files are of one site even if it is swapped meanwhile
        let folder = fs::canonicalize(&self.link)?;
        let fingerprint = Fingerprint::of(&folder)?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, loaded)) = last.as_ref()
            && *of == fingerprint
        {
            return loaded.clone();
        }
        let loaded = LoadedSite::read(&folder).map(Arc::new);
        *last = Some((fingerprint, loaded.clone()));
        loaded
    }
}

impl fmt::Debug for CurrentSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CurrentSite({})", self.link.display())
    }
}

/// What changes when a file of a site does.
#[derive(PartialEq, Eq)]
struct Fingerprint(PathBuf, Vec<(PathBuf, u64, Option<SystemTime>)>);

impl Fingerprint {
    fn of(folder: &Path) -> std::io::Result<Self> {
        let mut files = files(folder)?;
        files.push(folder.join("site.json"));
        let stat = |path: PathBuf| {
            let meta = fs::metadata(&path)?;
            Ok((path, meta.len(), meta.modified().ok()))
        };
        let files = files
            .into_iter()
            .map(stat)
            .collect::<std::io::Result<_>>()?;
        Ok(Self(folder.into(), files))
    }
}

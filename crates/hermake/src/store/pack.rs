//! Records and small contents of the store in one file, since a file of its own costs each more than all else.
//!
//! ```text
//! v2/index      a head that names the pack, then 64 bytes per piece; the last of an id counts
//! v2/pack-…     the pieces, one after the other
//! v2/pack.lock  held by whoever adds a piece
//! ```
//!
//! A piece is written before its line in the index, and both are only added to. What is cut off, or was lost in a
//! power cut, is found by its checksum when it is used. Collecting writes both anew and renames the index, so that
//! whoever still reads the old ones can go on. See `docs/decisions/034-one-pack-per-store.md`.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};

use crate::fs::{Digest, atomic, lock};

/// Another format gets another mark: an index with another mark is replaced.
const MARK: &[u8; 8] = b"hmkidx01";
/// Bytes of the head and of each line.
const LINE: usize = 64;

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// What a key's task made.
    Record,
    /// A small content.
    Blob,
}

/// Where a piece is, and when it was last used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// From which byte of the pack on.
    pub(super) at: u64,
    /// Its length.
    pub(super) len: u32,
    /// Seconds since the epoch.
    pub(super) used: u64,
}

/// A piece's name.
pub(super) type Name = (Kind, Digest);

/// The two files, opened when first needed.
#[derive(Debug)]
pub(super) struct Pack {
    root: PathBuf,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    index: Option<File>,
    inode: (u64, u64),
    data: Option<Arc<File>>,
    lock: Option<File>,
    /// Bytes of the index that were read.
    read: usize,
    pieces: HashMap<Name, Place>,
    /// Lines that say nothing.
    damaged: usize,
    /// Used since the last [`Pack::note_used`].
    used: Vec<Name>,
}

fn now() -> u64 {
    crate::runlog::time::seconds()
}

fn line((kind, id): Name, place: Place) -> [u8; LINE] {
    let mut line = [0; LINE];
    line[8] = match kind {
        Kind::Record => 1,
        Kind::Blob => 2,
    };
    line[12..16].copy_from_slice(&place.len.to_le_bytes());
    line[16..24].copy_from_slice(&place.at.to_le_bytes());
    line[24..32].copy_from_slice(&place.used.to_le_bytes());
    line[32..].copy_from_slice(&id.0);
    let check = check(&line[8..]);
    line[..8].copy_from_slice(&check);
    line
}

fn check(bytes: &[u8]) -> [u8; 8] {
    let mut first = [0; 8];
    first.copy_from_slice(&Digest::of(bytes).0[..8]);
    first
}

fn parse(line: &[u8]) -> Option<(Name, Place)> {
    let word = |at: usize| Some(u64::from_le_bytes(line.get(at..at + 8)?.try_into().ok()?));
    if line.get(..8)? != check(line.get(8..)?) {
        return None;
    }
    let kind = match line[8] {
        1 => Kind::Record,
        2 => Kind::Blob,
        _ => return None,
    };
    let place = Place {
        at: word(16)?,
        len: u32::from_le_bytes(line[12..16].try_into().ok()?),
        used: word(24)?,
    };
    Some(((kind, Digest(line[32..].try_into().ok()?)), place))
}

/// The pack that an index with this head names.
fn named(head: &[u8; LINE]) -> Option<&str> {
    if &head[..8] != MARK || head[8..16] != check(&head[16..]) {
        return None;
    }
    let end = head[16..].iter().position(|b| *b == 0)?;
    let name = std::str::from_utf8(&head[16..16 + end]).ok()?;
    (!name.contains('/')).then_some(name)
}

impl Pack {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            open: Mutex::default(),
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The piece `name`, unchecked; `None` if there is none, or if it can't be read in full.
    pub(super) fn get(&self, name: Name) -> Option<Vec<u8>> {
        let (place, data) = self.find(name)?;
        // a length that was damaged must not ask for all memory
        let end = place.at.checked_add(u64::from(place.len))?;
        if place.len > 1 << 20 && data.metadata().ok()?.len() < end {
            return None;
        }
        let mut bytes = vec![0; place.len as usize];
        data.read_exact_at(&mut bytes, place.at).ok()?;
        Some(bytes)
    }

    fn find(&self, name: Name) -> Option<(Place, Arc<File>)> {
        let mut open = self.open();
        if !open.pieces.contains_key(&name) {
            // another process may have added it
            open.catch_up(&self.root);
        }
        let place = open.pieces.get(&name).copied()?;
        Some((place, open.data.clone()?))
    }

    /// True if there is a line for the piece.
    pub(super) fn has(&self, name: Name) -> bool {
        self.find(name).is_some()
    }

    /// All pieces.
    pub(super) fn list(&self) -> Vec<(Name, Place)> {
        let mut open = self.open();
        open.catch_up(&self.root);
        let mut list: Vec<_> = open.pieces.iter().map(|(n, p)| (*n, *p)).collect();
        list.sort_by_key(|(name, place)| (place.at, name.1));
        list
    }

    /// How many lines of the index are damaged.
    pub(super) fn damaged(&self) -> usize {
        self.open().damaged
    }

    /// What is wrong with the two files themselves: nothing in them is found then, and so nothing of it is damaged.
    pub(super) fn faults(&self) -> Vec<String> {
        let lock = self.root.join("pack.lock");
        // whoever adds a piece just now is waited for, where that can be
        let _held = lock.exists().then(|| lock::exclusive(&lock, || ()));
        let path = self.root.join("index");
        let Ok(bytes) = fs::read(&path) else {
            // an empty one is there if whoever made it was killed before it had an index
            let full = |e: &fs::DirEntry| e.metadata().is_ok_and(|m| m.len() > 0);
            let all = fs::read_dir(&self.root).into_iter().flatten().flatten();
            let packs = all.filter(|e| e.file_name().as_encoded_bytes().starts_with(b"pack-"));
            return packs
                .filter(full)
                .map(|e| format!("no index says what is in {}", e.path().display()))
                .collect();
        };
        let shown = path.display();
        let Some(name) = bytes.first_chunk().and_then(named) else {
            return vec![format!("the head of {shown} is not readable")];
        };
        let pack = self.root.join(name);
        let mut faults = Vec::new();
        if !pack.is_file() {
            faults.push(format!("{}, which {shown} is of, is gone", pack.display()));
        }
        if bytes.len() % LINE > 0 {
            faults.push(format!("the last line of {shown} is cut off"));
        }
        faults
    }

    /// Puts new files in the place of those that have faults, with all that can still be read.
    pub(super) fn renew(&self) -> Result<()> {
        let mut open = self.open();
        open.locked(&self.root, |open| {
            open.rewrite(&self.root, |_| false)?;
            open.create(&self.root)
        })
    }

    /// Adds pieces; those that are there already are there twice from now on, and the new ones count.
    pub(super) fn add(&self, pieces: &[(Name, &[u8])]) -> Result<()> {
        let mut open = self.open();
        open.locked(&self.root, |open| {
            open.catch_up(&self.root);
            if open.damaged > 0 {
                open.rewrite(&self.root, |_| false)?;
            }
            open.create(&self.root)?;
            open.append(pieces)
        })
    }

    /// Forgets, in this process, a piece that is not what it should be: it is made and added again.
    pub(super) fn forget(&self, name: Name) {
        self.open().pieces.remove(&name);
    }

    /// Notes that the piece was used now; written by [`Self::note_used`].
    pub(super) fn used(&self, name: Name) {
        self.open().used.push(name);
    }

    /// Writes which pieces were used.
    pub(super) fn note_used(&self) -> Result<()> {
        let mut open = self.open();
        if open.used.is_empty() {
            return Ok(());
        }
        open.locked(&self.root, |open| {
            open.catch_up(&self.root);
            let names = std::mem::take(&mut open.used);
            let used = now();
            let mut lines = Vec::with_capacity(names.len() * LINE);
            for name in names {
                if let Some(place) = open.pieces.get_mut(&name) {
                    place.used = used;
                    lines.extend(line(name, *place));
                }
            }
            open.add_lines(&lines)
        })
    }

    /// Writes both files anew without what `goes` names.
    pub(super) fn rewrite(&self, goes: impl Fn(&Name) -> bool) -> Result<()> {
        let mut open = self.open();
        open.locked(&self.root, |open| open.rewrite(&self.root, goes))
    }

    /// Bytes of the pack, and of the pieces in it that count.
    pub(super) fn sizes(&self) -> (u64, u64) {
        let mut open = self.open();
        open.catch_up(&self.root);
        let all = open
            .data
            .as_ref()
            .and_then(|d| Some(d.metadata().ok()?.len()));
        let live = open.pieces.values().map(|p| u64::from(p.len)).sum();
        (all.unwrap_or(0), live)
    }
}

impl Open {
    fn locked(&mut self, root: &Path, act: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let path = root.join("pack.lock");
        let file = match self.lock.take() {
            // whoever removed the store may have removed the lock too
            Some(file) if self.index.is_some() && path.exists() => file,
            _ => lock::reusable(&path).with_context(|| {
                format!(
                    "set cache-dir in hermake.toml if {} is no place for results",
                    root.display()
                )
            })?,
        };
        let held = lock::again(&file, &path)?;
        let done = act(self);
        drop(held);
        self.lock = Some(file);
        done
    }

    fn reset(&mut self) {
        self.index = None;
        self.data = None;
        self.pieces.clear();
        self.read = 0;
        self.damaged = 0;
    }

    /// Reads what other processes have added. What can't be read isn't there.
    fn catch_up(&mut self, root: &Path) {
        let path = root.join("index");
        let Ok(meta) = fs::metadata(&path) else {
            self.reset();
            return;
        };
        let shorter = meta.len() < self.read as u64;
        if self.index.is_none() || self.inode != (meta.dev(), meta.ino()) || shorter {
            self.reset();
            if self.attach(root, &path).is_none() {
                self.reset();
                return;
            }
        }
        let Some(index) = &self.index else { return };
        let size = usize::try_from(meta.len()).unwrap_or(0);
        if size < self.read + LINE {
            return;
        }
        let mut bytes = vec![0; (size - self.read) / LINE * LINE];
        if index.read_exact_at(&mut bytes, self.read as u64).is_err() {
            return;
        }
        self.pieces.reserve(bytes.len() / LINE);
        self.read += bytes.len();
        for line in bytes.chunks_exact(LINE) {
            match parse(line) {
                Some((name, place)) => {
                    self.pieces.insert(name, place);
                }
                None => self.damaged += 1,
            }
        }
    }

    fn attach(&mut self, root: &Path, path: &Path) -> Option<()> {
        // the pack goes away when another process collects just now: then there is another index
        for _ in 0..3 {
            let index = File::options()
                .read(true)
                .write(true)
                .open(path)
                .or_else(|_| File::open(path));
            let index = index.ok()?;
            let meta = index.metadata().ok()?;
            let mut head = [0; LINE];
            index.read_exact_at(&mut head, 0).ok()?;
            let pack = root.join(named(&head)?);
            let data = File::options()
                .read(true)
                .write(true)
                .open(&pack)
                .or_else(|_| File::open(&pack));
            if let Ok(data) = data {
                self.inode = (meta.dev(), meta.ino());
                self.index = Some(index);
                self.data = Some(Arc::new(data));
                self.read = LINE;
                return Some(());
            }
        }
        None
    }

    /// Makes the files if there are none that can be used.
    fn create(&mut self, root: &Path) -> Result<()> {
        if self.index.is_some() && self.data.is_some() {
            return Ok(());
        }
        self.switch(root, &[], |_| Ok(()))
    }

    /// Puts a new pack, filled by `fill`, and an index of `lines` in the place of the old ones.
    fn switch(
        &mut self,
        root: &Path,
        lines: &[u8],
        fill: impl FnOnce(&File) -> Result<()>,
    ) -> Result<()> {
        let name = format!("pack-{}", atomic::unique());
        let path = root.join(&name);
        let what = || format!("writing {}", path.display());
        let data = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .with_context(what)?;
        fill(&data)?;
        let mut head = [0; LINE];
        head[..8].copy_from_slice(MARK);
        head[16..16 + name.len()].copy_from_slice(name.as_bytes());
        let sum = check(&head[16..]);
        head[8..16].copy_from_slice(&sum);
        atomic::write(&root.join("index"), &[&head[..], lines].concat())?;
        for item in fs::read_dir(root).into_iter().flatten().flatten() {
            let old = item.file_name();
            if old.as_encoded_bytes().starts_with(b"pack-") && old != *name {
                // those that stay are removed the next time
                let _ = fs::remove_file(item.path());
            }
        }
        self.reset();
        self.catch_up(root);
        Ok(())
    }

    fn append(&mut self, pieces: &[(Name, &[u8])]) -> Result<()> {
        let data = self.data.as_ref().context("the store's pack is not open")?;
        let start = data.metadata().context("reading the store's pack")?.len();
        let mut at = start;
        let used = now();
        let mut bytes = Vec::with_capacity(pieces.iter().map(|p| p.1.len()).sum());
        let mut lines = Vec::with_capacity(pieces.len() * LINE);
        for (name, piece) in pieces {
            let len = u32::try_from(piece.len()).context("a piece of 4 GiB")?;
            let place = Place { at, len, used };
            at += u64::from(len);
            bytes.extend_from_slice(piece);
            lines.extend(line(*name, place));
            self.pieces.insert(*name, place);
        }
        data.write_all_at(&bytes, start)
            .context("writing to the store's pack")?;
        self.add_lines(&lines)
    }

    fn add_lines(&mut self, lines: &[u8]) -> Result<()> {
        let Some(index) = &self.index else {
            return Ok(());
        };
        // half a line at the end, from a process that was killed, is written over
        index
            .write_all_at(lines, self.read as u64)
            .context("writing to the store's index")?;
        self.read += lines.len();
        Ok(())
    }

    fn rewrite(&mut self, root: &Path, goes: impl Fn(&Name) -> bool) -> Result<()> {
        self.catch_up(root);
        let Some(data) = self.data.clone() else {
            return Ok(());
        };
        let mut stay: Vec<_> = self
            .pieces
            .iter()
            .map(|(n, p)| (*n, *p))
            .filter(|(n, _)| !goes(n))
            .collect();
        stay.sort_by_key(|(_, place)| place.at);
        let mut lines = Vec::with_capacity(stay.len() * LINE);
        let mut moved = Vec::with_capacity(stay.len());
        let mut at = 0;
        for (name, place) in stay {
            lines.extend(line(name, Place { at, ..place }));
            moved.push((place, at));
            at += u64::from(place.len);
        }
        self.switch(root, &lines, |new| {
            for (place, at) in moved {
                let mut bytes = vec![0; place.len as usize];
                // what can't be read in full stays as it is: damaged, which is found when it is used
                if data.read_exact_at(&mut bytes, place.at).is_ok() {
                    new.write_all_at(&bytes, at)
                        .context("writing the store's pack anew")?;
                }
            }
            Ok(())
        })
    }
}

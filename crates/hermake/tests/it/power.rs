//! Power cuts. hermake syncs nothing, so each file that it wrote since some moment may come back shorter, zeroed, as
//! it was before, or not at all. The next run must still come to the right bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use crate::space::Space;
use crate::store::{force_write, larger};

/// What became of a file's last writes.
#[derive(Debug, Clone, Copy)]
enum Lost {
    Nothing,
    /// The name is there, no data.
    All,
    /// Only whole pages are there.
    LastPage,
    /// The length is there, the data isn't.
    Data,
    /// The length is there, the last page isn't.
    LastData,
    /// The rename: the file is what it was before, or isn't there.
    Rename,
}

const LOSSES: [Lost; 5] = [
    Lost::All,
    Lost::LastPage,
    Lost::Data,
    Lost::LastData,
    Lost::Rename,
];
const PAGE: usize = 4096;

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// All that hermake wrote: outputs, its own folder, the store.
fn written(space: &Space) -> Files {
    let mut files = Files::new();
    let mut folders = vec![space.path("build"), space.store()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(folder).into_iter().flatten().flatten() {
            let kind = item.file_type().unwrap();
            if kind.is_dir() {
                folders.push(item.path());
            } else if kind.is_file() {
                files.insert(item.path(), fs::read(item.path()).unwrap());
            }
        }
    }
    files
}

impl Lost {
    /// Leaves of `path`, which held `before` and now holds `now`, what is left of it. Its times stay.
    fn of(self, path: &Path, before: Option<&[u8]>, now: &[u8]) {
        let whole = now.len().saturating_sub(1) / PAGE * PAGE;
        let mut left = now.to_vec();
        match self {
            Self::Nothing => return,
            Self::All => left.clear(),
            Self::LastPage => left.truncate(whole),
            Self::Data => left.fill(0),
            Self::LastData => left[whole..].fill(0),
            Self::Rename => match before {
                Some(before) => left = before.to_vec(),
                None => return fs::remove_file(path).unwrap(),
            },
        }
        let then = fs::metadata(path).unwrap().modified().unwrap();
        force_write(path, &left);
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(then).unwrap();
    }
}

/// The power goes after the second of two runs; `how` says of each file that this run wrote what is left of it.
fn power_cut(space: &Space, how: impl Fn(usize) -> Lost) {
    let outputs = |space: &Space| space.tree("build");
    space.run(&["last"]);
    let (before, first) = (written(space), outputs(space));
    space.write("src/a.txt", "other text\n");
    space.run(&["last"]);
    let (now, second) = (written(space), outputs(space));
    let fresh = now.iter().filter(|(p, text)| before.get(*p) != Some(*text));
    for (i, (path, text)) in fresh.enumerate() {
        how(i).of(path, before.get(path).map(Vec::as_slice), text);
    }
    space.run(&["last"]);
    assert_eq!(outputs(space), second);
    assert!(space.run(&["last"]).is_empty(), "it stays so");
    // and what came before is not mixed up with it
    space.write("src/a.txt", "hello world\n");
    space.run(&["last"]);
    assert_eq!(outputs(space), first);
    space.call(&["verify", "--remove"]);
    assert_eq!(space.call(&["verify"]).code, 0);
    fs::remove_dir_all(space.path("build")).unwrap();
    space.run(&["last"]);
    assert_eq!(outputs(space), first);
}

#[test]
fn all_files_of_a_run_lose_their_writes_alike() {
    for lost in LOSSES {
        for space in [Space::chain(), larger()] {
            power_cut(&space, |_| lost);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn each_file_of_a_run_loses_its_writes_in_its_own_way(
        how in proptest::collection::vec(prop_oneof![Just(Lost::Nothing), proptest::sample::select(&LOSSES[..])], 61),
        large in any::<bool>(),
    ) {
        let space = if large { larger() } else { Space::chain() };
        power_cut(&space, |i| how[i % how.len()]);
    }
}

#[test]
fn a_large_blob_is_read_again_after_a_reboot() {
    // its inode, size and times are there, its data isn't
    let space = Space::big();
    space.run(&["big"]);
    let big = fs::read(space.path("build/big")).unwrap();
    fs::remove_file(space.path("build/big")).unwrap();
    assert!(
        space.run(&["big"]).is_empty(),
        "restored, and noted as seen"
    );
    let blobs = written(&space)
        .into_iter()
        .filter(|(path, text)| path.starts_with(space.store()) && *text == big);
    for (path, text) in blobs {
        Lost::Data.of(&path, None, &text);
    }
    let notes = fs::read_dir(space.store().join("seen")).unwrap().flatten();
    for note in notes {
        // as of another boot
        let text = fs::read_to_string(note.path()).unwrap();
        let (rest, boot) = text.rsplit_once(' ').unwrap();
        let other = boot.parse::<u64>().unwrap() ^ 1;
        fs::write(note.path(), format!("{rest} {other}")).unwrap();
    }
    fs::remove_file(space.path("build/big")).unwrap();
    assert_eq!(space.run(&["big"]), ["big"]);
    assert!(fs::read(space.path("build/big")).unwrap() == big);
}

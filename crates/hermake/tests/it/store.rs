//! The store: damage is noticed on use and healed, and whatever can be an output comes back as it was.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use hermake::fs::Digest;
use hermake::fs::tree::{self, Entry};
use hermake::store::Store;
use proptest::prelude::*;

use crate::space::Space;

fn files(dir: &Path) -> Vec<PathBuf> {
    let list = |d: &Path| {
        fs::read_dir(d)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
            .collect::<Vec<_>>()
    };
    let mut all: Vec<_> = list(dir).iter().flat_map(|d| list(d)).collect();
    all.sort();
    all
}

pub(crate) fn force_write(path: &Path, bytes: &[u8]) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
}

/// As the chain, but what is made is too large for the pack.
const LARGER: &str = r#"
[task.upper]
inputs = ["src/a.txt"]
tools = ["sh", "coreutils"]
run = ["sh", "-c", "yes `cat src/a.txt` | head -c 150000 > $0", "{{ out }}"]
outputs = ["build/upper.txt"]

[task.first]
needs = ["upper"]
tools = ["sh", "coreutils"]
run = ["sh", "-c", "tr a-z A-Z < $0 > $1", "{{ needs.upper.out }}", "{{ out }}"]
outputs = ["build/first.txt"]

[task.last]
needs = ["first"]
tools = ["sh", "coreutils"]
run = ["sh", "-c", "cat $0 > $1; echo end >> $1", "{{ needs.first.out }}", "{{ out }}"]
outputs = ["build/last.txt"]
"#;

/// The chain of [`LARGER`].
pub(crate) fn larger() -> Space {
    let space = Space::new(LARGER);
    space.write("src/a.txt", "hello world\n");
    space
}

/// Damages all contents and removes the outputs: the tasks run and all is well again.
fn damaged(space: &Space, damage: impl Fn(&Space), problems: usize, message: &str) {
    space.run(&["last"]);
    let last = space.read("build/last.txt");
    damage(space);
    let verify = space.call(&["verify"]);
    assert_eq!(
        (verify.code, verify.out.lines().count()),
        (1, problems + 1),
        "{}",
        verify.out
    );
    // outputs that are in place are no matter of the store
    assert!(space.run(&["last"]).is_empty());
    for name in ["upper", "first", "last"] {
        fs::remove_file(space.path(&format!("build/{name}.txt"))).unwrap();
    }
    let ran = space.call(&["run", "last"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains(message), "{}", ran.err);
    assert_eq!(space.index().len(), 6);
    assert_eq!(space.read("build/last.txt"), last);
    let verify = space.call(&["verify"]);
    assert_eq!(verify.code, 0, "{}", verify.out);
    fs::remove_dir_all(space.path("build")).unwrap();
    assert!(space.run(&["last"]).is_empty());
}

fn damaged_files(damage: impl Fn(&Path), message: &str) {
    let all = |space: &Space| {
        let blobs = files(&space.store().join("blobs"));
        assert_eq!(blobs.len(), 3);
        blobs.iter().for_each(|b| damage(b));
    };
    damaged(&larger(), all, 3, message);
}

/// Changes bytes of the pack that belong to pieces of `kind`.
fn edit_pieces(space: &Space, kind: u8, edit: impl Fn(&mut [u8])) {
    let pack = space.pack();
    let then = fs::metadata(&pack).unwrap().modified().unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    let pieces = space.pieces();
    for (_, range) in pieces.iter().filter(|p| p.0 == kind) {
        edit(&mut bytes[range.clone()]);
    }
    fs::write(&pack, bytes).unwrap();
    let file = fs::File::options().write(true).open(&pack).unwrap();
    file.set_modified(then).unwrap();
}

const RECORD: u8 = 1;
const BLOB: u8 = 2;

fn count(space: &Space, kind: u8) -> usize {
    space.pieces().iter().filter(|p| p.0 == kind).count()
}

#[test]
fn blobs_deleted() {
    damaged_files(|b| fs::remove_file(b).unwrap(), "is gone");
    let lines = |space: &Space| {
        let path = space.store().join("index");
        let mut index = fs::read(&path).unwrap();
        for line in index.chunks_exact_mut(64).filter(|l| l[8] == BLOB) {
            line.fill(0);
        }
        fs::write(path, index).unwrap();
    };
    // the three contents, and the lines themselves
    damaged(&Space::chain(), lines, 4, "is gone");
}

#[test]
fn blobs_truncated() {
    damaged_files(|b| force_write(b, b""), "is damaged");
    damaged(
        &Space::chain(),
        |space| edit_pieces(space, BLOB, |piece| piece.fill(0)),
        3,
        "is damaged",
    );
}

#[test]
fn blobs_with_one_bit_flipped_and_the_same_times() {
    damaged_files(
        |b| {
            let then = fs::metadata(b).unwrap().modified().unwrap();
            let mut bytes = fs::read(b).unwrap();
            bytes[0] ^= 1;
            force_write(b, &bytes);
            fs::File::options()
                .write(true)
                .open(b)
                .unwrap()
                .set_modified(then)
                .unwrap();
        },
        "is damaged",
    );
    damaged(
        &Space::chain(),
        |space| edit_pieces(space, BLOB, |piece| piece[0] ^= 1),
        3,
        "is damaged",
    );
}

/// Whatever happens to the pack and its index, the tasks run or are restored, and all is well again.
#[test]
fn a_pack_or_index_cut_anywhere_lost_or_of_another_format() {
    let cut = |path: PathBuf, eighths: usize| {
        let bytes = fs::read(&path).unwrap();
        fs::write(path, &bytes[..bytes.len() * eighths / 8]).unwrap();
    };
    for how in 0..20 {
        let space = Space::chain();
        space.run(&["last"]);
        let (pack, index) = (space.pack(), space.store().join("index"));
        match how {
            0..8 => cut(pack, how),
            8..16 => cut(index, how - 8),
            16 => fs::remove_file(pack).unwrap(),
            17 => fs::remove_file(index).unwrap(),
            18 => {
                let mut bytes = fs::read(&index).unwrap();
                bytes[7] = b'0';
                fs::write(index, bytes).unwrap();
            }
            _ => {
                // half a line, as of a process that was killed
                let mut bytes = fs::read(&index).unwrap();
                bytes.extend([7; 33]);
                fs::write(index, bytes).unwrap();
            }
        }
        space.write("src/a.txt", "other\n");
        space.run(&["last"]);
        space.write("src/a.txt", "hello world\n");
        space.run(&["last"]);
        assert_eq!(space.read("build/last.txt"), "HELend\n");
        fs::remove_dir_all(space.path("build")).unwrap();
        assert!(space.run(&["last"]).is_empty(), "{how}");
        assert_eq!(space.read("build/upper.txt"), "HELLO WORLD\n");
        space.call(&["verify", "--remove"]);
        assert_eq!(space.call(&["verify"]).code, 0, "{how}");
    }
}

#[test]
fn a_store_that_says_nothing_is_a_problem() {
    fn cut(path: &Path, to: usize) {
        fs::write(path, &fs::read(path).unwrap()[..to]).unwrap();
    }
    fn flip(path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        bytes[0] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    let edits: [(&str, fn(&Path, &Path), &str); 6] = [
        (
            "no pack",
            |pack, _| fs::remove_file(pack).unwrap(),
            "is of, is gone",
        ),
        (
            "no index",
            |_, index| fs::remove_file(index).unwrap(),
            "no index says what is in",
        ),
        (
            "empty",
            |_, index| fs::write(index, "").unwrap(),
            "the head of",
        ),
        ("cut", |_, index| cut(index, 100), "the last line of"),
        (
            "cut within the head",
            |_, index| cut(index, 63),
            "the head of",
        ),
        ("one bit", |_, index| flip(index), "the head of"),
    ];
    for (what, edit, message) in edits {
        let space = Space::chain();
        assert_eq!(space.call(&["verify"]).code, 0, "there is none yet");
        space.run(&["last"]);
        edit(&space.pack(), &space.store().join("index"));
        for args in [&["verify"][..], &["verify", "--remove"]] {
            let verify = space.call(args);
            assert_eq!(verify.code, 1, "{what}: {}", verify.out);
            assert!(verify.out.contains(message), "{what}: {}", verify.out);
        }
        let after = space.call(&["verify"]);
        assert_eq!(after.code, 0, "{what}: {}", after.out);
        fs::remove_dir_all(space.path("build")).unwrap();
        space.run(&["last"]);
        assert_eq!(space.call(&["verify"]).code, 0, "{what}");
        fs::remove_dir_all(space.path("build")).unwrap();
        assert!(space.run(&["last"]).is_empty(), "{what}");
    }
}

#[test]
fn what_verify_removes_is_no_problem_any_more() {
    for space in [Space::chain(), larger()] {
        space.run(&["last"]);
        edit_pieces(&space, BLOB, |piece| piece[0] ^= 1);
        for blob in files(&space.store().join("blobs")) {
            force_write(&blob, b"");
        }
        assert_eq!(space.call(&["verify", "--remove"]).code, 1);
        let after = space.call(&["verify"]);
        assert_eq!(after.code, 0, "{}", after.out);
        assert!(space.run(&["last"]).is_empty(), "outputs are in place");
        fs::remove_dir_all(space.path("build")).unwrap();
        assert_eq!(space.run(&["last"]), ["upper", "first", "last"]);
    }
}

#[test]
fn a_large_blob_with_one_bit_flipped() {
    let space = Space::big();
    space.run(&["big"]);
    let whole = Digest::of_file(&space.path("build/big")).unwrap();
    let blob = files(&space.store().join("blobs")).remove(0);
    let mut bytes = fs::read(&blob).unwrap();
    bytes[5_000_000] ^= 1;
    force_write(&blob, &bytes);
    fs::remove_file(space.path("build/big")).unwrap();
    assert_eq!(space.run(&["big"]), ["big"]);
    assert_eq!(Digest::of_file(&space.path("build/big")).unwrap(), whole);
}

#[test]
fn records_that_cannot_be_read_are_ignored() {
    let older: [fn(&mut [u8]); 4] = [
        |b| b.fill(0),
        |b| {
            let half = b.len() / 2;
            b[half..].fill(0);
        },
        |b| b[..8].copy_from_slice(b"hmkrec01"),
        |b| {
            let last = b.len() - 1;
            b[last] ^= 1;
        },
    ];
    for damage in older {
        let space = Space::chain();
        space.run(&["last"]);
        edit_pieces(&space, RECORD, damage);
        assert_eq!(space.call(&["verify"]).code, 1);
        fs::remove_dir_all(space.path("build")).unwrap();
        assert_eq!(space.run(&["last"]), ["upper", "first", "last"]);
        assert_eq!(space.read("build/last.txt"), "HELend\n");
        assert_eq!(space.call(&["verify"]).code, 0);
    }
}

#[test]
fn state_of_another_format_or_cut_anywhere_is_survived() {
    let space = Space::chain();
    space.run(&["last"]);
    let state = space.path("build/.hermake/state");
    let whole = fs::read(&state).unwrap();
    let mut other = whole.clone();
    other[7] = b'0';
    let cuts = (0..8).map(|i| whole[..whole.len() * i / 8].to_vec());
    for bytes in cuts.chain([other, vec![0; whole.len()]]) {
        fs::write(&state, &bytes).unwrap();
        fs::write(space.path("build/last.txt"), "edited").unwrap();
        assert!(space.run(&["last"]).is_empty(), "restored from the store");
        assert_eq!(space.read("build/last.txt"), "HELend\n");
    }
    for graph in fs::read_dir(space.path("build/.hermake/graph"))
        .unwrap()
        .flatten()
    {
        let bytes = fs::read(graph.path()).unwrap();
        fs::write(graph.path(), &bytes[..bytes.len() / 2]).unwrap();
    }
    assert!(space.run(&["last"]).is_empty());
}

#[test]
fn a_damaged_frame_in_the_middle_of_the_state_costs_no_correctness() {
    let space = Space::chain();
    for round in 0..6 {
        space.write("src/a.txt", &format!("text {round}\n"));
        space.run(&["last"]);
        let state = space.path("build/.hermake/state");
        let mut bytes = fs::read(&state).unwrap();
        let at = bytes.len() * (round + 1) / 8;
        bytes[at] ^= 0x40;
        fs::write(&state, &bytes).unwrap();
        space.write("src/a.txt", &format!("TEXT {round}\n"));
        space.run(&["last"]);
        assert_eq!(space.read("build/upper.txt"), format!("TEXT {round}\n"));
        assert!(space.run(&["last"]).is_empty());
    }
}

#[test]
fn writes_lost_by_a_power_cut_are_noticed() {
    // what was renamed into place but never reached the disk reads as nothing, or as zeros
    for lost in [Vec::new(), vec![0u8; 7]] {
        for larger in [false, true] {
            let space = if larger {
                self::larger()
            } else {
                Space::chain()
            };
            space.run(&["last"]);
            let (first, last) = (space.read("build/first.txt"), space.read("build/last.txt"));
            for path in files(&space.store().join("blobs")) {
                force_write(&path, &lost);
            }
            if lost.is_empty() {
                fs::write(space.pack(), b"").unwrap();
            } else {
                edit_pieces(&space, BLOB, |piece| piece.fill(0));
                edit_pieces(&space, RECORD, |piece| piece.fill(0));
            }
            fs::write(space.path("build/last.txt"), &lost).unwrap();
            space.run(&["last"]);
            assert_eq!(space.read("build/last.txt"), last);
            assert_eq!(space.read("build/first.txt"), first);
        }
    }
}

#[test]
fn gc_keeps_to_its_limits_and_says_what_goes() {
    let space = Space::chain();
    space.run(&["last"]);
    let dry = space.call(&["gc", "-n", "--size", "0"]);
    assert_eq!(dry.code, 0, "{}", dry.err);
    assert!(
        dry.out.contains("result of last: is over the size limit")
            && dry.out.contains("would free"),
        "{}",
        dry.out
    );
    assert_eq!(count(&space, BLOB), 3);
    let inode =
        |space: &Space| std::os::unix::fs::MetadataExt::ino(&fs::metadata(space.pack()).unwrap());
    let before = inode(&space);
    space.call(&["gc", "--size", "0"]);
    assert_eq!((count(&space, BLOB), count(&space, RECORD)), (0, 0));
    assert_ne!(inode(&space), before, "written anew");
    assert_eq!(fs::metadata(space.pack()).unwrap().len(), 0);
    assert!(space.run(&["last"]).is_empty(), "outputs are in place");
    fs::remove_file(space.path("build/upper.txt")).unwrap();
    assert_eq!(space.run(&["last"]), ["upper"]);
}

#[test]
fn the_store_keeps_to_its_limits_by_itself_once_a_day() {
    let space = Space::chain();
    space.write("hermake.toml", "[limits]\nstore-size = \"20B\"\n");
    space.run(&["last"]);
    assert_eq!(count(&space, RECORD), 3);
    let day = std::time::Duration::from_secs(25 * 3600);
    let stamp = fs::File::open(space.store().join("last-gc")).unwrap();
    stamp
        .set_modified(std::time::SystemTime::now() - day)
        .unwrap();
    space.write("src/a.txt", "other\n");
    space.run(&["last"]);
    // of 12, 3, 7, 6, 3 and 7 bytes the newest that fit stay
    assert_eq!(count(&space, RECORD), 4);
    fs::remove_file(space.path("build/last.txt")).unwrap();
    assert!(space.run(&["last"]).is_empty());
}

#[derive(Debug, Clone)]
enum Node {
    File(Vec<u8>, u32),
    Link(Vec<u8>),
    Dir(BTreeMap<Vec<u8>, Node>, u32),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    // any bytes that a name may have, UTF-8 or not
    proptest::collection::vec(
        prop_oneof![Just(b'a'), Just(b' '), Just(b'\n'), Just(0xff), 1u8..=255],
        1..12,
    )
    .prop_filter("a name", |n| !n.contains(&b'/') && n != b"." && n != b"..")
}

fn node() -> impl Strategy<Value = Node> {
    let content = prop_oneof![
        Just(Vec::new()),
        Just(b"same".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..200)
    ];
    let mode = prop_oneof![
        Just(0o644u32),
        Just(0o755),
        Just(0o600),
        Just(0o444),
        Just(0o500)
    ];
    let leaf = prop_oneof![
        (content, mode).prop_map(|(c, m)| Node::File(c, m)),
        name().prop_map(Node::Link)
    ];
    let dirs = prop_oneof![Just(0o755u32), Just(0o700), Just(0o555)];
    leaf.prop_recursive(3, 24, 6, move |inner| {
        (
            proptest::collection::btree_map(name(), inner, 0..6),
            dirs.clone(),
        )
            .prop_map(|(c, m)| Node::Dir(c, m))
    })
}

fn create(path: &Path, node: &Node) {
    match node {
        Node::File(bytes, mode) => {
            fs::write(path, bytes).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        Node::Link(target) => symlink(OsString::from_vec(target.clone()), path).unwrap(),
        Node::Dir(children, mode) => {
            fs::create_dir(path).unwrap();
            for (name, child) in children {
                create(&path.join(OsString::from_vec(name.clone())), child);
            }
            fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
        }
    }
}

fn scanned(path: &Path) -> Vec<Entry> {
    tree::scan(path, &mut |p, fp| Ok((Digest::of_file(p)?, *fp)))
        .unwrap()
        .into_iter()
        .map(|s| s.entry)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_is_kept_comes_back_as_it_was(node in node(), occupied in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(Some(&dir.path().join("store"))).unwrap();
        let made = dir.path().join("made");
        create(&made, &node);
        let entries = scanned(&made);
        store.keep_tree(&made, &entries, false).unwrap();
        let placed = dir.path().join("placed");
        if occupied {
            fs::create_dir_all(placed.join("something/else")).unwrap();
        }
        store.place(&entries, &placed, &dir.path().join("tmp"), false).unwrap();
        prop_assert_eq!(scanned(&placed), entries);
        prop_assert!(store.verify(false).problems.is_empty());
        hermake::fs::atomic::remove(&made).unwrap();
        hermake::fs::atomic::remove(&placed).unwrap();
    }
}

/// A record as the store writes it, around any payload.
fn framed(mark: &[u8], payload: &[u8]) -> Vec<u8> {
    [mark, &Digest::of(payload).0, payload].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is in a record's place is either that record or none: no panic, no hang, no memory without bound.
    #[test]
    fn no_bytes_in_a_records_place_make_it_panic(
        payload in proptest::collection::vec(any::<u8>(), 0..300),
        huge in any::<bool>(),
        framed_well in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(Some(&dir.path().join("store"))).unwrap();
        let key = Digest::of(b"key");
        let mut bytes = key.0.to_vec();
        if huge {
            // a list that claims to be of 2^63 entries
            bytes.extend([0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
        }
        bytes.extend(&payload);
        let whole = if framed_well { framed(hermake::store::record::MARK, &bytes) } else { bytes };
        let path = store.root().join("records").join(&key.hex()[..2]).join(&key.hex()[2..]);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &whole).unwrap();
        if let Some(record) = store.record(&key) {
            prop_assert_eq!(record.key, key);
        }
        let _ = store.verify(false);
        let _ = store.plan_gc(0, 0);
    }

    #[test]
    fn no_bytes_in_the_states_place_make_it_panic(
        tail in proptest::collection::vec(any::<u8>(), 0..300),
        cut in 0usize..4000,
        flips in proptest::collection::vec((0usize..4000, any::<u8>()), 0..6),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("build/.hermake");
        fs::create_dir_all(&folder).unwrap();
        let mut bytes = state_of_a_chain().to_vec();
        for (at, value) in flips {
            let at = at % bytes.len();
            bytes[at] ^= value;
        }
        bytes.truncate(cut.max(8));
        bytes.extend(tail);
        fs::write(folder.join("state"), &bytes).unwrap();
        let state = hermake::state::State::open(dir.path());
        let _ = state.task("upper");
        let _ = state.tasks().count();
        let _ = state.files().count();
    }

    #[test]
    fn no_bytes_in_the_graphs_place_make_it_panic(
        tail in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let space = Space::chain();
        let folder = space.path("build/.hermake/graph");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("vars"), "").unwrap();
        fs::write(folder.join("graph.bin"), [&hermake::config::graph::FORMAT[..], &tail].concat()).unwrap();
        let graph = hermake::config::Graph::open(&space.path(""), false).unwrap();
        prop_assert_eq!(graph.tasks.len(), 3);
    }
}

fn state_of_a_chain() -> &'static [u8] {
    static STATE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    STATE.get_or_init(|| {
        let space = Space::chain();
        space.run(&["last"]);
        fs::read(space.path("build/.hermake/state")).unwrap()
    })
}

#[test]
fn a_store_that_cannot_be_written_to_is_done_without() {
    let space = Space::chain();
    let cache = space.path("../cache");
    let lock = |mode| fs::set_permissions(&cache, fs::Permissions::from_mode(mode)).unwrap();
    fs::create_dir(&cache).unwrap();
    lock(0o555);
    let ran = space.as_user(&["run", "last"]);
    assert_eq!((ran.code, space.index().len()), (0, 3), "{}", ran.err);
    assert_eq!(
        ran.err.matches("nothing can be kept").count(),
        1,
        "{}",
        ran.err
    );
    assert!(
        ran.err.contains("set cache-dir in hermake.toml"),
        "{}",
        ran.err
    );
    let ran = space.as_user(&["run", "last"]);
    assert_eq!((ran.code, space.index().len()), (0, 3), "{}", ran.err);
    lock(0o755);
    // what is in a store that can only be read is used
    let other = space.sibling("other");
    assert_eq!(other.run(&["last"]).len(), 3);
    for dir in ["..", "."] {
        let dir = space.store().join(dir);
        fs::set_permissions(dir, fs::Permissions::from_mode(0o555)).unwrap();
    }
    for file in fs::read_dir(space.store()).unwrap().flatten() {
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o444)).unwrap();
    }
    let third = space.sibling("third");
    let ran = third.as_user(&["run", "last"]);
    assert_eq!((ran.code, third.index().len()), (0, 0), "{}", ran.err);
    for dir in ["..", "."] {
        let dir = space.store().join(dir);
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_graph_that_cannot_be_kept_is_read_again() {
    let space = Space::chain();
    space.run(&["last"]);
    let graph = space.path("build/.hermake/graph");
    fs::remove_dir_all(&graph).unwrap();
    fs::write(&graph, "in the way").unwrap();
    assert!(space.run(&["last"]).is_empty());
}

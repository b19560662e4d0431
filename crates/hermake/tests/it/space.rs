//! A project in a temporary folder, with a store, a home and a PATH of its own.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use hermake::runlog::{Ending, Indexed};
use tempfile::TempDir;

/// A chain of three tasks: `upper` and `lower` of a source, `both` of the two.
pub(crate) const CHAIN: &str = r#"
[task.upper]
inputs = ["src/a.txt"]
tools = ["sh", "coreutils"]
run = ["sh", "-c", "tr a-z A-Z < src/a.txt > $0", "{{ out }}"]
outputs = ["build/upper.txt"]

[task.first]
needs = ["upper"]
tools = ["sh", "coreutils"]
run = ["sh", "-c", "head -c 3 $0 > $1", "{{ needs.upper.out }}", "{{ out }}"]
outputs = ["build/first.txt"]

[task.last]
needs = ["first"]
tools = ["sh", "coreutils"]
run = ["sh", "-c", "cat $0 > $1; echo end >> $1", "{{ needs.first.out }}", "{{ out }}"]
outputs = ["build/last.txt"]
"#;

pub(crate) struct Space {
    dir: Arc<TempDir>,
    root: PathBuf,
}

/// What a call printed, and how it ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Space {
    /// A project with `tasks` in one file.
    pub(crate) fn new(tasks: &str) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let space = Self {
            root: dir.path().join("project"),
            dir,
        };
        space.write("hermake.toml", "");
        space.write("tasks/all.toml", tasks);
        space
    }

    /// The chain, with its source.
    pub(crate) fn chain() -> Self {
        let space = Self::new(CHAIN);
        space.write("src/a.txt", "hello world\n");
        space
    }

    /// One task, `big`, whose output is too large for the pack.
    pub(crate) fn big() -> Self {
        Self::new(
            r#"
        [task.big]
        tools = ["sh", "coreutils"]
        run = ["sh", "-c", "yes hermake | head -c 9000000 > $0", "{{ out }}"]
        outputs = ["build/big"]
        "#,
        )
    }

    /// Another checkout of the same files that shares the store.
    pub(crate) fn sibling(&self, name: &str) -> Self {
        let other = Self {
            dir: Arc::clone(&self.dir),
            root: self.dir.path().join(name),
        };
        for file in ["hermake.toml", "tasks/all.toml", "src/a.txt"] {
            if let Ok(text) = fs::read(self.path(file)) {
                other.write_bytes(file, &text);
            }
        }
        other
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.dir.path().join("cache/hermake/v2")
    }

    /// The store's pack.
    pub(crate) fn pack(&self) -> PathBuf {
        let mut packs = fs::read_dir(self.store())
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
            .filter(|p| {
                p.file_name()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .starts_with("pack-")
            });
        let pack = packs.next().expect("a pack");
        assert_eq!(packs.next(), None, "one pack");
        pack
    }

    /// Pieces of the store's pack: 1 for a record and 2 for content, and its bytes in the pack. The last of a name.
    pub(crate) fn pieces(&self) -> Vec<(u8, Range<usize>)> {
        let index = fs::read(self.store().join("index")).unwrap_or_default();
        let mut pieces: Vec<(&[u8], u8, Range<usize>)> = Vec::new();
        for line in index.chunks_exact(64).skip(1) {
            let len = u32::from_le_bytes(line[12..16].try_into().unwrap()) as usize;
            let at = u64::from_le_bytes(line[16..24].try_into().unwrap());
            let at = usize::try_from(at).unwrap();
            pieces.retain(|p| (p.0, p.1) != (&line[32..], line[8]));
            pieces.push((&line[32..], line[8], at..at + len));
        }
        pieces.into_iter().map(|p| (p.1, p.2)).collect()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        self.write_bytes(name, text.as_bytes());
    }

    pub(crate) fn write_bytes(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn script(&self, name: &str, text: &str) {
        self.write(name, text);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        String::from_utf8(fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}")))
            .unwrap()
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        fs::symlink_metadata(self.path(name)).is_ok()
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.root)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.dir.path().join("home"))
            .env("XDG_CACHE_HOME", self.dir.path().join("cache"));
        command
    }

    pub(crate) fn hermake(&self) -> Command {
        self.command(env!("CARGO_BIN_EXE_hermake"))
    }

    /// Calls hermake.
    pub(crate) fn call(&self, args: &[&str]) -> Ran {
        Ran::of(self.hermake().args(args).output().unwrap())
    }

    /// The same as somebody to whom permissions mean something, even where tests run as root.
    pub(crate) fn as_user(&self, args: &[&str]) -> Ran {
        let mut command = self.hermake();
        if fs::metadata(&self.root).unwrap().uid() == 0 {
            command = self.command("setpriv");
            command.args([
                "--bounding-set=-dac_override,-dac_read_search",
                "--inh-caps=-dac_override,-dac_read_search",
                env!("CARGO_BIN_EXE_hermake"),
            ]);
        }
        Ran::of(command.args(args).output().unwrap())
    }

    /// `hermake run …`, which must succeed; gives the tasks that ran.
    pub(crate) fn run(&self, args: &[&str]) -> Vec<String> {
        let before = self.index().len();
        let ran = Ran::of(self.hermake().arg("run").args(args).output().unwrap());
        assert_eq!(ran.code, 0, "{}", ran.err);
        self.index()[before..].to_vec()
    }

    /// Tasks in the order in which they ran, since ever.
    pub(crate) fn index(&self) -> Vec<String> {
        self.entries()
            .into_iter()
            .filter(|e| e.ending != Ending::Restored)
            .map(|e| e.task)
            .collect()
    }

    /// What ran or was restored, oldest first.
    pub(crate) fn entries(&self) -> Vec<Indexed> {
        hermake::runlog::read::index(&self.path("build/.hermake"))
    }

    /// Writes a Makefile that includes the rules, and gives a Make.
    pub(crate) fn make(&self, args: &[&str]) -> Command {
        if !self.exists("Makefile") {
            self.write(
                "Makefile",
                &format!(
                    "MAKEFLAGS += -rR\nall: last\ninclude $(shell {} mk)\n",
                    env!("CARGO_BIN_EXE_hermake")
                ),
            );
        }
        let mut make = self.command(&gnu_make());
        make.args(args);
        make
    }

    /// All files below the project but hermake's own, with their content.
    pub(crate) fn tree(&self, below: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let mut out = Vec::new();
        collect(&self.path(below), &mut out);
        out.sort();
        out
    }
}

/// The Make under test: `HERMAKE_TEST_MAKE`, or the one on PATH.
fn gnu_make() -> String {
    std::env::var("HERMAKE_TEST_MAKE").unwrap_or_else(|_| "make".to_owned())
}

fn collect(dir: &Path, out: &mut Vec<(PathBuf, Vec<u8>)>) {
    for item in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = item.path();
        if path.ends_with("build/.hermake") {
            continue;
        }
        if item.file_type().unwrap().is_dir() {
            collect(&path, out);
        } else {
            out.push((path.clone(), fs::read(&path).unwrap_or_default()));
        }
    }
}

impl Ran {
    /// What it said, but for how long tasks took: on a busy machine any may take long enough to be told.
    pub(crate) fn said(&self) -> String {
        let timed = |line: &&str| !line.contains(": done in ");
        self.err
            .lines()
            .filter(timed)
            .map(|l| format!("{l}\n"))
            .collect()
    }

    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

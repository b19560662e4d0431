//! Measures hermake against ninja and Make on synthetic projects, in interleaved pairs.
//!
//! `cargo run --release -p hermake --example bench -- [small] [medium] [large] [blob] [process] [make] [hash]`
//! (all if nothing is named). Needs ninja and make, and b3sum for `hash`; HERMAKE names another binary to measure,
//! TMPDIR where: removing many files right before making many is slow on ext4 without a journal.

#![allow(clippy::format_collect, reason = "short lists, written once")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A synthetic project: `tasks` tasks that each concatenate `files` files of `size` bytes.
struct Shape {
    name: &'static str,
    tasks: usize,
    files: usize,
    size: usize,
    rounds: usize,
}

const SHAPES: &[Shape] = &[
    Shape {
        name: "small",
        tasks: 16,
        files: 4,
        size: 4096,
        rounds: 21,
    },
    Shape {
        name: "medium",
        tasks: 200,
        files: 20,
        size: 4096,
        rounds: 11,
    },
    Shape {
        name: "large",
        tasks: 2000,
        files: 10,
        size: 1024,
        rounds: 7,
    },
    Shape {
        name: "blob",
        tasks: 3,
        files: 1,
        size: 600 << 20,
        rounds: 3,
    },
];

struct Bench {
    hermake: PathBuf,
    dir: PathBuf,
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    let own = std::env::current_exe().expect("own path");
    let beside = own
        .parent()
        .and_then(Path::parent)
        .expect("target folder")
        .join("hermake");
    let hermake = std::env::var_os("HERMAKE").map_or(beside, PathBuf::from);
    assert!(
        hermake.is_file(),
        "{} is not there: cargo build --release -p hermake",
        hermake.display()
    );
    let dir = std::env::temp_dir().join(format!("hermake-bench-{}", std::process::id()));
    let bench = Bench {
        hermake,
        dir: dir.clone(),
    };
    fs::create_dir_all(&dir).expect("creating the benchmark's folder");
    println!(
        "{:38} {:>10} {:>10} {:>7} {:>7}",
        "medians of interleaved runs", "hermake", "peer", "ratio", "goal"
    );
    if is("process") {
        bench.process();
    }
    for shape in SHAPES.iter().filter(|s| is(s.name)) {
        if bench.room_for(shape) {
            bench.shape(shape);
        }
        bench.clean();
    }
    if is("blob") && bench.room_for(&SHAPES[3]) {
        bench.restored_by_link();
        bench.clean();
    }
    if is("hash") {
        bench.hash();
    }
    if is("make") {
        bench.under_make();
    }
    fs::remove_dir_all(&dir).expect("removing the benchmark's folder");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

impl Bench {
    fn command(&self, dir: &Path, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(dir)
            .env("XDG_CACHE_HOME", self.dir.join("cache"))
            .env_remove("MAKEFLAGS")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn time(&self, dir: &Path, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Duration {
        let mut command = self.command(dir, program, args);
        let started = Instant::now();
        let status = command.status().expect("starting a program");
        let took = started.elapsed();
        assert!(status.success(), "{command:?} failed");
        took
    }

    /// Runs `ours` and `peer` in turn and prints medians and their ratio.
    fn pair(
        what: &str,
        goal: Option<f64>,
        rounds: usize,
        mut ours: impl FnMut() -> Duration,
        mut peer: impl FnMut() -> Duration,
    ) {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            a.push(ours());
            b.push(peer());
        }
        let (a, b) = (median(a), median(b));
        let ms = |d: Duration| format!("{:.1} ms", d.as_secs_f64() * 1000.0);
        println!(
            "{what:38} {:>10} {:>10} {:>7.2} {:>7}",
            ms(a),
            ms(b),
            a.as_secs_f64() / b.as_secs_f64(),
            goal.map_or_else(String::new, |g| format!("{g:.2}"))
        );
    }

    fn process(&self) {
        let dir = self.dir.join("process");
        write(&dir, &SHAPES[0]);
        self.time(&dir, &self.hermake, &["run"]);
        std::thread::sleep(Duration::from_millis(50));
        self.time(&dir, &self.hermake, &["run"]);
        Self::pair(
            "one up-to-date task : true",
            Some(2.5),
            201,
            || self.time(&dir, &self.hermake, &["run", "--leaf", "t0"]),
            || self.time(&dir, "true", &[]),
        );
    }

    fn shape(&self, shape: &Shape) {
        let dir = self.dir.join(shape.name);
        write(&dir, shape);
        let label = |what: &str| format!("{} {what} : ninja", shape.name);
        let hermake = |args: &[&str]| self.time(&dir, &self.hermake, args);
        let ninja = || self.time(&dir, "ninja", &["-f", "build.ninja"]);
        let clean = |names: &[&str]| {
            for name in names {
                let path = if *name == "cache" {
                    self.dir.join(name)
                } else {
                    dir.join(name)
                };
                if path.exists() {
                    fs::remove_dir_all(path).expect("cleaning");
                }
            }
        };
        let cold = if shape.rounds > 7 { 3 } else { 1 };
        for mode in ["none", "auto"] {
            fs::write(dir.join("hermake.toml"), format!("sandbox = \"{mode}\"\n"))
                .expect("writing");
            let with = if mode == "auto" { " with sandbox" } else { "" };
            Self::pair(
                &label(&format!("cold{with}")),
                (mode == "none").then_some(1.3),
                cold,
                || {
                    clean(&["build", "cache"]);
                    hermake(&["run"])
                },
                || {
                    clean(&["ninja"]);
                    ninja()
                },
            );
            let mut edit = 0;
            let change = |edit: usize| {
                let mut bytes = content(0, 0, shape.size.min(1 << 20));
                bytes[0] = u8::try_from(edit % 251).expect("small");
                fs::write(dir.join("src/0/0"), bytes).expect("editing");
            };
            let mut edits = || {
                edit += 1;
                change(edit);
            };
            let mut one = Vec::new();
            let mut other = Vec::new();
            for _ in 0..shape.rounds {
                edits();
                one.push(hermake(&["run"]));
                other.push(ninja());
            }
            let (mut one, mut other) = (one.into_iter(), other.into_iter());
            Self::pair(
                &label(&format!("leaf change{with}")),
                Some(if mode == "none" { 1.15 } else { 1.5 }),
                shape.rounds,
                || one.next().expect("as many"),
                || other.next().expect("as many"),
            );
        }
        std::thread::sleep(Duration::from_millis(50));
        hermake(&["run"]);
        ninja();
        let goal = match shape.name {
            "medium" | "large" => 1.0,
            _ => 1.2,
        };
        Self::pair(
            &label("no-op"),
            Some(goal),
            if shape.tasks < 100 { 21 } else { shape.rounds },
            || hermake(&["run"]),
            ninja,
        );
        let makefile = || self.time(&dir, "make", &["-rR", "-s"]);
        makefile();
        Self::pair(
            &format!("{} no-op : make -rR", shape.name),
            None,
            shape.rounds,
            || hermake(&["run"]),
            makefile,
        );
        Self::pair(
            &format!("{} restored : ninja no-op", shape.name),
            (shape.name == "large").then_some(2.0),
            shape.rounds.min(7),
            || {
                clean(&["build/out"]);
                hermake(&["run"])
            },
            ninja,
        );
        self.tell_peak(shape.name, &dir);
    }

    fn tell_peak(&self, name: &str, dir: &Path) {
        // what has just been restored is read once more: its times are too young
        std::thread::sleep(Duration::from_millis(50));
        self.time(dir, &self.hermake, &["run"]);
        println!(
            "{:38} {:>10} {:>26}",
            format!("{name} peak memory"),
            format!("{} KiB", self.peak(dir)),
            "49152 KiB"
        );
    }

    /// The largest resident size of a no-op, in KiB.
    fn peak(&self, dir: &Path) -> u64 {
        let mut child = self
            .command(dir, &self.hermake, &["run"])
            .spawn()
            .expect("starting");
        let path = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        while child.try_wait().expect("waiting").is_none() {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let line = text.lines().find(|l| l.starts_with("VmHWM"));
            let kib = line
                .and_then(|l| l.split_whitespace().nth(1)?.parse().ok())
                .unwrap_or(0);
            peak = peak.max(kib);
        }
        peak
    }

    /// Removes what is there, so that one shape's files don't take the next one's memory.
    fn clean(&self) {
        for item in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            fs::remove_dir_all(item.path()).expect("cleaning");
        }
    }

    /// True if there is room for six copies of what the shape makes; says so if not.
    fn room_for(&self, shape: &Shape) -> bool {
        let needed = (shape.tasks * shape.files * shape.size * 6) as u64;
        let stat = rustix::fs::statvfs(&self.dir).expect("asking for room");
        let enough = stat.f_bavail * stat.f_frsize > needed;
        if !enough {
            println!("{}: skipped, needs {} MiB", shape.name, needed >> 20);
        }
        enough
    }

    /// One output of 600 MiB, deleted and taken from the store as a link.
    fn restored_by_link(&self) {
        let dir = self.dir.join("link");
        let shape = &Shape {
            tasks: 1,
            ..SHAPES[3]
        };
        write(&dir, shape);
        let file = dir.join("tasks/all.toml");
        let linked = fs::read_to_string(&file).expect("reading") + "link = true\n";
        fs::write(file, linked).expect("writing");
        self.time(&dir, &self.hermake, &["run"]);
        std::thread::sleep(Duration::from_millis(50));
        self.time(&dir, &self.hermake, &["run"]);
        let mut times = Vec::new();
        for _ in 0..5 {
            fs::remove_dir_all(dir.join("build/out")).expect("cleaning");
            times.push(self.time(&dir, &self.hermake, &["run"]));
        }
        let took = median(times).as_secs_f64() * 1000.0;
        println!(
            "{:38} {:>10} {:>26}",
            "600 MiB restored by link",
            format!("{took:.1} ms"),
            "50 ms"
        );
    }

    /// Reading and hashing a file that is in memory, against b3sum with as many threads.
    fn hash(&self) {
        let path = self.dir.join("content");
        let part = content(1, 1, 1 << 20);
        fs::write(&path, part.repeat(600)).expect("writing");
        if Command::new("b3sum").arg("--version").output().is_err() {
            println!("hashing 600 MiB: b3sum is not there (cargo install b3sum)");
            return;
        }
        let name = path.to_str().expect("UTF-8");
        Self::pair(
            "hashing 600 MiB : b3sum",
            Some(1.1),
            9,
            || {
                let started = Instant::now();
                hermake::fs::Digest::of_file(&path).expect("hashing");
                started.elapsed()
            },
            || self.time(&self.dir, "b3sum", &[name]),
        );
    }

    fn under_make(&self) {
        let dir = self.dir.join("make");
        write(&dir, &SHAPES[0]);
        self.time(&dir, &self.hermake, &["run"]);
        self.time(&dir, &self.hermake, &["mk"]);
        let rules = format!(
            "HERMAKE = {}\nall: {}\ninclude build/tasks.mk\n",
            self.hermake.display(),
            (0..16).map(|i| format!("t{i} ")).collect::<String>()
        );
        fs::write(dir.join("Makefile.h"), rules).expect("writing");
        let names: String = (0..16).map(|i| format!("t{i} ")).collect();
        fs::write(
            dir.join("Makefile.t"),
            format!("all: {names}\n.PHONY: {names}\n{names}:\n\t@true\n"),
        )
        .expect("writing");
        std::thread::sleep(Duration::from_millis(50));
        self.time(&dir, "make", &["-rR", "-f", "Makefile.h"]);
        Self::pair(
            "16 targets under make : 16 × true",
            Some(1.5),
            41,
            || self.time(&dir, "make", &["-rR", "-f", "Makefile.h"]),
            || self.time(&dir, "make", &["-rR", "-f", "Makefile.t"]),
        );
    }
}

fn content(task: usize, file: usize, size: usize) -> Vec<u8> {
    let mut seed = (task * 1000 + file + 1) as u64;
    (0..size)
        .map(|_| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            seed.to_be_bytes()[0]
        })
        .collect()
}

/// Writes the project for hermake, ninja and Make.
fn write(dir: &Path, shape: &Shape) {
    let (mut toml, mut ninja, mut make) = (String::new(), String::new(), String::new());
    ninja.push_str("builddir = ninja\nrule cat\n  command = cat $in > $out\n");
    let all: String = (0..shape.tasks)
        .map(|i| format!("ninja/make{i} "))
        .collect();
    let _ = writeln!(make, "all: {all}");
    for task in 0..shape.tasks {
        fs::create_dir_all(dir.join(format!("src/{task}"))).expect("creating");
        let mut names = Vec::new();
        for file in 0..shape.files {
            let name = format!("src/{task}/{file}");
            // large files repeat one megabyte
            let part = content(task, file, shape.size.min(1 << 20));
            fs::write(dir.join(&name), part.repeat(shape.size / part.len())).expect("writing");
            names.push(name);
        }
        let list = names
            .iter()
            .map(|n| format!("\"{n}\""))
            .collect::<Vec<_>>()
            .join(", ");
        let _ = writeln!(
            toml,
            "[task.t{task}]\ninputs = [{list}]\ntools = [\"sh\", \"cat\"]\nrun = [\"sh\", \"-c\", 'cat \"$@\" > $0', \"{{{{ out }}}}\", {list}]\noutputs = [\"build/out/{task}\"]\n"
        );
        let _ = writeln!(ninja, "build ninja/{task}: cat {}", names.join(" "));
        let _ = writeln!(
            make,
            "ninja/make{task}: {}\n\t@cat $^ > $@",
            names.join(" ")
        );
    }
    fs::create_dir_all(dir.join("tasks")).expect("creating");
    fs::write(dir.join("hermake.toml"), "").expect("writing");
    fs::write(dir.join("tasks/all.toml"), toml).expect("writing");
    fs::write(dir.join("build.ninja"), ninja).expect("writing");
    fs::write(dir.join("Makefile"), make).expect("writing");
}

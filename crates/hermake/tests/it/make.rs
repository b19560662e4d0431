//! The rules, under the real GNU Make.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;

use crate::failures::wait_for;
use crate::space::{Ran, Space};

fn make(space: &Space, args: &[&str]) -> Ran {
    Ran::of(space.make(args).output().unwrap())
}

#[test]
fn builds_then_says_nothing() {
    let space = Space::chain();
    let first = make(&space, &[]);
    assert_eq!(first.code, 0, "{}", first.err);
    assert_eq!(space.index(), ["upper", "first", "last"]);
    let again = make(&space, &[]);
    assert_eq!(
        (again.code, again.out.as_str(), again.err.as_str()),
        (0, "", "")
    );
    assert_eq!(space.index().len(), 3);
}

#[test]
fn an_include_and_a_folder_of_tasks_are_all_it_takes() {
    let space = Space::chain();
    fs::remove_file(space.path("hermake.toml")).unwrap();
    let first = make(&space, &[]);
    assert_eq!(first.code, 0, "{}", first.err);
    assert_eq!(space.read("build/last.txt"), "HELend\n");
    assert_eq!(make(&space, &["-q"]).code, 0);
    // from a folder below, too
    let below = space
        .hermake()
        .args(["status", "last"])
        .current_dir(space.path("src"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&below.stdout), "last  ok     run\n");
    // and it is seen when there is one after all
    space.write("hermake.toml", "[limits]\nruns = \"many\"\n");
    let wrong = space.call(&["run"]);
    assert!(
        wrong.code == 2 && wrong.err.contains("--> hermake.toml:2:8"),
        "{}",
        wrong.err
    );
    let nowhere = space
        .hermake()
        .arg("run")
        .current_dir(space.path(".."))
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&nowhere.stderr).into_owned();
    assert!(
        err.contains("neither hermake.toml nor tasks/*.toml in"),
        "{err}"
    );
}

#[test]
fn outputs_are_targets() {
    let space = Space::chain();
    assert_eq!(make(&space, &["build/upper.txt"]).code, 0);
    assert_eq!(space.index(), ["upper"]);
}

#[test]
fn dry_run_says_what_and_why_and_changes_nothing() {
    let space = Space::chain();
    make(&space, &[]);
    space.write("src/a.txt", "other\n");
    let before = space.tree("build");
    let dry = make(&space, &["-n"]);
    assert_eq!(dry.code, 0, "{}", dry.err);
    assert!(
        dry.err
            .contains("upper: would run: input src/a.txt changed"),
        "{}",
        dry.err
    );
    assert!(
        dry.err
            .contains("first: would be looked at again after `upper`"),
        "{}",
        dry.err
    );
    assert_eq!(space.tree("build"), before);
    assert_eq!(space.index().len(), 3);
}

#[test]
fn question_answers_by_exit_status() {
    let space = Space::chain();
    make(&space, &[]);
    let q = make(&space, &["-q"]);
    assert_eq!((q.code, q.err.as_str()), (0, ""));
    space.write("src/a.txt", "other\n");
    let q = make(&space, &["-q"]);
    assert_eq!((q.code, space.index().len()), (1, 3), "{}", q.err);
}

#[test]
fn force_runs_and_silent_is_silent() {
    let space = Space::chain();
    make(&space, &[]);
    assert_eq!(make(&space, &["-B", "last"]).code, 0);
    assert_eq!(space.index().len(), 6);
    space.write("src/a.txt", "other\n");
    let silent = make(&space, &["-s"]);
    assert_eq!(
        (silent.code, silent.out.as_str(), silent.err.as_str()),
        (0, "", "")
    );
    assert_eq!(space.index().len(), 9);
}

#[test]
fn keep_going_goes_on() {
    let space = Space::new(
        r#"
        [task.bad]
        tools = ["sh"]
        run = ["sh", "-c", "exit 1"]
        [task.good]
        tools = ["sh"]
        run = ["sh", "-c", "exit 0"]
        "#,
    );
    let one = make(&space, &["bad", "good"]);
    assert_eq!(one.code, 2);
    assert_eq!(space.index(), ["bad"]);
    make(&space, &["-k", "bad", "good"]);
    assert_eq!(space.index(), ["bad", "bad", "good"]);
}

#[test]
fn flags_with_spaces_survive() {
    let space = Space::chain();
    let ran = make(&space, &["NAME=a n q s B", "-j2"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(space.index(), ["upper", "first", "last"]);
}

#[test]
fn recipes_are_started_without_a_shell() {
    let space = Space::chain();
    // Make starts a recipe itself if it holds nothing that only a shell understands
    assert_eq!(space.call(&["mk"]).code, 0);
    space.write(
        "Makefile",
        "MAKEFLAGS += -rR\nall: last\ninclude build/tasks.mk\n",
    );
    let ran = make(&space, &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let rules = space.read("build/tasks.mk");
    let recipes: Vec<_> = rules.lines().filter(|l| l.starts_with('\t')).collect();
    assert_eq!(recipes.len(), 3);
    for recipe in recipes {
        assert!(recipe.starts_with("\t+@$(HERMAKE) run --leaf "), "{recipe}");
        assert!(
            !recipe.contains(['"', '\'', '`', ';', '&', '|', '<', '>', '*', '?', '\\', '~']),
            "{recipe}"
        );
    }
}

#[test]
fn new_tasks_are_seen() {
    let space = Space::chain();
    make(&space, &[]);
    space.write(
        "tasks/more.toml",
        "[task.more]\ntools = [\"sh\"]\nrun = [\"sh\", \"-c\", \"exit 0\"]\n",
    );
    assert_eq!(make(&space, &["more"]).code, 0);
    // the same with a file of one's own, which Make remakes
    space.write(
        "Makefile",
        &format!(
            "MAKEFLAGS += -rR\nHERMAKE := {}\nall: last\ninclude build/own.mk\nbuild/own.mk: ; $(HERMAKE) mk --out $@\n",
            env!("CARGO_BIN_EXE_hermake")
        ),
    );
    assert_eq!(make(&space, &["more"]).code, 0);
    let quiet = make(&space, &[]);
    assert_eq!((quiet.out.as_str(), quiet.err.as_str()), ("", ""));
    std::thread::sleep(std::time::Duration::from_millis(20));
    space.write(
        "tasks/third.toml",
        "[task.third]\ntools = [\"sh\"]\nrun = [\"sh\", \"-c\", \"exit 0 # third\"]\n",
    );
    let ran = make(&space, &["third"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(space.index().last().map(String::as_str), Some("third"));
}

#[test]
fn one_make_is_one_run() {
    let space = Space::chain();
    make(&space, &["-j3"]);
    let log = space.call(&["log", "--last"]);
    assert_eq!(log.out.lines().count(), 3, "{}", log.out);
}

fn interrupt(signal: rustix::process::Signal) {
    use std::os::unix::process::CommandExt;
    let space = Space::new(
        r#"
        [task.good]
        tools = ["sh"]
        run = ["sh", "-c", "echo x > $0", "{{ out }}"]
        outputs = ["build/good"]
        [task.last]
        needs = ["good"]
        inputs = ["wait"]
        tools = ["sh", "coreutils"]
        run = ["sh", "-c", "echo torn > $0; sleep $(cat wait); echo end > $0", "{{ out }}"]
        outputs = ["build/last"]
        "#,
    );
    space.write("wait", "7654.5");
    let mut make = space.make(&["-j2"]);
    let mut child = make
        .process_group(0)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let sleeping = || {
        fs::read_dir("/proc").unwrap().flatten().any(|e| {
            fs::read(e.path().join("cmdline")).is_ok_and(|c| c.windows(6).any(|w| w == b"7654.5"))
        })
    };
    wait_for(sleeping);
    let group = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process_group(group, signal).unwrap();
    assert!(!child.wait().unwrap().success());
    wait_for(|| !sleeping());
    assert!(!space.exists("build/last"));
    space.write("wait", "0");
    assert_eq!(Ran::of(space.make(&["-j2"]).output().unwrap()).code, 0);
    assert_eq!(space.read("build/last"), "end\n");
}

#[test]
fn interrupted_it_goes_on_next_time() {
    interrupt(rustix::process::Signal::INT);
}

#[test]
fn killed_it_goes_on_next_time() {
    interrupt(rustix::process::Signal::KILL);
}

/// Eight tasks that note when they begin and end, walked by one hermake.
fn counted(space: &Space) -> usize {
    let (mut now, mut most) = (0usize, 0);
    for line in space.read("events").lines() {
        if line == "begin" {
            now += 1;
            most = most.max(now);
        } else {
            now -= 1;
        }
    }
    assert_eq!(now, 0);
    most
}

#[test]
fn never_more_jobs_than_make_allows() {
    let tasks: String = (0..8)
        .map(|i| {
            format!(
                "[task.t{i}]\nimpure = \"notes when it runs\"\nrun = [\"sh\", \"-c\", \"echo begin >> events; sleep 0.1; echo end >> events # {i}\"]\n"
            )
        })
        .collect();
    for (jobs, most) in [("-j1", 1), ("-j3", 2), ("-s", 1)] {
        let space = Space::new(&tasks);
        space.write("events", "");
        // one slot is taken by another recipe the whole time
        space.write(
            "Makefile",
            &format!(
                "MAKEFLAGS += -rR\nall: walk sleep\nwalk:\n\t+@{} run\nsleep:\n\t@sleep 1.5\n",
                env!("CARGO_BIN_EXE_hermake")
            ),
        );
        let ran = make(&space, &[jobs]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(!ran.err.contains("jobserver"), "{}", ran.err);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        assert_eq!(counted(&space), most.min(cores), "{jobs}");
    }
}

#[test]
fn descriptors_that_are_no_jobserver_are_not_trusted() {
    let space = Space::chain();
    for flags in [
        " -j4 --jobserver-auth=997,998",
        " -j4 --jobserver-auth=0,1",
        " -j --jobserver-fds=3,4",
        " -j4 --jobserver-auth=fifo:/nonexistent",
    ] {
        let _ = fs::remove_dir_all(space.path("build"));
        let _ = fs::remove_dir_all(space.store());
        let output = space
            .hermake()
            .args(["run", "last"])
            .env("MAKELEVEL", "1")
            .env("MAKEFLAGS", flags)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{flags}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn a_fifo_jobserver_is_used() {
    let space = Space::new(
        &(0..6).map(|i| format!("[task.t{i}]\nimpure = \"x\"\nrun = [\"sh\", \"-c\", \"echo begin >> events; sleep 0.1; echo end >> events # {i}\"]\n")).collect::<String>(),
    );
    space.write("events", "");
    let mut fifo = Fifo::new(&space, 2);
    let output = fifo.command(&space, &["run"]).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    assert_eq!(counted(&space), 3.min(cores));
    fifo.whole();
}

/// Four tasks that print several lines each, with pauses, and one that prints a very long one.
fn talkers() -> Space {
    let mut tasks: String = (0..4)
        .map(|i| {
            format!(
                "[task.t{i}]\nprogress = true\ntools = [\"sh\", \"sleep\"]\nrun = [\"sh\", \"-c\", \"for n in 1 2 3; do echo t{i} says $n; sleep 0.05; done\"]\n"
            )
        })
        .collect();
    tasks += "[task.all]\nneeds = [\"t*\"]\ntools = [\"sh\"]\nrun = [\"sh\", \"-c\", \"exit 0\"]\n";
    let space = Space::new(&tasks);
    space.write(
        "Makefile",
        &format!(
            "MAKEFLAGS += -rR\nfirst: all\ninclude $(shell {} mk)\n",
            env!("CARGO_BIN_EXE_hermake")
        ),
    );
    space
}

/// Lines of tasks, by who printed them, runs of the same one taken together.
fn speakers(err: &str) -> Vec<&str> {
    let mut out: Vec<&str> = Vec::new();
    for line in err.lines().filter(|l| l.contains(" says ")) {
        let (who, what) = line.split_once(": ").unwrap();
        assert!(what.starts_with(&format!("{who} says ")), "torn: {line}");
        if out.last() != Some(&who) {
            out.push(who);
        }
    }
    out
}

#[test]
fn output_is_grouped_by_task_if_make_groups_it() {
    let space = talkers();
    for flags in [
        &["-j4", "-O"][..],
        &["-j4", "-Orecurse", "-B"],
        &["-j4", "--output-sync=target", "-B"],
    ] {
        let ran = make(&space, flags);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert_eq!(speakers(&ran.err).len(), 4, "{flags:?}: {}", ran.err);
    }
    let ran = space.call(&["run", "-B", "-j4", "--group"]);
    assert_eq!(speakers(&ran.err).len(), 4, "{}", ran.err);
    // `-Oline` has an `n` that is no -n
    let before = space.index().len();
    assert_eq!(make(&space, &["-B", "-Oline"]).code, 0);
    assert_eq!(space.index().len(), before + 5);
}

#[test]
fn lines_of_parallel_tasks_are_whole() {
    // longer than what a pipe keeps in one piece
    let tasks: String = (0..6)
        .map(|i| {
            format!(
                "[task.t{i}]\nprogress = true\ntools = [\"sh\", \"coreutils\"]\nrun = [\"sh\", \"-c\", \"for n in 1 2 3 4 5; do printf %030000d 0 | tr 0 {i}; echo; done\"]\n"
            )
        })
        .collect();
    let space = Space::new(&tasks);
    space.write(
        "Makefile",
        &format!(
            "MAKEFLAGS += -rR\nfirst: t0 t1 t2 t3 t4 t5\ninclude $(shell {} mk)\n",
            env!("CARGO_BIN_EXE_hermake")
        ),
    );
    let by_make = make(&space, &["-j6"]);
    let by_one = space.call(&["run", "-B", "-j6"]);
    for ran in [by_make, by_one] {
        assert_eq!(ran.code, 0);
        let long: Vec<_> = ran.err.lines().filter(|l| l.len() > 1000).collect();
        assert_eq!(long.len(), 30);
        for line in long {
            let (task, digits) = line.split_once(": ").unwrap();
            assert!(
                digits.len() == 30_000 && digits.chars().all(|c| task.ends_with(c)),
                "torn: {task} {} bytes",
                digits.len()
            );
        }
    }
}

/// A jobserver of GNU Make 4.4, held by hand, with so many tokens beside the slot that is ours.
struct Fifo {
    held: fs::File,
    flags: String,
    tokens: usize,
}

impl Fifo {
    fn new(space: &Space, tokens: usize) -> Self {
        let path = space.path("fifo");
        assert!(
            space
                .command("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        let mut held = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
            .open(&path)
            .unwrap();
        std::io::Write::write_all(&mut held, &vec![b'+'; tokens]).unwrap();
        let flags = format!(" -j{} --jobserver-auth=fifo:{}", tokens + 1, path.display());
        Self {
            held,
            flags,
            tokens,
        }
    }

    fn command(&self, space: &Space, args: &[&str]) -> std::process::Command {
        let mut command = space.hermake();
        command
            .args(args)
            .env("MAKELEVEL", "1")
            .env("MAKEFLAGS", &self.flags);
        command
    }

    /// All tokens are there again, and no more.
    fn whole(&mut self) {
        let mut back = [0; 64];
        let count = std::io::Read::read(&mut self.held, &mut back).unwrap();
        assert_eq!(count, self.tokens);
        std::io::Write::write_all(&mut self.held, &back[..count]).unwrap();
    }
}

#[test]
fn tokens_are_returned_however_it_ends() {
    let mut tasks: String = (0..6)
        .map(|i| format!("[task.bad{i}]\ntools = [\"sh\", \"sleep\"]\nrun = [\"sh\", \"-c\", \"sleep 0.0{i}; exit 1\"]\n"))
        .collect();
    for i in 0..6 {
        tasks += &format!(
            "[task.slow{i}]\nimpure = \"notes\"\nrun = [\"sh\", \"-c\", \"echo > began{i}; sleep 7654.7\"]\n"
        );
    }
    tasks += "[task.late]\ntimeout = \"1s\"\ntools = [\"sleep\"]\nrun = [\"sleep\", \"7654.8\"]\n";
    let space = Space::new(&tasks);
    let mut fifo = Fifo::new(&space, 3);
    let names = |kind: &str| (0..6).map(|i| format!("{kind}{i}")).collect::<Vec<_>>();
    for options in [&["run"][..], &["run", "-k"]] {
        let mut command = fifo.command(&space, options);
        let output = command.args(names("bad")).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        fifo.whole();
    }
    let output = fifo
        .command(&space, &["run", "late", "bad1", "-k"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    fifo.whole();
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        let began = || {
            (0..6)
                .filter(|i| space.exists(&format!("began{i}")))
                .count()
        };
        for i in 0..6 {
            let _ = fs::remove_file(space.path(&format!("began{i}")));
        }
        let mut command = fifo.command(&space, &["run"]);
        let mut child = command
            .args(names("slow"))
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        wait_for(|| began() >= cores.min(4));
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        fifo.whole();
    }
}

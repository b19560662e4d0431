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
    let recipes: Vec<_> = rules.lines().filter_map(|l| l.split_once(" ; ")).collect();
    assert_eq!(recipes.len(), 3);
    for (_, recipe) in recipes {
        assert!(recipe.starts_with("+@$(HERMAKE) run --leaf "), "{recipe}");
        assert!(
            !recipe.contains(['"', '\'', '`', ';', '&', '|', '<', '>', '*', '?', '\\', '~']),
            "{recipe}"
        );
    }
}

/// A Makefile with `text` before and after the line that includes the rules.
fn including(space: &Space, before: &str, after: &str) {
    let hermake = env!("CARGO_BIN_EXE_hermake");
    let include = format!("include $(shell {hermake} mk)\n");
    let text = format!("MAKEFLAGS += -rR\n{before}{include}{after}");
    space.write("Makefile", &text);
}

#[test]
fn an_output_may_be_called_as_its_task_but_not_as_another() {
    let tasks = r#"
        [task.hello]
        inputs = ["in"]
        tools = ["sh", "coreutils"]
        run = ["sh", "-c", "cat in > $0", "{{ out }}"]
        outputs = ["hello"]
        "#;
    let space = Space::new(tasks);
    space.write("in", "one");
    including(&space, "all: hello\n", "");
    let ran = make(&space, &[]);
    assert_eq!((ran.code, space.read("hello").as_str()), (0, "one"));
    assert_eq!(ran.said(), "hello: no result of it yet\n");
    assert_eq!(make(&space, &["-q", "hello"]).code, 0);
    space.write("in", "two");
    make(&space, &["hello"]);
    assert_eq!(space.read("hello"), "two");
    // a folder's target has its slash
    let doc = "[task.doc]\ntools = [\"sh\"]\nrun = [\"sh\", \"-c\", \"exit 0\"]\n";
    let folder = tasks
        .replace("[\"hello\"]", "[\"doc/\"]")
        .replace("> $0", "> $0/x");
    space.write("tasks/all.toml", &(folder + doc));
    assert_eq!(make(&space, &["doc/"]).code, 0);
    assert_eq!(space.index(), ["hello", "hello", "hello"]);
    space.write(
        "tasks/all.toml",
        &(tasks.replace("[\"hello\"]", "[\"doc\"]") + doc),
    );
    let ran = make(&space, &["doc"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err
            .contains("the output `doc` of `hello` is called as the task `doc`")
            && ran.err.contains("--> tasks/all.toml:6:20"),
        "{}",
        ran.err
    );
    // without Make there is nothing wrong with it
    assert_eq!(space.call(&["run", "-n"]).code, 0);
}

#[test]
fn without_rules_make_stops() {
    let space = Space::chain();
    including(
        &space,
        "package: build/last.txt\n\tcp build/last.txt package\n",
        "",
    );
    assert_eq!(make(&space, &[]).code, 0);
    let good = space.read("tasks/all.toml");
    let rules = space.read("build/tasks.mk");
    space.write("src/a.txt", "other\n");
    space.write("tasks/all.toml", &(good.clone() + "typo = 1\n"));
    let ran = make(&space, &[]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(
        ran.err.contains("unknown field `typo`") && ran.err.contains("`hermake mk` has failed"),
        "{}",
        ran.err
    );
    // the rules are not lost, for who includes them by their name
    assert_eq!(space.read("build/tasks.mk"), rules);
    space.write("tasks/all.toml", &good);
    assert_eq!(make(&space, &[]).code, 0);
    assert_eq!(space.read("package"), "OTHend\n");
    // where there is no project, and no folder to write to
    fs::remove_dir_all(space.path("tasks")).unwrap();
    fs::remove_file(space.path("hermake.toml")).unwrap();
    let ran = make(&space, &["-k"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("neither hermake.toml nor"), "{}", ran.err);
}

#[test]
fn a_make_without_hermake_stops() {
    let space = Space::chain();
    let manual = include_str!("../../../../docs/make.md");
    let line = manual.lines().find(|l| l.starts_with("include $(or"));
    let line = line.expect("the guard is in the manual");
    space.write(
        "Makefile",
        &format!("all: ; @echo nothing to stop at\n{line}\n"),
    );
    let ran = make(&space, &[]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
    assert!(ran.err.contains("no rules from hermake"), "{}", ran.err);
    let program = env!("CARGO_BIN_EXE_hermake");
    let line = line.replace("shell hermake", &format!("shell {program}"));
    space.write("Makefile", &format!("all: last\n{line}\n"));
    assert_eq!(make(&space, &[]).code, 0);
}

#[test]
fn the_first_target_is_the_makefiles_own() {
    let space = Space::chain();
    including(&space, "", "all: last\n");
    let ran = make(&space, &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(space.index(), ["upper", "first", "last"]);
    including(
        &space,
        ".DEFAULT_GOAL = $(goal)\ngoal = first\n",
        "all: last\n",
    );
    make(&space, &["-B"]);
    assert_eq!(space.index().len(), 5, "only `first`, and what it needs");
    including(&space, "", "");
    let ran = make(&space, &[]);
    assert!(
        ran.code == 2 && ran.err.contains("No targets"),
        "{}",
        ran.err
    );
}

#[test]
fn names_that_make_reads_in_its_own_way() {
    let names = [
        "a;b",
        "c\\nd",
        "e=f",
        "g:h%i#j k$l",
        "m*",
        "n\\\\o",
        ".PHONY",
        "q/.r",
    ];
    let outputs = names.map(|n| format!("\"{n}\"")).join(", ");
    let task = format!(
        "[task.all]\ntools = [\"coreutils\"]\nrun = [\"touch\", \"{{{{ outs }}}}\"]\noutputs = [{outputs}]\n"
    );
    // the project's folder, and the program's
    for folder in ["a#b", "a$b", "a:b", "a%b", "a b'c"] {
        let space = Space::new("").sibling(folder);
        space.write("tasks/all.toml", &task);
        let program = space.path(&format!("bin {folder}/hermake"));
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_hermake"), &program).unwrap();
        space.write(
            "Makefile",
            ".RECIPEPREFIX = >\nfirst: all\ninclude $(shell \"$$PROGRAM\" mk)\n",
        );
        let make =
            |args: &[&str]| Ran::of(space.make(args).env("PROGRAM", &program).output().unwrap());
        let ran = make(&["-rR"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(
            space.exists("g:h%i#j k$l") && space.exists(".PHONY"),
            "{folder}"
        );
        fs::remove_file(space.path("g:h%i#j k$l")).unwrap();
        let ran = make(&["-rR", "g:h%i#j k$l"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(space.exists("g:h%i#j k$l"), "{folder}");
    }
}

#[test]
fn task_files_may_have_any_name() {
    let space = Space::chain();
    let tasks = space.read("tasks/all.toml");
    fs::remove_dir_all(space.path("tasks")).unwrap();
    space.write("hermake.toml", "tasks = \"t#s s/*.toml\"\n");
    space.write("t#s s/a b$c%d:e.toml", &tasks);
    space.write(
        "Makefile",
        &format!(
            "MAKEFLAGS += -rR\nHERMAKE := {}\nall: last\ninclude build/own.mk\nbuild/own.mk: ; $(HERMAKE) mk --out $@\n",
            env!("CARGO_BIN_EXE_hermake")
        ),
    );
    assert_eq!(make(&space, &[]).code, 0);
    let quiet = make(&space, &[]);
    assert_eq!((quiet.out.as_str(), quiet.err.as_str()), ("", ""));
    std::thread::sleep(std::time::Duration::from_millis(20));
    space.write(
        "t#s s/a b$c%d:e.toml",
        &tasks.replace("task.last", "task.final"),
    );
    assert_eq!(make(&space, &["final"]).code, 0);
    fs::rename(
        space.path("t#s s/a b$c%d:e.toml"),
        space.path("t#s s/x.toml"),
    )
    .unwrap();
    let ran = make(&space, &["final"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[test]
fn a_linked_output_that_is_placed_again_is_newer() {
    let space = Space::new(
        r#"
        [task.big]
        inputs = ["in"]
        tools = ["sh", "coreutils"]
        run = ["sh", "-c", "yes $(cat in) | head -c 9000000 > $0", "{{ out }}"]
        outputs = ["build/big"]
        link = true
        "#,
    );
    including(
        &space,
        "package: build/big\n\thead -c 3 build/big > package\n",
        "",
    );
    for word in ["uno", "dos", "uno", "dos"] {
        space.write("in", word);
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(make(&space, &[]).code, 0);
        assert_eq!(space.read("package"), word);
        // no more than once
        let again = make(&space, &[]);
        assert!(!again.out.contains("head"), "{}", again.out);
    }
    assert_eq!(space.index(), ["big", "big"]);
    assert_eq!(space.call(&["verify"]).code, 0);
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

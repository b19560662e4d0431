//! Tasks that don't end well record nothing, leave nothing running and leave the last good outputs.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::space::Space;

const GOOD: &str = "echo good > $0";
/// On a busy machine too.
const PLENTY: &str = "300s";

/// A task whose script is `script`, after it has once run well.
fn after_good(script: &str, timeout: &str) -> Space {
    let space = Space::new("");
    set(&space, GOOD, PLENTY);
    assert_eq!(space.run(&["t"]), ["t"]);
    set(&space, script, timeout);
    space
}

fn set(space: &Space, script: &str, timeout: &str) {
    space.write(
        "tasks/all.toml",
        &format!(
            "[task.t]\ntimeout = \"{timeout}\"\ntools = [\"sh\", \"coreutils\", \"setsid\"]\nrun = [\"sh\", \"-c\", '''{script}''', \"{{{{ out }}}}\"]\noutputs = [\"build/t\"]\n"
        ),
    );
}

/// The task fails twice, says `what`, and the good output is still there and is its output again.
fn fails(script: &str, what: &str) {
    fails_within(PLENTY, script, what);
}

fn fails_within(timeout: &str, script: &str, what: &str) {
    let space = after_good(script, timeout);
    for _ in 0..2 {
        let ran = space.call(&["run", "t"]);
        assert_eq!(ran.code, 1, "{}", ran.err);
        assert!(ran.err.contains(what), "{}", ran.err);
        assert_eq!(space.read("build/t"), "good\n");
    }
    assert_eq!(space.index(), ["t", "t", "t"]);
    set(&space, GOOD, PLENTY);
    assert!(space.run(&["t"]).is_empty());
}

#[test]
fn failing() {
    fails(
        "echo bad > $0; echo oh no >&2; exit 3",
        "`t` failed: exit status 3\n  | oh no",
    );
}

#[test]
fn killed_by_a_signal() {
    fails("kill -9 $$", "ended by signal 9");
}

#[test]
fn writing_nothing() {
    fails("true", "its output `build/t` was not written");
}

#[test]
fn writing_a_folder_instead_of_a_file() {
    fails("mkdir $0", "is a folder: declare it with a trailing slash");
}

#[test]
fn writing_outside_of_its_outputs() {
    fails(
        "echo good > $0; echo > build/other",
        "it wrote `build/other`, which is not declared",
    );
}

#[test]
fn changing_its_inputs() {
    let space = Space::new("");
    space.write("src/in", "text\n");
    space.script("src/run", "echo run\n");
    let task = |script: &str| {
        space.write(
            "tasks/all.toml",
            &format!(
                "[task.t]\ninputs = [\"src/in\", \"src/run\"]\ntools = [\"sh\", \"coreutils\"]\nrun = [\"sh\", \"-c\", '''{script}; cat src/in > $0''', \"{{{{ out }}}}\"]\noutputs = [\"build/deep/er/t\"]\n"
            ),
        );
    };
    for sandbox in ["auto", "staged"] {
        space.write("hermake.toml", &format!("sandbox = \"{sandbox}\"\n"));
        for (script, what) in [
            (
                "rm -f src/in; echo other > src/in",
                "it changed its input `src/in`",
            ),
            (
                "rm -f src/in; echo TEXT > src/in",
                "it changed its input `src/in`",
            ),
            ("rm -f src/run", "it removed its input `src/run`"),
            (
                "chmod u+w src/in; echo x >> src/in",
                "it changed its input `src/in`",
            ),
            (
                "mkdir build/left",
                "it wrote `build/left`, which is not declared",
            ),
            (
                "mkdir -p src/a/b",
                "it wrote `src/a/b`, which is not declared",
            ),
        ] {
            task(script);
            let ran = space.call(&["run", "t"]);
            assert_eq!(ran.code, 1, "{script}: {}", ran.err);
            assert!(ran.err.contains(what), "{script}: {}", ran.err);
        }
        // what is in its inputs is as it was
        task("ln src/in $TMPDIR/other 2>/dev/null; touch src/in; chmod u+w src/in; cat src/run");
        assert_eq!(space.run(&["t"]).len(), 1);
        fs::remove_dir_all(space.path("build")).unwrap();
        fs::remove_dir_all(space.store()).unwrap();
    }
}

/// The last line of `hermake log`'s list says how it ended, and why.
fn ended_with(space: &Space, what: &str) {
    let last = space.entries().pop().unwrap();
    assert_eq!(last.ending, hermake::runlog::Ending::Failed);
    assert!(last.what.contains(what), "{}", last.what);
}

#[test]
fn what_cannot_be_an_output() {
    let what = "its output `build/t`: ";
    fails("mkfifo $0", what);
    let space = after_good("mkfifo $0", PLENTY);
    assert_eq!(space.call(&["run", "t"]).code, 1);
    ended_with(&space, "socket, pipe or device");
}

#[test]
fn an_output_that_cannot_be_placed() {
    let space = after_good("echo other > $0", PLENTY);
    space.write(
        "tasks/all.toml",
        &space
            .read("tasks/all.toml")
            .replace("build/t", "build/sub/t"),
    );
    std::os::unix::fs::symlink("/tmp", space.path("build/sub")).unwrap();
    let ran = space.call(&["run", "t"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(
        ran.err
            .contains("`t` failed: the output build/sub/t would be written to")
    );
    ended_with(&space, "outside of the project");
}

#[test]
fn too_slow() {
    let started = Instant::now();
    fails_within("1s", "sleep 600", "not done after 1 s");
    assert!(started.elapsed() < Duration::from_secs(300));
}

fn alive(marker: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|e| {
        fs::read(e.path().join("cmdline"))
            .is_ok_and(|c| c.windows(marker.len()).any(|w| w == marker.as_bytes()))
    })
}

#[test]
fn leaving_a_background_process() {
    fails("echo good > $0; sleep 7654.1 & exit 0", "it left running");
    assert!(!alive("7654.1"));
}

#[test]
fn leaving_a_background_process_in_a_session_of_its_own() {
    fails(
        "echo good > $0; setsid sleep 7654.2 > /dev/null 2>&1 & sleep 0.2; exit 0",
        "it left running",
    );
    assert!(!alive("7654.2"));
}

#[test]
fn interrupted() {
    let space = after_good("sleep 7654.3; echo bad > $0", PLENTY);
    set(&space, "sleep 7654.3; echo bad > $0", PLENTY);
    let text = space
        .read("tasks/all.toml")
        .replace("timeout = \"{timeout}\"\n", "");
    space.write("tasks/all.toml", &text);
    let mut child = space
        .hermake()
        .args(["run", "t"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(|| alive("7654.3"));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    wait_for(|| !alive("7654.3"));
    assert_eq!(space.read("build/t"), "good\n");
    for part in ["root", "home", "tmp"] {
        let left = fs::read_dir(space.path("build/.hermake/stage/0").join(part))
            .unwrap()
            .count();
        assert_eq!(left, 0, "the stage is empty again");
    }
}

pub(crate) fn wait_for(done: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(90);
    while !done() {
        assert!(Instant::now() < until, "waited too long");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn undeclared_reads_fail_and_name_the_line_to_add() {
    let space = Space::new(
        r#"
        [task.made]
        tools = ["sh"]
        run = ["sh", "-c", "echo x > $0", "{{ out }}"]
        outputs = ["build/made"]
        [task.t]
        tools = ["sh", "cat"]
        run = ["sh", "-c", "cat secret.txt build/made > $0", "{{ out }}"]
        outputs = ["build/t"]
        "#,
    );
    space.write("secret.txt", "x");
    space.run(&["made"]);
    let ran = space.call(&["run", "t"]);
    assert_eq!(ran.code, 1);
    for hint in [
        "secret.txt is there but not declared: add inputs = [\"secret.txt\"] at tasks/all.toml:6",
        "build/made is made by `made`, which this task does not declare: add needs = [\"made\"] at tasks/all.toml:6",
    ] {
        assert!(ran.err.contains(hint), "{}", ran.err);
    }
}

#[test]
fn reads_that_fail_without_a_word_are_named_too() {
    let space = Space::new(
        r#"
        [task.t]
        tools = ["sh", "cat"]
        run = ["sh", "-c", "cat secret.txt 2> /dev/null || exit 3"]
        [task.u]
        tools = ["cat"]
        run = ["cat", "/etc/hostname"]
        "#,
    );
    space.write("secret.txt", "x");
    let ran = space.call(&["run", "t"]);
    assert!(
        ran.err.contains("secret.txt is there but not declared: add inputs = [\"secret.txt\"] at tasks/all.toml:2"),
        "{}",
        ran.err
    );
    if Path::new("/etc/hostname").is_file() {
        let ran = space.call(&["run", "u"]);
        assert!(
            ran.err
                .contains("/etc/hostname is outside of the project, where a task sees nothing"),
            "{}",
            ran.err
        );
    }
}

#[test]
fn undeclared_tools_are_refused_and_named() {
    let space = Space::new("[task.t]\ntools = [\"sh\"]\nrun = [\"cp\", \"a\", \"b\"]\n");
    let ran = space.call(&["run", "t"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err
            .contains("`cp` is not among its tools: add tools = [\"cp\"] at tasks/all.toml:1"),
        "{}",
        ran.err
    );
}

#[test]
fn an_input_that_changes_while_its_task_runs_is_not_recorded() {
    let space = Space::new(
        r#"
        [task.t]
        impure = "edits its own input, as an editor might"
        inputs = ["src/a"]
        run = ["sh", "-c", "cat src/a > $0; echo more >> src/a", "{{ out }}"]
        outputs = ["build/t"]
        "#,
    );
    space.write("src/a", "x\n");
    let ran = space.call(&["run", "t"]);
    assert!(
        ran.err
            .contains("changed while it ran: nothing is recorded"),
        "{}",
        ran.err
    );
    assert_eq!(ran.code, 1);
    ended_with(&space, "an input changed while it ran");
    assert!(!space.exists("build/t"), "it is not placed");
    assert!(space.pieces().is_empty());
}

#[test]
fn others_go_on_only_with_k() {
    let tasks = r#"
        [task.bad]
        tools = ["sh"]
        run = ["sh", "-c", "exit 1"]
        [task.after]
        needs = ["bad"]
        tools = ["sh"]
        run = ["sh", "-c", "exit 0"]
        [task.good]
        tools = ["sh"]
        run = ["sh", "-c", "exit 0"]
    "#;
    let space = Space::new(tasks);
    assert_eq!(space.call(&["run", "-j1", "bad", "good"]).code, 1);
    assert_eq!(space.index(), ["bad"]);
    assert_eq!(space.call(&["run", "-j1", "-k"]).code, 1);
    assert_eq!(space.index(), ["bad", "bad", "good"]);
}

#[test]
fn a_tool_called_by_its_path_is_told_from_an_input() {
    let space = Space::new("");
    space.script("own/tool", "#!/bin/sh\necho works\n");
    let path = space.path("own/tool").display().to_string();
    let task = |command: &str| {
        format!(
            "[task.t]\ntools = [\"sh\", \"{path}\"]\nrun = [\"sh\", \"-c\", \"{command} > $0\", \"{{{{ out }}}}\"]\noutputs = [\"build/t\"]\n"
        )
    };
    space.write("tasks/all.toml", &task(&path));
    let ran = space.call(&["run"]);
    let hint = format!(
        "= {path} is among its tools, and those are on its PATH by their names alone: call `tool`"
    );
    assert!(ran.code == 1 && ran.err.contains(&hint), "{}", ran.err);
    assert!(!ran.err.contains("add inputs"), "{}", ran.err);
    space.write("tasks/all.toml", &task("tool"));
    assert_eq!(space.run(&[]), ["t"]);
    assert_eq!(space.read("build/t"), "works\n");
}

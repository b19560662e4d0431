//! Logs: kept, limited, found again, and never in the way.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::space::Space;

const TALKS: &str = r#"
[task.long]
inputs = ["src/a.txt"]
tools = ["sh", "coreutils"]
run = ["sh", "-c", "seq 1 2000; cat src/a.txt"]
[task.short]
inputs = ["src/a.txt"]
tools = ["sh", "coreutils"]
run = ["sh", "-c", "cat src/a.txt; echo an error >&2; exit ${FAIL-0}"]
env = { FAIL = "{{ vars.FAIL }}" }
"#;

fn space() -> Space {
    let space = Space::new(TALKS);
    space.write("hermake.toml", "[vars]\nFAIL = \"0\"\n");
    space.write("src/a.txt", "round 0\n");
    space
}

/// Names of the folders of runs.
fn runs(space: &Space) -> Vec<String> {
    let folders = hermake::runlog::read::folders(&space.path("build/.hermake"));
    let name = |p: &std::path::PathBuf| p.file_name().unwrap().to_str().unwrap().to_owned();
    folders.iter().map(name).collect()
}

#[test]
fn long_logs_are_compressed_and_read_as_if_they_were_not() {
    let space = space();
    space.run(&["-j1"]);
    let folder = format!("build/.hermake/runs/{}", runs(&space)[0]);
    assert!(
        space.exists(&format!("{folder}/long.log.gz"))
            && !space.exists(&format!("{folder}/long.log"))
    );
    assert!(space.exists(&format!("{folder}/short.log")));
    assert!(
        fs::metadata(space.path(&format!("{folder}/long.log.gz")))
            .unwrap()
            .len()
            < 20_000
    );
    let log = space.call(&["log", "-t", "long"]).out;
    assert_eq!(log.lines().count(), 2002, "a head, all lines, and the last");
    assert!(log.ends_with("\n2000\nround 0\n"));
    assert_eq!(
        space.call(&["log", "--grep", "199"]).out.lines().count(),
        12
    );
    // a hit replays a compressed log too
    let other = space.sibling("other");
    assert!(other.run(&["long"]).is_empty());
    let replay = other.call(&["log", "-t", "long"]).out;
    assert!(
        replay.starts_with("# replay: made ") && replay.contains("\n1\n2\n3\n"),
        "{replay}"
    );
}

#[test]
fn runs_are_kept_by_count_and_size() {
    let space = space();
    space.write("hermake.toml", "[vars]\nFAIL = \"0\"\n[limits]\nruns = 3\n");
    for round in 1..=5 {
        space.write("src/a.txt", &format!("round {round}\n"));
        assert_eq!(space.call(&["run", "short"]).code, 0);
    }
    assert_eq!(runs(&space).len(), 3);
    assert_eq!(space.entries().len(), 3, "the index goes with its run");
    assert!(space.call(&["log", "-t", "short"]).out.contains("round 5"));
    space.write(
        "hermake.toml",
        "[vars]\nFAIL = \"0\"\n[limits]\nlogs-size = \"10B\"\n",
    );
    // sizes are looked at once an hour
    fs::remove_file(space.path("build/.hermake/runs/weighed")).unwrap();
    space.write("src/a.txt", "round 6\n");
    assert_eq!(space.call(&["run", "short"]).code, 0);
    assert_eq!(runs(&space).len(), 1);
    assert!(space.call(&["log", "-t", "short"]).out.contains("round 6"));
}

#[test]
fn logs_that_cannot_be_written_fail_nothing() {
    let space = space();
    space.write("build/.hermake/runs", "in the way");
    let ran = space.call(&["run"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(space.call(&["run"]).err, "", "and the result is recorded");
    let log = space.call(&["log", "-t", "short"]);
    assert!(
        log.out.starts_with("# replay") || log.code == 2,
        "{} {}",
        log.out,
        log.err
    );
}

#[test]
fn a_log_is_found_by_task_run_time_and_end() {
    let space = space();
    space.run(&["-j1"]);
    let ran = space
        .hermake()
        .args(["run", "short"])
        .env("FAIL", "3")
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&ran.stderr);
    assert!(err.contains("\n  | round 0\n  | an error\n  all of it: hermake log --task short   (build/.hermake/runs/"), "{err}");
    let lines = |args: &[&str]| {
        let ran = space.call(args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
        ran.out.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(&["log"]).len(), 3);
    assert_eq!(lines(&["log", "--last"]).len(), 1);
    assert_eq!(lines(&["log", "--failed"]).len(), 1);
    assert_eq!(lines(&["log", "--since", "1h"]).len(), 3);
    assert_eq!(lines(&["log", "--since", "0s"]).len(), 0);
    let list = lines(&["log", "--runs"]);
    assert!(
        list.len() == 2
            && list[0].contains("  2 ran  (")
            && list[1].contains("  1 ran, 1 failed  ("),
        "{list:?}"
    );
    let first = &runs(&space)[0];
    assert_eq!(lines(&["log", "--run", first]).len(), 2);
    assert_eq!(
        lines(&["log", "-t", "short", "--stderr"])[1..],
        ["an error"]
    );
    assert_eq!(
        lines(&["log", "-t", "short"])[1..],
        ["round 0", "an error", "hermake: exit status 3"]
    );
    assert_eq!(
        lines(&["log", "-t", "short", "--run", first])[1..],
        ["round 0", "an error"]
    );
    assert_eq!(
        lines(&["log", "-t", "short", "--failed"]).last().unwrap(),
        "hermake: exit status 3"
    );
    assert_eq!(lines(&["log", "--grep", "error"]).len(), 2);
    assert_eq!(lines(&["log", "--grep", "error", "--failed"]).len(), 1);
    for (args, message) in [
        (&["log", "--run", "x"][..], "there is no run `x` here"),
        (
            &["log", "-t", "shrt"],
            "there is no task `shrt`; did you mean `short`?",
        ),
        (
            &["log", "-t", "long", "--failed"],
            "`long` has no log of a failure here",
        ),
        (&["log", "--since", "soon"], "`soon` is no time like 2h"),
    ] {
        let ran = space.call(args);
        assert!(
            ran.code == 2 && ran.err.contains(message),
            "{args:?}: {}",
            ran.err
        );
    }
}

#[test]
fn a_restored_task_is_listed_as_such() {
    let space = space();
    space.run(&["short"]);
    let other = space.sibling("other");
    other.run(&["short"]);
    let list = other.call(&["log"]).out;
    assert!(
        list.contains("  restored  ") && list.contains("short: no result of it yet"),
        "{list}"
    );
    let stats = other.call(&["stats"]).out;
    assert!(
        stats.contains("1 was restored (100 % of what was out of date)"),
        "{stats}"
    );
}

#[test]
fn follow_shows_lines_as_they_come() {
    let space = Space::new(
        r#"
        [task.slow]
        impure = "waits for the test"
        run = ["sh", "-c", "echo first; while ! test -e go; do sleep 0.05; done; seq 1 2000; echo last"]
        "#,
    );
    let mut run = space
        .hermake()
        .args(["run"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut follow = space
        .hermake()
        .args(["log", "--follow"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "slow: first");
    let list = space.call(&["log"]).out;
    assert!(
        list.contains("  no end    ") && list.contains("slow: no result of it yet"),
        "{list}"
    );
    assert!(
        space
            .call(&["log", "-t", "slow"])
            .out
            .ends_with("\nfirst\n")
    );
    space.write("go", "");
    assert!(run.wait().unwrap().success());
    // what follows the log's compression is not missed, and nothing is told twice
    let rest: Vec<_> = lines.by_ref().take(2001).map(Result::unwrap).collect();
    assert_eq!(
        (rest[0].as_str(), rest[2000].as_str()),
        ("slow: 1", "slow: last")
    );
    follow.kill().unwrap();
    follow.wait().unwrap();
}

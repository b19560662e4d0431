//! What people read.

use crate::space::Space;

/// The output with what differs from run to run replaced.
fn settled(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let words: Vec<String> = line
            .split(' ')
            .map(|w| {
                let digits = w.bytes().filter(u8::is_ascii_digit).count();
                let dated = w.len() >= 8 && digits >= 6 && !w.contains(".toml");
                if dated {
                    "<when>".to_owned()
                } else {
                    w.to_owned()
                }
            })
            .collect();
        out.push_str(&words.join(" "));
        out.push('\n');
    }
    out
}

fn without_times(text: &str) -> String {
    let text = settled(text);
    let mut out: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let number = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        out.push(if number {
            "N".to_owned()
        } else {
            word.to_owned()
        });
    }
    // milliseconds, or seconds on a busy machine
    let mut text = out
        .join(" ")
        .replace("N min N s", "N s")
        .replace("N s", "N ms");
    while text.contains("  N ms") {
        text = text.replace("  N ms", " N ms");
    }
    text
}

#[test]
fn of_a_first_run_and_a_change() {
    let space = Space::chain();
    let mut text = space.call(&["run", "-j1", "last"]).said();
    space.write("src/a.txt", "other\n");
    text += &space.call(&["run", "last"]).said();
    std::fs::remove_dir_all(space.path("build/")).unwrap();
    text += &space.call(&["run", "-v", "-j1", "last"]).said();
    insta::assert_snapshot!(text);
}

#[test]
fn of_status_graph_and_why() {
    let space = Space::chain();
    space.run(&["upper"]);
    let mut text = space.call(&["status"]).out;
    space.run(&["last"]);
    space.write("src/a.txt", "other\n");
    space.write(
        "tasks/all.toml",
        &space.read("tasks/all.toml").replace("echo end", "echo END"),
    );
    text += &space.call(&["status"]).out;
    for args in [
        &["graph"][..],
        &["graph", "--form", "dot"],
        &["graph", "--form", "mermaid"],
        &["why", "upper"],
        &["why", "last"],
    ] {
        text += &format!("--- {}\n", args.join(" "));
        text += &without_times(&space.call(args).out);
    }
    insta::assert_snapshot!(text);
}

#[test]
fn of_logs() {
    let space = Space::new(
        r#"
        [task.talks]
        tools = ["sh", "sleep"]
        run = ["sh", "-c", "echo out; echo ::stage two; echo ::progress 1 2 bytes x; sleep 0.1; echo err >&2; exit ${FAIL-0}"]
        env = { FAIL = "{{ vars.FAIL }}" }
        "#,
    );
    space.write("hermake.toml", "[vars]\nFAIL = \"0\"\n");
    space.run(&[]);
    let failed = space
        .hermake()
        .args(["run"])
        .env("FAIL", "4")
        .output()
        .unwrap();
    let mut text = without_times(&String::from_utf8_lossy(&failed.stderr).replace("20", "<when>"));
    // the stage's time differs
    text = text
        .lines()
        .filter(|l| !l.contains('[') && !l.contains(": done in "))
        .map(|l| l.to_owned() + "\n")
        .collect();
    for args in [
        &["log"][..],
        &["log", "-t", "talks", "--stderr"],
        &["log", "--failed"],
        &["log", "--grep", "err"],
    ] {
        text += &format!("--- {}\n", args.join(" "));
        text += &without_times(&space.call(args).out);
    }
    let text: String = text
        .lines()
        .filter(|l| !l.contains("all of it"))
        .map(|l| l.to_owned() + "\n")
        .collect();
    insta::assert_snapshot!(text);
}

#[test]
fn a_hit_replays_its_log_in_another_checkout() {
    let tasks = "[task.t]\ntools = [\"sh\"]\nrun = [\"sh\", \"-c\", \"echo printed; echo > $0\", \"{{ out }}\"]\noutputs = [\"build/t\"]\n";
    let space = Space::new(tasks);
    assert_eq!(space.run(&["t"]), ["t"]);
    let other = space.sibling("other");
    assert!(other.run(&["t"]).is_empty());
    let log = other.call(&["log", "-t", "t"]);
    assert!(
        log.out.starts_with("# replay: made ") && log.out.ends_with("\nprinted\n"),
        "{}",
        log.out
    );
}

#[test]
fn questions_leave_no_trace() {
    let space = Space::chain();
    for args in [
        &["status"][..],
        &["why", "last"],
        &["graph"],
        &["run", "-n"],
        &["run", "-q"],
        &["log"],
        &["gc", "-n"],
    ] {
        let ran = space.call(args);
        assert!(ran.code <= 1, "{args:?}: {}", ran.err);
        assert!(!space.exists("build"), "{args:?} wrote");
        assert!(!space.store().exists(), "{args:?} wrote to the store");
    }
}

//! Why a task ran or would run: the first change unasked, all of them and a diff when asked.

use std::fs;

use crate::space::{Ran, Space};

const ALL: &str = r#"
[task.t]
inputs = ["src/*.txt"]
params = ["lab.size"]
tools = ["sh", "coreutils", "helper"]
env = { MODE = "{{ vars.MODE }}" }
run = ["sh", "-c", '''
cat src/*.txt > $0
''', "{{ out }}"]
outputs = ["build/t"]
"#;

fn space() -> Space {
    let space = Space::new(ALL);
    space.write(
        "hermake.toml",
        "[params]\nlab = \"lab.toml\"\n[vars]\nMODE = \"slow\"\n",
    );
    space.write("lab.toml", "size = 1\n");
    space.write("src/a.txt", "one\ntwo\nthree\nfour\n");
    space.script("build/bin/helper", "#!/bin/sh\n");
    assert_eq!(space.run(&["t"]), ["t"]);
    space
}

fn edited(space: &Space, from: &str, to: &str) {
    let text = space.read("tasks/all.toml");
    assert!(text.contains(from));
    space.write("tasks/all.toml", &text.replacen(from, to, 1));
}

#[test]
fn each_miss_names_what_changed_first() {
    let space = space();
    let miss = || space.call(&["run", "t"]).said();
    space.write("src/a.txt", "one\n2\nthree\nfour\n");
    assert_eq!(miss(), "t: input src/a.txt changed\n");
    space.write("src/b.txt", "new\n");
    assert_eq!(miss(), "t: input src/b.txt is new\n");
    space.write("lab.toml", "size = 2\n");
    assert_eq!(miss(), "t: parameter lab.size changed (1 → 2)\n");
    space.script("build/bin/helper", "#!/bin/sh\n# newer\n");
    assert_eq!(miss(), "t: tool helper changed\n");
    edited(&space, "cat src", "cat  src");
    assert_eq!(
        miss(),
        "t: command changed at tasks/all.toml:7 (cat src/*.txt > $0 → cat  src/*.txt > $0)\n"
    );
    edited(&space, "\"build/t\"", "\"build/u\"");
    assert!(
        miss().starts_with(
            "t: command changed at tasks/all.toml:7 (build/t → build/u), and 1 more\n"
        )
    );
    let ran = space
        .hermake()
        .args(["run", "t"])
        .env("MODE", "fast")
        .output()
        .unwrap();
    assert_eq!(
        Ran::of(ran).said(),
        "t: variable MODE changed at tasks/all.toml:6 (slow → fast)\n"
    );
    assert_eq!(space.call(&["run", "-B", "t"]).said(), "t: forced\n");
}

#[test]
fn text_inputs_are_shown_as_a_diff() {
    let space = space();
    space.write("src/a.txt", "one\ntwo\n3\nfour\nfive\n");
    edited(&space, "cat src", "cat -u src");
    let without_run = |text: String| {
        text.lines()
            .filter(|l| !l.starts_with("last ran"))
            .map(|l| l.to_owned() + "\n")
            .collect::<String>()
    };
    let before = without_run(space.call(&["why", "t"]).out);
    space.run(&["t"]);
    let after = without_run(space.call(&["why", "t"]).out);
    assert_eq!(
        before.replace(
            "t would run: input src/a.txt changed, and 1 more",
            "t is up to date"
        ),
        after
    );
    insta::assert_snapshot!(before);
}

#[test]
fn needed_outputs_are_shown_as_a_diff_too() {
    let space = Space::chain();
    space.run(&["last"]);
    space.write("src/a.txt", "help\n");
    space.run(&["upper"]);
    let why = space.call(&["why", "first"]).out;
    let diff =
        "  needed output build/upper.txt changed\n    @@ -1 +1 @@\n    -HELLO WORLD\n    +HELP\n";
    assert!(why.contains(diff), "{why}");
}

#[test]
fn without_a_kept_text_git_is_asked() {
    let space = space();
    let git = |args: &[&str]| {
        let identity = ["-c", "user.name=x", "-c", "user.email=x@localhost"];
        space
            .command("git")
            .args(identity)
            .args(args)
            .output()
            .is_ok_and(|o| o.status.success())
    };
    if !(git(&["init", "-q"]) && git(&["add", "."]) && git(&["commit", "-qm", "x"])) {
        // no git here
        return;
    }
    let texts = space.path("build/.hermake/texts");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&texts).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700, "inputs may be private");
    fs::remove_dir_all(texts).unwrap();
    space.write("src/a.txt", "one\ntwo\n3\nfour\n");
    let why = space.call(&["why", "t"]).out;
    assert!(why.contains("    -three\n    +3\n"), "{why}");
}

#[test]
fn reasons_are_told_apart() {
    let space = space();
    let why = || {
        space
            .call(&["why", "t"])
            .out
            .lines()
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(why(), "t is up to date");
    let made = fs::read(space.path("build/t")).unwrap();
    fs::write(space.path("build/t"), "edited").unwrap();
    assert_eq!(why(), "t would be restored: output build/t was changed");
    fs::remove_file(space.path("build/t")).unwrap();
    assert_eq!(why(), "t would be restored: output build/t is gone");
    assert!(
        space
            .call(&["run", "-n", "t"])
            .err
            .contains("t: would be restored: output build/t is gone")
    );
    let mut pack = fs::read(space.pack()).unwrap();
    let at = pack.windows(made.len()).position(|some| some == made);
    pack[at.unwrap()] ^= 1;
    fs::write(space.pack(), pack).unwrap();
    let blob = why();
    assert!(
        blob.starts_with("t would run: the stored content ") && blob.ends_with(" is damaged"),
        "{blob}"
    );
    fs::remove_file(space.store().join("index")).unwrap();
    assert_eq!(why(), "t would run: output build/t is gone");
    fs::remove_dir_all(space.path("build/.hermake")).unwrap();
    assert_eq!(why(), "t would run: no result of it yet");
    space.run(&["t"]);
    space.run(&["-B", "t"]);
    let json: serde_json::Value =
        serde_json::from_str(&space.call(&["why", "t", "--json"]).out).unwrap();
    assert_eq!(json["last_why"]["reason"], "forced");
}

#[test]
fn a_carriage_return_is_seen() {
    let space = Space::chain();
    space.write("src/a.txt", "one\ntwo\n");
    space.run(&["upper"]);
    space.write("src/a.txt", "one\ntwo\r\n");
    let why = space.call(&["why", "upper"]).out;
    assert!(why.contains("-two\n    +two␍\n"), "{why}");
}

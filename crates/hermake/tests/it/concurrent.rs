//! Many at once: every task once, no torn output.

use std::fs;
use std::process::{Child, Command, Stdio};

use crate::space::Space;

const SLOW: &str = r#"
[task.a]
inputs = ["src/a.txt"]
tools = ["sh", "coreutils"]
run = ["sh", "-c", "sleep 0.1; for i in 1 2 3 4 5 6 7 8; do cat src/a.txt; done > $0", "{{ out }}"]
outputs = ["build/a"]
[task.b]
needs = ["a"]
tools = ["sh", "coreutils"]
run = ["sh", "-c", "sleep 0.1; cat build/a build/a > $0", "{{ out }}"]
outputs = ["build/b"]
"#;

fn slow() -> Space {
    let space = Space::new(SLOW);
    space.write("src/a.txt", "text\n");
    space
}

/// Starts it; only what it complains of is read, by [`finish`].
fn start(command: &mut Command) -> Child {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Starts a Make that wants `b`.
fn make(space: &Space, jobs: &str) -> Child {
    start(&mut space.make(&[jobs, "b"]))
}

fn finish(children: Vec<Child>) {
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn fifty_at_once_in_one_checkout() {
    let space = slow();
    finish(
        (0..50)
            .map(|_| start(space.hermake().args(["run", "b"])))
            .collect(),
    );
    assert_eq!(space.index(), ["a", "b"]);
    assert_eq!(space.read("build/b"), "text\n".repeat(16));
}

#[test]
fn two_makes_at_once_in_one_checkout() {
    let space = slow();
    space.make(&["b"]).arg("-n").output().unwrap();
    finish(vec![make(&space, "-j4"), make(&space, "-j4")]);
    assert_eq!(space.index(), ["a", "b"]);
    assert_eq!(space.read("build/b"), "text\n".repeat(16));
}

#[test]
fn ten_checkouts_that_share_the_store() {
    let space = slow();
    let others: Vec<_> = (0..10)
        .map(|i| space.sibling(&format!("other{i}")))
        .collect();
    finish(
        others
            .iter()
            .map(|o| start(o.hermake().args(["run", "b"])))
            .collect(),
    );
    let mut ran: Vec<_> = others.iter().flat_map(Space::index).collect();
    ran.sort();
    assert_eq!(ran, ["a", "b"]);
    for other in &others {
        assert_eq!(other.read("build/b"), "text\n".repeat(16));
    }
    let left = fs::read_dir(space.store().join("tmp")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "nothing unfinished is left in the store");
}

#[test]
fn values_of_a_variable_side_by_side() {
    let space = Space::new(
        r#"
        [task.conf]
        tools = ["sh", "coreutils"]
        run = ["sh", "-c", "sleep 0.05; echo {{ vars.LAB }} > $0", "{{ out }}"]
        outputs = ["build/labs/{{ vars.LAB }}/conf"]
        "#,
    );
    space.write("hermake.toml", "[vars]\nLAB = \"lab\"\n");
    let conf = |lab: &str| start(space.hermake().args(["run", "conf"]).env("LAB", lab));
    finish(["a", "b", "lab"].into_iter().map(conf).collect());
    assert_eq!(space.index().len(), 3);
    finish(["a", "b", "lab"].into_iter().map(conf).collect());
    assert_eq!(space.index().len(), 3);
    for lab in ["a", "b", "lab"] {
        assert_eq!(
            space.read(&format!("build/labs/{lab}/conf")),
            format!("{lab}\n")
        );
    }
}

#[test]
fn two_makes_at_once_on_two_checkouts_that_share_the_store() {
    let one = slow();
    let two = one.sibling("two");
    finish(vec![make(&one, "-j4"), make(&two, "-j4")]);
    let mut ran = [one.index(), two.index()].concat();
    ran.sort();
    assert_eq!(ran, ["a", "b"], "every task once");
    for space in [&one, &two] {
        assert_eq!(space.read("build/b"), "text\n".repeat(16));
    }
}

#[test]
fn fifty_makes_at_once() {
    let space = slow();
    space.make(&["b"]).arg("-n").output().unwrap();
    finish((0..50).map(|_| make(&space, "-j2")).collect());
    assert_eq!(space.index(), ["a", "b"]);
    assert_eq!(space.read("build/b"), "text\n".repeat(16));
}

/// `a` makes what `V` says, `b` copies its first line. Both go to the same place whatever `V` is.
fn one_place(size: u32, sandbox: &str) -> Space {
    let space = Space::new(&format!(
        r#"
        [task.a]
        tools = ["sh", "coreutils"]
        run = ["sh", "-c", "echo $1 > $0; head -c {size} /dev/zero >> $0", "{{{{ out }}}}", "{{{{ vars.V }}}}"]
        outputs = ["build/a"]
        [task.b]
        needs = ["a"]
        tools = ["sh", "coreutils"]
        run = ["sh", "-c", "head -1 build/a > $0", "{{{{ out }}}}"]
        outputs = ["build/b"]
        "#
    ));
    let project = format!("sandbox = \"{sandbox}\"\n[vars]\nV = \"none\"\n");
    space.write("hermake.toml", &project);
    space
}

#[test]
fn values_of_a_variable_at_one_place() {
    for (sandbox, size) in [("auto", 10), ("auto", 3_000_000), ("staged", 3_000_000)] {
        let space = one_place(size, sandbox);
        let call = |v: &str| start(space.hermake().args(["run", "b"]).env("V", v));
        for round in 0..6 {
            let values = ["x", "y", "z"].map(|v| format!("{v}{round}"));
            finish(values.iter().map(|v| call(v)).collect());
            for v in &values {
                finish(vec![call(v)]);
                assert_eq!(space.read("build/b"), format!("{v}\n"));
            }
        }
    }
}

#[test]
fn values_of_a_variable_at_one_place_under_make() {
    let space = one_place(10, "auto");
    space.make(&["b"]).arg("-n").output().unwrap();
    for round in 0..4 {
        let values = ["x", "y"].map(|v| format!("{v}{round}"));
        let call = |v: &String| start(space.make(&["-s", "b"]).env("V", v));
        finish(values.iter().map(call).collect());
        for v in &values {
            finish(vec![start(space.hermake().args(["run", "b"]).env("V", v))]);
            assert_eq!(space.read("build/b"), format!("{v}\n"));
        }
    }
}

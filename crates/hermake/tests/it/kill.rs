//! `kill -9` at any moment: the next run converges to the right bytes.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use crate::failures::wait_for;
use crate::space::Space;

const TASKS: &str = r#"
[task.a]
inputs = ["src/a.txt"]
tools = ["sh", "coreutils"]
run = ["sh", "-c", "cat src/a.txt src/a.txt > $0", "{{ out }}"]
outputs = ["build/a"]
[task.tree]
needs = ["a"]
tools = ["sh", "coreutils"]
run = ["sh", "-c", "cp build/a $0/one; mkdir $0/sub; cp build/a $0/sub/two", "{{ out }}"]
outputs = ["build/tree/"]
[task.b]
needs = ["tree"]
tools = ["sh", "coreutils"]
run = ["sh", "-c", "cat build/tree/one build/tree/sub/two > $0", "{{ out }}"]
outputs = ["build/b"]
"#;

#[test]
fn at_two_hundred_points() {
    let space = Space::new(TASKS);
    // a fixed sequence that looks random: a failure can be repeated
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut killed = 0;
    for round in 0..200u32 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let text = format!("text {}\n", if round % 3 == 0 { round } else { round / 3 });
        space.write("src/a.txt", &text);
        if round % 4 == 1 {
            // restores are interrupted too
            let _ = fs::remove_dir_all(space.path("build/tree"));
        }
        let mut child = space
            .hermake()
            .args(["run", "b"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(random >> 32 & 0x7fff));
        killed += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        if round % 5 == 4 {
            space.run(&["b"]);
            assert_eq!(space.read("build/b"), text.repeat(4), "round {round}");
            assert_eq!(
                space.read("build/tree/sub/two"),
                text.repeat(2),
                "round {round}"
            );
        }
    }
    // what was caught half-way is swept by the next run
    space.write("src/a.txt", "the end\n");
    space.run(&["b"]);
    let inside = space.path("build/.hermake/stage").display().to_string();
    wait_for(|| !running(&inside));
    assert!(
        killed > 50,
        "only {killed} calls were still running when killed"
    );
    assert_eq!(space.call(&["verify"]).code, 0);
}

/// True if a process has `text` among its arguments.
fn running(text: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|e| {
        fs::read(e.path().join("cmdline"))
            .is_ok_and(|c| c.windows(text.len()).any(|w| w == text.as_bytes()))
    })
}

#[test]
fn the_task_dies_with_hermake() {
    let space = Space::new(
        "[task.t]\ntools = [\"sh\", \"sleep\"]\nrun = [\"sh\", \"-c\", \"sleep 7654.4; exit 0\"]\n",
    );
    let mut child = space
        .hermake()
        .args(["run", "t"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(|| running("sleep\x007654.4"));
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for(|| !running("7654.4"));
}

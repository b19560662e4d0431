//! What programs and editors read: JSON with its schemas, traces, completion, the manual page.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::schema::wrong;
use crate::space::Space;

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn fits(space: &Space, of: &str, value: &Value) {
    let schema = parsed(&space.call(&["schema", of]).out);
    let problems = wrong(&schema, &schema, value, "");
    assert!(problems.is_empty(), "{of}: {problems:#?}\n{value:#}");
    assert!(
        !value.as_array().is_some_and(Vec::is_empty),
        "{of}: nothing to check"
    );
}

/// As most editors do, TOML is checked as the JSON that it stands for.
fn toml(text: &str) -> Value {
    serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap()
}

#[test]
fn json_is_what_its_schema_says() {
    let space = Space::chain();
    space.run(&["last"]);
    fs::remove_file(space.path("build/last.txt")).unwrap();
    space.run(&["last"]);
    space.write("src/a.txt", "other\n");
    space.write(
        "tasks/bad.toml",
        "[task.bad]\ntools = [\"sh\"]\nrun = [\"sh\", \"-c\", \"echo out; exit 1\"]\n",
    );
    assert_eq!(space.call(&["run", "bad"]).code, 1);
    for (of, args) in [
        ("status", &["status", "--json"][..]),
        ("why", &["why", "upper", "--json"]),
        ("why", &["why", "last", "--json"]),
        ("graph", &["graph", "--form", "json"]),
        ("stats", &["stats", "--json"]),
        ("verify", &["verify", "--json"]),
    ] {
        fits(&space, of, &parsed(&space.call(args).out));
    }
    for (of, args, lines) in [
        ("log", &["log", "--json"][..], 5),
        ("log", &["log", "--json", "--failed"], 1),
        ("log-line", &["log", "--json", "-t", "bad"], 2),
        ("log-hit", &["log", "--json", "--grep", "out"], 1),
    ] {
        let out = space.call(args).out;
        assert_eq!(out.lines().count(), lines, "{args:?}: {out}");
        for line in out.lines() {
            fits(&space, of, &parsed(line));
        }
    }
}

#[test]
fn status_tells_what_would_be_restored_from_what_would_run() {
    let space = Space::chain();
    space.run(&["last"]);
    let state = |task: &str| {
        let all = parsed(&space.call(&["status", "--json"]).out);
        fits(&space, "status", &all);
        let lines = all.as_array().unwrap().iter();
        let line = lines.clone().find(|l| l["task"] == task).unwrap();
        let field = |name: &str| line[name].as_str().unwrap().to_owned();
        (field("state"), field("detail"))
    };
    let is = |task: &str, word: &str, detail: &str| {
        assert_eq!(state(task), (word.to_owned(), detail.to_owned()));
    };
    is("last", "fresh", "");
    fs::remove_file(space.path("build/last.txt")).unwrap();
    is(
        "last",
        "restorable",
        "would be restored: output build/last.txt is gone",
    );
    assert_eq!(
        space.call(&["status", "last"]).out,
        "last  kept   run      would be restored: output build/last.txt is gone\n"
    );
    space.write("build/upper.txt", "edited\n");
    is(
        "upper",
        "restorable",
        "would be restored: output build/upper.txt was changed",
    );
    is("last", "waits", "for first");
    space.run(&["last"]);
    // an edit that was there before, one that was not, and a store that is gone
    space.write("src/a.txt", "other\n");
    is("upper", "stale", "would run: input src/a.txt changed");
    space.run(&["last"]);
    space.write("src/a.txt", "hello world\n");
    is(
        "upper",
        "restorable",
        "would be restored: input src/a.txt changed",
    );
    fs::remove_dir_all(space.store()).unwrap();
    is("upper", "stale", "would run: input src/a.txt changed");
}

#[test]
fn task_files_are_what_their_schema_says() {
    let space = Space::chain();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut checked = 0;
    for dir in [
        "tasks",
        "examples/c-program/tasks",
        "examples/document/tasks",
    ] {
        for item in fs::read_dir(root.join(dir)).unwrap() {
            let text = fs::read_to_string(item.unwrap().path()).unwrap();
            fits(&space, "tasks", &toml(&text));
            checked += 1;
        }
    }
    assert!(checked >= 3);
    for project in ["hermake.toml", "examples/c-program/hermake.toml"] {
        let text = fs::read_to_string(root.join(project)).unwrap();
        fits(&space, "project", &toml(&text));
    }
    let schema = parsed(&space.call(&["schema", "tasks"]).out);
    for bad in [
        "[task.a]\nrum = [\"true\"]\n",
        "[task.a]\nrun = \"true\"\n",
        "[tusk.a]\n",
    ] {
        assert!(!wrong(&schema, &schema, &toml(bad), "").is_empty(), "{bad}");
    }
}

#[test]
fn schemas_in_docs_are_those_of_the_program() {
    let space = Space::chain();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema");
    let names = space.call(&["schema"]).out;
    assert_eq!(fs::read_dir(&docs).unwrap().count(), names.lines().count());
    for name in names.lines() {
        let path = docs.join(format!("{name}.json"));
        assert!(
            fs::read_to_string(&path).unwrap() == space.call(&["schema", name]).out,
            "{}: write it anew with `hermake schema --out docs/schema`",
            path.display()
        );
    }
}

#[test]
fn a_trace_spans_the_processes_of_one_make() {
    let tasks: String = (0..4)
        .map(|i| format!("[task.t{i}]\ntools = [\"sh\", \"sleep\"]\nrun = [\"sh\", \"-c\", \"sleep 0.1 # {i}\"]\n"))
        .collect();
    let space = Space::new(&tasks);
    // one of them behind a shell and a Make of its own
    space.write(
        "Makefile",
        &format!(
            "MAKEFLAGS += -rR\nall: t0 t1 t2 sub\nsub: ; +@cd . && $(MAKE) t3\ninclude $(shell {} mk)\n",
            env!("CARGO_BIN_EXE_hermake")
        ),
    );
    assert!(space.make(&["-j4", "-s"]).status().unwrap().success());
    let trace = parsed(&space.call(&["trace"]).out);
    let events = trace["traceEvents"].as_array().unwrap();
    let named = |name: &str| {
        events
            .iter()
            .filter(|e| e["name"] == name)
            .collect::<Vec<_>>()
    };
    let mut processes: Vec<_> = (0..4)
        .map(|i| {
            let found = named(&format!("t{i}"));
            assert_eq!(
                (found.len(), &found[0]["ph"]),
                (1, &Value::from("X")),
                "{trace:#}"
            );
            found[0]["args"]["process"].as_u64().unwrap()
        })
        .collect();
    processes.sort_unstable();
    processes.dedup();
    assert_eq!(processes.len(), 4, "each task was another process");
    assert_eq!(named("command").len(), 4);
    let out = space.path("trace.json").display().to_string();
    assert_eq!(space.call(&["trace", "--out", &out]).code, 0);
    assert_eq!(parsed(&space.read("trace.json")), trace);
    assert_eq!(space.call(&["trace", "1970"]).code, 2);
}

#[test]
fn the_graph_is_a_picture_too() {
    let space = Space::chain();
    space.run(&["upper"]);
    space.write(
        "tasks/more.toml",
        "[task.more]\nafter = [\"upper\"]\nneeds = [\"first\"]\ntools = [\"sh\"]\nrun = [\"sh\", \"-c\", \"test 1 '<' 2\"]\n",
    );
    insta::assert_snapshot!(space.call(&["graph", "--form", "svg"]).out);
}

#[test]
fn shells_complete_commands_options_and_tasks() {
    let space = Space::chain();
    let ask = |words: &[&str]| {
        let output = space
            .hermake()
            .env("HERMAKE_COMPLETE", "bash")
            .env("_CLAP_IFS", "\n")
            .env("_CLAP_COMPLETE_COMP_TYPE", "9")
            .env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string())
            .arg("--")
            .args(words)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(ask(&["hermake", "sta"]), "status\nstats");
    assert_eq!(ask(&["hermake", "why", "la"]), "last");
    assert!(ask(&["hermake", "run", "--leaf", ""]).contains("upper"));
    assert!(ask(&["hermake", "log", "--fa"]).contains("--failed"));
    assert!(!space.exists("build"), "a question leaves no trace");
    for shell in ["bash", "zsh", "fish"] {
        let script = space.call(&["completion", shell]);
        assert!(
            script.out.contains("HERMAKE_COMPLETE"),
            "{shell}: {}",
            script.err
        );
    }
    let none = space.call(&["completion", "tcsh"]);
    assert!(
        none.err.contains("no shell `tcsh`: known are bash"),
        "{}",
        none.err
    );
    // the script is one that bash can read
    space.write("complete.bash", &space.call(&["completion", "bash"]).out);
    assert!(
        space
            .command("bash")
            .args(["-n", "complete.bash"])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn the_manual_page_says_what_exit_codes_mean() {
    let space = Space::chain();
    let page = space.call(&["man"]).out;
    for part in [
        ".TH hermake 1",
        "Exit status: 0 all is well",
        "NO\\_COLOR",
        "hermake\\-trace(1)",
    ] {
        let plain = part.replace('\\', "");
        assert!(
            page.contains(part) || page.replace('\\', "").contains(&plain),
            "{part}: {page}"
        );
    }
    let dir = space.path("man").display().to_string();
    assert_eq!(space.call(&["man", "--out", &dir]).code, 0);
    assert!(space.read("man/hermake-run.1").contains("keep"));
}

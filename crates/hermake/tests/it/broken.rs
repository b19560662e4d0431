//! Task files with mistakes: the message names the place and what to do.

use crate::space::{Ran, Space};

fn message(tasks: &str) -> String {
    let space = Space::new(tasks);
    space.write("hermake.toml", "[params]\nlab = \"lab.toml\"\njson = \"a.json\"\nhost = { file = \"build/host.toml\", hint = \"run `make configure`\" }\n[vars]\nLAB = \"lab\"\n");
    space.write(
        "lab.toml",
        "[server]\nmemory = \"1GiB\"\n[[target]]\nname = \"a\"\n",
    );
    space.write("a.json", "{\n  \"é\": 1,\n  \"a\" 2\n}\n");
    let ran = space.call(&["run"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(!space.exists("build"), "nothing was written");
    ran.err
}

#[test]
fn a_reason_says_something() {
    let said = message("[task.a]\nrun = [\"true\"]\nnondeterministic = \" \"\n");
    assert!(
        said.contains("`nondeterministic` says nothing\n --> tasks/all.toml:3:20"),
        "{said}"
    );
}

#[test]
fn mistakes() {
    let cases = [
        (
            "a misspelt key",
            "[task.a]\nrun = [\"true\"]\ntols = [\"true\"]\n",
        ),
        ("no TOML", "[task.a\nrun = 1\n"),
        ("a wrong type", "[task.a]\nrun = \"true\"\n"),
        (
            "an unknown task",
            "[task.fetch]\nrun = [\"true\"]\n[task.b]\nneeds = [\"fetsh\"]\nrun = [\"true\"]\n",
        ),
        (
            "a cycle",
            "[task.a]\nneeds = [\"b\"]\nrun = [\"true\"]\n[task.b]\nafter = [\"a\"]\nrun = [\"true\"]\n",
        ),
        (
            "two makers",
            "[task.a]\nrun = [\"true\"]\noutputs = [\"build/x/\"]\n[task.b]\nrun = [\"true\"]\noutputs = [\"build/x/y\"]\n",
        ),
        (
            "an input that a task makes",
            "[task.a]\nrun = [\"true\"]\noutputs = [\"build/x\"]\n[task.b]\ninputs = [\"build/x\"]\nrun = [\"true\"]\n",
        ),
        (
            "an undefined name",
            "[task.a]\nrun = [\"true\", \"-m {{ lab.server.memroy }}\"]\n",
        ),
        (
            "an unknown file",
            "[task.a]\nrun = [\"true\", \"{{ lap.server.memory }}\"]\n",
        ),
        (
            "a missing file with a hint",
            "[task.a]\nrun = [\"true\", \"{{ host.os }}\"]\n",
        ),
        (
            "a need that isn't one",
            "[task.a]\nrun = [\"true\"]\noutputs = [\"x\"]\n[task.b]\nrun = [\"true\", \"{{ needs.a.out }}\"]\n",
        ),
        (
            "a table in a string",
            "[task.a]\nrun = [\"true\", \"{{ lab.server }}\"]\n",
        ),
        (
            "an unknown variable",
            "[task.a]\nrun = [\"true\", \"{{ vars.LAP }}\"]\n",
        ),
        (
            "no end of a template",
            "[task.a]\nrun = [\"true\", \"{{ lab\"]\n",
        ),
        (
            "an output outside",
            "[task.a]\nrun = [\"true\"]\noutputs = [\"../x\"]\n",
        ),
        (
            "an absolute input",
            "[task.a]\nrun = [\"true\"]\ninputs = [\"/etc/passwd\"]\n",
        ),
        ("a bad name", "[task.\"a b\"]\nrun = [\"true\"]\n"),
        ("no command", "[task.a]\ndoc = \"x\"\n"),
        (
            "another kind's key",
            "[task.a]\nrun = [\"true\"]\nurl = \"x\"\n",
        ),
        (
            "a bad digest",
            "[task.a]\nkind = \"fetch\"\nurl = \"x\"\ndigest = \"md5:1\"\noutputs = [\"x\"]\n",
        ),
        (
            "a bad time",
            "[task.a]\nrun = [\"true\"]\ntimeout = \"soon\"\n",
        ),
        (
            "pass-env of a pure task",
            "[task.a]\nrun = [\"true\"]\npass-env = [\"TERM\"]\n",
        ),
        (
            "a bad glob",
            "[task.a]\nrun = [\"true\"]\ninputs = [\"src/[a.txt\"]\n",
        ),
        (
            "a bad glob of needs",
            "[task.a]\nrun = [\"true\"]\nneeds = [\"a**b\"]\n",
        ),
        (
            "a file that is no JSON",
            "[task.a]\nrun = [\"true\", \"{{ json.a }}\"]\n",
        ),
        (
            "each of a table",
            "[task.a]\neach = \"lab.server\"\nrun = [\"true\"]\n",
        ),
    ];
    let mut text = String::new();
    for (what, tasks) in cases {
        text += &format!("# {what}\n{}\n", message(tasks));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn names_that_no_variable_can_have() {
    for name in ["", "A=B", "A\\u0000"] {
        let said = message(&format!(
            "[task.a]\nrun = [\"true\"]\nenv = {{ \"{name}\" = \"1\" }}\n"
        ));
        assert!(
            said.contains("can't name a variable\n --> tasks/all.toml:3:"),
            "{said}"
        );
    }
}

#[test]
fn a_long_cycle_is_shown_in_part() {
    let task = |i: usize| {
        let next = (i + 1) % 5000;
        format!("[task.t{i}]\nneeds = [\"t{next}\"]\nrun = [\"true\"]\n")
    };
    let said = message(&(0..5000).map(task).collect::<String>());
    let shown = "t0 → t1 → t2 → t3 → t4 → t5 → … and 4989 more … → t4995 → t4996 → t4997 → t4998 → t4999 → t0\n";
    assert!(said.contains(shown), "{said}");
}

#[test]
fn a_cache_that_is_no_whole_path_is_named() {
    let space = Space::chain();
    let mut command = space.hermake();
    command.arg("run").env_remove("HOME");
    let none = Ran::of(command.env_remove("XDG_CACHE_HOME").output().unwrap());
    assert!(
        none.err
            .contains("XDG_CACHE_HOME is not set, and HOME is not set"),
        "{}",
        none.err
    );
    let some = Ran::of(command.env("XDG_CACHE_HOME", "cache").output().unwrap());
    assert!(
        some.code == 2
            && some
                .err
                .contains("XDG_CACHE_HOME is no whole path (`cache`), and HOME"),
        "{}",
        some.err
    );
}

#[test]
fn two_tasks_of_one_name_need_disjoint_conditions() {
    let space = Space::new(
        "[task.a]\nwhen = { \"lab.os\" = \"debian\" }\nrun = [\"sh\", \"-c\", \"exit 0\"]\ntools = [\"sh\"]\n",
    );
    space.write("hermake.toml", "[params]\nlab = \"lab.toml\"\n");
    space.write("tasks/other.toml", "[task.a]\nwhen = { \"lab.os\" = \"ubuntu\" }\nrun = [\"sh\", \"-c\", \"exit 1\"]\ntools = [\"sh\"]\n");
    space.write("lab.toml", "os = \"debian\"\n");
    assert_eq!(space.run(&["a"]), ["a"]);
    space.write("lab.toml", "os = \"ubuntu\"\n");
    assert_eq!(space.call(&["run", "a"]).code, 1);
    space.write("tasks/other.toml", "[task.a]\nrun = [\"true\"]\n");
    space.write("lab.toml", "os = \"debian\"\n");
    let ran = space.call(&["run", "a"]);
    assert!(
        ran.err
            .contains("there are two tasks called `a`; the other is at tasks/all.toml:1"),
        "{}",
        ran.err
    );
}

#[test]
fn symlinks_that_lead_out_are_refused() {
    let space = Space::new(
        "[task.in]\ninputs = [\"link\"]\ntools = [\"sh\"]\nrun = [\"sh\", \"-c\", \"exit 0\"]\n[task.out]\ntools = [\"sh\"]\nrun = [\"sh\", \"-c\", \"echo > $0\", \"{{ out }}\"]\noutputs = [\"away/x\"]\n",
    );
    std::os::unix::fs::symlink("/etc/hostname", space.path("link")).unwrap();
    std::os::unix::fs::symlink("/tmp", space.path("away")).unwrap();
    let ran = space.call(&["run", "in"]);
    assert!(
        ran.err
            .contains("leads out of the project, to /etc/hostname"),
        "{}",
        ran.err
    );
    let ran = space.call(&["run", "out"]);
    assert!(
        ran.err
            .contains("outside of the project: remove the symlink"),
        "{}",
        ran.err
    );
    assert!(!std::path::Path::new("/tmp/x").exists());
}

#[test]
fn mistakes_in_the_project_file() {
    let mut text = String::new();
    for project in [
        "[limits]\nstore-size = \"big\"\n",
        "[limits]\nlogs-age = \"soon\"\n",
        "[limits]\nruns = -3\n",
        "[limit]\nruns = 3\n",
        "tasks = \"task/*.toml\"\n",
        "sandbox = \"stagd\"\n",
        "[params]\nhost = { fil = \"build/host.toml\" }\n",
        "[vars]\nA = 1\n",
        "secrets = [\"TOKN\"]\n[vars]\nTOKEN = \"\"\n",
        "[params]\nlab = { file = \"lab.toml\", hint = \"h\", typo = 1 }\n",
        "cache-dir = \"\"\n",
        "cache-dir = \"~/cache\"\n",
    ] {
        let space = Space::chain();
        space.write("hermake.toml", project);
        let ran = space.call(&["run"]);
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(!space.exists("build"), "nothing was written");
        text += &(ran.err + "\n");
    }
    insta::assert_snapshot!(text);
}

#[test]
fn mistakes_that_show_when_it_runs() {
    let space = Space::new(
        r#"
[task.in]
inputs = ["src/a.text"]
tools = ["sh"]
run = ["sh", "-c", "exit 0"]
[task.dir]
inputs = ["sorce/"]
tools = ["sh"]
run = ["sh", "-c", "exit 0"]
[task.tool]
tools = ["sh", "sleeep"]
run = ["sh", "-c", "exit 0"]
"#,
    );
    space.write("src/a.txt", "");
    space.write("source/b.txt", "");
    let mut text = String::new();
    for args in [
        &["run", "in"][..],
        &["run", "dir"],
        &["run", "tool"],
        &["run", "tol"],
        &["why", "ni"],
        &["status", "direct"],
        &["graph", "xyz"],
        &["log", "-t", "inn"],
        &["stop", "in"],
    ] {
        let ran = space.call(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
        text += &format!("# {}\n{}\n", args.join(" "), ran.err);
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_file_that_nobody_wrote_is_refused() {
    let space = Space::chain();
    space.write("tasks/all.toml", &"[task.b]\n".repeat(2 << 20));
    let ran = space.call(&["run"]);
    assert!(
        ran.code == 2
            && ran
                .err
                .contains("tasks/all.toml is of 18.0 MiB: nobody writes that by hand"),
        "{}",
        ran.err
    );
}

#[test]
fn what_is_no_file_is_not_read() {
    let space = Space::chain();
    let all = [
        "hermake.toml",
        "lab.toml",
        "tasks/all.toml",
        "tasks/more.toml",
    ];
    space.write("lab.toml", "a = 1\n");
    space.write(
        "tasks/more.toml",
        "[task.more]\nrun = [\"true\", \"{{ lab.a }}\"]\n",
    );
    space.write("hermake.toml", "[params]\nlab = \"lab.toml\"\n");
    for name in all {
        let text = space.read(name);
        for kind in ["pipe", "device"] {
            std::fs::remove_file(space.path(name)).unwrap();
            if kind == "pipe" {
                let mut mkfifo = space.command("mkfifo");
                assert!(mkfifo.arg(space.path(name)).status().unwrap().success());
            } else {
                std::os::unix::fs::symlink("/dev/zero", space.path(name)).unwrap();
            }
            let ran = space.call(&["status"]);
            let said = format!("{name} is no file: remove it");
            assert!(
                ran.code == 2 && ran.err.contains(&said),
                "{kind}: {}",
                ran.err
            );
        }
        std::fs::remove_file(space.path(name)).unwrap();
        space.write(name, &text);
    }
    assert_eq!(space.call(&["status"]).code, 0);
}

#[test]
fn a_variable_that_is_no_text_is_not_its_default() {
    use std::os::unix::ffi::OsStrExt as _;
    let space = Space::new(
        "[task.a]\ntools = [\"sh\"]\nrun = [\"sh\", \"-c\", \"echo $0\", \"{{ vars.V }}\"]\n",
    );
    space.write("hermake.toml", "[vars]\nV = \"default\"\n");
    let value = std::ffi::OsStr::from_bytes(b"caf\xe9");
    // also when the graph is known already
    for _ in 0..2 {
        let output = space.hermake().args(["run", "a"]).env("V", value).output();
        let ran = Ran::of(output.unwrap());
        assert_eq!(ran.code, 2);
        assert!(
            ran.err
                .contains("the variable `V` of [vars] in hermake.toml is set to what is not UTF-8"),
            "{}",
            ran.err
        );
        space.run(&["a"]);
    }
    // what is not declared may be anything
    let output = space.hermake().args(["run", "a"]).env("W", value).output();
    assert_eq!(Ran::of(output.unwrap()).code, 0);
}

#[test]
fn a_leaf_whose_need_is_not_up_to_date_says_so() {
    let space = Space::chain();
    let ran = space.call(&["run", "--leaf", "last"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err
            .contains("`last` needs `first`, which is not up to date: run `hermake run first`"),
        "{}",
        ran.err
    );
    space.run(&["last"]);
    space.write("src/a.txt", "other\n");
    assert_eq!(space.call(&["run", "--leaf", "last"]).code, 2);
}

const VARIED: &str = r#"
[task."t-{{ item.name }}"]
each = "lab.target"
kind = "render"
template = "a.tera"
params = ["lab.server.memory", "vars.LAB"]
context = { x = "lab.toml" }
outputs = ["build/{{ item.name }}/"]
[task.get]
kind = "fetch"
url = "http://127.0.0.1/"
digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
outputs = ["build/get"]
[task.all]
needs = ["t-*", "get"]
inputs = ["src/**/*.c", "data/"]
tools = ["coreutils"]
run = ["cat", "{{ needs.t-*.outs }}", "{{ needs.1.out }}", "{{ out }}"]
outputs = ["build/all"]
timeout = "3m"
when = { "lab.server.memory" = "1GiB" }
"#;

const PROJECT: &str = r#"
tasks = "tasks/*.toml"
cache-dir = "cache"
sandbox = "auto"
secrets = ["TOKEN"]
[params]
lab = "lab.toml"
host = { file = "host.json", hint = "make it" }
[vars]
LAB = "lab"
TOKEN = ""
[limits]
store-size = "20GiB"
store-age = "90d"
runs = 200
logs-size = "1GiB"
logs-age = "90d"
"#;

#[test]
fn an_output_around_hermakes_own_folder_is_refused() {
    for output in ["build/", "build", "build/.hermake/", "build/.hermake/x"] {
        let space = Space::new(&format!(
            "[task.a]\nrun = [\"true\"]\noutputs = [\"{output}\"]\n"
        ));
        let ran = space.call(&["run"]);
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains("hermake's own folder"), "{}", ran.err);
        assert!(ran.err.contains("tasks/all.toml:3:12"), "{}", ran.err);
    }
}

/// `text` with each edit made: so many characters from there on become others.
fn edited(text: &str, edits: Vec<(usize, usize, String)>) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for (at, length, new) in edits {
        let at = at.min(text.len());
        let end = (at + length).min(text.len());
        text.splice(at..end, new.chars());
    }
    text.into_iter().collect()
}

/// What comes of a project of these files.
fn loaded(files: &[(&str, &str)]) -> anyhow::Result<hermake::config::Graph> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("tasks")).unwrap();
    for (name, content) in files {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    hermake::config::load::load(dir.path(), &|_| None, false)
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    #[test]
    fn no_edit_of_the_project_file_makes_the_parser_panic(
        edits in proptest::collection::vec((0usize..400, 0usize..12, "[\\PC\n]{0,6}|\\{\\{|\\}\\}|\"|\\.\\./|\\*\\*|\\[|\u{e9}|-?[0-9]{1,25}(GiB|d)?"), 1..4)
    ) {
        let _ = loaded(&[
            ("hermake.toml", &edited(PROJECT, edits)),
            ("lab.toml", "[server]\nmemory = \"1GiB\"\n"),
            ("host.json", "{\"os\": \"linux\"}"),
            ("tasks/all.toml", "[task.a]\nrun = [\"true\", \"{{ lab.server.memory }} {{ host.os }} {{ vars.LAB }}\"]\nenv = { T = \"{{ vars.TOKEN }}\" }\n"),
        ]);
    }

    #[test]
    fn no_edit_of_a_task_file_makes_the_parser_panic(
        edits in proptest::collection::vec((0usize..900, 0usize..12, "[\\PC\n]{0,6}|\\{\\{|\\}\\}|\"|\\.\\./|\\*\\*|\\[|\u{e9}"), 1..4)
    ) {
        match loaded(&[
            ("hermake.toml", "[params]\nlab = \"lab.toml\"\n[vars]\nLAB = \"x\"\n"),
            ("lab.toml", "[server]\nmemory = \"1GiB\"\n[[target]]\nname = \"a\"\n[[target]]\nname = \"b\"\n"),
            ("tasks/all.toml", &edited(VARIED, edits)),
        ]) {
            Ok(graph) => proptest::prop_assert!(graph.tasks.len() < 100),
            Err(e) => {
                let text = format!("{e:#}");
                proptest::prop_assert!(text.lines().count() > 1, "no place is named: {}", text);
            }
        }
    }
}

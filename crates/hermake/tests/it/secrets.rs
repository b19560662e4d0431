//! Secret variables: part of the key, and nowhere to be read.

use std::fs;
use std::path::Path;

use crate::space::{Ran, Space};

const TASKS: &str = r#"
[task.t]
tools = ["sh", "coreutils"]
env = { TOKEN = "{{ vars.TOKEN }}" }
run = ["sh", "-c", 'echo the token is $TOKEN; echo also $1 >&2; printf %s "$TOKEN" | wc -c > $0', "{{ out }}", "{{ vars.TOKEN }}"]
outputs = ["build/t"]
[task.fails]
progress = true
tools = ["sh"]
run = ["sh", "-c", "echo --password=$0; exit 1", "{{ vars.TOKEN }}"]
[task.open]
impure = "as services are"
pass-env = ["PASSED"]
run = ["sh", "-c", "echo $0 $PASSED", "{{ vars.TOKEN }}"]
[task.page]
kind = "render"
template = "page.tera"
params = ["vars.TOKEN"]
store = false
outputs = ["build/page"]
"#;

fn space() -> Space {
    let space = Space::new(TASKS);
    space.write(
        "hermake.toml",
        "secrets = [\"TOKEN\", \"PASSED\"]\n[vars]\nTOKEN = \"\"\n",
    );
    space.write("page.tera", "{{ vars.TOKEN | upper }}");
    space
}

fn call(space: &Space, token: &str, args: &[&str]) -> Ran {
    let mut command = space.hermake();
    command
        .args(args)
        .env("TOKEN", token)
        .env("PASSED", "xyzzy-passed");
    Ran::of(command.output().unwrap())
}

/// Files below `dir` that hold `needle`.
fn holding(dir: &Path, needle: &str, out: &mut Vec<String>) {
    for item in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = item.path();
        if path.to_string_lossy().contains(needle) {
            out.push(path.display().to_string());
        }
        if path.is_dir() {
            holding(&path, needle, out);
        } else if let Ok(bytes) = fs::read(&path)
            && bytes.windows(needle.len()).any(|w| w == needle.as_bytes())
        {
            out.push(path.display().to_string());
        }
    }
}

#[test]
fn the_value_reaches_the_task_and_nothing_else() {
    let space = space();
    let ran = call(&space, "hunter2-one", &["run", "-v", "t", "open"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(space.read("build/t"), "11\n", "the task has the value");
    assert!(
        ran.err.contains("t: the token is ***") && ran.err.contains("open: *** ***"),
        "{}",
        ran.err
    );
    let failed = call(&space, "hunter2-one", &["run", "fails"]);
    assert_eq!(failed.code, 1);
    assert!(failed.err.contains("| --password=***"), "{}", failed.err);
    assert!(!failed.err.contains("hunter2"), "{}", failed.err);
    call(&space, "hunter2-one", &["log", "-t", "t"]);
    call(&space, "hunter2-one", &["mk"]);
    let log = call(&space, "", &["log", "-t", "t"]).out;
    assert!(log.contains("the token is ***\nalso ***"), "{log}");
    for secret in ["hunter2", "xyzzy"] {
        let mut found = Vec::new();
        holding(&space.path(""), secret, &mut found);
        holding(&space.store().join(".."), secret, &mut found);
        assert!(found.is_empty(), "{secret}: {found:?}");
    }
    // a template is filled with the value; its output is the user's own affair
    assert_eq!(call(&space, "hunter2-one", &["run", "page"]).code, 0);
    assert_eq!(space.read("build/page"), "HUNTER2-ONE");
}

#[test]
fn a_new_value_runs_the_task_and_is_said_without_it() {
    let space = space();
    assert_eq!(call(&space, "hunter2-one", &["run", "t"]).code, 0);
    assert_eq!(call(&space, "hunter2-one", &["run", "t"]).err, "");
    let changed = call(&space, "hunter2-other", &["run", "t"]).said();
    assert_eq!(
        changed,
        "t: command changed at tasks/all.toml:5 (it holds a secret), and 1 more\n"
    );
    assert_eq!(space.read("build/t"), "13\n");
    // each value has its own result
    assert_eq!(call(&space, "hunter2-one", &["run", "t"]).err, "");
    assert_eq!(space.read("build/t"), "11\n");
    // the key is the user's: other checkouts find the result, other users don't
    let other = space.sibling("other");
    assert_eq!(call(&other, "hunter2-one", &["run", "t"]).err, "");
    assert_eq!(other.index().len(), 0);
    fs::remove_file(space.store().join("../secret-key")).unwrap();
    let third = space.sibling("third");
    assert!(
        call(&third, "hunter2-one", &["run", "t"])
            .err
            .contains("no result")
    );
}

#[test]
fn secrets_are_refused_where_they_would_be_seen() {
    let refused = |project: &str, tasks: &str| {
        let space = Space::new(tasks);
        space.write("hermake.toml", project);
        let ran = call(&space, "hunter2-one", &["run"]);
        assert_eq!(ran.code, 2);
        assert!(!ran.err.contains("hunter2"), "{}", ran.err);
        ran.err
    };
    let project = "secrets = [\"TOKEN\"]\n[vars]\nTOKEN = \"\"\n";
    let mut text = refused(
        project,
        "[task.a]\nrun = [\"true\"]\noutputs = [\"build/{{ vars.TOKEN }}\"]\n",
    );
    text += &refused(
        project,
        "[task.a]\nrun = [\"true\"]\ninputs = [\"src/{{ vars.TOKEN }}\"]\n",
    );
    text += &refused(project, "[task.\"a-{{ vars.TOKEN }}\"]\nrun = [\"true\"]\n");
    text += &refused(
        project,
        "[task.a]\nkind = \"render\"\ntemplate = \"x\"\nparams = [\"vars.TOKEN\"]\noutputs = [\"build/x\"]\n",
    );
    text += &refused(
        "secrets = [\"TOKN\"]\n[vars]\nTOKEN = \"\"\n",
        "[task.a]\nrun = [\"true\"]\n",
    );
    insta::assert_snapshot!(text);
}

#[test]
fn a_line_that_is_too_long_is_not_cut_within_a_value() {
    let space = Space::new(
        r#"
        [task.long]
        tools = ["sh", "coreutils"]
        env = { T = "{{ vars.TOKEN }}" }
        run = ["sh", "-c", "head -c 65530 /dev/zero | tr '\\0' x; sleep 0.2; printf %.8s $T; sleep 0.2; echo ${T#????????}; head -c 65530 /dev/zero | tr '\\0' x; echo ${T}yyy"]
        "#,
    );
    space.write(
        "hermake.toml",
        "secrets = [\"TOKEN\"]\n[vars]\nTOKEN = \"\"\n",
    );
    assert_eq!(call(&space, "sup3rs3cretvalue", &["run", "long"]).code, 0);
    let log = call(&space, "", &["log", "-t", "long"]).out;
    assert_eq!(log.matches("***").count(), 2);
    assert!(
        !log.contains("sup") && !log.contains("value"),
        "{}",
        log.replace('x', "")
    );
    assert_eq!(log.matches('x').count(), 2 * 65530);
}

#[test]
fn a_program_named_by_a_secret_is_not_told() {
    let space = Space::new(
        r#"
        [task.run]
        run = ["{{ vars.TOKEN }}"]
        [task.open]
        impure = "as services are"
        run = ["{{ vars.TOKEN }}"]
        [task.serve]
        kind = "service"
        start = ["true"]
        status = ["./{{ vars.TOKEN }}"]
        stop = ["true"]
        "#,
    );
    space.write(
        "hermake.toml",
        "secrets = [\"TOKEN\"]\n[vars]\nTOKEN = \"\"\n",
    );
    for task in ["run", "open", "serve"] {
        let ran = call(&space, "hunter2-one", &["run", task]);
        assert_ne!(ran.code, 0, "{task}");
        assert!(!ran.err.contains("hunter2"), "{task}: {}", ran.err);
        assert!(ran.err.contains("***"), "{task}: {}", ran.err);
    }
}

#[test]
fn a_passed_value_that_is_no_text_is_masked_too() {
    use std::os::unix::ffi::OsStrExt as _;
    let space = space();
    let value = std::ffi::OsStr::from_bytes(b"caf\xe9-hunter2");
    let mut command = space.hermake();
    command
        .args(["run", "-v", "open"])
        .env("TOKEN", "none")
        .env("PASSED", value);
    let ran = Ran::of(command.output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        !ran.err.contains("hunter2") && ran.err.contains("***"),
        "{}",
        ran.err
    );
}

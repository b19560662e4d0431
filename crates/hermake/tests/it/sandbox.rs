//! What a task sees: its declared inputs and tools, and nothing of the user's.

use crate::space::Space;

const LOOK: &str = r#"
[task.look]
inputs = ["src/a.txt"]
tools = ["sh", "coreutils"]
run = ["sh", "-c", '''
{
  ls -A; ls -A src; env | sort; ls -A "$HOME"; pwd
  ls /root /home 2>&1; test -e "$SECRET" && echo seen
  set -- "$0" /proc/[0-9]*; test $# -le 5 && echo few processes; uname -n
  touch src/a.txt 2>/dev/null; echo x > /usr/x 2>/dev/null || echo read-only
} > $0''', "{{ out }}"]
env = { SECRET = "{{ vars.SECRET }}" }
outputs = ["build/look"]
"#;

/// Both ways to make namespaces; what a task sees is the same.
const MODES: [&str; 2] = ["auto", "bubblewrap"];

/// A project for each of them.
fn both_ways(tasks: &str) -> impl Iterator<Item = Space> {
    MODES.into_iter().map(move |mode| {
        let space = Space::new(tasks);
        space.write("hermake.toml", &format!("sandbox = \"{mode}\"\n"));
        space
    })
}

#[test]
fn nothing_but_what_is_declared() {
    both_ways(LOOK).for_each(look);
}

fn look(space: Space) {
    let mode = space.read("hermake.toml");
    space.write("hermake.toml", &(mode + "[vars]\nSECRET = \"none\"\n"));
    space.write("src/a.txt", "a");
    space.write("src/undeclared.txt", "u");
    let secret = space.path("src/undeclared.txt").display().to_string();
    let ok = space
        .hermake()
        .args(["run", "look"])
        .env("SECRET", &secret)
        .env("TOKEN", "t")
        .status()
        .unwrap();
    assert!(ok.success());
    let seen = space.read("build/look").replace(&secret, "<secret>");
    insta::assert_snapshot!("nothing_but_what_is_declared", seen);
}

/// What is tried, and what comes of it.
const ATTEMPTS: &str = r#"
[task.try]
tools = ["sh", "coreutils", "grep", "wc"]
run = ["sh", "-c", """
{
  grep -E '^(CapPrm|CapEff|CapBnd|NoNewPrivs)' /proc/self/status
  ls /proc/self/fd | wc -l
  for file in mem environ maps fd/0 root/etc; do
    head -c 1 /proc/1/$file > /dev/null 2>&1 && echo first process: $file
  done
  for file in /x /etc/passwd /.hermake/bin/x /proc/sys/kernel/core_pattern /proc/sysrq-trigger; do
    (echo 1 > $file) 2> /dev/null && echo wrote $file
  done
  (: < /dev/tty) 2> /dev/null && echo a terminal
  kill -KILL 1; kill -TERM 1; sleep 0.05
  echo x > /dev/null; head -c 4 /dev/zero | wc -c; echo shared > /dev/shm/x; cat /dev/shm/x
  grep -q 127.0.0.1 /proc/net/fib_trie && echo loopback
  cat /etc/passwd | grep -c root:
} > $0 2>&1""", "{{ out }}"]
outputs = ["build/try"]
"#;

#[test]
fn rights_are_gone_and_the_first_process_is_closed() {
    let space = Space::new(ATTEMPTS);
    space.run(&[]);
    insta::assert_snapshot!(space.read("build/try"), @"
    CapPrm:	0000000000000000
    CapEff:	0000000000000000
    CapBnd:	0000000000000000
    NoNewPrivs:	1
    4
    4
    shared
    loopback
    1
    ");
    // what is made once for all tasks is as it was
    let roots = std::fs::read_dir(space.path("build/.hermake/roots"))
        .unwrap()
        .flatten();
    for root in roots {
        assert!(!root.path().join("x").exists());
        assert!(!root.path().join("dev/shm").exists());
    }
}

const ENDS: &str = r#"
[task.killed]
tools = ["sh"]
run = ["sh", "-c", "kill -KILL $$"]
[task.code]
tools = ["sh"]
run = ["sh", "-c", "exit 37"]
[task.left]
tools = ["sh", "sleep", "setsid"]
run = ["sh", "-c", "setsid sleep 7654.7 > /dev/null 2>&1 & sleep 0.2; exit 0"]
[task.late]
timeout = "1s"
tools = ["sh", "sleep"]
run = ["sh", "-c", "sleep 7654.7; exit 0"]
[task.script]
inputs = ["script"]
run = ["./script"]
[task.nothing]
inputs = ["broken"]
run = ["./broken"]
[task.outside]
tools = ["{{ vars.TOOL }}", "cat"]
run = ["tool"]
"#;

#[test]
fn every_end_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    for space in both_ways(ENDS) {
        let tool = space.path("somewhere/tool").display().to_string();
        let mode = space.read("hermake.toml");
        space.write(
            "hermake.toml",
            &format!("{mode}[vars]\nTOOL = \"{tool}\"\n"),
        );
        for (name, text) in [
            ("script", "exit 3\n"),
            ("broken", "#!/not/there\n"),
            ("somewhere/tool", "#!/bin/sh\nexit 4\n"),
        ] {
            space.write(name, text);
            let all = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(space.path(name), all).unwrap();
        }
        for (task, said) in [
            ("killed", "ended by signal 9"),
            ("code", "exit status 37"),
            ("left", "it left running: sleep"),
            ("late", "not done after 1 s"),
            ("script", "exit status 3"),
            ("nothing", "starting `./broken`: No such file"),
            ("outside", "exit status 4"),
        ] {
            let ran = space.call(&["run", task]);
            assert_eq!(ran.code, 1, "{task}: {}", ran.err);
            // bubblewrap's init has no shell for what doesn't say what it is
            let lacks = task == "script" && mode.contains("bubblewrap");
            assert!(
                lacks || ran.err.contains(said),
                "{mode} {task}: {}",
                ran.err
            );
        }
    }
}

#[test]
fn large_inputs_are_there_too() {
    both_ways(LARGE).for_each(|space| {
        space.write("big", &"x".repeat(3 << 20));
        space.write("data/big2", &"y".repeat(2 << 20));
        assert_eq!(space.run(&["sum"]), ["sum"]);
        assert_eq!(space.read("build/sum"), format!("{}\n", 5 << 20));
        assert_eq!(space.read("big").len(), 3 << 20, "inputs are read-only");
    });
}

const LARGE: &str = r#"
[task.sum]
inputs = ["big", "data/"]
tools = ["sh", "coreutils"]
run = ["sh", "-c", "cat big data/big2 | wc -c > $0; echo x >> big || exit 0; exit 3", "{{ out }}"]
outputs = ["build/sum"]
"#;

#[test]
fn small_inputs_are_read_only_for_root_as_well() {
    let space = Space::new(
        r#"
        [task.t]
        inputs = ["src/a.txt"]
        tools = ["sh", "coreutils"]
        run = ["sh", "-c", "echo more >> src/a.txt; cat src/a.txt > $0", "{{ out }}"]
        outputs = ["build/t"]
        "#,
    );
    space.write("src/a.txt", "a\n");
    assert_eq!(space.run(&["t"]), ["t"]);
    assert_eq!(space.read("build/t"), "a\n");
    assert_eq!(space.read("src/a.txt"), "a\n");
}

#[test]
fn without_namespaces_inputs_are_staged() {
    let space = Space::new(
        r#"
        [task.t]
        inputs = ["a"]
        tools = ["sh", "coreutils"]
        run = ["sh", "-c", "cat a > $0; ls >> $0; echo ${HOME##*/} >> $0", "{{ out }}"]
        outputs = ["build/t"]
        [task.bad]
        tools = ["cat"]
        run = ["cat", "b"]
        [task.left]
        tools = ["sh", "sleep", "setsid"]
        run = ["sh", "-c", "setsid sleep 7654.6 > /dev/null 2>&1 & sleep 0.2; exit 0"]
        "#,
    );
    for mode in ["staged", "none"] {
        space.write("hermake.toml", &format!("sandbox = \"{mode}\"\n"));
        space.write("a", &format!("{mode}\n"));
        space.write("b", "b");
        assert_eq!(space.run(&["t"]), ["t"]);
        let seen = space.read("build/t");
        if mode == "staged" {
            assert_eq!(seen, "staged\na\nbuild\nhome\n");
            assert_eq!(space.call(&["run", "bad"]).code, 1);
        } else {
            assert_eq!(seen, "none\na\nb\nbuild\nhermake.toml\ntasks\nhome\n");
        }
        let left = space.call(&["run", "left"]);
        assert!(left.err.contains("it left running: sleep"), "{}", left.err);
    }
}

#[test]
fn only_network_tasks_see_the_network() {
    for space in both_ways(NETWORK) {
        space.run(&[]);
        let ours = std::fs::read_link("/proc/self/ns/net")
            .unwrap()
            .display()
            .to_string();
        assert_eq!(space.read("build/on").trim(), ours);
        assert_ne!(space.read("build/off").trim(), ours);
    }
}

const NETWORK: &str = r#"
[task.off]
tools = ["sh", "coreutils"]
run = ["sh", "-c", "readlink /proc/self/ns/net > $0", "{{ out }}"]
outputs = ["build/off"]
[task.on]
network = true
tools = ["sh", "coreutils"]
run = ["sh", "-c", "readlink /proc/self/ns/net > $0", "{{ out }}"]
outputs = ["build/on"]
"#;

#[test]
fn check_tells_what_is_not_deterministic() {
    let space = Space::new(
        r#"
        [task.same]
        needs = ["base"]
        tools = ["sh", "coreutils"]
        run = ["sh", "-c", "cat build/base > $0; pwd >> $0; env | sort >> $0", "{{ out }}"]
        outputs = ["build/same"]
        [task.base]
        tools = ["sh"]
        run = ["sh", "-c", "echo base > $0", "{{ out }}"]
        outputs = ["build/base"]
        [task.time]
        tools = ["sh", "coreutils"]
        run = ["sh", "-c", "echo 'at: '$(date +%s) > $0/t", "{{ out }}"]
        outputs = ["build/time/"]
        [task.open]
        impure = "asks the network"
        run = ["true"]
        [task.broken]
        tools = ["sh"]
        run = ["sh", "-c", "exit 4"]
        "#,
    );
    let same = space.call(&["check", "same", "open"]);
    assert_eq!(
        (same.code, same.out.as_str()),
        (
            0,
            "same: deterministic\nopen: not checked (impure: asks the network)\n"
        ),
        "{}",
        same.err
    );
    let time = space.call(&["check", "time"]);
    assert_eq!(time.code, 1);
    assert!(
        time.out
            .starts_with("time: NOT deterministic: build/time/t differs from byte "),
        "{}",
        time.out
    );
    assert!(!space.exists("build/time"), "outputs stay as they are");
    let all = space.call(&["check"]);
    assert_eq!(all.code, 1);
    for line in [
        "base: deterministic\n",
        "broken: failed\n",
        "\nsame: deterministic\n",
        "\ntime: NOT deter",
    ] {
        assert!(all.out.contains(line), "{}", all.out);
    }
    assert!(
        all.err.contains("`broken` failed: exit status 4"),
        "{}",
        all.err
    );
}

#[test]
fn check_says_what_a_task_file_says_of_it() {
    let space = Space::new(
        r#"
        [task.id]
        nondeterministic = "every build has an id of its own"
        tools = ["sh", "coreutils"]
        run = ["sh", "-c", "cat /proc/sys/kernel/random/uuid > $0", "{{ out }}"]
        outputs = ["build/id"]
        [task.calm]
        nondeterministic = "it once did"
        tools = ["sh"]
        run = ["sh", "-c", "echo calm > $0", "{{ out }}"]
        outputs = ["build/calm"]
        [task.open]
        impure = "asks the network"
        nondeterministic = "the network answers differently"
        run = ["sh", "-c", "echo > ran"]
        [task.kept]
        kind = "service"
        nondeterministic = "a machine that keeps running"
        start = ["sh", "-c", "echo > ran"]
        status = ["true"]
        stop = ["true"]
        [task.broken]
        nondeterministic = "no excuse for this"
        tools = ["sh"]
        run = ["sh", "-c", "exit 4"]
        [task.page]
        kind = "render"
        template = "page.tera"
        params = ["vars.NAME"]
        outputs = ["build/page"]
        "#,
    );
    space.write("hermake.toml", "[vars]\nNAME = \"name\"\n");
    space.write("page.tera", "{{ vars.NAME }}\n");
    let good = space.call(&["check", "calm", "open", "kept", "page"]);
    assert_eq!(
        (good.code, good.out.as_str()),
        (
            0,
            "calm: the same twice, though its task file says it needn't be: it once did\n\
             open: not checked, as its task file says: the network answers differently\n\
             kept: not checked, as its task file says: a machine that keeps running\n\
             page: deterministic\n"
        ),
        "{}",
        good.err
    );
    assert!(!space.exists("ran") && !space.exists("build/page"));
    let id = space.call(&["check", "id"]);
    assert_eq!(id.code, 0, "{}", id.err);
    assert!(
        id.out.starts_with(
            "id: not deterministic, as its task file says: every build has an id of its own (build/id differs from byte "
        ),
        "{}",
        id.out
    );
    let all = space.call(&["check", "--all"]);
    assert_eq!((all.code, all.out.lines().count()), (1, 6));
    assert!(all.out.contains("broken: failed\n"), "{}", all.out);
    space.write("page.tera", "{{ vars.NAMES }}\n");
    let page = space.call(&["check", "page"]);
    assert_eq!((page.code, page.out.as_str()), (1, "page: failed\n"));
    assert!(page.err.contains("NAMES"), "{}", page.err);
    assert_eq!(space.call(&["check", "--all", "page"]).code, 2);
}

#[test]
fn what_a_task_file_says_of_check_is_in_no_key() {
    let space = Space::chain();
    space.run(&["last"]);
    let text = space.read("tasks/all.toml");
    let said = "[task.upper]\nnondeterministic = \"why\"";
    space.write("tasks/all.toml", &text.replace("[task.upper]", said));
    assert!(space.run(&["last"]).is_empty());
}

const MODEST: &str = r#"
[task.t]
inputs = ["src/a.txt"]
tools = ["sh", "coreutils"]
run = ["sh", "-c", "cat src/a.txt > $0; ls >> $0; id -u >> $0", "{{ out }}"]
outputs = ["build/t"]
[task.u]
tools = ["sh"]
run = ["sh", "-c", "exit 0"]
"#;

/// A project that anyone can read and write, outside of folders that only root enters.
fn public() -> (tempfile::TempDir, std::path::PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let all = || std::fs::Permissions::from_mode(0o777);
    let root = dir.path().join("project");
    for sub in ["", "project", "project/tasks", "project/src"] {
        let path = dir.path().join(sub);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, all()).unwrap();
    }
    std::fs::write(root.join("tasks/all.toml"), MODEST).unwrap();
    std::fs::write(root.join("src/a.txt"), "a\n").unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_hermake"), dir.path().join("hermake")).unwrap();
    (dir, root)
}

/// `hermake run` in `root`, started by `prefix`; what it says.
fn started_by(prefix: &[&str], root: &std::path::Path) -> String {
    let program = root.join("../hermake");
    let output = std::process::Command::new(prefix[0])
        .args(&prefix[1..])
        .arg(program)
        .args(["run", "-j1"])
        .current_dir(root)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", root)
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{err}");
    err
}

#[test]
fn works_as_an_ordinary_user() {
    if !rustix::process::getuid().is_root() {
        // all the other tests run as one
        return;
    }
    let (_dir, root) = public();
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let err = started_by(&nobody, &root);
    let seen = std::fs::read_to_string(root.join("build/t")).unwrap();
    assert!(seen.starts_with("a\nbuild\nsrc\n"), "{seen} {err}");
    assert!(!seen.ends_with("\n0\n"), "{seen}");
    assert_eq!(started_by(&nobody, &root), "");
}

#[test]
fn without_user_namespaces_it_says_so_once() {
    let (_dir, root) = public();
    // in a namespace that allows no others
    let none = [
        "unshare",
        "--user",
        "--map-root-user",
        "sh",
        "-c",
        "for n in user mnt pid net ipc uts; do echo 0 > /proc/sys/user/max_${n}_namespaces; done; \"$0\" run && rm -r build/t && exec \"$@\"",
    ];
    let can = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "true"])
        .status();
    if !can.is_ok_and(|s| s.success()) {
        // that is what this machine is like: then all other tests are about it
        return;
    }
    let program = root.join("../hermake").display().to_string();
    let mut prefix: Vec<&str> = none.to_vec();
    prefix.push(&program);
    let err = started_by(&prefix, &root);
    assert_eq!(
        err.matches("no sandbox: bubblewrap can't make a sandbox here")
            .count(),
        1,
        "{err}"
    );
    assert!(
        err.contains("tasks see staged inputs and a clean environment"),
        "{err}"
    );
    let seen = std::fs::read_to_string(root.join("build/t")).unwrap();
    assert!(seen.starts_with("a\nbuild\nsrc\n"), "{seen}");
}

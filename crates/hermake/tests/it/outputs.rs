//! Outputs that were tampered with come back from the store; no task runs.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::space::Space;

const NONE: [&str; 0] = [];

const TREE: &str = r#"
[task.tree]
inputs = ["src/a.txt"]
tools = ["sh", "coreutils"]
run = ["sh", "-c", "cd $0; mkdir -p empty sub/deep; cp ../../src/a.txt sub/a; cp sub/a sub/deep/same; chmod 700 sub/deep/same; ln -s sub/a link; ln -s nowhere broken; printf '\\0' > nul", "{{ out }}"]
outputs = ["build/tree/"]
"#;

fn tree() -> Space {
    let space = Space::new(TREE);
    space.write("src/a.txt", "content\n");
    assert_eq!(space.run(&["tree"]), ["tree"]);
    space
}

/// Does `damage`, and checks that everything is as before after a run in which no task ran.
fn heals(space: &Space, task: &str, below: &str, damage: impl Fn()) {
    let listing = |space: &Space| {
        let mut all = Vec::new();
        list(&space.path(below), &mut all);
        all
    };
    let before = listing(space);
    for settled in [false, true] {
        if settled {
            std::thread::sleep(std::time::Duration::from_millis(40));
            space.run(&[task]);
        }
        damage();
        assert_eq!(space.run(&[task]), NONE);
        assert_eq!(listing(space), before);
        damage();
        assert_eq!(space.run(&["--leaf", task]), NONE);
        assert_eq!(listing(space), before);
    }
}

fn list(path: &std::path::Path, out: &mut Vec<String>) {
    let meta = fs::symlink_metadata(path).unwrap();
    let content = if meta.is_symlink() {
        format!("-> {}", fs::read_link(path).unwrap().display())
    } else if meta.is_dir() {
        String::new()
    } else {
        format!("{:?}", fs::read(path).unwrap())
    };
    let mode = if meta.is_symlink() {
        0
    } else {
        meta.permissions().mode()
    };
    out.push(format!("{} {mode:o} {content}", path.display()));
    if meta.is_dir() {
        let mut names: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        names.retain(|p| !p.ends_with(".hermake"));
        names.sort();
        names.iter().for_each(|p| list(p, out));
    }
}

#[test]
fn deleted() {
    let space = Space::chain();
    space.run(&["last"]);
    heals(&space, "last", "build", || {
        fs::remove_file(space.path("build/last.txt")).unwrap();
    });
}

#[test]
fn everything_deleted_but_the_store() {
    let space = Space::chain();
    space.run(&["last"]);
    fs::remove_dir_all(space.path("build")).unwrap();
    assert_eq!(space.run(&["last"]), NONE);
    assert_eq!(space.read("build/last.txt"), "HELend\n");
    assert_eq!(space.read("build/upper.txt"), "HELLO WORLD\n");
}

#[test]
fn overwritten() {
    let space = Space::chain();
    space.run(&["last"]);
    heals(&space, "last", "build", || {
        fs::write(space.path("build/last.txt"), "HELenD\n").unwrap();
    });
    heals(&space, "upper", "build", || {
        fs::write(space.path("build/upper.txt"), "hELLO WORLD\n").unwrap();
    });
}

#[test]
fn truncated() {
    let space = Space::chain();
    space.run(&["last"]);
    heals(&space, "last", "build", || {
        fs::write(space.path("build/last.txt"), "").unwrap();
    });
}

#[test]
fn mode_changed() {
    let space = Space::chain();
    space.run(&["last"]);
    heals(&space, "last", "build", || {
        fs::set_permissions(
            space.path("build/last.txt"),
            fs::Permissions::from_mode(0o755),
        )
        .unwrap();
    });
}

#[test]
fn replaced_by_a_symlink_to_the_same_content() {
    let space = Space::chain();
    space.run(&["last"]);
    heals(&space, "last", "build", || {
        let path = space.path("build/last.txt");
        fs::copy(&path, space.path("copy")).unwrap();
        fs::remove_file(&path).unwrap();
        symlink("../copy", &path).unwrap();
    });
}

#[test]
fn replaced_by_a_folder() {
    let space = Space::chain();
    space.run(&["last"]);
    heals(&space, "last", "build", || {
        fs::remove_file(space.path("build/last.txt")).unwrap();
        fs::create_dir_all(space.path("build/last.txt/x")).unwrap();
    });
}

#[test]
fn a_tree_with_duplicates_modes_symlinks_and_empty_folders() {
    let space = tree();
    heals(&space, "tree", "build", || {
        fs::remove_dir_all(space.path("build/tree")).unwrap();
    });
    heals(&space, "tree", "build", || {
        space.write("build/tree/extra", "");
    });
    heals(&space, "tree", "build", || {
        fs::create_dir(space.path("build/tree/empty/extra")).unwrap();
    });
    heals(&space, "tree", "build", || {
        fs::remove_dir(space.path("build/tree/empty")).unwrap();
    });
    heals(&space, "tree", "build", || {
        fs::remove_file(space.path("build/tree/broken")).unwrap();
    });
    heals(&space, "tree", "build", || {
        fs::set_permissions(
            space.path("build/tree/sub/deep"),
            fs::Permissions::from_mode(0o700),
        )
        .unwrap();
    });
    heals(&space, "tree", "build", || {
        fs::rename(space.path("build/tree"), space.path("build/elsewhere")).unwrap();
        symlink("elsewhere", space.path("build/tree")).unwrap();
        fs::remove_dir_all(space.path("build/elsewhere")).unwrap();
    });
}

#[test]
fn a_new_tree_replaces_the_old_one_whole() {
    let space = tree();
    let text = space
        .read("tasks/all.toml")
        .replace("mkdir -p empty", "mkdir -p other")
        .replace("; printf '\\\\0' > nul", "");
    space.write("tasks/all.toml", &text);
    assert_eq!(space.run(&["tree"]), ["tree"]);
    assert!(!space.exists("build/tree/empty") && !space.exists("build/tree/nul"));
    assert!(space.exists("build/tree/other"));
}

#[test]
fn outputs_that_are_not_stored_are_made_again() {
    let space = Space::new(
        r#"
        [task.secret]
        store = false
        tools = ["sh"]
        run = ["sh", "-c", "umask 077; echo secret > $0", "{{ out }}"]
        outputs = ["build/secret"]
        "#,
    );
    assert_eq!(space.run(&["secret"]), ["secret"]);
    assert_eq!(space.run(&["secret"]), NONE);
    assert_eq!(
        fs::metadata(space.path("build/secret"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    fs::write(space.path("build/secret"), "edited").unwrap();
    assert_eq!(space.run(&["secret"]), ["secret"]);
    assert!(!space.store().join("blobs").exists() && space.pieces().is_empty());
}

#[test]
fn linked_outputs_share_the_store_and_come_back() {
    let space = Space::new(
        r#"
        [task.big]
        link = true
        tools = ["sh", "coreutils"]
        run = ["sh", "-c", "yes hermake | head -c 9000000 > $0", "{{ out }}"]
        outputs = ["build/big"]
        "#,
    );
    assert_eq!(space.run(&["big"]), ["big"]);
    assert_eq!(
        fs::metadata(space.path("build/big"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o444
    );
    heals(&space, "big", "build", || {
        fs::remove_file(space.path("build/big")).unwrap();
    });
    // written to through the link: the store notices, and the task runs
    fs::set_permissions(space.path("build/big"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(space.path("build/big"), "short").unwrap();
    assert_eq!(space.run(&["big"]), ["big"]);
    assert_eq!(
        fs::metadata(space.path("build/big")).unwrap().len(),
        9_000_000
    );
}

#[test]
fn what_came_back_is_in_the_log_however_it_came() {
    let space = Space::chain();
    space.run(&["last"]);
    for wait in [0, 1200] {
        // with inputs that have been still for a while no plan is made of the task
        std::thread::sleep(std::time::Duration::from_millis(wait));
        space.run(&["last"]);
        let before = space.entries().len();
        std::fs::remove_file(space.path("build/last.txt")).unwrap();
        assert!(space.run(&["last"]).is_empty());
        let entries = space.entries();
        let last = entries.last().unwrap();
        assert_eq!(entries.len(), before + 1, "after {wait} ms");
        assert_eq!(last.ending, hermake::runlog::Ending::Restored);
        assert_eq!(last.why, "output build/last.txt is gone");
    }
}

#[test]
fn the_callers_umask_does_not_matter() {
    for mask in ["022", "077", "002"] {
        let space = Space::new(
            r#"
            [task.d]
            tools = ["sh", "coreutils"]
            run = ["sh", "-c", "stat -c %a . build $0 > $0/modes; mkdir $0/sub", "{{ out }}"]
            outputs = ["build/d/"]
            [task.r]
            kind = "render"
            template = "t.tera"
            outputs = ["build/r"]
            "#,
        );
        space.write("t.tera", "text");
        let hermake = env!("CARGO_BIN_EXE_hermake");
        let mut sh = space.command("sh");
        sh.args(["-c", &format!("umask {mask}; exec {hermake} run d r")]);
        assert!(sh.status().unwrap().success());
        let mode = |path: &str| {
            let meta = fs::metadata(space.path(path)).unwrap();
            format!("{:o}", meta.permissions().mode() & 0o7777)
        };
        assert_eq!(space.read("build/d/modes"), "755\n755\n755\n");
        let modes = ["build/d", "build/d/sub", "build/d/modes", "build/r"].map(mode);
        assert_eq!(modes, ["755", "755", "644", "644"], "{mask}");
        if mask == "077" {
            assert_eq!(mode("build/.hermake"), "700", "what is private stays so");
        }
    }
}

#[test]
fn a_read_only_folder_is_placed_and_replaced_for_a_user_too() {
    let space = Space::new(
        r#"
        [task.t]
        inputs = ["in"]
        tools = ["sh", "coreutils"]
        run = ["sh", "-c", "mkdir $0/sub; cat in > $0/sub/y; chmod 444 $0/sub/y; chmod 555 $0/sub $0", "{{ out }}"]
        outputs = ["build/ro/"]
        "#,
    );
    for text in ["one", "two"] {
        space.write("in", text);
        for _ in 0..2 {
            let ran = space.as_user(&["run", "t"]);
            assert_eq!(ran.code, 0, "{}", ran.err);
            assert_eq!(space.read("build/ro/sub/y"), text);
            let mode = fs::metadata(space.path("build/ro")).unwrap().permissions();
            assert_eq!(mode.mode() & 0o777, 0o555);
        }
    }
    // and from the store
    space.write("in", "one");
    let ran = space.as_user(&["run", "t"]);
    assert_eq!((ran.code, space.index().len()), (0, 2), "{}", ran.err);
    assert_eq!(space.read("build/ro/sub/y"), "one");
}

#[test]
fn what_its_owner_cannot_read_is_no_output() {
    for (script, output, what) in [
        ("echo > $0; chmod 000 $0", "build/t", "has mode 000"),
        ("mkdir $0/x; chmod 300 $0/x", "build/t/", "has mode 300"),
    ] {
        let task = format!(
            "[task.t]\ntools = [\"sh\", \"coreutils\"]\nrun = [\"sh\", \"-c\", '{script}', \"{{{{ out }}}}\"]\noutputs = [\"{output}\"]\n"
        );
        let space = Space::new(&task);
        for ran in [space.as_user(&["run", "t"]), space.call(&["run", "t"])] {
            assert_eq!(ran.code, 1, "{}", ran.err);
            assert!(ran.err.contains(what), "{}", ran.err);
        }
    }
}

#[test]
fn a_symlink_that_leads_out_is_no_output() {
    let space = Space::new("");
    let task = |script: &str, output: &str, more: &str| {
        space.write(
            "tasks/all.toml",
            &format!(
                "[task.t]\n{more}\ntools = [\"sh\", \"coreutils\"]\nrun = [\"sh\", \"-c\", '{script}', \"{{{{ out }}}}\"]\noutputs = [\"{output}\"]\n"
            ),
        );
    };
    let impure = "impure = \"for the test\"";
    for (script, output, what) in [
        (
            "ln -s /etc/hostname $0",
            "build/t",
            "`build/t` is a symlink to /etc/hostname",
        ),
        (
            "ln -s ../../x $0",
            "build/t",
            "`build/t` is a symlink to ../../x",
        ),
        (
            "mkdir $0/a; ln -s ../../../../x $0/a/b",
            "build/d/",
            "`build/d/a/b` is a symlink",
        ),
    ] {
        for more in ["", impure] {
            task(script, output, more);
            let ran = space.call(&["run", "t"]);
            assert_eq!(ran.code, 1, "{}", ran.err);
            assert!(ran.err.contains(what), "{}", ran.err);
            assert!(!space.exists(output) || output.ends_with('/'));
        }
    }
    task(
        "mkdir $0/a; ln -s ../../../src/x $0/a/b; ln -s . $0/c",
        "build/d/",
        "",
    );
    assert_eq!(space.run(&["t"]), ["t"]);
}

//! What changes a result makes its task run; what does not, doesn't.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use crate::space::Space;

const NONE: [&str; 0] = [];

#[test]
fn nothing_changed_nothing_runs() {
    let space = Space::chain();
    assert_eq!(space.run(&["last"]), ["upper", "first", "last"]);
    assert_eq!(space.read("build/last.txt"), "HELend\n");
    assert_eq!(space.run(&["last"]), NONE);
    assert_eq!(space.run(&["--leaf", "last"]), NONE);
}

#[test]
fn touched_inputs_run_nothing() {
    let space = Space::chain();
    space.run(&["last"]);
    for time in [
        SystemTime::now(),
        SystemTime::UNIX_EPOCH + Duration::from_secs(9),
    ] {
        File::open(space.path("src/a.txt"))
            .unwrap()
            .set_modified(time)
            .unwrap();
        assert_eq!(space.run(&["last"]), NONE);
    }
    fs::rename(space.path("src/a.txt"), space.path("src/b.txt")).unwrap();
    fs::copy(space.path("src/b.txt"), space.path("src/a.txt")).unwrap();
    assert_eq!(space.run(&["last"]), NONE);
}

#[test]
fn an_edit_that_keeps_size_and_mtime_is_noticed() {
    let space = Space::chain();
    space.run(&["last"]);
    // let fingerprints settle, so that it is they that must betray the edit
    std::thread::sleep(Duration::from_millis(50));
    space.run(&["last"]);
    let path = space.path("src/a.txt");
    let then = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "jello world\n").unwrap();
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(then)
        .unwrap();
    assert_eq!(space.run(&["last"]), ["upper", "first", "last"]);
}

#[test]
fn an_edit_within_the_clocks_granularity_is_noticed() {
    let space = Space::chain();
    let path = space.path("src/a.txt");
    space.run(&["last"]);
    for i in 0..20u8 {
        fs::write(&path, [b'a' + i; 12]).unwrap();
        space.run(&["last"]);
        let expected = format!("{0}{0}{0}end\n", char::from(b'A' + i));
        assert_eq!(space.read("build/last.txt"), expected);
    }
}

#[test]
fn an_edit_without_effect_on_the_output_stops_there() {
    let space = Space::chain();
    space.run(&["last"]);
    space.write("src/a.txt", "help\n");
    // `first` takes three bytes: what depends on it sees no change
    assert_eq!(space.run(&["last"]), ["upper", "first"]);
    assert_eq!(space.run(&["last"]), NONE);
    space.write("src/a.txt", "HELP\n");
    assert_eq!(space.run(&["last"]), ["upper"]);
}

#[test]
fn going_back_runs_nothing() {
    let space = Space::chain();
    space.run(&["last"]);
    space.write("src/a.txt", "other\n");
    assert_eq!(space.run(&["last"]), ["upper", "first", "last"]);
    space.write("src/a.txt", "hello world\n");
    assert_eq!(space.run(&["last"]), NONE);
    assert_eq!(space.read("build/last.txt"), "HELend\n");
}

fn edited(space: &Space, from: &str, to: &str) {
    let text = space.read("tasks/all.toml");
    assert!(text.contains(from));
    space.write("tasks/all.toml", &text.replacen(from, to, 1));
}

#[test]
fn a_changed_command_runs_its_task_and_what_its_output_changes() {
    let space = Space::chain();
    space.run(&["last"]);
    edited(&space, "head -c 3", "head -c 4");
    assert_eq!(space.run(&["last"]), ["first", "last"]);
    edited(&space, "head -c 4", "head -c4");
    assert_eq!(space.run(&["last"]), ["first"]);
}

#[test]
fn what_a_task_says_of_itself_only_runs_nothing() {
    let space = Space::chain();
    space.run(&["last"]);
    edited(
        &space,
        "[task.first]",
        "# a remark\n[task.first]\ndoc = \"text\"\ntimeout = \"9m\"",
    );
    assert_eq!(space.run(&["last"]), NONE);
}

#[test]
fn declared_variables_and_parameters_count_and_others_do_not() {
    let space = Space::new(
        r#"
        [task.a]
        params = ["lab.server.memory"]
        env = { MODE = "{{ vars.MODE }}" }
        tools = ["sh"]
        run = ["sh", "-c", "echo $MODE ${OTHER-none} > $0", "{{ out }}"]
        outputs = ["build/a"]
        [task.b]
        needs = ["a"]
        tools = ["cp"]
        run = ["cp", "build/a", "{{ out }}"]
        outputs = ["build/b"]
        "#,
    );
    space.write(
        "hermake.toml",
        "[params]\nlab = \"lab.toml\"\n[vars]\nMODE = \"slow\"\n",
    );
    space.write("lab.toml", "name = 'x'\n[server]\nmemory = '1GiB'\n");
    assert_eq!(space.run(&["b"]), ["a", "b"]);
    assert_eq!(space.read("build/b"), "slow none\n");
    space.write("lab.toml", "name = 'y'\n[server]\nmemory = '1GiB'\n");
    assert_eq!(space.run(&["b"]), NONE);
    space.write("lab.toml", "name = 'y'\n[server]\nmemory = '2GiB'\n");
    assert_eq!(space.run(&["b"]), ["a"]);
    let with = |name: &str, value: &str| {
        let before = space.index().len();
        let ok = space
            .hermake()
            .args(["run", "b"])
            .env(name, value)
            .status()
            .unwrap()
            .success();
        assert!(ok);
        space.index()[before..].to_vec()
    };
    assert_eq!(with("OTHER", "set"), NONE);
    assert_eq!(with("MODE", "fast"), ["a", "b"]);
    assert_eq!(space.read("build/b"), "fast none\n");
    assert_eq!(with("MODE", "slow"), NONE);
    assert_eq!(space.read("build/b"), "slow none\n");
}

#[test]
fn a_tool_counts_by_its_content_also_behind_the_same_path() {
    let space = Space::new(
        r#"
        [task.a]
        tools = ["greet", "sh", "echo"]
        run = ["sh", "-c", "greet > $0", "{{ out }}"]
        outputs = ["build/a"]
        "#,
    );
    space.script("build/bin/greet", "#!/bin/sh\necho one\n");
    assert_eq!(space.run(&["a"]), ["a"]);
    assert_eq!(space.run(&["a"]), NONE);
    space.script("build/bin/greet", "#!/bin/sh\necho two\n");
    assert_eq!(space.run(&["a"]), ["a"]);
    assert_eq!(space.read("build/a"), "two\n");
    // the same name found elsewhere: a link to a third version
    fs::remove_file(space.path("build/bin/greet")).unwrap();
    space.script("versions/3/greet", "#!/bin/sh\necho three\n");
    std::os::unix::fs::symlink("../../versions/3/greet", space.path("build/bin/greet")).unwrap();
    assert_eq!(space.run(&["a"]), ["a"]);
    space.script("versions/4/greet", "#!/bin/sh\necho fours\n");
    fs::remove_file(space.path("build/bin/greet")).unwrap();
    std::os::unix::fs::symlink("../../versions/4/greet", space.path("build/bin/greet")).unwrap();
    assert_eq!(space.run(&["a"]), ["a"]);
    assert_eq!(space.read("build/a"), "fours\n");
}

#[test]
fn files_added_to_and_removed_from_a_glob_are_noticed() {
    let space = Space::new(
        r#"
        [task.list]
        inputs = ["src/**/*.txt"]
        tools = ["sh", "coreutils"]
        run = ["sh", "-c", "cat src/*.txt src/*/*.txt > $0", "{{ out }}"]
        outputs = ["build/list"]
        "#,
    );
    space.write("src/a.txt", "a");
    space.write("src/sub/b.txt", "b");
    assert_eq!(space.run(&["list"]), ["list"]);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(space.run(&["list"]), NONE);
    space.write("src/sub/c.txt", "c");
    assert_eq!(space.run(&["list"]), ["list"]);
    assert_eq!(space.read("build/list"), "abc");
    space.write("src/sub/c.md", "c");
    assert_eq!(space.run(&["list"]), NONE);
    fs::remove_file(space.path("src/sub/c.txt")).unwrap();
    // known from before: taken from the store
    assert_eq!(space.run(&["list"]), NONE);
    assert_eq!(space.read("build/list"), "ab");
    space.write("src/new/d.txt", "d");
    assert_eq!(space.run(&["list"]), ["list"]);
    assert_eq!(space.read("build/list"), "adb");
}

#[test]
fn a_template_may_include_what_globs_and_folders_name() {
    let space = Space::new(
        r#"
        [task.page]
        kind = "render"
        template = "page.tera"
        inputs = ["parts/*.txt", "more/"]
        outputs = ["build/page"]
        "#,
    );
    space.write(
        "page.tera",
        "{% include \"parts/a.txt\" %}{% include \"more/sub/b\" %}",
    );
    space.write("parts/a.txt", "a");
    space.write("more/sub/b", "b");
    fs::write(space.path("more/binary"), [0xff, 0xfe]).unwrap();
    assert_eq!(space.run(&["page"]), ["page"]);
    assert_eq!(space.read("build/page"), "ab");
    space.write("more/sub/b", "c");
    assert_eq!(space.run(&["page"]), ["page"]);
    assert_eq!(space.read("build/page"), "ac");
}

#[test]
fn an_input_that_vanishes_or_becomes_a_folder_is_named() {
    let space = Space::chain();
    space.run(&["last"]);
    fs::remove_file(space.path("src/a.txt")).unwrap();
    let ran = space.call(&["run", "last"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err
            .contains("the input `src/a.txt` of `upper` (tasks/all.toml:2) is not there"),
        "{}",
        ran.err
    );
    fs::create_dir(space.path("src/a.txt")).unwrap();
    let ran = space.call(&["run", "last"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err
            .contains("`src/a.txt` of `upper` (tasks/all.toml:2) is a folder: write `src/a.txt/`"),
        "{}",
        ran.err
    );
}

#[test]
fn an_executable_bit_is_content() {
    use std::os::unix::fs::PermissionsExt;
    let space = Space::chain();
    space.run(&["last"]);
    fs::set_permissions(space.path("src/a.txt"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(space.run(&["last"]), ["upper"]);
    fs::set_permissions(space.path("src/a.txt"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(space.run(&["last"]), NONE);
}

#[test]
fn one_file_of_a_folder_that_another_task_makes() {
    let space = Space::new(
        r#"
        [task.split]
        inputs = ["src/all"]
        tools = ["sh", "coreutils"]
        run = ["sh", "-c", "head -n 1 src/all > $0/one; tail -n 1 src/all > $0/two", "{{ out }}"]
        outputs = ["build/parts/"]
        [task.one]
        after = ["split"]
        inputs = ["build/parts/one"]
        tools = ["cp"]
        run = ["cp", "build/parts/one", "{{ out }}"]
        outputs = ["build/one"]
        "#,
    );
    space.write("src/all", "a\nb\n");
    assert_eq!(space.run(&["one"]), ["split", "one"]);
    space.write("src/all", "a\nc\n");
    assert!(
        space
            .call(&["run", "-n", "one"])
            .err
            .contains("one: would be looked at again after `split`")
    );
    assert_eq!(space.run(&["one"]), ["split"]);
    space.write("src/all", "d\nc\n");
    assert_eq!(space.run(&["one"]), ["split", "one"]);
    assert_eq!(space.read("build/one"), "d\n");
}

#[test]
fn another_platform_is_another_key() {
    let space = Space::chain();
    space.run(&["last"]);
    // as if this checkout, with its outputs, had been used on another machine
    let mut state = hermake::state::State::open(&space.path(""));
    for name in ["upper", "first", "last"] {
        let mut task = state.task(name).unwrap();
        task.manifest.platform = task
            .manifest
            .platform
            .replace(std::env::consts::ARCH, "vax");
        task.key = task.manifest.key();
        state.record(&task).unwrap();
    }
    fs::remove_file(space.store().join("index")).unwrap();
    let dry = space.call(&["run", "-n", "--leaf", "upper"]);
    assert!(
        dry.err
            .contains("upper: would run: platform changed (hermake 1 linux-vax → "),
        "{}",
        dry.err
    );
    assert_eq!(space.run(&["last"]), ["upper", "first", "last"]);
    assert_eq!(space.run(&["last"]), NONE);
}

#[test]
fn links_among_files_that_globs_name() {
    use std::os::unix::fs::symlink;
    for (inputs, sub) in [("src/", "src/sub"), ("src/**/*.c", "src/sub")] {
        let space = Space::new(&format!(
            r#"
            [task.list]
            inputs = ["{inputs}"]
            tools = ["sh", "coreutils"]
            run = ["sh", "-c", "cat src/*.c src/*/*.c > $0", "{{{{ out }}}}"]
            outputs = ["build/list"]
            "#
        ));
        space.write("src/a.c", "a");
        space.write("src/sub/b.c", "b");
        assert_eq!(space.run(&["list"]), ["list"]);
        // an editor's lock, a link to a folder, and one to itself
        symlink("me@here.1:2", space.path("src/.#a.c")).unwrap();
        symlink("sub", space.path("src/ld.c")).unwrap();
        symlink("self.c", space.path("src/self.c")).unwrap();
        symlink("../gen/c.c", space.path("src/c.c")).unwrap();
        assert!(space.run(&["list"]).is_empty(), "{inputs}");
        assert_eq!(space.read("build/list"), "ab");
        // what it leads to comes, changes and goes
        space.write("gen/c.c", "c");
        assert_eq!(space.run(&["list"]), ["list"], "{inputs}");
        assert_eq!(space.read("build/list"), "acb");
        space.write("gen/c.c", "C");
        assert_eq!(space.run(&["list"]), ["list"]);
        std::fs::remove_dir_all(space.path("gen")).unwrap();
        assert!(space.run(&["list"]).is_empty(), "{inputs}");
        assert_eq!(space.read("build/list"), "ab");
        // the folder's link leads to a file after all
        std::fs::rename(space.path(sub), space.path("src/bus")).unwrap();
        space.write(sub, "s");
        assert_eq!(space.run(&["list"]), ["list"], "{inputs}");
        std::fs::remove_file(space.path("src/ld.c")).unwrap();
        symlink("/etc", space.path("src/ld.c")).unwrap();
        let out = space.call(&["run", "list"]);
        assert!(
            out.code == 2
                && out.err.contains("`src/ld.c` of `list`")
                && out.err.contains("leads out of the project, to /etc"),
            "{}",
            out.err
        );
    }
}

#[test]
fn a_link_that_is_written_out_is_an_error_that_says_what_it_is() {
    use std::os::unix::fs::symlink;
    let space = Space::new(
        r#"
        [task.nowhere]
        inputs = ["src/gone"]
        tools = ["sh"]
        run = ["sh", "-c", "exit 0"]
        [task.folder]
        inputs = ["src/ld"]
        tools = ["sh"]
        run = ["sh", "-c", "exit 0"]
        [task.below]
        inputs = ["src/ld/"]
        tools = ["sh", "coreutils"]
        run = ["sh", "-c", "cat src/ld/b > $0", "{{ out }}"]
        outputs = ["build/b"]
        "#,
    );
    space.write("src/sub/b", "b");
    symlink("away", space.path("src/gone")).unwrap();
    symlink("sub", space.path("src/ld")).unwrap();
    let nowhere = space.call(&["run", "nowhere"]).err;
    assert!(
        nowhere.contains("is a symlink to away, which is not there")
            && !nowhere.contains("did you mean `src/gone`"),
        "{nowhere}"
    );
    let folder = space.call(&["run", "folder"]).err;
    assert!(
        folder.contains("is a folder: write `src/ld/` for all files below it"),
        "{folder}"
    );
    assert_eq!(space.run(&["below"]), ["below"]);
    assert_eq!(space.read("build/b"), "b");
}

/// `b` reads what `a` has made, by way of a link to it in a folder as well, after `meddle` has overwritten it.
fn meddled(size: u32, how: &str) -> Space {
    let space = Space::new(&format!(
        r#"
        [task.a]
        tools = ["sh", "coreutils"]
        run = ["sh", "-c", "echo good > $0; head -c {size} /dev/zero >> $0; cp $0 $1/x; ln -s x $1/y; chmod +x $1/x", "{{{{ out }}}}", "{{{{ outs.1 }}}}"]
        outputs = ["build/a", "build/all/"]
        [task.meddle]
        after = ["a"]
        impure = "it does what others might do at that time"
        run = ["sh", "-c", "[ ! -e meddle ] || for f in build/a build/all/x; do echo evil > new; head -c {size} /dev/zero >> new; mv new $f; done"]
        [task.b]
        needs = ["a"]
        after = ["meddle"]
        {how}
        outputs = ["build/b"]
        "#
    ));
    space.write("meddle", "");
    space
}

#[test]
fn a_needed_output_that_is_not_the_recorded_one_is_not_read() {
    let script = r#"["sh", "-c", "head -qn1 build/a build/all/y > $0; [ -x build/all/x ] && ls build/all >> $0", "{{ out }}"]"#;
    let run = format!("tools = [\"sh\", \"coreutils\"]\nrun = {script}");
    let render = "kind = \"render\"\ntemplate = \"t.tera\"\ncontext = { a = \"build/a\" }";
    let impure = format!("impure = \"for the test\"\nstore = true\nrun = {script}");
    let seen = "good\ngood\nx\ny\n";
    for (size, sandbox, how, seen) in [
        (10, "auto", run.as_str(), seen),
        (9_000_000, "auto", &run, seen),
        (1_500_000, "staged", &run, seen),
        (10, "none", &run, seen),
        (0, "auto", render, "good"),
        (10, "auto", &impure, seen),
    ] {
        let space = meddled(size, how);
        space.write("hermake.toml", &format!("sandbox = \"{sandbox}\"\n"));
        space.write("t.tera", "{{ a }}");
        assert_eq!(space.run(&["-j1", "b"]), ["a", "meddle", "b"]);
        assert_eq!(space.read("build/b"), seen, "{size} {sandbox}");
        fs::remove_dir_all(space.path("build")).unwrap();
        fs::remove_file(space.path("meddle")).unwrap();
        assert_eq!(space.run(&["b"]), ["meddle"]);
        assert_eq!(space.read("build/b"), seen, "from the store");
    }
}

#[test]
fn a_needed_output_that_changes_while_it_is_read_is_not_recorded() {
    let script = r#"["sh", "-c", "echo > $0; sleep 0.5; head -qn1 build/a > $0", "{{ out }}"]"#;
    let run = format!("tools = [\"sh\", \"coreutils\"]\nrun = {script}");
    for sandbox in ["auto", "staged", "none"] {
        let space = meddled(1_500_000, &run);
        space.write("hermake.toml", &format!("sandbox = \"{sandbox}\"\n"));
        fs::remove_file(space.path("meddle")).unwrap();
        let mut child = space.hermake().args(["run", "b"]).spawn().unwrap();
        let started = |folder: &str| {
            let stages = fs::read_dir(space.path("build/.hermake").join(folder));
            let mut stages = stages.into_iter().flatten().flatten();
            stages.any(|s| s.path().join("root/build/b").exists())
        };
        while !started("stage") && !started("outputs") {
            assert!(child.try_wait().unwrap().is_none());
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        space.write("build/a", "evil\n");
        let good = child.wait().unwrap().success();
        // in the checkout itself a task sees what others do there
        assert_eq!(good, sandbox != "none");
        assert_eq!(space.run(&["b"]).contains(&"b".to_owned()), !good);
        assert_eq!(space.read("build/b"), "good\n", "{sandbox}");
    }
}

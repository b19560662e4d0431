//! Colours: on a terminal, and only there.

use crate::space::Space;

/// What hermake prints on a terminal.
fn on_terminal(space: &Space, args: &str, env: &[(&str, &str)]) -> String {
    let command = format!("{} {args}", env!("CARGO_BIN_EXE_hermake"));
    let output = space
        .command("script")
        .args(["-qec", &command, "/dev/null"])
        .env("TERM", "xterm")
        .envs(env.iter().copied())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn colours_on_a_terminal_only_and_not_if_not_wanted() {
    let space = Space::chain();
    let seen = on_terminal(&space, "run last", &[]);
    assert!(
        seen.contains("\u{1b}[1;33mupper\u{1b}[0m: no result of it yet"),
        "{seen}"
    );
    for args in ["status", "graph", "log"] {
        assert!(on_terminal(&space, args, &[]).contains("\u{1b}["), "{args}");
        for env in [("NO_COLOR", "1"), ("TERM", "dumb")] {
            let seen = on_terminal(&space, args, &[env]);
            assert!(
                !seen.contains('\u{1b}') && seen.contains("upper"),
                "{args} {env:?}: {seen}"
            );
        }
        assert!(!space.call(&[args]).out.contains('\u{1b}'), "{args}");
    }
    // an empty NO_COLOR is none
    assert!(on_terminal(&space, "status", &[("NO_COLOR", "")]).contains("\u{1b}["));
    space.write("src/a.txt", "other\n");
    assert!(on_terminal(&space, "why upper", &[]).contains("\u{1b}[31m-hello world"));
    assert!(!space.call(&["run", "last"]).err.contains('\u{1b}'));
}

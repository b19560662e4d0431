//! Services: started once, again when their key changes or they are gone, stopped on request.

use crate::space::Space;

const SERVICE: &str = r#"
[task.server]
kind = "service"
inputs = ["src/conf"]
start = ["sh", "-c", "echo start $(cat src/conf) >> events; echo $$ > running"]
ready = ["sh", "-c", "echo ready >> events; mkdir -p build; cp src/conf build/instance"]
status = ["sh", "-c", "test -e running"]
stop = ["sh", "-c", "echo stop >> events; rm running"]
outputs = ["build/instance"]
[task.client]
needs = ["server"]
tools = ["cp"]
run = ["cp", "build/instance", "{{ out }}"]
outputs = ["build/client"]
"#;

#[test]
fn a_service_is_kept_running() {
    let space = Space::new(SERVICE);
    space.write("src/conf", "one\n");
    let events = |space: &Space| space.read("events").replace('\n', " ");
    assert_eq!(space.run(&["client"]), ["server", "client"]);
    assert_eq!(events(&space), "start one ready ");
    assert!(space.run(&["client"]).is_empty());
    assert!(space.run(&["--leaf", "server"]).is_empty());
    // gone by itself: started again; its instance is the same, so the client is up to date
    std::fs::remove_file(space.path("running")).unwrap();
    assert_eq!(space.run(&["client"]), ["server"]);
    assert_eq!(events(&space), "start one ready start one ready ");
    space.write("src/conf", "two\n");
    assert_eq!(space.run(&["client"]), ["server", "client"]);
    assert_eq!(
        events(&space),
        "start one ready start one ready stop start two ready "
    );
    assert_eq!(space.call(&["stop", "--all"]).code, 0);
    assert!(!space.exists("running"));
    assert_eq!(space.call(&["stop", "server"]).code, 0);
    assert_eq!(
        space.call(&["status", "server"]).out.trim(),
        "server  stale  service  would run: not running"
    );
    assert_eq!(space.call(&["stop", "client"]).code, 2);
}

#[test]
fn one_that_can_reload_is_not_stopped() {
    let reload = r#"reload = ["sh", "-c", "echo reload $(cat src/conf) >> events"]"#;
    let space = Space::new(&SERVICE.replace("inputs =", &format!("{reload}\ninputs =")));
    space.write("src/conf", "one\n");
    assert_eq!(space.run(&["client"]), ["server", "client"]);
    space.write("src/conf", "two\n");
    assert_eq!(space.run(&["client"]), ["server", "client"]);
    let events = || space.read("events").replace('\n', " ");
    assert_eq!(events(), "start one ready reload two ready ");
    // not running there is nothing to reload
    std::fs::remove_file(space.path("running")).unwrap();
    space.write("src/conf", "three\n");
    space.run(&["server"]);
    assert!(
        events().ends_with("ready start three ready "),
        "{}",
        events()
    );
    // forced it starts anew
    space.call(&["run", "-B", "--leaf", "server"]);
    assert!(
        events().ends_with("stop start three ready "),
        "{}",
        events()
    );
}

#[test]
fn a_service_that_does_not_get_ready_is_tried_again() {
    let space = Space::new(&SERVICE.replace("echo ready >> events;", "test -e permit || exit 7;"));
    space.write("src/conf", "one\n");
    let ran = space.call(&["run", "client"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("`server` failed: exit status 7"),
        "{}",
        ran.err
    );
    space.write("permit", "");
    assert_eq!(space.run(&["client"]), ["server", "client"]);
}

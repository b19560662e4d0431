//! The script that tells the server what cloud-init made of a machine, run with
//! a `cloud-init` that says what the real one would.

mod common;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use common::{Bootd, MAC, Site};
use protocol::{Event, MachineState as State};
use serde_json::json;

/// Runs the script for a cloud-init that prints `says` and exits with `code`.
/// Gives what bootd made of it.
fn reported(says: &str, code: i32) -> (State, Event) {
    let (site, state) = (Site::new(), tempfile::tempdir().unwrap());
    let bootd = Bootd::start(&site, state.path());
    let token = bootd.plan(MAC).token;
    bootd.report(&token, "rebooting");
    let to =
        json!({"url": format!("http://{}/events", bootd.machines), "mac": MAC, "token": token});
    let out = run(&to.to_string(), says, code);
    assert!(out.status.success(), "{out:?}");
    (bootd.status().state, bootd.events().pop().unwrap())
}

fn run(to: &str, says: &str, code: i32) -> std::process::Output {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let script = format!(
        "#!/bin/sh\n[ \"$*\" = 'status --wait --format json' ] || exit 9\ncat '{}'\nexit {code}\n",
        path("says").display()
    );
    fs::write(path("says"), says).unwrap();
    fs::write(path("cloud-init"), script).unwrap();
    fs::set_permissions(path("cloud-init"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(path("to"), to).unwrap();
    let program =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cloud-init/target/lab-report.py.tera");
    let mut search = folder.path().as_os_str().to_owned();
    search.push(":");
    search.push(std::env::var_os("PATH").unwrap());
    Command::new("python3")
        .arg(program)
        .arg(path("to"))
        .env("PATH", search)
        .output()
        .unwrap()
}

#[test]
fn done_is_ready() {
    let status = json!({"status": "done", "extended_status": "done", "errors": [], "recoverable_errors": {}});
    // with --wait, dots come first
    let (state, event) = reported(&format!("....\n{status}"), 0);
    assert_eq!(state, State::Ready);
    assert_eq!((event.message, event.detail), (None, None));
}

#[test]
fn degraded_is_ready_and_says_what_was_wrong() {
    let status = json!({
        "status": "done", "extended_status": "degraded done", "errors": [],
        "recoverable_errors": {"WARNING": ["no such key: x", "y"], "DEPRECATED": ["z"]}
    });
    let (state, event) = reported(&status.to_string(), 2);
    assert_eq!(state, State::Ready);
    let message = event.message.unwrap();
    assert!(message.starts_with("degraded done; "), "{message}");
    assert!(
        message.contains("WARNING: no such key: x") && message.contains("DEPRECATED: z"),
        "{message}"
    );
    assert_eq!(event.detail.unwrap(), status);
}

#[test]
fn an_error_is_a_failure_with_its_reason() {
    let status = json!({
        "status": "error", "extended_status": "error - done",
        "errors": ["('package_update_upgrade_install', ProcessExecutionError())"], "recoverable_errors": {}
    });
    let (state, event) = reported(&status.to_string(), 1);
    assert_eq!(state, State::Failed);
    let message = event.message.unwrap();
    assert!(
        message.starts_with("cloud-init: error - done; ('package_update"),
        "{message}"
    );
}

#[test]
fn an_old_cloud_init_without_extended_status_is_understood() {
    assert_eq!(
        reported(&json!({"status": "done", "errors": []}).to_string(), 0).0,
        State::Ready
    );
    assert_eq!(
        reported(&json!({"status": "error", "errors": ["x"]}).to_string(), 1).0,
        State::Failed
    );
    assert_eq!(
        reported(&json!({"status": "disabled"}).to_string(), 0).0,
        State::Failed
    );
}

#[test]
fn what_is_no_status_is_a_failure() {
    let (state, event) = reported("Traceback: boom", 1);
    assert_eq!(state, State::Failed);
    assert!(event.message.unwrap().contains("Traceback: boom"));
}

#[test]
fn a_refusal_ends_the_script_and_is_not_repeated() {
    let (site, state) = (Site::new(), tempfile::tempdir().unwrap());
    let bootd = Bootd::start(&site, state.path());
    let to =
        json!({"url": format!("http://{}/events", bootd.machines), "mac": MAC, "token": "old"});
    let out = run(&to.to_string(), r#"{"status": "done"}"#, 0);
    assert_eq!(out.status.code(), Some(1));
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        said.contains("refused: 403 the token is not the one of this machine's plan"),
        "{said}"
    );
}

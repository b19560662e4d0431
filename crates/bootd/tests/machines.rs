//! A machine's way through the states, over HTTP.

mod common;

use std::{
    thread,
    time::{Duration, Instant},
};

use common::{Bootd, MAC, STRANGER, Site};
use protocol::{MachineState as State, Stage, Stage as S};
use serde_json::json;

#[test]
fn a_machine_is_installed_and_then_boots_its_disk() {
    let (site, state) = (Site::new(), tempfile::tempdir().unwrap());
    let bootd = Bootd::start(&site, state.path());
    let script = || {
        bootd
            .get(&format!("/ipxe/{MAC}?uuid=1&serial=2&product=3"))
            .body
    };
    assert_eq!(bootd.status().state, State::Install);
    assert_eq!(bootd.status().stage, None);

    assert!(script().contains("rdinit=/lab-init"));
    assert_eq!(
        (bootd.status().state, bootd.status().stage),
        (State::Install, Some(Stage::Script))
    );
    let plan = bootd.plan(MAC);
    assert_eq!(
        plan.image_url,
        "http://192.168.105.1/content/target.raw.zst"
    );
    assert_eq!(
        plan.seed.user_data,
        format!("http://192.168.105.1/cloud-init/{MAC}/user-data")
    );
    assert_eq!(
        (plan.compressed_size, plan.raw_size, plan.disk.as_str()),
        (1000, 2000, "auto")
    );
    assert_eq!(bootd.status().state, State::Installing);

    // interrupted: it is installed again, from the begin
    assert!(script().contains("rdinit=/lab-init"));
    assert_eq!(bootd.plan(MAC).token, plan.token);
    let progress = json!({
        "mac": MAC, "token": plan.token, "stage": "streaming", "progress": {"done": 5, "total": 10}
    });
    assert_eq!(bootd.post("/events", &progress.to_string()).status, 204);
    assert_eq!(bootd.status().progress.unwrap().done, 5);
    for stage in ["verified", "seeded"] {
        assert_eq!(bootd.report(&plan.token, stage).status, 204);
        assert_eq!(bootd.status().state, State::Installing);
    }
    assert_eq!(bootd.status().progress, None);

    assert_eq!(bootd.report(&plan.token, "rebooting").status, 204);
    assert_eq!(bootd.status().state, State::Installed);
    assert!(!script().contains("kernel "), "it would loop through PXE");
    assert_eq!(bootd.status().state, State::Installed);
    let again = bootd.get(&format!("/plan/{MAC}"));
    assert_eq!(again.status, 409);
    assert!(
        again.body.contains("make reprovision VM=target1"),
        "{again:?}"
    );
    // the installer is over: what it says now is not of this time
    assert_eq!(bootd.report(&plan.token, "streaming").status, 409);

    bootd.report(&plan.token, "booted");
    assert_eq!(bootd.status().state, State::Installed);
    bootd.report(&plan.token, "ready");
    assert_eq!(bootd.status().state, State::Ready);
    assert!(!script().contains("kernel "));
    assert_eq!(
        bootd.status().state,
        State::Ready,
        "asking for a script changed the state"
    );
    bootd.report(&plan.token, "booted");
    assert_eq!(bootd.status().state, State::Ready, "it was only restarted");

    let stages: Vec<_> = bootd.events().iter().map(|event| event.stage).collect();
    assert_eq!(
        stages,
        [
            S::Script,
            S::Plan,
            S::Script,
            S::Plan,
            S::Streaming,
            S::Verified,
            S::Seeded,
            S::Rebooting,
            S::Script,
            S::Booted,
            S::Ready,
            S::Script,
            S::Booted,
        ]
    );
    let numbers: Vec<_> = bootd.events().iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=13).collect::<Vec<_>>());
}

#[test]
fn a_failure_before_the_disk_is_complete_is_tried_again_and_one_after_it_is_not() {
    let (site, state) = (Site::new(), tempfile::tempdir().unwrap());
    let bootd = Bootd::start(&site, state.path());
    let token = bootd.plan(MAC).token;
    let failed =
        json!({"mac": MAC, "token": token, "stage": "failed", "message": "disk\x1b[2J\nfull"});
    bootd.post("/events", &failed.to_string());
    let status = bootd.status();
    assert_eq!(status.state, State::Failed);
    assert_eq!(status.message.unwrap(), "disk [2J full");
    assert!(bootd.get(&format!("/ipxe/{MAC}")).body.contains("rdinit="));

    bootd.report(&token, "rebooting");
    bootd.post("/events", &failed.to_string());
    assert_eq!(bootd.status().state, State::Failed);
    assert!(!bootd.get(&format!("/ipxe/{MAC}")).body.contains("rdinit="));
}

#[test]
fn a_machine_that_was_ready_stays_so_whatever_a_later_boot_reports() {
    let (site, state) = (Site::new(), tempfile::tempdir().unwrap());
    let bootd = Bootd::start(&site, state.path());
    let token = bootd.plan(MAC).token;
    for stage in ["rebooting", "booted", "ready", "booted"] {
        bootd.report(&token, stage);
    }
    let failed =
        json!({"mac": MAC, "token": token, "stage": "failed", "message": "cloud-init: error"});
    bootd.post("/events", &failed.to_string());
    let status = bootd.status();
    assert_eq!(
        (status.state, status.stage),
        (State::Ready, Some(Stage::Failed))
    );
    assert_eq!(status.message.unwrap(), "cloud-init: error");
    let last = bootd.events().pop().unwrap();
    assert_eq!((last.stage, last.state), (S::Failed, Some(State::Ready)));
    assert!(!bootd.get(&format!("/ipxe/{MAC}")).body.contains("rdinit="));
    // the next boot that goes well takes the trouble back
    bootd.report(&token, "booted");
    bootd.report(&token, "ready");
    assert_eq!(bootd.status().message, None);
    // where the order to install it anew came in between, a failure is one again
    bootd.post_admin(&format!("/machines/{MAC}/reprovision"));
    let token = bootd.plan(MAC).token;
    let failed = json!({"mac": MAC, "token": token, "stage": "failed", "message": "disk full"});
    bootd.post("/events", &failed.to_string());
    assert_eq!(bootd.status().state, State::Failed);
}

#[test]
fn a_lost_report_of_the_restart_does_not_have_the_machine_installed_again() {
    let (site, state) = (Site::new(), tempfile::tempdir().unwrap());
    let bootd = Bootd::start(&site, state.path());
    let token = bootd.plan(MAC).token;
    bootd.report(&token, "booted");
    assert_eq!(bootd.status().state, State::Installed);
    assert!(!bootd.get(&format!("/ipxe/{MAC}")).body.contains("rdinit="));
}

#[test]
fn reprovisioning_makes_a_new_instance_and_the_old_system_is_not_heard() {
    let (site, state) = (Site::new(), tempfile::tempdir().unwrap());
    let bootd = Bootd::start(&site, state.path());
    let old = bootd.plan(MAC);
    bootd.report(&old.token, "rebooting");
    let path = format!("/machines/{MAC}/reprovision");
    assert_eq!(
        bootd.post(&path, "").status,
        404,
        "any machine could have asked for that"
    );
    assert_eq!(bootd.post_admin(&path).status, 204);
    assert_eq!(bootd.status().state, State::Install);
    assert_ne!(bootd.status().instance_id, old.instance_id);
    assert_eq!(bootd.report(&old.token, "ready").status, 403);
    assert_eq!(bootd.status().state, State::Install);
    let new = bootd.plan(MAC);
    assert_ne!(new.token, old.token);
    let meta_data = bootd.get(&format!("/cloud-init/{MAC}/meta-data")).body;
    assert!(meta_data.contains(&new.instance_id), "{meta_data}");
    assert_eq!(
        bootd
            .post_admin(&format!("/machines/{STRANGER}/reprovision"))
            .status,
        404
    );
}

#[test]
fn unknown_machines_get_what_the_site_says() {
    let (mut site, state) = (Site::new(), tempfile::tempdir().unwrap());
    let bootd = Bootd::start(&site, state.path());
    let ask = || {
        bootd.get(&format!(
            "/ipxe/{STRANGER}?product=Lab%20%26%26%20reboot%20%24%7Bx%7D"
        ))
    };
    let refused = ask();
    assert_eq!(refused.status, 200);
    assert!(
        refused.body.contains("mac = \"52:54:00:00:00:99\""),
        "{refused:?}"
    );
    assert!(
        !refused.body.contains("&&") && !refused.body.contains("${"),
        "{refused:?}"
    );
    assert!(refused.body.ends_with("exit 1\n"));
    ask();
    let events = bootd.events();
    assert_eq!(events.len(), 1, "asking twice was noted twice: {events:?}");
    assert_eq!(events[0].stage, Stage::Refused);
    for path in [
        "plan/52-54-00-00-00-99",
        "cloud-init/52-54-00-00-00-99/user-data",
    ] {
        assert_eq!(bootd.get(&format!("/{path}")).status, 404);
    }
    assert_eq!(
        std::fs::read_dir(state.path().join("machines"))
            .unwrap()
            .count(),
        0
    );

    site.json["unknown-machines"] = json!("local-boot");
    site.push(|_| ());
    assert!(ask().body.contains("boots its own disk"));

    site.json["unknown-machines"] = json!("install");
    site.push(|_| ());
    assert!(ask().body.contains("rdinit=/lab-init"));
    assert_eq!(bootd.plan(STRANGER).machine, format!("m-{STRANGER}"));
    assert_eq!(
        bootd
            .get(&format!("/cloud-init/{STRANGER}/user-data"))
            .status,
        200
    );
}

#[test]
fn waiting_for_events_ends_with_the_next_one() {
    let (site, state) = (Site::new(), tempfile::tempdir().unwrap());
    let bootd = Bootd::start(&site, state.path());
    let begin = Instant::now();
    assert_eq!(bootd.page("since=0&wait=1").events, []);
    assert!(begin.elapsed() >= Duration::from_secs(1));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| bootd.page("since=0&wait=30"));
        thread::sleep(Duration::from_millis(300));
        bootd.plan(MAC);
        let page = waiting.join().unwrap();
        assert_eq!(page.events[0].stage, Stage::Plan);
        assert_eq!(page.next, 1);
    });
    assert!(begin.elapsed() < Duration::from_secs(20));
    assert_eq!(bootd.page("since=1").events, []);
}

#[test]
fn state_and_events_survive_a_kill_and_a_restart() {
    let (site, state) = (Site::new(), tempfile::tempdir().unwrap());
    let bootd = Bootd::start(&site, state.path());
    let plan = bootd.plan(MAC);
    bootd.report(&plan.token, "rebooting");
    let before = bootd.status();
    bootd.kill();
    let bootd = Bootd::start(&site, state.path());
    assert_eq!(bootd.status(), before);
    assert_eq!(bootd.report(&plan.token, "ready").status, 204);
    assert_eq!(
        bootd.events().iter().map(|e| e.seq).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert_eq!(bootd.terminate(), 0);
}

#[test]
fn a_damaged_record_is_an_error_that_names_the_file() {
    let (site, state) = (Site::new(), tempfile::tempdir().unwrap());
    let bootd = Bootd::start(&site, state.path());
    bootd.plan(MAC);
    let path = state.path().join(format!("machines/{MAC}.json"));
    std::fs::write(&path, "{").unwrap();
    let answer = bootd.get(&format!("/ipxe/{MAC}"));
    assert_eq!(answer.status, 500);
    assert!(
        answer
            .body
            .contains(&format!("machines/{MAC}.json is damaged")),
        "{answer:?}"
    );
    assert_eq!(
        bootd.get("/ipxe/52-54-00-4c-42-02").status,
        200,
        "another machine suffers"
    );
    let status = bootd.status();
    assert_eq!(status.state, State::Failed);
    assert!(status.message.unwrap().contains("is damaged"));
    bootd.post_admin(&format!("/machines/{MAC}/reprovision"));
    assert_eq!(bootd.status().state, State::Install);
}

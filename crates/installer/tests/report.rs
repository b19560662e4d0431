//! What the server hears while a machine is installed.

mod common;

use common::{Lab, Served, hasty};
use installer::report::Reporter;
use protocol::{EventReport, Stage};

fn reports(lab: &Lab) -> Vec<EventReport> {
    let requests = lab.server.requests.lock().unwrap();
    let posts = requests
        .iter()
        .filter(|(line, _)| line.starts_with("POST /events"));
    posts
        .map(|(_, body)| serde_json::from_str(body).unwrap())
        .collect()
}

#[test]
fn stages_carry_the_token_and_are_repeated_until_they_are_heard() {
    let lab = Lab::new();
    lab.server.serve(
        "/events",
        Served {
            busy: 2,
            ..Served::default()
        },
    );
    let reporter = Reporter::new(&lab.plan, hasty(), hasty());
    reporter
        .stage(Stage::Verified, Some("all of it".into()))
        .unwrap();
    let reports = reports(&lab);
    assert_eq!(reports.len(), 3);
    let last = &reports[2];
    assert_eq!(
        (last.stage, last.token.as_str()),
        (Stage::Verified, "secret")
    );
    assert_eq!(last.message.as_deref(), Some("all of it"));
    assert_eq!(last.mac, lab.plan.mac);
}

#[test]
fn a_failure_is_told_with_all_of_its_causes() {
    let lab = Lab::new();
    lab.server.serve("/events", Served::default());
    let reporter = Reporter::new(&lab.plan, hasty(), hasty());
    let error = anyhow::anyhow!("disk full").context("can't write to /dev/vda");
    reporter.failed(&error);
    let report = reports(&lab).pop().unwrap();
    assert_eq!(report.stage, Stage::Failed);
    assert_eq!(
        report.message.as_deref(),
        Some("can't write to /dev/vda: disk full")
    );
}

#[test]
fn progress_is_told_now_and_then_and_a_server_that_is_gone_stops_nothing() {
    let mut lab = Lab::new();
    lab.plan.compressed_size = 1000;
    lab.server.serve("/events", Served::default());
    let reporter = Reporter::new(&lab.plan, hasty(), hasty());
    for done in 0..500 {
        reporter.progress(done);
    }
    assert_eq!(reports(&lab).len(), 0, "told too often");
    std::thread::sleep(std::time::Duration::from_millis(550));
    reporter.progress(500);
    reporter.progress(501);
    let told = reports(&lab);
    assert_eq!(told.len(), 1);
    let progress = told[0].progress.unwrap();
    assert_eq!((progress.done, progress.total), (500, Some(1000)));

    lab.plan.events_url = "http://127.0.0.1:1/events".into();
    let reporter = Reporter::new(&lab.plan, hasty(), hasty());
    std::thread::sleep(std::time::Duration::from_millis(550));
    reporter.progress(900);
    reporter.stage(Stage::Verified, None).unwrap_err();
}

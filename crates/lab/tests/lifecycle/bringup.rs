//! `lab target up` and `lab reprovision` against the real bootd; the test
//! plays the machine.

use std::io::{BufRead as _, BufReader};
use std::process::Child;
use std::time::Duration;

use bootd::render::Asked;
use protocol::Stage;

use crate::bench::until;
use crate::play::Play;

/// What was said, and whether it ended well.
fn end(child: Child) -> (String, bool) {
    let output = child.wait_with_output().unwrap();
    (
        String::from_utf8(output.stderr).unwrap(),
        output.status.success(),
    )
}

#[test]
fn a_target_is_followed_found_ready_and_brought_back_from_its_disk() {
    let stage = Play::new();
    let child = stage.up();
    let first = stage.body();
    let token = stage.install();
    let (said, good) = end(child);
    assert!(good, "{said}");
    assert_eq!(
        said,
        "::stage target1: powered on\n\
         ::stage target1: boot script served\n\
         ::stage target1: plan served\n\
         ::progress 0 1000 bytes streaming target1\n\
         ::stage target1: image streams to the disk\n\
         ::progress 500 1000 bytes streaming target1\n\
         ::progress 1000 1000 bytes streaming target1\n\
         ::stage target1: image verified\n\
         ::stage target1: seed planted\n\
         ::stage target1: restarts from its disk\n\
         ::stage target1: installed system is up\n\
         ::stage target1: ready\n"
    );

    assert_eq!(
        end(stage.up()),
        ("::stage target1: ready\n".to_owned(), true)
    );
    assert_eq!(stage.body().process, first.process);

    assert!(
        stage
            .bench
            .lab(&["target", "down", "target1", "--grace", "0"])
            .status
            .success()
    );
    let child = stage.up();
    let second = stage.body();
    assert_ne!(second.process, first.process);
    assert_eq!(second.instance, first.instance, "its disk was thrown away");
    stage.report(&token, Stage::Booted, |_| ());
    stage.report(&token, Stage::Ready, |_| ());
    let (said, good) = end(child);
    assert!(good, "{said}");
    assert!(
        said.ends_with("::stage target1: installed system is up\n::stage target1: ready\n"),
        "{said}"
    );

    // what a later boot reports is no reason to throw away what was ready
    assert!(
        stage
            .bench
            .lab(&["target", "down", "target1", "--grace", "0"])
            .status
            .success()
    );
    let child = stage.up();
    stage.body();
    stage.report(&token, Stage::Booted, |_| ());
    stage.report(&token, Stage::Failed, |report| {
        report.message = Some("cloud-init: error".to_owned());
    });
    let (said, good) = end(child);
    assert!(good, "{said}");
    assert!(said.contains("ready, but: cloud-init: error"), "{said}");
    assert!(end(stage.up()).1);
    assert_eq!(stage.body().instance, first.instance, "it was wiped");
}

/// `up` tells again what was reached before, and follows the machine until it is ready.
fn taken_up(stage: &Play) {
    let mut child = stage.up();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    for expected in ["powered on", "boot script served"] {
        assert_eq!(
            lines.next().unwrap().unwrap(),
            format!("::stage target1: {expected}")
        );
    }
    stage.install();
    assert_eq!(lines.last().unwrap().unwrap(), "::stage target1: ready");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_watch_that_was_interrupted_is_taken_up_from_the_begin() {
    let stage = Play::new();
    let mut child = stage.up();
    stage.body();
    stage.script();
    child.kill().unwrap();
    child.wait().unwrap();
    taken_up(&stage);
}

#[test]
fn a_failure_is_told_and_the_next_try_installs_anew() {
    let stage = Play::new();
    let child = stage.up();
    let first = stage.body();
    stage.script();
    let token = stage.app.plan(stage.mac).unwrap().token;
    stage.report(&token, Stage::Failed, |report| {
        report.message = Some("digest mismatch".to_owned());
    });
    let (said, good) = end(child);
    assert!(!good);
    assert!(
        said.contains("error: target1 failed after `plan served`: digest mismatch"),
        "{said}"
    );
    let status = stage.bench.lab(&["status"]);
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(
        status.contains("target1: failed after `plan served`: digest mismatch"),
        "{status}"
    );

    let child = stage.up();
    stage.reprovision();
    until("another body", || stage.body().instance != first.instance);
    assert!(!first.process.is_alive());
    stage.install();
    let (said, good) = end(child);
    assert!(good, "{said}");
    assert!(
        said.starts_with("::stage target1: installs anew: its last installation failed\n"),
        "{said}"
    );
}

#[test]
fn a_disk_of_another_installation_is_thrown_away() {
    let mut stage = Play::new();
    let child = stage.up();
    let first = stage.body();
    stage.install();
    assert!(end(child).1);
    stage.forget();
    let child = stage.up();
    until("another body", || stage.body().instance != first.instance);
    stage.install();
    let (said, good) = end(child);
    assert!(good, "{said}");
    assert!(
        said.contains(
            "installs anew: its disk holds an installation that the server knows nothing of"
        ),
        "{said}"
    );
}

#[test]
fn reprovision_installs_anew_and_refuses_unknown_names_first() {
    let stage = Play::new();
    let child = stage.up();
    let first = stage.body();
    stage.install();
    assert!(end(child).1);
    let known = stage.bench.lab.vm("target1").dir().join("known_hosts");
    fs_err::write(&known, "old").unwrap();

    let (said, good) = end(stage.lab(&["reprovision", "target1,nobody"]));
    assert!(
        !good && said.contains("no target is called \"nobody\"; lab.toml lists: target1"),
        "{said}"
    );
    assert_eq!(stage.body().process, first.process);

    let child = stage.lab(&["reprovision", "target1"]);
    stage.reprovision();
    until("another body", || stage.body().instance != first.instance);
    assert!(
        !known.exists(),
        "the old system's host key is still trusted"
    );
    stage.install();
    let (said, good) = end(child);
    assert!(good, "{said}");
}

#[test]
fn a_qemu_that_dies_while_it_comes_up_ends_the_watch() {
    let stage = Play::new();
    let child = stage.up();
    let body = stage.body();
    stage.script();
    std::thread::sleep(Duration::from_millis(300));
    body.process.signal(rustix::process::Signal::KILL).unwrap();
    let (said, good) = end(child);
    assert!(!good);
    assert!(
        said.contains("the QEMU of target1 is gone (last stage `boot script served`)"),
        "{said}"
    );
}

#[test]
fn a_template_that_was_corrected_is_no_failure_any_more() {
    let stage = Play::new();
    let child = stage.up();
    let first = stage.body();
    let template = stage.bench.path("site/ipxe/install.ipxe.tera");
    let good = fs_err::read(&template).unwrap();
    fs_err::write(&template, "#!ipxe\necho {{ no_such_thing }}\n").unwrap();
    assert!(stage.app.script(stage.mac, Asked::default()).is_err());
    let (said, well) = end(child);
    assert!(!well && said.contains("the server can't answer"), "{said}");

    // the machine asks again before anybody looks
    fs_err::write(&template, good).unwrap();
    stage.script();
    taken_up(&stage);
    assert_eq!(stage.body().process, first.process, "it was restarted");
}

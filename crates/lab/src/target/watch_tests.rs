use protocol::{Event, MachineState, Progress};

use super::*;
use crate::target::follower::SETTLED;

fn follower(installed: bool) -> Follower {
    Follower::new("target1", installed, 0)
}

/// What is told of the stop, if these are the lines that show why.
fn told(follower: &Follower, stop: Stop, lines: &[Line]) -> String {
    let names = Names {
        lab: "lab",
        vm: "target1",
    };
    explain(
        stop,
        follower.track.at,
        lines,
        names,
        "vm/target1/serial.log",
    )
    .to_string()
}

fn event(stage: Stage) -> Event {
    Event {
        seq: 1,
        time: 0,
        machine: Some("target1".to_owned()),
        mac: None,
        stage,
        state: None,
        message: None,
        progress: None,
        detail: None,
    }
}

enum Step {
    Event(Event),
    Console(Meaning),
}

/// Runs the steps; what was said, and whether it ended ready.
fn run(follower: &mut Follower, steps: Vec<Step>) -> (String, Result<bool, String>) {
    let mut out = Vec::new();
    let mut say = Say::new(&mut out, "target1");
    let mut end = Ok(false);
    let mut lines = Vec::new();
    for step in steps {
        let taken = match step {
            Step::Event(event) => {
                lines.push(Line::of(&event));
                follower.event(&event, 0, &mut say)
            }
            Step::Console(meaning) => follower.console(meaning, 0, &mut say),
        };
        end = taken.map_err(|stop| told(follower, stop, &lines));
        if !matches!(end, Ok(false)) {
            break;
        }
    }
    (String::from_utf8(out).unwrap(), end)
}

use Meaning::{Fatal, Reached, Trouble};
use Step::{Console as C, Event as E};

#[test]
fn a_whole_installation() {
    let streaming = |done| Event {
        progress: Some(Progress {
            done,
            total: Some(200),
        }),
        ..event(Stage::Streaming)
    };
    let (said, end) = run(
        &mut follower(false),
        vec![
            C(Reached(Point::Firmware)),
            C(Reached(Point::Firmware)),
            C(Reached(Point::NetworkBoot)),
            C(Reached(Point::Loader)),
            C(Reached(Point::Ipxe)),
            E(event(Stage::Script)),
            C(Reached(Point::Kernel)),
            E(event(Stage::Plan)),
            C(Reached(Point::Installer)),
            E(streaming(0)),
            E(streaming(100)),
            E(streaming(200)),
            E(event(Stage::Verified)),
            E(event(Stage::Seeded)),
            E(event(Stage::Rebooting)),
            C(Reached(Point::Firmware)),
            C(Reached(Point::BootLoader)),
            C(Reached(Point::Kernel)),
            C(Reached(Point::CloudInit)),
            E(event(Stage::Booted)),
            C(Reached(Point::Login)),
            E(event(Stage::Ready)),
        ],
    );
    assert_eq!(end, Ok(true));
    insta::assert_snapshot!(said);
}

#[test]
fn an_installed_machine_only_has_to_boot() {
    let steps = || {
        vec![
            C(Reached(Point::BootLoader)),
            C(Reached(Point::Kernel)),
            E(event(Stage::Booted)),
            C(Reached(Point::Login)),
        ]
    };
    let ready = || vec![E(event(Stage::Ready))];
    let mut up = follower(true);
    assert_eq!(run(&mut up, steps()).1, Ok(false), "its services start yet");
    assert_eq!(run(&mut up, ready()).1, Ok(true));
    assert_eq!(up.unreported(), None);
    // what reports was removed from it
    for installed in [true, false] {
        let mut silent = follower(installed);
        assert_eq!(run(&mut silent, steps()).1, Ok(false));
        silent.moved = Instant::now().checked_sub(SETTLED).unwrap();
        assert_eq!(
            silent.is_up(),
            installed,
            "one that is being installed has to report"
        );
        let told = silent.unreported().unwrap();
        assert!(told.contains("did not report"), "{told}");
    }
}

#[test]
fn a_failure_of_a_machine_that_was_ready_is_a_trouble_and_no_end() {
    let failed = Event {
        message: Some("cloud-init: error".to_owned()),
        state: Some(MachineState::Ready),
        ..event(Stage::Failed)
    };
    for installed in [true, false] {
        let (said, end) = run(
            &mut follower(installed),
            vec![E(event(Stage::Booted)), E(failed.clone())],
        );
        assert_eq!(end, Ok(true));
        assert!(
            said.contains("ready, but: cloud-init: error; its disk stays"),
            "{said}"
        );
    }
}

#[test]
fn failures_that_the_machine_is_past_are_not_told_again() {
    let numbered = |seq, stage| Event {
        seq,
        message: Some("install.ipxe:3: no such variable".to_owned()),
        ..event(stage)
    };
    let mut follower = Follower::new("target1", false, 4);
    let (_, end) = run(
        &mut follower,
        vec![
            E(numbered(2, Stage::Template)),
            E(numbered(3, Stage::Failed)),
            E(numbered(4, Stage::Script)),
        ],
    );
    assert_eq!(end, Ok(false));
    assert_eq!(follower.track.at, Point::Script);
    // what it runs into from then on counts
    let (_, end) = run(&mut follower, vec![E(numbered(5, Stage::Template))]);
    assert!(end.unwrap_err().contains("can't answer target1"));
}

#[test]
fn failures_say_what_was_reached_and_what_went_before() {
    let failed = Event {
        message: Some("digest mismatch".to_owned()),
        ..event(Stage::Failed)
    };
    let (_, end) = run(
        &mut follower(false),
        vec![E(event(Stage::Streaming)), E(failed)],
    );
    insta::assert_snapshot!(end.unwrap_err());
    let (said, end) = run(
        &mut follower(false),
        vec![
            C(Reached(Point::NetworkBoot)),
            C(Trouble("the firmware got no DHCP offer")),
            C(Fatal("the firmware found nothing to boot")),
        ],
    );
    assert!(
        said.ends_with("target1: the firmware got no DHCP offer\n"),
        "{said}"
    );
    insta::assert_snapshot!(end.unwrap_err());
    let template = Event {
        message: Some("install.ipxe:3: no such variable".to_owned()),
        ..event(Stage::Template)
    };
    let (_, end) = run(&mut follower(false), vec![E(template)]);
    insta::assert_snapshot!(end.unwrap_err());
}

#[test]
fn a_machine_that_starts_over_is_followed_from_there() {
    let mut follower = follower(false);
    let (said, _) = run(
        &mut follower,
        vec![
            E(event(Stage::Streaming)),
            C(Reached(Point::Firmware)),
            C(Reached(Point::NetworkBoot)),
            E(event(Stage::Script)),
            E(event(Stage::Plan)),
            E(event(Stage::Script)),
        ],
    );
    assert_eq!(said.matches("starts over").count(), 2, "{said}");
    assert_eq!(follower.track.at, Point::Script);
}

#[test]
fn standing_still_names_the_usual_cause() {
    let mut follower = follower(false);
    follower.track.at = Point::NetworkBoot;
    follower.trouble = Some("the firmware got no DHCP offer");
    assert!(follower.check_time().is_ok());
    let ago = |seconds| {
        Instant::now()
            .checked_sub(Duration::from_secs(seconds))
            .unwrap()
    };
    follower.moved = ago(181);
    assert!(follower.check_time().is_ok(), "its console still talks");
    follower.moved = ago(541);
    assert!(follower.check_time().is_err(), "but it has said enough");
    follower.moved = ago(181);
    follower.heard = ago(61);
    let stop = follower.check_time().unwrap_err();
    insta::assert_snapshot!(told(&follower, stop, &[]));
}

//! The probe against servers that serve, and against those that don't.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use proptest::prelude::*;

use super::ask::{Answer, ask};
use super::fake::{Fake, Seen};
use super::link::Link;
use super::plan::Plan;
use crate::net::frames::framed;

/// Enough on a machine with other work; only silence waits for all of it.
const LIMIT: Duration = Duration::from_secs(20);

fn plan() -> Plan {
    Plan {
        server: [192, 168, 105, 1].into(),
        prefix: 24,
        address: Some([192, 168, 105, 254].into()),
        firmware: smoltcp::wire::EthernetAddress([2, 0, 0, 0, 0, 1]),
        ipxe: smoltcp::wire::EthernetAddress([2, 0, 0, 0, 0, 2]),
    }
}

/// Asks `fake`, and returns the answers and what it saw.
fn asked_with(fake: Fake, plan: &Plan, limit: Duration) -> (Vec<Answer>, Seen) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = std::thread::spawn(move || fake.serve(Link::new(theirs).unwrap()));
    let answers = ask(ours, plan, limit).unwrap();
    (answers, server.join().unwrap())
}

fn asked(fake: Fake) -> Vec<String> {
    let (answers, _) = asked_with(fake, &plan(), LIMIT);
    told(&answers)
}

/// The answers without their times.
fn told(answers: &[Answer]) -> Vec<String> {
    let line = |answer: &Answer| match &answer.said {
        Ok(said) => format!("{}: {said}", answer.question),
        Err(silence) => format!("{}! {}", answer.question, silence.what),
    };
    answers.iter().map(line).collect()
}

const WELL: [&str; 5] = [
    "DHCP (firmware): ipxe.efi, 192.168.105.100 offered",
    "DHCP (iPXE): http://192.168.105.1/ipxe/boot.ipxe, 192.168.105.101 offered",
    "TFTP ipxe.efi: 1044480 bytes",
    "HTTP /healthz: status 200",
    "HTTP /content/vmlinuz: 8765432 bytes",
];

/// All is well but for the question at `index`.
fn but(index: usize, instead: &str) -> Vec<String> {
    let mut lines = WELL.map(str::to_owned);
    instead.clone_into(&mut lines[index]);
    lines.to_vec()
}

#[test]
fn a_server_that_serves_answers_all_and_keeps_nothing() {
    let (answers, seen) = asked_with(Fake::default(), &plan(), LIMIT);
    assert_eq!(told(&answers), WELL);
    // DISCOVER is 1, REQUEST would be 3
    assert!(seen.dhcp.iter().all(|kind| *kind == 1), "{:?}", seen.dhcp);
    let end = seen.tftp.last().unwrap();
    assert_eq!(end[..4], [0, 5, 0, 0], "the transfer was left to time out");
}

#[test]
fn with_no_address_to_spare_the_offered_one_is_used() {
    let none_free = Plan {
        address: None,
        ..plan()
    };
    let (answers, _) = asked_with(Fake::default(), &none_free, LIMIT);
    assert_eq!(told(&answers), WELL);
}

#[test]
fn a_silent_server_is_told_service_by_service() {
    let limit = Duration::from_millis(300);
    let (answers, _) = asked_with(Fake::silent(), &plan(), limit);
    assert_eq!(
        told(&answers),
        [
            "DHCP (firmware)! no offer within 0.3 s",
            "DHCP (iPXE)! no offer within 0.3 s",
            "TFTP ipxe.efi! no answer within 0.3 s",
            "HTTP /healthz! no connection to port 80 within 0.3 s",
            "HTTP /content/vmlinuz! no connection to port 80 within 0.3 s",
        ]
    );
    let looks = answers.iter().map(|answer| {
        let silence = answer.said.as_ref().unwrap_err();
        silence.look.as_str()
    });
    for (look, word) in looks.zip(["isc-dhcp-server", "dnsmasq", "tftpd", "bootd", "content"]) {
        assert!(
            look.starts_with("make ssh") && look.contains(word),
            "{look}"
        );
    }
}

#[test]
fn questions_that_are_lost_are_asked_again() {
    let deaf = Fake {
        deaf: Duration::from_millis(400),
        ..Fake::default()
    };
    assert_eq!(asked(deaf), WELL);
}

#[test]
fn offers_that_lead_nowhere_are_told() {
    let bare = Fake {
        boot_file: "",
        ..Fake::default()
    };
    assert_eq!(
        asked(bare),
        but(
            0,
            "DHCP (firmware)! an offer of 192.168.105.100 without a boot file"
        )
    );
    let other = Fake {
        boot_file: "undionly.kpxe",
        ..Fake::default()
    };
    assert_eq!(
        asked(other),
        but(
            0,
            "DHCP (firmware)! an offer of 192.168.105.100 with the boot file \"undionly.kpxe\" instead of \"ipxe.efi\""
        )
    );
    let astray = Fake {
        next: [192, 168, 105, 9].into(),
        ..Fake::default()
    };
    assert_eq!(
        asked(astray),
        but(
            0,
            "DHCP (firmware)! an offer of 192.168.105.100 that sends to 192.168.105.9 for ipxe.efi, and not to the server (192.168.105.1)"
        )
    );
    let stranger = Fake {
        identifier: [192, 168, 105, 9].into(),
        ..Fake::default()
    };
    assert_eq!(
        asked(stranger)[0],
        "DHCP (firmware)! 192.168.105.9 offers 192.168.105.100: a second DHCP server on the lab segment"
    );
}

#[test]
fn the_boot_file_may_be_an_option_of_its_own() {
    let option = Fake {
        file_as_option: true,
        ..Fake::default()
    };
    assert_eq!(asked(option), WELL);
}

#[test]
fn tftp_that_fails_is_told() {
    let missing = Fake {
        tftp: b"\0\x05\0\x01File not found\0",
        ..Fake::default()
    };
    assert_eq!(
        asked(missing),
        but(2, "TFTP ipxe.efi! error 1, \"File not found\"")
    );
    let without_options = Fake {
        tftp: b"\0\x03\0\x01MZ and more",
        ..Fake::default()
    };
    assert_eq!(
        asked(without_options),
        but(2, "TFTP ipxe.efi: its first block")
    );
    let text = Fake {
        tftp: b"\0\x03\0\x01#!ipxe",
        ..Fake::default()
    };
    assert_eq!(
        asked(text),
        but(
            2,
            "TFTP ipxe.efi! ipxe.efi comes, but isn't a UEFI program: it begins with [23, 21]"
        )
    );
    for garbage in [&b""[..], b"\0", b"\0\x07", b"\0\x03\0", b"GET / HTTP/1.1"] {
        let garbage = Fake {
            tftp: garbage,
            ..Fake::default()
        };
        assert_eq!(
            asked(garbage),
            but(2, "TFTP ipxe.efi! an answer that isn't TFTP")
        );
    }
    let closed = Fake {
        closed: Some(69),
        ..Fake::default()
    };
    assert_eq!(
        asked(closed),
        but(
            2,
            "TFTP ipxe.efi! nothing listens on the server's UDP port 69"
        )
    );
}

#[test]
fn http_that_fails_is_told() {
    let health = |health: &'static str| {
        asked(Fake {
            health,
            ..Fake::default()
        })
    };
    assert_eq!(
        health("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"),
        but(
            3,
            "HTTP /healthz! status 502 (nginx is up, but bootd behind it does not answer)"
        )
    );
    for garbage in [
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/1.1\r\n\r\n",
        "HTTP/1.1 two\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    ] {
        assert_eq!(
            health(garbage),
            but(3, "HTTP /healthz! an answer that isn't HTTP")
        );
    }
    assert_eq!(
        health("HTTP/1.1 200 OK\r\nContent-Le"),
        but(
            3,
            "HTTP /healthz! the connection was closed before the answer"
        )
    );
    let kernel = |kernel: &'static str| {
        asked(Fake {
            kernel,
            ..Fake::default()
        })
    };
    assert_eq!(
        kernel("HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n"),
        but(
            4,
            "HTTP /content/vmlinuz! status 404 (the file is not there)"
        )
    );
    assert_eq!(
        kernel("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        but(4, "HTTP /content/vmlinuz! an empty file")
    );
    assert_eq!(
        kernel("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\x7fELF"),
        but(
            4,
            "HTTP /content/vmlinuz! the file isn't a kernel that UEFI starts: it begins with 7f 45"
        )
    );
    let closed = Fake {
        closed: Some(80),
        ..Fake::default()
    };
    let lines = asked(closed);
    assert_eq!(lines[3], "HTTP /healthz! the server refuses the connection");
    assert_eq!(
        lines[4],
        "HTTP /content/vmlinuz! the server refuses the connection"
    );
}

#[test]
fn what_else_is_on_the_segment_does_no_harm() {
    let noisy = Fake {
        noise: true,
        ..Fake::default()
    };
    assert_eq!(asked(noisy), WELL);
}

#[test]
fn a_stream_that_ends_or_is_no_stream_of_frames_is_an_error() {
    use std::io::Write as _;
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    assert!(ask(ours, &plan(), LIMIT).is_err());
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(&[0xff; 64]).unwrap();
    let error = ask(ours, &plan(), LIMIT).unwrap_err().to_string();
    assert!(error.contains("no stream of Ethernet frames"), "{error}");
}

/// Frames that a probe might take for answers: whole ones of a real exchange,
/// damaged in places.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let real = super::fake::samples();
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    (
        prop::sample::select(real),
        damage,
        any::<prop::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(|(mut frame, damage, cut, is_cut)| {
            for (index, byte) in damage {
                let index = index.index(frame.len());
                frame[index] = byte;
            }
            if is_cut {
                frame.truncate(cut.index(frame.len()));
            }
            frame
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn hostile_frames_are_survived(
        frames in prop::collection::vec(
            prop_oneof![damaged(), prop::collection::vec(any::<u8>(), 0..1600)],
            0..24,
        ),
    ) {
        use std::io::Write as _;
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        for frame in &frames {
            theirs.write_all(&framed(frame)).unwrap();
        }
        let answers = ask(ours, &plan(), Duration::from_millis(15)).unwrap();
        prop_assert_eq!(answers.len(), 5);
    }
}

//! The switch with clients in this process.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use proptest::prelude::*;

use super::Switch;
use crate::net::frames::{Frames, framed};

/// A switch and clients of it.
struct Segment {
    switch: Switch,
    clients: Vec<UnixStream>,
    /// What has come to each, a part of a frame included.
    came: Vec<Frames>,
}

fn segment(count: usize) -> Segment {
    let mut switch = Switch::default();
    let clients = (0..count)
        .map(|_| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            switch.plug(theirs).unwrap().unwrap();
            ours
        })
        .collect();
    let came = (0..count).map(|_| Frames::default()).collect();
    Segment {
        switch,
        clients,
        came,
    }
}

/// The address of the machine behind a client.
fn machine(client: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0, u8::try_from(client).unwrap()]
}

const ALL: [u8; 6] = [0xff; 6];

fn frame(from: usize, to: [u8; 6], payload: &[u8]) -> Vec<u8> {
    [&to[..], &machine(from), &[8, 0], payload].concat()
}

impl Segment {
    fn send(&mut self, from: usize, to: [u8; 6], payload: &[u8]) {
        let frame = frame(from, to, payload);
        self.clients[from].write_all(&framed(&frame)).unwrap();
        self.turn();
    }

    /// Lets the switch do all that there is to do.
    fn turn(&mut self) {
        for _ in 0..4 {
            self.switch.turn(None, Duration::ZERO).unwrap();
        }
    }

    /// What has come to a client: of each frame its payload.
    fn got(&mut self, client: usize) -> Vec<Vec<u8>> {
        let stream = &mut self.clients[client];
        stream.set_nonblocking(true).unwrap();
        let frames = &mut self.came[client];
        let mut got = Vec::new();
        while frames.read(stream).is_ok_and(|count| count > 0) {
            while let Some(frame) = frames.take().unwrap() {
                got.push(frame[18..].to_vec());
            }
        }
        stream.set_nonblocking(false).unwrap();
        got
    }

    fn got_by_all(&mut self) -> Vec<usize> {
        (0..self.clients.len())
            .map(|client| self.got(client).len())
            .collect()
    }
}

#[test]
fn the_unknown_goes_to_all_and_the_known_to_one() {
    let mut segment = segment(3);
    segment.send(0, machine(1), b"who?");
    assert_eq!(segment.got_by_all(), [0, 1, 1]);
    segment.send(1, machine(0), b"me");
    assert_eq!(segment.got(0), [b"me".to_vec()]);
    assert_eq!(segment.got_by_all(), [0, 0, 0]);
    segment.send(0, machine(1), b"you");
    assert_eq!(segment.got_by_all(), [0, 1, 0]);
    segment.send(2, ALL, b"all of you");
    assert_eq!(segment.got_by_all(), [1, 1, 0]);
    // to itself: it is not sent back
    segment.send(2, machine(2), b"me too");
    assert_eq!(segment.got_by_all(), [0, 0, 0]);
}

#[test]
fn who_hangs_up_is_forgotten_and_the_port_is_given_again() {
    let mut segment = segment(3);
    segment.send(1, ALL, b"here");
    segment.got_by_all();
    let (ours, theirs) = UnixStream::pair().unwrap();
    segment.clients[1] = ours;
    segment.turn();
    assert_eq!(segment.switch.plug(theirs).unwrap(), Some(1));
    segment.send(0, machine(1), b"still there?");
    assert_eq!(segment.got_by_all(), [0, 1, 1], "it is asked for anew");
    segment.clients.clear();
    segment.turn();
    assert!(segment.switch.is_empty());
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody() {
    let mut segment = segment(3);
    segment.send(1, ALL, b"here");
    segment.send(2, ALL, b"here");
    segment.got_by_all();
    let (mut sent, mut got) = (0, 0);
    // several times what is kept for one who doesn't read
    while sent < 300 {
        let payload = vec![7; 50_000];
        segment.send(0, machine(1), &payload);
        segment.send(0, machine(2), &payload);
        sent += 1;
        got += segment.got(2).len();
    }
    assert_eq!(got, sent);
    let (delivered, lost) = segment.switch.count(1).unwrap();
    assert!(lost > sent as u64 / 2, "{lost} of {sent} lost");
    assert!(delivered < 4 << 20);
    // and what it gets when it reads again are whole frames
    let mut late = 0;
    loop {
        let more = segment.got(1).len();
        if more == 0 {
            break;
        }
        late += more;
        segment.turn();
    }
    assert_eq!(late as u64 + lost, sent as u64);
}

#[test]
fn frames_that_come_in_parts_are_passed_on_whole() {
    let mut segment = segment(2);
    let bytes = framed(&frame(0, ALL, b"in parts"));
    for byte in bytes {
        assert_eq!(segment.got(1).len(), 0);
        segment.clients[0].write_all(&[byte]).unwrap();
        segment.turn();
    }
    assert_eq!(segment.got(1), [b"in parts".to_vec()]);
}

#[test]
fn what_are_no_frames_is_hung_up_on_and_what_is_too_short_is_dropped() {
    let mut segment = segment(2);
    segment.clients[0].write_all(&framed(&[0xff; 13])).unwrap();
    segment.turn();
    assert_eq!(segment.got(1).len(), 0);
    segment.clients[0].write_all(&[0xff; 100]).unwrap();
    segment.turn();
    assert_eq!(segment.clients[0].read(&mut [0; 8]).unwrap(), 0);
    assert!(segment.switch.count(0).is_none());
}

#[test]
fn more_clients_than_ports_are_hung_up_on() {
    let mut segment = segment(64);
    let (_ours, theirs) = UnixStream::pair().unwrap();
    assert_eq!(segment.switch.plug(theirs).unwrap(), None);
    segment.send(0, ALL, b"x");
    assert_eq!(segment.got_by_all().iter().sum::<usize>(), 63);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn hostile_clients_are_survived(
        pieces in prop::collection::vec(
            (0..3_usize, prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                prop::collection::vec(any::<u8>(), 0..60).prop_map(|frame| framed(&frame)),
            ]),
            0..40,
        ),
    ) {
        let mut segment = segment(3);
        for (client, piece) in pieces {
            // it may have been hung up on
            let _ = segment.clients[client].write_all(&piece);
            segment.turn();
        }
    }
}

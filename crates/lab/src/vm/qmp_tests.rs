use std::os::unix::net::UnixListener;
use std::thread;

use super::*;

const GREETING: &str =
    r#"{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}}, "capabilities": []}}"#;
const OK: &str = r#"{"return": {}}"#;

/// A client of a QEMU that talks as `talk` does, which gets both directions of
/// the connection.
fn served(
    talk: impl FnOnce(UnixStream, BufReader<UnixStream>) + Send + 'static,
) -> (tempfile::TempDir, Result<Qmp, QmpError>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("qmp.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let requests = BufReader::new(stream.try_clone().unwrap());
        talk(stream, requests);
    });
    let qmp = Qmp::connect(&path, Duration::from_secs(5));
    (dir, qmp)
}

/// A QEMU that greets, accepts negotiation, and then says `lines`, whatever it
/// is asked.
fn fake(lines: &'static [&'static str]) -> (tempfile::TempDir, Result<Qmp, QmpError>) {
    served(move |mut stream, mut requests| {
        writeln!(stream, "{GREETING}\r").unwrap();
        let mut request = String::new();
        requests.read_line(&mut request).unwrap();
        assert!(request.contains("qmp_capabilities"), "{request}");
        writeln!(stream, "{OK}\r").unwrap();
        for line in lines {
            writeln!(stream, "{line}\r").unwrap();
        }
        // Open until the client has gone, so that silence is not an end.
        while requests
            .read_line(&mut request)
            .is_ok_and(|count| count > 0)
        {}
    })
}

#[test]
fn events_between_an_answer_and_its_request_are_kept() {
    let (_dir, qmp) = fake(&[
        r#"{"event": "STOP", "data": {"n": 1}}"#,
        r#"{"return": {"status": "running"}}"#,
        r#"{"event": "STOP", "data": {"n": 2}}"#,
    ]);
    let mut qmp = qmp.unwrap();
    assert_eq!(qmp.version(), (10, 0, 2));
    assert_eq!(
        qmp.execute("query-status", json!({})).unwrap()["status"],
        "running"
    );
    let limit = Duration::from_secs(5);
    let second = qmp
        .wait_event("STOP", limit, |event| event["data"]["n"] == 2)
        .unwrap();
    assert_eq!(second["data"]["n"], 2);
    let first = qmp.wait_event("STOP", limit, |_| true).unwrap();
    assert_eq!(first["data"]["n"], 1);
}

#[test]
fn a_refusal_has_the_reason_of_qemu() {
    let (_dir, qmp) =
        fake(&[r#"{"error": {"class": "GenericError", "desc": "Device 'x' not found"}}"#]);
    let error = qmp
        .unwrap()
        .execute("device_del", json!({ "id": "x" }))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "QEMU refused `device_del`: Device 'x' not found"
    );
}

#[test]
fn what_is_no_qmp_is_said_to_be_none() {
    let (_dir, qmp) = fake(&["<html>"]);
    let error = qmp.unwrap().execute("quit", json!({})).unwrap_err();
    assert!(matches!(error, QmpError::Malformed { .. }), "{error}");
}

#[test]
fn an_event_that_does_not_come_is_not_waited_for_for_ever() {
    let (_dir, qmp) = fake(&[r#"{"event": "RESUME"}"#]);
    let start = Instant::now();
    let error = qmp
        .unwrap()
        .wait_event("STOP", Duration::from_millis(300), |_| true)
        .unwrap_err();
    assert!(matches!(error, QmpError::NoEvent { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[test]
fn a_connection_that_breaks_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("qmp.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Half a greeting.
        stream.write_all(b"{\"QMP\": ").unwrap();
    });
    let error = Qmp::connect(&path, Duration::from_secs(5)).unwrap_err();
    assert!(matches!(error, QmpError::Io { .. }), "{error}");
    let error = Qmp::connect(&dir.path().join("none"), Duration::from_secs(5)).unwrap_err();
    assert!(matches!(error, QmpError::Connect(_)), "{error}");
}

/// A QEMU that says `script` in turn: the first text at once, one more text
/// for each request.
fn scripted(script: &'static [&'static str]) -> (tempfile::TempDir, Result<Qmp, QmpError>) {
    served(move |mut stream, mut requests| {
        let mut request = String::new();
        for text in script {
            writeln!(stream, "{text}\r").unwrap();
            requests.read_line(&mut request).unwrap();
        }
    })
}

const GREETING_AND_OK: &str = r#"{"QMP": {"version": {"qemu": {}}, "capabilities": []}}
{"return": {}}"#;
const NEGOTIATING: &str = r#"{"error": {"class": "CommandNotFound", "desc": "Expecting capabilities negotiation with 'qmp_capabilities'"}}"#;

#[test]
fn a_second_greeting_before_the_answer_is_passed_over() {
    let (_dir, qmp) = scripted(&[GREETING, GREETING_AND_OK, r#"{"return": 7}"#]);
    assert_eq!(qmp.unwrap().execute("query", json!({})).unwrap(), 7);
}

#[test]
fn a_second_greeting_after_the_answer_is_negotiated_again() {
    let (_dir, qmp) = scripted(&[GREETING, OK, NEGOTIATING, OK, r#"{"return": 7}"#]);
    assert_eq!(qmp.unwrap().execute("query", json!({})).unwrap(), 7);
    let (_dir, qmp) = scripted(&[
        GREETING,
        OK,
        NEGOTIATING,
        OK,
        NEGOTIATING,
        OK,
        NEGOTIATING,
        OK,
        NEGOTIATING,
    ]);
    let error = qmp.unwrap().execute("query", json!({})).unwrap_err();
    assert!(matches!(error, QmpError::Malformed { .. }), "{error}");
}

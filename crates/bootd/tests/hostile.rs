//! What a machine, or someone who is none, may send.

mod common;

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use common::{Bootd, MAC, Site};
use serde_json::json;

fn start() -> (Site, tempfile::TempDir, Bootd) {
    let (site, state) = (Site::new(), tempfile::tempdir().unwrap());
    let bootd = Bootd::start(&site, state.path());
    (site, state, bootd)
}

/// Sends bytes as they are and reads what comes until the other side closes.
fn raw(bootd: &Bootd, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(&bootd.machines).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    // the server may answer and close before it has read all
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn addresses_that_are_none_are_refused() {
    let (_site, state, bootd) = start();
    for mac in [
        "zz",
        "..%2f..%2fetc",
        "52-54-00-4c-42",
        "ff-ff-ff-ff-ff-ff",
        "52-54-00-4c-42-01%00",
    ] {
        for path in ["ipxe/X", "plan/X", "cloud-init/X/user-data"] {
            let answer = bootd.get(&format!("/{}", path.replace('X', mac)));
            assert_eq!(answer.status, 400, "{path} {mac} {answer:?}");
        }
    }
    for path in [
        "/cloud-init/52-54-00-4c-42-01/install.ipxe",
        "/cloud-init/52-54-00-4c-42-01/passwd",
    ] {
        assert_eq!(bootd.get(path).status, 404);
    }
    let kept: Vec<_> = std::fs::read_dir(state.path().join("machines"))
        .unwrap()
        .collect();
    assert!(kept.is_empty(), "{kept:?}");
}

#[test]
fn reports_that_are_none_are_refused() {
    let (_site, _state, bootd) = start();
    let token = bootd.plan(MAC).token;
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    for (body, status) in [
        (String::new(), 400),
        ("{".into(), 400),
        ("null".into(), 400),
        (json!({"mac": MAC, "token": token}).to_string(), 400),
        (
            json!({"mac": MAC, "token": token, "stage": "dance"}).to_string(),
            400,
        ),
        (
            json!({"mac": "x", "token": token, "stage": "ready"}).to_string(),
            400,
        ),
        (
            format!(
                r#"{{"mac": "{MAC}", "token": "{token}", "stage": "ready", "detail": {deep}}}"#
            ),
            400,
        ),
        (
            json!({"mac": MAC, "token": "", "stage": "ready"}).to_string(),
            403,
        ),
        (
            json!({"mac": MAC, "token": &token[..31], "stage": "ready"}).to_string(),
            403,
        ),
        (
            json!({"mac": MAC, "token": token, "stage": "script"}).to_string(),
            409,
        ),
        (
            json!({"mac": MAC, "token": token, "stage": "reprovision"}).to_string(),
            409,
        ),
        (
            json!({"mac": "52-54-00-00-00-99", "token": token, "stage": "ready"}).to_string(),
            404,
        ),
        (" ".repeat(70_000), 413),
    ] {
        let answer = bootd.post("/events", &body);
        assert_eq!(
            answer.status,
            status,
            "{} {answer:?}",
            &body[..body.len().min(200)]
        );
    }
    assert_eq!(bootd.events().len(), 1, "one of them was kept");
}

#[test]
fn a_long_message_and_a_large_detail_are_cut() {
    let (_site, _state, bootd) = start();
    let token = bootd.plan(MAC).token;
    let report = json!({
        "mac": MAC, "token": token, "stage": "failed",
        "message": "é".repeat(10_000), "detail": {"log": "x".repeat(30_000)}
    });
    assert_eq!(bootd.post("/events", &report.to_string()).status, 204);
    let event = bootd.events().pop().unwrap();
    assert_eq!(event.message.unwrap().chars().count(), 2001);
    assert!(event.detail.unwrap().to_string().len() < 200);
}

#[test]
fn lines_and_headers_are_bounded() {
    let (_site, _state, bootd) = start();
    let long = "a".repeat(40_000);
    for request in [
        format!("GET /ipxe/{long} HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n"),
        format!("GET /healthz HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(3000)),
    ] {
        let answer = raw(&bootd, request.as_bytes());
        assert!(!answer.contains("200 OK"), "{answer}");
    }
    let garbage: Vec<u8> = (0..4096u32)
        .map(|i| u8::try_from(i * 7 % 256).unwrap())
        .collect();
    assert!(!raw(&bootd, &garbage).contains("200 OK"));
    assert_eq!(bootd.get("/healthz").status, 200);
}

#[test]
fn a_client_that_sends_its_headers_slowly_is_dropped() {
    let (_site, _state, bootd) = start();
    let begin = Instant::now();
    raw(&bootd, b"GET /healthz HTTP/1.1\r\nHost: ");
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "it could hold a connection for ever"
    );
    assert_eq!(bootd.get("/healthz").status, 200);
}

#[test]
fn what_a_machine_says_of_itself_is_taken_as_far_as_it_goes() {
    let (_site, _state, bootd) = start();
    for query in [
        "?uuid=1&uuid=2&x",
        "?product=Lab%20&%20Co",
        "?serial=%ff%00%0a",
        "?&&==",
        "?product=-n%20--x",
        "",
    ] {
        let answer = bootd.get(&format!("/ipxe/52-54-00-00-00-99{query}"));
        assert_eq!(answer.status, 200, "{query} {answer:?}");
        assert!(answer.body.ends_with("exit 1\n"), "{query} {answer:?}");
        assert!(
            !answer.body.contains(" -"),
            "iPXE would take it for an option: {answer:?}"
        );
    }
}

#[test]
fn other_methods_and_paths_are_refused() {
    let (_site, _state, bootd) = start();
    assert_eq!(bootd.get("/").status, 404);
    assert_eq!(bootd.get("/ipxe/../site.json").status, 404);
    assert_eq!(bootd.post("/healthz", "").status, 405);
    assert_eq!(bootd.get("/events?since=-1").status, 400);
    assert_eq!(
        bootd.get("/machines/52-54-00-4c-42-01/reprovision").status,
        404
    );
}

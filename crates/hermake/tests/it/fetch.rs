//! Downloads from a server of our own on the loopback interface.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sha2::Digest as _;

use crate::space::Space;

/// What the server does with a request: given its path and where the client wants to begin.
type Answer = dyn Fn(&str, usize) -> Vec<u8> + Send + Sync;

struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

fn serve(answer: Box<Answer>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.unwrap();
            let mut text = Vec::new();
            let mut byte = [0];
            while !text.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                text.push(byte[0]);
            }
            let text = String::from_utf8_lossy(&text).to_lowercase();
            let path = text.split(' ').nth(1).unwrap_or("").to_owned();
            let from = text
                .split("bytes=")
                .nth(1)
                .and_then(|r| r.split('-').next()?.parse().ok())
                .unwrap_or(0);
            seen.lock().unwrap().push(format!("{path} {from}"));
            let _ = stream.write_all(&answer(&path, from));
        }
    });
    Server { address, requests }
}

fn response(status: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let mut out =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n")
            .into_bytes();
    out.extend_from_slice(body);
    out
}

fn space(server: &Server, path: &str, content: &[u8]) -> Space {
    let hex: String = sha2::Sha256::digest(content)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let space = Space::new("");
    let text = format!(
        "[task.get]\nkind = \"fetch\"\nurl = \"{}{path}\"\nmirrors = [\"{}/mirror\"]\ndigest = \"sha256:{hex}\"\noutputs = [\"build/got\"]\n",
        server.address, server.address
    );
    space.write("tasks/all.toml", &text);
    space
}

const CONTENT: &[u8] = b"0123456789abcdef";

#[test]
fn fetched_once_and_again_when_the_url_changes() {
    let server = serve(Box::new(|_, _| response("200 OK", CONTENT.len(), CONTENT)));
    let space = space(&server, "/a", CONTENT);
    assert_eq!(space.run(&["get"]), ["get"]);
    assert_eq!(space.read("build/got").as_bytes(), CONTENT);
    assert!(space.run(&["get"]).is_empty());
    std::fs::remove_file(space.path("build/got")).unwrap();
    assert!(space.run(&["get"]).is_empty());
    space.write(
        "tasks/all.toml",
        &space.read("tasks/all.toml").replace("/a\"", "/b\""),
    );
    let ran = space.call(&["run", "get"]);
    assert!(
        ran.err
            .contains("the URL changed and the digest did not: fetching again"),
        "{}",
        ran.err
    );
    assert_eq!(*server.requests.lock().unwrap(), ["/a 0", "/b 0"]);
}

#[test]
fn cut_off_it_is_resumed() {
    let server = serve(Box::new(|_, from| {
        if from == 0 {
            response("200 OK", CONTENT.len(), &CONTENT[..6])
        } else {
            response(
                "206 Partial Content",
                CONTENT.len() - from,
                &CONTENT[from..],
            )
        }
    }));
    let space = space(&server, "/a", CONTENT);
    assert_eq!(space.run(&["get"]), ["get"]);
    assert_eq!(space.read("build/got").as_bytes(), CONTENT);
    assert_eq!(*server.requests.lock().unwrap(), ["/a 0", "/a 6"]);
}

#[test]
fn a_server_that_ignores_ranges_is_survived() {
    let server = serve(Box::new(|path, _| {
        static CUT: std::sync::Once = std::sync::Once::new();
        let mut body = CONTENT;
        CUT.call_once(|| body = &CONTENT[..6]);
        assert_eq!(path, "/a");
        response("200 OK", CONTENT.len(), body)
    }));
    let space = space(&server, "/a", CONTENT);
    assert_eq!(space.run(&["get"]), ["get"]);
    assert_eq!(space.read("build/got").as_bytes(), CONTENT);
}

#[test]
fn other_content_is_refused_and_the_mirror_tried() {
    let server = serve(Box::new(|path, _| {
        let body: &[u8] = if path == "/mirror" { CONTENT } else { b"other" };
        response("200 OK", body.len(), body)
    }));
    let space = space(&server, "/a", CONTENT);
    assert_eq!(space.run(&["get"]), ["get"]);
    assert_eq!(*server.requests.lock().unwrap(), ["/a 0", "/mirror 0"]);
}

#[test]
fn what_is_nowhere_is_an_error_that_names_the_address() {
    let server = serve(Box::new(|_, _| response("404 Not Found", 0, b"")));
    let space = space(&server, "/a", CONTENT);
    let ran = space.call(&["run", "get"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("/mirror: http status: 404"), "{}", ran.err);
    assert!(!space.exists("build/got"));
}

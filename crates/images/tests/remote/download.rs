//! Downloads from a server that misbehaves in every way that servers do.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::server::{Answer, Server, sha256};
use images::fetch::{Expected, FetchError, Patience, download};

const PATIENCE: Patience = Patience {
    attempts: 3,
    wait: Duration::from_millis(1),
};

struct Case {
    server: Server,
    dir: tempfile::TempDir,
    body: Vec<u8>,
}

impl Case {
    fn new(answers: impl FnOnce(&[u8]) -> Vec<Answer>) -> Self {
        // Larger than any buffer on the way, and not periodic in any of them.
        let body: Vec<u8> = (0_u32..3_000_000).map(|i| (i % 251) as u8).collect();
        let server = Server::start();
        server.answer("/f.img", answers(&body));
        Self {
            server,
            dir: tempfile::tempdir().unwrap(),
            body,
        }
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("f.img")
    }

    fn part(&self) -> PathBuf {
        let digest = sha256(&self.body);
        self.dir
            .path()
            .join(format!(".f.img.{}.part", &digest[..16]))
    }

    fn get(&self) -> Result<Vec<u64>, FetchError> {
        self.get_from("/f.img")
    }

    fn get_from(&self, path: &str) -> Result<Vec<u64>, FetchError> {
        let expected = Expected {
            sha256: sha256(&self.body),
            size: self.body.len() as u64,
        };
        let mut told = Vec::new();
        download(
            &self.server.url(path),
            &expected,
            &self.out(),
            PATIENCE,
            |done| told.push(done),
        )?;
        Ok(told)
    }

    /// The file is there, right and alone.
    fn assert_whole(&self) {
        assert!(fs_err::read(self.out()).unwrap() == self.body);
        assert_eq!(names(self.dir.path()), ["f.img"]);
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs_err::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_good_download_tells_its_progress_and_is_not_repeated() {
    let case = Case::new(|body| vec![Answer::File(body.to_vec())]);
    let told = case.get().unwrap();
    case.assert_whole();
    assert_eq!(told.first(), Some(&0));
    assert_eq!(told.last(), Some(&3_000_000));
    assert!(told.is_sorted());
    case.get().unwrap();
    assert_eq!(case.server.log(), ["GET /f.img"]);
}

#[test]
fn a_connection_that_is_cut_goes_on_where_it_ended() {
    let case = Case::new(|body| vec![Answer::CutAfter(1_000_000, body.to_vec())]);
    case.get().unwrap();
    case.assert_whole();
    assert_eq!(
        case.server.log(),
        ["GET /f.img", "GET /f.img 1000000-", "GET /f.img 2000000-"]
    );
}

#[test]
fn what_an_earlier_run_left_is_gone_on_from() {
    let case = Case::new(|body| vec![Answer::File(body.to_vec())]);
    fs_err::write(case.part(), &case.body[..1234]).unwrap();
    let told = case.get().unwrap();
    assert_eq!(told.first(), Some(&1234));
    case.assert_whole();
    assert_eq!(case.server.log(), ["GET /f.img 1234-"]);
}

#[test]
fn a_whole_part_needs_no_request() {
    let case = Case::new(|_| vec![Answer::Status(500)]);
    fs_err::write(case.part(), &case.body).unwrap();
    case.get().unwrap();
    case.assert_whole();
    assert!(case.server.log().is_empty());
}

#[test]
fn a_server_without_ranges_sends_it_all_again() {
    let case = Case::new(|body| {
        vec![
            Answer::CutAfter(1_000_000, body.to_vec()),
            Answer::NoRanges(body.to_vec()),
        ]
    });
    case.get().unwrap();
    case.assert_whole();
    assert_eq!(case.server.log(), ["GET /f.img", "GET /f.img 1000000-"]);
}

#[test]
fn a_part_with_wrong_bytes_is_thrown_away_once() {
    let case = Case::new(|body| vec![Answer::File(body.to_vec())]);
    fs_err::write(case.part(), vec![7; 5000]).unwrap();
    case.get().unwrap();
    case.assert_whole();
    assert_eq!(case.server.log(), ["GET /f.img 5000-", "GET /f.img"]);
}

#[test]
fn another_file_of_the_same_size_is_refused_and_not_kept() {
    let case = Case::new(|body| {
        let mut other = body.to_vec();
        other[2_999_999] ^= 1;
        vec![Answer::File(other)]
    });
    let error = case.get().unwrap_err();
    assert!(matches!(error, FetchError::Different { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("/f.img is another file") && text.contains(&sha256(&case.body)),
        "{text}"
    );
    assert!(names(case.dir.path()).is_empty());
}

#[test]
fn a_replaced_file_of_another_size_is_noticed_at_once() {
    for size in [10, 4_000_000] {
        let case = Case::new(|_| vec![Answer::File(vec![1; size])]);
        let error = case.get().unwrap_err().to_string();
        assert!(
            error.contains(&format!("expected 3000000 bytes, got {size} bytes")),
            "{error}"
        );
        assert_eq!(case.server.log().len(), 1);
        assert!(!case.out().exists());
    }
    // Shorter than what is here already: the server can't serve the range.
    let case = Case::new(|_| vec![Answer::File(vec![1; 10])]);
    fs_err::write(case.part(), &case.body[..1234]).unwrap();
    assert!(matches!(
        case.get().unwrap_err(),
        FetchError::Different { .. }
    ));
    assert_eq!(case.server.log(), ["GET /f.img 1234-", "GET /f.img"]);
}

#[test]
fn a_server_that_always_cuts_at_once_is_given_up() {
    let case = Case::new(|body| vec![Answer::CutAfter(0, body.to_vec())]);
    let error = case.get().unwrap_err();
    assert!(
        matches!(error, FetchError::Unreachable { attempts: 3, .. }),
        "{error}"
    );
    assert!(!case.out().exists());
}

#[test]
fn a_server_in_trouble_is_asked_again() {
    let case = Case::new(|body| {
        vec![
            Answer::Status(503),
            Answer::Status(429),
            Answer::File(body.to_vec()),
        ]
    });
    case.get().unwrap();
    case.assert_whole();
    assert_eq!(case.server.log().len(), 3);
}

#[test]
fn what_is_not_there_or_refused_is_asked_for_once() {
    for (status, expected) in [
        (404, "is not there"),
        (410, "is not there"),
        (403, "can't be had"),
    ] {
        let case = Case::new(|_| vec![Answer::Status(status)]);
        let error = case.get().unwrap_err().to_string();
        assert!(
            error.contains(expected) && error.contains("/f.img"),
            "{error}"
        );
        assert_eq!(case.server.log().len(), 1, "{status}");
    }
}

#[test]
fn a_moved_file_is_followed_with_its_range() {
    let case = Case::new(|body| vec![Answer::CutAfter(1_000_000, body.to_vec())]);
    case.server
        .answer("/old", vec![Answer::Moved("/f.img".to_owned())]);
    case.get_from("/old").unwrap();
    case.assert_whole();
    assert_eq!(
        case.server.log()[..4],
        [
            "GET /old",
            "GET /f.img",
            "GET /old 1000000-",
            "GET /f.img 1000000-"
        ]
    );
}

#[test]
fn moved_in_a_circle_ends() {
    let case = Case::new(|_| vec![Answer::Moved("/f.img".to_owned())]);
    let error = case.get().unwrap_err();
    assert!(matches!(error, FetchError::Refused { .. }), "{error}");
}

#[test]
fn a_server_that_is_not_there_is_told_after_the_last_attempt() {
    let case = Case::new(|_| vec![]);
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let expected = Expected {
        sha256: sha256(b""),
        size: 1,
    };
    let error = download(
        &format!("http://{free}/f"),
        &expected,
        &case.out(),
        PATIENCE,
        |_| (),
    )
    .unwrap_err();
    assert!(
        matches!(error, FetchError::Unreachable { attempts: 3, .. }),
        "{error}"
    );
}

#[test]
fn a_folder_that_can_not_be_written_is_named() {
    let case = Case::new(|body| vec![Answer::File(body.to_vec())]);
    let file = case.dir.path().join("file");
    fs_err::write(&file, "").unwrap();
    let expected = Expected {
        sha256: sha256(&case.body),
        size: 3_000_000,
    };
    let out = file.join("f.img");
    let error = download(
        &case.server.url("/f.img"),
        &expected,
        &out,
        PATIENCE,
        |_| (),
    )
    .unwrap_err();
    assert!(matches!(error, FetchError::Local { .. }), "{error}");
}

//! Tests of the event log on a real folder.

use protocol::Stage;

use super::*;

fn event(message: &str) -> Event {
    Event {
        seq: 0,
        time: 1,
        machine: None,
        mac: None,
        stage: Stage::Refused,
        state: None,
        message: Some(message.into()),
        progress: None,
        detail: None,
    }
}

fn messages(page: &EventPage) -> Vec<(u64, String)> {
    page.events
        .iter()
        .map(|e| (e.seq, e.message.clone().unwrap()))
        .collect()
}

#[test]
fn numbers_go_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = EventLog::open(folder.path()).unwrap();
    log.append(event("a"), true).unwrap();
    log.append(event("b"), false).unwrap();
    drop(log);
    let mut log = EventLog::open(folder.path()).unwrap();
    log.append(event("c"), true).unwrap();
    let page = log.page(1);
    assert_eq!(messages(&page), [(2, "b".into()), (3, "c".into())]);
    assert_eq!((page.next, page.dropped), (3, 0));
    assert_eq!(log.page(3).events, []);
    assert_eq!(log.page(u64::MAX).next, 3);
}

#[test]
fn a_torn_last_line_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let mut log = EventLog::open(folder.path()).unwrap();
    log.append(event("a"), true).unwrap();
    log.append(event("b"), true).unwrap();
    let whole = fs::read(&path).unwrap();
    let first = whole.iter().position(|b| *b == b'\n').unwrap() + 1;
    // every length that a crash can leave of the second line
    for length in first..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let mut log = EventLog::open(folder.path()).unwrap();
        log.append(event("c"), true).unwrap();
        assert_eq!(
            messages(&log.page(0)),
            [(1, "a".into()), (2, "c".into())],
            "{length}"
        );
        drop(log);
        let log = EventLog::open(folder.path()).unwrap();
        assert_eq!(log.page(0).events.len(), 2, "{length}");
    }
}

#[test]
fn the_file_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = EventLog::open_with(folder.path(), 1000).unwrap();
    for i in 0..100 {
        log.append(event(&i.to_string()), false).unwrap();
    }
    let size = |name: &str| fs::metadata(folder.path().join(name)).unwrap().len();
    assert!(size("events.jsonl") < 1100 && size("events.1.jsonl") < 1100);
    assert_eq!(log.page(0).events.len(), 100);
    drop(log);
    let log = EventLog::open_with(folder.path(), 1000).unwrap();
    assert_eq!(log.last(), 100);
    let page = log.page(0);
    let oldest = page.events[0].seq;
    assert!(oldest > 1, "all were kept");
    assert_eq!(page.dropped, oldest - 1);
}

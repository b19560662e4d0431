//! A lab for the installer: a server on loopback, an image, a file for a disk.
#![allow(
    unreachable_pub,
    dead_code,
    reason = "each test file uses its part of this"
)]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, LazyLock, Mutex},
    thread,
    time::Duration,
};

use installer::{
    disk::{Disk, HEAD},
    fetch::{Client, Patience},
    image,
};
use protocol::{Digest, Plan, SeedUrls};

/// How the server treats a path.
#[derive(Clone, Default)]
pub struct Served {
    pub body: Vec<u8>,
    /// Closes the connection after so many bytes of each answer.
    pub cut_at: Option<usize>,
    /// Answers 503 to so many requests first.
    pub busy: usize,
    /// Ignores `Range`.
    pub no_range: bool,
    /// Sends nothing more after so many bytes, and keeps the connection.
    pub stall_at: Option<usize>,
}

type Paths = Arc<Mutex<BTreeMap<String, Served>>>;

/// An HTTP server of a few paths.
pub struct Server {
    pub url: String,
    paths: Paths,
    /// Every request's line and body, in order.
    pub requests: Arc<Mutex<Vec<(String, String)>>>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (paths, requests) = (Paths::default(), Arc::<Mutex<Vec<_>>>::default());
        let shared = (Arc::clone(&paths), Arc::clone(&requests));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (paths, requests) = shared.clone();
                thread::spawn(move || answer(&stream.unwrap(), &paths, &requests));
            }
        });
        Self {
            url,
            paths,
            requests,
        }
    }

    pub fn serve(&self, path: &str, served: Served) {
        self.paths.lock().unwrap().insert(path.into(), served);
    }

    pub fn count(&self, line: &str) -> usize {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .filter(|(l, _)| l.starts_with(line))
            .count()
    }
}

/// Answers one request and closes the connection.
fn answer(stream: &TcpStream, paths: &Paths, requests: &Mutex<Vec<(String, String)>>) {
    let mut reader = BufReader::new(stream);
    let (mut line, mut from, mut length) = (String::new(), None, 0);
    reader.read_line(&mut line).unwrap();
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).unwrap_or(0) <= 2 {
            break;
        }
        let header = header.to_lowercase();
        if let Some(range) = header.strip_prefix("range: bytes=") {
            from = Some(range.trim().trim_end_matches('-').parse::<usize>().unwrap());
        }
        if let Some(n) = header.strip_prefix("content-length: ") {
            length = n.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    std::io::Read::read_exact(&mut reader, &mut body).unwrap();
    let body = String::from_utf8_lossy(&body).into_owned();
    requests.lock().unwrap().push((line.trim().into(), body));
    let path = line.split(' ').nth(1).unwrap_or_default();
    let served = {
        let mut paths = paths.lock().unwrap();
        let served = paths.get(path).cloned();
        if let Some(kept) = paths.get_mut(path) {
            kept.busy = kept.busy.saturating_sub(1);
        }
        served
    };
    let mut out = stream;
    let Some(served) = served else {
        let _ = out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 8\r\n\r\nnot here");
        return;
    };
    if served.busy > 0 {
        let _ = out.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
        return;
    }
    let total = served.body.len();
    let from = from.filter(|_| !served.no_range);
    let rest = &served.body[from.unwrap_or(0)..];
    let status = match from {
        Some(from) => {
            format!(
                "206 Partial Content\r\nContent-Range: bytes {from}-{}/{total}",
                total - 1
            )
        }
        None => "200 OK".into(),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        rest.len()
    );
    let sent = served
        .cut_at
        .or(served.stall_at)
        .unwrap_or(rest.len())
        .min(rest.len());
    // the client may have given up
    let _ = out
        .write_all(head.as_bytes())
        .and_then(|()| out.write_all(&rest[..sent]));
    if served.stall_at.is_some() {
        thread::sleep(Duration::from_secs(20));
    }
}

pub const RAW: usize = 6 << 20;

/// A disk image: something at both ends, zeros, and bytes that don't compress.
pub fn image() -> Vec<u8> {
    let mut image = vec![0; RAW];
    let mut x = 0x2545_f491_4f6c_dd1d_u64;
    for at in (0..RAW).step_by(8) {
        let mib = at >> 20;
        if [0, 2, 3, 5].contains(&mib) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            image[at..at + 8].copy_from_slice(&x.to_le_bytes());
        }
    }
    image
}

pub fn compress(raw: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(raw, ruzstd::encoding::CompressionLevel::Fastest)
}

/// The image and its compressed form; made once, since unoptimised that takes a second.
static IMAGE: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let raw = image();
    let packed = compress(&raw);
    (raw, packed)
});

/// A server that serves a good image, its plan, and a disk with old data on it.
pub struct Lab {
    pub server: Server,
    pub plan: Plan,
    pub raw: Vec<u8>,
    pub disk: PathBuf,
    folder: tempfile::TempDir,
}

impl Lab {
    pub fn new() -> Self {
        let server = Server::start();
        let (raw, packed) = IMAGE.clone();
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        std::fs::write(&disk, vec![0xaa; RAW + (3 << 20)]).unwrap();
        let url = |name: &str| format!("{}/{name}", server.url);
        let plan = Plan {
            machine: "target1".into(),
            mac: "52:54:00:4c:42:01".parse().unwrap(),
            image_url: url("image"),
            digest: Digest::blake3(blake3::hash(&packed).into()),
            compressed_size: packed.len() as u64,
            raw_size: raw.len() as u64,
            disk: "auto".into(),
            seed: SeedUrls {
                meta_data: url("meta-data"),
                user_data: url("user-data"),
                network_config: url("network-config"),
                vendor_data: url("vendor-data"),
            },
            instance_id: "target1-1".into(),
            token: "secret".into(),
            events_url: url("events"),
        };
        server.serve(
            "/image",
            Served {
                body: packed,
                ..Served::default()
            },
        );
        Self {
            server,
            plan,
            raw,
            disk,
            folder,
        }
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The compressed image as it is served.
    pub fn packed(&self) -> Served {
        self.server.paths.lock().unwrap()["/image"].clone()
    }

    /// Serves other bytes as the image; the plan knows their size and digest.
    pub fn serve_planned(&mut self, packed: Vec<u8>) {
        self.plan.digest = Digest::blake3(blake3::hash(&packed).into());
        self.plan.compressed_size = packed.len() as u64;
        self.server.serve(
            "/image",
            Served {
                body: packed,
                ..Served::default()
            },
        );
    }

    /// Wipes the disk and streams the image to it, as the installer does, up to
    /// the point where it would become bootable.
    pub fn write(&self) -> anyhow::Result<(Disk, image::Held)> {
        let mut disk = Disk::open(&self.disk)?;
        disk.wipe()?;
        let held = image::write(&self.plan, &disk, &hasty(), |_| ())?;
        Ok((disk, held))
    }

    /// The error of a failed installation; checks that the disk can't boot after it.
    pub fn error(&self) -> String {
        let error = self.write().err().expect("the image was taken");
        self.assert_unbootable();
        format!("{error:#}")
    }

    /// Neither a partition table at the begin nor a copy at the end of image or disk.
    pub fn assert_unbootable(&self) {
        let disk = std::fs::read(&self.disk).unwrap();
        let head = usize::try_from(HEAD).unwrap();
        assert!(disk[..head].iter().all(|b| *b == 0), "the head is not zero");
        assert!(
            disk[disk.len() - head..].iter().all(|b| *b == 0),
            "the disk's end is not zero"
        );
        let tail = &disk[RAW - head..RAW];
        assert!(
            tail != &self.raw[RAW - head..],
            "the copy of the table was written"
        );
    }
}

/// A client that gives up fast.
pub fn hasty() -> Client {
    Client::new(Patience {
        tries: 3,
        first_wait: Duration::from_millis(5),
        silence: Duration::from_millis(700),
    })
}

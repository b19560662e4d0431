//! What the lab segment delivers to whom, and what that costs: the hub in the
//! server's QEMU against the switch.
//!
//! `cargo run --release -p lab --example segment [MEGABYTES]`, after
//! `cargo build --release -p lab`; needs Linux and `qemu-system-x86_64`. As
//! many megabytes go from one machine to each of 1, 2 and 4 others, a frame to
//! each in turn; then to one while another reads nothing.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lab::net::frames::framed;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How long the others may be silent before all has arrived.
const QUIET: Duration = Duration::from_secs(1);

/// A segment of `1 + targets` clients, the first of which sends.
struct Segment {
    process: Child,
    clients: Vec<UnixStream>,
}

impl Drop for Segment {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Segment {
    /// As the lab's hub is made, without a guest.
    fn hub(dir: &Path, targets: usize) -> Result<Self> {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args("-machine none -nodefaults -display none".split(' '));
        for port in 0..=targets {
            qemu.arg("-netdev").arg(format!(
                "stream,id=link{port},server=on,addr.type=unix,addr.path={port}.sock"
            ));
            qemu.arg("-netdev")
                .arg(format!("hubport,id=port{port},hubid=1,netdev=link{port}"));
        }
        qemu.args(["-netdev", "hubport,id=sink,hubid=1"]);
        let names = (0..=targets).map(|port| format!("{port}.sock")).collect();
        Self::start(dir, qemu, names)
    }

    fn switch(dir: &Path, targets: usize) -> Result<Self> {
        let example = std::env::current_exe()?;
        let folder = example.parent().and_then(Path::parent).ok_or("no folder")?;
        let mut switch = Command::new(folder.join("lab"));
        switch.arg("switch");
        Self::start(dir, switch, vec!["switch.sock".to_owned(); targets + 1])
    }

    fn start(dir: &Path, mut command: Command, sockets: Vec<String>) -> Result<Self> {
        let process = command
            .current_dir(dir)
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{command:?}: {error}"))?;
        let mut this = Self {
            process,
            clients: Vec::new(),
        };
        for name in sockets {
            let deadline = Instant::now() + Duration::from_secs(10);
            this.clients.push(loop {
                match UnixStream::connect(dir.join(&name)) {
                    Ok(client) => break client,
                    Err(error) if Instant::now() > deadline => return Err(error.into()),
                    Err(_) => std::thread::sleep(Duration::from_millis(10)),
                }
            });
        }
        // QEMU accepts in its own time
        std::thread::sleep(Duration::from_millis(300));
        // each target is heard once, so that it can be known
        for (index, client) in this.clients.iter_mut().enumerate().skip(1) {
            client.write_all(&frame(index, 0, &[0; 50])?)?;
        }
        std::thread::sleep(Duration::from_millis(300));
        Ok(this)
    }

    /// Seconds of processor that it has used.
    fn processor(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let fields = stat.rsplit(')').next().ok_or("no fields")?;
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u32 = ticks.filter_map(|ticks| ticks.parse::<u32>().ok()).sum();
        Ok(f64::from(ticks) / 100.0)
    }

    /// Sends `amount` bytes to each of `to`; bytes that came to each port, and
    /// seconds. Ports in `deaf` aren't read.
    fn send(&mut self, amount: usize, to: &[usize], deaf: &[usize]) -> Result<(Vec<usize>, f64)> {
        let frames: Vec<_> = to
            .iter()
            .map(|port| frame(0, *port, &[7; 1500]))
            .collect::<Result<_>>()?;
        let start = Instant::now();
        let sender = self.clients[0].try_clone()?;
        sender.set_write_timeout(Some(QUIET))?;
        let sending = std::thread::spawn(move || {
            let mut sender = sender;
            let mut sent = 0;
            while sent < amount {
                for frame in &frames {
                    if sender.write_all(frame).is_err() {
                        return;
                    }
                }
                sent += 1500;
            }
        });
        let reading: Vec<_> = (1..self.clients.len())
            .map(|port| {
                let reader = self.clients[port].try_clone()?;
                reader.set_read_timeout(Some(QUIET + QUIET))?;
                let deaf = deaf.contains(&port);
                Ok(std::thread::spawn(move || {
                    let mut reader = reader;
                    let (mut bytes, mut last) = (0, Instant::now());
                    let mut buffer = vec![0; 1 << 20];
                    if deaf {
                        return (bytes, last);
                    }
                    while let Ok(count @ 1..) = reader.read(&mut buffer) {
                        bytes += count;
                        last = Instant::now();
                    }
                    (bytes, last)
                }))
            })
            .collect::<Result<_>>()?;
        let came: Vec<_> = reading
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect();
        self.clients[0].shutdown(Shutdown::Both)?;
        let _ = sending.join();
        let last = came.iter().map(|(_, last)| *last).max().unwrap_or(start);
        let seconds = last.saturating_duration_since(start).as_secs_f64();
        Ok((came.into_iter().map(|(bytes, _)| bytes).collect(), seconds))
    }
}

/// A frame from one port's machine to another's.
fn frame(from: usize, to: usize, payload: &[u8]) -> Result<Vec<u8>> {
    let machine = |port: usize| Ok::<_, Box<dyn Error>>([2, 0, 0, 0, 0, u8::try_from(port)?]);
    let header = [machine(to)?, machine(from)?].concat();
    Ok(framed(&[&header, &[8, 0][..], payload].concat()))
}

fn main() -> Result<()> {
    let megabytes = std::env::args().nth(1).map_or(Ok(200), |text| text.parse());
    let amount = megabytes? * 1_000_000;
    println!("kind    targets  MB to each port            seconds  CPU seconds");
    for (targets, deaf) in [(1, &[][..]), (2, &[]), (4, &[]), (2, &[2])] {
        for kind in ["hub", "switch"] {
            let dir = tempfile::tempdir()?;
            let mut segment = match kind {
                "hub" => Segment::hub(dir.path(), targets)?,
                _ => Segment::switch(dir.path(), targets)?,
            };
            let before = segment.processor()?;
            let to: Vec<usize> = (1..=targets).filter(|port| !deaf.contains(port)).collect();
            let (came, seconds) = segment.send(amount, &to, deaf)?;
            let cpu = segment.processor()? - before;
            let came: Vec<_> = came.iter().map(|bytes| bytes / 1_000_000).collect();
            let note = if deaf.is_empty() {
                ""
            } else {
                "  the second reads nothing"
            };
            println!(
                "{kind:7} {targets:7}  {:25} {seconds:8.2} {cpu:12.2}{note}",
                format!("{came:?}")
            );
        }
    }
    Ok(())
}

//! Downloads of known content: resumed, retried, verified before they are placed.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sha2::Digest as _;

use super::Engine;
use super::bring::Taken;
use crate::config::Task;
use crate::exec::signals;
use crate::exec::stage::Use;
use crate::fs::atomic;
use crate::report::Live;
use crate::runlog::TaskLog;

const TRIES: u32 = 4;

enum Hasher {
    Sha256(sha2::Sha256),
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    fn new(digest: &str) -> Self {
        if digest.starts_with("sha256:") {
            Self::Sha256(sha2::Sha256::new())
        } else {
            Self::Blake3(Box::default())
        }
    }

    fn of_file(digest: &str, path: &Path) -> Result<String> {
        let mut hasher = Self::new(digest);
        let mut file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
        let mut bytes = vec![0; 1 << 20];
        loop {
            match file
                .read(&mut bytes)
                .with_context(|| format!("reading {}", path.display()))?
            {
                0 => break,
                n => match &mut hasher {
                    Self::Sha256(h) => h.update(&bytes[..n]),
                    Self::Blake3(h) => {
                        h.update(&bytes[..n]);
                    }
                },
            }
        }
        Ok(match hasher {
            Self::Sha256(h) => format!("sha256:{}", hex(&h.finalize())),
            Self::Blake3(h) => format!("blake3:{}", h.finalize().to_hex()),
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // writing to a string does not fail
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a failed try means.
enum Trouble {
    /// Another try may do.
    Again(anyhow::Error),
    /// This address won't do.
    Never(anyhow::Error),
}

impl Engine {
    pub(super) fn fetch(
        &self,
        task: &Task,
        urls: &[String],
        digest: &str,
        log: &mut TaskLog,
    ) -> Result<Taken> {
        let partial = self.folder().join("partial").join(digest.replace(':', "-"));
        atomic::create_parent(&partial)?;
        self.download(task, urls, digest, &partial, log)?;
        let stage = self.stages.take(Use::Outputs)?;
        stage.room_for(&task.outputs)?;
        let path = stage
            .root()
            .join(task.outputs.first().map_or("", |o| o.path.as_str()));
        fs::rename(&partial, &path).with_context(|| format!("placing {}", path.display()))?;
        self.take_outputs(task, &stage.root())
    }

    fn download(
        &self,
        task: &Task,
        urls: &[String],
        digest: &str,
        partial: &PathBuf,
        log: &mut TaskLog,
    ) -> Result<()> {
        let agent = resolve::agent(
            ureq::Agent::config_builder()
                .timeout_connect(Some(Duration::from_secs(20)))
                .timeout_recv_response(Some(Duration::from_secs(60)))
                .build(),
        );
        let mut live = self.say.live(&task.name, true);
        let mut last = None;
        for url in urls {
            let url = &self.secrets().fill(url);
            for attempt in 0..TRIES {
                if attempt > 0 {
                    pause(Duration::from_millis(500 << attempt))?;
                }
                log.note(&self.secrets().mask(&format!("GET {url}")));
                let resumed = fs::metadata(partial).is_ok_and(|m| m.len() > 0);
                let got = get(&agent, url, partial, &mut live).and_then(|()| {
                    let is = Hasher::of_file(digest, partial).map_err(Trouble::Never)?;
                    if is == digest {
                        return Ok(());
                    }
                    // what is there is of no use for resuming
                    let _ = fs::remove_file(partial);
                    let other =
                        anyhow::anyhow!("{url} has other content: {is} instead of {digest}");
                    Err(if resumed {
                        Trouble::Again(other)
                    } else {
                        Trouble::Never(other)
                    })
                });
                match got {
                    Ok(()) => {
                        live.finish();
                        return Ok(());
                    }
                    Err(Trouble::Again(e)) => {
                        let what = self.secrets().mask(&format!("{e:#}"));
                        log.note(&what);
                        self.say.note(&task.name, &format!("{what}; trying again"));
                        last = Some(e);
                    }
                    Err(Trouble::Never(e)) => {
                        log.note(&self.secrets().mask(&format!("{e:#}")));
                        last = Some(e);
                        break;
                    }
                }
            }
        }
        live.finish();
        Err(last.unwrap_or_else(|| anyhow::anyhow!("no address to fetch from")))
    }
}

fn pause(time: Duration) -> Result<()> {
    let until = std::time::Instant::now() + time;
    while std::time::Instant::now() < until {
        if signals::interrupted() {
            bail!("interrupted");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn get(agent: &ureq::Agent, url: &str, partial: &Path, live: &mut Live) -> Result<(), Trouble> {
    let io = |e: std::io::Error| {
        Trouble::Never(anyhow::Error::from(e).context(format!("writing {}", partial.display())))
    };
    if let Some(path) = url.strip_prefix("file://") {
        return fs::copy(path, partial)
            .map(|_| ())
            .map_err(|e| Trouble::Never(anyhow::Error::from(e).context(url.to_owned())));
    }
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(partial)
        .map_err(io)?;
    let mut have = file.seek(SeekFrom::End(0)).map_err(io)?;
    let mut request = agent.get(url);
    if have > 0 {
        request = request.header("range", format!("bytes={have}-"));
    }
    let mut response = match request.call() {
        Ok(response) => response,
        // all of it is here already, or more than all: begin again
        Err(ureq::Error::StatusCode(416)) => {
            return Err(retry_whole(&file, url));
        }
        Err(e @ ureq::Error::StatusCode(code))
            if (400..500).contains(&code) && code != 408 && code != 429 =>
        {
            return Err(Trouble::Never(
                anyhow::Error::from(e).context(url.to_owned()),
            ));
        }
        Err(e) => {
            return Err(Trouble::Again(
                anyhow::Error::from(e).context(url.to_owned()),
            ));
        }
    };
    if response.status().as_u16() != 206 && have > 0 {
        file.set_len(0).map_err(io)?;
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        have = 0;
    }
    let header = response
        .headers()
        .get("content-length")
        .and_then(|v| v.to_str().ok());
    let total = header
        .and_then(|v| v.parse::<u64>().ok())
        .map(|rest| rest + have);
    let mut reader = response.body_mut().with_config().limit(u64::MAX).reader();
    let mut bytes = vec![0; 256 << 10];
    loop {
        if signals::interrupted() {
            return Err(Trouble::Never(anyhow::anyhow!("interrupted")));
        }
        match reader.read(&mut bytes) {
            Ok(0) => break,
            Ok(n) => {
                file.write_all(&bytes[..n]).map_err(io)?;
                have += n as u64;
                live.progress(have, total.unwrap_or(0), "bytes", "");
            }
            Err(e) => {
                return Err(Trouble::Again(
                    anyhow::Error::from(e).context(url.to_owned()),
                ));
            }
        }
    }
    match total {
        Some(total) if have < total => Err(Trouble::Again(anyhow::anyhow!(
            "{url}: cut off after {have} of {total} bytes"
        ))),
        _ => Ok(()),
    }
}

fn retry_whole(file: &File, url: &str) -> Trouble {
    match file.set_len(0) {
        Ok(()) => Trouble::Again(anyhow::anyhow!("{url}: the part that is here does not fit")),
        Err(e) => Trouble::Never(e.into()),
    }
}

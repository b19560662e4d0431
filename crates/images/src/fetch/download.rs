//! A large file, in as many pieces as the network needs.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use ureq::http::StatusCode;

use super::{FetchError, Trouble, accept, agent};

/// What must come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// SHA-256, in lower-case hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// How often to try, and how long to wait in between.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Attempts without a new byte before giving up.
    pub attempts: u32,
    /// The first wait; each one after it is twice as long.
    pub wait: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 6,
            wait: Duration::from_secs(1),
        }
    }
}

impl Patience {
    /// Calls `attempt` until it succeeds or there is no use any more.
    pub(super) fn insist<T>(
        self,
        url: &str,
        mut attempt: impl FnMut() -> Result<T, Trouble>,
    ) -> Result<T, FetchError> {
        let mut failed = 0;
        loop {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Passing(why)) => {
                    failed += 1;
                    self.pause(url, failed, why)?;
                }
            }
        }
    }

    /// Waits after the failure number `failed`, or gives up.
    fn pause(self, url: &str, failed: u32, why: String) -> Result<(), FetchError> {
        if failed >= self.attempts {
            return Err(FetchError::Unreachable {
                url: url.to_owned(),
                attempts: failed,
                why,
            });
        }
        eprintln!("{url}: {why}; trying again");
        std::thread::sleep(self.wait * 2_u32.saturating_pow(failed - 1).min(32));
        Ok(())
    }
}

/// Downloads `url` to `out`, if that isn't there already: what was received
/// before an interruption is kept and gone on from, the digest is checked,
/// and only then does the file get its name. `progress` is told the bytes.
pub fn download(
    url: &str,
    expected: &Expected,
    out: &Path,
    patience: Patience,
    mut progress: impl FnMut(u64),
) -> Result<(), FetchError> {
    let local = |path: &Path| {
        let path = path.to_owned();
        move |source| FetchError::Local { path, source }
    };
    if let Ok(mut file) = File::open(out)
        && read_all(&mut file).is_ok_and(|(hash, _)| hex(hash) == expected.sha256)
    {
        return Ok(());
    }
    let part = part_of(out, &expected.sha256);
    let mut state = Part::open(&part).map_err(local(&part))?;
    let mut failed = 0;
    let mut resumed = state.done > 0;
    loop {
        if state.done < expected.size {
            let before = state.done;
            match receive(url, expected, &mut state, &mut progress) {
                Ok(()) => {}
                Err(Stopped::Trouble(Trouble::Final(error))) => return Err(error),
                Err(Stopped::Local(source)) => {
                    return Err(local(&part)(source));
                }
                Err(Stopped::Trouble(Trouble::Passing(why))) => {
                    failed = if state.done > before { 1 } else { failed + 1 };
                    patience.pause(url, failed, why)?;
                    continue;
                }
            }
        }
        let got = state.digest();
        if got == expected.sha256 && state.done == expected.size {
            break;
        }
        // The beginning may be of another file than the end: once more, whole.
        state.restart().map_err(local(&part))?;
        if !std::mem::take(&mut resumed) {
            let _ = std::fs::remove_file(&part);
            return Err(FetchError::Different {
                url: url.to_owned(),
                expected: expected.sha256.clone(),
                got,
            });
        }
    }
    state.file.sync_all().map_err(local(&part))?;
    std::fs::rename(&part, out).map_err(local(out))
}

/// Where the bytes are kept until they are all there. The digest is in the
/// name: after a new pin, the bytes of the old file are not gone on from.
fn part_of(out: &Path, sha256: &str) -> PathBuf {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let digest: String = sha256.chars().take(16).collect();
    out.with_file_name(format!(".{name}.{digest}.part"))
}

/// What has been received.
struct Part {
    file: File,
    done: u64,
    hash: Sha256,
}

impl Part {
    /// Opens the file, and reads what an earlier run has left in it.
    fn open(path: &Path) -> std::io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let (hash, done) = read_all(&mut file)?;
        Ok(Self { file, done, hash })
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.done += bytes.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.hash = Sha256::new();
        self.done = 0;
        Ok(())
    }

    fn digest(&self) -> String {
        hex(self.hash.clone())
    }
}

/// The hash of all that is left to read in `file`, and how much that is.
fn read_all(file: &mut File) -> std::io::Result<(Sha256, u64)> {
    let mut hash = Sha256::new();
    let size = std::io::copy(file, &mut hash)?;
    Ok((hash, size))
}

fn hex(hash: Sha256) -> String {
    let bytes: Vec<String> = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    bytes.concat()
}

enum Stopped {
    Trouble(Trouble),
    Local(std::io::Error),
}

/// One answer of the server's: from where the part ends, to as far as it goes.
fn receive(
    url: &str,
    expected: &Expected,
    part: &mut Part,
    progress: &mut impl FnMut(u64),
) -> Result<(), Stopped> {
    let mut request = agent().get(url);
    if part.done > 0 {
        request = request.header("Range", format!("bytes={}-", part.done));
    }
    let answer = request.call();
    if part.done > 0
        && answer
            .as_ref()
            .is_ok_and(|r| r.status() == StatusCode::RANGE_NOT_SATISFIABLE)
    {
        // The server's file is shorter than what is here.
        part.restart().map_err(Stopped::Local)?;
        let why = "it has become shorter".to_owned();
        return Err(Stopped::Trouble(Trouble::Passing(why)));
    }
    let response = accept(url, answer).map_err(Stopped::Trouble)?;
    let goes_on = response.status() == StatusCode::PARTIAL_CONTENT
        && response
            .headers()
            .get("content-range")
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with(&format!("bytes {}-", part.done)));
    if part.done > 0 && !goes_on {
        // This server knows no ranges: the file comes from its beginning.
        part.restart().map_err(Stopped::Local)?;
    }
    let mut body = response.into_body();
    if let Some(length) = body.content_length()
        && part.done + length != expected.size
    {
        return Err(Stopped::Trouble(Trouble::Final(FetchError::Different {
            url: url.to_owned(),
            expected: format!("{} bytes", expected.size),
            got: format!("{} bytes", part.done + length),
        })));
    }
    let mut reader = body.as_reader();
    let mut buffer = vec![0; 256 << 10];
    let mut told = Instant::now();
    progress(part.done);
    loop {
        let n = reader
            .read(&mut buffer)
            .map_err(|error| Stopped::Trouble(Trouble::Passing(error.to_string())))?;
        if n == 0 {
            break;
        }
        if part.done + n as u64 > expected.size {
            return Err(Stopped::Trouble(Trouble::Final(FetchError::Different {
                url: url.to_owned(),
                expected: format!("{} bytes", expected.size),
                got: "more".to_owned(),
            })));
        }
        part.write(&buffer[..n]).map_err(Stopped::Local)?;
        if told.elapsed() >= Duration::from_millis(200) {
            told = Instant::now();
            progress(part.done);
        }
    }
    progress(part.done);
    if part.done < expected.size {
        let why = format!("it ended after {} of {} bytes", part.done, expected.size);
        return Err(Stopped::Trouble(Trouble::Passing(why)));
    }
    Ok(())
}

//! What a machine's serial console tells about how far it is.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use super::point::Point;
use super::times::{Times, milliseconds};
use crate::diagnose::plain;

/// What a piece of text on the console means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The machine has come so far.
    Reached(Point),
    /// Something went wrong, and the machine may go on in another way.
    Trouble(&'static str),
    /// Something went wrong, and the machine won't go on.
    Fatal(&'static str),
}

use Meaning::{Fatal, Reached, Trouble};

/// Texts of OVMF, iPXE, Linux, the installer, GRUB and cloud-init.
const SIGNS: &[(&str, Meaning)] = &[
    ("BdsDxe: loading Boot", Reached(Point::Firmware)),
    ("BdsDxe: failed to load Boot", Reached(Point::Firmware)),
    (">>Start PXE over IPv4", Reached(Point::NetworkBoot)),
    (">>Start HTTP Boot over IPv4", Reached(Point::NetworkBoot)),
    ("NBP file downloaded successfully", Reached(Point::Loader)),
    ("Downloading...100%", Reached(Point::Loader)),
    ("iPXE 1.", Reached(Point::Ipxe)),
    ("iPXE initialising devices", Reached(Point::Ipxe)),
    ("lab: initramfs started", Reached(Point::Installer)),
    ("GNU GRUB", Reached(Point::BootLoader)),
    ("Welcome to GRUB", Reached(Point::BootLoader)),
    ("Linux version ", Reached(Point::Kernel)),
    ("Cloud-init v. ", Reached(Point::CloudInit)),
    (" login: ", Reached(Point::Login)),
    (
        "PXE-E16",
        Trouble("the firmware got no DHCP offer that it can boot from"),
    ),
    (
        "PXE-E18",
        Trouble("no server answered the firmware, by DHCP or by TFTP"),
    ),
    (
        "PXE-E21",
        Trouble("the firmware's network boot was cancelled by a key"),
    ),
    ("PXE-E23", Trouble("the TFTP server has no such file")),
    (
        "PXE-E53",
        Trouble("the firmware got a DHCP offer without a file name"),
    ),
    (
        "): Unsupported",
        Trouble("the boot program is not for this machine"),
    ),
    ("PXE-E99", Trouble("the firmware's network boot failed")),
    (
        "No script came from",
        Trouble("iPXE got no script from bootd"),
    ),
    (
        "The kernel could not be fetched",
        Fatal("iPXE could not fetch the kernel"),
    ),
    (
        "The initrd could not be fetched",
        Fatal("iPXE could not fetch the initrd"),
    ),
    (
        "lab: THE INSTALLATION FAILED",
        Trouble("the installer gave up"),
    ),
    (
        "No bootable option or device was found",
        Fatal("the firmware found nothing to boot"),
    ),
    (
        "UEFI Interactive Shell",
        Fatal("the firmware found nothing to boot, and shows its shell"),
    ),
    ("Kernel panic", Fatal("the kernel panicked")),
    ("end Kernel panic", Fatal("the kernel panicked")),
    (
        "error: no such device",
        Trouble("the boot loader did not find its file system"),
    ),
    (
        "grub rescue>",
        Fatal("the boot loader did not find its files"),
    ),
    (
        "(initramfs)",
        Fatal("the initramfs did not find the root file system"),
    ),
];

/// A sign that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// What it means.
    pub(crate) meaning: Meaning,
    /// Where in the log it begins.
    pub(crate) at: u64,
    /// The line that it is in, as far as it was written then.
    pub(crate) line: String,
}

/// The longest text that is looked for.
const LONGEST: usize = 64;

/// Reads a console's log as it grows.
#[derive(Debug)]
pub(crate) struct Console {
    path: PathBuf,
    offset: u64,
    /// The end of what was read, in which a sign may have begun.
    tail: String,
    heard: Instant,
    /// When the log was last written to, in milliseconds since 1970.
    written: u64,
    times: Option<Times>,
}

impl Console {
    /// Reads the log at `path` from its begin.
    pub(crate) fn open(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            offset: 0,
            tail: String::new(),
            heard: Instant::now(),
            written: 0,
            times: None,
        }
    }

    /// The same, and notes beside the log when what was written.
    pub(super) fn open_noting(path: &Path) -> Self {
        Self {
            times: Some(Times::open(path)),
            ..Self::open(path)
        }
    }

    /// When the last call found something new, whatever it means.
    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    /// When what the last call found was there at the latest, in milliseconds
    /// since 1970.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// How much of the log was read.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// What the text since the last call means, in its order.
    pub(crate) fn read(&mut self) -> Vec<Seen> {
        let mut text = Vec::new();
        let Ok(mut file) = std::fs::File::open(&self.path) else {
            return Vec::new();
        };
        if file
            .metadata()
            .is_ok_and(|metadata| metadata.len() < self.offset)
        {
            self.offset = 0;
            self.tail.clear();
        }
        if file.seek(SeekFrom::Start(self.offset)).is_err() || file.read_to_end(&mut text).is_err()
        {
            return Vec::new();
        }
        if !text.is_empty() {
            self.heard = Instant::now();
            let written = file.metadata().and_then(|metadata| metadata.modified());
            self.written = milliseconds(written.unwrap_or_else(|_| SystemTime::now()));
            if let Some(times) = &mut self.times {
                times.note(&file, self.offset + text.len() as u64);
            }
        }
        // A character for each byte, so that places in the text are places in
        // the log; signs are ASCII.
        let text: String = text
            .iter()
            .map(|byte| {
                if byte.is_ascii() {
                    char::from(*byte)
                } else {
                    '?'
                }
            })
            .collect();
        self.take(&text)
    }

    fn take(&mut self, text: &str) -> Vec<Seen> {
        let old = self.tail.len();
        let mut all = std::mem::take(&mut self.tail);
        let begin = self.offset - old as u64;
        self.offset += text.len() as u64;
        all.push_str(text);
        let mut found: Vec<(usize, Meaning)> = Vec::new();
        for (sign, meaning) in SIGNS {
            for (at, _) in all.match_indices(sign) {
                // What ended in the old part was told before.
                if at + sign.len() > old {
                    found.push((at, *meaning));
                }
            }
        }
        found.sort_by_key(|(at, _)| *at);
        let seen = found
            .into_iter()
            .map(|(at, meaning)| Seen {
                meaning,
                at: begin + at as u64,
                line: line_at(&all, at),
            })
            .collect();
        self.tail = all.split_off(all.len().saturating_sub(LONGEST));
        seen
    }
}

/// The line of `text` that byte `at` is in, without what a terminal would obey.
fn line_at(text: &str, at: usize) -> String {
    let from = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let to = text[at..].find('\n').map_or(text.len(), |end| at + end);
    let line = plain(&text[from..to]);
    line.lines().last().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_shorter_than_what_is_kept() {
        assert!(SIGNS.iter().all(|(sign, _)| sign.len() < LONGEST));
    }

    #[test]
    fn signs_are_told_once_in_order_also_when_they_come_in_pieces() {
        let text = "\u{1b}[2J\u{1b}[01;01HBdsDxe: failed to load Boot0001 \"UEFI Misc Device\": Not Found\r\n>>Start PXE over IPv4.\r\n  PXE-E16: No valid offer received.\r\n\r\niPXE 1.21.1+ -- Open Source\r\n[    0.000000] Linux version 6.12\r\n\u{fffd}lab: initramfs started\r\n";
        let expected = [
            Reached(Point::Firmware),
            Reached(Point::NetworkBoot),
            Trouble("the firmware got no DHCP offer that it can boot from"),
            Reached(Point::Ipxe),
            Reached(Point::Kernel),
            Reached(Point::Installer),
        ];
        let console = || Console::open(Path::new("/nonexistent"));
        // as it comes from the log
        let text = &text.replace('\u{fffd}', "?");
        let meanings = |seen: Vec<Seen>| -> Vec<Meaning> {
            seen.into_iter().map(|seen| seen.meaning).collect()
        };
        assert_eq!(meanings(console().take(text)), expected);
        for size in [1, 2, 3, 7, 50] {
            let mut pieces = console();
            let bytes: Vec<char> = text.chars().collect();
            let found: Vec<Meaning> = bytes
                .chunks(size)
                .flat_map(|piece| meanings(pieces.take(&piece.iter().collect::<String>())))
                .collect();
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_log_is_read_as_it_grows_and_anew_when_it_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("serial.log");
        fs_err::write(&path, "x\r\n\u{1b}iPXE 1.").unwrap();
        let mut console = Console::open(&path);
        let ipxe = Seen {
            meaning: Reached(Point::Ipxe),
            at: 4,
            line: "iPXE 1.".to_owned(),
        };
        assert_eq!(console.read(), [ipxe]);
        assert_eq!(console.read(), []);
        fs_err::write(&path, "x").unwrap();
        assert_eq!(console.read(), []);
        fs_err::write(&path, "x Kernel panic - not syncing").unwrap();
        let seen = console.read();
        assert_eq!(seen[0].meaning, Fatal("the kernel panicked"));
        assert_eq!(
            (seen[0].at, &*seen[0].line),
            (2, "x Kernel panic - not syncing")
        );
    }
}

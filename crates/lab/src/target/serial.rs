//! What a machine's serial console tells about how far it is.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::point::Point;

/// What a piece of text on the console means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
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
    ("iPXE 1.", Reached(Point::Ipxe)),
    ("iPXE initialising devices", Reached(Point::Ipxe)),
    ("lab: initramfs started", Reached(Point::Installer)),
    ("GNU GRUB", Reached(Point::BootLoader)),
    ("Welcome to GRUB", Reached(Point::BootLoader)),
    ("Linux version ", Reached(Point::Kernel)),
    ("Cloud-init v. ", Reached(Point::CloudInit)),
    (" login: ", Reached(Point::Login)),
    ("PXE-E16", Trouble("the firmware got no DHCP offer")),
    (
        "PXE-E18",
        Trouble("the server did not answer the firmware's DHCP request"),
    ),
    (
        "PXE-E21",
        Trouble("the firmware could not reach the TFTP server"),
    ),
    ("PXE-E23", Trouble("the TFTP server has no such file")),
    ("PXE-E99", Trouble("the firmware's network boot failed")),
    (
        "No script came from",
        Trouble("iPXE got no script from bootd"),
    ),
    (
        "The kernel could not be fetched",
        Trouble("iPXE could not fetch the kernel"),
    ),
    (
        "The initrd could not be fetched",
        Trouble("iPXE could not fetch the initrd"),
    ),
    (
        "lab: THE INSTALLATION FAILED",
        Trouble("the installer gave up"),
    ),
    (
        "No bootable option or device was found",
        Fatal("the firmware found nothing to boot"),
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

/// The longest text that is looked for.
const LONGEST: usize = 64;

/// Reads a console's log as it grows.
#[derive(Debug)]
pub(super) struct Console {
    path: PathBuf,
    offset: u64,
    /// The end of what was read, in which a sign may have begun.
    tail: String,
    heard: Instant,
}

impl Console {
    /// Reads the log at `path` from its begin.
    pub(super) fn open(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            offset: 0,
            tail: String::new(),
            heard: Instant::now(),
        }
    }

    /// When the last call found something new, whatever it means.
    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    /// What the text since the last call means, in its order.
    pub(super) fn read(&mut self) -> Vec<Meaning> {
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
        self.offset += text.len() as u64;
        if !text.is_empty() {
            self.heard = Instant::now();
        }
        self.take(&String::from_utf8_lossy(&text))
    }

    fn take(&mut self, text: &str) -> Vec<Meaning> {
        let old = self.tail.len();
        let mut all = std::mem::take(&mut self.tail);
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
        let mut keep = all.len().saturating_sub(LONGEST);
        while !all.is_char_boundary(keep) {
            keep += 1;
        }
        self.tail = all.split_off(keep);
        found.into_iter().map(|(_, meaning)| meaning).collect()
    }
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
            Trouble("the firmware got no DHCP offer"),
            Reached(Point::Ipxe),
            Reached(Point::Kernel),
            Reached(Point::Installer),
        ];
        let console = || Console::open(Path::new("/nonexistent"));
        assert_eq!(console().take(text), expected);
        for size in [1, 2, 3, 7, 50] {
            let mut pieces = console();
            let bytes: Vec<char> = text.chars().collect();
            let found: Vec<Meaning> = bytes
                .chunks(size)
                .flat_map(|piece| pieces.take(&piece.iter().collect::<String>()))
                .collect();
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_log_is_read_as_it_grows_and_anew_when_it_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("serial.log");
        fs_err::write(&path, "iPXE 1.").unwrap();
        let mut console = Console::open(&path);
        assert_eq!(console.read(), [Reached(Point::Ipxe)]);
        assert_eq!(console.read(), []);
        fs_err::write(&path, "x").unwrap();
        assert_eq!(console.read(), []);
        fs_err::write(&path, "x Kernel panic - not syncing").unwrap();
        assert_eq!(console.read(), [Fatal("the kernel panicked")]);
    }
}

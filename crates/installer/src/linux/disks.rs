//! Which disk to write.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, bail};

/// How long a disk's driver may take to show it.
const PATIENCE: u32 = 100;
const STEP: Duration = Duration::from_millis(100);
/// Block devices that are no disks of the machine.
const NOT_DISKS: [&str; 9] = [
    "loop", "ram", "zram", "sr", "fd", "dm-", "md", "nbd", "mtdblock",
];

/// The device that the plan names, or the first disk that `size` bytes fit on.
pub(super) fn choose(plan: &str, size: u64) -> anyhow::Result<PathBuf> {
    let mut last = Ok(Vec::new());
    for _ in 0..PATIENCE {
        if plan == "auto" {
            last = candidates(Path::new("/sys/block"), size);
            if let Ok(found) = &last
                && let Some(Candidate { name, fits: Ok(()) }) =
                    found.iter().find(|candidate| candidate.fits.is_ok())
            {
                return Ok(Path::new("/dev").join(name));
            }
        } else if Path::new(plan).exists() {
            return Ok(plan.into());
        }
        thread::sleep(STEP);
    }
    if plan != "auto" {
        bail!("there is no {plan}");
    }
    let why: Vec<_> = last?
        .into_iter()
        .map(|disk| format!("{}: {}", disk.name, disk.fits.err().unwrap_or_default()))
        .collect();
    bail!(
        "no disk can take the image of {size} bytes; there are [{}]",
        why.join("; ")
    )
}

struct Candidate {
    name: String,
    /// Or why not.
    fits: Result<(), String>,
}

/// The machine's disks by name, as `sys_block` shows them.
fn candidates(sys_block: &Path, size: u64) -> anyhow::Result<Vec<Candidate>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(sys_block).context("is /sys mounted?")? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| !NOT_DISKS.iter().any(|prefix| name.starts_with(prefix)));
    names.sort();
    Ok(names
        .into_iter()
        .map(|name| {
            let fits = fits(&sys_block.join(&name), size);
            Candidate { name, fits }
        })
        .collect())
}

fn fits(disk: &Path, size: u64) -> Result<(), String> {
    let number = |file: &str| -> Result<u64, String> {
        let text = fs::read_to_string(disk.join(file)).map_err(|error| error.to_string())?;
        text.trim()
            .parse()
            .map_err(|_| format!("{file} is {text:?}"))
    };
    if number("removable")? == 1 {
        return Err("removable".into());
    }
    if number("ro")? == 1 {
        return Err("read-only".into());
    }
    let has = number("size")?.saturating_mul(512);
    if has < size {
        return Err(format!("only {has} bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_that_do_not_fit_say_why() {
        let sys = tempfile::tempdir().unwrap();
        for (name, removable, ro, sectors) in [
            ("loop0", 0, 0, 9000),
            ("sr0", 1, 0, 9000),
            ("sda", 1, 0, 9000),
            ("sdb", 0, 1, 9000),
            ("vda", 0, 0, 10),
            ("vdb", 0, 0, 2048),
            ("vdc", 0, 0, 4096),
        ] {
            let disk = sys.path().join(name);
            fs::create_dir(&disk).unwrap();
            fs::write(disk.join("removable"), format!("{removable}\n")).unwrap();
            fs::write(disk.join("ro"), format!("{ro}\n")).unwrap();
            fs::write(disk.join("size"), format!("{sectors}\n")).unwrap();
        }
        let found: Vec<_> = candidates(sys.path(), 1 << 20)
            .unwrap()
            .into_iter()
            .map(|disk| format!("{} {:?}", disk.name, disk.fits))
            .collect();
        assert_eq!(
            found,
            [
                "sda Err(\"removable\")",
                "sdb Err(\"read-only\")",
                "vda Err(\"only 5120 bytes\")",
                "vdb Ok(())",
                "vdc Ok(())",
            ]
        );
    }
}

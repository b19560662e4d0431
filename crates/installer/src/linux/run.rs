//! The installation from begin to end.

use std::{fs, io::Write, path::Path, thread, time::Duration};

use anyhow::{Context, bail};
use protocol::{Plan, Stage};
use rustix::system::{RebootCommand, reboot};

use super::{disks, net, partition, sys};
use crate::{
    cmdline::{Cmdline, OnFailure},
    disk::Disk,
    fetch::{self, Client, Patience},
    gpt, image,
    report::Reporter,
    seed::Seed,
};

/// How long a failure is shown before the machine goes on.
const SHOWN: Duration = Duration::from_secs(10);
/// MiB of memory that must be free: window, chunks that wait, and room for the kernel's cache.
const MEMORY: u64 = 96;

/// Installs this machine and restarts it. If that fails, says why on the console
/// and to the server, and does what the command line says.
pub fn run() -> anyhow::Result<()> {
    let text = fs::read_to_string("/proc/cmdline").context("is /proc mounted?")?;
    let line = Cmdline::parse(&text).inspect_err(shout)?;
    if install(&line).inspect_err(shout).is_ok() {
        eprintln!("lab: installed; restarting into the new system");
        return end(RebootCommand::Restart);
    }
    thread::sleep(SHOWN);
    match line.on_failure {
        OnFailure::PowerOff => end(RebootCommand::PowerOff),
        OnFailure::Reboot => end(RebootCommand::Restart),
        OnFailure::Halt => loop {
            thread::park();
        },
    }
}

/// Turns the machine off.
pub fn power_off() -> anyhow::Result<()> {
    end(RebootCommand::PowerOff)
}

/// By the system call: nothing in an initramfs listens to a request.
fn end(command: RebootCommand) -> anyhow::Result<()> {
    rustix::fs::sync();
    reboot(command).context("the kernel didn't restart or power off")
}

fn install(line: &Cmdline) -> anyhow::Result<()> {
    fetch::check_server(&line.server)?;
    if let Some(address) = line.address {
        net::up(line.mac, address)?;
    }
    let client = Client::new(Patience::default());
    let url = format!("{}/plan/{}", line.server, line.mac.hexhyp());
    let plan: Plan = serde_json::from_slice(&client.get(&url)?)
        .with_context(|| format!("{url} is not a plan; are server and initrd of one version?"))?;
    if plan.mac != line.mac {
        bail!(
            "the server's plan is for {}, and this machine is {}",
            plan.mac,
            line.mac
        );
    }
    let hasty = Patience {
        tries: 1,
        silence: Duration::from_secs(5),
        ..Patience::default()
    };
    let reporter = Reporter::new(&plan, client.clone(), Client::new(hasty));
    carry_out(&plan, &client, &reporter).inspect_err(|error| reporter.failed(error))
}

fn carry_out(plan: &Plan, client: &Client, reporter: &Reporter) -> anyhow::Result<()> {
    check_memory(&fs::read_to_string("/proc/meminfo")?)?;
    let path = disks::choose(&plan.disk, plan.raw_size)?;
    let mut disk = Disk::open(&path)?;
    disk.require(plan.raw_size)?;
    // before anything is written: what the system needs must be there
    let seed = Seed::fetch(plan, client).context("can't get the seed for cloud-init")?;
    let text = format!("{} to {}", plan.image_url, path.display());
    eprintln!("lab: installing {text}");
    reporter.stage(Stage::Streaming, Some(text))?;
    overwrite(plan, &mut disk, client, reporter, &seed)
        .inspect_err(|_| eprintln!("lab: {} is left without a partition table", path.display()))?;
    // the new system works without the server having heard of it: it reports itself
    if let Err(error) = reporter.stage(Stage::Rebooting, None) {
        eprintln!("lab: the server was not told: {error:#}");
    }
    Ok(())
}

/// From the first byte that is erased to the moment when the disk is bootable.
fn overwrite(
    plan: &Plan,
    disk: &mut Disk,
    client: &Client,
    reporter: &Reporter,
    seed: &Seed,
) -> anyhow::Result<()> {
    clear(disk, plan.raw_size)?;
    let held = image::write(plan, disk, client, |done| reporter.progress(done))?;
    reporter.stage(Stage::Verified, Some(format!("digest is {}", plan.digest)))?;
    let root = gpt::root(disk, &gpt::partitions(held.head())?)?;
    partition::with_root(disk, root, |root| seed.plant(root))?;
    reporter.stage(
        Stage::Seeded,
        Some(format!("instance {}", plan.instance_id)),
    )?;
    held.commit(disk)
}

/// Erases the partition table, has the kernel forget the partitions, and the
/// device zero what the image will cover, where it can do that by itself.
fn clear(disk: &mut Disk, end: u64) -> anyhow::Result<()> {
    disk.wipe()?;
    sys::reread_partitions(disk.file())
        .with_context(|| format!("{} is in use", disk.path().display()))?;
    if !zeroes_by_itself(disk.path()) {
        return Ok(());
    }
    // if it can't after all, zeros are written where there are none
    match sys::zero_out(disk.file(), end) {
        Ok(()) => disk
            .is_blank_to(end)
            .unwrap_or_else(|error| eprintln!("lab: {error:#}")),
        Err(error) => eprintln!("lab: {} can't zero itself: {error}", disk.path().display()),
    }
    Ok(())
}

/// Whether the device zeroes without being sent the zeros.
fn zeroes_by_itself(disk: &Path) -> bool {
    let name = disk.file_name().unwrap_or_default().to_string_lossy();
    let limit = fs::read_to_string(format!("/sys/block/{name}/queue/write_zeroes_max_bytes"));
    limit.is_ok_and(|limit| limit.trim().parse::<u64>().is_ok_and(|limit| limit > 0))
}

fn check_memory(meminfo: &str) -> anyhow::Result<()> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    let mib = kib.context("/proc/meminfo doesn't say what is available")? / 1024;
    if mib < MEMORY {
        bail!("only {mib} MiB of memory are free, and {MEMORY} are needed; give the machine more");
    }
    Ok(())
}

/// Shows a failure where it is seen: on the console and in the kernel's log.
fn shout(error: &anyhow::Error) {
    let text = format!("{error:#}");
    eprintln!("\nlab: THE INSTALLATION FAILED\nlab: {text}\n");
    let record = format!(
        "<3>lab: installation failed: {}\n",
        protocol::one_line(&text, 800)
    );
    if let Ok(mut kmsg) = fs::File::options().write(true).open("/dev/kmsg") {
        // one write is one record; and it is on the console already, so there is
        // no third place to complain at
        let _ = kmsg.write_all(record.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::check_memory;

    #[test]
    fn too_little_memory_is_said() {
        let info = |kib: u64| format!("MemTotal: 1 kB\nMemAvailable:   {kib} kB\n");
        check_memory(&info(2 << 20)).unwrap();
        assert!(
            check_memory(&info(64 << 10))
                .unwrap_err()
                .to_string()
                .starts_with("only 64 MiB")
        );
        assert!(check_memory("").is_err());
    }
}

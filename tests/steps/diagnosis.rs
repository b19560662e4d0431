//! The lab broken as it may happen to a user, with real VMs: what is told of it
//! is the right cause, the line that shows it, and the command to look further.
//!
//! Each step ends as soon as the diagnosis is there, which is long before an
//! installation would be over, and repairs what it broke.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use e2e::{Checkout, Outcome};
use serde_json::Value;

/// What must be read of a machine.
struct Told<'a> {
    vm: &'a str,
    /// The row in the table of causes.
    id: &'a str,
    /// Which kind of failure, and its exit status.
    kind: (&'a str, u8),
    /// The begin of what is said of it.
    cause: &'a str,
    /// Who shows it, and a part of the line.
    shown_by: (&'a str, &'a str),
    /// A part of the command to look further.
    look: &'a str,
}

impl Told<'_> {
    /// What `make status` says of it, as JSON and as text.
    fn read(&self, checkout: &Checkout) -> anyhow::Result<()> {
        let vm = machine(checkout, self.vm)?
            .with_context(|| format!("{} is not in the status", self.vm))?;
        let diagnosis = &vm["diagnosis"];
        ensure!(diagnosis["id"] == self.id, "another cause: {vm}");
        ensure!(
            vm["kind"] == self.kind.0 && vm["exit"] == self.kind.1,
            "another kind of failure: {vm}"
        );
        let (source, line) = self.shown_by;
        let shown = diagnosis["shown_by"]["text"].as_str().unwrap_or_default();
        ensure!(
            diagnosis["shown_by"]["source"] == source && shown.contains(line),
            "shown by another line: {vm}"
        );
        checkout.make(&["status"])?.success()?.says(&[
            &format!("{}: ", self.vm),
            &format!("usual cause: {}", self.cause),
            &format!("shown by {source}: "),
            line,
            "look further: make ",
            self.look,
        ])?;
        Ok(())
    }

    /// The same, at the end of `make reprovision`, which must not wait on.
    fn reprovision(&self, checkout: &Checkout) -> anyhow::Result<()> {
        let end = checkout.make(&["reprovision", &format!("VM={}", self.vm)])?;
        self.ends(checkout, end)
    }

    /// What `make reprovision` ended with, and `make status` after it.
    fn ends(&self, checkout: &Checkout, end: Outcome) -> anyhow::Result<()> {
        eprintln!("    {}: {:.0} s", self.id, end.took.as_secs_f64());
        end.fails_with(&[
            &format!("usual cause: {}", self.cause),
            &format!("shown by {}: ", self.shown_by.0),
            self.shown_by.1,
            "look further: make ",
            self.look,
            // Make's own last line
            &format!("Error {}", self.kind.1),
        ])?
        .keeps_quiet_about(&["panicked", "::stage"])?;
        self.read(checkout)
    }
}

/// What `make status JSON=1` says of a machine, if it is there.
fn machine(checkout: &Checkout, vm: &str) -> anyhow::Result<Option<Value>> {
    let status = checkout.make(&["status", "JSON=1"])?.success()?;
    let status: Value = serde_json::from_str(&status.text)?;
    let vms = status["vms"].as_array();
    let found = vms.and_then(|vms| vms.iter().find(|known| known["name"] == vm));
    Ok(found.cloned())
}

/// Does `during` with the server broken by one command, and repairs it by
/// another, whatever came of it.
fn broken(
    checkout: &Checkout,
    by: &str,
    repair: &str,
    during: impl FnOnce(&Checkout) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    checkout.ssh("server", by)?.success()?;
    let result = during(checkout);
    let repaired = checkout.ssh("server", repair)?.success();
    result?;
    repaired.map(drop)
}

pub(crate) fn dhcp_stopped(checkout: &Checkout) -> anyhow::Result<()> {
    broken(
        checkout,
        "sudo systemctl stop isc-dhcp-server",
        "sudo systemctl start isc-dhcp-server",
        |checkout| {
            Told {
                vm: "target1",
                id: "dhcp-down",
                kind: ("service", 16),
                cause: "the DHCP server doesn't run on the server",
                shown_by: ("dhcp", "isc-dhcp-server.service is inactive since "),
                look: "make ssh VM=server CMD='systemctl --no-pager status isc-dhcp-server",
            }
            .reprovision(checkout)
        },
    )
}

fn no_boot_program(checkout: &Checkout) -> anyhow::Result<()> {
    broken(
        checkout,
        "sudo mv /srv/tftp/ipxe.efi /srv/ipxe.efi.gone",
        "sudo mv /srv/ipxe.efi.gone /srv/tftp/ipxe.efi",
        |checkout| {
            Told {
                vm: "target1",
                id: "tftp-no-file",
                kind: ("failed", 10),
                cause: "the TFTP server has no file of the name that DHCP gave",
                shown_by: ("serial", "PXE-E23"),
                look: "make ssh VM=server CMD='ls -l /srv/tftp",
            }
            .reprovision(checkout)
        },
    )
}

pub(crate) fn template(checkout: &Checkout) -> anyhow::Result<()> {
    let file = "/srv/site/current/ipxe/install.ipxe.tera";
    broken(
        checkout,
        &format!(
            "sudo cp {file} /srv/install.ipxe.kept && sudo sed -i 's/install.initrd /install.initrdd /' {file}"
        ),
        &format!("sudo cp /srv/install.ipxe.kept {file}"),
        |checkout| {
            Told {
                vm: "target1",
                id: "template-error",
                kind: ("template", 14),
                cause: "a template doesn't render",
                shown_by: ("bootd", "`initrdd` is not defined"),
                look: "make ssh VM=server CMD='sudo journalctl --no-pager -n 20 -u bootd'",
            }
            .reprovision(checkout)
        },
    )
}

pub(crate) fn no_content(checkout: &Checkout) -> anyhow::Result<()> {
    broken(
        checkout,
        "sudo umount --lazy /srv/content",
        "sudo /usr/local/sbin/lab-content",
        |checkout| {
            Told {
                vm: "target1",
                id: "kernel-not-found",
                kind: ("failed", 10),
                cause: "the server has no kernel to give",
                shown_by: ("serial", "The kernel could not be fetched from http://"),
                look: "make ssh VM=server CMD='findmnt /srv/content",
            }
            .reprovision(checkout)
        },
    )
}

/// A piece of the image is another one than when the site was made.
pub(crate) fn damaged_image(checkout: &Checkout) -> anyhow::Result<()> {
    broken(
        checkout,
        "sudo mkdir /srv/damaged && sudo cp /srv/content/* /srv/damaged/ \
         && sudo dd if=/dev/zero of=/srv/damaged/target.raw.zst bs=64k seek=8 count=8 conv=notrunc status=none \
         && sudo mount --bind /srv/damaged /srv/content",
        "sudo umount --lazy /srv/content; sudo rm -r /srv/damaged; findmnt /srv/content",
        |checkout| {
            Told {
                vm: "target1",
                id: "digest-mismatch",
                kind: ("failed", 10),
                cause: "the image on the content disk is not the one that the site names",
                shown_by: ("bootd", "failed: "),
                look: "make ssh VM=server CMD='ls -l /srv/content",
            }
            .reprovision(checkout)
        },
    )
}

/// The web server goes away while the image streams.
pub(crate) fn web_server_stopped(checkout: &Checkout) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let run = scope.spawn(|| checkout.make(&["reprovision", "VM=target1"]));
        let streams = until(checkout, "target1", "streaming");
        let stopped = streams.and_then(|()| {
            checkout
                .ssh("server", "sudo systemctl stop nginx")?
                .success()
        });
        let end = run.join().map_err(|_| anyhow::anyhow!("a make panicked"))?;
        let told = stopped.and(end).and_then(|end| {
            Told {
                vm: "target1",
                id: "web-server-down",
                kind: ("service", 16),
                cause: "the web server (nginx) doesn't run on the server",
                shown_by: ("nginx", "nginx.service is "),
                look: "make ssh VM=server CMD='systemctl --no-pager status nginx",
            }
            .ends(checkout, end)
        });
        let repaired = checkout.ssh("server", "sudo systemctl start nginx")?;
        told?;
        repaired.success().map(drop)
    })
}

/// Waits until `make status` says that the machine is at this stage.
fn until(checkout: &Checkout, vm: &str, stage: &str) -> anyhow::Result<()> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(180) {
        if machine(checkout, vm)?.is_some_and(|there| there["stage"] == stage) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    bail!("{vm} did not come to {stage:?}")
}

/// Firmware that found no server gives up for good. Once the server is whole
/// again, `make up` switches such a machine on anew.
pub(crate) fn starts_again(checkout: &Checkout) -> anyhow::Result<()> {
    no_boot_program(checkout)?;
    let before = checkout.record("target1")?["pid"].clone();
    // that it installs then is no news, and the next step waits for it
    checkout.make_until(
        &["up"],
        &[
            "starts again: it was stuck after `firmware asks for network boot`",
            "iPXE runs",
        ],
    )?;
    ensure!(
        before != checkout.record("target1")?["pid"],
        "it was not switched on anew"
    );
    checkout
        .make(&["status"])?
        .success()?
        .keeps_quiet_about(&["usual cause"])
        .map(drop)
}

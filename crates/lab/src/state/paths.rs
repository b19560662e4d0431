//! Where each file of a lab is. `docs/architecture.md` has the same list.

use std::path::{Path, PathBuf};

/// Options shared by every subcommand that works on a lab.
#[derive(Debug, Clone, clap::Args)]
pub struct LabArgs {
    /// Name of the lab; each name is a lab of its own.
    #[arg(long, value_name = "NAME", default_value = "lab")]
    pub lab: String,
    /// Folder that holds the labs.
    #[arg(long, value_name = "DIR", default_value = "build/labs")]
    pub labs: PathBuf,
}

impl LabArgs {
    /// The files of this lab.
    pub fn paths(&self) -> anyhow::Result<LabPaths> {
        LabPaths::new(&self.labs, &self.lab)
    }
}

/// The files of one lab.
#[derive(Debug, Clone)]
pub struct LabPaths {
    name: String,
    root: PathBuf,
}

impl LabPaths {
    /// The lab called `name` in the folder `labs`.
    pub fn new(labs: &Path, name: &str) -> anyhow::Result<Self> {
        let plain = !name.is_empty()
            && name.len() <= 32
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && !name.starts_with('-')
            && !name.ends_with('-');
        anyhow::ensure!(
            plain,
            "{name:?} can't be the name of a lab: use 1 to 32 of a-z, 0-9 and -, with no - at either end"
        );
        Ok(Self {
            name: name.to_owned(),
            root: labs.join(name),
        })
    }

    /// The lab's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The lab's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Resolved configuration, one file a consumer.
    pub fn config(&self) -> PathBuf {
        self.root.join("config")
    }

    /// Keys made for this lab.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// The volume with the server's cloud-init seed.
    pub fn seed(&self) -> PathBuf {
        self.root.join("server/seed.img")
    }

    /// The volume with what targets download.
    pub fn content(&self) -> PathBuf {
        self.root.join("content.img")
    }

    /// The folder with one folder a VM.
    pub fn vms(&self) -> PathBuf {
        self.root.join("vm")
    }

    /// The VMs that have a folder, by name.
    pub fn vm_names(&self) -> anyhow::Result<Vec<String>> {
        let entries = match fs_err::read_dir(self.vms()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                names.extend(entry.file_name().into_string().ok());
            }
        }
        names.sort();
        Ok(names)
    }

    /// The files of one VM.
    pub fn vm(&self, name: &str) -> VmPaths {
        VmPaths {
            dir: self.vms().join(name),
        }
    }
}

/// The files of one VM. QEMU runs with `dir` as its working directory.
#[derive(Debug, Clone)]
pub struct VmPaths {
    dir: PathBuf,
}

impl VmPaths {
    /// The files in a VM's folder.
    pub fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// The VM's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The files of another VM of the same lab.
    #[must_use]
    pub fn sibling(&self, name: &str) -> Self {
        Self {
            dir: self.dir.with_file_name(name),
        }
    }

    /// The disk: an overlay on the image, or a target's own.
    pub fn disk(&self) -> PathBuf {
        self.dir.join("disk.qcow2")
    }

    /// Names the installation of the disk that was seen set up.
    pub fn set_up(&self) -> PathBuf {
        self.dir.join("instance")
    }

    /// Is there once a target was seen `ready`, until it is installed anew.
    pub fn ready(&self) -> PathBuf {
        self.dir.join("ready")
    }

    /// The firmware's variables.
    pub fn vars(&self) -> PathBuf {
        self.dir.join("vars.fd")
    }

    /// The record of the running VM.
    pub fn record(&self) -> PathBuf {
        self.dir.join("vm.json")
    }

    /// QEMU's control socket.
    pub fn qmp(&self) -> PathBuf {
        self.dir.join("qmp.sock")
    }

    /// The serial console's socket.
    pub fn serial(&self) -> PathBuf {
        self.dir.join("serial.sock")
    }

    /// All that the guest wrote to its serial console.
    pub fn serial_log(&self) -> PathBuf {
        self.dir.join("serial.log")
    }

    /// What happened to the machine.
    pub fn timeline(&self) -> PathBuf {
        self.dir.join("timeline.jsonl")
    }

    /// What QEMU itself printed.
    pub fn qemu_log(&self) -> PathBuf {
        self.dir.join("qemu.log")
    }

    /// Packets of the lab segment, as this VM saw them.
    pub fn pcap(&self) -> PathBuf {
        self.dir.join("lab.pcap")
    }

    /// The target's display, when it was last looked at.
    pub fn screen(&self) -> PathBuf {
        self.dir.join("screen.png")
    }

    /// The memory of a VM that was saved.
    pub fn ram(&self) -> PathBuf {
        self.dir.join("ram.img")
    }

    /// What that memory belongs to.
    pub fn saved(&self) -> PathBuf {
        self.dir.join("saved.json")
    }

    /// Locked by QEMU for as long as it lives.
    pub fn alive(&self) -> PathBuf {
        self.dir.join("alive")
    }

    /// There while the guest is stopped to be saved or loaded.
    pub fn held(&self) -> PathBuf {
        self.dir.join("held")
    }

    /// The pipe to the guest's port `lab.wake`.
    pub fn wake_in(&self) -> PathBuf {
        self.dir.join("wake.in")
    }

    /// The pipe from the guest's port `lab.wake`.
    pub fn wake_out(&self) -> PathBuf {
        self.dir.join("wake.out")
    }

    /// The lock held while the VM is started or stopped.
    pub fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_leave_the_folder_are_refused() {
        for bad in ["", "..", "a/b", "A", "-a", "a-", "a b", "a.b"] {
            assert!(
                LabPaths::new(Path::new("build/labs"), bad).is_err(),
                "{bad:?}"
            );
        }
        let lab = LabPaths::new(Path::new("build/labs"), "b-2").unwrap();
        assert_eq!(
            lab.vm("server").qmp(),
            Path::new("build/labs/b-2/vm/server/qmp.sock")
        );
    }
}

//! A lab in a temporary folder, whose VMs are gone when it is.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use lab::config::{Auto, Lab, Resolved};
use lab::host::{
    Accel, AccelKind, Arch, Backend, Build, Distribution, Features, Firmware, Host, Network, Os,
    PerArch, Qemu, Reconnect,
};
use lab::state::{LabPaths, VmPaths};
use lab::vm::{self, Options, Record, Started, State};

/// A lab of its own.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
    pub(crate) lab: LabPaths,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::named("lab")
    }

    pub(crate) fn named(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lab = LabPaths::new(&dir.path().join("labs"), name).unwrap();
        let this = Self { dir, lab };
        this.configure("");
        this.zeros("code", 64 << 20);
        this.zeros("vars", 64 << 20);
        this.zeros("x-code", 1 << 20);
        this.zeros("x-vars", 128 << 10);
        this.image("one");
        fs_err::create_dir_all(this.lab.seed().parent().unwrap()).unwrap();
        fs_err::write(this.lab.seed(), [1; 4096]).unwrap();
        this.real_qemu();
        this
    }

    /// The lab as `toml` has it.
    pub(crate) fn configure(&self, toml: &str) {
        let auto = Auto {
            backend: Backend::Hub,
            distribution: Distribution::Debian,
        };
        let lab = Lab::parse(toml, "lab.toml", self.lab.name(), auto).unwrap();
        Resolved::new(self.lab.config()).write(&lab).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn zeros(&self, name: &str, size: u64) {
        fs_err::File::create(self.path(name))
            .unwrap()
            .set_len(size)
            .unwrap();
    }

    /// Replaces the image below the server's disk.
    pub(crate) fn image(&self, content: &str) {
        let path = self.path("server.raw.new");
        fs_err::write(&path, content).unwrap();
        fs_err::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(1 << 20)
            .unwrap();
        fs_err::rename(path, self.path("server.raw")).unwrap();
    }

    /// Replaces the content disk.
    pub(crate) fn content(&self, size: u64) {
        let path = self.path("content.new");
        fs_err::File::create(&path).unwrap().set_len(size).unwrap();
        fs_err::rename(path, self.lab.content()).unwrap();
    }

    /// Writes host.toml with this program as the server's QEMU.
    pub(crate) fn host(&self, qemu: &Path) {
        let firmware = |code: &str, vars: &str| Firmware {
            code: self.path(code),
            vars: self.path(vars),
        };
        let accel = |cpu: &str| Accel {
            kind: AccelKind::Tcg,
            cpu: cpu.to_owned(),
        };
        let build = || Build {
            target: String::new(),
            cargo: PathBuf::new(),
            rustc: PathBuf::new(),
            version: String::new(),
            linker: PathBuf::new(),
            rustflags: String::new(),
        };
        let x86 = which("qemu-system-x86_64");
        let host = Host {
            os: Os::Linux,
            arch: Arch::X86_64,
            distribution: Distribution::Debian,
            qemu: Qemu {
                version: "10.0.2".to_owned(),
                aarch64: qemu.to_owned(),
                x86_64: self.script("paused-x86", &format!("exec {} -S \"$@\"", x86.display())),
                img: which("qemu-img"),
                features: Features {
                    netdev_stream: true,
                    reconnect: Reconnect::None,
                    migrate_file: true,
                    mapped_ram: true,
                },
            },
            firmware: PerArch {
                aarch64: firmware("code", "vars"),
                x86_64: firmware("x-code", "x-vars"),
            },
            accel: PerArch {
                aarch64: accel("cortex-a72"),
                x86_64: accel("max"),
            },
            network: Network {
                backend: Backend::Hub,
            },
            debian: None,
            build: PerArch {
                aarch64: build(),
                x86_64: build(),
            },
        };
        let text = host.to_toml().unwrap();
        fs_err::write(self.path("host.toml"), text).unwrap();
    }

    /// host.toml of a QEMU that connects again by itself.
    pub(crate) fn host_with_reconnect(&self) {
        let path = self.path("host.toml");
        let mut host = Host::load(&path).unwrap();
        host.qemu.features.reconnect = Reconnect::ReconnectMs;
        fs_err::write(path, host.to_toml().unwrap()).unwrap();
    }

    /// The real QEMU, with its guest paused: one that runs through zeros would
    /// only take the processor from the other tests, and leaves QEMU no pause
    /// in which to take devices away.
    pub(crate) fn real_qemu(&self) {
        self.fake_qemu("exec $QEMU -S \"$@\"");
    }

    /// A QEMU for the server that does as `script` says; `$QEMU` is the real one.
    pub(crate) fn fake_qemu(&self, script: &str) {
        let real = which("qemu-system-aarch64");
        let server = self.script(
            "fake-aarch64",
            &format!("QEMU={}\n{script}", real.display()),
        );
        self.host(&server);
    }

    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path(name);
        let new = self.path(&format!("{name}.new"));
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&new, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs_err::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
        fs_err::rename(new, &path).unwrap();
        path
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            host: self.path("host.toml"),
            image: self.path("server.raw"),
            grace: Duration::from_millis(200),
            fresh: false,
        }
    }

    pub(crate) fn start(&self) -> anyhow::Result<Started> {
        vm::start_server(&self.lab, &self.options())
    }

    pub(crate) fn target(&self, name: &str) -> anyhow::Result<Started> {
        vm::start_target(&self.lab, name, &self.options())
    }

    pub(crate) fn server(&self) -> VmPaths {
        self.lab.vm("server")
    }

    pub(crate) fn state(&self) -> State {
        State::of(&self.server()).unwrap()
    }

    /// The record of a VM that must run.
    pub(crate) fn running(&self, vm: &str) -> Record {
        let state = State::of(&self.lab.vm(vm)).unwrap();
        state
            .clone()
            .running()
            .unwrap_or_else(|| panic!("{vm} is {state:?}"))
    }

    /// The program itself, in a place without a lab.toml.
    pub(crate) fn lab(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// The program, killed after a while if it still runs.
    pub(crate) fn lab_killed(&self, words: &[&str], after: Duration) {
        let quiet = std::process::Stdio::null;
        let mut program = self
            .command(words)
            .stdout(quiet())
            .stderr(quiet())
            .spawn()
            .unwrap();
        std::thread::sleep(after);
        program.kill().unwrap();
        program.wait().unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_lab"));
        program
            .args(words)
            .arg("--labs")
            .arg(self.path("labs"))
            .args(["--lab", self.lab.name()])
            .current_dir(self.dir.path());
        program
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for name in self.lab.vm_names().unwrap_or_default() {
            let _ = vm::stop(&self.lab.vm(&name), Duration::ZERO);
        }
        let _ = lab::switch::end(&self.server());
    }
}

/// A program that the tests can't do without.
pub(crate) fn which(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.exists())
        .unwrap_or_else(|| panic!("{program} is not on PATH; `make configure` installs QEMU"))
}

/// Waits until `done`, at most ten seconds.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "{what} never happened");
        std::thread::sleep(Duration::from_millis(10));
    }
}

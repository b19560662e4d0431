//! Starting a VM, or finding that it runs already as it should.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use super::alive;
use super::args::{self, ServerSpec, TargetSpec};
use super::content;
use super::disk::{self, DiskRecord, Fingerprint, Plan};
use super::launch::{Body, launch};
use super::plug::{ensure_port, forwards, plug_running_targets};
use super::qmp::Qmp;
use super::record::{Record, State, forget};
use super::resume;
use super::snapshot;
use super::stop::stop_locked;
use super::torn::discard_torn;
use crate::config::{Network, Resolved};
use crate::fsutil;
use crate::host::{Arch, Backend, Host};
use crate::net;
use crate::server;
use crate::state::{LabPaths, VmLock, VmPaths};

/// What a start needs beyond the lab's own files.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the host has.
    pub host: PathBuf,
    /// The image below the server's disk.
    pub image: PathBuf,
    /// How long a guest may take to shut down if it has to be started anew
    /// from the disk that it has.
    pub grace: Duration,
    /// Boot, whatever was saved.
    pub fresh: bool,
}

/// What a start came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// It ran already, from the same things.
    Already(Record),
    /// It goes on from where it was suspended.
    Resumed(Record),
    /// It was started; with a new disk if that says why.
    Fresh {
        /// The running VM.
        record: Record,
        /// Why the disk was made anew, if it was.
        new_disk: Option<&'static str>,
    },
}

impl Started {
    /// The running VM.
    pub fn record(&self) -> &Record {
        match self {
            Self::Already(record) | Self::Resumed(record) | Self::Fresh { record, .. } => record,
        }
    }
}

/// Makes the server run, from the current image, seed and configuration.
pub fn start_server(lab: &LabPaths, options: &Options) -> anyhow::Result<Started> {
    let host = Host::load(&options.host)?;
    let config = Resolved::new(lab.config());
    let (network, server) = (config.network()?, config.server()?);
    let vm = lab.vm("server");
    let seed = lab.seed();
    let plan = Plan {
        qemu_img: &host.qemu.img,
        firmware: &host.firmware.aarch64,
        size: server.disk,
        base: Some(&options.image),
        seed: Some(&seed),
    };
    let _lock = VmLock::take(&vm)?;
    discard_torn(&vm, "server", &options.host)?;
    let from_vm = Path::new("../..");
    let spec = ServerSpec {
        host: &host,
        network: &network,
        server: &server,
        seed: &from_vm.join("server/seed.img"),
        content: None,
    };
    let content_path = from_vm.join("content.img");
    let with_content = ServerSpec {
        content: Some(&content_path),
        ..spec
    };
    let content_is_there = lab.content().exists();
    let argv = args::server(if content_is_there {
        &with_content
    } else {
        &spec
    });
    let what = What {
        vm: &vm,
        name: "server",
        key: args::server(&spec),
        argv,
        plan: &plan,
        network: &network,
        grace: options.grace,
        fresh: options.fresh,
    };
    let started = start(what, |qmp, record| {
        record.forwards = Some(forwards(qmp, &network)?);
        // a resumed guest knows the content disk that it was saved with
        if content_is_there && !record.resumed {
            record.content = Some(Fingerprint::of(&lab.content(), None)?);
        }
        Ok(())
    })?;
    match started {
        Started::Already(mut record) => {
            // The start was interrupted between the two times of writing.
            if record.forwards.is_none() {
                let mut qmp = Qmp::connect(&vm.qmp(), Duration::from_secs(10))?;
                record.forwards = Some(forwards(&mut qmp, &network)?);
                record.write(&vm)?;
            }
            let record = content::refresh(lab, record)?;
            Ok(Started::Already(record))
        }
        Started::Resumed(record) => {
            plug_running_targets(lab, &config, &network)?;
            Ok(Started::Resumed(content::refresh(lab, record)?))
        }
        Started::Fresh { .. } => {
            plug_running_targets(lab, &config, &network)?;
            Ok(started)
        }
    }
}

/// Makes a target run, plugged into the server.
pub fn start_target(lab: &LabPaths, name: &str, options: &Options) -> anyhow::Result<Started> {
    let host = Host::load(&options.host)?;
    let config = Resolved::new(lab.config());
    let (network, target) = (config.network()?, config.target(name)?);
    let vm = lab.vm(name);
    let plan = Plan {
        qemu_img: &host.qemu.img,
        firmware: &host.firmware.get(Arch::X86_64).clone(),
        size: target.disk,
        base: None,
        seed: None,
    };
    let _lock = VmLock::take(&vm)?;
    if network.backend == Backend::Hub {
        ensure_port(lab, name)?;
    }
    let argv = args::target(&TargetSpec {
        host: &host,
        network: &network,
        target: &target,
    });
    let what = What {
        vm: &vm,
        name,
        key: argv.clone(),
        argv,
        plan: &plan,
        network: &network,
        grace: options.grace,
        fresh: options.fresh,
    };
    start(what, |_, _| Ok(()))
}

/// What is started.
struct What<'a> {
    vm: &'a VmPaths,
    name: &'a str,
    /// The command line without what can be changed while the VM runs.
    key: Vec<String>,
    argv: Vec<String>,
    plan: &'a Plan<'a>,
    network: &'a Network,
    grace: Duration,
    fresh: bool,
}

/// The common part; `complete` fills in what only a running QEMU knows.
fn start(
    what: What<'_>,
    complete: impl FnOnce(&mut Qmp, &mut Record) -> anyhow::Result<()>,
) -> anyhow::Result<Started> {
    let What {
        vm,
        name,
        key,
        argv,
        plan,
        network,
        grace,
        fresh,
    } = what;
    let disk = disk::wanted(vm, plan)?;
    let new_disk = disk::outdated(vm, &disk).or_else(|| {
        let sets_up = plan.seed.is_some() && !disk::is_set_up(vm);
        sets_up.then(|| set_up_anew(vm)).flatten()
    });
    let wanted = digest(&key);
    let mut state = State::of(vm)?;
    if let State::Held(record) = state {
        let runs = resume::pick_up(vm, name, record)?;
        state = runs.map_or(State::Stopped, State::Running);
    }
    match state {
        State::Running(record) if new_disk.is_none() && record.wanted == wanted => {
            return Ok(Started::Already(record));
        }
        State::Running(_) | State::Held(_) => {
            let why = new_disk.map_or("its command line changed".to_owned(), |why| {
                format!("a new disk: {why}")
            });
            eprintln!("{name}: starting anew ({why})");
            // A disk that is thrown away needs no proper end.
            stop_locked(
                vm,
                if new_disk.is_some() {
                    Duration::ZERO
                } else {
                    grace
                },
            )?;
        }
        State::Died(record) => {
            eprintln!(
                "{name}: its process {} was gone; starting it again",
                record.process.pid
            );
        }
        State::Stopped => {}
    }
    if alive::end_orphan(vm)? {
        eprintln!("{name}: ended a QEMU that nobody had noted down");
    }
    forget(vm)?;
    if new_disk.is_some() {
        disk::create(vm, plan, &disk)?;
    }
    disk::refresh_vars(vm, plan.firmware)?;
    fsutil::keep_last(&vm.pcap())?;
    let instance = DiskRecord::read(vm)
        .context("the disk that was just made is gone")?
        .instance;
    net::plug(network, vm, name)?;
    let body = Body {
        vm,
        name,
        argv,
        instance,
        wanted,
    };
    if let Some((mut qmp, mut record)) = resume::attempt(&body, fresh)? {
        complete(&mut qmp, &mut record)?;
        record.write(vm)?;
        snapshot::go_on(vm, &mut qmp)?;
        return Ok(Started::Resumed(record));
    }
    fsutil::keep_last(&vm.serial_log())?;
    let mut launched = launch(vm, name, body.argv.clone())?;
    let mut record = body.record(&launched);
    // Written at once, so that whatever happens next, `stop` finds the process.
    record.write(vm)?;
    complete(&mut launched.qmp, &mut record)?;
    record.write(vm)?;
    Ok(Started::Fresh { record, new_disk })
}

/// Why a disk whose first set-up was not seen to its end is of no use; none if
/// the VM that runs may still be at it.
fn set_up_anew(vm: &VmPaths) -> Option<&'static str> {
    match State::of(vm) {
        Ok(State::Running(record)) => {
            server::set_up_failed(vm, record.started).then_some("its first set-up failed")
        }
        _ => Some("its first set-up never ended"),
    }
}

fn digest(argv: &[String]) -> String {
    let mut hasher = blake3::Hasher::new();
    for word in argv {
        hasher.update(word.as_bytes()).update(&[0]);
    }
    hasher.finalize().to_hex().to_string()
}

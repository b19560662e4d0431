//! `lab ssh`, and how everything else logs in.
//!
//! ssh runs in the server's folder, so that every path given to it is short
//! and relative. Nothing of the user's own configuration, agent or known hosts
//! enters, and nothing of the lab's gets there.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use protocol::Mac;
use rustix::process::Signal;

use crate::config::Resolved;
use crate::keys::SERVER_ALIAS;
use crate::state::{LabArgs, LabPaths};
use crate::vm::process::Identity;
use crate::vm::{Forwards, State};

/// The account on every machine of the lab.
pub const USER: &str = "lab";

/// Options of `lab ssh`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    lab: LabArgs,
    /// `server`, or a target's name.
    vm: String,
    /// What to run there; a shell if nothing is given.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Becomes ssh, whose exit status is the command's.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let lab = args.lab.paths()?;
    let mut ssh = to(&lab, &args.vm)?;
    if args.command.is_empty() {
        ssh.arg("-t");
    }
    ssh.arg("--").arg("vm").args(&args.command);
    Err(ssh.exec()).context("cannot run ssh; is OpenSSH's client installed?")
}

/// An ssh command line for `vm`, up to and without the host's name: whoever
/// uses it adds `--`, any name, and what to run.
pub fn to(lab: &LabPaths, vm: &str) -> anyhow::Result<Command> {
    let forwards = server_forwards(lab)?;
    if vm == "server" {
        let mut ssh = base(lab);
        ssh.args(server_options(&forwards));
        return Ok(ssh);
    }
    let target = Resolved::new(lab.config()).target(vm)?;
    let address = address_of(lab, target.mac)?.with_context(|| {
        format!("{vm} has no address on the lab segment yet: `lab status` shows how far it is")
    })?;
    let mut ssh = base(lab);
    ssh.args(target_options(&forwards, vm, &address));
    Ok(ssh)
}

/// Runs `script` by the shell of `vm`, with `input` as its standard input, and
/// returns what it prints. A failure's text has all that it printed.
pub fn on_with(lab: &LabPaths, vm: &str, script: &str, input: &[u8]) -> anyhow::Result<String> {
    let mut child = to(lab, vm)?
        .args(["--", "vm", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run ssh; is OpenSSH's client installed?")?;
    let mut stdin = child.stdin.take().context("ssh's standard input")?;
    // a remote end that has failed says why on its standard error
    let sent = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        bail!(
            "on {vm}, `{script}` failed ({}): {}",
            output.status,
            said.concat().trim()
        );
    }
    sent.with_context(|| format!("sending to {vm}"))?;
    String::from_utf8(output.stdout).with_context(|| format!("the answer of {vm} is not UTF-8"))
}

/// Runs `script` by the shell of the server, with `input` as its standard
/// input, and returns what it prints.
pub fn on_server_with(lab: &LabPaths, script: &str, input: &[u8]) -> anyhow::Result<String> {
    on_with(lab, "server", script, input)
}

/// Runs `script` by the shell of the server and returns what it prints.
pub fn on_server(lab: &LabPaths, script: &str) -> anyhow::Result<String> {
    on_server_with(lab, script, &[])
}

/// The address that DHCP gave to `mac` last, as the server knows it.
pub fn address_of(lab: &LabPaths, mac: Mac) -> anyhow::Result<Option<String>> {
    let leases = on_server(
        lab,
        "cat /var/lib/dhcp/dhcpd.leases /var/lib/misc/dnsmasq.leases 2>/dev/null; true",
    )?;
    Ok(last_lease(&leases, mac))
}

/// The newest lease of `mac` in the text of ISC's or dnsmasq's leases.
///
/// A machine has one, since both servers go by its hardware address; ISC's
/// appends a lease that changes, so the last one counts.
fn last_lease(text: &str, mac: Mac) -> Option<String> {
    let mac = mac.to_string();
    let mut found = None;
    let mut block = None;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["lease", address, "{"] => block = Some(*address),
            ["hardware", "ethernet", hardware] if hardware.trim_end_matches(';') == mac => {
                found = block.or(found);
            }
            [_, hardware, address, _, _] if *hardware == mac => found = Some(address),
            _ => {}
        }
    }
    found.map(str::to_owned)
}

fn server_forwards(lab: &LabPaths) -> anyhow::Result<Forwards> {
    match State::of(&lab.vm("server"))? {
        State::Running(record) => record.forwards.context(
            "the server runs, but where it is reached was not noted (its start was interrupted): stop and start it",
        ),
        State::Died(_) => bail!("the server died; `make up` starts it again"),
        State::Held(_) => bail!("the server is being suspended; `make up` resumes it"),
        State::Stopped => bail!("the server does not run; `make up` starts it"),
    }
}

fn base(lab: &LabPaths) -> Command {
    let mut ssh = Command::new("ssh");
    ssh.current_dir(lab.vm("server").dir());
    ssh
}

/// What holds for every connection.
fn common() -> Vec<String> {
    let mut options = vec!["-F".to_owned(), "/dev/null".to_owned()];
    for option in [
        "User=lab",
        "IdentityFile=../../keys/id_ed25519",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "GlobalKnownHostsFile=/dev/null",
        "UpdateHostKeys=no",
        "BatchMode=yes",
        "LogLevel=ERROR",
        "ConnectTimeout=15",
        "ServerAliveInterval=15",
        "ControlMaster=auto",
        "ControlPersist=60",
    ] {
        options.extend(["-o".to_owned(), option.to_owned()]);
    }
    options
}

fn server_options(forwards: &Forwards) -> Vec<String> {
    let mut options = common();
    for option in [
        format!("HostName={}", forwards.address),
        format!("Port={}", forwards.ssh),
        format!("HostKeyAlias={SERVER_ALIAS}"),
        "UserKnownHostsFile=../../keys/known_hosts".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        "ControlPath=ssh".to_owned(),
    ] {
        options.extend(["-o".to_owned(), option]);
    }
    options
}

/// Through the server, whose own options ssh's `-J` would not take.
fn target_options(forwards: &Forwards, vm: &str, address: &str) -> Vec<String> {
    let jump: Vec<String> = server_options(forwards)
        .iter()
        .map(|word| quoted(word))
        .collect();
    let mut options = common();
    for option in [
        format!("HostName={address}"),
        format!("HostKeyAlias={vm}"),
        // Beside the disk that holds the key: it goes when the disk goes.
        format!("UserKnownHostsFile=../{vm}/known_hosts"),
        "StrictHostKeyChecking=accept-new".to_owned(),
        format!("ControlPath=../{vm}/ssh"),
        format!("ProxyCommand=ssh {} -W %h:%p vm", jump.join(" ")),
    ] {
        options.extend(["-o".to_owned(), option]);
    }
    options
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// How long the process behind a kept connection may take to end.
const CLOSING: Duration = Duration::from_secs(2);

/// Ends the connection to `vm` that is kept open between calls, if there is
/// one, and the process behind it.
pub fn close(lab: &LabPaths, vm: &str) {
    if !lab.vm(vm).dir().join("ssh").exists() {
        return;
    }
    // "Master running (pid=4711)", on standard error
    let told = control(lab, vm, "check").unwrap_or_default();
    let master = master(&told).and_then(Identity::of);
    control(lab, vm, "exit");
    let Some(master) = master else { return };
    let deadline = Instant::now() + CLOSING;
    while master.is_alive() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    // It would end with the VM; this is only sooner.
    let _ = master.signal(Signal::TERM);
}

/// Gives a command to the process behind a kept connection.
fn control(lab: &LabPaths, vm: &str, command: &str) -> Option<String> {
    let output = Command::new("ssh")
        .current_dir(lab.vm(vm).dir())
        .args(["-F", "/dev/null", "-o", "ControlPath=ssh"])
        .args(["-O", command, "vm"])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    Some(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn master(told: &str) -> Option<i32> {
    let (_, rest) = told.split_once("(pid=")?;
    rest.split_once(')')?.0.parse().ok()
}

/// Where the host keys of a target that `lab ssh` has met are kept.
pub fn known_hosts(lab: &LabPaths, vm: &str) -> PathBuf {
    lab.vm(vm).dir().join("known_hosts")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwards() -> Forwards {
        Forwards {
            address: "127.0.0.1".to_owned(),
            ssh: 2222,
            http: 8080,
        }
    }

    #[test]
    fn command_lines() {
        insta::assert_snapshot!(server_options(&forwards()).join(" "));
        insta::assert_snapshot!(
            target_options(&forwards(), "target1", "192.168.105.100").join(" ")
        );
    }

    #[test]
    fn the_process_behind_a_kept_connection_is_read() {
        assert_eq!(master("Master running (pid=4711)\r\n"), Some(4711));
        assert_eq!(master("Control socket connect(ssh): No such file"), None);
    }

    #[test]
    fn the_newest_lease_counts() {
        let mac = "52:54:00:4c:42:01".parse().unwrap();
        let isc = "lease 192.168.105.100 {\n  starts 1;\n  hardware ethernet 52:54:00:4c:42:01;\n}\nlease 192.168.105.101 {\n  hardware ethernet 52:54:00:4c:42:02;\n}\nlease 192.168.105.102 {\n  hardware ethernet 52:54:00:4c:42:01;\n}\n";
        assert_eq!(last_lease(isc, mac).as_deref(), Some("192.168.105.102"));
        let dnsmasq = "1700000000 52:54:00:4c:42:01 192.168.105.150 target1 ff:00:01\n";
        assert_eq!(last_lease(dnsmasq, mac).as_deref(), Some("192.168.105.150"));
        assert_eq!(last_lease("", mac), None);
    }
}

//! From what is typed to what is meant: defaults filled in, every value
//! checked, all problems found at once.

use std::collections::HashMap;
use std::fmt::Display;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use protocol::{InstallMode, Mac, UnknownMachines};
use toml::Spanned;
use uuid::Uuid;

use super::error::{ConfigError, Problem, from_toml};
use super::model::{Auto, DebianSource, Install, Lab, Server, Target, UbuntuSource};
use super::raw::{Raw, RawTarget, Text};
use super::{Size, extra, network, templates};

/// Names that the lab uses for itself: the server's, and those of the sockets
/// in its folder, where a target's port of the hub has one by the target's name.
const RESERVED: [&str; 5] = ["server", "localhost", "qmp", "serial", "switch"];

/// What is wrong so far. Each check goes on with a default, so that one run
/// shows every problem.
#[derive(Debug, Default)]
pub(super) struct Checks {
    problems: Vec<Problem>,
}

impl Checks {
    pub(super) fn add(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// The value that was typed, or `default` if none was or it is malformed.
    pub(super) fn value<T>(&mut self, typed: &Text, default: T) -> T
    where
        T: FromStr,
        T::Err: Display,
    {
        let Some(typed) = typed else { return default };
        match typed.get_ref().parse() {
            Ok(value) => value,
            Err(error) => {
                self.add(Problem::new(typed.span(), error.to_string()));
                default
            }
        }
    }

    fn size(&mut self, typed: &Text, default: Size, least: Size, what: &str) -> Size {
        let size = self.value(typed, default);
        let span = span(typed);
        if size < least {
            self.add(Problem::new(
                span,
                format!("{what} of {size} is too small: at least {least}"),
            ));
        } else if !size.bytes().is_multiple_of(Size::mib(1).bytes()) {
            self.add(Problem::new(span, format!("{what} must be whole MiB")));
        }
        size
    }

    fn cpus(&mut self, typed: Option<&Spanned<i64>>) -> u32 {
        let Some(typed) = typed else { return 2 };
        if let Ok(n @ 1..=64) = u32::try_from(*typed.get_ref()) {
            return n;
        }
        self.add(Problem::new(typed.span(), "cpus must be from 1 to 64"));
        2
    }

    fn mirror(&mut self, typed: &Text) -> Option<String> {
        let typed = typed.as_ref()?;
        let url = typed.get_ref();
        let good = url
            .strip_prefix("http://")
            .or_else(|| url.strip_prefix("https://"))
            .is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace));
        if !good {
            self.add(Problem::new(
                typed.span(),
                format!("{url:?} is not an http:// or https:// URL"),
            ));
        }
        Some(url.trim_end_matches('/').to_owned())
    }

    /// A word that becomes part of URLs and file names.
    fn word(&mut self, typed: &Text, default: &str) -> String {
        let Some(typed) = typed else {
            return default.to_owned();
        };
        let word = typed.get_ref();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if word.is_empty() || !word.chars().all(plain) {
            self.add(Problem::new(
                typed.span(),
                format!("{word:?} is not a code name (a-z, 0-9 and -)"),
            ));
        }
        word.clone()
    }

    /// Words for a kernel's command line, which iPXE passes on.
    fn kernel_args(&mut self, typed: &Text) -> Vec<String> {
        let Some(typed) = typed else {
            return Vec::new();
        };
        let text = typed.get_ref();
        if text.contains(char::is_control) {
            self.add(Problem::new(
                typed.span(),
                "kernel-args must be one line, without control characters",
            ));
            return Vec::new();
        }
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        for word in &words {
            if let Err(why) = protocol::kernel_arg(word) {
                self.add(Problem::new(
                    typed.span(),
                    format!("kernel-args: {word:?} {why}, which iPXE takes for its own"),
                ));
            }
        }
        words
    }

    fn finish(mut self, file: &str, text: &str) -> Result<(), ConfigError> {
        if self.problems.is_empty() {
            return Ok(());
        }
        self.problems.sort_by_key(|p| p.span.start);
        Err(ConfigError::new(file, text, self.problems))
    }
}

pub(super) fn span(typed: &Text) -> Range<usize> {
    typed.as_ref().map_or(0..0, Spanned::span)
}

impl Lab {
    /// Reads `text`, which came from `file`, for the lab called `name`. Folders
    /// that it names are not looked into.
    pub fn parse(text: &str, file: &str, name: &str, auto: Auto) -> Result<Self, ConfigError> {
        Self::parse_in(None, text, file, name, auto)
    }

    /// The same, with folders looked into that are in `project`, if that is known.
    pub fn parse_in(
        project: Option<&Path>,
        text: &str,
        file: &str,
        name: &str,
        auto: Auto,
    ) -> Result<Self, ConfigError> {
        let raw: Raw = toml::from_str(text)
            .map_err(|error| ConfigError::new(file, text, vec![from_toml(&error)]))?;
        let mut checks = Checks::default();
        let network = network::check(&mut checks, &raw.network, name, auto.backend);
        let server = Server {
            memory: checks.size(&raw.server.memory, Size::gib(1), Size::mib(512), "memory"),
            cpus: checks.cpus(raw.server.cpus.as_ref()),
            disk: checks.size(&raw.server.disk, Size::gib(8), Size::gib(3), "disk"),
            dhcp: raw.server.dhcp.unwrap_or_default(),
            uuid: identity(name, "vm/server"),
        };
        let install = Install {
            mode: raw.install.mode.unwrap_or(InstallMode::Stream),
            kernel_args: checks.kernel_args(&raw.install.kernel_args),
            unknown_machines: raw
                .server
                .unknown_machines
                .unwrap_or(UnknownMachines::Refuse),
            distribution: raw
                .distribution
                .name
                .unwrap_or_default()
                .resolve(auto.distribution),
            ubuntu: UbuntuSource {
                release: checks.word(&raw.distribution.ubuntu.release, "noble"),
                mirror: checks.mirror(&raw.distribution.ubuntu.mirror),
            },
            debian: DebianSource {
                suite: checks.word(&raw.distribution.debian.suite, "trixie"),
                mirror: checks.mirror(&raw.distribution.debian.mirror),
            },
        };
        let implied = [Spanned::new(0..0, RawTarget::example())];
        let typed = raw.target.as_deref().unwrap_or(&implied);
        let own = [network.server_mac, network.uplink_mac];
        let targets = targets(&mut checks, typed, name, own, project);
        checks.finish(file, text)?;
        Ok(Self {
            network,
            server,
            install,
            targets,
        })
    }
}

impl RawTarget {
    /// The machine of a `lab.toml` that lists none.
    fn example() -> Self {
        Self {
            packages: vec![Spanned::new(0..0, "tree".to_owned())],
            ..Self::default()
        }
    }
}

fn targets(
    checks: &mut Checks,
    typed: &[Spanned<RawTarget>],
    lab: &str,
    own: [Mac; 2],
    project: Option<&Path>,
) -> Vec<Target> {
    let mut names: HashMap<String, usize> = HashMap::new();
    let mut macs: HashMap<Mac, String> = HashMap::new();
    let mut targets = Vec::new();
    for (index, entry) in typed.iter().enumerate() {
        let raw = entry.get_ref();
        let number = index + 1;
        let at = |value: &Text| value.as_ref().map_or_else(|| entry.span(), Spanned::span);
        let name = raw
            .name
            .as_ref()
            .map_or_else(|| format!("target{number}"), |name| name.get_ref().clone());
        if let Err(why) = host_name(&name) {
            checks.add(Problem::new(
                at(&raw.name),
                format!("{name:?} can't be a host name: {why}"),
            ));
        } else if RESERVED.contains(&name.as_str()) {
            checks.add(Problem::new(
                at(&raw.name),
                format!("the name `{name}` is the lab's own"),
            ));
        } else if let Some(first) = names.insert(name.clone(), number) {
            let message =
                format!("the name `{name}` is used twice: by targets {first} and {number}");
            checks.add(Problem::new(at(&raw.name), message));
        }
        let default = mac_of([
            0x52,
            0x54,
            0x00,
            0x4c,
            0x42,
            u8::try_from(number).unwrap_or(0),
        ]);
        let typed_well = raw
            .mac
            .as_ref()
            .is_none_or(|mac| mac.get_ref().parse::<Mac>().is_ok());
        let mac = checks.value(&raw.mac, default);
        if !typed_well {
            // Said already; the default that stands in must not clash with anything.
        } else if own.contains(&mac) {
            checks.add(Problem::new(
                at(&raw.mac),
                format!("{mac} is the server's own address in this lab"),
            ));
        } else if let Some(other) = macs.insert(mac, name.clone()) {
            let message = format!("the MAC {mac} is used twice: by `{other}` and `{name}`");
            checks.add(Problem::new(at(&raw.mac), message));
        }
        targets.push(Target {
            memory: checks.size(&raw.memory, Size::gib(2), Size::mib(512), "memory"),
            cpus: checks.cpus(raw.cpus.as_ref()),
            disk: checks.size(&raw.disk, Size::gib(8), Size::gib(1), "disk"),
            boot: raw.boot.unwrap_or_default(),
            packages: packages(checks, &raw.packages),
            kernel_args: checks.kernel_args(&raw.kernel_args),
            templates: templates::check(checks, &raw.templates, project),
            extra: extra::check(checks, raw.extra.as_ref()),
            uuid: identity(lab, &format!("vm/{name}")),
            serial: format!("lab-{lab}-{name}"),
            name,
            mac,
        });
    }
    targets
}

fn packages(checks: &mut Checks, typed: &[Spanned<String>]) -> Vec<String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.:=~_/".contains(c);
    for package in typed {
        let name = package.get_ref();
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(plain) {
            checks.add(Problem::new(
                package.span(),
                format!("{name:?} is not the name of a package"),
            ));
        }
    }
    typed
        .iter()
        .map(|package| package.get_ref().clone())
        .collect()
}

/// Says why `name` is not one label of a host name, if it isn't.
pub(super) fn host_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > 63 {
        return Err("it must have 1 to 63 characters");
    }
    if !name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    {
        return Err("only a-z, 0-9 and - are allowed");
    }
    if name.starts_with('-') || name.ends_with('-') {
        return Err("no - at either end");
    }
    Ok(())
}

/// A UUID that follows from the lab's name and `what` it identifies.
pub(super) fn identity(lab: &str, what: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("lab:{lab}/{what}").as_bytes())
}

/// True if `address` can be given to a machine of a segment.
pub(super) fn usable(net: ipnet::Ipv4Net, address: Ipv4Addr) -> bool {
    net.contains(&address) && address != net.network() && address != net.broadcast()
}

/// A locally administered address that follows from `seed`, so that labs with
/// other names get other addresses, and the same lab always the same.
pub(super) fn derived_mac(seed: &str) -> Mac {
    let hash = blake3::hash(seed.as_bytes());
    let mut bytes = [0; 6];
    bytes.copy_from_slice(&hash.as_bytes()[..6]);
    // Bit 0: a group of machines; bit 1: not assigned by a maker.
    bytes[0] = (bytes[0] & !0x01) | 0x02;
    mac_of(bytes)
}

fn mac_of(bytes: [u8; 6]) -> Mac {
    let text = bytes.map(|byte| format!("{byte:02x}")).join(":");
    // Callers pass bytes of a single machine, which is all that a Mac asks for.
    text.parse().expect("six bytes of a unicast address")
}

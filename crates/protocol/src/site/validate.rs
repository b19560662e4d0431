//! Checks of a site that serde can't make.

use std::{collections::BTreeSet, net::Ipv4Addr};

use super::{Network, Site, SiteError};

impl Site {
    /// Checks every value that ends up in a script, a URL or a file name.
    pub fn validate(&self) -> Result<(), SiteError> {
        name("lab", &self.lab)?;
        self.validate_http()?;
        self.network.validate()?;
        for (i, key) in self.ssh_authorized_keys.iter().enumerate() {
            let field = format!("ssh-authorized-keys[{i}]");
            check(
                &field,
                one_printable_line(key),
                "must be one line of printable text",
            )?;
        }
        file("install.kernel", &self.install.kernel)?;
        file("install.initrd", &self.install.initrd)?;
        file("install.image.file", &self.install.image.file)?;
        check(
            "install.image.raw-size",
            self.install.image.raw_size > 0,
            "must be above 0",
        )?;
        check(
            "install.image.compressed-size",
            self.install.image.compressed_size > 0,
            "must be above 0",
        )?;
        kernel_args("install.kernel-args", &self.install.kernel_args)?;
        self.validate_machines()
    }

    fn validate_http(&self) -> Result<(), SiteError> {
        let host = self.http.strip_prefix("http://").unwrap_or_default();
        let fits = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        let why = "must be http://, a host and perhaps a port, with nothing after";
        check("http", !host.is_empty() && host.chars().all(fits), why)
    }

    fn validate_machines(&self) -> Result<(), SiteError> {
        let (mut names, mut macs) = (BTreeSet::new(), BTreeSet::new());
        for (i, machine) in self.machines.iter().enumerate() {
            let at = |field: &str| format!("machines[{i}].{field}");
            name(&at("name"), &machine.name)?;
            host_name(&at("hostname"), &machine.hostname)?;
            check(
                &at("name"),
                names.insert(&machine.name),
                "another machine has this name",
            )?;
            check(
                &at("mac"),
                macs.insert(machine.mac),
                "another machine has this address",
            )?;
            let disk = machine.disk.strip_prefix("/dev/").unwrap_or_default();
            let disk_fits = machine.disk == "auto"
                || (!disk.is_empty()
                    && !disk.contains("..")
                    && disk
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || "/-_.:".contains(c)));
            check(
                &at("disk"),
                disk_fits,
                "must be \"auto\" or a device like /dev/vda",
            )?;
            for package in &machine.packages {
                let fits = package.starts_with(|c: char| c.is_ascii_alphanumeric())
                    && package
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || "+-.:~=_/".contains(c));
                check(
                    &at("packages"),
                    fits,
                    &format!("{package:?} is not the name of a package"),
                )?;
            }
            kernel_args(&at("kernel-args"), &machine.kernel_args)?;
            for (usual, own) in &machine.templates {
                template(&at("templates"), usual)?;
                own_template(&at("templates"), own)?;
            }
        }
        Ok(())
    }
}

impl Network {
    fn validate(&self) -> Result<(), SiteError> {
        check(
            "network.prefix",
            (1..=30).contains(&self.prefix),
            "must be from 1 to 30",
        )?;
        let mask = u32::MAX << (32 - u32::from(self.prefix));
        check(
            "network.netmask",
            self.netmask.to_bits() == mask,
            "is not the mask of network.prefix",
        )?;
        let inside = |address: Ipv4Addr| (address.to_bits() ^ self.server.to_bits()) & mask == 0;
        check(
            "network.gateway",
            inside(self.gateway),
            "is not in the server's subnet",
        )?;
        host_name("network.domain", &self.domain)
    }
}

fn check(field: &str, fits: bool, why: &str) -> Result<(), SiteError> {
    if fits {
        return Ok(());
    }
    Err(SiteError::Value {
        field: field.into(),
        why: why.into(),
    })
}

fn kernel_args(field: &str, args: &[String]) -> Result<(), SiteError> {
    for (i, arg) in args.iter().enumerate() {
        kernel_arg(arg).or_else(|why| check(&format!("{field}[{i}]"), false, why))?;
    }
    Ok(())
}

/// Says why `arg` can't be a word of a kernel's command line in a script of
/// iPXE's, if it can't: iPXE expands `${…}`, ends a command at `&&`, `||` and
/// `;`, and a line at a word that begins with `#`.
pub fn kernel_arg(arg: &str) -> Result<(), &'static str> {
    let fits = one_printable_line(arg)
        && !arg.contains(char::is_whitespace)
        && arg != ";"
        && !arg.starts_with('#')
        && !["${", "&&", "||"].iter().any(|token| arg.contains(token));
    if fits {
        Ok(())
    } else {
        Err("must be one word without ${, && and ||, not ; and not begin with #")
    }
}

fn one_printable_line(text: &str) -> bool {
    !text.trim().is_empty() && !text.chars().any(char::is_control)
}

/// A name that is safe as a file name, in a URL, in a script and in DNS.
fn name(field: &str, text: &str) -> Result<(), SiteError> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let good = (1..=63).contains(&text.len())
        && text.chars().all(fits)
        && !text.starts_with('-')
        && !text.ends_with('-');
    check(
        field,
        good,
        &format!("{text:?} must be lower-case letters, digits and hyphens"),
    )
}

/// One or more [`name`]s with dots between.
fn host_name(field: &str, text: &str) -> Result<(), SiteError> {
    check(field, text.len() <= 253, "is longer than 253 characters")?;
    text.split('.').try_for_each(|label| name(field, label))
}

/// A file name without folders, safe in a URL and on a kernel's command line.
fn file(field: &str, text: &str) -> Result<(), SiteError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    let good = !text.is_empty() && text.chars().all(fits) && !text.starts_with(['.', '-']);
    check(field, good, &format!("{text:?} must be a plain file name"))
}

/// The path of one that stands in for another: also `machines/MACHINE/NAME.tera`.
fn own_template(field: &str, text: &str) -> Result<(), SiteError> {
    let Some(rest) = text.strip_prefix("machines/") else {
        return template(field, text);
    };
    let why = format!("{text:?} must be machines/MACHINE/NAME.tera");
    let parts = rest
        .strip_suffix(".tera")
        .and_then(|rest| rest.split_once('/'));
    let Some((machine, base)) = parts else {
        return check(field, false, &why);
    };
    name(field, machine)?;
    file(field, base)
}

/// A template's path in the site: `ipxe/NAME.tera` or `cloud-init/NAME.tera`.
fn template(field: &str, text: &str) -> Result<(), SiteError> {
    let why = format!("{text:?} must be ipxe/NAME.tera or cloud-init/NAME.tera");
    let base = text
        .strip_prefix("ipxe/")
        .or_else(|| text.strip_prefix("cloud-init/"))
        .and_then(|base| base.strip_suffix(".tera"));
    let Some(base) = base else {
        return check(field, false, &why);
    };
    file(field, base)
}

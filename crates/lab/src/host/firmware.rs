//! Which firmware files to use: QEMU's descriptors tell, else known places.
//! The format is described in QEMU's `docs/interop/firmware.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::model::{Arch, Firmware};

/// One descriptor, as far as it matters here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Descriptor {
    interface_types: Vec<String>,
    mapping: Mapping,
    targets: Vec<Target>,
    features: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mapping {
    device: String,
    mode: Option<String>,
    executable: Option<Image>,
    nvram_template: Option<Image>,
}

#[derive(Debug, Deserialize)]
struct Image {
    filename: PathBuf,
    format: String,
}

#[derive(Debug, Deserialize)]
struct Target {
    architecture: String,
    machines: Vec<String>,
}

/// The firmware found, and what told where it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The files.
    pub(crate) firmware: Firmware,
    /// The descriptor, or nothing if it was a known place.
    pub(crate) descriptor: Option<PathBuf>,
}

/// Firmware for `arch` without Secure Boot, whose files are there.
pub(crate) fn find(dirs: &[PathBuf], known: &[Firmware], arch: Arch) -> Option<Found> {
    let described = descriptors(dirs)
        .into_values()
        .filter_map(|path| {
            let (cost, firmware) = usable(&path, arch)?;
            Some((cost, path, firmware))
        })
        // The first of the cheapest: names are in order of preference.
        .min_by_key(|(cost, ..)| *cost)
        .map(|(_, path, firmware)| Found {
            firmware,
            descriptor: Some(path),
        });
    described.or_else(|| {
        let there = known
            .iter()
            .find(|pair| pair.code.is_file() && pair.vars.is_file())?;
        Some(Found {
            firmware: there.clone(),
            descriptor: None,
        })
    })
}

/// Descriptors by name; an earlier folder hides names in later ones.
fn descriptors(dirs: &[PathBuf]) -> BTreeMap<std::ffi::OsString, PathBuf> {
    let mut all = BTreeMap::new();
    for entry in dirs
        .iter()
        .filter_map(|dir| std::fs::read_dir(dir).ok())
        .flatten()
        .flatten()
    {
        let path = entry.path();
        if path.extension().is_some_and(|e| e == "json") {
            all.entry(entry.file_name()).or_insert(path);
        }
    }
    all
}

/// The files that the descriptor `path` names, with a cost, if they suit.
fn usable(path: &Path, arch: Arch) -> Option<(u8, Firmware)> {
    // An empty file is how a descriptor is switched off.
    let text = std::fs::read(path).ok()?;
    let descriptor: Descriptor = serde_json::from_slice(&text).ok()?;
    let has = |feature: &str| descriptor.features.iter().any(|f| f == feature);
    let machine = match arch {
        Arch::Aarch64 => "virt",
        Arch::X86_64 => "pc-q35",
    };
    let suits = descriptor.interface_types.iter().any(|t| t == "uefi")
        && descriptor.targets.iter().any(|target| {
            target.architecture == arch.as_str()
                && target.machines.iter().any(|m| m.starts_with(machine))
        })
        && descriptor.mapping.device == "flash"
        && descriptor.mapping.mode.as_deref().unwrap_or("split") == "split"
        // iPXE isn't signed, and no machine of the lab has SMM.
        && !has("enrolled-keys")
        && !has("requires-smm");
    if !suits {
        return None;
    }
    let raw = |image: Option<Image>| {
        image
            .filter(|image| image.format == "raw" && image.filename.is_file())
            .map(|image| image.filename)
    };
    let cost = u8::from(has("secure-boot"));
    let firmware = Firmware {
        code: raw(descriptor.mapping.executable)?,
        vars: raw(descriptor.mapping.nvram_template)?,
    };
    Some((cost, firmware))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        dir: tempfile::TempDir,
    }

    impl Fixture {
        fn new() -> Self {
            Self {
                dir: tempfile::tempdir().unwrap(),
            }
        }

        fn file(&self, name: &str) -> PathBuf {
            let path = self.dir.path().join(name);
            fs_err::write(&path, "firmware").unwrap();
            path
        }

        fn pair(&self, name: &str) -> Firmware {
            Firmware {
                code: self.file(&format!("{name}-code")),
                vars: self.file(&format!("{name}-vars")),
            }
        }

        /// Writes a descriptor that is like QEMU's own but for `change`.
        fn describe(
            &self,
            name: &str,
            firmware: &Firmware,
            change: impl FnOnce(&mut serde_json::Value),
        ) {
            let mut json = serde_json::json!({
                "description": "UEFI firmware",
                "interface-types": ["uefi"],
                "mapping": {
                    "device": "flash",
                    "executable": {"filename": firmware.code, "format": "raw"},
                    "nvram-template": {"filename": firmware.vars, "format": "raw"}
                },
                "targets": [{"architecture": "x86_64", "machines": ["pc-i440fx-*", "pc-q35-*"]}],
                "features": ["acpi-s3", "verbose-dynamic"],
                "tags": []
            });
            change(&mut json);
            let path = self.dir.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, json.to_string()).unwrap();
        }

        fn find(&self, dirs: &[&str], known: &[Firmware]) -> Option<Firmware> {
            let dirs: Vec<PathBuf> = dirs.iter().map(|d| self.dir.path().join(d)).collect();
            find(&dirs, known, Arch::X86_64).map(|found| found.firmware)
        }
    }

    #[test]
    fn firmware_that_would_refuse_ipxe_or_needs_another_machine_is_passed_over() {
        let f = Fixture::new();
        let (bad, secure, plain) = (f.pair("bad"), f.pair("secure"), f.pair("plain"));
        f.describe("d/10.json", &bad, |j| {
            j["features"] = serde_json::json!(["enrolled-keys", "secure-boot"]);
        });
        f.describe("d/11.json", &bad, |j| {
            j["features"] = serde_json::json!(["requires-smm", "secure-boot"]);
        });
        f.describe("d/12.json", &bad, |j| {
            j["targets"][0]["architecture"] = "aarch64".into();
        });
        f.describe("d/13.json", &bad, |j| {
            j["targets"][0]["machines"] = serde_json::json!(["pc-i440fx-*"]);
        });
        f.describe("d/14.json", &bad, |j| {
            j["mapping"]["executable"]["format"] = "qcow2".into();
        });
        f.describe("d/15.json", &bad, |j| {
            j["mapping"]["mode"] = "stateless".into();
        });
        f.describe("d/16.json", &bad, |j| {
            j["mapping"]["nvram-template"]["filename"] = "/nowhere/vars.fd".into();
        });
        f.describe("d/17.json", &bad, |j| {
            *j = serde_json::json!({"interface-types": ["bios"], "mapping": {"device": "memory"}});
        });
        fs_err::write(f.dir.path().join("d/18.json"), "{broken").unwrap();
        assert_eq!(f.find(&["d"], &[]), None);
        f.describe("d/50.json", &secure, |j| {
            j["features"] = serde_json::json!(["secure-boot"]);
        });
        assert_eq!(f.find(&["d"], &[]), Some(secure));
        f.describe("d/60.json", &plain, |_| ());
        assert_eq!(f.find(&["d"], &[]), Some(plain));
    }

    #[test]
    fn an_earlier_folder_hides_a_later_one() {
        let f = Fixture::new();
        let (system, own) = (f.pair("system"), f.pair("own"));
        f.describe("usr/60.json", &system, |_| ());
        f.describe("etc/60.json", &own, |_| ());
        assert_eq!(f.find(&["etc", "usr"], &[]), Some(own));
        fs_err::write(f.dir.path().join("etc/60.json"), "").unwrap();
        assert_eq!(f.find(&["etc", "usr"], &[]), None);
    }

    #[test]
    fn known_places_are_used_when_no_descriptor_tells_and_both_files_are_there() {
        let f = Fixture::new();
        let half = Firmware {
            code: f.file("half-code"),
            vars: f.dir.path().join("missing"),
        };
        let whole = f.pair("whole");
        assert_eq!(
            f.find(&["none"], &[half.clone(), whole.clone()]),
            Some(whole)
        );
        assert_eq!(f.find(&["none"], &[half]), None);
    }
}

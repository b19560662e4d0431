//! Whether the VMs of a lab fit into this host at once.

use std::fmt::Write as _;

use super::platform;
use crate::config::{Lab, Size};

/// What the host has for VMs.
#[derive(Debug, Clone, Copy)]
struct Capacity {
    /// Bytes of memory, if the system says.
    memory: Option<u64>,
    /// Processors.
    cores: usize,
}

/// What a user should know before the VMs of `lab` start; none if all fit.
pub fn note(lab: &Lab) -> Option<String> {
    let capacity = Capacity {
        memory: platform::current().ok()?.memory(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let text = capacity.note(lab);
    (!text.is_empty()).then_some(text)
}

impl Capacity {
    fn note(self, lab: &Lab) -> String {
        let mut text = String::new();
        let targets = lab.targets.iter().map(|target| target.memory);
        let wanted: u64 = targets
            .chain([lab.server.memory])
            .map(Size::bytes)
            .fold(0, u64::saturating_add);
        if let Some(memory) = self.memory
            && wanted > memory
        {
            let _ = writeln!(
                text,
                "note: not all machines fit: they have {} of memory together and this host has {}. \
                 Give them less in lab.toml (memory), or start some: make server, then make machine-NAME",
                gib(wanted),
                gib(memory),
            );
        }
        if lab.targets.len() > self.cores {
            let _ = writeln!(
                text,
                "note: {} targets share {} processors: `make -j{} up` installs as many at a time, \
                 more at once take as long in all",
                lab.targets.len(),
                self.cores,
                self.cores,
            );
        }
        text
    }
}

/// In GiB, with one digit after the point.
fn gib(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) >> 30;
    format!("{}.{} GiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Auto;
    use crate::host::{Backend, Distribution};

    fn lab(targets: usize) -> Lab {
        let mut text = "[server]\nmemory = \"1GiB\"\n".to_owned();
        for n in 0..targets {
            let _ = write!(
                text,
                "[[target]]\nname = \"t{n}\"\nmac = \"52:54:00:00:00:0{n}\"\nmemory = \"2GiB\"\n"
            );
        }
        let auto = Auto {
            backend: Backend::Hub,
            distribution: Distribution::Debian,
        };
        Lab::parse(&text, "lab.toml", "lab", auto).unwrap()
    }

    fn note(memory: Option<u64>, cores: usize, targets: usize) -> String {
        Capacity { memory, cores }.note(&lab(targets))
    }

    #[test]
    fn what_fits_is_not_spoken_of() {
        assert_eq!(note(Some(5 << 30), 2, 2), "");
        assert_eq!(note(None, 2, 2), "");
    }

    #[test]
    fn too_much_memory_is_said_with_both_sizes() {
        let text = note(Some((5 << 30) - 1), 2, 2);
        assert!(text.contains("they have 5.0 GiB"), "{text}");
        assert!(text.contains("this host has 4.9 GiB"), "{text}");
    }

    #[test]
    fn more_targets_than_processors_are_said() {
        let text = note(None, 2, 3);
        assert!(text.contains("3 targets share 2 processors"), "{text}");
    }
}

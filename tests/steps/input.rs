//! Input that is wrong gets an error that says what, where, and what to do.

use e2e::Checkout;

/// What is edited, and what must be said of it.
struct Broken {
    file: &'static str,
    old: &'static str,
    new: &'static str,
    said: &'static [&'static str],
}

const CASES: &[Broken] = &[
    Broken {
        file: "lab.toml",
        old: "memory = \"2GiB\"",
        new: "memorry = \"2GiB\"",
        said: &["lab.toml", "memorry", "memory"],
    },
    Broken {
        file: "lab.toml",
        old: "server = \"192.168.105.1\"",
        new: "server = \"192.168.106.1\"",
        said: &["lab.toml", "192.168.106.1", "192.168.105.0/24"],
    },
    Broken {
        file: "lab.toml",
        old: "packages = [\"tree\"]",
        new: "packages = []\n[[target]]\nname = \"twin\"\nmac = \"52:54:00:4c:42:01\"",
        said: &["lab.toml", "52:54:00:4c:42:01", "target1"],
    },
    Broken {
        file: "tasks/targets.toml",
        old: "[task.site]\ndoc =",
        new: "[task.site]\ndocc =",
        said: &["tasks/targets.toml", "docc", "doc"],
    },
    Broken {
        file: "cloud-init/server/meta-data.tera",
        old: "network.lab",
        new: "network.labb",
        said: &["cloud-init/server/meta-data.tera", "labb"],
    },
];

pub(crate) fn broken_input(checkout: &Checkout) -> anyhow::Result<()> {
    for case in CASES {
        checkout.with_edit(case.file, case.old, case.new, |checkout| {
            checkout
                .make(&["up"])?
                .fails_with(case.said)?
                .keeps_quiet_about(&["panicked"])
        })?;
    }
    Ok(())
}

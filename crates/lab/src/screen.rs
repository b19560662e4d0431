//! `lab screen`: what a target's display shows, as a picture.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use crate::config::Resolved;
use crate::state::{LabArgs, LabPaths};
use crate::vm::State;
use crate::vm::qmp::Qmp;

/// Options of `lab screen`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    lab: LabArgs,
    /// The target's name.
    vm: String,
}

/// Writes the picture and says where it is.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let lab = args.lab.paths()?;
    Resolved::new(lab.config()).machine(&args.vm)?;
    dump(&lab, &args.vm)?;
    crate::status::print(&format!("{}\n", lab.vm(&args.vm).screen().display()))
}

/// Writes `screen.png` into the target's folder.
pub fn dump(lab: &LabPaths, name: &str) -> anyhow::Result<()> {
    anyhow::ensure!(
        name != "server",
        "the server has no display; its console: make console VM=server"
    );
    let vm = lab.vm(name);
    anyhow::ensure!(
        matches!(State::of(&vm)?, State::Running(_)),
        "{name} does not run; `make up` starts it"
    );
    let mut qmp = Qmp::connect(&vm.qmp(), Duration::from_secs(10))?;
    // QEMU works in the VM's folder.
    qmp.execute(
        "screendump",
        json!({ "filename": "screen.png", "format": "png" }),
    )
    .with_context(|| {
        format!(
            "{name} has no picture to give (a QEMU without PNG, or a machine that was started before it had a display)"
        )
    })
    .map(drop)
}

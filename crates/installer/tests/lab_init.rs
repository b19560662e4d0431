//! The script that starts the installer, as far as a shell can judge it.

use std::process::Command;

#[test]
fn every_shell_that_an_initramfs_has_can_parse_it() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/lab-init.sh");
    for shell in ["sh", "dash", "bash"] {
        match Command::new(shell).args(["-n", script]).output() {
            Ok(out) => assert!(
                out.status.success() && out.stderr.is_empty(),
                "{shell}: {out:?}"
            ),
            Err(error) => assert!(shell != "sh", "{error}"),
        }
    }
}

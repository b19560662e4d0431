//! What builds the programs that run in the guests, tried by building one.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::model::{Arch, Build, Os};
use super::platform::Platform;

/// A Rust compiler on this machine.
#[derive(Debug, Clone)]
struct Compiler {
    rustc: PathBuf,
    version: String,
    host: String,
    sysroot: PathBuf,
}

/// A way to build for a guest, and how it was proven.
#[derive(Debug)]
pub(crate) struct Found {
    /// The way.
    pub(crate) build: Build,
    /// In a few words.
    pub(crate) how: &'static str,
}

/// The first way that builds a static program for `guest`, or what was
/// tried, a line each.
pub(crate) fn find(platform: &dyn Platform, host: Arch, guest: Arch) -> Result<Found, Vec<String>> {
    let compilers = compilers(platform);
    if compilers.is_empty() {
        return Err(vec!["no rustc".to_owned()]);
    }
    let native = platform.os() == Os::Linux && host == guest;
    let mut tried = Vec::new();
    for compiler in &compilers {
        for (target, linkers) in routes(platform, host, guest, compiler) {
            if !has_std(compiler, &target) {
                tried.push(format!(
                    "{} has no standard library for {target}",
                    compiler.rustc.display()
                ));
                continue;
            }
            if linkers.is_empty() {
                tried.push(format!("nothing links for {target}"));
            }
            for linker in linkers {
                let Some(cargo) = cargo(platform, &compilers, compiler) else {
                    tried.push("no cargo".to_owned());
                    continue;
                };
                let build = Build {
                    cargo,
                    rustflags: flags(&target, &linker),
                    target: target.clone(),
                    rustc: compiler.rustc.clone(),
                    version: compiler.version.clone(),
                    linker,
                };
                match try_out(&build, native) {
                    Ok(how) => return Ok(Found { build, how }),
                    Err(why) => tried.push(format!(
                        "{} with {} for {target}: {why}",
                        compiler.rustc.display(),
                        build.linker.display()
                    )),
                }
            }
        }
    }
    Err(tried)
}

/// The targets that `compiler` might build for, with what might link each.
fn routes(
    platform: &dyn Platform,
    host: Arch,
    guest: Arch,
    compiler: &Compiler,
) -> [(String, Vec<PathBuf>); 2] {
    let lld = compiler
        .sysroot
        .join("lib/rustlib")
        .join(&compiler.host)
        .join("bin/rust-lld");
    let musl = Some(lld)
        .filter(|lld| lld.is_file())
        .into_iter()
        .chain(platform.program(&format!("{guest}-linux-musl-gcc")));
    let gnu = platform.c_linkers(host, guest);
    let gnu = gnu.iter().filter_map(|name| platform.program(name));
    [
        (format!("{guest}-unknown-linux-musl"), musl.collect()),
        (format!("{guest}-unknown-linux-gnu"), gnu.collect()),
    ]
}

fn flags(target: &str, linker: &Path) -> String {
    let mut flags = format!("-Clinker={} -Ctarget-feature=+crt-static", linker.display());
    if target.ends_with("musl") && linker.ends_with("rust-lld") {
        // No C compiler takes part: rustc brings the start files too.
        flags.push_str(" -Clink-self-contained=yes");
    }
    flags
}

/// Every rustc here. The one that rustup stands in front of is named itself:
/// it works without rustup's settings, which a task does not see.
fn compilers(platform: &dyn Platform) -> Vec<Compiler> {
    let mut all: Vec<Compiler> = Vec::new();
    let mut dirs = platform.program_dirs();
    dirs.dedup();
    for dir in dirs {
        for rustc in rustcs(&dir) {
            let Some(compiler) = describe(&rustc) else {
                continue;
            };
            if !all.iter().any(|known| known.rustc == compiler.rustc) {
                all.push(compiler);
            }
        }
    }
    all
}

/// `rustc` in `dir`, then `rustc-1.89` and the like, newest first.
fn rustcs(dir: &Path) -> Vec<PathBuf> {
    let mut numbered: Vec<(u32, PathBuf)> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let minor = path.file_name()?.to_str()?.strip_prefix("rustc-1.")?;
            Some((minor.parse().ok()?, path))
        })
        .collect();
    numbered.sort_by(|a, b| b.cmp(a));
    let plain = Some(dir.join("rustc")).filter(|path| path.is_file());
    plain
        .into_iter()
        .chain(numbered.into_iter().map(|(_, path)| path))
        .collect()
}

fn describe(rustc: &Path) -> Option<Compiler> {
    let verbose = output(Command::new(rustc).arg("-vV"))?;
    let sysroot = PathBuf::from(output(Command::new(rustc).args(["--print", "sysroot"]))?.trim());
    let behind_proxy = sysroot.join("bin/rustc");
    Some(Compiler {
        rustc: if behind_proxy.is_file() {
            behind_proxy
        } else {
            rustc.to_owned()
        },
        version: verbose.lines().next()?.to_owned(),
        host: verbose
            .lines()
            .find_map(|line| line.strip_prefix("host: "))?
            .to_owned(),
        sysroot,
    })
}

/// The cargo that came with `compiler`, else with another, else any.
fn cargo(platform: &dyn Platform, all: &[Compiler], compiler: &Compiler) -> Option<PathBuf> {
    std::iter::once(compiler)
        .chain(all)
        .map(|compiler| compiler.sysroot.join("bin/cargo"))
        .find(|cargo| cargo.is_file())
        .or_else(|| platform.program("cargo"))
}

fn has_std(compiler: &Compiler, target: &str) -> bool {
    output(Command::new(&compiler.rustc).args(["--print", "target-libdir", "--target", target]))
        .is_some_and(|dir| {
            std::fs::read_dir(dir.trim()).is_ok_and(|entries| {
                entries
                    .flatten()
                    .any(|e| e.file_name().to_string_lossy().starts_with("libstd-"))
            })
        })
}

/// Builds a program; runs it too where this machine can.
fn try_out(build: &Build, native: bool) -> Result<&'static str, String> {
    let dir = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let (source, program) = (dir.path().join("try.rs"), dir.path().join("try"));
    std::fs::write(&source, "fn main() { println!(\"it runs\"); }\n")
        .map_err(|error| format!("cannot write {}: {error}", source.display()))?;
    let outcome = Command::new(&build.rustc)
        .args(["--edition", "2021", "--target", &build.target])
        .args(build.rustflags.split(' '))
        .arg("-o")
        .args([&program, &source])
        .output()
        .map_err(|error| format!("did not start: {error}"))?;
    if !outcome.status.success() {
        let text = String::from_utf8_lossy(&outcome.stderr);
        let line = text.lines().find(|line| line.starts_with("error"));
        return Err(line.unwrap_or("it failed").to_owned());
    }
    if !native {
        return Ok("built a program");
    }
    match output(&mut Command::new(&program)).as_deref() {
        Some("it runs\n") => Ok("built and ran a program"),
        _ => Err("what it built does not run".to_owned()),
    }
}

/// Standard output of a command that succeeds.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::platform::{Linux, current_arch};

    /// Runs against the compiler that builds this test.
    #[test]
    #[cfg(target_os = "linux")]
    fn this_machines_compiler_builds_for_itself() {
        let path = std::env::var_os("PATH").unwrap();
        let linux = Linux::new(Path::new("/"), std::env::split_paths(&path).collect());
        let arch = current_arch().unwrap();
        let found = find(&linux, arch, arch).unwrap();
        assert_eq!(found.how, "built and ran a program");
        assert!(found.build.target.starts_with(arch.as_str()));
        assert!(found.build.cargo.is_file());
    }

    #[test]
    fn without_a_compiler_it_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let linux = Linux::new(dir.path(), vec![]);
        let tried = find(&linux, Arch::X86_64, Arch::Aarch64).unwrap_err();
        assert_eq!(tried, ["no rustc"]);
    }

    #[test]
    fn a_compiler_without_the_guests_library_is_named() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let rustc = dir.path().join("bin/rustc");
        fs_err::create_dir_all(rustc.parent().unwrap()).unwrap();
        let script = "#!/bin/sh\ncase $1 in -vV) printf 'rustc 1.90.0\\nhost: x-y\\n';; *) echo /nowhere;; esac\n";
        fs_err::write(&rustc, script).unwrap();
        fs_err::set_permissions(&rustc, std::fs::Permissions::from_mode(0o755)).unwrap();
        let linux = Linux::new(dir.path(), vec![dir.path().join("bin")]);
        let tried = find(&linux, Arch::X86_64, Arch::Aarch64).unwrap_err();
        assert_eq!(tried.len(), 2);
        for (line, target) in tried.iter().zip(["musl", "gnu"]) {
            let end = format!("has no standard library for aarch64-unknown-linux-{target}");
            assert!(line.ends_with(&end), "{line}");
        }
    }

    #[test]
    fn numbered_compilers_are_tried_newest_first() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["rustc-1.9", "rustc-1.89", "rustc", "rustc-1.80", "rustc-x"] {
            fs_err::write(dir.path().join(name), "").unwrap();
        }
        let names: Vec<_> = rustcs(dir.path())
            .iter()
            .map(|p| p.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["rustc", "rustc-1.89", "rustc-1.80", "rustc-1.9"]);
    }
}

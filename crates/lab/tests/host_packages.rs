//! `scripts/host-packages` on hosts made of small scripts: which command it
//! prints, what it runs, and how it stops.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What a package, when installed by the fake apt or brew, brings.
const CATALOGUE: &str = r#"
provide() {
    for file in "$@"; do
        mkdir -p "$HOST_ROOT/$(dirname "$file")"
        printf '#!/bin/sh\n' >"$HOST_ROOT/$file"
        chmod +x "$HOST_ROOT/$file"
    done
}
rust() {
    provide bin/cargo
    printf '#!/bin/sh\ncase $* in *sysroot*) echo %s;; *) echo "rustc 1.96.0 (x)";; esac\n' \
        "$HOST_ROOT/usr" >"$HOST_ROOT/bin/rustc"
    chmod +x "$HOST_ROOT/bin/rustc"
}
rustup() {
    cat >"$HOST_ROOT/bin/rustup" <<'END'
#!/bin/sh
echo "rustup $*" >>"$HOST_ROOT/log"
[ ! -e "$HOST_ROOT/offline" ] || exit 1
case $1 in default) . "$HOST_ROOT/catalogue"; rust;; esac
case $1 in target) for t in aarch64 x86_64; do mkdir -p "$HOST_ROOT/usr/lib/rustlib/$t-unknown-linux-musl/lib"; done;; esac
END
    chmod +x "$HOST_ROOT/bin/rustup"
}
unpack() {
    case $1 in
        qemu-system-arm) provide bin/qemu-system-aarch64 ;;
        qemu-system-x86) provide bin/qemu-system-x86_64 ;;
        qemu-utils) provide bin/qemu-img ;;
        qemu) provide bin/qemu-system-aarch64 bin/qemu-system-x86_64 bin/qemu-img ;;
        qemu-efi-aarch64) provide usr/share/AAVMF/AAVMF_CODE.fd ;;
        ovmf) provide usr/share/OVMF/OVMF_CODE_4M.fd ;;
        qemu-user-static) provide bin/qemu-aarch64-static bin/qemu-x86_64-static ;;
        bubblewrap) provide bin/bwrap ;;
        e2fsprogs) provide bin/mke2fs ;;
        openssh-client) provide bin/ssh ;;
        uidmap) provide bin/newuidmap ;;
        debian-archive-keyring) provide usr/share/keyrings/debian-archive-keyring.gpg ;;
        gcc) provide bin/cc ;;
        rustup) rustup ;;
        cargo-web | cargo-1.*) rust ;;
        libstd-rust-web-dev:arm64) mkdir -p "$HOST_ROOT/usr/lib/rustlib/aarch64-unknown-linux-gnu/lib" ;;
        libc6-dev:arm64) provide usr/lib/aarch64-linux-gnu/libc.a ;;
        gcc-aarch64-linux-gnu) provide bin/aarch64-linux-gnu-gcc ;;
        mmdebstrap | mount | zstd) provide "bin/$1" ;;
    esac
}
"#;

/// Logs, and installs what is named.
const INSTALLER: &str = r#"#!/bin/sh
case $* in
    indextargets*) cat "$HOST_ROOT/sources" 2>/dev/null; exit 0 ;;
    'update --print-uris') cat "$HOST_ROOT/uris" 2>/dev/null; exit 0 ;;
esac
echo "$(basename "$0") $*" >>"$HOST_ROOT/log"
[ ! -e "$HOST_ROOT/broken" ] || { echo 'E: it broke' >&2; exit 100; }
. "$HOST_ROOT/catalogue"
[ "$1" != install ] || for package in "$@"; do unpack "$package"; done
"#;

struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    /// A machine with a C compiler and nothing else that matters.
    fn new(os: &str, machine: &str) -> Self {
        let host = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs_err::create_dir_all(host.path("bin")).unwrap();
        fs_err::create_dir_all(host.path("etc/apt/sources.list.d")).unwrap();
        for tool in [
            "sh", "sed", "grep", "awk", "sort", "head", "tail", "tr", "cat", "mkdir", "chmod",
            "dirname", "basename",
        ] {
            let real = ["/bin", "/usr/bin"]
                .map(|dir| Path::new(dir).join(tool))
                .into_iter()
                .find(|path| path.exists())
                .unwrap();
            fs_err::os::unix::fs::symlink(real, host.path("bin").join(tool)).unwrap();
        }
        fs_err::write(host.path("catalogue"), CATALOGUE).unwrap();
        let uname = format!("#!/bin/sh\ncase $1 in -s) echo {os};; *) echo {machine};; esac\n");
        host.program("uname", &uname);
        host.user(0);
        host.program("cc", "#!/bin/sh\n");
        host.program("xcode-select", "#!/bin/sh\n");
        host
    }

    /// Debian 12 with an archive that has these packages.
    fn debian(archive: &str) -> Self {
        Self::linux("debian", "bookworm", archive)
    }

    fn linux(id: &str, codename: &str, archive: &str) -> Self {
        let host = Self::new("Linux", "x86_64");
        let sources = format!(
            "http://mirror.test/{id}-security/ {codename}-security main\n\
             http://mirror.test/{id}/ {codename} main\n"
        );
        fs_err::write(host.path("sources"), sources).unwrap();
        let release = format!("ID={id}\nVERSION_CODENAME={codename}\n");
        fs_err::write(host.path("etc/os-release"), release).unwrap();
        host.program("apt-get", INSTALLER);
        let cache = format!(
            "#!/bin/sh\ncase $1 in\n\
             show) for p in {archive}; do [ \"$p\" != \"$2\" ] || exit 0; done; exit 100;;\n\
             search) for p in {archive}; do echo \"$p - a package\"; done;;\nesac\n"
        );
        host.program("apt-cache", &cache);
        host.program(
            "dpkg",
            "#!/bin/sh\ncase $1 in --print-foreign-architectures) exit 0;; esac\n\
             echo \"dpkg $*\" >>\"$HOST_ROOT/log\"\n",
        );
        host.program(
            "dpkg-query",
            "#!/bin/sh\ncat \"$HOST_ROOT/status\" 2>/dev/null\n",
        );
        host
    }

    fn mac() -> Self {
        let host = Self::new("Darwin", "arm64");
        host.user(501);
        host.program("brew", INSTALLER);
        host
    }

    fn user(&self, id: u32) {
        self.program("id", &format!("#!/bin/sh\necho {id}\n"));
    }

    /// A sudo that does what it is told, if `works`.
    fn sudo(&self, works: bool) {
        let body = if works {
            "[ \"$1\" != -n ] || shift\necho sudo >>\"$HOST_ROOT/log\"\n\"$@\""
        } else {
            "echo 'a password is required' >&2; exit 1"
        };
        self.program("sudo", &format!("#!/bin/sh\n{body}\n"));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.path("bin").join(name);
        fs_err::write(&path, text).unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Puts what these packages bring where it belongs.
    fn with(self, packages: &str) -> Self {
        let script = ". \"$HOST_ROOT/catalogue\"; for p in $0; do unpack $p; done";
        let status = self
            .command("/bin/sh")
            .args(["-c", script, packages])
            .status()
            .unwrap();
        assert!(status.success());
        self
    }

    fn with_rustup(self) -> Self {
        self.with("cargo-web rustup")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("HOME", self.path("home"))
            .env("HOST_ROOT", self.dir.path())
            .stdin(std::process::Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/host-packages");
        self.command("/bin/sh")
            .arg(script)
            .args(args)
            .output()
            .unwrap()
    }

    /// What `--print` says, without this test's folder.
    fn print(&self) -> String {
        let output = self.run(&["--print"]);
        assert!(output.status.success(), "{output:?}");
        assert!(!self.path("log").exists(), "--print must run nothing");
        self.clean(&output.stdout)
    }

    fn clean(&self, bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).replace(&self.dir.path().display().to_string(), "")
    }

    fn log(&self) -> String {
        self.clean(&fs_err::read(self.path("log")).unwrap_or_default())
    }

    /// Runs it, expects success, and expects that nothing is missing then.
    fn install(&self) -> Output {
        let output = self.run(&[]);
        assert!(output.status.success(), "{}", self.clean(&output.stderr));
        let check = self.run(&["--check"]);
        assert!(check.status.success(), "{}", self.clean(&check.stdout));
        fs_err::remove_file(self.path("log")).unwrap();
        assert!(self.run(&[]).status.success());
        assert_eq!(self.log(), "", "the second time nothing runs");
        output
    }
}

const DEBIAN: &str = "rustc-web cargo-web";
const ALL_BUT_RUST: &str = "qemu-system-arm qemu-system-x86 qemu-utils qemu-efi-aarch64 ovmf \
    qemu-user-static bubblewrap e2fsprogs openssh-client debian-archive-keyring mmdebstrap mount zstd";

#[test]
fn an_empty_debian_gets_everything_as_root() {
    let host = Host::debian(DEBIAN);
    insta::assert_snapshot!("an_empty_debian", host.print());
    host.install();
}

#[test]
fn check_names_what_is_missing_and_changes_nothing() {
    let host = Host::debian(DEBIAN).with(ALL_BUT_RUST);
    let output = host.run(&["--check"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        host.clean(&output.stdout),
        "Rust 1.88\nRust libraries for the guests (rustup target add \
         aarch64-unknown-linux-musl x86_64-unknown-linux-musl)\n"
    );
    assert_eq!(host.log(), "");
}

#[test]
fn a_rust_that_is_too_old_is_missing() {
    let host = Host::debian(DEBIAN).with(ALL_BUT_RUST).with_rustup();
    host.program(
        "rustc",
        "#!/bin/sh\ncase $* in *sysroot*) echo /x;; *) echo 'rustc 1.63.0';; esac\n",
    );
    let print = host.print();
    assert!(
        print.starts_with("rustup default stable && rustup target add"),
        "{print}"
    );
}

#[test]
fn rustup_that_can_download_needs_no_package() {
    let host = Host::debian(DEBIAN).with(ALL_BUT_RUST).with_rustup();
    host.user(1000);
    let host = host.with("uidmap");
    assert_eq!(
        host.print(),
        "rustup target add aarch64-unknown-linux-musl x86_64-unknown-linux-musl\n"
    );
    host.install();
}

#[test]
fn rustup_that_can_not_download_gives_way_to_packages() {
    let host = Host::debian(DEBIAN).with(ALL_BUT_RUST).with_rustup();
    fs_err::write(host.path("offline"), "").unwrap();
    let output = host.run(&[]);
    let stderr = host.clean(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("taking packages instead"), "{stderr}");
    insta::assert_snapshot!("packages_instead_of_rustup", host.log());
}

#[test]
fn qemu_from_backports_is_completed_from_backports() {
    let host = Host::linux("debian", "trixie", DEBIAN).with(ALL_BUT_RUST);
    let host =
        host.with("cargo-web libstd-rust-web-dev:arm64 libc6-dev:arm64 gcc-aarch64-linux-gnu");
    fs_err::remove_file(host.path("bin/qemu-system-x86_64")).unwrap();
    insta::assert_snapshot!("no_backports_here", host.print());
    let status = "install ok installed 1:11.0+ds-2~bpo13+1\n";
    fs_err::write(host.path("status"), status).unwrap();
    insta::assert_snapshot!("backports_are_added", host.print());
    let sources = fs_err::read_to_string(host.path("sources")).unwrap();
    let with = format!("{sources}http://mirror.test/debian/ trixie-backports main\n");
    fs_err::write(host.path("sources"), with).unwrap();
    insta::assert_snapshot!("backports_are_there", host.print());

    fs_err::write(host.path("sources"), sources).unwrap();
    host.install();
    let list = fs_err::read_to_string(host.path("etc/apt/sources.list.d/lab-backports.list"));
    assert!(
        list.unwrap()
            .ends_with("http://mirror.test/debian/ trixie-backports main\n")
    );
}

#[test]
fn before_apts_first_update_its_sources_are_known_as_well() {
    let host = Host::debian(DEBIAN);
    let known = host.print();
    fs_err::remove_file(host.path("sources")).unwrap();
    let uris = "Get more\n\
        'http://mirror.test/debian-security/dists/bookworm-security/InRelease' a_InRelease 0 \n\
        'http://mirror.test/debian/dists/bookworm/InRelease' b_InRelease 0 \n";
    fs_err::write(host.path("uris"), uris).unwrap();
    let unknown = host.print();
    assert!(unknown.contains("mirror.test/debian bookworm-backports main"));
    assert_eq!(unknown.replace("test/debian ", "test/debian/ "), known);
}

#[test]
fn without_a_mirror_in_apts_sources_there_are_no_backports() {
    let host = Host::debian(DEBIAN);
    assert!(
        host.print()
            .contains("-t bookworm-backports qemu-system-arm")
    );
    fs_err::write(host.path("sources"), "cdrom:[x]/ bookworm contrib\n").unwrap();
    assert!(!host.print().contains("backports"));
}

#[test]
fn a_user_goes_through_sudo() {
    let host = Host::debian(DEBIAN).with(ALL_BUT_RUST).with_rustup();
    host.user(1000);
    host.sudo(true);
    fs_err::remove_file(host.path("bin/zstd")).unwrap();
    insta::assert_snapshot!("through_sudo", host.print());
    host.install();
}

#[test]
fn without_root_or_sudo_it_stops_with_the_command() {
    let host = Host::debian(DEBIAN).with(ALL_BUT_RUST);
    host.user(1000);
    for sudo in [None, Some(false)] {
        if let Some(works) = sudo {
            host.sudo(works);
        }
        let output = host.run(&[]);
        let stderr = host.clean(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{stderr}");
        assert!(stderr.contains("sudo sh -c \""), "{stderr}");
        assert!(stderr.contains("uidmap"), "{stderr}");
        assert!(stderr.contains("run that as root"), "{stderr}");
        assert_eq!(host.log(), "");
    }
}

#[test]
fn a_command_that_fails_or_does_not_help_is_told() {
    let host = Host::debian(DEBIAN);
    fs_err::write(host.path("broken"), "").unwrap();
    let output = host.run(&[]);
    let stderr = host.clean(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("E: it broke") && stderr.contains("command above failed"),
        "{stderr}"
    );

    fs_err::remove_file(host.path("broken")).unwrap();
    fs_err::write(host.path("catalogue"), "unpack() { :; }\n").unwrap();
    let output = host.run(&[]);
    let stderr = host.clean(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("still missing: qemu-system-aarch64, "),
        "{stderr}"
    );
}

#[test]
fn ubuntu_takes_rustup_or_else_its_newest_compiler_and_nothing_for_debian_images() {
    let new = Host::linux("ubuntu", "noble", "rustup cargo-1.80 cargo-1.89");
    insta::assert_snapshot!("ubuntu_with_rustup", new.print());
    new.install();
    let old = Host::linux("ubuntu", "jammy", "cargo-1.80 cargo-1.89 cargo-1.100");
    insta::assert_snapshot!("ubuntu_without_rustup", old.print());
}

#[test]
fn a_mac_gets_qemu_and_rustup_from_homebrew() {
    let host = Host::mac();
    insta::assert_snapshot!("an_empty_mac", host.print());
    let output = host.install();
    assert_eq!(output.stdout, b"", "all that is said is for people");

    let bare = Host::mac();
    fs_err::remove_file(bare.path("bin/brew")).unwrap();
    let output = bare.run(&[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(bare.clean(&output.stderr).contains("Homebrew is not here"));
}

#[test]
fn other_systems_and_wrong_usage_are_refused() {
    assert_eq!(
        Host::new("FreeBSD", "amd64").run(&[]).status.code(),
        Some(3)
    );
    assert_eq!(
        Host::new("Linux", "riscv64").run(&[]).status.code(),
        Some(3)
    );
    assert_eq!(Host::mac().run(&["--what"]).status.code(), Some(2));
}

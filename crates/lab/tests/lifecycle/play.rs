//! A lab in which the test plays the machine: a real bootd, a paused QEMU for
//! a body, and a script that stands in for ssh.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bootd::app::App;
use bootd::render::Asked;
use lab::vm::{Record, State};
use protocol::{EventReport, Mac, Progress, Stage};

use crate::bench::{Bench, until};

/// A lab whose server is a paused QEMU with a real bootd beside it.
pub(crate) struct Play {
    pub(crate) bench: Bench,
    pub(crate) app: Arc<App>,
    pub(crate) mac: Mac,
}

impl Play {
    pub(crate) fn new() -> Self {
        let bench = Bench::new();
        bench.start().unwrap();
        site(&bench.path("site"));
        let mac = "52:54:00:4c:42:01".parse().unwrap();
        let app = serve(&bench, "state");
        // Asks are noted; an order to bootd waits until the test has played it.
        bench.script(
            "bin/ssh",
            "case \"$*\" in *journalctl*) cat logs 2>/dev/null || exit 255;; *reprovision*) touch asked; while [ ! -e done ]; do sleep 0.02; done;; *) exit 255;; esac",
        );
        Self { bench, app, mac }
    }

    /// A bootd that knows nothing, as on a server that was made anew.
    pub(crate) fn forget(&mut self) {
        self.app = serve(&self.bench, "state-2");
    }

    pub(crate) fn lab(&self, words: &[&str]) -> Child {
        let path = std::env::var("PATH").unwrap();
        Command::new(env!("CARGO_BIN_EXE_lab"))
            .args(words)
            .arg("--labs")
            .arg(self.bench.path("labs"))
            .arg("--host")
            .arg(self.bench.path("host.toml"))
            .env(
                "PATH",
                format!("{}:{path}", self.bench.path("bin").display()),
            )
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    pub(crate) fn up(&self) -> Child {
        self.lab(&["target", "up", "target1"])
    }

    /// Waits until the target's QEMU runs.
    pub(crate) fn body(&self) -> Record {
        let vm = self.bench.lab.vm("target1");
        until("the start of the target", || {
            matches!(State::of(&vm), Ok(State::Running(_)))
        });
        self.bench.running("target1")
    }

    pub(crate) fn script(&self) {
        self.app.script(self.mac, Asked::default()).unwrap();
    }

    pub(crate) fn report(&self, token: &str, stage: Stage, change: impl FnOnce(&mut EventReport)) {
        let mut report = EventReport {
            mac: self.mac,
            token: token.to_owned(),
            stage,
            message: None,
            progress: None,
            detail: None,
        };
        change(&mut report);
        self.app.report(report).unwrap();
    }

    /// All that a machine does from its script to its report.
    pub(crate) fn install(&self) -> String {
        self.install_until(Stage::Ready)
    }

    /// The same, up to `last`.
    pub(crate) fn install_until(&self, last: Stage) -> String {
        self.script();
        let token = self.app.plan(self.mac).unwrap().token;
        for done in [0, 500, 1000] {
            self.report(&token, Stage::Streaming, |report| {
                report.progress = Some(Progress {
                    done,
                    total: Some(1000),
                });
            });
        }
        for stage in [
            Stage::Verified,
            Stage::Seeded,
            Stage::Rebooting,
            Stage::Booted,
            Stage::Ready,
        ] {
            if stage <= last {
                self.report(&token, stage, |_| ());
            }
        }
        token
    }

    /// Carries out the order that `lab` gives by ssh.
    pub(crate) fn reprovision(&self) {
        let folder = self.bench.server().dir().to_owned();
        until("an order to reprovision", || folder.join("asked").exists());
        self.app.reprovision(self.mac).unwrap();
        fs_err::write(folder.join("done"), "").unwrap();
    }
}

/// Serves a bootd and makes the server's record lead to it.
fn serve(bench: &Bench, state: &str) -> Arc<App> {
    let app = Arc::new(App::open(&bench.path("site"), &bench.path(state)).unwrap());
    let router = bootd::http::machines_router(Arc::clone(&app));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _ = runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            bootd::http::serve(listener, router).await
        });
    });
    let mut record = bench.running("server");
    record.forwards.as_mut().unwrap().http = port;
    record.write(&bench.server()).unwrap();
    app
}

fn site(folder: &Path) {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (from, to) in [("ipxe", "ipxe"), ("cloud-init/target", "cloud-init")] {
        fs_err::create_dir_all(folder.join(to)).unwrap();
        for entry in fs_err::read_dir(repository.join(from)).unwrap() {
            let entry = entry.unwrap();
            fs_err::copy(entry.path(), folder.join(to).join(entry.file_name())).unwrap();
        }
    }
    let json = serde_json::json!({
        "lab": "lab",
        "http": "http://192.168.105.1",
        "network": {
            "server": "192.168.105.1", "prefix": 24, "netmask": "255.255.255.0",
            "gateway": "192.168.105.1", "dns": ["192.168.105.1"], "domain": "lab.test"
        },
        "ssh-authorized-keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 lab"],
        "unknown-machines": "refuse",
        "install": {
            "mode": "stream", "kernel": "vmlinuz", "initrd": "initrd.img",
            "image": {
                "file": "target.raw.zst", "compressed-size": 1000, "raw-size": 2000,
                "digest": format!("blake3:{}", "0a".repeat(32))
            }
        },
        "machines": [{"name": "target1", "mac": "52:54:00:4c:42:01", "hostname": "target1"}]
    });
    fs_err::write(folder.join("site.json"), json.to_string()).unwrap();
}

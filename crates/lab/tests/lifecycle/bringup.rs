//! `lab target up` and `lab reprovision` against the real bootd; the test
//! plays the machine, a paused QEMU its body, and a script stands in for ssh.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bootd::app::App;
use bootd::render::Asked;
use lab::vm::{Record, State};
use protocol::{EventReport, Mac, Progress, Stage};

use crate::bench::{Bench, until};

/// A lab whose server is a paused QEMU with a real bootd beside it.
struct Play {
    bench: Bench,
    app: Arc<App>,
    mac: Mac,
}

impl Play {
    fn new() -> Self {
        let bench = Bench::new();
        bench.start().unwrap();
        site(&bench.path("site"));
        let mac = "52:54:00:4c:42:01".parse().unwrap();
        let app = serve(&bench, "state");
        // Asks are noted; an order to bootd waits until the test has played it.
        bench.script(
            "bin/ssh",
            "case \"$*\" in *reprovision*) touch asked; while [ ! -e done ]; do sleep 0.02; done;; *) exit 255;; esac",
        );
        Self { bench, app, mac }
    }

    /// A bootd that knows nothing, as on a server that was made anew.
    fn forget(&mut self) {
        self.app = serve(&self.bench, "state-2");
    }

    fn lab(&self, words: &[&str]) -> Child {
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

    fn up(&self) -> Child {
        self.lab(&["target", "up", "target1"])
    }

    /// Waits until the target's QEMU runs.
    fn body(&self) -> Record {
        let vm = self.bench.lab.vm("target1");
        until("the start of the target", || {
            matches!(State::of(&vm), Ok(State::Running(_)))
        });
        self.bench.running("target1")
    }

    fn script(&self) {
        self.app.script(self.mac, Asked::default()).unwrap();
    }

    fn report(&self, token: &str, stage: Stage, change: impl FnOnce(&mut EventReport)) {
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
    fn install(&self) -> String {
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
            self.report(&token, stage, |_| ());
        }
        token
    }

    /// Carries out the order that `lab` gives by ssh.
    fn reprovision(&self) {
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

/// What was said, and whether it ended well.
fn end(child: Child) -> (String, bool) {
    let output = child.wait_with_output().unwrap();
    (
        String::from_utf8(output.stderr).unwrap(),
        output.status.success(),
    )
}

#[test]
fn a_target_is_followed_found_ready_and_brought_back_from_its_disk() {
    let stage = Play::new();
    let child = stage.up();
    let first = stage.body();
    let token = stage.install();
    let (said, good) = end(child);
    assert!(good, "{said}");
    assert_eq!(
        said,
        "::stage target1: powered on\n\
         ::stage target1: boot script served\n\
         ::stage target1: plan served\n\
         ::progress 0 1000 bytes streaming target1\n\
         ::stage target1: image streams to the disk\n\
         ::progress 500 1000 bytes streaming target1\n\
         ::progress 1000 1000 bytes streaming target1\n\
         ::stage target1: image verified\n\
         ::stage target1: seed planted\n\
         ::stage target1: restarts from its disk\n\
         ::stage target1: installed system is up\n\
         ::stage target1: ready\n"
    );

    assert_eq!(
        end(stage.up()),
        ("::stage target1: ready\n".to_owned(), true)
    );
    assert_eq!(stage.body().process, first.process);

    assert!(
        stage
            .bench
            .lab(&["target", "down", "target1", "--grace", "0"])
            .status
            .success()
    );
    let child = stage.up();
    let second = stage.body();
    assert_ne!(second.process, first.process);
    assert_eq!(second.instance, first.instance, "its disk was thrown away");
    stage.report(&token, Stage::Booted, |_| ());
    let (said, good) = end(child);
    assert!(good, "{said}");
    assert!(
        said.ends_with("::stage target1: installed system is up\n"),
        "{said}"
    );
}

#[test]
fn a_watch_that_was_interrupted_is_taken_up_from_the_begin() {
    let stage = Play::new();
    let mut child = stage.up();
    stage.body();
    stage.script();
    child.kill().unwrap();
    child.wait().unwrap();
    let mut child = stage.up();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    // What was reached before is told again.
    for expected in ["powered on", "boot script served"] {
        assert_eq!(
            lines.next().unwrap().unwrap(),
            format!("::stage target1: {expected}")
        );
    }
    stage.install();
    assert_eq!(lines.last().unwrap().unwrap(), "::stage target1: ready");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_failure_is_told_and_the_next_try_installs_anew() {
    let stage = Play::new();
    let child = stage.up();
    let first = stage.body();
    stage.script();
    let token = stage.app.plan(stage.mac).unwrap().token;
    stage.report(&token, Stage::Failed, |report| {
        report.message = Some("digest mismatch".to_owned());
    });
    let (said, good) = end(child);
    assert!(!good);
    assert!(
        said.contains("error: target1 failed after `plan served`: digest mismatch"),
        "{said}"
    );
    let status = stage.bench.lab(&["status"]);
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(
        status.contains("target1: failed after `plan served`: digest mismatch"),
        "{status}"
    );

    let child = stage.up();
    stage.reprovision();
    until("another body", || stage.body().instance != first.instance);
    assert!(!first.process.is_alive());
    stage.install();
    let (said, good) = end(child);
    assert!(good, "{said}");
    assert!(
        said.starts_with("::stage target1: installs anew: its last installation failed\n"),
        "{said}"
    );
}

#[test]
fn a_disk_of_another_installation_is_thrown_away() {
    let mut stage = Play::new();
    let child = stage.up();
    let first = stage.body();
    stage.install();
    assert!(end(child).1);
    stage.forget();
    let child = stage.up();
    until("another body", || stage.body().instance != first.instance);
    stage.install();
    let (said, good) = end(child);
    assert!(good, "{said}");
    assert!(
        said.contains("installs anew: its disk holds another installation"),
        "{said}"
    );
}

#[test]
fn reprovision_installs_anew_and_refuses_unknown_names_first() {
    let stage = Play::new();
    let child = stage.up();
    let first = stage.body();
    stage.install();
    assert!(end(child).1);
    let known = stage.bench.lab.vm("target1").dir().join("known_hosts");
    fs_err::write(&known, "old").unwrap();

    let (said, good) = end(stage.lab(&["reprovision", "target1,nobody"]));
    assert!(
        !good && said.contains("no target is called \"nobody\"; lab.toml lists: target1"),
        "{said}"
    );
    assert_eq!(stage.body().process, first.process);

    let child = stage.lab(&["reprovision", "target1"]);
    stage.reprovision();
    until("another body", || stage.body().instance != first.instance);
    assert!(
        !known.exists(),
        "the old system's host key is still trusted"
    );
    stage.install();
    let (said, good) = end(child);
    assert!(good, "{said}");
}

#[test]
fn a_qemu_that_dies_while_it_comes_up_ends_the_watch() {
    let stage = Play::new();
    let child = stage.up();
    let body = stage.body();
    stage.script();
    std::thread::sleep(Duration::from_millis(300));
    body.process.signal(rustix::process::Signal::KILL).unwrap();
    let (said, good) = end(child);
    assert!(!good);
    assert!(
        said.contains("the QEMU of target1 is gone (last stage `boot script served`)"),
        "{said}"
    );
}

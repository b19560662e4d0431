//! A site made from the repository's own templates, and a bootd that serves it.
#![allow(
    unreachable_pub,
    dead_code,
    reason = "each test file uses its part of this"
)]

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use protocol::{Event, EventPage, MachineStatus, Plan};
use serde_json::{Value, json};

pub const MAC: &str = "52-54-00-4c-42-01";
pub const STRANGER: &str = "52-54-00-00-00-99";

/// A pushed site: `current` points to a folder.
pub struct Site {
    pub folder: tempfile::TempDir,
    pub json: Value,
    pushed: u32,
}

impl Site {
    pub fn new() -> Self {
        let json = json!({
            "lab": "lab",
            "http": "http://192.168.105.1",
            "network": {
                "server": "192.168.105.1", "prefix": 24, "netmask": "255.255.255.0",
                "gateway": "192.168.105.1", "dns": ["192.168.105.1"], "domain": "lab.test"
            },
            "ssh-authorized-keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 \"it's\" lab: # yes"],
            "unknown-machines": "refuse",
            "install": {
                "mode": "stream", "kernel": "vmlinuz", "initrd": "initrd.img", "kernel-args": ["quiet"],
                "image": {
                    "file": "target.raw.zst", "compressed-size": 1000, "raw-size": 2000,
                    "digest": format!("blake3:{}", "0a".repeat(32))
                }
            },
            "machines": [
                {"name": "target1", "mac": "52:54:00:4c:42:01", "hostname": "target1", "packages": ["tree"]},
                {"name": "target2", "mac": "52:54:00:4c:42:02", "hostname": "target2.lab.test"}
            ]
        });
        let mut site = Self {
            folder: tempfile::tempdir().unwrap(),
            json,
            pushed: 0,
        };
        site.push(|_| ());
        site
    }

    /// What is swapped on each push.
    pub fn current(&self) -> PathBuf {
        self.folder.path().join("current")
    }

    /// Makes a new site folder, lets `edit` change it, and swaps `current` to it.
    pub fn push(&mut self, edit: impl FnOnce(&Path)) {
        self.pushed += 1;
        let folder = self.folder.path().join(self.pushed.to_string());
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for (from, to) in [("ipxe", "ipxe"), ("cloud-init/target", "cloud-init")] {
            fs::create_dir_all(folder.join(to)).unwrap();
            for entry in fs::read_dir(repository.join(from)).unwrap() {
                let entry = entry.unwrap();
                fs::copy(entry.path(), folder.join(to).join(entry.file_name())).unwrap();
            }
        }
        fs::write(folder.join("site.json"), self.json.to_string()).unwrap();
        edit(&folder);
        let new = self.folder.path().join("new");
        symlink(&folder, &new).unwrap();
        fs::rename(new, self.current()).unwrap();
    }
}

/// A running bootd with a state folder.
pub struct Bootd {
    child: Child,
    pub machines: String,
    pub admin: String,
    agent: ureq::Agent,
}

/// A status and a body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Bootd {
    pub fn start(site: &Site, state: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bootd"))
            .arg("serve")
            .args([
                "--listen",
                "127.0.0.1:0",
                "--admin",
                "127.0.0.1:0",
                "--site",
            ])
            .arg(site.current())
            .arg("--state")
            .arg(state)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = |name: &str| {
            let line = lines.next().expect("bootd ended").unwrap();
            line.strip_prefix(name)
                .unwrap_or_else(|| panic!("{line}"))
                .to_owned()
        };
        let (machines, admin) = (address("listen "), address("admin "));
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)));
        Self {
            child,
            machines,
            admin,
            agent: config.build().into(),
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.get_as("curl/8", path)
    }

    pub fn get_as(&self, agent: &str, path: &str) -> Answer {
        let url = format!("http://{}{path}", self.machines);
        let mut response = self
            .agent
            .get(url)
            .header("User-Agent", agent)
            .call()
            .unwrap();
        let body = response.body_mut().read_to_string().unwrap();
        Answer {
            status: response.status().as_u16(),
            body,
        }
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        Self::post_to(
            &self.agent,
            &format!("http://{}{path}", self.machines),
            body,
        )
    }

    pub fn post_admin(&self, path: &str) -> Answer {
        Self::post_to(&self.agent, &format!("http://{}{path}", self.admin), "")
    }

    fn post_to(agent: &ureq::Agent, url: &str, body: &str) -> Answer {
        let mut response = agent.post(url).send(body).unwrap();
        let body = response.body_mut().read_to_string().unwrap();
        Answer {
            status: response.status().as_u16(),
            body,
        }
    }

    pub fn plan(&self, mac: &str) -> Plan {
        let answer = self.get(&format!("/plan/{mac}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    }

    /// Posts a report of `MAC`.
    pub fn report(&self, token: &str, stage: &str) -> Answer {
        let report = json!({"mac": MAC, "token": token, "stage": stage});
        self.post("/events", &report.to_string())
    }

    pub fn status(&self) -> MachineStatus {
        let all: Vec<MachineStatus> = serde_json::from_str(&self.get("/machines").body).unwrap();
        all.into_iter().next().unwrap()
    }

    pub fn page(&self, query: &str) -> EventPage {
        serde_json::from_str(&self.get(&format!("/events?{query}")).body).unwrap()
    }

    pub fn events(&self) -> Vec<Event> {
        self.page("since=0").events
    }

    /// Ends it as a power failure would, as far as a process can tell.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as systemd does, and gives its exit status.
    pub fn terminate(mut self) -> i32 {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().unwrap().success());
        self.child
            .wait()
            .unwrap()
            .code()
            .expect("ended by the signal")
    }
}

impl Drop for Bootd {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

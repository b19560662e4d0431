//! The site changes under a running bootd, and may be wrong.

mod common;

use std::{fs, process::Command};

use common::{Bootd, MAC, Site};
use protocol::Stage;
use serde_json::json;

#[test]
fn a_swapped_site_is_served_at_once() {
    let (mut site, state) = (Site::new(), tempfile::tempdir().unwrap());
    let bootd = Bootd::start(&site, state.path());
    let user_data = || bootd.get(&format!("/cloud-init/{MAC}/user-data")).body;
    assert!(!user_data().contains("# my line"));
    let add = |folder: &std::path::Path| {
        let path = folder.join("cloud-init/user-data.tera");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text + "# my line\n").unwrap();
    };
    site.push(add);
    assert!(user_data().contains("# my line"));
    site.json["machines"][0]["hostname"] = json!("other");
    site.push(add);
    assert!(user_data().contains("hostname: \"other\""));
    site.json["machines"] = json!([]);
    site.push(|_| ());
    assert_eq!(bootd.get(&format!("/plan/{MAC}")).status, 404);
    assert_eq!(bootd.get("/machines").body, "[]");
}

#[test]
fn a_template_edited_in_place_is_served_at_once() {
    let (site, state) = (Site::new(), tempfile::tempdir().unwrap());
    let bootd = Bootd::start(&site, state.path());
    assert!(bootd.get("/ipxe/boot.ipxe").body.starts_with("#!ipxe"));
    fs::write(
        site.current().join("ipxe/boot.ipxe.tera"),
        "#!ipxe\n# edited\n",
    )
    .unwrap();
    assert_eq!(bootd.get("/ipxe/boot.ipxe").body, "#!ipxe\n# edited\n");
}

#[test]
fn there_is_no_site_yet() {
    let (site, state) = (Site::new(), tempfile::tempdir().unwrap());
    fs::remove_file(site.current()).unwrap();
    let bootd = Bootd::start(&site, state.path());
    assert_eq!(bootd.get("/healthz").status, 200);
    let answer = bootd.get("/ipxe/boot.ipxe");
    assert_eq!(answer.status, 500);
    assert!(answer.body.contains("No such file"), "{answer:?}");
}

#[test]
fn a_template_error_names_the_line_and_reaches_console_and_host() {
    let (mut site, state) = (Site::new(), tempfile::tempdir().unwrap());
    site.push(|folder| {
        let text = "#!ipxe\n\necho {{ machine.nmae }} && reboot\n";
        fs::write(folder.join("ipxe/install.ipxe.tera"), text).unwrap();
    });
    let bootd = Bootd::start(&site, state.path());
    bootd.plan(MAC);
    let path = format!("/ipxe/{MAC}");
    let answer = bootd.get(&path);
    assert_eq!(answer.status, 500);
    assert!(
        answer.body.contains("ipxe/install.ipxe.tera:3:17"),
        "{}",
        answer.body
    );
    // iPXE throws away the body of a 500
    let console = bootd.get_as("iPXE/1.21.1+git", &path);
    assert_eq!(console.status, 200);
    assert!(console.body.starts_with("#!ipxe\n") && console.body.ends_with("exit 1\n"));
    assert!(
        console.body.contains("ipxe/install.ipxe.tera:3:17"),
        "{}",
        console.body
    );
    assert!(
        !console.body.contains("&&"),
        "iPXE would run what follows: {}",
        console.body
    );
    assert!(
        console
            .body
            .lines()
            .all(|line| !line.starts_with("echo  ") || line.len() < 220)
    );

    let told: Vec<_> = bootd
        .events()
        .into_iter()
        .filter(|e| e.stage == Stage::Template)
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0]
            .message
            .as_ref()
            .unwrap()
            .contains("install.ipxe.tera:3:17")
    );
    assert!(
        bootd
            .status()
            .template_error
            .unwrap()
            .contains("install.ipxe.tera:3:17")
    );

    site.push(|_| ());
    assert_eq!(bootd.get(&path).status, 200);
    assert_eq!(
        bootd.status().template_error,
        None,
        "the error outlived its cause"
    );
}

#[test]
fn a_broken_site_json_says_where() {
    let (mut site, state) = (Site::new(), tempfile::tempdir().unwrap());
    site.json["unknown-machine"] = json!("install");
    site.push(|_| ());
    let bootd = Bootd::start(&site, state.path());
    let answer = bootd.get(&format!("/plan/{MAC}"));
    assert_eq!(answer.status, 500);
    assert!(
        answer
            .body
            .contains("site.json: not a site: unknown field `unknown-machine`"),
        "{answer:?}"
    );
}

#[test]
fn a_machine_may_have_templates_of_its_own() {
    let (mut site, state) = (Site::new(), tempfile::tempdir().unwrap());
    site.json["machines"][0]["templates"] =
        json!({"cloud-init/user-data.tera": "cloud-init/special.tera"});
    site.json["machines"][0]["extra"] = json!({"role": "db: {1}"});
    site.push(|folder| {
        let text = "#cloud-config\nfqdn: {{ machine.extra.role | yaml }}\n";
        fs::write(folder.join("cloud-init/special.tera"), text).unwrap();
    });
    let bootd = Bootd::start(&site, state.path());
    let user_data = |mac| bootd.get(&format!("/cloud-init/{mac}/user-data")).body;
    assert_eq!(user_data(MAC), "#cloud-config\nfqdn: \"db: {1}\"\n");
    assert!(user_data("52-54-00-4c-42-02").contains("lab-report"));
}

#[test]
fn a_machines_own_folder_stands_in_also_where_it_is_included() {
    let (mut site, state) = (Site::new(), tempfile::tempdir().unwrap());
    site.json["machines"][0]["templates"] = json!({
        "cloud-init/lab-report.py.tera": "machines/target1/lab-report.py.tera",
        "ipxe/install.ipxe.tera": "machines/target1/install.ipxe.tera",
    });
    site.push(|folder| {
        let own = folder.join("machines/target1");
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("lab-report.py.tera"), "# of target1\n").unwrap();
        fs::write(own.join("install.ipxe.tera"), "#!ipxe\nexit 1\n").unwrap();
    });
    let bootd = Bootd::start(&site, state.path());
    let user_data = |mac| bootd.get(&format!("/cloud-init/{mac}/user-data")).body;
    let other = "52-54-00-4c-42-02";
    assert!(user_data(MAC).contains("      # of target1\n"));
    assert!(user_data(other).contains("Waits until cloud-init has ended"));
    let script = |mac| bootd.get(&format!("/ipxe/{mac}")).body;
    assert_eq!(script(MAC), "#!ipxe\nexit 1\n");
    assert!(script(other).contains("installing target2"));

    // an edit in place counts, and an error names the file that it is in
    let path = site.current().join("machines/target1/install.ipxe.tera");
    fs::write(&path, "#!ipxe\n{{ nope }}\n").unwrap();
    let said = script(MAC);
    assert!(
        said.contains("machines/target1/install.ipxe.tera:2:4"),
        "{said}"
    );
    assert!(script(other).contains("installing target2"));
    fs::write(&path, "#!ipxe\n{% if %}\n").unwrap();
    let said = script(MAC);
    assert!(
        said.contains("machines/target1/install.ipxe.tera:2:"),
        "{said}"
    );
}

fn bootd(args: &[&str]) -> (Option<i32>, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_bootd"))
        .args(args)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (out.status.code(), text(out.stdout), text(out.stderr))
}

#[test]
fn check_renders_everything_and_lists_every_error_once() {
    let mut site = Site::new();
    let current = site.current();
    let folder = current.to_str().unwrap();
    let (code, out, _) = bootd(&["check", "--site", folder]);
    assert_eq!(code, Some(0));
    assert!(out.contains("15 files rendered"), "{out}");

    site.push(|folder| {
        fs::write(folder.join("cloud-init/user-data.tera"), "\n{{ nope }}\n").unwrap();
        fs::write(folder.join("ipxe/refuse.ipxe.tera"), "{{ machine.name }}\n").unwrap();
        fs::remove_file(folder.join("cloud-init/vendor-data.tera")).unwrap();
    });
    let (code, _, err) = bootd(&["check", "--site", folder]);
    assert_eq!(code, Some(1));
    assert_eq!(
        err.matches("cloud-init/user-data.tera:2:4").count(),
        1,
        "{err}"
    );
    assert!(err.contains("ipxe/refuse.ipxe.tera:1:4"), "{err}");
    assert!(
        err.contains("there is no template cloud-init/vendor-data.tera"),
        "{err}"
    );

    site.push(|folder| fs::write(folder.join("ipxe/local.ipxe.tera"), "#!ipxe\n{% if %}").unwrap());
    let (code, _, err) = bootd(&["check", "--site", folder]);
    assert_eq!(code, Some(1));
    assert!(err.contains("ipxe/local.ipxe.tera:2:"), "{err}");
}

#[test]
fn render_prints_one_file() {
    let site = Site::new();
    let current = site.current();
    let folder = current.to_str().unwrap();
    let (code, out, _) = bootd(&["render", "--site", folder, "--mac", MAC, "network-config"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("macaddress: \"52:54:00:4c:42:01\""), "{out}");
    let (code, _, err) = bootd(&["render", "--site", folder, "--mac", MAC, "nothing"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("is none of boot.ipxe, install.ipxe"), "{err}");
}

#[test]
fn bootd_listens_on_loopback_only() {
    let site = Site::new();
    let current = site.current();
    let state = tempfile::tempdir().unwrap();
    let folders = [
        "--site",
        current.to_str().unwrap(),
        "--state",
        state.path().to_str().unwrap(),
    ];
    let (code, _, err) = bootd(&[&["serve", "--listen", "0.0.0.0:0"], &folders[..]].concat());
    assert_eq!(code, Some(1));
    assert!(err.contains("not a loopback address"), "{err}");
}

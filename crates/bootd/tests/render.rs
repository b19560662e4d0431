//! Every rendered file, as it is, and as what reads it sees it.

mod common;

use bootd::{
    machine::Record,
    render::{Asked, Subject, What},
    site::LoadedSite,
};
use common::Site;
use protocol::{Mac, Machine};
use serde_json::Value;

const TOKEN: &str = "00112233445566778899aabbccddeeff";

/// What `machine` gets; nobody's if there is none.
fn render(loaded: &LoadedSite, what: What, machine: Option<&Machine>) -> String {
    let mac: Mac = "52:54:00:00:00:99".parse().unwrap();
    let record = machine.map(|machine| {
        let record = Record::new(machine.mac, &machine.name).unwrap();
        Record {
            instance_id: format!("{}-0a0b0c0d0e0f", machine.name),
            token: TOKEN.into(),
            ..record
        }
    });
    let subject = Subject {
        site: &loaded.site,
        machine,
        record: record.as_ref(),
        mac: Some(machine.map_or(mac, |machine| machine.mac)),
        asked: Asked {
            uuid: "u".into(),
            serial: "s 1".into(),
            product: "Lab 9".into(),
        },
    };
    loaded.templates.render(what, &subject).unwrap()
}

fn yaml(text: &str) -> Value {
    serde_yaml_ng::from_str(text).unwrap_or_else(|error| panic!("{error} in\n{text}"))
}

#[test]
fn every_file_of_a_machine() {
    let site = Site::new();
    let loaded = LoadedSite::read(&site.current()).unwrap();
    let machine = &loaded.site.machines[0];
    for what in What::OF_MACHINE {
        insta::assert_snapshot!(what.name(), render(&loaded, what, Some(machine)));
    }
}

#[test]
fn kernel_arguments_are_those_of_all_and_then_the_machines_own() {
    let mut site = Site::new();
    site.json["machines"][0]["kernel-args"] = serde_json::json!(["lab.on-failure=halt", "a=\"b"]);
    site.push(|_| ());
    let loaded = LoadedSite::read(&site.current()).unwrap();
    let kernel = |machine| {
        let script = render(&loaded, What::Install, Some(machine));
        let line = script.lines().find(|line| line.starts_with("kernel "));
        line.unwrap()
            .split_once(" lab.gateway=")
            .unwrap()
            .1
            .to_owned()
    };
    insta::assert_snapshot!(kernel(&loaded.site.machines[0]), @r#"${lab-gateway} quiet lab.on-failure=halt a="b || goto nokernel"#);
    insta::assert_snapshot!(kernel(&loaded.site.machines[1]), @"${lab-gateway} quiet || goto nokernel");
}

#[test]
fn every_file_of_no_machine() {
    let site = Site::new();
    let loaded = LoadedSite::read(&site.current()).unwrap();
    for what in [What::Boot, What::Local, What::Refuse] {
        insta::assert_snapshot!(
            format!("unknown-{}", what.name()),
            render(&loaded, what, None)
        );
    }
}

#[test]
fn every_script_ends_with_an_error_for_the_firmware() {
    let site = Site::new();
    let loaded = LoadedSite::read(&site.current()).unwrap();
    let machine = &loaded.site.machines[0];
    for what in What::ALL.into_iter().filter(|what| what.is_script()) {
        let known = matches!(what, What::Install | What::Local).then_some(machine);
        let script = render(&loaded, what, known);
        assert!(script.starts_with("#!ipxe\n"), "{script}");
        assert!(script.ends_with("\nexit 1\n"), "{script}");
        // a bare exit is success, and ends in the firmware's menu
        assert!(
            !script.lines().any(|line| line.trim() == "exit"),
            "{script}"
        );
        let labels: Vec<_> = script
            .lines()
            .filter_map(|line| line.strip_prefix(':'))
            .collect();
        for word in script.split("goto ").skip(1) {
            let label = word.split_whitespace().next().unwrap();
            assert!(labels.contains(&label), "{label} of {script}");
        }
    }
}

#[test]
fn cloud_init_sees_what_the_site_says() {
    let mut site = Site::new();
    let key = "ssh-rsa AAAA= \"a\" 'b' # c: d \\ ä 漢 {{ lab }} {% if %}";
    site.json["ssh-authorized-keys"] = serde_json::json!([key]);
    site.json["machines"][0]["packages"] = serde_json::json!(["tree", "libc6-dev:i386"]);
    site.push(|_| ());
    let loaded = LoadedSite::read(&site.current()).unwrap();
    let machine = &loaded.site.machines[0];
    let text = render(&loaded, What::UserData, Some(machine));
    assert!(
        text.starts_with("#cloud-config\n"),
        "cloud-init would take it for something else"
    );
    let data = yaml(&text);
    assert_eq!(
        data["users"][0]["ssh_authorized_keys"],
        serde_json::json!([key])
    );
    assert_eq!(data["users"][0]["lock_passwd"], true);
    assert_eq!(data["ssh_pwauth"], false);
    assert_eq!(data["hostname"], "target1");
    assert_eq!(
        data["packages"],
        serde_json::json!(["tree", "libc6-dev:i386"])
    );
    let bootcmd = data["bootcmd"][0].as_array().unwrap();
    assert_eq!(
        bootcmd[3..],
        ["http://192.168.105.1/events", "52:54:00:4c:42:01", TOKEN]
    );
    let file = |path: &str| {
        let files = data["write_files"].as_array().unwrap();
        files
            .iter()
            .find(|file| file["path"] == path)
            .unwrap_or_else(|| panic!("no {path}"))
    };
    assert_eq!(file("/etc/lab-report.json")["permissions"], "0600");
    let report: Value =
        serde_json::from_str(file("/etc/lab-report.json")["content"].as_str().unwrap()).unwrap();
    assert_eq!(report["token"], TOKEN);
    assert!(
        file("/etc/lab-release")["content"]
            .as_str()
            .unwrap()
            .contains("MACHINE=target1\n")
    );

    let other = render(&loaded, What::UserData, Some(&loaded.site.machines[1]));
    assert!(yaml(&other).get("packages").is_none(), "{other}");

    let meta = yaml(&render(&loaded, What::MetaData, Some(machine)));
    assert_eq!(meta["instance-id"], "target1-0a0b0c0d0e0f");
    let network = yaml(&render(&loaded, What::NetworkConfig, Some(machine)));
    assert_eq!(network["version"], 2);
    assert_eq!(
        network["ethernets"]["lab"]["match"]["macaddress"],
        "52:54:00:4c:42:01"
    );
    assert_eq!(
        yaml(&render(&loaded, What::VendorData, Some(machine))),
        serde_json::json!({})
    );
}

//! Tests of what a `site.json` may hold.

use serde_json::{Value, json};

use super::*;

fn good() -> Value {
    json!({
        "lab": "lab",
        "http": "http://192.168.105.1",
        "network": {
            "server": "192.168.105.1", "prefix": 24, "netmask": "255.255.255.0",
            "gateway": "192.168.105.1", "dns": ["192.168.105.1"], "domain": "lab.test"
        },
        "ssh-authorized-keys": ["ssh-ed25519 AAAA lab"],
        "unknown-machines": "refuse",
        "install": {
            "mode": "stream", "kernel": "vmlinuz", "initrd": "initrd.img",
            "image": {
                "file": "target.raw.zst", "compressed-size": 10, "raw-size": 20,
                "digest": format!("blake3:{}", "00".repeat(32))
            }
        },
        "machines": [
            {"name": "target1", "mac": "52:54:00:4C:42:01", "hostname": "target1", "packages": ["tree"]},
            {"name": "target2", "mac": "52-54-00-4c-42-02", "hostname": "target2.lab.test"}
        ]
    })
}

/// The error for a good site with the value at `pointer` replaced.
fn error_with(pointer: &str, value: Value) -> String {
    let mut site = good();
    *site
        .pointer_mut(pointer)
        .unwrap_or_else(|| panic!("no {pointer}")) = value;
    Site::from_json(&site.to_string())
        .expect_err("the site was taken")
        .to_string()
}

#[test]
fn a_good_site_is_read() {
    let site = Site::from_json(&good().to_string()).unwrap();
    let mac = "52:54:00:4c:42:01".parse().unwrap();
    assert_eq!(site.machine(mac).unwrap().disk, "auto");
    assert_eq!(
        site.content_url("vmlinuz"),
        "http://192.168.105.1/content/vmlinuz"
    );
    let again = Site::from_json(&serde_json::to_string(&site).unwrap()).unwrap();
    assert_eq!(again, site);
}

#[test]
fn unknown_keys_are_refused_by_name() {
    let mut site = good();
    site["unknown-machine"] = json!("install");
    let error = Site::from_json(&site.to_string()).unwrap_err().to_string();
    assert!(error.contains("unknown field `unknown-machine`"), "{error}");
    let mut site = good();
    site["machines"][0]["hostnam"] = json!("x");
    assert!(Site::from_json(&site.to_string()).is_err());
}

#[test]
fn doubles_are_named() {
    let error = error_with("/machines/1/mac", json!("52:54:00:4c:42:01"));
    assert_eq!(error, "machines[1].mac: another machine has this address");
    let error = error_with("/machines/1/name", json!("target1"));
    assert_eq!(error, "machines[1].name: another machine has this name");
}

#[test]
fn values_that_could_break_out_of_a_script_are_refused() {
    for (pointer, value) in [
        ("/lab", json!("La b")),
        ("/http", json!("https://192.168.105.1")),
        ("/http", json!("http://192.168.105.1/")),
        ("/http", json!("http://a b")),
        ("/network/netmask", json!("255.255.0.0")),
        ("/network/gateway", json!("192.168.106.1")),
        ("/network/prefix", json!(0)),
        ("/network/domain", json!("lab..test")),
        ("/ssh-authorized-keys/0", json!("a\nb")),
        ("/install/kernel", json!("../vmlinuz")),
        ("/install/initrd", json!("a b")),
        ("/install/image/file", json!(".hidden")),
        ("/install/image/raw-size", json!(0)),
        ("/install/image/digest", json!("blake3:00")),
        ("/machines/0/name", json!("-x")),
        ("/machines/0/hostname", json!("a;reboot")),
        ("/machines/0/mac", json!("ff:ff:ff:ff:ff:ff")),
        ("/machines/0/packages", json!(["-oAPT::x=y"])),
        ("/machines/0/packages", json!(["a b"])),
    ] {
        error_with(pointer, value);
    }
    for (key, value) in [
        ("disk", json!("/dev/../etc/passwd")),
        ("disk", json!("vda")),
        (
            "templates",
            json!({"cloud-init/user-data.tera": "../x.tera"}),
        ),
        ("templates", json!({"user-data": "cloud-init/x.tera"})),
        (
            "templates",
            json!({"cloud-init/user-data.tera": "machines/../x.tera"}),
        ),
        (
            "templates",
            json!({"cloud-init/user-data.tera": "machines/target1/.x.tera"}),
        ),
        (
            "templates",
            json!({"machines/target1/x.tera": "cloud-init/x.tera"}),
        ),
    ] {
        let mut site = good();
        site["machines"][0][key] = value;
        assert!(Site::from_json(&site.to_string()).is_err(), "{site}");
    }
    let mut site = good();
    site["machines"][0]["templates"] =
        json!({"cloud-init/user-data.tera": "machines/target1/user-data.tera"});
    Site::from_json(&site.to_string()).unwrap();
    let mut site = good();
    for arg in ["a b", "a&&b", "${x}", "a\nb", "a\u{7f}", "", ";", "#", "#a"] {
        site["install"]["kernel-args"] = json!([arg]);
        assert!(Site::from_json(&site.to_string()).is_err(), "{arg:?}");
    }
    site["install"]["kernel-args"] = json!(["a;b", "c#d", "e=\"f", "g\""]);
    Site::from_json(&site.to_string()).unwrap();
    site["machines"][1]["kernel-args"] = json!(["ok", "a||b"]);
    let error = Site::from_json(&site.to_string()).unwrap_err().to_string();
    assert!(error.starts_with("machines[1].kernel-args[1]: "), "{error}");
}

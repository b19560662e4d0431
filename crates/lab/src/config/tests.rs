use insta::assert_snapshot;

use crate::host::{Backend, Distribution};

use super::{Auto, Lab, Resolved};

const AUTO: Auto = Auto {
    backend: Backend::Hub,
    distribution: Distribution::Debian,
};

fn parse(text: &str) -> Lab {
    Lab::parse(text, "lab.toml", "lab", AUTO).unwrap()
}

fn refused(text: &str) -> String {
    match Lab::parse(text, "lab.toml", "lab", AUTO) {
        Ok(lab) => panic!("taken: {lab:#?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_shipped_file_says_just_what_the_defaults_are() {
    let shipped = include_str!("../../../../lab.toml");
    assert_eq!(parse(shipped), parse(""));
    let uncommented = shipped.replace(
        "# mirror = \"http://…\"",
        "mirror = \"http://copy.example/x/\"",
    );
    assert_eq!(
        parse(&uncommented).install.ubuntu.mirror.as_deref(),
        Some("http://copy.example/x")
    );
}

#[test]
fn resolved_files() {
    let dir = tempfile::tempdir().unwrap();
    let resolved = Resolved::new(dir.path());
    let lab = parse("[[target]]\nname='web'\nmac='52-54-00-4C-42-07'\n[[target]]\n");
    resolved.write(&lab).unwrap();
    let files = [
        "network",
        "server",
        "install",
        "target-web",
        "target-target2",
    ];
    let all = files.map(|name| {
        let text = fs_err::read_to_string(dir.path().join(format!("{name}.toml"))).unwrap();
        format!("== {name}.toml\n{text}")
    });
    assert_snapshot!(all.concat());
    assert_eq!(resolved.network().unwrap(), lab.network);
    assert_eq!(resolved.server().unwrap(), lab.server);
    assert_eq!(resolved.install().unwrap(), lab.install);
    assert_eq!(resolved.target("web").unwrap(), lab.targets[0]);
    // A target that left lab.toml leaves no file behind.
    resolved
        .write(&parse("[[target]]\nname='other'\n"))
        .unwrap();
    assert_eq!(resolved.target_names().unwrap(), ["other"]);
    let error = resolved.target("web").unwrap_err().to_string();
    assert_eq!(error, "no target is called \"web\"; lab.toml lists: other");
}

#[test]
fn labs_with_other_names_share_no_identity() {
    let of = |name: &str| Lab::parse("", "lab.toml", name, AUTO).unwrap();
    let (a, b) = (of("a"), of("b"));
    assert_ne!(a.network.net_uuid, b.network.net_uuid);
    assert_ne!(a.network.server_mac, b.network.server_mac);
    assert_ne!(a.network.uplink_mac, b.network.uplink_mac);
    assert_ne!(a.network.uplink_mac, a.network.server_mac);
    assert_ne!(a.targets[0].uuid, b.targets[0].uuid);
    assert_eq!(a.targets[0].mac, b.targets[0].mac);
}

#[test]
fn derived_addresses_are_local_and_of_one_machine() {
    for n in 0..200 {
        let first = super::check::derived_mac(&n.to_string()).bytes()[0];
        assert_eq!(first & 0b11, 0b10);
    }
}

#[test]
fn a_misspelt_key_is_shown_with_the_nearest_name() {
    assert_snapshot!(refused("[network]\nsubnt = \"10.0.0.0/24\"\n"));
    assert_snapshot!(refused("[server]\ndhcp = \"isc-dhcp\"\n"));
    assert_snapshot!(refused("[[target]]\nfrobnicate = 1\n"));
    assert_snapshot!("mode", refused("[install]\nmode = \"cloud-init\"\n"));
    assert_snapshot!("boot", refused("[[target]]\nboot = \"tftp\"\n"));
    assert_snapshot!(refused("[server]\ncpus = \"two\"\n"));
    assert_snapshot!(refused("[server\ncpus = 2\n"));
}

#[test]
fn every_problem_is_shown_at_once() {
    assert_snapshot!(refused(
        r#"
[network]
subnet = "192.168.7.0/24"
server = "192.168.8.1"
dhcp-range = ["192.168.7.200", "192.168.7.100"]
domain = "lab_test"
net-uuid = "7"

[server]
memory = "1G"
cpus = 0
disk = "1MiB"

[distribution.ubuntu]
release = "Noble Numbat"
mirror = "ftp://example"

[[target]]
name = "server"
mac = "53:54:00:4c:42:01"

[[target]]
name = "Web1"
packages = ["ok", "rm -rf /"]

[[target]]
name = "a"
mac = "52:54:00:4c:42:01"

[[target]]
name = "a"
mac = "52:54:00:4c:42:01"
"#
    ));
}

#[test]
fn no_target_has_the_name_of_a_socket_of_the_servers() {
    use crate::switch;
    use crate::vm::hub_port;
    let lab = crate::state::LabPaths::new("labs".as_ref(), "lab").unwrap();
    let server = lab.vm("server");
    let switch = server.dir().join(switch::SOCKET);
    for socket in [server.qmp(), server.serial(), switch] {
        let name = socket.file_stem().unwrap().to_str().unwrap();
        let [port, _] = hub_port(name);
        assert_eq!(
            port["addr"]["path"].as_str().unwrap(),
            socket.file_name().unwrap(),
            "the port would take over another one's place"
        );
        let told = refused(&format!("[[target]]\nname = \"{name}\"\n"));
        let expected = format!("lab.toml:2:8: the name `{name}` is the lab's own");
        assert_eq!(told.lines().next().unwrap(), expected);
    }
}

#[test]
fn subnets_ranges_and_server_addresses_must_fit() {
    let one = |text: &str| refused(text).lines().next().unwrap().to_owned();
    let network = |keys: &str| one(&format!("[network]\n{keys}\n"));
    assert_snapshot!(network("subnet = '192.168.7.9/24'"), @"lab.toml:2:10: 192.168.7.9/24 is an address in a subnet, not a subnet");
    assert_snapshot!(network("subnet = '192.168.7.0/30'"), @"lab.toml:2:10: a lab needs a subnet from /8 to /29, not /30");
    assert_snapshot!(network("subnet = '10.0.0.0/8'"), @"lab.toml:2:10: 10.0.0.0/8 overlaps 10.0.2.0/24, which the server's uplink uses");
    assert_snapshot!(network("server = '192.168.105.255'"), @"lab.toml:2:10: the server's address, 192.168.105.255, is the subnet's network or broadcast address");
    assert_snapshot!(network("server = '192.168.105.150'\ndhcp-range = ['192.168.105.100', '192.168.105.199']"), @"lab.toml:3:14: dhcp-range holds 192.168.105.150, the server's own address");
    assert_snapshot!(network("dhcp-range = ['192.168.105.100']"), @"lab.toml:2:14: dhcp-range must be two addresses, the first and the last");
    assert_snapshot!(network("server = '192.168.105.150'"), @"lab.toml:2:10: the server's address is in the range for DHCP, 192.168.105.100 to 192.168.105.199");
}

#[test]
fn a_smaller_subnet_has_a_range_that_fits() {
    let lab = parse("[network]\nsubnet = '172.20.0.0/28'\n");
    assert_eq!(lab.network.server.to_string(), "172.20.0.1");
    assert_eq!(lab.network.dhcp_start.to_string(), "172.20.0.5");
    assert_eq!(lab.network.dhcp_end.to_string(), "172.20.0.11");
}

#[test]
fn own_templates_are_a_folder_below_cloud_init() {
    let refused = |folder: &str| refused(&format!("[[target]]\ntemplates = {folder:?}\n"));
    let one = |folder: &str| refused(folder).lines().next().unwrap().to_owned();
    assert_snapshot!(refused("../elsewhere"));
    assert_snapshot!(refused("racks/two"));
    assert_snapshot!(one("cloud-init/../../x"), @r#"lab.toml:2:13: templates: "cloud-init/../../x" leads out of the project"#);
    assert_snapshot!(one("/etc"), @r#"lab.toml:2:13: templates: "/etc" leads out of the project"#);
    assert_snapshot!(one("cloud-init/"), @r#"lab.toml:2:13: templates: "cloud-init" is not a folder below cloud-init/"#);
    assert_snapshot!(one("cloud-init//x"), @r#"lab.toml:2:13: templates: "cloud-init//x" is not a folder below cloud-init/"#);
    assert_snapshot!(one("cloud-init/.git"), @r#"lab.toml:2:13: templates: "cloud-init/.git" is not a folder below cloud-init/"#);
    assert_snapshot!(one("cloud-init/server"), @"lab.toml:2:13: templates: cloud-init/server is the provisioning server's own");
    let good = parse("[[target]]\ntemplates = 'cloud-init/racks/two/'\n");
    assert_eq!(
        good.targets[0].templates.as_deref(),
        Some("cloud-init/racks/two")
    );
}

#[test]
fn own_templates_stand_in_for_what_is_there() {
    let project = tempfile::tempdir().unwrap();
    let put = |file: &str| {
        let path = project.path().join("cloud-init").join(file);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, "").unwrap();
    };
    for file in ["user-data", "meta-data", "lab-report.py"] {
        put(&format!("target/{file}.tera"));
    }
    let parse = |folder: &str| {
        let text = format!("[[target]]\n[[target]]\ntemplates = 'cloud-init/{folder}'\n");
        let lab = Lab::parse_in(Some(project.path()), &text, "lab.toml", "lab", AUTO);
        lab.map_err(|error| error.to_string())
    };
    put("rack2/user-data.tera");
    put("rack2/lab-report.py.tera");
    put("rack2/install.ipxe.tera");
    put("rack2/user-data.tera~");
    put("rack2/.user-data.tera.swp");
    parse("rack2").unwrap();
    assert_snapshot!(parse("rak2").unwrap_err());
    put("rack2/user-date.tera");
    assert_snapshot!(parse("rack2").unwrap_err());
    // asked for before it is known who asks
    put("rack3/boot.ipxe.tera");
    assert_snapshot!(parse("rack3").unwrap_err());
    fs_err::create_dir_all(project.path().join("cloud-init/empty")).unwrap();
    assert_snapshot!(parse("empty").unwrap_err());
}

/// TOML's kinds of values, as templates see them and as they are kept between.
#[test]
fn extra_is_any_table() {
    let lab = parse(
        r#"
[[target]]
[target.extra]
role = "db: \"1\" # {{ x }}"
rack-unit = 12
share = 0.5
spare = false
since = 2026-11-25
disks = ["sdb", { name = "sdc", size = 4 }]
limits = { nofile = 1024, none = {} }
"#,
    );
    let target = &lab.targets[0];
    assert_snapshot!(serde_json::to_string_pretty(&target.extra).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let resolved = Resolved::new(dir.path());
    resolved.write(&lab).unwrap();
    assert_eq!(resolved.target("target1").unwrap(), *target);
    assert!(parse("").targets[0].extra.is_empty());
    assert_snapshot!(refused("[[target]]\nextra = { a = [{ b = nan }] }\n"));
    assert_snapshot!(refused("[[target]]\nextra = \"role\"\n"));
}

#[test]
fn kernel_arguments_are_words_on_one_line() {
    let text = "[install]\nkernel-args = ' lab.on-failure=halt  loglevel=7 '\n[[target]]\nkernel-args = \"dyndbg=\\\"file a +p\\\"\"\n";
    let lab = parse(text);
    assert_eq!(
        lab.install.kernel_args,
        ["lab.on-failure=halt", "loglevel=7"]
    );
    assert_eq!(lab.targets[0].kernel_args, ["dyndbg=\"file", "a", "+p\""]);
    assert_eq!(parse("").install.kernel_args, [""; 0]);
    let refused = |args: &str| refused(&format!("[install]\nkernel-args = \"{args}\"\n"));
    assert_snapshot!(refused("quiet\\nshell"));
    assert_snapshot!(refused("a ${net0/ip} && # b"));
    for args in ["a\\tb", "a \\u0000 b", "a\\u007f", "a || b", "a ; b", "#a"] {
        refused(args);
    }
}

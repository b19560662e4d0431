use insta::assert_snapshot;

use super::*;
use crate::config::{Auto, Lab};
use crate::host::{Backend, Distribution};

const AUTO: Auto = Auto {
    backend: Backend::Hub,
    distribution: Distribution::Debian,
};

/// The site of a `lab.toml`, from the repository's own templates and those that
/// are in `project`; or why there is none.
fn make(project: &Path, toml: &str) -> anyhow::Result<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (config, out) = (project.join("config"), project.join("site"));
    Resolved::new(&config).write(&Lab::parse(toml, "lab.toml", "lab", AUTO)?)?;
    let file = |name: &str| {
        let digest = format!("blake3:{}", "0a".repeat(32));
        serde_json::json!({ "file": name, "size": 1000, "digest": digest })
    };
    let content = serde_json::json!({
        "kernel": file("vmlinuz"), "initrd": file("initrd.img"),
        "image": file("target.raw.zst"), "raw-size": 2000,
    });
    fs::write(project.join("content.json"), content.to_string())?;
    fs::write(project.join("key.pub"), "ssh-ed25519 AAAA lab\n")?;
    run(&Args {
        config,
        content: project.join("content.json"),
        ssh_key: project.join("key.pub"),
        ipxe: repository.join("ipxe"),
        cloud_init: repository.join("cloud-init/target"),
        project: project.to_owned(),
        out: out.clone(),
    })?;
    Ok(out)
}

/// A project with templates of its own in `cloud-init/rack2`.
fn project(templates: &[(&str, &str)]) -> tempfile::TempDir {
    let project = tempfile::tempdir().unwrap();
    let folder = project.path().join("cloud-init/rack2");
    fs::create_dir_all(&folder).unwrap();
    for (name, text) in templates {
        fs::write(folder.join(name), text).unwrap();
    }
    project
}

fn rendered(site: &Path, whose: &str, what: &str) -> String {
    let all = bootd::check::check(site).unwrap();
    let found = all
        .into_iter()
        .find(|(whom, of, _)| whom == whose && of.name() == what);
    found.unwrap().2
}

#[test]
fn templates_see_what_is_extra() {
    let text = "a: {{ machine.extra[\"rack-unit\"] }}\nb: {{ machine.extra.role | yaml }}\nc: {{ machine.extra | yaml }}\n{% if machine.extra.none is defined %}d{% else %}e{% endif %}\n";
    let project = project(&[("vendor-data.tera", text)]);
    let extra = "extra = { rack-unit = 12, role = \"db: '1' # \\\"x\\\"\\n\" }\n";
    let toml = format!("{RACK2}{extra}");
    let site = make(project.path(), &toml).unwrap();
    assert_snapshot!(rendered(&site, "target2", "vendor-data"));
}

#[test]
fn kernel_arguments_reach_the_kernel() {
    let project = project(&[]);
    let toml =
        "[[target]]\nkernel-args = 'loglevel=7'\n[install]\nkernel-args = 'lab.on-failure=halt'\n";
    let site = make(project.path(), toml).unwrap();
    let script = rendered(&site, "target1", "install.ipxe");
    let kernel = script.lines().find(|line| line.starts_with("kernel "));
    assert_snapshot!(kernel.unwrap());
}

const RACK2: &str = "[[target]]\n[[target]]\ntemplates = 'cloud-init/rack2'\n";

#[test]
fn what_a_target_says_is_in_the_site() {
    let project = project(&[]);
    let site = make(project.path(), "").unwrap();
    assert_snapshot!(fs::read_to_string(site.join("site.json")).unwrap());
}

#[test]
fn a_targets_own_templates_are_its_own_and_an_edit_makes_another_site() {
    let meta = "instance-id: {{ instance_id | yaml }}\nlocal-hostname: rack2\n";
    let report = "# reports nothing\n";
    let own = [
        ("meta-data.tera", meta),
        ("lab-report.py.tera", report),
        (".meta-data.tera.swp", "binary"),
        ("meta-data.tera~", "old"),
    ];
    let project = project(&own);
    let site = make(project.path(), RACK2).unwrap();
    let machines: Vec<_> = template_files(&site.join("machines")).unwrap();
    assert_eq!(machines, ["target2"]);
    let files = template_files(&site.join("machines/target2")).unwrap();
    assert_eq!(files, ["lab-report.py.tera", "meta-data.tera"]);
    let hostname = |whose| rendered(&site, whose, "meta-data");
    assert!(hostname("target2").ends_with("\nlocal-hostname: rack2\n"));
    assert!(hostname("target1").ends_with("\nlocal-hostname: \"target1\"\n"));
    assert!(rendered(&site, "target2", "user-data").contains("      # reports nothing\n"));
    assert!(!rendered(&site, "target1", "user-data").contains("# reports nothing"));

    let folder = project.path().join("cloud-init/rack2");
    fs::write(
        folder.join("meta-data.tera"),
        meta.replace("rack2", "other"),
    )
    .unwrap();
    let site = make(project.path(), RACK2).unwrap();
    assert!(rendered(&site, "target2", "meta-data").ends_with("\nlocal-hostname: other\n"));
}

#[test]
fn a_template_that_does_not_render_is_named_with_the_folder_it_is_from() {
    let project = project(&[("install.ipxe.tera", "#!ipxe\n{{ nope }}\n")]);
    let error = format!("{:#}", make(project.path(), RACK2).unwrap_err());
    let clean = error
        .replace(project.path().to_str().unwrap(), "PROJECT")
        .replace(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."), "REPOSITORY");
    assert_snapshot!(clean);
}

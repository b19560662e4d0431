//! The lab's task files: what each task says of itself.

use std::path::Path;

use fs_err as fs;

/// `hermake check` runs a pure task twice and renders a template twice; every other task says why it can't be checked.
/// (That those that are checked pass is a step of the end-to-end test.)
#[test]
fn every_task_is_checked_or_says_why_not() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tasks");
    let (mut checked, mut said) = (0, 0);
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        for (name, task) in text["task"].as_table().unwrap() {
            let kind = task.get("kind").map_or("run", |k| k.as_str().unwrap());
            let runs = matches!(kind, "run" | "render") && task.get("impure").is_none();
            if task.get("nondeterministic").is_some() {
                said += 1;
            } else {
                assert!(
                    runs,
                    "{}: `{name}` can't be checked and has no `nondeterministic`",
                    path.display()
                );
                checked += 1;
            }
        }
    }
    assert!(
        checked > 5 && said > 5,
        "{checked} are checked, {said} say why not"
    );
}

/// Wherever below `cloud-init/` a target's own templates are, an edit of them
/// is noticed by the task that checks the folder and by the one that copies it.
#[test]
fn targets_own_templates_are_inputs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tasks");
    for (file, name) in [("server.toml", "config"), ("targets.toml", "site")] {
        let text: toml::Table = fs::read_to_string(folder.join(file))
            .unwrap()
            .parse()
            .unwrap();
        let inputs = text["task"][name]["inputs"].as_array().unwrap();
        let all = toml::Value::from("cloud-init/**");
        assert!(inputs.contains(&all), "{name}: {inputs:?}");
    }
}

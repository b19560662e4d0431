//! `templates` of a `[[target]]`: a folder below `cloud-init/` whose files stand
//! in for those of `cloud-init/target`, for this machine.

use std::path::Path;

use bootd::render::What;
use toml::Spanned;

use super::check::Checks;
use super::error::{Problem, closest};
use super::raw::Text;

/// Where the folders are: the tasks look at all files below it.
const ROOT: &str = "cloud-init";
/// The templates of all that a machine has no own one for.
const DEFAULT: &str = "cloud-init/target";
/// The provisioning server's own.
const SERVER: &str = "cloud-init/server";

/// The path in a site of the template that a file of this name stands in for.
pub fn usual(file: &str) -> String {
    let script = scripts().find(|what| template(*what) == file);
    script.map_or_else(|| format!("{ROOT}/{file}"), What::usual)
}

/// The templates in `folder`, as file names, sorted. Hidden files and an
/// editor's backups are none.
pub fn files(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && !name.ends_with('~') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The folder that was typed. What is in it is looked at only where it is known
/// where the project is.
pub(super) fn check(checks: &mut Checks, typed: &Text, project: Option<&Path>) -> Option<String> {
    let typed = typed.as_ref()?;
    let folder = typed.get_ref().strip_suffix('/').unwrap_or(typed.get_ref());
    let good = plain(typed, folder)
        .and_then(|()| project.map_or(Ok(()), |project| holds_templates(typed, folder, project)));
    if let Err(problem) = good {
        checks.add(problem);
    }
    Some(folder.to_owned())
}

/// A path that stays below `cloud-init/`, wherever the project is.
fn plain(typed: &Spanned<String>, folder: &str) -> Result<(), Problem> {
    let problem = |message: String| Problem::new(typed.span(), message);
    let named = |part: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(fits)
    };
    if folder.starts_with('/') || folder.split('/').any(|part| part == "..") {
        let what = problem(format!("templates: {folder:?} leads out of the project"));
        return Err(what.hint(format!("name a folder below {ROOT}/")));
    }
    let below = folder.strip_prefix("cloud-init/").unwrap_or_default();
    if !below.split('/').all(named) {
        let what = problem(format!(
            "templates: {folder:?} is not a folder below {ROOT}/"
        ));
        return Err(what.hint(
            "that is where the tasks look, as \"cloud-init/rack2\"; a-z, 0-9, ., _ and - in names",
        ));
    }
    if Path::new(folder).starts_with(SERVER) {
        return Err(problem(format!(
            "templates: {SERVER} is the provisioning server's own"
        )));
    }
    Ok(())
}

/// A folder with templates, and nothing that is none.
fn holds_templates(typed: &Spanned<String>, folder: &str, project: &Path) -> Result<(), Problem> {
    let problem = |message: String, hint: String| Problem::new(typed.span(), message).hint(hint);
    let names = files(&project.join(folder)).unwrap_or_default();
    if names.is_empty() {
        let below = folder.strip_prefix("cloud-init/").unwrap_or(folder);
        let folders = folders(&project.join(ROOT));
        let hint = match closest(below, folders.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{ROOT}/{near}`?"),
            None => {
                format!("make it, with at least one file that has the name of one in {DEFAULT}")
            }
        };
        let message = format!("templates: there is no folder {folder} with templates");
        return Err(problem(message, hint));
    }
    let known = known(project);
    match names.iter().find(|name| !known.contains(name)) {
        Some(name) => {
            let hint = match closest(name, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("expected {}", known.join(", ")),
            };
            let message = format!("templates: {folder}/{name} stands in for nothing");
            Err(problem(message, hint))
        }
        None => Ok(()),
    }
}

/// What a machine may have its own one of: all that targets have, and the
/// scripts that are asked for when it is known who asks.
fn known(project: &Path) -> Vec<String> {
    let mut known = files(&project.join(DEFAULT)).unwrap_or_default();
    known.extend(scripts().map(template));
    known
}

fn scripts() -> impl Iterator<Item = What> {
    What::OF_MACHINE.into_iter().filter(|what| what.is_script())
}

fn template(what: What) -> String {
    format!("{}.tera", what.name())
}

/// The folders in `root` that could be meant, by name.
fn folders(root: &Path) -> Vec<String> {
    let names = files(root).unwrap_or_default();
    names
        .into_iter()
        .filter(|name| files(&root.join(name)).is_ok_and(|files| !files.is_empty()))
        .filter(|name| SERVER.strip_prefix("cloud-init/") != Some(name))
        .collect()
}

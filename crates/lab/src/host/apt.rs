//! The Debian archive in apt's sources, whichever of the two forms they have.

use std::path::{Path, PathBuf};

/// A line or a stanza of apt's sources, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Source {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: String,
}

/// The address of the main archive for `codename` in the sources of the
/// system below `root`. Repositories of third parties use the same suites, so
/// that what looks most like Debian's own wins.
pub(crate) fn archive(root: &Path, codename: &str) -> Option<String> {
    let mut best: Option<(u8, String)> = None;
    for source in files(root).iter().flat_map(|path| read(path)) {
        for uri in &source.uris {
            let Some(uri) = resolve(root, uri) else {
                continue;
            };
            let score = score(&source, &uri, codename);
            if score > best.as_ref().map_or(0, |(s, _)| *s) {
                best = Some((score, uri));
            }
        }
    }
    best.map(|(_, uri)| uri)
}

/// How much a source looks like the main archive; 0 if it can't be it.
fn score(source: &Source, uri: &str, codename: &str) -> u8 {
    let names_release = |suite: &String| {
        suite == codename
            || ["stable", "oldstable", "testing", "unstable", "sid"].contains(&suite.as_str())
    };
    let exact = source.suites.iter().any(names_release);
    let related = source.suites.iter().any(|s| {
        ["-updates", "-backports"]
            .map(|x| format!("{codename}{x}"))
            .contains(s)
    });
    let main = source.components.iter().any(|c| c == "main");
    if !main || !(exact || related) || uri.contains("security") {
        return 0;
    }
    let debian = uri.rsplit('/').next() == Some("debian");
    let signed = source.signed_by.contains("debian-archive-");
    u8::from(exact) * 2 + u8::from(related) + u8::from(debian) * 4 + u8::from(signed) * 4
}

/// The address behind `uri`, which may name a file with a list of mirrors.
fn resolve(root: &Path, uri: &str) -> Option<String> {
    let list = uri
        .strip_prefix("mirror+file:")
        .or_else(|| uri.strip_prefix("mirror:file:"));
    let address = match list {
        Some(list) => {
            let list = root.join(list.trim_start_matches('/'));
            let text = std::fs::read_to_string(list).ok()?;
            text.lines()
                .filter_map(|line| line.split_whitespace().next())
                .find(|word| !word.starts_with('#'))?
                .to_owned()
        }
        None => uri.to_owned(),
    };
    let known = ["http://", "https://", "file:"];
    known
        .iter()
        .any(|scheme| address.starts_with(scheme))
        .then(|| address.trim_end_matches('/').to_owned())
}

/// Apt's files, in the order in which apt reads them.
fn files(root: &Path) -> Vec<PathBuf> {
    let apt = root.join("etc/apt");
    let mut parts: Vec<PathBuf> = std::fs::read_dir(apt.join("sources.list.d"))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|e| e == "list" || e == "sources")
        })
        .collect();
    parts.sort();
    parts.insert(0, apt.join("sources.list"));
    parts
}

fn read(path: &Path) -> Vec<Source> {
    let Ok(text) = std::fs::read_to_string(path) else {
        return Vec::new();
    };
    if path.extension().is_some_and(|e| e == "sources") {
        stanzas(&text)
    } else {
        text.lines().filter_map(line).collect()
    }
}

/// `deb [arch=amd64 signed-by=…] URI SUITE COMPONENT…`
fn line(text: &str) -> Option<Source> {
    let text = text.split('#').next().unwrap_or_default().trim();
    let rest = text.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t']) {
        return None;
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let signed_by = options
        .split_whitespace()
        .find_map(|option| option.strip_prefix("signed-by="))
        .unwrap_or_default();
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Source {
        uris: vec![words.next()?],
        suites: vec![words.next()?],
        components: words.collect(),
        signed_by: signed_by.to_owned(),
    })
}

/// The stanzas of the deb822 form that are enabled and offer binaries.
fn stanzas(text: &str) -> Vec<Source> {
    let mut all = Vec::new();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    for stanza in lines.split(|line| line.trim().is_empty()) {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in stanza {
            if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = fields.last_mut() {
                    value.push(' ');
                    value.push_str(line.trim());
                }
            } else if let Some((key, value)) = line.split_once(':') {
                fields.push((key.to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
        let field = |name: &str| -> &str {
            fields
                .iter()
                .find(|(key, _)| key == name)
                .map_or("", |(_, value)| value)
        };
        let words = |name: &str| field(name).split_whitespace().map(str::to_owned).collect();
        let off = ["no", "false", "0", "off"].contains(&field("enabled"));
        if off || !field("types").split_whitespace().any(|t| t == "deb") {
            continue;
        }
        all.push(Source {
            uris: words("uris"),
            suites: words("suites"),
            components: words("components"),
            signed_by: field("signed-by").to_owned(),
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join("etc/apt").join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        archive(dir.path(), "bookworm")
    }

    #[test]
    fn the_deb822_form() {
        let text = "\
Types: deb deb-src
# a comment between fields
URIs: http://mirror.test/debian/
Suites: bookworm
  bookworm-updates
Components: main non-free
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.test/debian-security
Suites: bookworm-security
Components: main
";
        let address = found(&[("sources.list.d/debian.sources", text)]);
        assert_eq!(address.as_deref(), Some("http://mirror.test/debian"));
        let off = format!("Enabled: no\n{text}");
        assert_eq!(found(&[("sources.list.d/debian.sources", &off)]), None);
    }

    #[test]
    fn the_one_line_form_with_options_and_comments() {
        let text = "\
# deb http://old.test/debian bookworm main
deb-src http://source.test/debian bookworm main
deb http://security.test/debian-security bookworm-security main
deb [arch=amd64 signed-by=/k.gpg] https://mirror.test/pub/debian/ bookworm main contrib # near
";
        let address = found(&[("sources.list", text)]);
        assert_eq!(address.as_deref(), Some("https://mirror.test/pub/debian"));
    }

    #[test]
    fn third_parties_with_the_same_suite_do_not_win() {
        let address = found(&[
            (
                "sources.list.d/a.list",
                "deb https://apt.vendor.test bookworm main\ndeb https://v.test/debian nodistro main\n",
            ),
            (
                "sources.list.d/debian.sources",
                "Types: deb\nURIs: http://mirror.test/debian\nSuites: bookworm\nComponents: main\n",
            ),
        ]);
        assert_eq!(address.as_deref(), Some("http://mirror.test/debian"));
    }

    #[test]
    fn a_list_of_mirrors_in_a_file() {
        let address = found(&[
            (
                "sources.list",
                "deb mirror+file:/etc/apt/mirrors/debian.list bookworm main\n",
            ),
            (
                "mirrors/debian.list",
                "# near\nhttps://first.test/debian\tpriority:1\nhttps://second.test/debian\n",
            ),
        ]);
        assert_eq!(address.as_deref(), Some("https://first.test/debian"));
    }

    #[test]
    fn discs_and_nothing_give_nothing() {
        assert_eq!(found(&[]), None);
        let disc = "deb cdrom:[Debian 12]/ bookworm main\n";
        assert_eq!(found(&[("sources.list", disc)]), None);
    }
}

//! The table of usual causes, and finding a machine's row in it.

use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::{Line, Source};

/// One row, as it is written in `causes.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cause {
    pub(super) id: String,
    pub(super) at: Vec<String>,
    #[serde(default)]
    pub(super) signs: Vec<String>,
    #[serde(default)]
    pub(super) with: Vec<String>,
    #[serde(default)]
    pub(super) unless: Vec<String>,
    #[serde(default)]
    pub(super) usual: bool,
    #[serde(rename = "cause")]
    pub(super) why: String,
    pub(super) look: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    cause: Vec<Cause>,
}

/// The rows, in their order.
pub(super) static CAUSES: LazyLock<Vec<Cause>> = LazyLock::new(|| {
    // It is part of the program, and a test reads it: it can't be wrong here.
    toml::from_str::<Table>(include_str!("causes.toml")).map_or_else(|_| Vec::new(), |t| t.cause)
});

/// What stopped a machine, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The row's name.
    pub id: String,
    /// What is usually wrong then.
    pub cause: String,
    /// The line that shows it; none if nothing does, and it is only what is
    /// usual at this point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown_by: Option<Line>,
    /// The command to look further.
    pub look: String,
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  usual cause: {}", self.cause)?;
        match &self.shown_by {
            Some(Line { source, text }) => writeln!(f, "  shown by {source}: {}", short(text))?,
            None => writeln!(f, "  shown by no line; it is what is usual here")?,
        }
        write!(f, "  look further: {}", self.look)
    }
}

/// What was said in one line: of an error in a template, what and where, and
/// not the picture of the place.
fn short(text: &str) -> String {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    match lines.find_map(|line| line.trim().strip_prefix("--> ")) {
        Some(place) => format!("{first} ({place})"),
        None => first.to_owned(),
    }
}

/// What stands for the placeholders of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'a> {
    /// The lab.
    pub(crate) lab: &'a str,
    /// The machine.
    pub(crate) vm: &'a str,
}

impl Cause {
    fn diagnosis(&self, shown_by: Option<&Line>, names: Names<'_>) -> Diagnosis {
        let suffix = match names.lab {
            "lab" => String::new(),
            lab => format!(" LAB={lab}"),
        };
        Diagnosis {
            id: self.id.clone(),
            cause: self.why.clone(),
            shown_by: shown_by.cloned(),
            look: self
                .look
                .replace("{vm}", names.vm)
                .replace("{lab}", &suffix),
        }
    }

    fn is_at(&self, place: &str) -> bool {
        self.at.iter().any(|at| at == place)
    }

    /// The last line that shows it, unless one shows that it is something else.
    fn shown_by<'a>(&self, lines: &'a [Line]) -> Option<&'a Line> {
        let any = |signs: &[String], line: &Line| signs.iter().any(|sign| fits(sign, line));
        let there = |signs| lines.iter().any(|line| any(signs, line));
        if there(&self.unless) || !(self.with.is_empty() || there(&self.with)) {
            return None;
        }
        lines.iter().rev().find(|line| any(&self.signs, line))
    }
}

/// What usually stops a machine at `place` that left these lines. Places are
/// points on a target's way, or the server's (`server-…`).
pub(crate) fn diagnose(place: &str, lines: &[Line], names: Names<'_>) -> Option<Diagnosis> {
    let shown = |cause: &&Cause, lines: &[Line]| cause.shown_by(lines).cloned();
    let here = || CAUSES.iter().filter(|cause| cause.is_at(place));
    let by_lines = here().find_map(|cause| Some((cause, shown(&cause, lines)?)));
    // What bootd was told is sure, wherever the machine was thought to be.
    let told: Vec<Line> = lines
        .iter()
        .filter(|line| line.source == Source::Bootd)
        .cloned()
        .collect();
    let by_report = || {
        CAUSES
            .iter()
            .find_map(|cause| Some((cause, shown(&cause, &told)?)))
    };
    if let Some((cause, line)) = by_lines.or_else(by_report) {
        return Some(cause.diagnosis(Some(&line), names));
    }
    here()
        .find(|cause| cause.usual)
        .map(|cause| cause.diagnosis(None, names))
}

/// Whether a line is of the sign's source and has the sign's parts, in order.
fn fits(sign: &str, line: &Line) -> bool {
    let Some((source, pattern)) = sign.split_once(": ") else {
        return false;
    };
    let mut rest = line.text.as_str();
    source == line.source.as_str()
        && pattern.split('*').all(|part| match rest.find(part) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::diagnose::doc::title;
    use crate::server::PLACES;
    use crate::target::Point;

    #[test]
    fn the_table_is_whole() {
        let table: Table = toml::from_str(include_str!("causes.toml")).unwrap();
        let ids: BTreeSet<_> = table.cause.iter().map(|cause| &cause.id).collect();
        assert_eq!(ids.len(), table.cause.len(), "two rows of one name");
        for cause in &table.cause {
            assert!(!cause.at.is_empty(), "{}", cause.id);
            for at in &cause.at {
                assert!(title(at).is_some(), "{}: {at}", cause.id);
            }
            assert!(cause.usual || !cause.signs.is_empty(), "{}", cause.id);
            for sign in cause.signs.iter().chain(&cause.with).chain(&cause.unless) {
                let source = sign.split_once(": ").map(|(source, _)| source);
                assert!(
                    Source::ALL.iter().any(|s| Some(s.as_str()) == source),
                    "{}: {sign}",
                    cause.id
                );
            }
        }
        let points = Point::all().filter(|point| *point != Point::Ready);
        let places = points.map(|point| point.about().id);
        for place in places.chain(PLACES.iter().map(|place| place.id)) {
            let usual = table.cause.iter().filter(|c| c.usual && c.is_at(place));
            assert_eq!(usual.count(), 1, "{place}");
        }
    }

    #[test]
    fn a_sign_fits_in_order_and_by_source() {
        let line = Line::new(Source::Nginx, "\"GET /ipxe/boot.ipxe HTTP/1.1\" 404 20");
        assert!(fits("nginx: /ipxe/* 404", &line));
        assert!(!fits("serial: /ipxe/* 404", &line));
        assert!(!fits("nginx: 404*/ipxe/", &line));
    }

    #[test]
    fn what_shows_it_is_one_line() {
        let text = "template: no `x`\n --> ipxe/a.tera:12:5\n  |\n12 | {{ x }}\n  |    ^\n";
        assert_eq!(short(text), "template: no `x` (ipxe/a.tera:12:5)");
        assert_eq!(short("one"), "one");
    }

    #[test]
    fn commands_name_the_lab_only_where_it_has_a_name() {
        let look = |lab| {
            let names = Names { lab, vm: "t1" };
            diagnose("booted", &[], names).unwrap().look
        };
        assert!(look("lab").starts_with("make ssh VM=t1 CMD="));
        assert!(look("b").starts_with("make ssh VM=t1 LAB=b CMD="));
    }
}

//! The table as `docs/troubleshooting.md` shows it.

use std::fmt::Write as _;
use std::path::Path;

use super::table::CAUSES;
use crate::server::PLACES;
use crate::target::Point;

const BEGIN: &str = "<!-- causes: from crates/lab/src/diagnose/causes.toml -->\n";
const END: &str = "<!-- end of causes -->\n";

/// What a place is called.
pub(super) fn title(place: &str) -> Option<&'static str> {
    let server = PLACES.iter().find(|known| known.id == place);
    let point = || Some(Point::named(place)?.about().title);
    server.map(|place| place.title).or_else(point)
}

fn table() -> String {
    let mut text = String::from(
        "| last stage | shown by | usual cause | look further |\n| --- | --- | --- | --- |\n",
    );
    for cause in CAUSES.iter() {
        let at: Vec<_> = cause.at.iter().filter_map(|at| title(at)).collect();
        let list = |signs: &[String]| {
            let signs: Vec<_> = signs
                .iter()
                .map(|sign| format!("`{}`", sign.replace('|', "\\|")))
                .collect();
            signs.join(", ")
        };
        let mut signs = list(&cause.signs);
        for (word, more) in [("with", &cause.with), ("unless", &cause.unless)] {
            if !more.is_empty() {
                let _ = write!(signs, "; {word} {}", list(more));
            }
        }
        if cause.usual && !signs.is_empty() {
            signs.push_str("; or no line at all");
        } else if signs.is_empty() {
            signs.push_str("no line at all");
        }
        let look = cause.look.replace("{lab}", "").replace("{vm}", "target1");
        let _ = writeln!(
            text,
            "| {} | {} | **{}**: {} | `{}` |",
            at.join(", "),
            signs,
            cause.id,
            cause.why,
            look.replace('|', "\\|")
        );
    }
    text
}

#[test]
fn the_document_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/troubleshooting.md");
    let text = fs_err::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the table's begin");
    let (shown, after) = rest.split_once(END).expect("the table's end");
    let table = table();
    if shown != table && std::env::var_os("UPDATE_DOCS").is_some() {
        fs_err::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(
        shown, table,
        "the table in docs/troubleshooting.md is not causes.toml's: UPDATE_DOCS=1 cargo test -p lab the_document_is_the_table"
    );
}

//! The small templates of task strings: `{{ needs.X.out }}`, `{{ lab.server.memory }}`.

/// A piece of a string.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// As it is.
    Text(&'a str),
    /// A dotted name, and where it begins in the string.
    Name(&'a str, usize),
}

/// What is wrong with a template, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken {
    /// Byte offset in the string.
    pub at: usize,
    /// What is wrong.
    pub message: String,
}

/// Splits `text`. A literal `{{` is written `{{ "{{" }}`.
pub fn pieces(text: &str) -> Result<Vec<Piece<'_>>, Broken> {
    let mut out = Vec::new();
    let mut pos = 0;
    while let Some(open) = text[pos..].find("{{").map(|i| i + pos) {
        if open > pos {
            out.push(Piece::Text(&text[pos..open]));
        }
        let inner = open + 2;
        if let Some(close) = text[inner..].trim_start().strip_prefix("\"{{\"")
            && let Some(end) = close.trim_start().strip_prefix("}}")
        {
            out.push(Piece::Text("{{"));
            pos = text.len() - end.len();
            continue;
        }
        let Some(close) = text[inner..].find("}}").map(|i| i + inner) else {
            return Err(Broken {
                at: open,
                message: "`{{` without `}}`".into(),
            });
        };
        let name = text[inner..close].trim();
        let at = inner + (text[inner..close].len() - text[inner..close].trim_start().len());
        if name.is_empty() {
            return Err(Broken {
                at: open,
                message: "`{{ }}` names nothing".into(),
            });
        }
        if let Some(bad) = name.find(|c: char| !(c.is_alphanumeric() || "._-+*".contains(c))) {
            return Err(Broken {
                at: at + bad,
                message: format!(
                    "`{name}` is not a dotted name like `needs.x.out` or `lab.server`"
                ),
            });
        }
        out.push(Piece::Name(name, at));
        pos = close + 2;
    }
    if pos < text.len() {
        out.push(Piece::Text(&text[pos..]));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_text_and_names() {
        assert_eq!(
            pieces("a {{ x.y }}{{z}} b"),
            Ok(vec![
                Piece::Text("a "),
                Piece::Name("x.y", 5),
                Piece::Name("z", 13),
                Piece::Text(" b")
            ])
        );
        assert_eq!(
            pieces("{{ \"{{\" }}x"),
            Ok(vec![Piece::Text("{{"), Piece::Text("x")])
        );
        assert_eq!(pieces("ab {{ x").unwrap_err().at, 3);
        assert_eq!(pieces("{{ x | y }}").unwrap_err().at, 4);
        assert!(pieces("{{}}").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}|[{} a.\"]{0,30}") {
            let _ = pieces(&text);
        }
    }
}

//! Text from the network, made fit to be shown.

/// `text` as one line of at most `max` characters: control characters, which
/// could move a terminal's cursor or start a new line of a log, become spaces.
pub fn one_line(text: &str, max: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut line: String = text.trim().chars().take(max).map(clean).collect();
    if text.trim().chars().nth(max).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn control_characters_and_length_are_bounded() {
        assert_eq!(one_line(" a\x1b[2Jb\nc\r\n", 80), "a [2Jb c");
        assert_eq!(one_line("äöü", 3), "äöü");
        assert_eq!(one_line("äöüß", 3), "äöü…");
    }
}

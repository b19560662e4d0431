//! `hermake graph --form svg`: tasks in columns by how much must come before them.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::status::State;

const CHAR: usize = 8;
const HEIGHT: usize = 26;
const ROW: usize = 38;
const GAP: usize = 56;
const MARGIN: usize = 16;

/// A task as it is drawn.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) state: State,
    /// Shown when the pointer rests on it.
    pub(super) detail: String,
    /// Positions of needed tasks in the list.
    pub(super) needs: Vec<usize>,
    /// Those that only come before.
    pub(super) after: Vec<usize>,
}

fn fill(state: State) -> &'static str {
    match state {
        State::Fresh => "#d8f0d8",
        State::Restorable => "#d0e8f8",
        State::Stale => "#ffe3b0",
        State::Waits => "#eeeeee",
        State::Error => "#f8c8c8",
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// `nodes` come after what they need.
pub(super) fn svg(nodes: &[Node]) -> String {
    let mut column = vec![0usize; nodes.len()];
    let mut rows: Vec<usize> = Vec::new();
    let mut widths: Vec<usize> = Vec::new();
    let mut row = vec![0usize; nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        let before = node.needs.iter().chain(&node.after);
        let c = before.map(|n| column[*n] + 1).max().unwrap_or(0);
        if rows.len() <= c {
            rows.resize(c + 1, 0);
            widths.resize(c + 1, 0);
        }
        (column[i], row[i]) = (c, rows[c]);
        rows[c] += 1;
        widths[c] = widths[c].max((node.name.chars().count() + 2) * CHAR);
    }
    let mut lefts = vec![MARGIN];
    for width in &widths {
        lefts.push(lefts.last().unwrap_or(&0) + width + GAP);
    }
    let width = lefts.last().unwrap_or(&0) + MARGIN - GAP.min(*lefts.last().unwrap_or(&0));
    let height = 2 * MARGIN + rows.iter().max().unwrap_or(&0) * ROW;
    let place = |i: usize| (lefts[column[i]], MARGIN + row[i] * ROW);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"monospace\" font-size=\"13\">\n"
    );
    let names: HashMap<usize, &str> = nodes.iter().map(|n| n.name.as_str()).enumerate().collect();
    for (i, node) in nodes.iter().enumerate() {
        let (x2, y2) = place(i);
        let y2 = y2 + HEIGHT / 2;
        for (list, dash) in [
            (&node.needs, ""),
            (&node.after, " stroke-dasharray=\"4 3\""),
        ] {
            for need in list {
                let (x1, y1) = place(*need);
                let (x1, y1) = (x1 + widths[column[*need]], y1 + HEIGHT / 2);
                let bend = (x2 - x1) / 2;
                let _ = writeln!(
                    text,
                    "<path d=\"M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}\" fill=\"none\" stroke=\"#777\"{dash}><title>{} → {}</title></path>",
                    x1 + bend,
                    x2 - bend,
                    escaped(names.get(need).unwrap_or(&"")),
                    escaped(&node.name)
                );
            }
        }
    }
    for (i, node) in nodes.iter().enumerate() {
        let (x, y) = place(i);
        let detail = if node.detail.is_empty() {
            node.state.mark().to_owned()
        } else {
            format!("{}: {}", node.state.mark(), node.detail)
        };
        let _ = writeln!(
            text,
            "<g><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{HEIGHT}\" rx=\"4\" fill=\"{}\" stroke=\"#555\"/><text x=\"{}\" y=\"{}\">{}</text></g>",
            escaped(&detail),
            widths[column[i]],
            fill(node.state),
            x + CHAR,
            y + HEIGHT - 9,
            escaped(&node.name)
        );
    }
    text + "</svg>\n"
}

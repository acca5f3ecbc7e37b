//! What the commands that print tables share: columns in line, and numbers that are short.

use std::fmt::Write;

/// Cells wider than this are cut.
const WIDTH_MAX: usize = 60;

/// Lays rows out with their cells in line, two spaces apart; `right` says which columns are set to the right.
/// Control characters are escaped, for cells may come from data.
pub(super) fn aligned(rows: &[Vec<String>], right: &[bool]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let gap = if column > 0 { "  " } else { "" };
            // Writing to a string cannot fail.
            let _ = if right.get(column) == Some(&true) {
                write!(line, "{gap}{cell:>width$}")
            } else {
                write!(line, "{gap}{cell:<width$}")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A cell without control characters, cut to a readable width.
pub(super) fn plain(cell: &str) -> String {
    let mut text: String = cell
        .chars()
        .take(WIDTH_MAX + 1)
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect();
    if text.chars().count() > WIDTH_MAX {
        text = text.chars().take(WIDTH_MAX - 1).chain(['…']).collect();
    }
    text
}

/// A number with four significant digits.
pub(super) fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    // Rounding the largest numbers up would make them infinite.
    let rounded: f64 =
        format!("{value:.3e}").parse().ok().filter(|rounded: &f64| rounded.is_finite()).unwrap_or(value);
    if (1e-4..1e9).contains(&rounded.abs()) { rounded.to_string() } else { format!("{rounded:e}") }
}

/// A number that may not exist.
pub(super) fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), number)
}

/// A share in per cent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_in_line_and_control_characters_are_seen() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["b\u{1b}[2J".to_owned(), "100".to_owned()]];
        assert_eq!(aligned(&rows, &[false, true]), "a             1\nb\\u{1b}[2J  100\n");
        assert_eq!(plain(&"x".repeat(200)).chars().count(), WIDTH_MAX);
    }

    #[test]
    fn numbers_are_short() {
        let shown: Vec<String> =
            [0.0, 1.0, 12345.678, -0.000123456, 1e-12, 1.25e308].into_iter().map(number).collect();
        assert_eq!(shown, ["0", "1", "12350", "-0.0001235", "1e-12", "1.25e308"]);
    }
}

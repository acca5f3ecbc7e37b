//! The page as Markdown: the same content without charts.

use super::page::{Block, Page, Table};

/// Characters that mean something in Markdown or in the HTML that it may hold.
const SPECIAL: &str = "\\`*_{}[]<>|~#&$";

/// Sets the page.
pub(super) fn render(page: &Page) -> String {
    let mut text = format!(
        "# {}\n\n{}\n\n## {}\n\n",
        escaped(&page.title),
        escaped(&page.about),
        escaped(&page.headline)
    );
    for line in &page.lead {
        text.push_str(&format!("{}\n\n", escaped(line)));
    }
    if !page.figures.is_empty() {
        let mut table = Table::new(&[("Figure", false), ("Value", true), ("Remark", false)]);
        table.rows = page
            .figures
            .iter()
            .map(|figure| vec![figure.label.clone(), figure.value.clone(), figure.note.clone()])
            .collect();
        text.push_str(&set(&table));
    }
    for section in &page.sections {
        text.push_str(&format!("## {}\n\n", escaped(&section.title)));
        for block in &section.blocks {
            match block {
                Block::Text(line) => text.push_str(&format!("{}\n\n", escaped(line))),
                Block::List(lines) => {
                    lines.iter().for_each(|line| text.push_str(&format!("- {}\n", escaped(line))));
                    text.push('\n');
                }
                Block::Table(table) => text.push_str(&set(table)),
                Block::Chart { .. } => {}
            }
        }
    }
    text.push_str("---\n\n");
    for line in &page.footer {
        text.push_str(&format!("{}\n\n", escaped(line)));
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn set(table: &Table) -> String {
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = row(table.head.iter().map(|(name, _)| escaped(name)).collect());
    text.push_str(&row(table
        .head
        .iter()
        .map(|(_, right)| if *right { "---:" } else { "---" }.to_owned())
        .collect()));
    for cells in &table.rows {
        text.push_str(&row(cells.iter().map(|cell| escaped(cell)).collect()));
    }
    text.push('\n');
    if !table.note.is_empty() {
        text.push_str(&format!("{}\n\n", escaped(&table.note)));
    }
    text
}

/// The text as itself, whatever it holds. A name may begin a line, so what makes a list there is escaped too.
fn escaped(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for (place, c) in text.chars().enumerate() {
        let starts_a_list = place == 0 && matches!(c, '-' | '+' | '=' | '!');
        // Between letters or digits an underscore is itself, and names are full of them.
        if (SPECIAL.contains(c) && c != '_') || starts_a_list || c == '_' && !is_inside_a_word(text, place) {
            line.push('\\');
        }
        line.push(c);
    }
    line
}

fn is_inside_a_word(text: &str, place: usize) -> bool {
    let at = |place: usize| text.chars().nth(place).is_some_and(char::is_alphanumeric);
    place.checked_sub(1).is_some_and(at) && at(place + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text_whatever_it_holds() {
        assert_eq!(escaped("<script>|`x`"), "\\<script\\>\\|\\`x\\`");
        assert_eq!(escaped("roc_auc _x_"), "roc_auc \\_x\\_");
        assert_eq!(escaped("- item"), "\\- item");
    }
}

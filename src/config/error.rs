//! What is wrong with a configuration: every mistake with its place, its line and how to mend it.
//!
//! Place in the flow: the reader in [`document`](super::document) collects mistakes, this makes them one
//! [`ConfigErrors`], which is drawn for people ([`ConfigErrors::render`]) or listed for programs
//! ([`ConfigErrors::mistakes`]).
//!
//! Invariant: the text that is drawn is a masked copy of the file, so no line of an error shows a value
//! that could be a credential.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, NamedSource, SourceCode,
    SourceSpan, SpanContents,
};

/// Columns of a drawn report.
const WIDTH: usize = 100;

/// Every mistake of one configuration file, in the order of the file; at least one.
#[derive(Debug, Clone)]
pub struct ConfigErrors {
    file: String,
    mistakes: Vec<Mistake>,
}

/// One mistake.
#[derive(Debug, Clone)]
pub struct Mistake {
    /// What is wrong, a fragment that begins in lower case.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
    /// Line of the file, from 1.
    pub line: usize,
    /// Column of the line in characters, from 1.
    pub column: usize,
    /// Bytes of the file that are wrong; `None` when the mistake is about the file as a whole.
    span: Option<Range<usize>>,
    source: Arc<WholeLines>,
}

impl ConfigErrors {
    /// Joins the mistakes of `file`. `text` is the file and `masked` the copy of equal length that may be
    /// shown.
    pub(super) fn new(file: &str, text: &str, masked: String, findings: Vec<Finding>) -> Self {
        let source = Arc::new(WholeLines(NamedSource::new(file, masked)));
        let mut mistakes: Vec<Mistake> = findings
            .into_iter()
            .map(|finding| {
                let (line, column) = place(text, finding.span.as_ref().map_or(0, |span| span.start));
                Mistake {
                    message: finding.message,
                    help: finding.help,
                    line,
                    column,
                    span: finding.span.map(|span| visible(text, span)),
                    source: Arc::clone(&source),
                }
            })
            .collect();
        mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
        Self { file: file.to_owned(), mistakes }
    }

    /// A file that cannot be read at all.
    pub(super) fn unreadable(file: &str, message: String, help: Option<String>) -> Self {
        let finding = Finding { span: None, message, help, rests: Rests::OnItself };
        Self::new(file, "", String::new(), vec![finding])
    }

    /// The file, as it was named.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The mistakes, in the order of the file.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }

    /// Draws every mistake with its line. Without `colour` the text is plain ASCII around the file's own
    /// characters, fit for logs.
    pub fn render(&self, colour: bool) -> String {
        let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::none() };
        let handler = GraphicalReportHandler::new_themed(theme).with_width(WIDTH).with_links(false);
        let mut text = String::new();
        for mistake in &self.mistakes {
            if handler.render_report(&mut text, mistake).is_err() {
                text.push_str(&mistake.to_string());
            }
            text.push('\n');
        }
        text.push_str(&self.to_string());
        text.push('\n');
        text
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.mistakes.len();
        write!(f, "{count} {} in {}", if count == 1 { "mistake" } else { "mistakes" }, self.file)
    }
}

impl std::error::Error for ConfigErrors {}

impl Diagnostic for ConfigErrors {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.mistakes.iter().map(|mistake| mistake as &dyn Diagnostic)))
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Mistake {}

impl Diagnostic for Mistake {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.span.as_ref().map(|_| &*self.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.span.clone()?;
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(None, span))))
    }
}

/// A source that is shown as the lines a mistake is on, and none around them: many mistakes stay readable,
/// and a line that is not wrong stays unseen.
#[derive(Debug)]
struct WholeLines(NamedSource<String>);

impl SourceCode for WholeLines {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        // Without lines around it the span itself is wanted, for its line and column.
        if lines_before == 0 && lines_after == 0 {
            return self.0.read_span(span, 0, 0);
        }
        let text = self.0.inner();
        let (start, end) = (span.offset(), span.offset().saturating_add(span.len()));
        let first = text.get(..start).ok_or(MietteError::OutOfBounds)?.rfind('\n').map_or(0, |at| at + 1);
        let rest = text.get(end..).ok_or(MietteError::OutOfBounds)?;
        let last = end + rest.find('\n').unwrap_or(rest.len());
        self.0.read_span(&SourceSpan::from(first..last), 0, 0)
    }
}

/// A mistake before its line is known.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) span: Option<Range<usize>>,
    pub(super) message: String,
    pub(super) help: Option<String>,
    pub(super) rests: Rests,
}

/// What a finding rests on: after a syntax error the rest of the file is unknown, and only findings that
/// rest on what was read before it are true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rests {
    /// On the value it points at.
    OnItself,
    /// On the whole document: something is missing, or a name is declared nowhere.
    OnTheWhole,
}

/// An empty span, as syntax errors have, widened to a character that a mark can stand under: the next one, or
/// at the end of a line the one before.
fn visible(text: &str, span: Range<usize>) -> Range<usize> {
    if !span.is_empty() {
        return span;
    }
    let start = span.start;
    let next = text.get(start..).and_then(|rest| rest.chars().next()).filter(|c| !matches!(c, '\n' | '\r'));
    let before = text.get(..start).and_then(|before| before.chars().next_back()).filter(|c| *c != '\n');
    match (next, before) {
        (Some(next), _) => start..start + next.len_utf8(),
        (None, Some(before)) => start - before.len_utf8()..start,
        (None, None) => span,
    }
}

/// Line and column, in characters and from 1, of a byte of the text.
pub(super) fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.get(line_start..).map_or(0, |rest| rest.chars().count()) + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let text = "a = 1\nµ = 2\n";
        assert_eq!(place(text, 0), (1, 1));
        assert_eq!(place(text, 6), (2, 1));
        assert_eq!(place(text, 9), (2, 3));
        assert_eq!(place(text, 10_000), (3, 1));
    }
}

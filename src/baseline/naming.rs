//! How the values of a categorical column become names.
//!
//! Events come as JSON, where a boolean is `true` and a number has no fixed spelling; a CSV file says
//! neither type nor spelling and may hold `True` and `3.0`. A column of text whose every value can be read
//! as a boolean, or as a number, is therefore written as JSON would have it. In any other column of text a
//! value is its own name, letter by letter: there `1.10` is a version and `True` is a word.
//!
//! Invariant: a value that carries its type has one name, whatever the column's naming.

use std::borrow::Cow;

use super::read::{Cell, Reading, read_text};
use crate::event::{Timestamp, WRONG_TYPE_NAME, canonical_number, cut_name};

/// How text becomes a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// As it stands; only blank text is missing.
    AsWritten,
    /// `True` and `TRUE` are `true`; `NA` and `null` are missing.
    Booleans,
    /// `3.0` is `3`; `NA`, `null` and `nan` are missing. A code such as `007` only looks like a number.
    Numbers,
}

impl Naming {
    /// The naming of a column with so many numbers, booleans and other names.
    pub(super) fn of_column(numbers: u64, booleans: u64, others: u64) -> Self {
        match (numbers, booleans, others) {
            (_, 0, 0) => Self::Numbers,
            (0, _, 0) => Self::Booleans,
            _ => Self::AsWritten,
        }
    }

    /// The name of a value; `None` is missing.
    pub(super) fn name<'a>(self, cell: Cell<'a>) -> Option<Cow<'a, str>> {
        Some(match cell {
            Cell::Missing => return None,
            Cell::Number(number) if number.is_nan() => return None,
            Cell::Number(number) => Cow::Owned(canonical_number(number)),
            Cell::Time(micros) => Cow::Owned(Timestamp::saturating_from_micros(micros).to_string()),
            Cell::Boolean(value) => Cow::Borrowed(word(value)),
            Cell::Name(name) => Cow::Borrowed(cut_name(name)),
            Cell::Foreign => Cow::Borrowed(WRONG_TYPE_NAME),
            Cell::Text(text) => return self.text(text),
        })
    }

    /// The name of a text of unknown type; `None` is missing.
    pub(super) fn text(self, text: &str) -> Option<Cow<'_, str>> {
        let as_written = || Some(Cow::Borrowed(cut_name(text)));
        match (self, read_text(text)) {
            (_, Reading::Missing) | (Self::Booleans | Self::Numbers, Reading::Placeholder) => None,
            (Self::Booleans, Reading::Boolean(value)) => Some(Cow::Borrowed(word(value))),
            (Self::Numbers, Reading::Number(number)) if number.is_nan() => None,
            (Self::Numbers, Reading::Number(number)) if !is_code(text.trim()) => {
                Some(Cow::Owned(canonical_number(number)))
            }
            (Self::Numbers, Reading::Number(_)) => Some(Cow::Borrowed(cut_name(text.trim()))),
            _ => as_written(),
        }
    }
}

fn word(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

fn is_code(text: &str) -> bool {
    text.len() > 1 && text.starts_with('0') && !text.starts_with("0.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_named_as_the_whole_column_says() {
        for (naming, text, name) in [
            (Naming::Numbers, "3.0", Some("3")),
            (Naming::Numbers, " 7 ", Some("7")),
            (Naming::Numbers, "007", Some("007")),
            (Naming::Numbers, "nan", None),
            (Naming::Numbers, "NA", None),
            (Naming::Booleans, "True", Some("true")),
            (Naming::Booleans, "null", None),
            (Naming::AsWritten, "1.10", Some("1.10")),
            (Naming::AsWritten, "True", Some("True")),
            (Naming::AsWritten, "NA", Some("NA")),
            (Naming::AsWritten, "nan", Some("nan")),
            (Naming::AsWritten, "male ", Some("male ")),
            (Naming::AsWritten, "  ", None),
        ] {
            assert_eq!(naming.name(Cell::Text(text)).as_deref(), name, "{naming:?} {text:?}");
        }
    }

    #[test]
    fn a_value_with_a_type_has_one_name() {
        for naming in [Naming::AsWritten, Naming::Booleans, Naming::Numbers] {
            let name = |cell| naming.name(cell).map(Cow::into_owned);
            assert_eq!(name(Cell::Number(3.0)).as_deref(), Some("3"));
            assert_eq!(name(Cell::Number(f64::NAN)), None);
            assert_eq!(name(Cell::Boolean(true)).as_deref(), Some("true"));
            assert_eq!(name(Cell::Name("3.0")).as_deref(), Some("3.0"));
            assert_eq!(name(Cell::Foreign).as_deref(), Some(WRONG_TYPE_NAME));
        }
    }
}

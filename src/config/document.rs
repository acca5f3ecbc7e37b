//! The TOML document with its spans, and the small reader that walks it.
//!
//! Place in the flow: between the parsed text and the topics (`service.rs`, `kafka.rs`, ...). A topic asks a
//! [`Table`] for its keys; each answer is an [`Item`] that converts itself or reports why it cannot.
//!
//! Convention: a reading function returns `Option<T>`, and `None` means that the mistake is already in the
//! [`Reader`]. So a topic reads *all* its keys first and only then joins them with `?`: every mistake of a
//! file is found in one run.
//!
//! Invariant: a table accepts the keys of its [`Section`] and no others, and sections are the only list of
//! keys there is.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Finding, Rests, place};
use super::{Purpose, sections};
use crate::event::Span;

/// A table of the configuration and the keys it may have.
#[derive(Debug)]
pub struct Section {
    /// Path of the table, as in `stream.fields`; empty for the document itself.
    pub path: &'static str,
    /// Whether the table may be written several times, as `[[path]]`.
    pub repeated: bool,
    /// Its keys, in the order the reference shows them.
    pub keys: &'static [Key],
}

/// A key of a section.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// One line for people: what is written there.
    pub about: &'static str,
}

/// A key with its line of explanation.
pub(super) const fn key(name: &'static str, about: &'static str) -> Key {
    Key { name, about }
}

impl Section {
    /// The section as it is written in a file.
    pub(super) fn header(&self) -> String {
        match (self.path, self.repeated) {
            ("", _) => "the document".to_owned(),
            (path, true) => format!("[[{path}]]"),
            (path, false) => format!("[{path}]"),
        }
    }

    /// The full path of one of its keys.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// What reading needs beside the document, and where it reports.
pub(super) struct Reader<'a> {
    /// The file's text.
    pub(super) text: &'a str,
    /// The directory that relative paths begin at.
    pub(super) directory: &'a Path,
    /// Environment variables.
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    /// What the configuration is read for.
    pub(super) purpose: Purpose,
    /// Mistakes so far.
    pub(super) findings: RefCell<Vec<Finding>>,
    /// Parts of the text that errors must not show, beside those that [`mask`](super::mask) knows.
    pub(super) hidden: RefCell<Vec<Range<usize>>>,
    /// For each value that was written as a reference: its path and the reference.
    pub(super) references: RefCell<BTreeMap<String, String>>,
}

impl Reader<'_> {
    /// Adds a mistake.
    pub(super) fn report(
        &self,
        span: Option<Range<usize>>,
        rests: Rests,
        message: String,
        help: Option<String>,
    ) {
        self.findings.borrow_mut().push(Finding { span, message, help, rests });
    }

    /// Hides the value of an unknown key from errors: it may be a credential under a misspelt name.
    pub(super) fn hide(&self, key: &Range<usize>, value: &Spanned<DeValue<'_>>) {
        if value.span().start >= key.end {
            self.hidden.borrow_mut().push(value.span());
            return;
        }
        // The table of a header or of a dotted key: its span is the key, and its values stand elsewhere.
        let each =
            |table: &DeTable<'_>| table.iter().for_each(|(name, value)| self.hide(&name.span(), value));
        match value.get_ref() {
            DeValue::Table(table) => each(table),
            DeValue::Array(array) => array.iter().filter_map(|item| item.get_ref().as_table()).for_each(each),
            _ => {}
        }
    }

    /// A path of the file, taken from the file's directory if it is relative.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }

    /// Notes that the value at `path` was written as this reference.
    pub(super) fn note_reference(&self, path: String, reference: String) {
        self.references.borrow_mut().insert(path, reference);
    }
}

/// A table of the document, opened as a section.
#[derive(Clone)]
pub(super) struct Table<'a> {
    pub(super) section: &'static Section,
    entries: &'a DeTable<'a>,
    span: Option<Range<usize>>,
    pub(super) reader: &'a Reader<'a>,
}

impl<'a> Table<'a> {
    /// Opens the document itself.
    pub(super) fn document(
        section: &'static Section,
        entries: &'a DeTable<'a>,
        reader: &'a Reader<'a>,
    ) -> Self {
        Self::open(section, entries, None, reader)
    }

    fn open(
        section: &'static Section,
        entries: &'a DeTable<'a>,
        span: Option<Range<usize>>,
        reader: &'a Reader<'a>,
    ) -> Self {
        let table = Self { section, entries, span, reader };
        for (name, value) in entries {
            if !section.keys.iter().any(|key| key.name == name.get_ref()) {
                table.refuse_key(name.get_ref(), name.span());
                reader.hide(&name.span(), value);
            }
        }
        table
    }

    fn refuse_key(&self, name: &str, span: Range<usize>) {
        let header = self.section.header();
        let message = if self.section.path.is_empty() {
            format!("unknown section or key `{name}`")
        } else {
            format!("unknown key `{name}` in `{header}`")
        };
        self.reader.report(Some(span), Rests::OnItself, message, Some(self.advice(name)));
    }

    fn advice(&self, name: &str) -> String {
        let known = || self.section.keys.iter().map(|key| key.name);
        if let Some(meant) = closest(name, known()) {
            return format!("did you mean `{meant}`?");
        }
        let elsewhere = sections().find(|section| section.keys.iter().any(|key| key.name == name));
        if let Some(section) = elsewhere {
            return format!("`{name}` belongs in `{}`", section.header());
        }
        let list: Vec<String> = known().map(|key| format!("`{key}`")).collect();
        format!("the keys here are {}", list.join(", "))
    }

    /// The value of a key, if it is written.
    pub(super) fn get(&self, key: &'static str) -> Option<Item<'a>> {
        debug_assert!(self.section.keys.iter().any(|known| known.name == key), "{key} is not in the section");
        let (name, value) = self.entries.get_key_value(key)?;
        let path = self.section.path_of(key);
        Some(Item { path, key_span: name.span(), value, reader: self.reader })
    }

    /// Reads a key that must be written.
    pub(super) fn need<T>(&self, key: &'static str, read: impl FnOnce(&Item<'a>) -> Option<T>) -> Option<T> {
        match self.get(key) {
            Some(item) => read(&item),
            None => {
                self.report_missing(key);
                None
            }
        }
    }

    /// Reads a key that may be left out.
    pub(super) fn maybe<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Item<'a>) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.get(key) {
            Some(item) => read(&item).map(Some),
            None => Some(None),
        }
    }

    /// Reads a key that has a default.
    pub(super) fn or<T>(
        &self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Item<'a>) -> Option<T>,
    ) -> Option<T> {
        self.maybe(key, read).map(|value| value.unwrap_or(default))
    }

    /// Says that a key is missing, unless an unknown key is likely the same, misspelt.
    fn report_missing(&self, key: &'static str) {
        let known = |name: &str| self.section.keys.iter().any(|known| known.name == name);
        let misspelt = self.entries.keys().any(|name| {
            !known(name.get_ref())
                && closest(name.get_ref(), self.section.keys.iter().map(|key| key.name)) == Some(key)
        });
        if misspelt {
            return;
        }
        let about = self.section.keys.iter().find(|known| known.name == key).map_or("", |key| key.about);
        let message = if self.section.path.is_empty() {
            format!("the section `{key}` is missing")
        } else {
            format!("`{key}` is missing in `{}`", self.section.header())
        };
        self.reader.report(self.span.clone(), Rests::OnTheWhole, message, Some(format!("{key}: {about}")));
    }

    /// Reports a mistake about the table as a whole.
    pub(super) fn refuse<T>(&self, message: String, help: String) -> Option<T> {
        self.reader.report(self.span.clone(), Rests::OnTheWhole, message, Some(help));
        None
    }
}

/// A value of the document with its place.
#[derive(Clone)]
pub(super) struct Item<'a> {
    /// Path of its key, for messages.
    pub(super) path: String,
    /// Where its key is.
    pub(super) key_span: Range<usize>,
    value: &'a Spanned<DeValue<'a>>,
    pub(super) reader: &'a Reader<'a>,
}

impl<'a> Item<'a> {
    /// Reports a mistake in this value.
    pub(super) fn refuse<T>(&self, message: String, help: impl Into<Option<String>>) -> Option<T> {
        self.reader.report(Some(self.value.span()), Rests::OnItself, message, help.into());
        None
    }

    /// Reports that this value does not fit the rest of the document.
    pub(super) fn unfit<T>(&self, message: String, help: impl Into<Option<String>>) -> Option<T> {
        self.reader.report(Some(self.value.span()), Rests::OnTheWhole, message, help.into());
        None
    }

    /// Reports that the key should not be here at all.
    pub(super) fn refuse_key<T>(&self, message: String, help: impl Into<Option<String>>) -> Option<T> {
        self.reader.report(Some(self.key_span.clone()), Rests::OnItself, message, help.into());
        None
    }

    /// Reports that the key is not known, and hides its value.
    pub(super) fn refuse_unknown<T>(&self, message: String, help: Option<String>) -> Option<T> {
        self.reader.hide(&self.key_span, self.value);
        self.refuse_key(message, help)
    }

    /// Its line, from 1.
    pub(super) fn line(&self) -> usize {
        place(self.reader.text, self.value.span().start).0
    }

    fn wrong_type<T>(&self, wanted: &str) -> Option<T> {
        let found = match self.value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a decimal number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.refuse(format!("`{}` must be {wanted}, this is {found}", self.path), None)
    }

    /// The string, if it is one.
    pub(super) fn as_str(&self) -> Option<&'a str> {
        match self.value.get_ref() {
            DeValue::String(text) => Some(text.as_ref()),
            _ => None,
        }
    }

    /// Whether it is a table.
    pub(super) fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    /// Whether it is a list.
    pub(super) fn is_list(&self) -> bool {
        self.value.get_ref().is_array()
    }

    /// A string.
    pub(super) fn string(&self) -> Option<&'a str> {
        self.as_str().or_else(|| self.wrong_type("a string"))
    }

    /// A name that people and machines see: not empty, at most 128 bytes, no control characters.
    pub(super) fn name(&self) -> Option<String> {
        let text = self.string()?;
        if text.is_empty() || text.len() > 128 || text.chars().any(char::is_control) {
            let message = format!("`{}` must have 1 to 128 bytes and no control characters", self.path);
            return self.refuse(message, None);
        }
        Some(text.to_owned())
    }

    /// A path, taken from the file's directory if it is relative.
    pub(super) fn path(&self) -> Option<PathBuf> {
        let text = self.string()?;
        if text.is_empty() || text.contains('\0') {
            return self.refuse(format!("`{}` must be a path", self.path), None);
        }
        Some(self.reader.resolve(text))
    }

    /// A whole number within a range.
    pub(super) fn whole(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let DeValue::Integer(integer) = self.value.get_ref() else {
            return self.wrong_type("a whole number");
        };
        match u64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let (low, high) = range.into_inner();
                self.refuse(format!("`{}` must be between {low} and {high}", self.path), None)
            }
        }
    }

    /// A whole number within a range, as a size.
    pub(super) fn size(&self, range: RangeInclusive<u32>) -> Option<usize> {
        self.small(range).and_then(|number| usize::try_from(number).ok())
    }

    /// A whole number within a small range.
    pub(super) fn small(&self, range: RangeInclusive<u32>) -> Option<u32> {
        let (low, high) = range.into_inner();
        self.whole(u64::from(low)..=u64::from(high)).and_then(|number| u32::try_from(number).ok())
    }

    /// True or false.
    pub(super) fn boolean(&self) -> Option<bool> {
        match self.value.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            _ => self.wrong_type("true or false"),
        }
    }

    /// A number within a range; a whole number will do.
    pub(super) fn number(&self, range: RangeInclusive<f64>) -> Option<f64> {
        let number: Option<f64> = match self.value.get_ref() {
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse().ok(),
            DeValue::Float(float) => float.as_str().parse().ok(),
            _ => return self.wrong_type("a number"),
        };
        match number.filter(|number| range.contains(number)) {
            Some(number) => Some(number),
            None => {
                let (low, high) = range.into_inner();
                self.refuse(format!("`{}` must be between {low} and {high}", self.path), None)
            }
        }
    }

    /// A length of time within a range.
    pub(super) fn span(&self, range: RangeInclusive<Span>) -> Option<Span> {
        const HELP: &str = "write a number and a unit, as in \"90s\", \"10m\", \"6h\", \"7d\" or \"1h30m\"";
        let Some(text) = self.as_str() else { return self.wrong_type("a length of time in quotes") };
        match text.parse::<Span>() {
            Ok(span) if range.contains(&span) => Some(span),
            Ok(_) => {
                let (low, high) = range.into_inner();
                self.refuse(format!("`{}` must be between {low} and {high}", self.path), None)
            }
            Err(_) => self.refuse(format!("`{}` is not a length of time", self.path), HELP.to_owned()),
        }
    }

    /// A string, whole number or true/false, as text.
    pub(super) fn plain_value(&self) -> Option<String> {
        match self.value.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Boolean(value) => Some(value.to_string()),
            DeValue::Integer(integer) if integer.radix() == 10 => Some(integer.as_str().to_owned()),
            _ => self.wrong_type("a string, a whole number, or true or false"),
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Option<T> {
        let text = self.string()?;
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*choice);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let message = format!("`{}` must be one of {}", self.path, quoted_list(&names));
        let meant = closest(text, names.into_iter());
        self.refuse(message, meant.map(|meant| format!("did you mean \"{meant}\"?")))
    }

    /// The elements of a list.
    pub(super) fn list(&self) -> Option<Vec<Self>> {
        let DeValue::Array(array) = self.value.get_ref() else { return self.wrong_type("a list") };
        Some(array.iter().map(|value| self.element(value)).collect())
    }

    /// A list of names.
    pub(super) fn names(&self) -> Option<Vec<String>> {
        all(self.list()?.iter().map(Self::name))
    }

    fn element(&self, value: &'a Spanned<DeValue<'a>>) -> Self {
        Self { path: self.path.clone(), key_span: value.span(), value, reader: self.reader }
    }

    /// The members of a table whose keys are the operator's own.
    pub(super) fn members(&self) -> Option<Vec<(&'a str, Self)>> {
        let DeValue::Table(table) = self.value.get_ref() else { return self.wrong_type("a table") };
        let member = |(name, value): (&'a Spanned<toml::de::DeString<'a>>, &'a Spanned<DeValue<'a>>)| {
            let path = format!("{}.{}", self.path, name.get_ref());
            (name.get_ref().as_ref(), Self { path, key_span: name.span(), value, reader: self.reader })
        };
        Some(table.iter().map(member).collect())
    }

    /// A table with the keys of a section.
    pub(super) fn table(&self, section: &'static Section) -> Option<Table<'a>> {
        match self.value.get_ref() {
            DeValue::Table(table) => Some(Table::open(section, table, Some(self.value.span()), self.reader)),
            DeValue::Array(_) => {
                let help = format!("write `[{}]`, once", section.path);
                self.refuse(format!("`{}` is one table, not a list", section.path), help)
            }
            _ => self.wrong_type("a table"),
        }
    }

    /// A list of tables with the keys of a section. What is no table is reported and left out; a single
    /// table is reported and read all the same.
    pub(super) fn tables(&self, section: &'static Section) -> Vec<Table<'a>> {
        match self.value.get_ref() {
            DeValue::Array(array) => {
                array.iter().filter_map(|value| self.element(value).table(section)).collect()
            }
            DeValue::Table(_) => {
                let help = format!("write `[[{}]]`, with two brackets", section.path);
                self.refuse::<()>(format!("`{}` is a list of tables", section.path), help);
                self.table(section).into_iter().collect()
            }
            _ => {
                self.wrong_type::<()>("a list of tables");
                Vec::new()
            }
        }
    }
}

/// Every value, if there are all: the iterator is run to its end first, so that each reports its mistakes.
pub(super) fn all<T>(values: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let values: Vec<Option<T>> = values.collect();
    values.into_iter().collect()
}

/// Names in double quotes, as a sentence lists them.
pub(super) fn quoted_list(names: &[&str]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

/// A name of the document in double quotes, as a message repeats it. A URL is not repeated: it may be a
/// credential in the wrong place.
pub(super) fn quoted(name: &str) -> String {
    if name.contains("://") { "(a URL)".to_owned() } else { format!("\"{}\"", name.escape_debug()) }
}

/// The known word that an unknown one most likely stands for: the same but for case and dashes, a few
/// letters apart, or one the beginning of the other.
pub(super) fn closest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '.'], "_");
    let word = plain(word);
    known
        .map(|candidate| {
            let other = plain(candidate);
            (strsim::damerau_levenshtein(&word, &other), strsim::jaro_winkler(&word, &other), candidate)
        })
        .filter(|(distance, likeness, candidate)| {
            *distance <= 1.max(candidate.chars().count().min(word.chars().count()) / 3) || *likeness >= 0.9
        })
        .min_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)))
        .map(|(_, _, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_was_meant_is_found_and_a_strange_one_is_not() {
        let known = ["data_dir", "listen", "latency_ms", "brokers", "id"];
        for (word, meant) in [
            ("lisen", Some("listen")),
            ("Data-Dir", Some("data_dir")),
            ("latency", Some("latency_ms")),
            ("brokres", Some("brokers")),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(closest(word, known.into_iter()), meant, "{word}");
        }
    }
}

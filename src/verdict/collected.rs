//! Reference windows outside of a baseline: learned in production, or written down by a replay.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use super::evidence::ReferenceWindow;
use crate::event::Span;

/// What the first line of a file of reference windows says it is.
const FORMAT: &str = "driftline-reference-windows/1";

/// A line is one window: a thousand columns take some 60 KB.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Most windows of one length that are read or learned.
pub const COLLECTED_MAX: usize = 4_096;

/// Reference windows by window length, in the order of their ends.
pub type ByLength = BTreeMap<Span, Vec<ReferenceWindow>>;

/// Reference windows of one model, by the baseline they were compared with, in hex.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Collected(BTreeMap<String, ByLength>);

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    model: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    baseline: String,
    length: Span,
    #[serde(flatten)]
    window: ReferenceWindow,
}

/// A file of reference windows cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CollectedError {
    /// It cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is something else.
    #[error(
        "line {line} is no reference window: {why}; write the file anew with `driftline replay --reference-out`"
    )]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// It is of another model.
    #[error(
        "it holds reference windows of model `{0}`: name this model's own file, or write it with `driftline replay --reference-out`"
    )]
    Model(String),
}

impl Collected {
    /// Adds a window, if there is room for it.
    pub fn push(&mut self, baseline: &str, length: Span, window: ReferenceWindow) {
        let held = self.0.entry(baseline.to_owned()).or_default().entry(length).or_default();
        if held.len() < COLLECTED_MAX {
            held.push(window);
        }
    }

    /// The windows that were compared with a baseline.
    pub fn of(&self, baseline: &str) -> Option<&ByLength> {
        self.0.get(baseline)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.values().flat_map(BTreeMap::values).map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes them as lines of JSON, a header first.
    ///
    /// # Errors
    /// [`CollectedError::Io`].
    pub fn write(&self, model: &str, out: &mut dyn Write) -> Result<(), CollectedError> {
        write_line(out, &Header { format: FORMAT.to_owned(), model: model.to_owned() })?;
        for (baseline, lengths) in &self.0 {
            for (length, window) in lengths
                .iter()
                .flat_map(|(length, windows)| windows.iter().map(move |window| (length, window)))
            {
                let line = Line { baseline: baseline.clone(), length: *length, window: window.clone() };
                write_line(out, &line)?;
            }
        }
        Ok(())
    }

    /// Reads what [`write`](Self::write) wrote for a model.
    ///
    /// # Errors
    /// [`CollectedError`].
    pub fn read(model: &str, input: &mut dyn BufRead) -> Result<Self, CollectedError> {
        let mut collected = Self::default();
        let mut text = Vec::new();
        for number in 1.. {
            text.clear();
            let mut limited = io::Read::take(&mut *input, LINE_BYTES_MAX as u64);
            let wrong = |why: String| CollectedError::Line { line: number, why };
            if limited.read_until(b'\n', &mut text)? == 0 {
                if number == 1 {
                    return Err(wrong("the file is empty".to_owned()));
                }
                break;
            }
            if number == 1 {
                let header: Header =
                    serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
                if header.format != FORMAT {
                    return Err(wrong(format!("its format is `{}`", header.format)));
                }
                if header.model != model {
                    return Err(CollectedError::Model(header.model));
                }
            } else {
                let line: Line = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
                collected.push(&line.baseline, line.length, line.window);
            }
        }
        let all = collected.0.values_mut().flat_map(BTreeMap::values_mut);
        all.for_each(|windows| windows.sort_by_key(|window| window.end));
        Ok(collected)
    }
}

fn write_line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    out.write_all(&serde_json::to_vec(value).map_err(io::Error::other)?)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Timestamp;
    use crate::verdict::{CellEvidence, Evidence};

    #[test]
    fn what_is_written_is_read_back_for_its_own_model() {
        let mut collected = Collected::default();
        let evidence = vec![Some(Evidence { surprise: 1.5, size: 90.0 }), None];
        let cells = vec![CellEvidence { segment: None, evidence }];
        let start = Timestamp::default();
        let hour = Span::from_secs(3600);
        collected.push("ab", hour, ReferenceWindow { start, end: start + hour, cells });
        let mut file = Vec::new();
        collected.write("credit", &mut file).expect("memory takes it");
        assert_eq!(Collected::read("credit", &mut file.as_slice()).expect("just written"), collected);
        let other = Collected::read("fraud", &mut file.as_slice()).expect_err("another model");
        assert!(other.to_string().contains("credit"));
        let empty = Collected::read("credit", &mut &file[..0]).expect_err("cut to nothing");
        assert!(empty.to_string().contains("the file is empty"), "{empty}");
        let cut = Collected::read("credit", &mut &file[..file.len() - 4]).expect_err("cut short");
        assert!(cut.to_string().contains("line 2"), "{cut}");
    }
}

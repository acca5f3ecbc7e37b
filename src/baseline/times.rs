//! Reads the event times of a table's rows.

use std::collections::BTreeMap;

use super::read::{Cell, Cells, Chunk};
use crate::event::decode::TimestampUnit;
use crate::event::{Span, Timestamp};

/// How the rows' times are read and cut into panes.
#[derive(Debug, Clone)]
pub(super) struct Times {
    /// The timestamp column.
    pub(super) column: String,
    unit: Option<TimestampUnit>,
    /// Length of a pane.
    pub(super) pane: Span,
    offset: Span,
}

impl Times {
    /// Panes of this length and offset by the time in `column`.
    pub(super) fn new(column: &str, (pane, offset): (Span, Span), unit: Option<TimestampUnit>) -> Self {
        Self { column: column.to_owned(), unit, pane, offset }
    }

    /// The time of each row of a chunk; `None` where it cannot be read.
    pub(super) fn of(&self, chunk: &Chunk) -> Vec<Option<Timestamp>> {
        let cells = self.cells(chunk);
        (0..chunk.rows).map(|row| time_of(cells.get(row), self.unit)).collect()
    }

    /// Whether a row whose time cannot be read has a number there, so that naming its unit would help.
    pub(super) fn is_number(&self, chunk: &Chunk, row: usize) -> bool {
        match self.cells(chunk).get(row) {
            Cell::Number(_) => true,
            Cell::Text(text) | Cell::Name(text) => text.trim().parse::<f64>().is_ok(),
            _ => false,
        }
    }

    /// The start of the pane that a time lies in.
    pub(super) fn pane_of(&self, time: Timestamp) -> Timestamp {
        time.floor_to(self.pane, self.offset)
    }

    /// The rows with a time, by the start of their pane.
    pub(super) fn by_pane(&self, times: &[Option<Timestamp>]) -> BTreeMap<Timestamp, Vec<usize>> {
        let mut groups: BTreeMap<Timestamp, Vec<usize>> = BTreeMap::new();
        for (row, time) in times.iter().enumerate() {
            if let Some(time) = time {
                groups.entry(self.pane_of(*time)).or_default().push(row);
            }
        }
        groups
    }

    fn cells<'c>(&self, chunk: &'c Chunk) -> &'c Cells {
        let place = chunk.header.iter().position(|name| **name == *self.column);
        place.and_then(|place| chunk.columns.get(place)).unwrap_or(&Cells::Skipped)
    }
}

fn time_of(cell: Cell<'_>, unit: Option<TimestampUnit>) -> Option<Timestamp> {
    let micros = |number: f64| {
        let scale = match unit? {
            TimestampUnit::Seconds => 1e6,
            TimestampUnit::Milliseconds => 1e3,
            TimestampUnit::Microseconds => 1.0,
            TimestampUnit::Rfc3339 => return None,
        };
        let micros = (number * scale).round();
        (micros.abs() < 9e18).then_some(micros as i64).and_then(Timestamp::from_micros)
    };
    let time = match cell {
        Cell::Time(micros) => Timestamp::from_micros(micros),
        Cell::Number(number) => micros(number),
        Cell::Name(text) | Cell::Text(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| micros(text.parse().ok()?))
        }
        Cell::Missing | Cell::Boolean(_) | Cell::Foreign => None,
    };
    // The last days of the calendar stand for "never", and their panes could not be written.
    time.filter(|time| time.is_plausible())
}

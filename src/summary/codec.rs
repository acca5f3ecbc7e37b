//! Summaries as bytes: what panes, stored windows and baseline files hold.
//!
//! Layout of format 1, all integers LEB128 varints unless said otherwise:
//!
//! ```text
//! u8 format
//! events features predictions labels
//! latency: number of entries, then (micros, count) each, micros ascending and as differences
//! number of columns, then for each:
//!   u8 kind (0 numeric, 1 categorical)
//!   missing nan +infinity -infinity wrong_type
//!   counts: length, then values; a zero is followed by how many more zeros come after it
//!   numeric:     low sums, high sums (length, then zigzag varints of 128 bits), sum, squares
//!   categorical: number of unseen names, then (hash as u64 little-endian, count, length, UTF-8)
//! ```
//!
//! A reader refuses a format it does not know.

use std::collections::BTreeMap;

use super::{
    Anomalies, CategoricalSummary, ColumnSummary, Counts, Latency, ModelSummary, NumericSummary, Rows,
    UNSEEN_EXAMPLES_MAX,
};

/// The format that is written.
pub const FORMAT_VERSION: u8 = 1;

/// No summary has more counts or columns than this; a larger number is damage.
const LENGTH_MAX: u64 = 1 << 20;

/// Why bytes are no summary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// A format of a newer version, or not a summary at all.
    #[error("summary format {0} is not known to this version")]
    Format(u8),
    /// The bytes end early, or hold what no summary holds.
    #[error("summary is damaged at byte {0}")]
    Damaged(usize),
}

impl ModelSummary {
    /// Writes the summary in the current format.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT_VERSION];
        for rows in [self.rows.events, self.rows.features, self.rows.predictions, self.rows.labels] {
            put(&mut out, rows.into());
        }
        let latencies: Vec<(u64, u32)> = self.latency.recorded().collect();
        put(&mut out, latencies.len() as u128);
        let mut before = 0;
        for (micros, times) in latencies {
            put(&mut out, u128::from(micros - before));
            put(&mut out, times.into());
            before = micros;
        }
        put(&mut out, self.columns.len() as u128);
        self.columns.iter().for_each(|column| put_column(&mut out, column));
        out
    }

    /// Reads a summary.
    ///
    /// # Errors
    /// [`CodecError`] when the format is unknown or the bytes are damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Input::new(bytes);
        let format = input.byte()?;
        if format != FORMAT_VERSION {
            return Err(CodecError::Format(format));
        }
        let rows = Rows {
            events: input.u64()?,
            features: input.u64()?,
            predictions: input.u64()?,
            labels: input.u64()?,
        };
        let mut latency = Latency::default();
        let mut micros: u64 = 0;
        for _ in 0..input.length()? {
            micros = micros.checked_add(input.u64()?).ok_or_else(|| input.damaged())?;
            let times = u32::try_from(input.u64()?).map_err(|_| input.damaged())?;
            latency.record_micros(micros, times);
        }
        let columns = (0..input.length()?).map(|_| input.column()).collect::<Result<_, _>>()?;
        input.end()?;
        Ok(Self { rows, latency, columns })
    }
}

// === writing ===

pub(super) fn put(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_signed(out: &mut Vec<u8>, value: i128) {
    put(out, ((value << 1) ^ (value >> 127)) as u128);
}

pub(super) fn put_counts(out: &mut Vec<u8>, counts: &Counts) {
    put(out, counts.len() as u128);
    let mut zeros: u128 = 0;
    let end_run = |out: &mut Vec<u8>, zeros: &mut u128| {
        if *zeros > 0 {
            out.push(0);
            put(out, *zeros - 1);
            *zeros = 0;
        }
    };
    for count in counts.iter() {
        if count == 0 {
            zeros += 1;
        } else {
            end_run(out, &mut zeros);
            put(out, count.into());
        }
    }
    end_run(out, &mut zeros);
}

fn put_column(out: &mut Vec<u8>, column: &ColumnSummary) {
    out.push(match column {
        ColumnSummary::Numeric(_) => 0,
        ColumnSummary::Categorical(_) => 1,
    });
    let anomalies = column.anomalies();
    for count in [
        anomalies.missing,
        anomalies.nan,
        anomalies.positive_infinity,
        anomalies.negative_infinity,
        anomalies.wrong_type,
    ] {
        put(out, count.into());
    }
    put_counts(out, column.counts());
    match column {
        ColumnSummary::Numeric(numeric) => {
            for sums in [&numeric.low, &numeric.high] {
                put(out, sums.len() as u128);
                sums.iter().for_each(|sum| put_signed(out, *sum));
            }
            put_signed(out, numeric.sum);
            put_signed(out, numeric.squares);
        }
        ColumnSummary::Categorical(categorical) => {
            put(out, categorical.unseen.len() as u128);
            for (hash, (name, times)) in &categorical.unseen {
                out.extend_from_slice(&hash.to_le_bytes());
                put(out, (*times).into());
                put(out, name.len() as u128);
                out.extend_from_slice(name.as_bytes());
            }
        }
    }
}

// === reading ===

pub(super) struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Nothing may follow.
    pub(super) fn end(&self) -> Result<(), CodecError> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.damaged()) }
    }

    /// The next eight bytes.
    pub(super) fn array(&mut self) -> Result<[u8; 8], CodecError> {
        let at = self.at;
        self.take(8)?.try_into().map_err(|_| CodecError::Damaged(at))
    }

    pub(super) fn damaged(&self) -> CodecError {
        CodecError::Damaged(self.at)
    }

    pub(super) fn byte(&mut self) -> Result<u8, CodecError> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.damaged())?;
        self.at += 1;
        Ok(byte)
    }

    fn u128(&mut self) -> Result<u128, CodecError> {
        let mut value: u128 = 0;
        for shift in (0..u128::BITS).step_by(7) {
            let byte = self.byte()?;
            let part = u128::from(byte & 0x7f);
            value |= part
                .checked_shl(shift)
                .filter(|moved| moved >> shift == part)
                .ok_or_else(|| self.damaged())?;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.damaged())
    }

    pub(super) fn u64(&mut self) -> Result<u64, CodecError> {
        u64::try_from(self.u128()?).map_err(|_| self.damaged())
    }

    pub(super) fn signed(&mut self) -> Result<i128, CodecError> {
        let value = self.u128()?;
        Ok((value >> 1) as i128 ^ -((value & 1) as i128))
    }

    pub(super) fn length(&mut self) -> Result<usize, CodecError> {
        let length = self.u64()?;
        if length > LENGTH_MAX {
            return Err(self.damaged());
        }
        usize::try_from(length).map_err(|_| self.damaged())
    }

    fn take(&mut self, length: usize) -> Result<&[u8], CodecError> {
        let end = self
            .at
            .checked_add(length)
            .filter(|end| *end <= self.bytes.len())
            .ok_or_else(|| self.damaged())?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub(super) fn counts(&mut self) -> Result<Counts, CodecError> {
        let length = self.length()?;
        let mut counts = Counts::zeros(length);
        let mut index = 0;
        while index < length {
            let count = self.u64()?;
            if count == 0 {
                index = self.length()?.checked_add(index + 1).ok_or_else(|| self.damaged())?;
            } else {
                counts.add(index, count);
                index += 1;
            }
        }
        if index == length { Ok(counts) } else { Err(self.damaged()) }
    }

    fn sums(&mut self) -> Result<Vec<i128>, CodecError> {
        (0..self.length()?).map(|_| self.signed()).collect()
    }

    fn column(&mut self) -> Result<ColumnSummary, CodecError> {
        let kind = self.byte()?;
        let anomalies = Anomalies {
            missing: self.u64()?,
            nan: self.u64()?,
            positive_infinity: self.u64()?,
            negative_infinity: self.u64()?,
            wrong_type: self.u64()?,
        };
        let counts = self.counts()?;
        match kind {
            0 => {
                let (low, high) = (self.sums()?, self.sums()?);
                let (sum, squares) = (self.signed()?, self.signed()?);
                Ok(ColumnSummary::Numeric(NumericSummary { counts, low, high, sum, squares, anomalies }))
            }
            1 => Ok(ColumnSummary::Categorical(CategoricalSummary {
                counts,
                anomalies,
                unseen: self.unseen()?,
            })),
            _ => Err(self.damaged()),
        }
    }

    fn unseen(&mut self) -> Result<BTreeMap<u64, (String, u64)>, CodecError> {
        let number = self.length()?;
        if number > UNSEEN_EXAMPLES_MAX {
            return Err(self.damaged());
        }
        let mut unseen = BTreeMap::new();
        for _ in 0..number {
            let hash = self.take(8)?.iter().rev().fold(0, |hash, byte| hash << 8 | u64::from(*byte));
            let times = self.u64()?;
            let length = self.length()?;
            let name = std::str::from_utf8(self.take(length)?).map(str::to_owned);
            unseen.insert(hash, (name.map_err(|_| self.damaged())?, times));
        }
        Ok(unseen)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Categories, CategoryIndex, FixedPoint, Grid, NumericScratch};
    use super::*;

    fn sample(values: &[f64], names: &[String]) -> ModelSummary {
        let grid = Grid::try_new((0..100).map(f64::from).collect(), FixedPoint { centre: 50.0, scale: 10.0 });
        let grid = grid.expect("valid grid");
        let mut numeric = NumericSummary::empty(&grid);
        numeric.observe_values(&grid, values.iter().copied().map(Some), &mut NumericScratch::default());
        let categories = Categories {
            top: vec!["a".into()],
            buckets: 0,
            rare: vec![],
            open: false,
            rare_singletons: None,
        };
        let index = CategoryIndex::new(&categories);
        let mut categorical = CategoricalSummary::empty(&categories);
        names.iter().for_each(|name| categorical.add(&categories, &index, name, 3));
        let mut latency = Latency::default();
        values.iter().for_each(|value| latency.record_ms(*value));
        ModelSummary {
            rows: Rows { events: 9, features: 7, predictions: 5, labels: 1 << 40 },
            latency,
            columns: vec![ColumnSummary::Numeric(numeric), ColumnSummary::Categorical(categorical)],
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            values in prop::collection::vec(-1e12..1e12f64, 0..100),
            names in prop::collection::vec("\\PC{0,80}", 0..30),
        ) {
            let summary = sample(&values, &names);
            prop_assert_eq!(ModelSummary::decode(&summary.encode()), Ok(summary));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut framed = vec![FORMAT_VERSION];
            framed.extend_from_slice(&bytes);
            let _ = ModelSummary::decode(&framed);
            let _ = ModelSummary::decode(&bytes);
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = sample(&[1.0, 2.0, 1e9], &["a".into(), "ü".into()]).encode();
        for end in 0..bytes.len() {
            assert!(ModelSummary::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
}

//! Outcome summaries as bytes.
//!
//! Layout of format 1, all integers LEB128 varints unless said otherwise, counts with runs of zeros as in the
//! codec of summaries:
//!
//! ```text
//! u8 format
//! predictions labels
//! counts of predictions, counts of outcomes
//! number of sums, then zigzag varints of 128 bits, with runs of zeros
//! number of cells of delay, then (stratum, outcome, bucket, count) each
//! u8 whether queries are a sample, number of queries, then for each: hash as u64 little-endian, number of
//! rows, then (score, relevance) as f64 little-endian
//! ```

use super::queries::RankedRow;
use super::{DelayCell, OutcomeSummary};
use crate::summary::codec::{CodecError, Input, put, put_counts, put_signed};

/// The format that is written.
const FORMAT: u8 = 1;

impl OutcomeSummary {
    /// Writes the summary in the current format.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        put(&mut out, self.predictions.into());
        put(&mut out, self.labels.into());
        put_counts(&mut out, &self.predicted);
        put_counts(&mut out, &self.outcomes);
        put_sums(&mut out, &self.sums);
        put(&mut out, self.delays.len() as u128);
        for (cell, count) in &self.delays {
            for part in [u64::from(cell.stratum), cell.outcome.into(), cell.bucket.into(), *count] {
                put(&mut out, part.into());
            }
        }
        out.push(u8::from(self.queries.is_sample()));
        put(&mut out, self.queries.len() as u128);
        for (query, rows) in self.queries.iter() {
            out.extend_from_slice(&query.to_le_bytes());
            put(&mut out, rows.len() as u128);
            for row in rows {
                out.extend_from_slice(&row.score.to_le_bytes());
                out.extend_from_slice(&row.relevance.to_le_bytes());
            }
        }
        out
    }

    /// Reads a summary.
    ///
    /// # Errors
    /// [`CodecError`] when the format is unknown or the bytes are damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Input::new(bytes);
        let format = input.byte()?;
        if format != FORMAT {
            return Err(CodecError::Format(format));
        }
        let mut summary = Self {
            predictions: input.u64()?,
            labels: input.u64()?,
            predicted: input.counts()?,
            outcomes: input.counts()?,
            sums: sums(&mut input)?,
            ..Self::default()
        };
        for _ in 0..input.length()? {
            let stratum = u16::try_from(input.u64()?).map_err(|_| input.damaged())?;
            let outcome = u16::try_from(input.u64()?).map_err(|_| input.damaged())?;
            let bucket = u8::try_from(input.u64()?).map_err(|_| input.damaged())?;
            let count = input.u64()?;
            summary.delays.insert(DelayCell { stratum, outcome, bucket }, count);
        }
        summary.queries.set_sample(input.byte()? != 0);
        for _ in 0..input.length()? {
            let query = u64::from_le_bytes(input.array()?);
            for _ in 0..input.length()? {
                let score = f64::from_le_bytes(input.array()?);
                let relevance = f64::from_le_bytes(input.array()?);
                if !score.is_finite() || !relevance.is_finite() {
                    return Err(input.damaged());
                }
                summary.queries.add(query, RankedRow { score, relevance });
            }
        }
        input.end()?;
        Ok(summary)
    }
}

fn put_sums(out: &mut Vec<u8>, sums: &[i128]) {
    put(out, sums.len() as u128);
    let mut rest = sums;
    while let Some((first, after)) = rest.split_first() {
        put_signed(out, *first);
        rest = after;
        if *first == 0 {
            let zeros = rest.iter().take_while(|sum| **sum == 0).count();
            put(out, zeros as u128);
            rest = rest.get(zeros..).unwrap_or_default();
        }
    }
}

fn sums(input: &mut Input<'_>) -> Result<Vec<i128>, CodecError> {
    let length = input.length()?;
    let mut sums = Vec::new();
    while sums.len() < length {
        let sum = input.signed()?;
        sums.push(sum);
        if sum == 0 {
            let zeros = input.length()?;
            if zeros > length - sums.len() {
                return Err(input.damaged());
            }
            sums.resize(sums.len() + zeros, 0);
        }
    }
    Ok(sums)
}

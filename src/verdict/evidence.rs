//! Evidence: what every alarming test says of a window, in one unit for all tests.
//!
//! The unit is the *surprise* −ln p of the test's own law for independent rows. Without drift and with
//! independent rows it follows the same exponential law for every test, so the largest over columns and
//! tests treats them alike; where rows are not independent it grows in proportion to the square of the
//! distance and to the number of rows, and reference windows say what is usual.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::baseline::{Baseline, Column};
use crate::drift::{DriftTest, Score, TESTS};
use crate::event::Role;

/// What one alarming test says of one column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// −ln p, in nats; not negative.
    pub surprise: f32,
    /// The effective number of rows nm/(n+m), n of the window and m of the reference.
    pub size: f32,
}

impl Evidence {
    /// The evidence of a score that has a p-value.
    pub fn of(score: &Score) -> Option<Self> {
        let log_p = score.log_p_value?;
        // Single precision tells windows apart well enough, and a learned window takes half the room.
        Some(Self::of_log_p(log_p, score.current_n, score.reference_n))
    }
}

impl Evidence {
    /// The evidence of a test with this logarithm of its p-value, on `n` rows of a window against `m` of the
    /// reference.
    pub fn of_log_p(log_p: f64, n: u64, m: u64) -> Self {
        let (n, m) = (n as f64, m as f64);
        Self { surprise: (-log_p).max(0.0) as f32, size: (n * m / (n + m).max(1.0)) as f32 }
    }
}

/// The tests that may alarm on a column, in the order of [`TESTS`].
///
/// Labels arrive late or never by their nature, so their absence is no drift.
pub fn alarming(column: &Column) -> impl Iterator<Item = &'static DriftTest> + use<> {
    let (kind, role) = (column.spec.kind, column.spec.role);
    TESTS.iter().filter(move |test| {
        test.alarms && test.kinds.contains(&kind) && !(role == Role::Label && test.name == "missing")
    })
}

/// Number of pairs of a column and a test that may alarm on it: the length of a window's evidence.
pub fn width(baseline: &Baseline) -> usize {
    baseline.columns.iter().map(|column| alarming(column).count()).sum()
}

/// The evidence of one window and segment: for each column in the baseline's order, for each test of
/// [`alarming`], what it says, or `None` where it could not be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellEvidence {
    /// The segment; `None` for all rows.
    pub segment: Option<String>,
    /// By column and test.
    #[serde(serialize_with = "pack", deserialize_with = "unpack")]
    pub evidence: Vec<Option<Evidence>>,
}

/// A window that stands for what is usual.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReferenceWindow {
    /// Start, inclusive.
    pub start: crate::event::Timestamp,
    /// End, exclusive.
    pub end: crate::event::Timestamp,
    /// All rows together, and each segment.
    pub cells: Vec<CellEvidence>,
}

/// Pairs of single-precision numbers in base 64, NaN for what could not be made: a fifth of the JSON.
fn pack<S: Serializer>(evidence: &[Option<Evidence>], serializer: S) -> Result<S::Ok, S::Error> {
    use base64::Engine;
    let absent = Evidence { surprise: f32::NAN, size: f32::NAN };
    let bytes: Vec<u8> = evidence
        .iter()
        .map(|one| one.unwrap_or(absent))
        .flat_map(|one| [one.surprise.to_le_bytes(), one.size.to_le_bytes()].concat())
        .collect();
    serializer.serialize_str(&base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes))
}

fn unpack<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Option<Evidence>>, D::Error> {
    use base64::Engine;
    use serde::de::Error;
    let text = String::deserialize(deserializer)?;
    let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
    let bytes = engine.decode(text).map_err(|_| D::Error::custom("evidence is not in base 64"))?;
    let (pairs, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(D::Error::custom("evidence is cut short"));
    }
    let number = |bytes: [u8; 4]| f32::from_le_bytes(bytes);
    let one = |&[a, b, c, d, e, f, g, h]: &[u8; 8]| {
        let (surprise, size) = (number([a, b, c, d]), number([e, f, g, h]));
        let is_sound = surprise.is_finite() && surprise >= 0.0 && size.is_finite() && size >= 0.0;
        is_sound.then_some(Evidence { surprise, size })
    };
    Ok(pairs.iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Timestamp;

    #[test]
    fn evidence_survives_being_written_down() {
        let some = Some(Evidence { surprise: 3.25, size: 812.5 });
        let window = ReferenceWindow {
            start: Timestamp::default(),
            end: Timestamp::default(),
            cells: vec![CellEvidence { segment: Some("DE".into()), evidence: vec![some, None, some] }],
        };
        let text = serde_json::to_string(&window).expect("plain data");
        assert_eq!(serde_json::from_str::<ReferenceWindow>(&text).expect("just written"), window);
        let damaged = text.replace("DE", "DE\",\"evidence\":\"!");
        assert!(serde_json::from_str::<ReferenceWindow>(&damaged).is_err());
    }
}

//! Records: all that is known of a case, as bytes.
//!
//! A record is a multiple of 8 bytes long, so that its place in a file is a 32-bit number of 8-byte slots.
//! Little endian:
//!
//! ```text
//!  0  checksum of the rest, with the record's place: u32
//!  4  length in slots: u16
//!  6  flags: u16
//!  8  key: 16 bytes
//! 24  time of the prediction, or of the label if there is no prediction: i64
//! 32  cell: u32
//! 36  class that was predicted: u16
//! 38  class that came true: u16
//! 40  the values: f64 each; then, each if its flag says so: amount f64, query u64, time of the label i64
//!     (where there is a prediction too), number that came true f64, the record that this one replaces
//!     (file u32, slot u32)
//! ```
//!
//! A file begins with a header of 32 bytes: `driftwai`, the format u32, the file's number u32, the event time at
//! which it was begun i64, a checksum u64.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::index::Kind;
use super::journal::Location;
use super::{Key, Prediction};
use crate::event::Timestamp;
use crate::summary::outcome::{Predicted, Truth};

/// Numbers of one prediction that a record holds.
pub const VALUES_MAX: usize = 4_096;

/// Bytes of a slot.
pub(super) const SLOT: usize = 8;

/// Bytes of a file's header.
pub(super) const HEADER_BYTES: usize = 32;

/// Bytes of the longest record.
pub(super) const RECORD_BYTES_MAX: usize = FIXED + SLOT * (VALUES_MAX + OPTIONAL_MAX);

const FIXED: usize = 40;
/// Slots of the fields that may be missing.
const OPTIONAL_MAX: usize = 5;
const MAGIC: &[u8; 8] = b"driftwai";
const FORMAT: u32 = 1;

const PREDICTION: u16 = 1;
const LABEL: u16 = 1 << 1;
const CLASS: u16 = 1 << 2;
const AMOUNT: u16 = 1 << 3;
const QUERY: u16 = 1 << 4;
const TRUTH_NUMBER: u16 = 1 << 5;
const REPLACES_ONE: u16 = 1 << 6;
const REPLACES_LABELS: u16 = 1 << 7;
const KNOWN: u16 = (1 << 8) - 1;

const CUT: &str = "a record ends too soon";

/// What came true, and when that was said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Label {
    pub(super) truth: Truth,
    pub(super) time: Timestamp,
}

impl Label {
    /// The greatest counts. Numbers are in the total order of IEEE 754.
    pub(super) fn rank(&self) -> (Timestamp, u8, i64) {
        match self.truth {
            Truth::Class(class) => (self.time, 0, i64::from(class)),
            Truth::Number(number) => {
                let bits = i64::from_le_bytes(number.to_le_bytes());
                (self.time, 1, if bits < 0 { bits ^ i64::MAX } else { bits })
            }
        }
    }
}

/// Which earlier records of its key a record takes the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replaces {
    Nothing,
    One(Location),
    /// All labels that waited.
    AllLabels,
}

/// A record.
#[derive(Debug, PartialEq)]
pub(super) struct Record {
    pub(super) key: Key,
    pub(super) prediction: Option<Prediction>,
    pub(super) label: Option<Label>,
}

/// What the index needs of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) key: Key,
    pub(super) kind: Kind,
    /// The time from which it expires.
    pub(super) time: Timestamp,
    pub(super) replaces: Replaces,
}

// === writing ===

/// Bytes of a record at most, whatever else it says.
pub(super) fn len_max(prediction: Option<&Prediction>) -> usize {
    FIXED + SLOT * (OPTIONAL_MAX + prediction.map_or(0, |prediction| prediction.predicted.values.len()))
}

/// Appends a record that will be at `at`. The prediction has at most [`VALUES_MAX`] values.
pub(super) fn encode(
    out: &mut Vec<u8>,
    at: Location,
    key: Key,
    prediction: Option<&Prediction>,
    label: Option<Label>,
    replaces: Replaces,
) {
    let start = out.len();
    let predicted = prediction.map(|prediction| &prediction.predicted);
    let class = predicted.and_then(|predicted| predicted.class);
    let true_class = match label.map(|label| label.truth) {
        Some(Truth::Class(class)) => class,
        Some(Truth::Number(_)) | None => 0,
    };
    let time = prediction.map(|prediction| prediction.time).or(label.map(|label| label.time));
    out.extend([0; 8]);
    out.extend(key.0);
    out.extend(time.unwrap_or_default().as_micros().to_le_bytes());
    out.extend(prediction.map_or(0, |prediction| prediction.cell).to_le_bytes());
    out.extend(class.unwrap_or(0).to_le_bytes());
    out.extend(true_class.to_le_bytes());
    let mut flags = if class.is_some() { CLASS } else { 0 };
    if let Some(predicted) = predicted {
        flags |= PREDICTION;
        predicted.values.iter().for_each(|value| out.extend(value.to_le_bytes()));
        flags |= push(out, AMOUNT, predicted.amount.map(f64::to_le_bytes));
        flags |= push(out, QUERY, predicted.query.map(u64::to_le_bytes));
    }
    if let Some(Label { truth, time }) = label {
        flags |= LABEL;
        push(out, 0, prediction.map(|_| time.as_micros().to_le_bytes()));
        if let Truth::Number(number) = truth {
            flags |= push(out, TRUTH_NUMBER, Some(number.to_le_bytes()));
        }
    }
    flags |= match replaces {
        Replaces::Nothing => 0,
        Replaces::AllLabels => REPLACES_LABELS,
        Replaces::One(old) => push(out, REPLACES_ONE, Some(old.to_bits().to_le_bytes())),
    };
    if let Some(record) = out.get_mut(start..) {
        seal(record, at, flags);
    }
}

fn push(out: &mut Vec<u8>, flag: u16, field: Option<[u8; 8]>) -> u16 {
    out.extend(field.iter().flatten());
    if field.is_some() { flag } else { 0 }
}

/// Writes length, flags and checksum. The length fits: a record has at most [`RECORD_BYTES_MAX`] bytes.
fn seal(record: &mut [u8], at: Location, flags: u16) {
    let slots = u16::try_from(record.len() / SLOT).unwrap_or(0);
    put(record, 4, slots.to_le_bytes());
    put(record, 6, flags.to_le_bytes());
    let checksum = checksum(record, at);
    put(record, 0, checksum.to_le_bytes());
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(place) = bytes.get_mut(at..at + N) {
        place.copy_from_slice(&value);
    }
}

/// The place is in it: a record at another's place is damage too.
fn checksum(record: &[u8], at: Location) -> u32 {
    let hash = xxh3_64_with_seed(record.get(4..).unwrap_or_default(), at.to_bits());
    u32::from_le_bytes(part(&hash.to_le_bytes(), 0).unwrap_or_default())
}

/// A file's header.
pub(super) fn header(file: u32, begun: Timestamp) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    put(&mut header, 0, *MAGIC);
    put(&mut header, 8, FORMAT.to_le_bytes());
    put(&mut header, 12, file.to_le_bytes());
    put(&mut header, 16, begun.as_micros().to_le_bytes());
    let checksum = xxh3_64(header.get(..24).unwrap_or_default());
    put(&mut header, 24, checksum.to_le_bytes());
    header
}

// === reading ===

fn part<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// The event time at which the file was begun, if this is its header.
pub(super) fn read_header(bytes: &[u8], file: u32) -> Result<Timestamp, &'static str> {
    let (Some(magic), Some(format), Some(number), Some(begun), Some(written)) =
        (part(bytes, 0), part(bytes, 8), part(bytes, 12), part(bytes, 16), part(bytes, 24))
    else {
        return Err("its header is cut off");
    };
    if &magic != MAGIC {
        return Err("it does not begin as a journal does");
    }
    if u32::from_le_bytes(format) != FORMAT {
        return Err("it was written by a newer version; run that version");
    }
    if xxh3_64(bytes.get(..24).unwrap_or_default()) != u64::from_le_bytes(written) {
        return Err("its header is not what was written");
    }
    if u32::from_le_bytes(number) != file {
        return Err("it is another file under this name");
    }
    Ok(Timestamp::saturating_from_micros(i64::from_le_bytes(begun)))
}

/// The length of the record that begins here, if it is here as a whole.
pub(super) fn whole(bytes: &[u8]) -> Option<usize> {
    len(bytes).filter(|len| *len <= bytes.len())
}

/// The length of the record that begins here; `None` when it cannot be one.
pub(super) fn len(bytes: &[u8]) -> Option<usize> {
    let len = usize::from(u16::from_le_bytes(part(bytes, 4)?)) * SLOT;
    (FIXED..=RECORD_BYTES_MAX).contains(&len).then_some(len)
}

/// Checks a record, which `bytes` holds and nothing else, and reads what the index needs.
pub(super) fn head(bytes: &[u8], at: Location) -> Result<Head, &'static str> {
    let fields = Fields::check(bytes, at)?;
    Ok(Head {
        key: fields.key()?,
        kind: fields.kind()?,
        time: fields.time()?,
        replaces: if fields.has(REPLACES_ONE) {
            let last = bytes.len().saturating_sub(SLOT);
            Replaces::One(Location::from_bits(u64::from_le_bytes(part(bytes, last).ok_or(CUT)?)))
        } else if fields.has(REPLACES_LABELS) {
            Replaces::AllLabels
        } else {
            Replaces::Nothing
        },
    })
}

/// Checks a record, which `bytes` holds and nothing else, and reads it.
pub(super) fn decode(bytes: &[u8], at: Location) -> Result<Record, &'static str> {
    let mut fields = Fields::check(bytes, at)?;
    let (key, time) = (fields.key()?, fields.time()?);
    if fields.kind()? == Kind::Label {
        return Ok(Record { key, prediction: None, label: Some(fields.label(time)?) });
    }
    let values = fields.values()?;
    let class = fields.has(CLASS).then(|| fields.number_at(36)).transpose()?;
    let amount = fields.optional(AMOUNT)?.map(f64::from_le_bytes);
    let query = fields.optional(QUERY)?.map(u64::from_le_bytes);
    let label = if fields.has(LABEL) {
        let time = i64::from_le_bytes(fields.next()?);
        Some(fields.label(Timestamp::saturating_from_micros(time))?)
    } else {
        None
    };
    let cell = u32::from_le_bytes(part(bytes, 32).ok_or(CUT)?);
    let predicted = Predicted { values, class, amount, query };
    Ok(Record { key, prediction: Some(Prediction { time, cell, predicted }), label })
}

/// The bytes of a record that was checked, and how far they were read.
struct Fields<'a> {
    bytes: &'a [u8],
    flags: u16,
    at: usize,
}

impl<'a> Fields<'a> {
    fn check(bytes: &'a [u8], at: Location) -> Result<Self, &'static str> {
        let written: [u8; 4] = part(bytes, 0).ok_or(CUT)?;
        if len(bytes) != Some(bytes.len()) || checksum(bytes, at) != u32::from_le_bytes(written) {
            return Err("a record is not what was written");
        }
        let flags = u16::from_le_bytes(part(bytes, 6).ok_or(CUT)?);
        if flags & !KNOWN != 0 {
            return Err("a record has what this version does not know; run the version that wrote it");
        }
        Ok(Self { bytes, flags, at: FIXED })
    }

    fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    fn key(&self) -> Result<Key, &'static str> {
        part(self.bytes, 8).map(Key).ok_or(CUT)
    }

    fn time(&self) -> Result<Timestamp, &'static str> {
        let micros = i64::from_le_bytes(part(self.bytes, 24).ok_or(CUT)?);
        Ok(Timestamp::saturating_from_micros(micros))
    }

    fn kind(&self) -> Result<Kind, &'static str> {
        match (self.has(PREDICTION), self.has(LABEL)) {
            (true, false) => Ok(Kind::Prediction),
            (true, true) => Ok(Kind::Matched),
            (false, true) => Ok(Kind::Label),
            (false, false) => Err("a record holds neither prediction nor label"),
        }
    }

    fn number_at(&self, at: usize) -> Result<u16, &'static str> {
        part(self.bytes, at).map(u16::from_le_bytes).ok_or(CUT)
    }

    /// All that is not another field.
    fn values(&mut self) -> Result<Box<[f64]>, &'static str> {
        let optional = [AMOUNT, QUERY, LABEL, TRUTH_NUMBER, REPLACES_ONE];
        let others = SLOT * optional.iter().filter(|flag| self.has(**flag)).count();
        let end = self.bytes.len().checked_sub(others).ok_or(CUT)?;
        let (values, _) = self.bytes.get(self.at..end).ok_or(CUT)?.as_chunks();
        self.at = end;
        Ok(values.iter().map(|value| f64::from_le_bytes(*value)).collect())
    }

    fn next(&mut self) -> Result<[u8; 8], &'static str> {
        let field = part(self.bytes, self.at).ok_or(CUT)?;
        self.at += SLOT;
        Ok(field)
    }

    fn optional(&mut self, flag: u16) -> Result<Option<[u8; 8]>, &'static str> {
        self.has(flag).then(|| self.next()).transpose()
    }

    fn label(&mut self, time: Timestamp) -> Result<Label, &'static str> {
        let truth = match self.optional(TRUTH_NUMBER)? {
            Some(number) => Truth::Number(f64::from_le_bytes(number)),
            None => Truth::Class(self.number_at(38)?),
        };
        Ok(Label { truth, time })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: Location = Location { file: 3, slot: 4 };

    fn truths() -> impl Strategy<Value = Truth> {
        prop_oneof![any::<u16>().prop_map(Truth::Class), any::<f64>().prop_map(Truth::Number)]
    }

    fn times() -> impl Strategy<Value = Timestamp> {
        any::<i64>().prop_map(Timestamp::saturating_from_micros)
    }

    fn predictions() -> impl Strategy<Value = Prediction> {
        let values = prop::collection::vec(any::<f64>(), 0..5);
        let class = prop::option::of(any::<u16>());
        let (amount, query) = (prop::option::of(any::<f64>()), prop::option::of(any::<u64>()));
        (times(), any::<u32>(), values, class, amount, query).prop_map(
            |(time, cell, values, class, amount, query)| {
                let predicted = Predicted { values: values.into(), class, amount, query };
                Prediction { time, cell, predicted }
            },
        )
    }

    fn records() -> impl Strategy<Value = (Record, Replaces)> {
        let label = (truths(), times()).prop_map(|(truth, time)| Label { truth, time });
        let key = any::<[u8; 16]>().prop_map(Key);
        let replaces = prop_oneof![
            Just(Replaces::Nothing),
            Just(Replaces::AllLabels),
            (0..99u32, any::<u32>()).prop_map(|(file, slot)| Replaces::One(Location { file, slot })),
        ];
        let held = (prop::option::of(predictions()), prop::option::of(label));
        (
            key,
            held.prop_filter("one of the two", |(prediction, label)| prediction.is_some() || label.is_some()),
            replaces,
        )
            .prop_map(|(key, (prediction, label), replaces)| (Record { key, prediction, label }, replaces))
    }

    fn encoded(record: &Record, replaces: Replaces) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, AT, record.key, record.prediction.as_ref(), record.label, replaces);
        out
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written((record, replaces) in records()) {
            let bytes = encoded(&record, replaces);
            prop_assert_eq!(bytes.len() % SLOT, 0);
            prop_assert!(bytes.len() <= len_max(record.prediction.as_ref()));
            prop_assert_eq!(whole(&bytes), Some(bytes.len()));
            let read = decode(&bytes, AT).expect("sound");
            // Of the bytes, not the numbers: NaN is not equal to itself.
            prop_assert_eq!(encoded(&read, replaces), bytes.clone());
            let head = head(&bytes, AT).expect("sound");
            prop_assert_eq!(head.replaces, replaces);
            prop_assert_eq!(head.key, record.key);
            let expected = record.prediction.map(|p| p.time).or(record.label.map(|l| l.time));
            prop_assert_eq!(Some(head.time), expected);
        }

        #[test]
        fn a_changed_record_is_refused(
            (record, replaces) in records(),
            place in any::<usize>(),
            by in 1u8..,
        ) {
            let mut bytes = encoded(&record, replaces);
            let place = place % bytes.len();
            bytes[place] ^= by;
            prop_assert!(decode(&bytes, AT).is_err());
            bytes[place] ^= by;
            let elsewhere = decode(&bytes, Location { file: 3, slot: 5 });
            prop_assert!(elsewhere.is_err());
            bytes.truncate(place);
            prop_assert!(decode(&bytes, AT).is_err());
        }
    }

    #[test]
    fn a_prediction_of_two_classes_takes_48_bytes_and_its_pair_64() {
        let predicted = Predicted { values: Box::new([0.25]), class: Some(0), amount: None, query: None };
        let prediction = Prediction { time: Timestamp::default(), cell: 1, predicted };
        let mut record = Record { key: Key([1; 16]), prediction: Some(prediction), label: None };
        assert_eq!(encoded(&record, Replaces::Nothing).len(), 48);
        record.label = Some(Label { truth: Truth::Class(1), time: Timestamp::default() });
        assert_eq!(encoded(&record, Replaces::One(AT)).len(), 64);
    }

    #[test]
    fn labels_are_ranked_by_time_and_then_by_truth() {
        let at = |micros, truth| Label { truth, time: Timestamp::saturating_from_micros(micros) }.rank();
        let ascending = [
            at(1, Truth::Number(9.0)),
            at(2, Truth::Class(0)),
            at(2, Truth::Class(1)),
            at(2, Truth::Number(-2.0)),
            at(2, Truth::Number(-1.0)),
            at(2, Truth::Number(0.5)),
            at(2, Truth::Number(1e300)),
        ];
        assert!(ascending.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn the_header_names_the_file() {
        let begun = Timestamp::saturating_from_micros(77);
        let mut header = header(5, begun);
        assert_eq!(read_header(&header, 5), Ok(begun));
        assert!(read_header(&header, 6).is_err());
        header[17] ^= 1;
        assert!(read_header(&header, 5).is_err());
        assert!(read_header(&header[..20], 5).is_err());
    }
}

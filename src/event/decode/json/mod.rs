//! JSON objects, decoded in one pass straight into columns.
//!
//! Place in the flow: the format `json` of [`DECODERS`](super::DECODERS). Pure. A record's bytes are read
//! once along a tree of the keys that the mapping names ([`plan`]), values go straight into the cells of
//! their columns ([`columns`]), and everything else is checked and passed over ([`scan`]).
//!
//! Invariant: the whole record is checked against RFC 8259 before a row of it is kept, so a record is an
//! event with all its values or a reject, never a part of one.
//!
//! # What becomes of a record
//!
//! - No bytes (a tombstone) or only white space: `empty`. More than `bytes_max` bytes: `too_large`. Bytes
//!   that are not UTF-8: `invalid_utf8`. Malformed, cut off, with bytes behind it or a second value, with
//!   half of an escaped surrogate pair: `malformed`. Nested deeper than `depth_max` (at most 1,024, the
//!   record itself is level 1): `too_deep`. A value that is no object: `not_an_object`.
//! - No timestamp, or null: `missing_timestamp`; one that cannot be read or lies outside the years 1 to
//!   9999: `bad_timestamp`. No model, null, or neither string nor number: `missing_model`.
//! - The detail says what is wrong at which byte (from 0) or pointer, and never quotes a value.
//! - Of a key that comes twice the last value holds, also when it is null or an object without the
//!   members of the first.
//!
//! # What becomes of a value
//!
//! - In a numeric column a number is the nearest double (integers beyond 2^53 too; `1e999` is +∞);
//!   the strings `NaN`, `nan`, `Infinity`, `+Infinity`, `inf`, `-Infinity`, `-inf` are what they say; null
//!   or absent is null; everything else is [`wrong_type`](crate::event::wrong_type).
//! - In a categorical column a string is itself, up to [`NAME_BYTES_MAX`](crate::event::NAME_BYTES_MAX)
//!   bytes; a boolean is `true` or `false`; a number is named by
//!   [`canonical_number`](crate::event::canonical_number); null or absent is null; an array or object is
//!   [`WRONG_TYPE_NAME`](crate::event::WRONG_TYPE_NAME).
//! - The segment is the same, but an array or object is null. Model and version are a string or a number,
//!   the latency is a number, the identifier is a string or an integer as written, up to 1,024 bytes;
//!   anything else is null.
//! - A timestamp in seconds, milliseconds or microseconds is a number or a string of one, read from its
//!   digits and rounded down to the microsecond; RFC 3339 is a string.

mod columns;
mod intern;
mod number;
mod plan;
mod read;
mod scan;
mod timestamp;

#[cfg(test)]
mod tests;

use columns::Columns;
use plan::Plan;
use read::Memory;
use scan::{DEPTH_LIMIT, Fault};

use super::{Decode, Decoded, Field, Mapping, RecordLimits, TimestampUnit};
use crate::event::{EventBatch, EventSchema, RawBatch, RejectReason, Rejected};

/// Decodes JSON records of one stream.
#[derive(Debug)]
pub(super) struct JsonDecoder {
    mapping: Mapping,
    schema: EventSchema,
    limits: RecordLimits,
    plan: Plan,
    memory: Memory,
    columns: Columns,
}

impl JsonDecoder {
    pub(super) fn new(mapping: &Mapping, schema: &EventSchema, limits: RecordLimits) -> Self {
        let plan = Plan::new(mapping, schema);
        Self {
            memory: Memory::new(&plan),
            plan,
            columns: Columns::new(mapping, schema),
            mapping: mapping.clone(),
            schema: schema.clone(),
            limits: RecordLimits { depth_max: limits.depth_max.min(DEPTH_LIMIT), ..limits },
        }
    }

    fn record(&mut self, row: usize, bytes: &[u8]) -> Result<(), Rejected> {
        let rejected = |reason, detail| Rejected { row, reason, detail };
        check_bytes(bytes, self.limits)
            .and_then(|()| {
                read::read(bytes, self.limits.depth_max, &self.plan, &mut self.memory, &mut self.columns)
            })
            .map_err(|fault| rejected(fault.reason, format!("{} at byte {}", fault.what, fault.at)))?;
        self.columns.keep(row).map_err(|reason| rejected(reason, self.missing_detail(reason)))
    }

    /// What a well-formed record lacks, and where.
    fn missing_detail(&self, reason: RejectReason) -> String {
        let timestamp = &self.mapping.timestamp;
        match (reason, &self.mapping.model) {
            (RejectReason::MissingTimestamp, _) => format!("no timestamp at `{timestamp}`"),
            (RejectReason::BadTimestamp, _) => {
                let expected = match self.mapping.timestamp_unit {
                    TimestampUnit::Seconds => "a number of seconds since 1970",
                    TimestampUnit::Milliseconds => "a number of milliseconds since 1970",
                    TimestampUnit::Microseconds => "a number of microseconds since 1970",
                    TimestampUnit::Rfc3339 => "RFC 3339 text",
                };
                format!("the timestamp at `{timestamp}` is not {expected} within the years 1 to 9999")
            }
            (RejectReason::MissingModel, Field::Pointer(pointer)) => {
                format!("no string or number that names the model at `{pointer}`")
            }
            _ => "the names and identifiers of one batch exceed 2 GiB".to_owned(),
        }
    }

    /// The batch of the rows kept. Should Arrow refuse it, every record is a reject and none is lost.
    fn finish(&mut self, raw: &RawBatch, rejected: Vec<Rejected>) -> Decoded {
        match self.columns.finish(raw.origin.clone(), &self.schema) {
            Ok(batch) => Decoded { batch, rejected },
            Err(error) => {
                let reject = |row| Rejected {
                    row,
                    reason: RejectReason::Malformed,
                    detail: format!("the columns of the batch do not fit: {error}"),
                };
                Decoded {
                    batch: EventBatch::empty(raw.origin.clone(), self.schema.clone()),
                    rejected: (0..raw.len()).map(reject).collect(),
                }
            }
        }
    }
}

impl Decode for JsonDecoder {
    fn decode(&mut self, raw: &RawBatch) -> Decoded {
        let mut rejected = Vec::new();
        self.columns.begin(raw.len());
        for row in 0..raw.len() {
            if let Err(reject) = self.record(row, raw.payload(row)) {
                self.columns.drop_row();
                rejected.push(reject);
            }
        }
        self.finish(raw, rejected)
    }
}

/// What can be told before reading.
fn check_bytes(bytes: &[u8], limits: RecordLimits) -> Result<(), Fault> {
    let fault = |reason, what, at| Err(Fault { reason, what, at });
    if bytes.len() > limits.bytes_max {
        return fault(RejectReason::TooLarge, "the record goes on beyond its limit", limits.bytes_max);
    }
    if bytes.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
        return fault(RejectReason::Empty, "the record has no value and ends", bytes.len());
    }
    // Nearly every record is ASCII, which is told faster than UTF-8 is checked.
    if bytes.is_ascii() {
        return Ok(());
    }
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(()),
        Err(error) => fault(RejectReason::InvalidUtf8, "the bytes are not UTF-8", error.valid_up_to()),
    }
}

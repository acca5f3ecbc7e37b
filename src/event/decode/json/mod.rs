//! JSON objects, decoded in one pass straight into columns.

use super::{Decode, Decoded, Mapping, RecordLimits};
use crate::event::{EventSchema, RawBatch};

/// Decodes JSON records of one stream.
pub(super) struct JsonDecoder {}

impl JsonDecoder {
    pub(super) fn new(_mapping: &Mapping, _schema: &EventSchema, _limits: RecordLimits) -> Self {
        Self {}
    }
}

impl Decode for JsonDecoder {
    fn decode(&mut self, _raw: &RawBatch) -> Decoded {
        unimplemented!()
    }
}

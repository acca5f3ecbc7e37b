//! The columns of decoded events and the batch that carries them.

use std::sync::Arc;

use arrow::array::{Array, AsArray, DictionaryArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use serde::{Deserialize, Serialize};

use super::Origin;

/// What a watched column is to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// An input of the model.
    Feature,
    /// What the model decided.
    Prediction,
    /// What the decision was made from: a probability or other real number.
    Score,
    /// What turned out to be true.
    Label,
}

/// How a column's values are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// Real numbers on a grid.
    Numeric,
    /// Names.
    Categorical,
}

/// A watched column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ColumnSpec {
    /// Unique among a model's columns, whatever the role.
    pub name: Arc<str>,
    /// What it is to the model.
    pub role: Role,
    /// How it is counted.
    pub kind: ColumnKind,
}

/// The Arrow schema of one stream's events: fixed columns first, then the watched ones in order.
#[derive(Debug, Clone)]
pub struct EventSchema {
    columns: Vec<ColumnSpec>,
    arrow: SchemaRef,
}

impl EventSchema {
    /// Position of the record in its raw batch, `UInt32`.
    pub const ROW: usize = 0;
    /// Event time, `Timestamp(Microsecond, UTC)`.
    pub const TIMESTAMP: usize = 1;
    /// Model name, `Dictionary(Int32, Utf8)`.
    pub const MODEL: usize = 2;
    /// Model version, `Dictionary(Int32, Utf8)`, null when absent.
    pub const VERSION: usize = 3;
    /// Segment value, `Dictionary(Int32, Utf8)`, null when absent.
    pub const SEGMENT: usize = 4;
    /// Identifier that joins a prediction with its label, `Utf8`, null when absent or not mapped.
    pub const ID: usize = 5;
    /// Serving latency in milliseconds, `Float64`, null when absent or not mapped.
    pub const LATENCY: usize = 6;
    /// The first watched column.
    pub const FIRST: usize = 7;

    /// The schema for these watched columns: numeric ones are `Float64`, categorical ones
    /// `Dictionary(Int32, Utf8)`, both nullable.
    pub fn new(columns: Vec<ColumnSpec>) -> Self {
        let names = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let mut fields = vec![
            Field::new("@row", DataType::UInt32, false),
            Field::new("@timestamp", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
            Field::new("@model", names(), false),
            Field::new("@version", names(), true),
            Field::new("@segment", names(), true),
            Field::new("@id", DataType::Utf8, true),
            Field::new("@latency_ms", DataType::Float64, true),
        ];
        fields.extend(columns.iter().map(|column| {
            let data_type = match column.kind {
                ColumnKind::Numeric => DataType::Float64,
                ColumnKind::Categorical => names(),
            };
            Field::new(column.name.as_ref(), data_type, true)
        }));
        Self { columns, arrow: Arc::new(Schema::new(fields)) }
    }

    /// The watched columns; column `i` is Arrow column `FIRST + i`.
    pub fn columns(&self) -> &[ColumnSpec] {
        &self.columns
    }

    /// The Arrow schema.
    pub fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }
}

/// Bits of the one NaN that stands for "a value of the wrong type was here".
///
/// A numeric column tells four things apart: null is a missing value, an ordinary NaN and the
/// infinities are themselves, and this NaN (a quiet one with a payload that no arithmetic makes) is a
/// value that was there but was not a number. So a column stays one plain `Float64` array.
pub const WRONG_TYPE_BITS: u64 = 0x7ff8_0000_d81f_7e57;

/// The number that stands for a value of the wrong type; see [`WRONG_TYPE_BITS`].
pub fn wrong_type() -> f64 {
    f64::from_bits(WRONG_TYPE_BITS)
}

/// Whether this number stands for a value of the wrong type.
pub fn is_wrong_type(value: f64) -> bool {
    value.to_bits() == WRONG_TYPE_BITS
}

/// Decoded events of one partition, in offset order.
#[derive(Debug, Clone)]
pub struct EventBatch {
    /// Where they come from.
    pub origin: Origin,
    schema: EventSchema,
    batch: RecordBatch,
}

impl EventBatch {
    /// Joins a record batch with its schema.
    ///
    /// # Errors
    /// When the batch does not have the schema's types, or a fixed column without nulls has one.
    pub fn try_new(
        origin: Origin,
        schema: EventSchema,
        columns: Vec<arrow::array::ArrayRef>,
    ) -> Result<Self, arrow::error::ArrowError> {
        let batch = RecordBatch::try_new(schema.arrow.clone(), columns)?;
        Ok(Self { origin, schema, batch })
    }

    /// A batch without events.
    pub fn empty(origin: Origin, schema: EventSchema) -> Self {
        let batch = RecordBatch::new_empty(schema.arrow.clone());
        Self { origin, schema, batch }
    }

    /// Number of events.
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether there are no events.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The schema.
    pub fn schema(&self) -> &EventSchema {
        &self.schema
    }

    /// The Arrow batch.
    pub fn arrow(&self) -> &RecordBatch {
        &self.batch
    }

    /// For each event, the position of its record in the raw batch.
    pub fn rows(&self) -> &[u32] {
        self.batch.column(EventSchema::ROW).as_primitive::<arrow::datatypes::UInt32Type>().values()
    }

    /// For each event, its event time in microseconds since the epoch.
    pub fn timestamps(&self) -> &[i64] {
        self.batch.column(EventSchema::TIMESTAMP).as_primitive::<TimestampMicrosecondType>().values()
    }

    /// A name column: [`EventSchema::MODEL`], [`EventSchema::VERSION`] or [`EventSchema::SEGMENT`], or a
    /// categorical watched column.
    pub fn names(&self, column: usize) -> Names<'_> {
        Names::of(self.batch.column(column).as_dictionary::<Int32Type>())
    }

    /// A `Float64` column: [`EventSchema::LATENCY`] or a numeric watched column.
    pub fn numbers(&self, column: usize) -> &Float64Array {
        self.batch.column(column).as_primitive()
    }

    /// The identifiers.
    pub fn ids(&self) -> &StringArray {
        self.batch.column(EventSchema::ID).as_string()
    }
}

/// A dictionary column taken apart: distinct names, and for each row the index of its name.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// The distinct names.
    pub values: &'a StringArray,
    /// For each row an index into `values`; meaningless where the row is null.
    pub keys: &'a [i32],
    nulls: Option<&'a arrow::buffer::NullBuffer>,
}

impl<'a> Names<'a> {
    /// Names without nulls, from their parts.
    pub fn new(values: &'a StringArray, keys: &'a [i32]) -> Self {
        Self { values, keys, nulls: None }
    }

    fn of(array: &'a DictionaryArray<Int32Type>) -> Self {
        Self { values: array.values().as_string(), keys: array.keys().values(), nulls: array.keys().nulls() }
    }

    /// Whether row `row` has no name.
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.is_some_and(|nulls| nulls.is_null(row))
    }

    /// Whether any row has no name.
    pub fn has_nulls(&self) -> bool {
        self.nulls.is_some_and(|nulls| nulls.null_count() > 0)
    }

    /// The name of row `row`.
    pub fn get(&self, row: usize) -> Option<&'a str> {
        if self.is_null(row) {
            return None;
        }
        let key = usize::try_from(*self.keys.get(row)?).ok()?;
        (key < self.values.len()).then(|| self.values.value(key))
    }
}

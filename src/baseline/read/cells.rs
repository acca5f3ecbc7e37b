//! The values of one column of a chunk, whatever the format.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampMicrosecondType};

use crate::event::wrong_type;

/// The values of one column.
#[derive(Debug, Clone)]
pub(crate) enum Cells {
    /// Not decoded.
    Skipped,
    /// Numbers; null is missing.
    Numbers(Float64Array),
    /// Points in time; as numbers they count seconds since the epoch.
    Times(TimestampMicrosecondArray),
    /// Booleans; null is missing.
    Booleans(BooleanArray),
    /// Strings that are known to be strings; null is missing.
    Names(StringArray),
    /// Text whose type nobody said, as in CSV; null is missing.
    Text(StringArray),
    /// Values of any type, as in JSON.
    Mixed(Mixed),
    /// So many values that can be neither numbers nor names.
    Foreign(usize),
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cell<'a> {
    /// Null or absent.
    Missing,
    /// A number, perhaps not finite.
    Number(f64),
    /// Microseconds since the epoch.
    Time(i64),
    /// True or false.
    Boolean(bool),
    /// A string.
    Name(&'a str),
    /// Text that may stand for a number; see [`read_text`].
    Text(&'a str),
    /// An array, an object, bytes.
    Foreign,
}

/// What a text of unknown type can be read as.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Reading {
    /// Nothing but white space.
    Missing,
    /// `NA` or `null`: missing among numbers, a name among names.
    Placeholder,
    /// A number; `NaN` and `inf` are some.
    Number(f64),
    /// `true`, `True`, `TRUE`, `false`, `False`, `FALSE`.
    Boolean(bool),
    /// Anything else.
    Name,
}

/// Reads a text of unknown type.
pub(crate) fn read_text(text: &str) -> Reading {
    let trimmed = text.trim();
    let Some(&first) = trimmed.as_bytes().first() else { return Reading::Missing };
    match trimmed {
        "NA" | "null" => return Reading::Placeholder,
        "true" | "True" | "TRUE" => return Reading::Boolean(true),
        "false" | "False" | "FALSE" => return Reading::Boolean(false),
        _ => {}
    }
    // Most names are told from numbers by their first letter, which is cheaper than parsing.
    let may_be_number =
        first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.' | b'i' | b'I' | b'n' | b'N');
    match trimmed.parse() {
        Ok(number) if may_be_number => Reading::Number(number),
        _ => Reading::Name,
    }
}

impl Cells {
    /// The values of an Arrow column.
    ///
    /// # Errors
    /// When a value cannot be converted, such as a dictionary key beyond its dictionary.
    pub(crate) fn of_arrow(array: &ArrayRef) -> Result<Self, arrow::error::ArrowError> {
        use DataType as T;
        Ok(match array.data_type() {
            T::Null | T::Int8 | T::Int16 | T::Int32 | T::Int64 => Self::numbers(array)?,
            T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => Self::numbers(array)?,
            T::Float16 | T::Float32 | T::Float64 => Self::numbers(array)?,
            T::Decimal32(..) | T::Decimal64(..) | T::Decimal128(..) | T::Decimal256(..) => {
                Self::numbers(array)?
            }
            T::Timestamp(..) | T::Date32 | T::Date64 => {
                let micros = cast(array, &T::Timestamp(TimeUnit::Microsecond, None))?;
                Self::Times(micros.as_primitive::<TimestampMicrosecondType>().clone())
            }
            T::Time32(_) => Self::numbers(&cast(array, &T::Int32)?)?,
            T::Time64(_) | T::Duration(_) => Self::numbers(&cast(array, &T::Int64)?)?,
            T::Boolean => Self::Booleans(array.as_boolean().clone()),
            T::Utf8 => Self::Names(array.as_string::<i32>().clone()),
            T::LargeUtf8 | T::Utf8View => Self::Names(cast(array, &T::Utf8)?.as_string::<i32>().clone()),
            T::Dictionary(_, values) => Self::of_arrow(&cast(array, values)?)?,
            _ => Self::Foreign(array.len()),
        })
    }

    fn numbers(array: &ArrayRef) -> Result<Self, arrow::error::ArrowError> {
        Ok(Self::Numbers(cast(array, &DataType::Float64)?.as_primitive::<Float64Type>().clone()))
    }

    /// The value of a row; missing beyond the end.
    pub(crate) fn get(&self, row: usize) -> Cell<'_> {
        fn valid(array: &dyn Array, row: usize) -> bool {
            row < array.len() && !array.is_null(row)
        }
        match self {
            Self::Numbers(array) if valid(array, row) => Cell::Number(array.value(row)),
            Self::Times(array) if valid(array, row) => Cell::Time(array.value(row)),
            Self::Booleans(array) if valid(array, row) => Cell::Boolean(array.value(row)),
            Self::Names(array) if valid(array, row) => Cell::Name(array.value(row)),
            Self::Text(array) if valid(array, row) => Cell::Text(array.value(row)),
            Self::Mixed(mixed) => mixed.get(row),
            Self::Foreign(rows) if row < *rows => Cell::Foreign,
            _ => Cell::Missing,
        }
    }

    /// The values as a numeric column counts them: a value that is no number is the
    /// [wrong type](wrong_type).
    pub(crate) fn to_numbers(&self, rows: usize) -> Float64Array {
        match self {
            Self::Numbers(array) if array.len() == rows => array.clone(),
            _ => (0..rows).map(|row| self.get(row).number()).collect(),
        }
    }
}

impl Cell<'_> {
    /// The value as a numeric column counts it: `None` is missing.
    pub(crate) fn number(self) -> Option<f64> {
        match self {
            Self::Missing => None,
            Self::Number(number) => Some(number),
            Self::Time(micros) => Some(micros as f64 / 1e6),
            Self::Text(text) => match read_text(text) {
                Reading::Missing | Reading::Placeholder => None,
                Reading::Number(number) => Some(number),
                Reading::Boolean(_) | Reading::Name => Some(wrong_type()),
            },
            Self::Boolean(_) | Self::Name(_) | Self::Foreign => Some(wrong_type()),
        }
    }
}

/// Values of any type, side by side: no allocation for a value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mixed {
    tags: Vec<Tag>,
    /// For each row its number, or the end of its string in `text`.
    numbers: Vec<f64>,
    ends: Vec<usize>,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Tag {
    Missing,
    Number,
    True,
    False,
    Name,
    Foreign,
}

impl Mixed {
    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        self.tags.len()
    }

    /// Bytes of all strings.
    pub(crate) fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// Appends missing values until there are `rows`.
    pub(crate) fn fill(&mut self, rows: usize) {
        while self.len() < rows {
            self.push(Cell::Missing);
        }
    }

    /// Appends a value.
    pub(crate) fn push(&mut self, cell: Cell<'_>) {
        let (tag, number) = match cell {
            Cell::Missing => (Tag::Missing, 0.0),
            Cell::Number(number) => (Tag::Number, number),
            Cell::Time(micros) => (Tag::Number, micros as f64 / 1e6),
            Cell::Boolean(true) => (Tag::True, 0.0),
            Cell::Boolean(false) => (Tag::False, 0.0),
            Cell::Name(name) | Cell::Text(name) => {
                self.text.push_str(name);
                (Tag::Name, 0.0)
            }
            Cell::Foreign => (Tag::Foreign, 0.0),
        };
        self.tags.push(tag);
        self.numbers.push(number);
        self.ends.push(self.text.len());
    }

    fn get(&self, row: usize) -> Cell<'_> {
        match self.tags.get(row) {
            None | Some(Tag::Missing) => Cell::Missing,
            Some(Tag::Number) => self.numbers.get(row).map_or(Cell::Missing, |number| Cell::Number(*number)),
            Some(Tag::True) => Cell::Boolean(true),
            Some(Tag::False) => Cell::Boolean(false),
            Some(Tag::Foreign) => Cell::Foreign,
            Some(Tag::Name) => {
                let start = row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
                let end = self.ends.get(row).copied().unwrap_or(start);
                self.text.get(start..end).map_or(Cell::Missing, Cell::Name)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Decimal128Array, DictionaryArray, ListArray};
    use arrow::datatypes::{Int32Type, Int64Type};

    use super::*;

    #[test]
    fn text_is_read_as_what_it_looks_like() {
        for (text, reading) in [
            ("", Reading::Missing),
            ("  ", Reading::Missing),
            ("NA", Reading::Placeholder),
            ("null", Reading::Placeholder),
            ("-1.5e3", Reading::Number(-1500.0)),
            (" 7 ", Reading::Number(7.0)),
            ("inf", Reading::Number(f64::INFINITY)),
            ("1e999", Reading::Number(f64::INFINITY)),
            ("True", Reading::Boolean(true)),
            ("40K - 60K", Reading::Name),
            ("e5", Reading::Name),
        ] {
            assert_eq!(read_text(text), reading, "{text:?}");
        }
        assert!(matches!(read_text("nan"), Reading::Number(number) if number.is_nan()));
    }

    #[test]
    fn arrow_columns_of_each_type_become_cells() {
        let of = |array: ArrayRef| Cells::of_arrow(&array).expect("convertible");
        let decimals = Decimal128Array::from(vec![Some(12345), None]).with_precision_and_scale(10, 2);
        assert_eq!(of(Arc::new(decimals.expect("precision"))).get(0), Cell::Number(123.45));
        let days = arrow::array::Date32Array::from(vec![1]);
        assert_eq!(of(Arc::new(days)).get(0), Cell::Time(86_400_000_000));
        let names: DictionaryArray<Int32Type> = vec![Some("a"), None].into_iter().collect();
        let names = of(Arc::new(names));
        assert_eq!(
            (names.get(0), names.get(1), names.get(2)),
            (Cell::Name("a"), Cell::Missing, Cell::Missing)
        );
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1)])]);
        assert_eq!(of(Arc::new(lists)).get(0), Cell::Foreign);
    }

    #[test]
    fn mixed_values_are_read_back() {
        let mut mixed = Mixed::default();
        let cells =
            [Cell::Name("ab"), Cell::Number(2.0), Cell::Name(""), Cell::Boolean(true), Cell::Name("c")];
        cells.into_iter().for_each(|cell| mixed.push(cell));
        mixed.fill(6);
        let mixed = Cells::Mixed(mixed);
        cells.into_iter().enumerate().for_each(|(row, cell)| assert_eq!(mixed.get(row), cell));
        assert_eq!(mixed.get(5), Cell::Missing);
    }
}

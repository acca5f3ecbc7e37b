//! How values become the names that categorical columns count.
//!
//! Place in the flow: decoders and readers of training files both call this, so that a value has one
//! name wherever it comes from. Pure.
//!
//! Invariant: the same value gives the same name in every format.

/// The name that stands for a value that cannot be a category (an array or an object). The noncharacter
/// in front keeps it apart from honest data.
pub const WRONG_TYPE_NAME: &str = "\u{ffff}wrong type";

/// The segment that stands for all values over the limit, in training rows and in events.
pub const OTHER_SEGMENT: &str = "(other)";

/// Longest name in bytes; a longer text is cut by [`cut_name`].
pub const NAME_BYTES_MAX: usize = 256;

/// A number as a category's name: integers without a point, others in the shortest form that reads back.
/// So `3`, `3.0` and the Parquet integer 3 are the same category.
pub fn canonical_number(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { value.to_string() }
}

/// The text up to its last character that ends within [`NAME_BYTES_MAX`] bytes.
///
/// Two texts that differ only beyond that are one category; this bounds what a stream of long texts
/// can cost.
pub fn cut_name(text: &str) -> &str {
    let mut end = text.len().min(NAME_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_named_without_a_point() {
        assert_eq!(canonical_number(3.0), "3");
        assert_eq!(canonical_number(-0.0), "0");
        assert_eq!(canonical_number(0.1), "0.1");
    }

    #[test]
    fn a_long_name_is_cut_before_the_character_that_does_not_fit() {
        assert_eq!(cut_name("short"), "short");
        let text = format!("{}ä", "x".repeat(255));
        assert_eq!(cut_name(&text), &text[..255]);
        let text = format!("{}ä{}", "x".repeat(254), "y".repeat(10));
        assert_eq!(cut_name(&text), &text[..256]);
    }
}

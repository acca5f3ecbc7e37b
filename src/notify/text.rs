//! Text that comes from outside, made safe to show, and numbers made readable.
//!
//! Place in the flow: used by the channels that write for people. Column names, categories, model names
//! and notes come from events and files, so they may hold anything: line breaks, control characters,
//! reversed writing, a megabyte. Pure.
//!
//! Invariant: what [`clean`] and the clips give is one line without control or direction-changing
//! characters.

use crate::drift::EffectUnit;
use crate::event::Timestamp;
use crate::performance::value::with_thousands;

/// Makes one line of it: control characters, line separators and characters that change the direction
/// of writing become spaces, and none stay at the ends.
pub(super) fn clean(text: &str) -> String {
    let line: String = text.chars().map(|c| if breaks_the_line(c) { ' ' } else { c }).collect();
    line.trim().to_owned()
}

fn breaks_the_line(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// [`clean`], at most `max` characters; what is cut is shown by `…`.
pub(super) fn clip(text: &str, max: usize) -> String {
    // Only what can be shown is looked at, however long the text.
    let mut kept: String = text.chars().take(max.saturating_add(1)).collect();
    if kept.chars().count() > max {
        kept = kept.chars().take(max.saturating_sub(1)).collect();
        return clean(&kept) + "…";
    }
    clean(&kept)
}

/// Like [`clip`], but cuts the middle, for long names often differ at their end, and is never empty.
pub(super) fn clip_name(name: &str, max: usize) -> String {
    let length = name.chars().count();
    if length <= max {
        let name = clean(name);
        return if name.is_empty() { "(blank)".to_owned() } else { name };
    }
    let tail = max.saturating_sub(1) / 2;
    let head = max.saturating_sub(1).saturating_sub(tail);
    let start: String = name.chars().take(head).collect();
    let end: String = name.chars().skip(length - tail).collect();
    clean(&format!("{start}…{end}"))
}

/// A whole number with its thousands apart: `12,345`.
pub(super) fn count(number: u64) -> String {
    with_thousands(&number.to_string())
}

/// A p-value as it is read: `p = 0.012`, `p = 3.1e-9`, `p < 1e-300`.
pub(super) fn p_value(p: f64) -> String {
    match p {
        p if p.is_nan() => "p unknown".to_owned(),
        p if p < 1e-300 => "p < 1e-300".to_owned(),
        p if p < 0.001 => format!("p = {p:.1e}"),
        p => format!("p = {p:.3}"),
    }
}

/// An effect with what it is measured in.
pub(super) fn effect(effect: f64, unit: Option<EffectUnit>) -> String {
    match unit {
        Some(EffectUnit::CumulativeShare) => format!("{effect:.3} (largest gap of cumulative shares)"),
        Some(EffectUnit::Share) => format!("{:.1} % of the values would have to move", effect * 100.0),
        Some(EffectUnit::Rate) => format!("{:.2} percentage points", effect * 100.0),
        Some(EffectUnit::StandardDeviations) => format!("{effect:.2} standard deviations"),
        Some(EffectUnit::Statistic) | None => format!("{effect:.3}"),
    }
}

/// A point in time to the minute, UTC.
pub(super) fn minute(at: Timestamp) -> String {
    match jiff::Timestamp::from_microsecond(at.as_micros()) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => at.to_string(),
    }
}

/// A stretch of time to the minute: `2018-10-30 17:00 to 2018-11-06 17:00 UTC`.
pub(super) fn stretch(start: Timestamp, end: Timestamp) -> String {
    format!("{} to {} UTC", minute(start), minute(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_becomes_one_line() {
        assert_eq!(clean("a\nb\r\u{0}c\u{202e}d\u{2028}e"), "a b  c d e");
        assert_eq!(clip("abcdef", 4), "abc…");
        assert_eq!(clip("abcd", 4), "abcd");
    }

    #[test]
    fn long_names_keep_both_ends() {
        assert_eq!(clip_name("abcdefghij_one", 9), "abcd…_one");
        assert_eq!(clip_name("short", 9), "short");
        assert_eq!(clip_name(" \n", 9), "(blank)");
        assert_eq!(clip_name(&"é".repeat(300), 80).chars().count(), 80);
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(p_value(0.0), "p < 1e-300");
        assert_eq!(p_value(3.14e-9), "p = 3.1e-9");
        assert_eq!(p_value(0.0123), "p = 0.012");
        assert_eq!(effect(0.312, Some(EffectUnit::Share)), "31.2 % of the values would have to move");
    }
}

//! Numbers, times and names as a report shows them.

use crate::cli::text;
use crate::drift::EffectUnit;
use crate::event::{Span, Timestamp};
use crate::performance::value::{self, amount, with_thousands};
use crate::performance::{Maturity, Ranged};

/// Longest shown form of a name that comes from outside.
const NAME_CHARS_MAX: usize = 60;
/// Longest shown form of a sentence that comes from outside.
const SENTENCE_CHARS_MAX: usize = 400;

/// A point in time to the minute; times are UTC, which the page says once.
pub(super) fn minute(at: Timestamp) -> String {
    written(at, "%Y-%m-%d %H:%M")
}

/// A point in time as jiff's `strftime` writes it.
pub(super) fn written(at: Timestamp, format: &str) -> String {
    match jiff::Timestamp::from_microsecond(at.as_micros()) {
        Ok(time) => time.strftime(format).to_string(),
        Err(_) => at.to_string(),
    }
}

/// A stretch of time without what is too small to matter: `3d4h`, `4h20m`.
pub(super) fn stretch(span: Span) -> String {
    let minutes = span.as_micros().max(0) / 60_000_000;
    let rounded = match minutes {
        minutes if minutes >= 7 * 1_440 => minutes - minutes % 1_440,
        minutes if minutes >= 1_440 => minutes - minutes % 60,
        minutes => minutes,
    };
    Span::from_secs(rounded.saturating_mul(60)).to_string()
}

/// A number of days for people.
pub(super) fn days(days: f64) -> String {
    match days {
        days if !days.is_finite() => "never".to_owned(),
        days if days < 1.0 => "less than a day".to_owned(),
        days if days < 1.5 => "about a day".to_owned(),
        days if days < 10_000.0 => format!("about {days:.0} days"),
        _ => "more than 10,000 days".to_owned(),
    }
}

/// A whole number with its thousands apart.
pub(super) fn count(number: u64) -> String {
    with_thousands(&number.to_string())
}

/// So many of something, `one` being its name.
pub(super) fn of(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{} {one}s", count(number)) }
}

/// An amount of money for people.
pub(super) fn money(amount: f64, currency: &str) -> String {
    value::money(amount, &name(currency))
}

/// An amount with its interval: `€ 1,234 (1,100 to 1,368)`.
pub(super) fn money_ranged(range: Ranged, currency: &str) -> String {
    format!("{} ({})", money(range.value, currency), interval(range, amount))
}

/// An amount with its interval, of a currency that is named elsewhere.
pub(super) fn amount_ranged(range: Ranged) -> String {
    format!("{} ({})", amount(range.value), interval(range, amount))
}

/// A metric's value: three decimals for what lies near 0..=1, four digits that count for the rest.
pub(super) fn value(value: f64) -> String {
    let text = if (0.01..10.0).contains(&value.abs()) { format!("{value:.3}") } else { text::number(value) };
    text.replace('-', "−")
}

/// A value with its interval.
pub(super) fn ranged(range: Ranged) -> String {
    format!("{} ({})", value(range.value), interval(range, value))
}

/// The interval of a value in words.
pub(super) fn interval(range: Ranged, write: impl Fn(f64) -> String) -> String {
    match (range.low, range.high) {
        (Some(low), Some(high)) => format!("{} to {}", write(low), write(high)),
        (Some(low), None) => format!("at least {}", write(low)),
        (None, Some(high)) => format!("at most {}", write(high)),
        (None, None) => "no interval".to_owned(),
    }
}

/// A share in per cent.
pub(super) fn percent(share: f64) -> String {
    text::percent(share)
}

/// What may not be there.
pub(super) fn or_dash<T>(value: Option<T>, write: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), write)
}

/// An effect with what it is measured in, short.
pub(super) fn effect(effect: f64, unit: Option<EffectUnit>) -> String {
    match unit {
        Some(EffectUnit::CumulativeShare) => format!("{effect:.3} gap of shares"),
        Some(EffectUnit::Share) => format!("{:.1} % would have to move", effect * 100.0),
        Some(EffectUnit::Rate) => format!("{:.2} points", effect * 100.0),
        Some(EffectUnit::StandardDeviations) => format!("{effect:.2} sd"),
        Some(EffectUnit::Statistic) | None => format!("{effect:.3}"),
    }
}

/// A name that comes from outside, on one line and cut in its middle: names often differ at their end.
pub(super) fn name(name: &str) -> String {
    let line = one_line(name);
    let length = line.chars().count();
    match length {
        0 => "(blank)".to_owned(),
        length if length <= NAME_CHARS_MAX => line,
        length => {
            let tail = (NAME_CHARS_MAX - 1) / 2;
            let head = line.chars().take(NAME_CHARS_MAX - 1 - tail);
            head.chain(['…']).chain(line.chars().skip(length - tail)).collect()
        }
    }
}

/// A sentence that comes from outside, on one line, with a full stop.
pub(super) fn sentence(text: &str) -> String {
    let line = one_line(text);
    if line.chars().count() > SENTENCE_CHARS_MAX {
        return line.chars().take(SENTENCE_CHARS_MAX - 1).chain(['…']).collect();
    }
    if line.is_empty() || line.ends_with(['.', '!', '?']) { line } else { line + "." }
}

/// Without line breaks, other control characters and those that change the direction of writing.
fn one_line(text: &str) -> String {
    let breaks = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
            // Not characters, which XML does not allow.
            || matches!(c, '\u{fffe}' | '\u{ffff}')
    };
    let line: String = text.chars().map(|c| if breaks(c) { ' ' } else { c }).collect();
    line.trim().to_owned()
}

/// How complete labels are, for people.
pub(super) fn maturity(maturity: Maturity) -> &'static str {
    match maturity {
        Maturity::Waiting => "waiting for labels",
        Maturity::Provisional => "provisional",
        Maturity::Mature => "labels complete",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_has_its_currency_once_whatever_that_is_called() {
        let range = Ranged { value: -1_234.0, low: Some(-1_368.0), high: None };
        assert_eq!(money_ranged(range, "EUR"), "−€ 1,234 (at least −1,368)");
        assert_eq!(money(4.2, "a\nb"), "a b 4.20");
    }

    #[test]
    fn names_from_outside_stay_on_one_line_and_short() {
        assert_eq!(name("a\nb\u{202e}c"), "a b c");
        assert_eq!(name(" \t "), "(blank)");
        assert_eq!(name(&"x".repeat(500)).chars().count(), NAME_CHARS_MAX);
        assert_eq!(sentence("it moved"), "it moved.");
    }

    #[test]
    fn stretches_leave_out_what_is_too_small() {
        assert_eq!(stretch(Span::from_secs(10 * 86_400 + 3_700)), "10d");
        assert_eq!(stretch(Span::from_secs(86_400 + 3_700)), "1d1h");
        assert_eq!(stretch(Span::from_secs(3_659)), "1h");
    }

    #[test]
    fn an_interval_may_lack_an_end() {
        assert_eq!(ranged(Ranged { value: 0.5, low: Some(0.4), high: None }), "0.500 (at least 0.400)");
        assert_eq!(ranged(Ranged { value: -12_345.6, low: None, high: None }), "−12350 (no interval)");
    }
}

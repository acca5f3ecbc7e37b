//! Event times, exact to the microsecond.
//!
//! Invariant: a number is read from its decimal digits, never through a double. What is finer than a
//! microsecond is rounded down, so that an event stays in the pane that contains it.

use super::number::{self, Number};
use crate::event::Timestamp;
use crate::event::decode::TimestampUnit;

/// Digits of a number that are kept; the ones behind them only say that there is more.
const DIGITS_KEPT: u32 = 30;

/// More decimals than this cannot be told from zero once [`DIGITS_KEPT`] digits are divided.
const SHIFT_MAX: u64 = 38;

/// The power of ten that turns the unit into microseconds; `None` for a unit that is not numeric.
fn micros_power(unit: TimestampUnit) -> Option<i64> {
    match unit {
        TimestampUnit::Seconds => Some(6),
        TimestampUnit::Milliseconds => Some(3),
        TimestampUnit::Microseconds => Some(0),
        TimestampUnit::Rfc3339 => None,
    }
}

/// An event time written as a number; `None` if the unit is RFC 3339 or the years 1..=9999 are left.
#[inline]
pub(super) fn from_number(number: Number<'_>, unit: TimestampUnit) -> Option<Timestamp> {
    let power = micros_power(unit)?;
    let micros = if number.exact {
        scale(i128::from(number.mantissa), number.exponent.checked_add(power)?, number.negative, false)
    } else {
        let (digits, exponent, more) = leading_digits(number)?;
        scale(digits, exponent.checked_add(power)?, number.negative, more)
    };
    Timestamp::from_micros(i64::try_from(micros?).ok()?)
}

/// An event time written as a string: a number, or RFC 3339 text, as the unit says.
pub(super) fn from_text(text: &[u8], unit: TimestampUnit) -> Option<Timestamp> {
    if unit == TimestampUnit::Rfc3339 {
        return from_rfc3339(text);
    }
    from_number(number::scan_whole(text)?, unit)
}

/// The floor of ±`digits` · 10^`power`, where `more` says that the digits go on; `None` if too large.
fn scale(digits: i128, power: i64, negative: bool, more: bool) -> Option<i128> {
    let sign = if negative { -1 } else { 1 };
    if digits == 0 && !more {
        return Some(0);
    }
    if power >= 0 {
        let tens = 10_i128.checked_pow(u32::try_from(power).ok()?)?;
        return digits.checked_mul(sign)?.checked_mul(tens);
    }
    let shift = u32::try_from(power.unsigned_abs().min(SHIFT_MAX)).ok()?;
    let tens = 10_i128.checked_pow(shift)?;
    let rest = digits % tens != 0 || more;
    let whole = digits / tens;
    Some(if negative { -whole - i128::from(rest) } else { whole })
}

/// The first digits of a number of many, the power of ten they are multiplied by, and whether digits
/// other than zero follow.
#[cold]
fn leading_digits(number: Number<'_>) -> Option<(i128, i64, bool)> {
    let (mut digits, mut kept, mut dropped, mut more) = (0_i128, 0, 0_i64, false);
    for &byte in number.text.iter().take_while(|byte| !matches!(byte, b'e' | b'E')) {
        if !byte.is_ascii_digit() {
            continue;
        }
        if kept < DIGITS_KEPT {
            digits = digits * 10 + i128::from(byte - b'0');
            kept += u32::from(digits != 0);
        } else {
            dropped += 1;
            more |= byte != b'0';
        }
    }
    Some((digits, number.exponent.checked_add(dropped)?, more))
}

/// The common forms of RFC 3339 directly, every other form as [`Timestamp`] reads it.
fn from_rfc3339(text: &[u8]) -> Option<Timestamp> {
    common_rfc3339(text).or_else(|| std::str::from_utf8(text).ok()?.parse().ok())
}

/// Reads `YYYY-MM-DDTHH:MM:SS[.fraction][Z|±HH:MM]`, also with a space in place of the `T`; without an
/// offset it is UTC. `None` for any other form, which may still be a time.
fn common_rfc3339(text: &[u8]) -> Option<Timestamp> {
    let (head, mut tail) = text.split_at_checked(19)?;
    let separators = [(4, b"-"), (7, b"-"), (13, b":"), (16, b":")];
    let shaped = separators.iter().all(|(at, byte)| head.get(*at..=*at) == Some(byte.as_slice()))
        && matches!(head.get(10), Some(b'T' | b' '));
    let part = |from: usize, length: usize| decimal(head.get(from..from + length)?);
    let (year, month, day) = (part(0, 4)?, part(5, 2)?, part(8, 2)?);
    let (hour, minute, second) = (part(11, 2)?, part(14, 2)?, part(17, 2)?);
    let in_range = year >= 1 && (1..=12).contains(&month) && hour < 24 && minute < 60 && second < 60;
    if !shaped || !in_range || day < 1 || day > days_of_month(year, month) {
        return None;
    }
    let mut micros = 0;
    if let Some(fraction) = tail.strip_prefix(b".") {
        (micros, tail) = fraction_micros(fraction)?;
    }
    let offset_minutes = offset_minutes(tail)?;
    let seconds =
        days_from_epoch(year, month, day) * 86_400 + hour * 3_600 + (minute - offset_minutes) * 60 + second;
    Timestamp::from_micros(seconds * 1_000_000 + micros)
}

fn decimal(digits: &[u8]) -> Option<i64> {
    digits
        .iter()
        .try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
}

/// A fraction of up to six digits in microseconds, and what follows it. More digits are left to the slow way.
fn fraction_micros(text: &[u8]) -> Option<(i64, &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(length)?;
    let missing = 6_u32.checked_sub(u32::try_from(length).ok()?).filter(|_| length > 0)?;
    Some((decimal(digits)? * 10_i64.pow(missing), rest))
}

fn offset_minutes(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [] | [b'Z'] => return Some(0),
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits {
        [_, _, b':', _, _] => (decimal(digits.get(..2)?)?, decimal(digits.get(3..)?)?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a day of the proleptic Gregorian calendar, years from 1 on.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March have the leap day last, so the days before a month are a straight line
    // with a slope of 153 days in 5 months.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before_year = year * 365 + year / 4 - year / 100 + year / 400;
    before_year + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn micros(text: &str, unit: TimestampUnit) -> Option<i64> {
        from_text(text.as_bytes(), unit).map(Timestamp::as_micros)
    }

    #[test]
    fn seconds_are_exact_to_the_microsecond() {
        let unit = TimestampUnit::Seconds;
        assert_eq!(micros("1700000000", unit), Some(1_700_000_000_000_000));
        assert_eq!(micros("1700000000.123456", unit), Some(1_700_000_000_123_456));
        assert_eq!(micros("1700000000.1234569999", unit), Some(1_700_000_000_123_456));
        assert_eq!(micros("253402300799.999999", unit), Some(253_402_300_799_999_999));
        assert_eq!(micros("1.7e9", unit), Some(1_700_000_000_000_000));
        assert_eq!(
            micros("1700000000.0000000000000000000000000000000000000001", unit),
            Some(1_700_000_000_000_000)
        );
        assert_eq!(
            micros("17000000000000000000000000000000000000000e-31", unit),
            Some(1_700_000_000_000_000)
        );
    }

    #[test]
    fn what_is_finer_than_a_microsecond_is_rounded_down() {
        assert_eq!(micros("-0.0000001", TimestampUnit::Seconds), Some(-1));
        assert_eq!(micros("0.0000001", TimestampUnit::Seconds), Some(0));
        assert_eq!(micros("-1.5", TimestampUnit::Microseconds), Some(-2));
        assert_eq!(micros("1.9999", TimestampUnit::Milliseconds), Some(1_999));
        assert_eq!(micros("-1e-400", TimestampUnit::Seconds), Some(-1));
        assert_eq!(
            micros("-0.00000000000000000000000000000000000000000000001", TimestampUnit::Seconds),
            Some(-1)
        );
    }

    #[test]
    fn times_outside_the_years_1_to_9999_are_refused() {
        for text in
            ["253402300800", "-62135596801", "1e999", "-1e999", "99999999999999999999999999999999999999999"]
        {
            assert_eq!(micros(text, TimestampUnit::Seconds), None, "{text}");
        }
        for text in ["0000-12-31T23:59:59Z", "10000-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00"] {
            assert_eq!(micros(text, TimestampUnit::Rfc3339), None, "{text}");
        }
        assert_eq!(micros("0e999", TimestampUnit::Seconds), Some(0));
    }

    #[test]
    fn text_that_is_no_time_is_refused() {
        for text in ["", " 1", "1 ", "0x10", "01", "abc", "1,5", "NaN"] {
            assert_eq!(micros(text, TimestampUnit::Seconds), None, "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2018-13-01T00:00:00Z",
            "2018-02-29T00:00:00Z",
            "2018-01-01T24:00:00Z",
            "2018-01-01T00:00:00+1:00",
        ] {
            assert_eq!(micros(text, TimestampUnit::Rfc3339), None, "{text}");
        }
    }

    #[test]
    fn rare_forms_of_rfc_3339_are_read_the_slow_way() {
        let expected = micros("2018-10-30T17:00:00Z", TimestampUnit::Rfc3339);
        assert!(expected.is_some());
        for text in ["2018-10-30t17:00:00z", "2018-10-30T17:00:00.0000000004Z", "2018-10-30T17:00"] {
            let slow: Option<Timestamp> = text.parse().ok();
            assert_eq!(micros(text, TimestampUnit::Rfc3339), slow.map(Timestamp::as_micros), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_fast_way_agrees_with_the_slow_way(
            year in 0_i64..10_001, month in 0..14, day in 0..33, hour in 0..26, minute in 0..62, second in 0..62,
            separator in "[T ]", fraction in "(\\.[0-9]{0,7})?", offset in "(Z|[+-][0-2][0-9]:[0-6][0-9])?",
        ) {
            let text = format!(
                "{year:04}-{month:02}-{day:02}{separator}{hour:02}:{minute:02}:{second:02}{fraction}{offset}"
            );
            if let Some(fast) = common_rfc3339(text.as_bytes()) {
                prop_assert_eq!(Ok(fast), text.parse::<Timestamp>(), "{}", text);
            }
        }

        #[test]
        fn every_time_reads_back(micros in -62_135_596_800_000_000_i64..253_402_300_799_999_999) {
            let time = Timestamp::from_micros(micros).expect("in range");
            prop_assert_eq!(from_text(time.to_string().as_bytes(), TimestampUnit::Rfc3339), Some(time));
            prop_assert_eq!(from_text(micros.to_string().as_bytes(), TimestampUnit::Microseconds), Some(time));
            let sign = if micros < 0 { "-" } else { "" };
            let magnitude = micros.unsigned_abs();
            let seconds = format!("{sign}{}.{:06}", magnitude / 1_000_000, magnitude % 1_000_000);
            prop_assert_eq!(from_text(seconds.as_bytes(), TimestampUnit::Seconds), Some(time));
        }
    }
}

//! Event time: microseconds since 1970-01-01T00:00:00Z, and spans of it.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time, in microseconds since the Unix epoch, UTC. Printed and serialised as RFC 3339.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

/// A length of time in microseconds; may be negative. Printed as people write it: `1h30m`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span(i64);

/// Where the wall time comes from: a port, so that whatever needs the time can be run in a simulated one.
/// Nothing from [`event`](crate::event) to [`monitor`](crate::monitor) may hold one; there, time is an argument.
pub trait Clock: Send + Sync {
    /// The wall time.
    fn now(&self) -> Timestamp;
}

impl Timestamp {
    /// The smallest timestamp that can be written with four digits of year: 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// The largest one: 9999-12-31T23:59:59.999999Z.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// From microseconds since the epoch; `None` outside the years 1..=9999.
    pub fn from_micros(micros: i64) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0).contains(&micros).then_some(Self(micros))
    }

    /// Whether windows around this time can be written too: the first and last three years of the calendar
    /// are left to arithmetic.
    pub fn is_plausible(self) -> bool {
        const MARGIN: i64 = 3 * 366 * 86_400_000_000;
        (Self::MIN.0 + MARGIN..=Self::MAX.0 - MARGIN).contains(&self.0)
    }

    /// From microseconds since the epoch, held within the years 1..=9999.
    pub fn saturating_from_micros(micros: i64) -> Self {
        Self(micros.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Microseconds since the epoch.
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// The largest multiple of `step` (shifted by `offset`) that is not after `self`.
    pub fn floor_to(self, step: Span, offset: Span) -> Self {
        Self(self.0 - (self.0 - offset.0).rem_euclid(step.0.max(1)))
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// From microseconds.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From seconds.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Seconds, with fraction.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// As a standard duration; a negative span becomes zero.
    pub fn to_duration(self) -> std::time::Duration {
        std::time::Duration::from_micros(u64::try_from(self.0).unwrap_or(0))
    }

    /// The greatest common divisor of two positive spans.
    pub fn gcd(self, other: Self) -> Self {
        let (mut a, mut b) = (self.0.abs(), other.0.abs());
        while b != 0 {
            (a, b) = (b, a % b);
        }
        Self(a)
    }
}

// === arithmetic: saturating, because event time comes from outside ===

impl Add<Span> for Timestamp {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Timestamp {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Sub for Timestamp {
    type Output = Span;
    fn sub(self, other: Self) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}

impl Sub for Span {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(timestamp) => timestamp.fmt(f),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = String;

    /// Reads RFC 3339 with an offset, or a date and time without one, which is taken as UTC.
    fn from_str(text: &str) -> Result<Self, String> {
        let micros = match text.parse::<jiff::Timestamp>() {
            Ok(timestamp) => timestamp.as_microsecond(),
            Err(with_offset) => {
                let civil: jiff::civil::DateTime = text.parse().map_err(|_| with_offset.to_string())?;
                let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).map_err(|error| error.to_string())?;
                zoned.timestamp().as_microsecond()
            }
        };
        Self::from_micros(micros).ok_or_else(|| "outside the years 1..=9999".to_owned())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

const UNITS: [(&str, i64); 7] = [
    ("w", 604_800_000_000),
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let mut rest = self.0.saturating_abs();
        for (name, size) in UNITS.into_iter().skip(1) {
            if rest >= size {
                write!(f, "{}{name}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

impl FromStr for Span {
    type Err = String;

    /// Reads `10m`, `1h30m`, `7d`, `2w`, `250ms`; digits and units only, largest unit first.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not a duration: write a number and a unit, as in `90s`, `10m`, `6h`, `7d` or `1h30m`"
            )
        };
        let mut rest = text.trim();
        let mut total: i64 = 0;
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let number: i64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let (_, size) =
                UNITS.into_iter().find(|(name, _)| *name == &rest[..letters]).ok_or_else(wrong)?;
            total =
                number.checked_mul(size).and_then(|micros| total.checked_add(micros)).ok_or_else(wrong)?;
            rest = &rest[letters..];
        }
        Ok(Self(total))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_printed_as_people_write_them() {
        for (text, printed) in
            [("10m", "10m"), ("90s", "1m30s"), ("1h30m", "1h30m"), ("2w", "14d"), ("250ms", "250ms")]
        {
            let span: Span = text.parse().expect(text);
            assert_eq!(span.to_string(), printed);
        }
        for wrong in ["", "10", "m", "10 m", "-5m", "1.5h", "5y", "99999999999999w"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn timestamps_are_read_with_and_without_an_offset() {
        let with: Timestamp = "2018-10-30T18:00:00+01:00".parse().expect("offset");
        let without: Timestamp = "2018-10-30 17:00:00.000".parse().expect("civil");
        assert_eq!(with, without);
        assert_eq!(with.to_string(), "2018-10-30T17:00:00Z");
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn flooring_works_before_the_epoch_and_with_an_offset() {
        let hour = Span::from_secs(3600);
        let before = Timestamp::from_micros(-1).expect("in range");
        assert_eq!(before.floor_to(hour, Span::ZERO).as_micros(), -3_600_000_000);
        let offset = Span::from_secs(600);
        assert_eq!(Timestamp::default().floor_to(hour, offset).as_micros(), -3_000_000_000);
    }
}

//! Where an axis begins and ends, and where it is marked. Pure.

use crate::cli::report::figures::written;
use crate::event::{Span, Timestamp};

/// Marks of an axis at most.
const MARKS_MAX: usize = 7;
/// No number is drawn further out than this, so differences stay finite.
const OUTERMOST: f64 = 1e280;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Distances of marks of time, in seconds.
const TIME_STEPS: [i64; 17] = [
    MINUTE,
    5 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    4 * DAY,
    7 * DAY,
    14 * DAY,
    28 * DAY,
    91 * DAY,
    182 * DAY,
    365 * DAY,
];

/// An axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    /// Where it begins.
    pub low: f64,
    /// Where it ends; above `low`.
    pub high: f64,
    /// Where it is marked.
    pub marks: Vec<f64>,
    /// What is written there.
    pub labels: Vec<String>,
}

impl Axis {
    /// What is written at a mark.
    pub fn label(&self, mark: f64) -> String {
        let place = self.marks.iter().position(|other| *other == mark);
        place.and_then(|place| self.labels.get(place)).cloned().unwrap_or_default()
    }

    /// The nearest value on the axis.
    pub fn held(&self, value: f64) -> f64 {
        value.clamp(self.low, self.high)
    }
}

/// An axis of time in seconds since the epoch, marked at round times.
pub(super) fn time(from: Timestamp, to: Timestamp) -> Axis {
    let (low, high) = (seconds(from), seconds(to).max(seconds(from) + 1.0));
    let room = (high - low) / MARKS_MAX as f64;
    let longest = 365 * DAY * ((high - low) / (365 * DAY * MARKS_MAX as i64) as f64).ceil().max(1.0) as i64;
    let step = TIME_STEPS.into_iter().find(|step| *step as f64 >= room).unwrap_or(longest);
    let first = from.floor_to(Span::from_secs(step), Span::ZERO);
    let marks: Vec<Timestamp> = (0..=MARKS_MAX as i64 + 1)
        .map(|number| first + Span::from_secs(step * number))
        .filter(|at| *at >= from && *at <= to)
        .collect();
    let format = if step < DAY {
        "%-d %b %H:%M"
    } else if step < 28 * DAY {
        "%-d %b"
    } else {
        "%-d %b %Y"
    };
    let labels = marks.iter().map(|at| written(*at, format)).collect();
    Axis { low, high, marks: marks.into_iter().map(seconds).collect(), labels }
}

/// A point in time on the axis.
pub(super) fn seconds(at: Timestamp) -> f64 {
    at.as_micros() as f64 / 1e6
}

/// An axis of numbers that holds every one of `core`, and of `intervals` as much as leaves the core readable: the
/// narrower half of them whole. `None` without a number.
pub(super) fn numbers(core: &[f64], intervals: &[(f64, f64)]) -> Option<Axis> {
    let ends = |values: &[f64]| {
        let finite =
            values.iter().filter(|value| value.is_finite()).map(|value| value.clamp(-OUTERMOST, OUTERMOST));
        finite.fold(None, |ends: Option<(f64, f64)>, value| {
            Some(ends.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
        })
    };
    let (low, high) = ends(core)?;
    let wide: Vec<f64> = intervals.iter().flat_map(|(low, high)| [*low, *high]).collect();
    let (wide_low, wide_high) = ends(&wide).unwrap_or((low, high));
    // A few wide intervals must not flatten the line.
    let room = (1.5 * (high - low)).max(median_width(intervals));
    let mut low = low.min(wide_low).max(low - room);
    let mut high = high.max(wide_high).min(high + room);
    if high - low <= low.abs().max(high.abs()) * 1e-9 {
        let apart = if low == 0.0 { 1.0 } else { low.abs() * 0.05 };
        (low, high) = (low - apart, high + apart);
    }
    Some(marked(low, high))
}

fn median_width(intervals: &[(f64, f64)]) -> f64 {
    let mut widths: Vec<f64> = intervals.iter().map(|(low, high)| (high - low).min(OUTERMOST)).collect();
    widths.sort_by(f64::total_cmp);
    widths.get(widths.len() / 2).copied().filter(|width| width.is_finite()).unwrap_or(0.0)
}

fn marked(low: f64, high: f64) -> Axis {
    let step = round_step((high - low) / 4.0);
    let (first, last) = ((low / step).floor(), (high / step).ceil());
    let marks: Vec<f64> = (0..=12).map(|number| (first + f64::from(number)) * step).collect();
    let marks: Vec<f64> = marks.into_iter().filter(|mark| *mark <= (last + 0.5) * step).collect();
    let largest = marks.iter().fold(0.0_f64, |largest, mark| largest.max(mark.abs()));
    let labels = marks.iter().map(|mark| label(*mark, step, largest)).collect();
    let (low, high) = (first * step, last * step);
    Axis { low, high, marks, labels }
}

/// 1, 2 or 5 times a power of ten, at least `least`.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|step| *step >= least * 0.999)
        .unwrap_or(power)
}

/// A mark, with as many decimals as tell it from the next, and large ones in thousands, millions or billions.
fn label(mark: f64, step: f64, largest: f64) -> String {
    let (unit, name) = match largest {
        largest if !(1e-4..1e13).contains(&largest) => return format!("{mark:.1e}").replace('-', "−"),
        largest if largest >= 1e10 => (1e9, " bn"),
        largest if largest >= 1e7 => (1e6, " m"),
        largest if largest >= 1e4 => (1e3, " k"),
        _ => (1.0, ""),
    };
    let decimals = (-(step / unit).log10().floor()).clamp(0.0, 8.0) as usize;
    let text = format!("{:.decimals$}", mark / unit);
    let is_zero = text.chars().all(|c| matches!(c, '0' | '.' | '-'));
    if is_zero { "0".to_owned() } else { text.replace('-', "−") + name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::saturating_from_micros(seconds * 1_000_000)
    }

    #[test]
    fn times_are_marked_at_round_ones() {
        let axis = time(at(1_767_225_600 + 3_000), at(1_767_225_600 + 30 * DAY));
        assert_eq!(axis.labels.first().map(String::as_str), Some("8 Jan"));
        assert!(axis.marks.len() <= MARKS_MAX + 1, "{axis:?}");
        let hours = time(at(1_767_225_600), at(1_767_225_600 + 12 * HOUR));
        assert_eq!(hours.labels.get(1).map(String::as_str), Some("1 Jan 03:00"));
        let instant = time(at(0), at(0));
        assert!(instant.high > instant.low);
    }

    #[test]
    fn numbers_of_any_size_have_an_axis() {
        for values in [[0.0, 0.0], [1e300, -1e300], [1e-300, 2e-300], [5.0, 5.0], [0.81234, 0.81236]] {
            let axis = numbers(&values, &[]).expect("an axis");
            assert!(axis.high > axis.low && axis.marks.len() >= 2 && axis.marks.len() <= 13, "{axis:?}");
            assert!(axis.marks.iter().all(|mark| mark.is_finite()), "{axis:?}");
            let distinct: std::collections::BTreeSet<&String> = axis.labels.iter().collect();
            assert!(distinct.len() == axis.labels.len() || values[0].abs() < 1e-4, "{axis:?}");
        }
        assert_eq!(numbers(&[f64::NAN], &[]), None);
    }

    #[test]
    fn a_wide_interval_does_not_flatten_the_line() {
        let axis = numbers(&[0.80, 0.84], &[(0.79, 0.81), (0.83, 0.85), (-40.0, 40.0)]).expect("an axis");
        assert!(axis.low > 0.6 && axis.high < 1.0, "{axis:?}");
        let alone = numbers(&[0.8, 0.82], &[(0.7, 0.9)]).expect("an axis");
        assert!(alone.low <= 0.7 && alone.high >= 0.9, "{alone:?}");
    }
}

//! A difference in words: what a person reads first in an alert.
//!
//! Every candidate is a statement about rows, with its share in the window and in training; the one whose
//! two shares differ most is told. Shares are compared on the arcsine scale (Cohen's h, 1988), where going
//! from none to 5 % is as loud as from 40 % to 62 %, whatever the sample sizes.

use super::Pair;
use super::bins::Bins;
use super::missing::missing;
use super::numeric::Numeric;
use super::overflow::shares_beyond;
use super::rate::rows;
use crate::summary::{Anomalies, CategoricalSummary, Categories, ColumnSummary, Shape};

/// A statement about the range or a single value replaces the broader one when it is at least this much as
/// loud: it says more.
const PREFERENCE: f64 = 0.9;

/// Rounding may set two equally loud statements this far apart.
const TIE: f64 = 1e-9;

/// A statement and how often it is true.
struct Statement<'a> {
    words: Words<'a>,
    current: f64,
    reference: f64,
}

/// What a statement says of rows. It becomes text only when it is told: most statements are not.
enum Words<'a> {
    /// That they are so; what stands before "31 % of rows".
    Are(&'static str),
    /// That their value is above this one.
    Above(f64),
    /// That it is not above.
    AtOrBelow(f64),
    /// That it is outside the training range.
    Outside(f64, f64),
    /// That it is this one.
    EqualTo(f64),
    /// That it is the name of this count.
    Named(&'a Categories, usize, &'a CategoricalSummary),
}

impl Words<'_> {
    /// What stands before and after the window's share.
    fn around(&self) -> (String, String) {
        let after = |words: String| (String::new(), words);
        match *self {
            Self::Are(words) => (words.to_owned(), " of rows".to_owned()),
            Self::Above(edge) => after(format!(" of rows above {}", number(edge))),
            Self::AtOrBelow(edge) => after(format!(" of rows at or below {}", number(edge))),
            Self::Outside(first, last) => {
                let dash = if first < 0.0 || last < 0.0 { " to " } else { "–" };
                let range = format!("{}{dash}{}", number(first), number(last));
                after(format!(" of rows outside the training range {range}"))
            }
            Self::EqualTo(value) => after(format!(" of rows equal to {}", number(value))),
            Self::Named(categories, index, current) => {
                let before = match categories.top.get(index) {
                    Some(name) => format!("`{name}` in "),
                    None if index == categories.unseen() => unseen(current),
                    None => format!("a group of rare names {} in ", categories.label(index)),
                };
                (before, " of rows".to_owned())
            }
        }
    }
}

impl<'a> Statement<'a> {
    fn new(words: Words<'a>, reference: f64, current: f64) -> Self {
        Self { words, current, reference }
    }

    /// Cohen's h, without its sign.
    fn loudness(&self) -> f64 {
        2.0 * half_angle_sine(self.reference, self.current).asin()
    }

    fn grew(&self) -> bool {
        self.current > self.reference
    }

    fn say(&self) -> String {
        let (before, after) = self.words.around();
        format!("{before}{}{after}, {} in training", percent(self.current), percent(self.reference))
    }
}

/// The sine of half of Cohen's h, without its sign: it grows with h and needs no trigonometry.
fn half_angle_sine(p: f64, q: f64) -> f64 {
    let (p, q) = (p.clamp(0.0, 1.0), q.clamp(0.0, 1.0));
    ((q * (1.0 - p)).sqrt() - (p * (1.0 - q)).sqrt()).abs().min(1.0)
}

/// Of pairs of shares (reference, current) the index of the loudest; of equally loud ones the first that grew,
/// or else the first.
fn loudest(shares: impl Iterator<Item = (usize, (f64, f64))>) -> Option<usize> {
    let mut best: Option<(usize, f64, bool)> = None;
    for (index, (p, q)) in shares {
        let (sine, grew) = (half_angle_sine(p, q), q > p);
        let louder = best.is_none_or(|(_, most, most_grew)| {
            sine > most + TIE || ((sine - most).abs() <= TIE && grew && !most_grew)
        });
        if louder {
            best = Some((index, sine, grew));
        }
    }
    best.map(|(index, ..)| index)
}

/// The largest difference of a pair in words, such as "31 % of rows above 41,200, 4 % in training". `None`
/// when a sample is empty, nothing differs, or the summaries do not belong to the shape.
///
/// Shares of values are of the rows that have one; shares of missing and wrong-typed values of all rows.
/// Names of categories are quoted in backticks as they came; the reader's format must escape them.
pub fn describe(pair: &Pair<'_>) -> Option<String> {
    let missing = anomaly(pair, "missing in ", missing);
    let wrong_type = anomaly(pair, "of the wrong type in ", |anomalies| anomalies.wrong_type);
    let (infinite, value) = match (pair.shape, pair.reference, pair.current) {
        (Shape::Numeric(_), _, _) => {
            let numeric = pair.numeric().ok()?;
            let infinite = anomaly(pair, "infinite in ", |anomalies| {
                anomalies.positive_infinity.saturating_add(anomalies.negative_infinity)
            });
            (infinite, of_numbers(&numeric, pair.bins().ok()?))
        }
        (
            Shape::Categorical(categories),
            ColumnSummary::Categorical(reference),
            ColumnSummary::Categorical(current),
        ) => (None, of_names(pair.values, categories, reference, current)),
        _ => return None,
    };
    let loudest = louder([missing, wrong_type, infinite, value])?;
    (loudest.loudness() > 0.0).then(|| loudest.say())
}

fn anomaly<'a>(pair: &Pair<'a>, words: &'static str, count: fn(&Anomalies) -> u64) -> Option<Statement<'a>> {
    let share = |side: &ColumnSummary, values| {
        let rows = rows(side.anomalies(), values);
        (rows > 0).then(|| count(side.anomalies()) as f64 / rows as f64)
    };
    Some(Statement::new(
        Words::Are(words),
        share(pair.reference, pair.values.0)?,
        share(pair.current, pair.values.1)?,
    ))
}

/// The loudest; of equally loud ones the first that grew, or else the first.
fn louder<'a>(statements: impl IntoIterator<Item = Option<Statement<'a>>>) -> Option<Statement<'a>> {
    statements.into_iter().flatten().reduce(|best, next| {
        let more = next.loudness() - best.loudness();
        let tie_broken = more.abs() <= TIE && next.grew() && !best.grew();
        if more > TIE || tie_broken { next } else { best }
    })
}

fn of_numbers<'a>(numeric: &Numeric<'a>, bins: &Bins) -> Option<Statement<'a>> {
    if numeric.values.0 == 0 || numeric.values.1 == 0 {
        return None;
    }
    let broad = beyond_an_edge(numeric, bins)?;
    let narrow = louder([outside_range(numeric), single_value(numeric, bins)]);
    match narrow {
        Some(narrow) if narrow.loudness() >= PREFERENCE * broad.loudness() => Some(narrow),
        _ => Some(broad),
    }
}

/// The side of one edge, the edge chosen by the largest difference of the cumulative shares and the side as
/// the one that grew.
fn beyond_an_edge<'a>(numeric: &Numeric<'a>, bins: &Bins) -> Option<Statement<'a>> {
    let edges = numeric.grid.edges();
    let (mut widest, mut at) = (-1.0, 0);
    for (index, difference) in bins.difference().iter().take(edges.len()).enumerate() {
        if difference.abs() > widest {
            (widest, at) = (difference.abs(), index);
        }
    }
    let edge = *edges.get(at)?;
    let share_below = |shares: &[f64]| Some(shares.get(..=at)?.iter().sum::<f64>());
    let (below_reference, below_current) = (share_below(&bins.p)?, share_below(&bins.q)?);
    Some(if below_current < below_reference {
        Statement::new(Words::Above(edge), 1.0 - below_reference, 1.0 - below_current)
    } else {
        Statement::new(Words::AtOrBelow(edge), below_reference, below_current)
    })
}

fn outside_range<'a>(numeric: &Numeric<'a>) -> Option<Statement<'a>> {
    let edges = numeric.grid.edges();
    let (first, last) = (edges.first()?.next_up(), edges.last()?);
    let (reference, current) = shares_beyond(numeric);
    Some(Statement::new(Words::Outside(first, *last), reference, current))
}

fn single_value<'a>(numeric: &Numeric<'a>, bins: &Bins) -> Option<Statement<'a>> {
    let shares = |bin: usize| Some((*bins.p.get(bin)?, *bins.q.get(bin)?));
    let loudest = loudest(numeric.grid.points().iter().filter_map(|&bin| Some((bin, shares(bin)?))))?;
    let (p, q) = shares(loudest)?;
    Some(Statement::new(Words::EqualTo(*numeric.grid.edges().get(loudest)?), p, q))
}

fn of_names<'a>(
    (m, n): (u64, u64),
    categories: &'a Categories,
    reference: &CategoricalSummary,
    current: &'a CategoricalSummary,
) -> Option<Statement<'a>> {
    if m == 0 || n == 0 {
        return None;
    }
    let (m, n) = (m as f64, n as f64);
    let shares = |index| (reference.counts.get(index) as f64 / m, current.counts.get(index) as f64 / n);
    let index = loudest((0..categories.len()).map(|index| (index, shares(index))))?;
    let (before, now) = shares(index);
    Some(Statement::new(Words::Named(categories, index, current), before, now))
}

/// Names the commonest unseen name that is known, and says whether there are others.
fn unseen(current: &CategoricalSummary) -> String {
    let commonest =
        current.unseen.values().max_by(|left, right| left.1.cmp(&right.1).then(right.0.cmp(&left.0)));
    match commonest {
        Some((name, _)) if current.unseen.len() == 1 => format!("unseen `{name}` in "),
        Some((name, _)) => format!("unseen names such as `{name}` in "),
        None => "unseen names in ".to_owned(),
    }
}

/// A share as people write it: whole percents from 1 % on, one digit below.
fn percent(share: f64) -> String {
    let percents = 100.0 * share;
    if percents == 0.0 {
        return "0 %".to_owned();
    }
    if percents < 0.01 {
        return "under 0.01 %".to_owned();
    }
    if percents > 99.0 && percents < 99.95 {
        return format!("{percents:.1} %");
    }
    let decimals = if percents >= 0.95 {
        0
    } else if percents >= 0.095 {
        1
    } else {
        2
    };
    format!("{percents:.decimals$} %")
}

/// A number with three significant digits, thousands set apart: 41,200; 0.0123; 1.5e12.
fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let rounded: f64 = format!("{value:.2e}").parse().unwrap_or(value);
    let size = rounded.abs();
    if !(1e-4..1e9).contains(&size) {
        return format!("{rounded:e}");
    }
    let text = size.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (place, digit) in whole.char_indices() {
        if place > 0 && (whole.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let sign = if rounded < 0.0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{grouped}") } else { format!("{sign}{grouped}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::{CategoryIndex, FixedPoint, Grid, NumericScratch, NumericSummary};

    fn numeric(edges: &[f64], reference: &[Option<f64>], current: &[Option<f64>]) -> Option<String> {
        let grid =
            Grid::try_new(edges.to_vec(), FixedPoint { centre: 0.0, scale: 1.0 }).expect("edges ascend");
        let of = |values: &[Option<f64>]| {
            let mut summary = NumericSummary::empty(&grid);
            summary.observe_values(&grid, values.iter().copied(), &mut NumericScratch::default());
            ColumnSummary::Numeric(summary)
        };
        let (reference, current) = (of(reference), of(current));
        describe(&Pair::new(&Shape::Numeric(grid), &reference, &current))
    }

    fn values(parts: &[(f64, usize)]) -> Vec<Option<f64>> {
        parts.iter().flat_map(|&(value, times)| std::iter::repeat_n(Some(value), times)).collect()
    }

    #[test]
    fn a_shift_is_told_by_the_edge_where_it_is_widest() {
        let edges = [0.0f64.next_down(), 10_000.0, 41_234.0, 90_000.0];
        let reference = values(&[(5000.0, 50), (20_000.0, 46), (50_000.0, 4)]);
        let current = values(&[(5000.0, 40), (20_000.0, 29), (50_000.0, 31)]);
        let words = numeric(&edges, &reference, &current);
        assert_eq!(words.as_deref(), Some("31 % of rows above 41,200, 4 % in training"));
    }

    #[test]
    fn values_outside_the_range_are_told_as_such() {
        let edges = [0.0f64.next_down(), 40.0, 85.0];
        let reference = values(&[(0.0, 50), (85.0, 50)]);
        let current = values(&[(0.0, 44), (85.0, 44), (99.0, 12)]);
        let words = numeric(&edges, &reference, &current);
        assert_eq!(words.as_deref(), Some("12 % of rows outside the training range 0–85, 0 % in training"));
    }

    #[test]
    fn a_value_that_became_common_is_named() {
        let edges = [-1.0, 0.0f64.next_down(), 0.0, 3.0];
        let reference = values(&[(-0.5, 45), (0.0, 10), (2.0, 45)]);
        let current = values(&[(-0.5, 20), (0.0, 60), (2.0, 20)]);
        let words = numeric(&edges, &reference, &current);
        assert_eq!(words.as_deref(), Some("60 % of rows equal to 0, 10 % in training"));
    }

    #[test]
    fn missing_values_are_told() {
        let mut reference = values(&[(1.0, 99)]);
        reference.push(None);
        let mut current = values(&[(1.0, 82)]);
        current.extend([None; 18]);
        let words = numeric(&[0.0, 2.0], &reference, &current);
        assert_eq!(words.as_deref(), Some("missing in 18 % of rows, 1 % in training"));
    }

    #[test]
    fn nothing_is_said_of_equal_or_empty_samples() {
        let reference = values(&[(1.0, 9)]);
        assert_eq!(numeric(&[0.0, 2.0], &reference, &reference), None);
        assert_eq!(numeric(&[0.0, 2.0], &reference, &[]), None);
        assert_eq!(numeric(&[], &reference, &reference), None);
    }

    fn categorical(reference: &[(&str, u64)], current: &[(&str, u64)]) -> Option<String> {
        let categories = Categories {
            top: vec!["FR".into(), "DE".into()],
            buckets: 0,
            rare: vec![],
            open: false,
            rare_singletons: None,
        };
        let index = CategoryIndex::new(&categories);
        let of = |counts: &[(&str, u64)]| {
            let mut summary = CategoricalSummary::empty(&categories);
            counts.iter().for_each(|(name, times)| summary.add(&categories, &index, name, *times));
            ColumnSummary::Categorical(summary)
        };
        let (reference, current) = (of(reference), of(current));
        describe(&Pair::new(&Shape::Categorical(categories), &reference, &current))
    }

    #[test]
    fn the_name_that_moved_most_is_told() {
        let words = categorical(&[("FR", 88), ("DE", 12)], &[("FR", 60), ("DE", 40)]);
        assert_eq!(words.as_deref(), Some("`DE` in 40 % of rows, 12 % in training"));
        let words = categorical(&[("FR", 95), ("DE", 5)], &[("FR", 95), ("XX", 5)]);
        assert_eq!(words.as_deref(), Some("unseen `XX` in 5 % of rows, 0 % in training"));
        let words = categorical(&[("FR", 95), ("DE", 5)], &[("FR", 90), ("YY", 6), ("ZZ", 4)]);
        assert_eq!(words.as_deref(), Some("unseen names such as `YY` in 10 % of rows, 0 % in training"));
    }

    #[test]
    fn numbers_are_short() {
        let cases = [
            (41_234.0, "41,200"),
            (-1_234_567.0, "-1,230,000"),
            (0.012_345, "0.0123"),
            (85.0, "85"),
            (f64::MIN_POSITIVE, "2.23e-308"),
            (1.5e12, "1.5e12"),
            (999.6, "1,000"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn shares_are_short() {
        let cases =
            [(0.0, "0 %"), (0.312, "31 %"), (0.004, "0.4 %"), (1e-7, "under 0.01 %"), (0.994, "99.4 %")];
        for (share, text) in cases {
            assert_eq!(percent(share), text);
        }
        assert_eq!(percent(1.0), "100 %");
    }
}

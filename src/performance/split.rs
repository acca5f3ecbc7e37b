//! The data or the world: splits the change of a mean loss into a part of which the *mix* of cases is the
//! cause and one of which the *concept* is, the loss of like cases.
//!
//! Place in the flow: takes counts and sums of a loss (error, squared error, cost) by stratum, a segment and
//! a bin of the score, in the reference and now; [`diagnosis`](super::diagnosis) reads the result. Pure.
//!
//! With w and l the share and the mean loss of a stratum in the reference, and w', l' now:
//!
//! ```text
//! Σ w'l' − Σ wl  =  Σ (w' − w)·(l + l')/2   +   Σ (w + w')/2·(l' − l)
//!                   mix                         concept
//! ```
//!
//! Source: Kitagawa 1955, doi:10.1080/01621459.1955.10501299; it is the Shapley value of two factors
//! (Shorrocks 2013, doi:10.1007/s10888-011-9214-z). What is a change of mix within a stratum counts as
//! concept, so strata have to be fine enough for cases in one to be alike.
//!
//! A stratum with next to no rows on one side has no loss there to compare with. Small ones are pooled with
//! a neighbour; large ones are set apart as *unexplained*: with c the mean loss of the other strata, over both
//! sides, Σ w'(l' − c) of the new ones less Σ w(l − c) of those that are gone. The mix of the others is then
//! taken about c too, which keeps the sum exact.
//!
//! Intervals: delta method for shares and means by stratum (Efron 1982, chapter 6), rows independent. With
//! labels still to come, a stratum whose labels are slow looks smaller than it is: give mature windows.
//!
//! Invariant: mix + concept + unexplained is the change, to rounding, and every number is finite.

use serde::{Deserialize, Serialize};

use super::interval::{self, Estimate, Interval};
use super::mean::UNBOUNDED;
use super::{NotComputable, finite};

/// Rows below which a side of a stratum has no loss to speak of.
pub const STRATUM_ROWS_MIN: u64 = 10;

/// A stratum that is all but empty on one side is unexplained from this share of the other side's rows on;
/// below, it is pooled.
pub const UNEXPLAINED_SHARE_MIN: f64 = 0.01;

/// The rows of a stratum on one side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// Rows with a label.
    pub rows: u64,
    /// Sum of their losses.
    pub loss: f64,
    /// Sum of the squares of their losses.
    pub loss_squared: f64,
}

/// A group of like cases.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stratum {
    /// What it may be pooled within first, such as its segment. Strata of a group stand together, in an order
    /// in which neighbours are alike.
    pub group: u32,
    /// In the reference.
    pub reference: Side,
    /// Now.
    pub now: Side,
}

/// A part of the change, or a mean loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its value, in units of the loss; above 0 things got worse.
    pub value: f64,
    /// Its 95 % interval; none when nothing varies.
    pub interval: Option<Interval>,
}

impl Part {
    /// Whether the interval is above 0: surely worse.
    pub fn is_harmful(&self) -> bool {
        self.interval.is_some_and(|interval| interval.low > 0.0)
    }

    /// Whether the interval is below 0: surely better.
    pub fn is_beneficial(&self) -> bool {
        self.interval.is_some_and(|interval| interval.high < 0.0)
    }
}

/// A change of a mean loss, split.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// Mean loss in the reference.
    pub reference: Part,
    /// Mean loss now.
    pub now: Part,
    /// The change: now less reference.
    pub change: Part,
    /// What of it comes from other shares of the strata.
    pub mix: Part,
    /// What of it comes from other losses of the same strata.
    pub concept: Part,
    /// What of it comes from strata that are on one side only.
    pub unexplained: Part,
    /// Mean loss if only the concept had changed: losses of now, shares of the reference. Strata that are gone
    /// keep the loss that they had.
    pub only_concept: Part,
    /// Mean loss if only the mix had changed: shares of now, losses of the reference. New strata have the loss
    /// that they have now.
    pub only_mix: Part,
    /// Strata compared, after pooling.
    pub strata: u32,
    /// Strata that were pooled with another.
    pub pooled: u32,
    /// Share of the reference's rows in unexplained strata.
    pub unexplained_share_reference: f64,
    /// Share of the rows of now in unexplained strata.
    pub unexplained_share_now: f64,
}

/// Splits the change of the mean loss.
///
/// # Errors
/// `InsufficientData` when either side has fewer than [`STRATUM_ROWS_MIN`] rows; `NotApplicable` when no
/// stratum has rows on both sides; `Degenerate` when a sum is not finite.
pub fn split(strata: &[Stratum]) -> Result<Split, NotComputable> {
    let totals = Totals::of(strata);
    let fewer = totals.reference.min(totals.now);
    if fewer < STRATUM_ROWS_MIN {
        return Err(NotComputable::InsufficientData { n: fewer, needed: STRATUM_ROWS_MIN });
    }
    let sums = strata.iter().flat_map(|stratum| [stratum.reference, stratum.now]);
    for number in sums.flat_map(|side| [side.loss, side.loss_squared]) {
        finite(number)?;
    }
    let arranged = arrange(strata, &totals);
    if arranged.common.is_empty() {
        return Err(NotComputable::not_applicable(format!(
            "no stratum has {STRATUM_ROWS_MIN} rows both in the reference and now"
        )));
    }
    Shares::new(&arranged, &totals).split(&arranged)
}

// === pooling ===

/// Rows of either side.
struct Totals {
    reference: u64,
    now: u64,
}

impl Totals {
    fn of(strata: &[Stratum]) -> Self {
        let sum = |rows: fn(&Stratum) -> u64| strata.iter().map(rows).fold(0, u64::saturating_add);
        Self { reference: sum(|stratum| stratum.reference.rows), now: sum(|stratum| stratum.now.rows) }
    }

    /// The larger share of its side that the stratum has.
    fn larger_share(&self, stratum: &Stratum) -> f64 {
        let reference = stratum.reference.rows as f64 / self.reference as f64;
        reference.max(stratum.now.rows as f64 / self.now as f64)
    }
}

/// Strata with a loss on both sides, and those without.
struct Arranged {
    common: Vec<Stratum>,
    unexplained: Vec<Stratum>,
    pooled: u32,
}

impl Side {
    fn add(&mut self, other: &Self) {
        self.rows = self.rows.saturating_add(other.rows);
        self.loss += other.loss;
        self.loss_squared += other.loss_squared;
    }
}

impl Stratum {
    fn add(&mut self, other: &Self) {
        self.reference.add(&other.reference);
        self.now.add(&other.now);
    }

    fn is_common(&self) -> bool {
        self.reference.rows.min(self.now.rows) >= STRATUM_ROWS_MIN
    }

    fn is_empty(&self) -> bool {
        self.reference.rows == 0 && self.now.rows == 0
    }
}

/// Sets large one-sided strata apart and pools the small ones: with those that follow in their group, with
/// those before where none follow, and what no group can hold with one another.
fn arrange(strata: &[Stratum], totals: &Totals) -> Arranged {
    let mut arranged = Arranged { common: Vec::new(), unexplained: Vec::new(), pooled: 0 };
    let mut left_over: Option<Stratum> = None;
    for group in strata.chunk_by(|one, next| one.group == next.group) {
        let first = arranged.common.len();
        let mut open: Option<Stratum> = None;
        for stratum in group.iter().filter(|stratum| !stratum.is_empty()) {
            if !stratum.is_common() && totals.larger_share(stratum) >= UNEXPLAINED_SHARE_MIN {
                arranged.unexplained.push(*stratum);
                continue;
            }
            let run = merge(open.take(), stratum, &mut arranged.pooled);
            match run.is_common() {
                true => arranged.common.push(run),
                false => open = Some(run),
            }
        }
        let Some(rest) = open else { continue };
        match arranged.common.get_mut(first..).and_then(<[Stratum]>::last_mut) {
            Some(last) => *last = merge(Some(*last), &rest, &mut arranged.pooled),
            None => left_over = Some(merge(left_over.take(), &rest, &mut arranged.pooled)),
        }
    }
    if let Some(rest) = left_over {
        match arranged.common.last_mut() {
            _ if rest.is_common() => arranged.common.push(rest),
            Some(last) => *last = merge(Some(*last), &rest, &mut arranged.pooled),
            None => arranged.unexplained.push(rest),
        }
    }
    arranged
}

fn merge(run: Option<Stratum>, stratum: &Stratum, pooled: &mut u32) -> Stratum {
    let Some(mut run) = run else { return *stratum };
    run.add(stratum);
    *pooled = pooled.saturating_add(1);
    run
}

// === the parts and their intervals ===

/// One stratum on one side.
#[derive(Clone, Copy)]
struct Cell {
    /// Share of the side's rows.
    share: f64,
    /// Mean loss; 0 without rows.
    loss: f64,
    /// Variance of the loss of a row.
    variance: f64,
}

impl Cell {
    fn new(side: &Side, total: u64) -> Self {
        if side.rows == 0 {
            return Self { share: 0.0, loss: 0.0, variance: 0.0 };
        }
        let n = side.rows as f64;
        let loss = side.loss / n;
        let variance = (side.loss_squared - side.loss * loss).max(0.0) / (n - 1.0).max(1.0);
        Self { share: n / total as f64, loss, variance }
    }
}

/// How a part moves with the share and with the mean loss of a stratum on one side.
#[derive(Clone, Copy, Default)]
struct Slope {
    share: f64,
    loss: f64,
}

/// A part's value and its slopes, reference and now, in the order of the strata.
struct Linear {
    value: f64,
    reference: Vec<Slope>,
    now: Vec<Slope>,
}

/// Every stratum, the common ones first, as shares and means.
struct Shares {
    reference: Vec<Cell>,
    now: Vec<Cell>,
    common: usize,
    rows: Totals,
    /// The mean loss of the common strata: c.
    centre: f64,
    /// Σ (w' − w) over the common strata.
    shift: f64,
}

impl Shares {
    fn new(arranged: &Arranged, totals: &Totals) -> Self {
        let all = || arranged.common.iter().chain(&arranged.unexplained);
        let reference: Vec<Cell> =
            all().map(|stratum| Cell::new(&stratum.reference, totals.reference)).collect();
        let now: Vec<Cell> = all().map(|stratum| Cell::new(&stratum.now, totals.now)).collect();
        let common = arranged.common.len();
        let (share, loss) = of_common(&reference, common);
        let (share_now, loss_now) = of_common(&now, common);
        Self {
            reference,
            now,
            common,
            rows: Totals { reference: totals.reference, now: totals.now },
            centre: (loss + loss_now) / 2.0,
            shift: if arranged.unexplained.is_empty() { 0.0 } else { share_now - share },
        }
    }

    fn pairs(&self) -> impl Iterator<Item = (bool, &Cell, &Cell)> {
        let common = self.common;
        let pairs = self.reference.iter().zip(&self.now).enumerate();
        pairs.map(move |(place, (reference, now))| (place < common, reference, now))
    }

    fn linear(&self, part: impl Fn(bool, &Cell, &Cell) -> (f64, Slope, Slope)) -> Linear {
        let mut linear = Linear { value: 0.0, reference: Vec::new(), now: Vec::new() };
        for (is_common, reference, now) in self.pairs() {
            let (value, slope, slope_now) = part(is_common, reference, now);
            linear.value += value;
            linear.reference.push(slope);
            linear.now.push(slope_now);
        }
        linear
    }

    /// How the centre c moves with a common stratum of a side whose common strata have this share and mean.
    fn centre_slope(cell: &Cell, (share, loss): (f64, f64)) -> Slope {
        Slope { share: (cell.loss - loss) / (2.0 * share), loss: cell.share / (2.0 * share) }
    }

    fn mix(&self) -> Linear {
        let (of_reference, of_now) =
            (of_common(&self.reference, self.common), of_common(&self.now, self.common));
        self.linear(|is_common, reference, now| {
            if !is_common {
                return (0.0, Slope::default(), Slope::default());
            }
            let about = (reference.loss + now.loss) / 2.0 - self.centre;
            let moved = now.share - reference.share;
            let centre = Self::centre_slope(reference, of_reference);
            let centre_now = Self::centre_slope(now, of_now);
            let slope = Slope {
                share: -about - self.shift * centre.share,
                loss: moved / 2.0 - self.shift * centre.loss,
            };
            let slope_now = Slope {
                share: about - self.shift * centre_now.share,
                loss: moved / 2.0 - self.shift * centre_now.loss,
            };
            (moved * about, slope, slope_now)
        })
    }

    fn unexplained(&self) -> Linear {
        let (of_reference, of_now) =
            (of_common(&self.reference, self.common), of_common(&self.now, self.common));
        let by_centre =
            |slope: Slope| Slope { share: self.shift * slope.share, loss: self.shift * slope.loss };
        self.linear(|is_common, reference, now| {
            if is_common {
                let centre = Self::centre_slope(reference, of_reference);
                let centre_now = Self::centre_slope(now, of_now);
                return (0.0, by_centre(centre), by_centre(centre_now));
            }
            let (about, about_now) = (reference.loss - self.centre, now.loss - self.centre);
            let slope = Slope { share: -about, loss: -reference.share };
            let slope_now = Slope { share: about_now, loss: now.share };
            (now.share * about_now - reference.share * about, slope, slope_now)
        })
    }

    fn concept(&self) -> Linear {
        self.linear(|is_common, reference, now| {
            if !is_common {
                return (0.0, Slope::default(), Slope::default());
            }
            let changed = now.loss - reference.loss;
            let share = (reference.share + now.share) / 2.0;
            let slope = Slope { share: changed / 2.0, loss: -share };
            (share * changed, slope, Slope { share: changed / 2.0, loss: share })
        })
    }

    /// Shares of the reference with the losses of now, where there are any.
    fn only_concept(&self) -> Linear {
        self.linear(|is_common, reference, now| match is_common {
            true => {
                let slope = Slope { share: now.loss, loss: 0.0 };
                (reference.share * now.loss, slope, Slope { share: 0.0, loss: reference.share })
            }
            false => (reference.share * reference.loss, own(reference), Slope::default()),
        })
    }

    /// Shares of now with the losses of the reference, where there are any.
    fn only_mix(&self) -> Linear {
        self.linear(|is_common, reference, now| match is_common {
            true => {
                let slope = Slope { share: 0.0, loss: now.share };
                (now.share * reference.loss, slope, Slope { share: reference.loss, loss: 0.0 })
            }
            false => (now.share * now.loss, Slope::default(), own(now)),
        })
    }

    fn split(&self, arranged: &Arranged) -> Result<Split, NotComputable> {
        let none = Slope::default();
        let reference = self.linear(|_, cell, _| (cell.share * cell.loss, own(cell), none));
        let now = self.linear(|_, _, cell| (cell.share * cell.loss, none, own(cell)));
        let change = self.linear(|_, cell, now| {
            let Slope { share, loss } = own(cell);
            (now.share * now.loss - cell.share * cell.loss, Slope { share: -share, loss: -loss }, own(now))
        });
        let outside = |cells: &[Cell]| cells.iter().skip(self.common).map(|cell| cell.share).sum();
        Ok(Split {
            reference: self.part(&reference)?,
            now: self.part(&now)?,
            change: self.part(&change)?,
            mix: self.part(&self.mix())?,
            concept: self.part(&self.concept())?,
            unexplained: self.part(&self.unexplained())?,
            only_concept: self.part(&self.only_concept())?,
            only_mix: self.part(&self.only_mix())?,
            strata: u32::try_from(self.common).unwrap_or(u32::MAX),
            pooled: arranged.pooled,
            unexplained_share_reference: outside(&self.reference),
            unexplained_share_now: outside(&self.now),
        })
    }

    fn part(&self, linear: &Linear) -> Result<Part, NotComputable> {
        let of_reference = variance(&self.reference, &linear.reference, self.rows.reference);
        let variance = of_reference + variance(&self.now, &linear.now, self.rows.now);
        let estimate = Estimate { value: finite(linear.value)?, variance: finite(variance)? };
        let interval = interval::normal(estimate, UNBOUNDED);
        Ok(Part { value: linear.value, interval })
    }
}

/// How a side's own mean loss moves.
fn own(cell: &Cell) -> Slope {
    Slope { share: cell.loss, loss: cell.share }
}

/// Share of the common strata, and their mean loss.
fn of_common(cells: &[Cell], common: usize) -> (f64, f64) {
    let sums = cells
        .iter()
        .take(common)
        .fold((0.0, 0.0), |(share, loss), cell| (share + cell.share, loss + cell.share * cell.loss));
    (sums.0, sums.1 / sums.0)
}

/// Variance of a part from one side of n rows: the shares are multinomial, and given them the mean losses are
/// independent: (Σ w·g² − (Σ w·g)² + Σ d²·v/w)/n, with g and d the slopes by share and by loss.
fn variance(cells: &[Cell], slopes: &[Slope], rows: u64) -> f64 {
    let pairs = || cells.iter().zip(slopes).filter(|(cell, _)| cell.share > 0.0);
    let mean: f64 = pairs().map(|(cell, slope)| cell.share * slope.share).sum();
    let shares: f64 = pairs().map(|(cell, slope)| cell.share * (slope.share - mean).powi(2)).sum();
    let losses: f64 = pairs().map(|(cell, slope)| slope.loss * slope.loss * cell.variance / cell.share).sum();
    (shares + losses) / rows as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::performance::random::{Random, assert_covers};

    /// Rows that lose 1 or nothing.
    fn errors(rows: u64, wrong: u64) -> Side {
        Side { rows, loss: wrong as f64, loss_squared: wrong as f64 }
    }

    fn stratum(group: u32, reference: (u64, u64), now: (u64, u64)) -> Stratum {
        Stratum { group, reference: errors(reference.0, reference.1), now: errors(now.0, now.1) }
    }

    fn close(part: Part, value: f64) {
        assert!((part.value - value).abs() < 1e-12, "{part:?} is not {value}");
    }

    #[test]
    fn a_change_of_both_is_split_as_by_hand() {
        // w ¾ ¼, l 0.1 0.4; w' ½ ½, l' 0.2 0.5. Mix −¼·0.15 + ¼·0.45, concept 0.625·0.1 + 0.375·0.1.
        let got =
            split(&[stratum(0, (300, 30), (100, 20)), stratum(0, (100, 40), (100, 50))]).expect("a split");
        close(got.reference, 0.175);
        close(got.now, 0.35);
        close(got.change, 0.175);
        close(got.mix, 0.075);
        close(got.concept, 0.1);
        close(got.unexplained, 0.0);
        close(got.only_concept, 0.75 * 0.2 + 0.25 * 0.5);
        close(got.only_mix, 0.5 * 0.1 + 0.5 * 0.4);
        assert_eq!((got.strata, got.pooled, got.unexplained.interval), (2, 0, None));
    }

    #[test]
    fn the_interval_of_one_stratum_is_that_of_two_shares() {
        let got = split(&[stratum(0, (400, 100), (200, 100))]).expect("a split");
        let half = 1.959_964 * (0.25 * 0.75 / 399.0_f64 + 0.25 / 199.0).sqrt();
        let interval = got.concept.interval.expect("an interval");
        assert!((interval.high - 0.25 - half).abs() < 1e-4, "{interval:?}");
        assert!(got.concept.is_harmful() && got.mix.interval.is_none() && got.change.is_harmful());
    }

    #[test]
    fn a_new_kind_of_case_is_unexplained() {
        // The common stratum halves: c = (0.1 + 0.1)/2. New: ½·(0.4 − 0.1); its shares have no mix left.
        let got = split(&[stratum(0, (100, 10), (100, 10)), stratum(0, (0, 0), (100, 40))]).expect("a split");
        close(got.change, 0.15);
        close(got.mix, 0.0);
        close(got.concept, 0.0);
        close(got.unexplained, 0.15);
        close(got.only_mix, 0.25);
        close(got.only_concept, 0.1);
        assert_eq!((got.unexplained_share_now, got.unexplained_share_reference), (0.5, 0.0));
        assert!(got.unexplained.is_harmful());
    }

    #[test]
    fn a_small_stratum_joins_its_neighbour_in_the_group() {
        let strata = [
            stratum(0, (1_000, 100), (1_000, 100)),
            stratum(0, (3, 1), (0, 0)),
            stratum(1, (2, 1), (1, 1)),
            stratum(1, (1_000, 300), (1_000, 300)),
        ];
        let got = split(&strata).expect("a split");
        assert_eq!((got.strata, got.pooled, got.unexplained_share_reference), (2, 2, 0.0));
        let arranged = arrange(&strata, &Totals::of(&strata));
        assert_eq!(arranged.common.first().map(|stratum| stratum.reference.rows), Some(1_003));
    }

    #[test]
    fn groups_too_small_for_a_stratum_share_one() {
        let mut strata: Vec<Stratum> = (1..=6).map(|group| stratum(group, (4, 1), (3, 1))).collect();
        strata.push(stratum(9, (1_000, 100), (1_000, 100)));
        let got = split(&strata).expect("a split");
        assert_eq!((got.strata, got.pooled), (2, 5));
    }

    #[test]
    fn sides_without_a_common_stratum_are_not_compared() {
        let apart = [stratum(0, (100, 10), (0, 0)), stratum(0, (0, 0), (100, 10))];
        assert_eq!(split(&apart).expect_err("no split").status(), "not_applicable");
        assert_eq!(split(&[]).expect_err("no split").status(), "insufficient_data");
        let broken = Stratum { now: Side { rows: 20, loss: f64::NAN, loss_squared: 0.0 }, ..apart[0] };
        assert_eq!(split(&[broken]).expect_err("no split").status(), "degenerate");
    }

    /// The slopes again, by moving each number a little.
    #[test]
    fn slopes_are_those_of_numeric_derivatives() {
        let strata = [
            stratum(0, (3_000, 300), (1_000, 200)),
            stratum(0, (1_000, 400), (2_000, 900)),
            stratum(0, (500, 100), (0, 0)),
            stratum(0, (0, 0), (700, 350)),
        ];
        let totals = Totals::of(&strata);
        let arranged = arrange(&strata, &totals);
        let parts: [fn(&Shares) -> Linear; 5] =
            [Shares::mix, Shares::concept, Shares::unexplained, Shares::only_concept, Shares::only_mix];
        for part in parts {
            let base = part(&Shares::new(&arranged, &totals));
            let mean: f64 = Shares::new(&arranged, &totals)
                .reference
                .iter()
                .zip(&base.reference)
                .map(|(cell, slope)| cell.share * slope.share)
                .sum();
            // One more row in the reference that loses as the stratum does moves its share only.
            for (place, slope) in base.reference.iter().enumerate().take(3) {
                let mut shares = Shares::new(&arranged, &totals);
                let step = 1e-6;
                for (other, cell) in shares.reference.iter_mut().enumerate() {
                    cell.share = cell.share * (1.0 - step) + if other == place { step } else { 0.0 };
                }
                refresh(&mut shares);
                let moved = (part(&shares).value - base.value) / step;
                assert!((moved - (slope.share - mean)).abs() < 1e-4, "{moved} is not {}", slope.share - mean);
                let mut shares = Shares::new(&arranged, &totals);
                shares.reference[place].loss += step;
                refresh(&mut shares);
                let moved = (part(&shares).value - base.value) / step;
                assert!((moved - slope.loss).abs() < 1e-4, "{moved} is not {}", slope.loss);
            }
        }
    }

    fn refresh(shares: &mut Shares) {
        let (share, loss) = of_common(&shares.reference, shares.common);
        let (share_now, loss_now) = of_common(&shares.now, shares.common);
        shares.centre = (loss + loss_now) / 2.0;
        shares.shift = share_now - share;
    }

    /// Shares and error rates of strata.
    type World = [(f64, f64); 5];

    const BEFORE: World = [(0.3, 0.02), (0.25, 0.08), (0.2, 0.15), (0.15, 0.3), (0.1, 0.4)];
    /// Other shares, the same error rates.
    const OTHER_MIX: World = [(0.2, 0.02), (0.2, 0.08), (0.2, 0.15), (0.2, 0.3), (0.2, 0.4)];
    /// The same shares, other error rates.
    const OTHER_CONCEPT: World = [(0.3, 0.04), (0.25, 0.1), (0.2, 0.2), (0.15, 0.33), (0.1, 0.5)];
    const OTHER_BOTH: World = [(0.2, 0.04), (0.2, 0.1), (0.2, 0.2), (0.2, 0.33), (0.2, 0.5)];

    fn draw(random: &mut Random, world: &World, rows: u64) -> [Side; 5] {
        let shares = world.map(|(share, _)| share);
        let mut sides = [Side::default(); 5];
        for _ in 0..rows {
            let stratum = random.pick(&shares);
            let loss = f64::from(random.chance(world[stratum].1));
            sides[stratum].add(&Side { rows: 1, loss, loss_squared: loss });
        }
        sides
    }

    const RUNS: u32 = 800;

    /// In how many runs the interval of mix, of concept, of either counterfactual holds its true value.
    fn held(now: &World) -> [u32; 4] {
        let sum = |of: fn(f64, f64, f64, f64) -> f64| -> f64 {
            BEFORE.iter().zip(now).map(|((w, l), (w_now, l_now))| of(*w, *l, *w_now, *l_now)).sum()
        };
        let truth = [
            sum(|w, l, w_now, l_now| (w_now - w) * (l + l_now) / 2.0),
            sum(|w, l, w_now, l_now| (w + w_now) / 2.0 * (l_now - l)),
            sum(|w, _, _, l_now| w * l_now),
            sum(|_, l, w_now, _| w_now * l),
        ];
        let mut random = Random::new(7);
        let mut held = [0; 4];
        for _ in 0..RUNS {
            let (reference, now) = (draw(&mut random, &BEFORE, 5_000), draw(&mut random, now, 2_000));
            let both = reference.into_iter().zip(now);
            let strata: Vec<Stratum> =
                both.map(|(reference, now)| Stratum { group: 0, reference, now }).collect();
            let got = split(&strata).expect("a split");
            let parts = [got.mix, got.concept, got.only_concept, got.only_mix];
            for ((held, truth), part) in held.iter_mut().zip(truth).zip(parts) {
                let interval = part.interval.expect("an interval");
                *held += u32::from(interval.low <= truth && truth <= interval.high);
            }
        }
        held
    }

    #[test]
    fn the_intervals_of_every_part_hold_the_truth() {
        for held in held(&OTHER_BOTH) {
            assert_covers(held, RUNS);
        }
    }

    #[test]
    fn a_change_of_mix_alone_is_no_change_of_concept() {
        // The concept's true value is 0: what its interval misses is called a change by mistake.
        let [mix, concept, ..] = held(&OTHER_MIX);
        assert_covers(mix, RUNS);
        assert_covers(concept, RUNS);
    }

    #[test]
    fn a_change_of_concept_alone_is_no_change_of_mix() {
        let [mix, concept, ..] = held(&OTHER_CONCEPT);
        assert_covers(mix, RUNS);
        assert_covers(concept, RUNS);
    }

    fn side() -> impl Strategy<Value = Side> {
        (prop_oneof![Just(0_u64), 0_u64..30, 0_u64..5_000], 0.0..1.0_f64, 0.0..1.0_f64).prop_map(
            |(rows, mean, spread)| {
                let n = rows as f64;
                Side { rows, loss: n * mean, loss_squared: n * (mean * mean + spread) }
            },
        )
    }

    proptest! {
        #[test]
        fn the_parts_add_up_to_the_change(sides in prop::collection::vec((0_u32..3, side(), side()), 1..12)) {
            let mut strata: Vec<Stratum> =
                sides.into_iter().map(|(group, reference, now)| Stratum { group, reference, now }).collect();
            strata.sort_by_key(|stratum| stratum.group);
            if let Ok(got) = split(&strata) {
                let sum = got.mix.value + got.concept.value + got.unexplained.value;
                prop_assert!((sum - got.change.value).abs() < 1e-10, "{got:?}");
                prop_assert!((got.now.value - got.reference.value - got.change.value).abs() < 1e-10);
                let json = serde_json::to_string(&got).expect("json");
                prop_assert_eq!(serde_json::from_str::<Split>(&json).expect("a split").strata, got.strata);
                prop_assert!(!json.contains("NaN"));
            }
        }
    }
}

//! How often the alarming tests see a changed window.
//!
//! With F the changed and G the training distribution, both with sampling error, the statistic of `ad` is a
//! quadratic form of nearly normal variables, X = N·ΣwₖDₖ² over the edges, N = nm/(n + m), with mean
//! dₖ = Fₖ − Gₖ and covariance Fⱼ(1 − Fₖ)/n + Gⱼ(1 − Gₖ)/m for j ≤ k. Its cumulants are
//! κᵣ = 2^(r−1)·(r − 1)!·N^r·(tr (WΣ)^r + r·dᵀW(ΣW)^(r−1)d) (Mathai and Provost 1992, section 3.2b); three of
//! them are matched to a shifted and scaled chi-squared law (Pearson's approximation: Imhof 1961,
//! doi:10.1093/biomet/48.3-4.419). The covariances being those of bridges, each sum is one pass over the
//! bins. The statistic of `g` is treated alike: its mean is that of the changed shares themselves
//! plus the degrees of freedom, its variance by the delta method.

use super::rates::{Training, first_count, smallest_count};
use super::{Needed, POWER, whole};
use crate::baseline::Column;
use crate::drift::law::{binomial_upper_tail, chi_squared_sf, count_beyond_range, critical_value, normal_sf};
use crate::drift::{Pair, ad_critical, g, pooled_cells};
use crate::summary::{CategoricalSummary, ColumnSummary, Counts, NumericSummary};

/// The first three cumulants of a statistic.
struct Cumulants {
    mean: f64,
    variance: f64,
    third: f64,
}

impl Cumulants {
    /// P(X ≥ `x`) by Pearson's three moments.
    fn upper_tail(&self, x: f64) -> f64 {
        if self.variance <= 0.0 || self.third <= 0.0 {
            return if self.mean >= x { 1.0 } else { 0.0 };
        }
        let degrees = 8.0 * self.variance.powi(3) / self.third.powi(2);
        chi_squared_sf(degrees + (x - self.mean) * (2.0 * degrees / self.variance).sqrt(), degrees)
    }
}

// === numeric columns ===

/// The tests that see a shift of a numeric column.
pub(super) struct NumericTests<'a> {
    training: &'a [f64],
    m: f64,
    n: f64,
    ad_critical: Option<f64>,
    floor: f64,
    /// Values beyond the training range for which `overflow` alarms.
    beyond: Option<u64>,
    cells: Option<Cells<'a>>,
}

impl<'a> NumericTests<'a> {
    /// The tests of a column with these training shares, for windows of so many values.
    ///
    /// # Errors
    /// Why none of them can alarm, for people.
    pub(super) fn new(
        column: &'a Column,
        training: &'a [f64],
        values: f64,
        needed: &Needed,
    ) -> Result<Self, String> {
        let m = column.summary.values() as f64;
        let (p, n) = (needed.log_p.exp(), whole(values));
        let anomalies = column.summary.anomalies();
        let beyond_itself =
            training.first().copied().unwrap_or(0.0) + training.last().copied().unwrap_or(0.0);
        let infinities = anomalies.positive_infinity.saturating_add(anomalies.negative_infinity);
        // Where the training data reach beyond themselves, another test is made: it is left out here.
        let is_plain = beyond_itself <= 0.0 && infinities == 0;
        let reference_n = column.summary.values();
        let beyond = first_count(n, |count| {
            count as f64 >= needed.floors.rate * values && count_beyond_range(count, n, reference_n) <= p
        });
        let tests = Self {
            training,
            m,
            n: values,
            ad_critical: ad_critical(training, values + m, needed.log_p),
            floor: needed.floors.cumulative_share,
            beyond: beyond.filter(|_| is_plain),
            cells: Cells::new(column, values, needed).ok(),
        };
        if n < 2 || m < 2.0 {
            return Err(format!(
                "{} training values and {n} in a window are too few",
                column.summary.values()
            ));
        }
        Ok(tests)
    }

    /// Whether a window with these shares alarms with a probability of [`POWER`] by one of the tests.
    pub(super) fn see(&self, shares: &[f64]) -> bool {
        self.overflow_sees(shares)
            || self.ad_sees(shares)
            || self.cells.as_ref().is_some_and(|cells| cells.see(shares))
    }

    fn overflow_sees(&self, shares: &[f64]) -> bool {
        let Some(count) = self.beyond else { return false };
        let ends = shares.first().copied().unwrap_or(0.0) + shares.last().copied().unwrap_or(0.0);
        binomial_upper_tail(count, whole(self.n), ends.min(1.0)) >= POWER
    }

    fn ad_sees(&self, shares: &[f64]) -> bool {
        let Some(critical) = self.ad_critical else { return false };
        let edges = self.edges(shares);
        quadratic(&edges, self.n, self.m).upper_tail(critical) >= POWER
            && difference_reaches(&edges, self.n, self.m, self.floor) >= POWER
    }

    fn edges(&self, shares: &[f64]) -> Vec<Edge> {
        let mut edges: Vec<Edge> = Vec::with_capacity(shares.len());
        let (mut f, mut g, mut height, mut last) = (0.0, 0.0, 0.0, 0.0);
        for (now, before) in shares.iter().zip(self.training) {
            let mass = (self.n * now + self.m * before) / (self.n + self.m);
            if mass <= 0.0 {
                continue;
            }
            if height > 0.0 {
                let above = (1.0_f64 - height).max(mass);
                edges.push(Edge { f, g, weight: (last + mass) / (2.0 * height * above) });
            }
            (f, g, height, last) = (f + now, g + before, height + mass, mass);
        }
        edges
    }
}

/// An edge between two bins: the shares below it, and the weight of their difference.
struct Edge {
    f: f64,
    g: f64,
    weight: f64,
}

/// The cumulants of Σ of weighted squared differences, times n·m/(n + m).
fn quadratic(edges: &[Edge], n: f64, m: f64) -> Cumulants {
    let size = n * m / (n + m);
    let bias: Vec<f64> = edges.iter().map(|edge| edge.weight * (edge.f - edge.g)).collect();
    let by_window = through_bridge(edges.iter().map(|edge| edge.f), &bias);
    let by_training = through_bridge(edges.iter().map(|edge| edge.g), &bias);
    let (mut mean, mut linear, mut cubic) = (0.0, 0.0, 0.0);
    for (((edge, bias), window), training) in edges.iter().zip(&bias).zip(&by_window).zip(&by_training) {
        let Edge { f, g, weight } = edge;
        let through = window / n + training / m;
        mean += weight * ((f - g).powi(2) + f * (1.0 - f) / n + g * (1.0 - g) / m);
        linear += bias * through;
        cubic += weight * through * through;
    }
    let (second, third) = traces(edges, n, m);
    Cumulants {
        mean: size * mean,
        variance: 2.0 * second + 4.0 * size * size * linear,
        third: 8.0 * third + 24.0 * size.powi(3) * cubic,
    }
}

/// Σₖ cov(j, k)·vₖ for each j, cov that of a bridge at these heights.
fn through_bridge(heights: impl Iterator<Item = f64>, vector: &[f64]) -> Vec<f64> {
    let heights: Vec<f64> = heights.collect();
    let mut above: f64 = heights.iter().zip(vector).map(|(height, v)| (1.0 - height) * v).sum();
    let mut below = 0.0;
    let terms = heights.iter().zip(vector);
    terms
        .map(|(height, v)| {
            below += height * v;
            above -= (1.0 - height) * v;
            (1.0 - height) * below + height * above
        })
        .collect()
}

/// tr (WB)² and tr (WB)³, B the covariance of a bridge at heights between F and G, each weighted by the
/// other's size as their sampling errors are. With heights in order a product of covariances around j ≤ k ≤ l
/// is hⱼ²·hₖ(1 − hₖ)·(1 − hₗ)².
fn traces(edges: &[Edge], n: f64, m: f64) -> (f64, f64) {
    let (mut second, mut third) = (0.0, 0.0);
    // Sums over the edges so far: of the first factor, and of the first two, each as often as it occurs.
    let (mut first, mut first_two) = (0.0, 0.0);
    for edge in edges {
        let height = (m * edge.f + n * edge.g) / (n + m);
        let (low, high) = (edge.weight * height * height, edge.weight * (1.0 - height).powi(2));
        let own = edge.weight * height * (1.0 - height);
        second += own * own + 2.0 * high * first;
        third += own.powi(3) + 3.0 * first * own * high + first_two * high;
        first_two += 3.0 * low * own + 6.0 * first * own;
        first += low;
    }
    (second, third)
}

/// Nodes of the quadrature over the difference at the edge where it is largest.
const NODES: u32 = 96;

/// The probability that the largest difference of the cumulative shares, seen with sampling error, reaches
/// `floor`.
///
/// At the edge u where the true difference d is largest it is normal about d. If it stays below the floor
/// there by t, it may still reach it elsewhere: to either side the error is a Brownian bridge, and what it
/// has to reach is taken as a straight line up to the floor at the end, so that it stays below with
/// probability 1 − exp(−2·floor·t·N/u), or 1 − u for u (Doob 1949, doi:10.1214/aoms/1177729991). The true
/// difference bends outward between, so this is slightly too small.
fn difference_reaches(edges: &[Edge], n: f64, m: f64, floor: f64) -> f64 {
    let size = n * m / (n + m);
    let apart = |edge: &Edge| (edge.f - edge.g).abs();
    let Some(widest) = edges.iter().max_by(|a, b| apart(a).total_cmp(&apart(b))) else { return 0.0 };
    if floor <= 0.0 {
        return 1.0;
    }
    let deviation = (widest.f * (1.0 - widest.f) / n + widest.g * (1.0 - widest.g) / m).sqrt();
    let at = ((m * widest.f + n * widest.g) / (n + m)).clamp(1e-9, 1.0 - 1e-9);
    let short = floor - apart(widest);
    if deviation <= 0.0 {
        return if short <= 0.0 { 1.0 } else { 0.0 };
    }
    // The part of the normal law below the floor, by the midpoint rule over six deviations.
    let step = (6.0 + (short / deviation).max(0.0)) * deviation / f64::from(NODES);
    let below: f64 = (0..NODES)
        .map(|node| {
            let t = (f64::from(node) + 0.5) * step;
            let density = (-0.5 * ((short - t) / deviation).powi(2)).exp();
            let stays = |part: f64| -(-2.0 * floor * t * size / part).exp_m1();
            density * stays(at) * stays(1.0 - at)
        })
        .sum();
    (1.0 - below * step / (deviation * (2.0 * std::f64::consts::PI).sqrt())).clamp(0.0, 1.0)
}

// === cells ===

/// The test `g` on a column's cells.
pub(super) struct Cells<'a> {
    column: &'a Column,
    n: u64,
    log_p: f64,
    floor: f64,
}

impl<'a> Cells<'a> {
    /// The test of a column, for windows of so many values.
    ///
    /// # Errors
    /// Why it cannot alarm, for people.
    pub(super) fn new(column: &'a Column, values: f64, needed: &Needed) -> Result<Self, String> {
        let (n, m) = (whole(values), column.summary.values());
        if n.min(m) < 2 {
            return Err(format!("{m} training values and {n} in a window are too few"));
        }
        Ok(Self { column, n, log_p: needed.log_p, floor: needed.floors.share })
    }

    /// Whether a window with these shares of the column's counts alarms with a probability of [`POWER`].
    pub(super) fn see(&self, shares: &[f64]) -> bool {
        let current = self.expected(shares);
        let Column { shape, summary, .. } = self.column;
        let pair = Pair::new(shape, summary, &current);
        match pooled_cells(&pair) {
            Ok((reference, current)) if reference.len() >= 2 => self.homogeneity_sees(&reference, &current),
            Ok(_) => self.largest_sees(shares),
            Err(_) => false,
        }
    }

    /// The counts of a window with these shares, rounded so that what lies up to any count is right to half
    /// a value.
    fn expected(&self, shares: &[f64]) -> ColumnSummary {
        let (mut sum, mut before) = (0.0, 0);
        let rounded = shares.iter().map(|share| {
            sum += share;
            let up_to = whole((sum * self.n as f64).round()).max(before);
            let count = up_to - before;
            before = up_to;
            count
        });
        let counts = Counts::from_wide(rounded.collect());
        match &self.column.summary {
            ColumnSummary::Numeric(training) => {
                ColumnSummary::Numeric(NumericSummary { counts, ..training.clone() })
            }
            ColumnSummary::Categorical(training) => {
                ColumnSummary::Categorical(CategoricalSummary { counts, ..training.clone() })
            }
        }
    }

    fn homogeneity_sees(&self, reference: &[u64], current: &[u64]) -> bool {
        let total = |counts: &[u64]| counts.iter().map(|&count| count as f64).sum::<f64>();
        let (m, n) = (total(reference), total(current));
        let (mut moved, mut gaining) = (0.0, (0.0, 0.0));
        for (&before, &now) in reference.iter().zip(current) {
            let (before, now) = (before as f64 / m, now as f64 / n);
            moved += folded_mean(now - before, now * (1.0 - now) / n + before * (1.0 - before) / m) / 2.0;
            if now > before {
                gaining = (gaining.0 + now, gaining.1 + before);
            }
        }
        // Total variation is the difference of the two shares of the cells that gain.
        let (now, before) = gaining;
        let moved_variance = now * (1.0 - now) / n + before * (1.0 - before) / m;
        let degrees = reference.len() as f64 - 1.0;
        let Some(critical) = chi_squared_critical(degrees, self.log_p) else { return false };
        let noncentral = g(reference, current);
        let spread = deviance_variance(reference, current);
        let statistic = Cumulants {
            mean: degrees + noncentral,
            variance: 2.0 * degrees + spread,
            third: 8.0 * degrees + 6.0 * spread,
        };
        let reaches_floor = normal_sf((self.floor - moved) / moved_variance.sqrt().max(f64::MIN_POSITIVE));
        statistic.upper_tail(critical) >= POWER && reaches_floor >= POWER
    }

    /// Where pooling leaves one cell, the largest cell's share is tested exactly.
    fn largest_sees(&self, shares: &[f64]) -> bool {
        let counts = self.column.summary.counts();
        let Some((largest, most)) = counts.iter().enumerate().max_by_key(|(_, count)| *count) else {
            return false;
        };
        let of = counts.total();
        let others = Training { times: of.saturating_sub(most), of };
        let share = 1.0 - shares.get(largest).copied().unwrap_or(0.0);
        smallest_count(others, self.n, self.log_p.exp(), self.floor)
            .is_some_and(|count| binomial_upper_tail(count, self.n, share.clamp(0.0, 1.0)) >= POWER)
    }
}

/// The part of the variance of G that comes from the change, by the delta method: 4n·Var ln(f/h) over the
/// window's cells and the same over the training's. It is four times the noncentrality when the change is
/// small, and less where a cell empties.
fn deviance_variance(reference: &[u64], current: &[u64]) -> f64 {
    let total = |counts: &[u64]| counts.iter().map(|&count| count as f64).sum::<f64>();
    let (m, n) = (total(reference), total(current));
    let of = |counts: &[u64], size: f64| {
        let (mut mean, mut square) = (0.0, 0.0);
        let held = counts.iter().zip(reference.iter().zip(current)).filter(|(count, _)| **count > 0);
        for (&count, (&before, &now)) in held {
            let share = count as f64 / size;
            let ratio = (share * (n + m) / (before as f64 + now as f64)).ln();
            mean += share * ratio;
            square += share * ratio * ratio;
        }
        4.0 * size * (square - mean * mean).max(0.0)
    };
    of(current, n) + of(reference, m)
}

/// E|X| of a normal variable: σ·√(2/π)·exp(−μ²/2σ²) + μ·(1 − 2Φ(−μ/σ)) (Leone, Nelson and Nottingham 1961).
fn folded_mean(mean: f64, variance: f64) -> f64 {
    if variance <= 0.0 {
        return mean.abs();
    }
    let deviation = variance.sqrt();
    let z = mean.abs() / deviation;
    deviation * (2.0 / std::f64::consts::PI).sqrt() * (-0.5 * z * z).exp()
        + mean.abs() * (1.0 - 2.0 * normal_sf(z))
}

/// The smallest chi-squared value whose upper tail is at most e^`log_p`.
fn chi_squared_critical(degrees: f64, log_p: f64) -> Option<f64> {
    critical_value(|x| chi_squared_sf(x, degrees).ln(), log_p, degrees.max(1.0), f64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn even_edges(bins: u32) -> Vec<Edge> {
        let bins = f64::from(bins);
        let heights = std::iter::successors(Some(1.0), |k| (k + 1.0 < bins).then_some(k + 1.0));
        heights.map(|k| k / bins).map(|h| Edge { f: h, g: h, weight: 1.0 / (bins * h * (1.0 - h)) }).collect()
    }

    #[test]
    fn without_a_change_the_cumulants_are_those_of_the_limit_law() {
        // Σ1/(j(j+1)), 2Σ1/(j(j+1))² = 2(π²/3 − 3) and 8Σ1/(j(j+1))³ = 8(10 − π²).
        let cumulants = quadratic(&even_edges(2_000), 1e6, 1e6);
        let square = std::f64::consts::PI.powi(2);
        assert!((cumulants.mean - 1.0).abs() < 2e-3, "{}", cumulants.mean);
        assert!((cumulants.variance - 2.0 * (square / 3.0 - 3.0)).abs() < 2e-3, "{}", cumulants.variance);
        assert!((cumulants.third - 8.0 * (10.0 - square)).abs() < 2e-2, "{}", cumulants.third);
    }

    #[test]
    fn the_largest_difference_reaches_its_own_size_more_often_than_not() {
        let edges: Vec<Edge> = even_edges(64)
            .into_iter()
            .map(|edge| Edge { f: edge.f + 0.1 * edge.f * (1.0 - edge.f), ..edge })
            .collect();
        let reached = difference_reaches(&edges, 20_000.0, 20_000.0, 0.025);
        assert!((0.6..0.95).contains(&reached), "{reached}");
        assert!(difference_reaches(&edges, 20_000.0, 20_000.0, 0.05) < 1e-3);
        assert!(difference_reaches(&edges, 20_000.0, 20_000.0, 0.01) > 0.999);
    }

    #[test]
    fn the_critical_value_has_its_tail() {
        for (degrees, log_p) in [(1.0, -7.0), (15.0, -20.0), (300.0, -3.0)] {
            let critical = chi_squared_critical(degrees, log_p).expect("a value");
            assert!((chi_squared_sf(critical, degrees).ln() - log_p).abs() < 1e-6);
        }
        assert_eq!(chi_squared_critical(3.0, -800.0), None);
    }
}

//! `cvm` and `ad`: the Cramér–von Mises and Anderson–Darling tests on the grid.

use super::cells::{n_eff, total};
use super::ks::ks;
use super::law::{BridgeForm, Tail, anderson_darling_tail, cramer_von_mises_tail};
use super::{DriftTest, EffectUnit, NUMERIC, NotTestable, Pair, Score, VALUES_MIN};

pub(super) const CVM: DriftTest = DriftTest {
    name: "cvm",
    about: "Cramer-von Mises: mean square of the difference of the cumulative shares",
    kinds: NUMERIC,
    alarms: false,
    score: cvm_score,
};

pub(super) const AD: DriftTest = DriftTest {
    name: "ad",
    about: "Anderson-Darling: as cvm, with the tails weighted up",
    kinds: NUMERIC,
    alarms: true,
    score: ad_score,
};

/// A bin with this share or more of both samples together is too coarse for the law of the continuous case:
/// an atom, or a coarse grid. The law is then computed for the bins as they are.
const COARSE: f64 = 1.0 / 64.0;

/// Bins are joined up to this share where the law is computed for them: about forty blocks are enough.
const BLOCK: f64 = 1.0 / 32.0;

/// Two samples, ready for a quadratic statistic.
struct Compared {
    /// The bins that hold values, in order.
    bins: Vec<Bin>,
    n_eff: f64,
    /// The largest difference of the cumulative shares.
    effect: f64,
}

/// One bin of two samples.
struct Bin {
    /// Whether it holds one value only.
    point: bool,
    /// Shares of the reference and the current sample.
    p: f64,
    q: f64,
    /// F − G at the lower and at the upper edge.
    a: f64,
    b: f64,
    /// Share of both samples together, in the bin and up to its upper edge.
    mass: f64,
    height: f64,
}

/// Statistic: W² = n_eff·∫(F − G)² dH, H the distribution function of both samples together (Anderson 1962,
/// doi:10.1214/aoms/1177704477); for values without ties it is scipy's `cramervonmises_2samp`. (With ties
/// scipy's grows with the sizes of the samples; this one does not.) With a and b the difference F − G at a
/// bin's edges and h its share of both samples, a bin adds h·(a² + ab + b²)/3, a point bin h·(a² + b²)/2.
///
/// Bound: F − G departs from the straight line by at most s = max(p, q), so a bin is off by at most
/// n_eff·h·s·(2·max(|a|, |b|) + s); no such error in point bins. Effect: that of `ks`.
///
/// p-value: the limit law at the statistic after Anderson's correction of mean and variance to the samples'
/// sizes; where a bin holds a large share (atoms), the law of the quadratic form on the grid's own bins.
fn cvm_score(pair: &Pair<'_>) -> Result<Score, NotTestable> {
    let compared = Compared::of(pair)?;
    let (mut statistic, mut bound) = (0.0, 0.0);
    for Bin { point, p, q, a, b, mass, .. } in &compared.bins {
        if *point {
            statistic += mass * (a * a + b * b) / 2.0;
            continue;
        }
        let swing = p.max(*q);
        statistic += mass * (a * a + a * b + b * b) / 3.0;
        bound += mass * swing * (2.0 * a.abs().max(b.abs()) + swing);
    }
    let statistic = statistic * compared.n_eff;
    let law = BridgeLaw::of(&compared.bins, |_, left, right| (left + right) / 2.0);
    let p_value = law.tail(pair, statistic, |x| cramer_von_mises_tail(corrected(x, pair)));
    Ok(compared.score(pair, statistic, p_value).with_bound(bound * compared.n_eff))
}

/// Statistic: A² = n_eff·Σ½(hₖ + hₖ₊₁)·(F − G)²/(H·(1 − H)) over the edges between bins, h and H the shares and
/// cumulative shares of both samples together (Pettitt 1976, doi:10.1093/biomet/63.1.161). Not the statistic
/// that scipy's `anderson_ksamp` normalises. Effect: that of `ks`. No bound: the weight is not bounded.
///
/// p-value: the limit law; where a bin holds a large share (atoms), the law of the quadratic form on the
/// grid's own bins. This is the test that numeric columns alarm on: against a change of the mean it sees
/// slightly more than `ks`, against a change of spread or tail twice as much.
fn ad_score(pair: &Pair<'_>) -> Result<Score, NotTestable> {
    let compared = Compared::of(pair)?;
    let neighbours = compared.bins.iter().zip(compared.bins.iter().skip(1));
    let sum: f64 = neighbours
        .map(|(left, right)| {
            // The share above the edge is at least the next bin's, whatever rounding says.
            let above = (1.0 - left.height).max(right.mass);
            left.b * left.b * (left.mass + right.mass) / (2.0 * left.height * above)
        })
        .sum();
    let statistic = sum * compared.n_eff;
    let p_value = BridgeLaw::of(&compared.bins, ad_weight).tail(pair, statistic, anderson_darling_tail);
    Ok(compared.score(pair, statistic, p_value))
}

/// The smallest statistic of `ad` whose p-value is at most e^`log_p`, when both samples together have these
/// shares in the grid's bins and `values` values in all: what a change has to reach to be seen. `None` when
/// no statistic has such a p-value: all values are in one bin, or the p-value would be below about 1e-307.
pub fn ad_critical(shares: &[f64], values: f64, log_p: f64) -> Option<f64> {
    let mut height = 0.0;
    let held = shares.iter().filter(|share| **share > 0.0);
    let bins: Vec<Bin> = held
        .map(|&mass| {
            height += mass;
            Bin { point: false, p: mass, q: mass, a: 0.0, b: 0.0, mass, height: f64::min(height, 1.0) }
        })
        .collect();
    let law = BridgeLaw::of(&bins, ad_weight);
    let log_sf = |x: f64| law.tail_of(values, x, anderson_darling_tail).ln();
    let (mut low, mut high) = (0.0, 1.0);
    while log_sf(high) > log_p {
        (low, high) = (high, 2.0 * high);
        // The tail falls like e^−x or slower by the weight of the largest bin; doubles end long before.
        if high > 1e6 {
            return None;
        }
    }
    // Far out the logarithm of the tail is a line nearly, but halving is quick enough and cannot fail.
    for _ in 0..40 {
        let middle = 0.5 * (low + high);
        if log_sf(middle) > log_p {
            low = middle;
        } else {
            high = middle;
        }
    }
    log_sf(high).is_finite().then_some(high)
}

/// The weight of (F − G)² at an edge of this height, between bins of these shares.
fn ad_weight(height: f64, left: f64, right: f64) -> f64 {
    (left + right) / (2.0 * height * (1.0 - height))
}

impl Compared {
    fn of(pair: &Pair<'_>) -> Result<Self, NotTestable> {
        let numeric = pair.numeric()?;
        let (m, n) = pair.sizes(VALUES_MIN)?;
        numeric.refuse_one_value()?;
        let (reference, current) = numeric.counts();
        Ok(Self {
            bins: bins(&reference, &current, |bin| numeric.is_point(bin)),
            n_eff: n_eff(m as f64, n as f64),
            effect: ks(&reference, &current),
        })
    }

    fn score(&self, pair: &Pair<'_>, statistic: f64, p_value: Tail) -> Score {
        pair.score(statistic).with_effect(self.effect, EffectUnit::CumulativeShare).with_p_value(p_value)
    }
}

fn bins(reference: &[u64], current: &[u64], is_point: impl Fn(usize) -> bool) -> Vec<Bin> {
    let (m, n) = (total(reference), total(current));
    let (mut f, mut g, mut height) = (0.0, 0.0, 0.0);
    let mut bins = Vec::with_capacity(reference.len());
    for (index, (&held_before, &held)) in reference.iter().zip(current).enumerate() {
        if held_before == 0 && held == 0 {
            continue;
        }
        let (p, q) = (held_before as f64 / m, held as f64 / n);
        let mass = (held_before as f64 + held as f64) / (n + m);
        let a = f - g;
        (g, f, height) = (g + p, f + q, height + mass);
        bins.push(Bin { point: is_point(index), p, q, a, b: f - g, mass, height: height.min(1.0) });
    }
    bins
}

/// W² brought to the limit law's mean 1/6 and variance 1/45 (Anderson 1962, equations 2.10 to 2.12).
fn corrected(statistic: f64, pair: &Pair<'_>) -> f64 {
    let (m, n) = (pair.reference.values() as f64, pair.current.values() as f64);
    let all = m + n;
    let mean = (1.0 + 1.0 / all) / 6.0;
    let ratio = (4.0 - 3.0 * (n / m + m / n) / all - 2.0 / all) / 4.0;
    let variance = (1.0 + 1.0 / all) * ratio / 45.0;
    if variance <= 0.0 { statistic } else { 1.0 / 6.0 + (statistic - mean) / (45.0 * variance).sqrt() }
}

/// Which law a quadratic statistic of these bins has.
enum BridgeLaw {
    /// That of the continuous case.
    Limit,
    /// That of the bins.
    Bins(BridgeForm),
    /// All values are in one bin.
    Constant,
}

impl BridgeLaw {
    fn of(bins: &[Bin], weight: impl Fn(f64, f64, f64) -> f64) -> Self {
        if bins.iter().all(|bin| bin.mass < COARSE) {
            return Self::Limit;
        }
        BridgeForm::new(&blocks(bins), weight).map_or(Self::Constant, Self::Bins)
    }

    fn tail(&self, pair: &Pair<'_>, statistic: f64, limit: impl Fn(f64) -> Tail) -> Tail {
        self.tail_of(pair.reference.values() as f64 + pair.current.values() as f64, statistic, limit)
    }

    /// P(X > `statistic`) with so many values in both samples together.
    fn tail_of(&self, values: f64, statistic: f64, limit: impl Fn(f64) -> Tail) -> Tail {
        if statistic <= 0.0 {
            return Tail::certain();
        }
        match self {
            Self::Limit => limit(statistic),
            Self::Constant => Tail::certain(),
            // Given the pooled counts, F − G has the bridge's covariance times N/(N − 1).
            Self::Bins(form) => form.tail(statistic * (1.0 - 1.0 / values)),
        }
    }
}

/// Joins small neighbouring bins: up to [`BLOCK`], less near the ends, where the weight of `ad` changes fast.
fn blocks(bins: &[Bin]) -> Vec<f64> {
    let mut blocks = Vec::new();
    let mut open = 0.0;
    for bin in bins {
        let before = bin.height - bin.mass;
        let most = BLOCK.min((before - open).min(1.0 - before) / 2.0);
        if open > 0.0 && open + bin.mass > most {
            blocks.push(open);
            open = 0.0;
        }
        open += bin.mass;
    }
    blocks.push(open);
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_the_mass_and_stay_few() {
        let counts = vec![10u64; 1000];
        let blocks = blocks(&bins(&counts, &counts, |_| false));
        assert!((blocks.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(blocks.len() < 90, "{}", blocks.len());
        assert!(blocks.iter().all(|mass| *mass <= BLOCK + 1e-12));
        assert!((blocks[0] - 0.001).abs() < 1e-12);
    }

    #[test]
    fn the_correction_leaves_large_samples_alone() {
        let shape = crate::summary::Grid::try_new(
            vec![0.0, 1.0],
            crate::summary::FixedPoint { centre: 0.0, scale: 1.0 },
        );
        let shape = crate::summary::Shape::Numeric(shape.expect("edges ascend"));
        let mut side = shape.empty();
        if let crate::summary::ColumnSummary::Numeric(numeric) = &mut side {
            numeric.counts.add(1, 1_000_000);
        }
        let pair = Pair { shape: &shape, reference: &side, current: &side };
        assert!((corrected(0.5, &pair) - 0.5).abs() < 1e-5);
    }
}

//! `cvm` and `ad`: the Cramér–von Mises and Anderson–Darling tests on the grid.

use super::bins::{Bins, LANES, larger, side_by_side, smaller};
use super::cells::n_eff;
use super::law::{BridgeForm, Tail, anderson_darling_tail, cramer_von_mises_tail, critical_value};
use super::{DriftTest, EffectUnit, NUMERIC, NotTestable, Pair, Score};

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

/// Room for so many blocks is made at first.
const BLOCKS_USUAL: usize = 128;

/// No statistic is looked for beyond: its p-value would be e to the minus a million.
const STATISTIC_MAX: f64 = 1e6;

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
    let bins = pair.bins_that_vary()?;
    let [mut statistics, mut bounds] = [[0.0; LANES]; 2];
    let columns = [bins.lower(), bins.difference(), &bins.p, &bins.q, &bins.mass, &bins.spread];
    side_by_side(columns, |lane, [a, b, p, q, mass, spread]| {
        let (ends, swing) = (a * a + b * b, spread * larger(p, q));
        // The third part of a² + ab + b², or half of a² + b² in a point bin.
        statistics[lane] += mass * (ends * (0.5 - spread * (1.0 / 6.0)) + spread * (a * b) * (1.0 / 3.0));
        bounds[lane] += mass * swing * (2.0 * larger(a.abs(), b.abs()) + swing);
    });
    let (statistic, bound) = (statistics.iter().sum::<f64>(), bounds.iter().sum::<f64>());
    let (m, n) = pair.values;
    let n_eff = n_eff(m as f64, n as f64);
    let statistic = statistic * n_eff;
    let law = BridgeLaw::of(bins, |_, left, right| (left + right) / 2.0);
    let p_value = law.tail(pair, statistic, |x| cramer_von_mises_tail(corrected(x, pair)));
    Ok(score(pair, bins, statistic, p_value).with_bound(bound * n_eff))
}

/// Statistic: A² = n_eff·Σ½(hₖ + hₖ₊₁)·(F − G)²/(H·(1 − H)) over the edges between bins, h and H the shares and
/// cumulative shares of both samples together (Pettitt 1976, doi:10.1093/biomet/63.1.161). Not the statistic
/// that scipy's `anderson_ksamp` normalises. Effect: that of `ks`. No bound: the weight is not bounded.
///
/// p-value: the limit law; where a bin holds a large share (atoms), the law of the quadratic form on the
/// grid's own bins. This is the test that numeric columns alarm on: against a change of the mean it sees
/// slightly more than `ks`, against a change of spread or tail twice as much.
fn ad_score(pair: &Pair<'_>) -> Result<Score, NotTestable> {
    let bins = pair.bins_that_vary()?;
    let mut sum = 0.0;
    // The last bin that holds values: its mass, the share up to its upper edge, and F − G there.
    let (mut mass, mut height, mut difference) = (0.0, 0.0f64, 0.0);
    for (&next, &after) in bins.mass.iter().zip(bins.difference()) {
        if next <= 0.0 {
            continue;
        }
        if height > 0.0 {
            let below = if height < 1.0 { height } else { 1.0 };
            // The share above the edge is at least the next bin's, whatever rounding says.
            let above = larger(1.0 - below, next);
            sum += difference * difference * (mass + next) / (2.0 * below * above);
        }
        (mass, height, difference) = (next, height + next, after);
    }
    let (m, n) = pair.values;
    let statistic = sum * n_eff(m as f64, n as f64);
    let p_value = BridgeLaw::of(bins, ad_weight).tail(pair, statistic, anderson_darling_tail);
    Ok(score(pair, bins, statistic, p_value))
}

/// The smallest statistic of `ad` whose p-value is at most e^`log_p`, when both samples together have these
/// shares in the grid's bins and `values` values in all: what a change has to reach to be seen. `None` when
/// no statistic has such a p-value: all values are in one bin, or it would have to be absurdly large.
pub fn ad_critical(shares: &[f64], values: f64, log_p: f64) -> Option<f64> {
    let mass_max = shares.iter().copied().fold(0.0, f64::max);
    let law =
        if mass_max < COARSE { BridgeLaw::Limit } else { BridgeLaw::of_blocks(&blocks(shares), ad_weight) };
    let log_sf = |x: f64| law.tail_of(values, x, anderson_darling_tail).ln();
    critical_value(log_sf, log_p, 1.0, STATISTIC_MAX)
}

/// The weight of (F − G)² at an edge of this height, between bins of these shares.
fn ad_weight(height: f64, left: f64, right: f64) -> f64 {
    (left + right) / (2.0 * height * (1.0 - height))
}

fn score(pair: &Pair<'_>, bins: &Bins, statistic: f64, p_value: Tail) -> Score {
    pair.score(statistic).with_effect(bins.largest(), EffectUnit::CumulativeShare).with_p_value(p_value)
}

/// W² brought to the limit law's mean 1/6 and variance 1/45 (Anderson 1962, equations 2.10 to 2.12).
fn corrected(statistic: f64, pair: &Pair<'_>) -> f64 {
    let (m, n) = (pair.values.0 as f64, pair.values.1 as f64);
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
    fn of(bins: &Bins, weight: impl Fn(f64, f64, f64) -> f64) -> Self {
        if bins.mass_max < COARSE {
            return Self::Limit;
        }
        Self::of_blocks(bins.blocks.get_or_init(|| blocks(&bins.mass)), weight)
    }

    fn of_blocks(blocks: &[f64], weight: impl Fn(f64, f64, f64) -> f64) -> Self {
        BridgeForm::new(blocks, weight).map_or(Self::Constant, Self::Bins)
    }

    fn tail(&self, pair: &Pair<'_>, statistic: f64, limit: impl Fn(f64) -> Tail) -> Tail {
        self.tail_of(pair.values.0 as f64 + pair.values.1 as f64, statistic, limit)
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
fn blocks(masses: &[f64]) -> Vec<f64> {
    let mut blocks = Vec::with_capacity(BLOCKS_USUAL);
    let (mut open, mut before) = (0.0, 0.0f64);
    for &mass in masses.iter().filter(|mass| **mass > 0.0) {
        let nearer = smaller(before - open, 1.0 - before);
        let most = smaller(BLOCK, nearer / 2.0);
        if open > 0.0 && open + mass > most {
            blocks.push(open);
            open = 0.0;
        }
        open += mass;
        before = smaller(before + mass, 1.0);
    }
    blocks.push(open);
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_the_mass_and_stay_few() {
        let blocks = blocks(&[0.001; 1000]);
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
        let pair = Pair::new(&shape, &side, &side);
        assert!((corrected(0.5, &pair) - 0.5).abs() < 1e-5);
    }
}

//! `ks`: the Kolmogorov–Smirnov test on the grid.

use super::bins::Bins;
use super::cells::{Table, n_eff};
use super::law::{GRID_CORRECTION, Tail, kolmogorov_exact_tail, kolmogorov_tail, path_cells};
use super::{DriftTest, EffectUnit, NUMERIC, NotTestable, Pair, Score, VALUES_FEW};

/// The exact law is used for samples up to this size …
const EXACT_SIZE_MAX: u64 = 3000;
/// … as long as it takes no more steps than this: about 5 ms.
const EXACT_STEPS_MAX: u64 = 1_000_000;
/// Share of the reference in point bins above which a score says that its p-value is conservative.
const ATOMS_NOTED: f64 = 0.1;

pub(super) const TEST: DriftTest = DriftTest {
    name: "ks",
    about: "Kolmogorov-Smirnov: largest difference of the cumulative shares",
    kinds: NUMERIC,
    alarms: false,
    score,
};

/// D = max |F − G| over the edges between bins, F and G the cumulative shares of `current` and
/// `reference`; 0..=1, and 0 when either sample is empty.
///
/// F and G are monotone, so D of the raw values is at least this and at most `max min(p, q)` more, the
/// largest over the bins of the smaller of a bin's two shares.
pub fn ks(reference: &[u64], current: &[u64]) -> f64 {
    let (mut f, mut g, mut largest) = (0.0, 0.0, 0.0f64);
    for (p, q) in Table::of_counts(reference, current).shares() {
        (g, f) = (g + p, f + q);
        largest = largest.max((f - g).abs());
    }
    largest.min(1.0)
}

/// Statistic: [`ks`]. Bound: the largest smaller share of any bin that is no point bin. Effect: D.
///
/// p-value: samples of under 50 values, and samples whose values all have bins of their own, get the
/// exact law while that is cheap; all others Q(√n_eff·D + 0.5826·√δ), Q the Kolmogorov tail and δ the
/// mass of a typical bin between atoms, Σp²/Σp over the bins that are no points. (Its inverse is the
/// effective number of equal-mass bins: dyadic tail bins hardly count.) Point bins get no correction,
/// which makes the p-value conservative: at 0.05, a size of .045 with 30 % in one atom, .008 with five
/// values. The test of discrete data is [`g`](super::g).
fn score(pair: &Pair<'_>) -> Result<Score, NotTestable> {
    let bins = pair.bins_that_vary()?;
    let (m, n) = pair.values;
    let statistic = bins.largest();
    let score =
        pair.score(statistic).with_bound(bins.bound).with_effect(statistic, EffectUnit::CumulativeShare);
    if (n.min(m) < VALUES_FEW || bins.values_apart)
        && let Some(p_value) = exact_p_value(bins, m, n)
    {
        let conservative = "exact p-value, conservative as values share bins";
        let remark = if bins.values_apart { "exact p-value" } else { conservative };
        return Ok(score.with_p_value(p_value).with_detail(remark));
    }
    let x = n_eff(m as f64, n as f64).sqrt() * statistic + GRID_CORRECTION * bins.step.sqrt();
    let score = score.with_p_value(if statistic > 0.0 { kolmogorov_tail(x) } else { Tail::certain() });
    if bins.atoms <= ATOMS_NOTED {
        return Ok(score);
    }
    let percents = 100.0 * bins.atoms;
    Ok(score.with_detail(format!("p-value conservative: {percents:.0} % of the baseline in single values")))
}

/// P(D ≥ observed) by the exact law, if that is cheap.
fn exact_p_value(bins: &Bins, m: u64, n: u64) -> Option<Tail> {
    if m.max(n) > EXACT_SIZE_MAX {
        return None;
    }
    let (mut f, mut g, mut t) = (0u64, 0u64, 0);
    for (&reference, &current) in bins.reference.iter().zip(&bins.current) {
        // Whole numbers of at most EXACT_SIZE_MAX.
        (g, f) = (g + reference as u64, f + current as u64);
        t = t.max((f * m).abs_diff(g * n));
    }
    let (m, n) = (u32::try_from(m).ok()?, u32::try_from(n).ok()?);
    (path_cells(n, m, t) <= EXACT_STEPS_MAX).then(|| kolmogorov_exact_tail(n, m, t))
}

//! `ks`: the Kolmogorov–Smirnov test on the grid.

use super::cells::{n_eff, shares, total};
use super::law::{GRID_CORRECTION, Tail, kolmogorov_exact_tail, kolmogorov_tail, path_cells};
use super::numeric::Numeric;
use super::{DriftTest, EffectUnit, NUMERIC, NotTestable, Pair, Score, VALUES_FEW, VALUES_MIN};

/// The exact law is used for samples up to this size …
const EXACT_SIZE_MAX: u64 = 3000;
/// … as long as it takes no more steps than this: about 5 ms.
const EXACT_STEPS_MAX: u64 = 1_000_000;
/// The grid correction was verified down to sixteen equal bins; a coarser grid gets that of sixteen.
const STEP_MAX: f64 = 1.0 / 16.0;
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
    for (p, q) in shares(reference, current) {
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
    let numeric = pair.numeric()?;
    let (m, n) = pair.sizes(VALUES_MIN)?;
    numeric.refuse_one_value()?;
    let (reference, current) = numeric.counts();
    let statistic = ks(&reference, &current);
    let grid = Resolution::of(&numeric);
    let score =
        pair.score(statistic).with_bound(grid.bound).with_effect(statistic, EffectUnit::CumulativeShare);
    let exact =
        if n.min(m) < VALUES_FEW || grid.values_apart { exact_p_value(&reference, &current) } else { None };
    let atoms = (grid.atoms > ATOMS_NOTED).then(|| {
        format!("p-value conservative: {:.0} % of the baseline in single values", 100.0 * grid.atoms)
    });
    let score = match exact {
        Some(p_value) if grid.values_apart => score.with_p_value(p_value).with_detail("exact p-value"),
        Some(p_value) => {
            score.with_p_value(p_value).with_detail("exact p-value, conservative as values share bins")
        }
        None => {
            let x = n_eff(m as f64, n as f64).sqrt() * statistic + GRID_CORRECTION * grid.step.sqrt();
            score.with_p_value(if statistic > 0.0 { kolmogorov_tail(x) } else { Tail::certain() })
        }
    };
    Ok(match atoms {
        Some(remark) if exact.is_none() => score.with_detail(remark),
        _ => score,
    })
}

/// How finely a grid resolves the two samples.
pub(super) struct Resolution {
    /// D of the raw values is at most this much larger.
    pub(super) bound: f64,
    /// Mass of a typical bin between atoms: δ.
    pub(super) step: f64,
    /// Share of the reference in point bins that hold more than one value of both samples: ties.
    pub(super) atoms: f64,
    /// No bin holds two values: the grid loses nothing, and there are no ties.
    values_apart: bool,
}

impl Resolution {
    pub(super) fn of(numeric: &Numeric<'_>) -> Self {
        let (mut bound, mut atoms, mut mass, mut squares) = (0.0f64, 0.0, 0.0, 0.0);
        let mut values_apart = true;
        for (bin, share) in numeric.shares().into_iter().enumerate() {
            let held = numeric.reference.counts.get(bin).saturating_add(numeric.current.counts.get(bin));
            values_apart &= held <= 1;
            if numeric.is_point(bin) {
                atoms += if held > 1 { share.reference } else { 0.0 };
            } else {
                bound = bound.max(share.reference.min(share.current));
                mass += share.reference;
                squares += share.reference * share.reference;
            }
        }
        let step = if mass > 0.0 { (squares / mass).min(STEP_MAX) } else { 0.0 };
        Self { bound, step, atoms, values_apart }
    }
}

/// P(D ≥ observed) by the exact law, if that is cheap.
fn exact_p_value(reference: &[u64], current: &[u64]) -> Option<Tail> {
    let (m, n) = (total(reference), total(current));
    if m.max(n) > EXACT_SIZE_MAX as f64 {
        return None;
    }
    let (m, n) = (reference.iter().sum::<u64>(), current.iter().sum::<u64>());
    let (mut f, mut g, mut t) = (0, 0, 0);
    for (b, a) in reference.iter().zip(current) {
        (g, f) = (g + b, f + a);
        t = t.max((f * m).abs_diff(g * n));
    }
    let (m, n) = (u32::try_from(m).ok()?, u32::try_from(n).ok()?);
    (path_cells(n, m, t) <= EXACT_STEPS_MAX).then(|| kolmogorov_exact_tail(n, m, t))
}

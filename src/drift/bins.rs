//! What the tests of one numeric pair share: its bins with both samples' shares, made once.
//!
//! Invariant: there is one [`Bin`] for each bin of the grid, in order; all its numbers are finite.

use super::numeric::Numeric;

/// The grid correction was verified down to sixteen equal bins; a coarser grid gets that of sixteen.
const STEP_MAX: f64 = 1.0 / 16.0;

/// One bin of two samples.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bin {
    /// Whether it holds one value only.
    pub(super) point: bool,
    /// Counts of the reference and the current sample; exact up to 2^53.
    pub(super) reference: f64,
    pub(super) current: f64,
    /// Shares of the reference and the current sample.
    pub(super) p: f64,
    pub(super) q: f64,
    /// Share of both samples together.
    pub(super) mass: f64,
    /// F − G at the upper edge.
    pub(super) difference: f64,
}

/// The bins of two samples, and what one pass over them tells.
#[derive(Debug, Clone)]
pub(super) struct Bins {
    pub(super) each: Vec<Bin>,
    /// max (F − G) and max (G − F) over the edges, 0 or more.
    pub(super) above: f64,
    pub(super) below: f64,
    /// The largest share of both samples together.
    pub(super) mass_max: f64,
    /// D of the raw values is at most this much larger than that of the bins.
    pub(super) bound: f64,
    /// Mass of a typical bin between atoms: Σp²/Σp over the bins that are no points.
    pub(super) step: f64,
    /// Share of the reference in point bins that hold more than one value of both samples: ties.
    pub(super) atoms: f64,
    /// No bin holds two values: the grid loses nothing, and there are no ties.
    pub(super) values_apart: bool,
    /// The reference has values in one bin only, and that is a point bin.
    pub(super) one_value: bool,
}

impl Bins {
    /// The bins of a pair; all shares of an empty sample are 0.
    pub(super) fn of(numeric: &Numeric<'_>) -> Self {
        let (reference, current) = (numeric.reference.counts.to_floats(), numeric.current.counts.to_floats());
        let (m, n) = (reference.iter().sum::<f64>(), current.iter().sum::<f64>());
        let (per_m, per_n, all) = (m.max(1.0), n.max(1.0), (m + n).max(1.0));
        let edges = numeric.grid.edges();
        let (mut f, mut g) = (0.0, 0.0);
        let mut each = Vec::with_capacity(reference.len());
        for (index, (&held_before, &held)) in reference.iter().zip(&current).enumerate() {
            let (p, q) = (held_before / per_m, held / per_n);
            (g, f) = (g + p, f + q);
            let mass = (held_before + held) / all;
            let point = index > 0 && is_point(edges.get(index - 1), edges.get(index));
            each.push(Bin { point, reference: held_before, current: held, p, q, mass, difference: f - g });
        }
        Self::summed(each)
    }

    fn summed(each: Vec<Bin>) -> Self {
        let (mut above, mut below, mut mass_max) = (0.0f64, 0.0f64, 0.0f64);
        let (mut bound, mut atoms, mut between, mut squares) = (0.0f64, 0.0, 0.0, 0.0);
        let (mut values_apart, mut held, mut points_held) = (true, 0u32, 0u32);
        for bin in &each {
            above = above.max(bin.difference);
            below = below.max(-bin.difference);
            mass_max = mass_max.max(bin.mass);
            let together = bin.reference + bin.current;
            values_apart &= together <= 1.0;
            let is_held = u32::from(bin.reference > 0.0);
            held += is_held;
            if bin.point {
                points_held += is_held;
                atoms += if together > 1.0 { bin.p } else { 0.0 };
            } else {
                bound = bound.max(bin.p.min(bin.q));
                between += bin.p;
                squares += bin.p * bin.p;
            }
        }
        let step = if between > 0.0 { (squares / between).min(STEP_MAX) } else { 0.0 };
        let one_value = held == 1 && points_held == 1;
        Self { each, above, below, mass_max, bound, step, atoms, values_apart, one_value }
    }

    /// max |F − G|, 0..=1.
    pub(super) fn largest(&self) -> f64 {
        self.above.max(self.below).min(1.0)
    }
}

/// Whether a bin between these edges holds one value only. The grid gives such bins to values with a large
/// share.
fn is_point(below: Option<&f64>, above: Option<&f64>) -> bool {
    matches!((below, above), (Some(low), Some(high)) if low.next_up() >= *high)
}

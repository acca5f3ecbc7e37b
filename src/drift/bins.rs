//! What the tests of one numeric pair share: its bins with both samples' shares, made once.
//!
//! Invariant: each vector of [`Bins`] has one number for each bin of the grid, in order; all are finite. The
//! numbers lie in vectors of their own, so that a pass over them reads only what it needs.

use std::cell::OnceCell;

use super::numeric::Numeric;

/// The grid correction was verified down to sixteen equal bins; a coarser grid gets that of sixteen.
const STEP_MAX: f64 = 1.0 / 16.0;

/// The bins of two samples, one number a bin in each vector, and what one pass over them tells.
#[derive(Debug, Clone)]
pub(super) struct Bins {
    /// Whether a bin holds one value only.
    pub(super) point: Vec<bool>,
    /// Counts of the reference and the current sample; exact up to 2^53.
    pub(super) reference: Vec<f64>,
    pub(super) current: Vec<f64>,
    /// Shares of the reference and the current sample.
    pub(super) p: Vec<f64>,
    pub(super) q: Vec<f64>,
    /// Share of both samples together.
    pub(super) mass: Vec<f64>,
    /// F − G at the upper edge.
    pub(super) difference: Vec<f64>,
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
    /// What the laws of quadratic statistics are computed from, made by the first that needs it.
    pub(super) blocks: OnceCell<Vec<f64>>,
}

impl Bins {
    /// The bins of a pair; all shares of an empty sample are 0.
    pub(super) fn of(numeric: &Numeric<'_>) -> Self {
        let (reference, current) = (numeric.reference.counts.to_floats(), numeric.current.counts.to_floats());
        let (m, n) = (total(&reference), total(&current));
        let (per_m, per_n, all) = (m.max(1.0), n.max(1.0), (m + n).max(1.0));
        let p: Vec<f64> = reference.iter().map(|count| count / per_m).collect();
        let q: Vec<f64> = current.iter().map(|count| count / per_n).collect();
        let mass = reference.iter().zip(&current).map(|(b, a)| (b + a) / all).collect();
        let (mut f, mut g) = (0.0, 0.0);
        let differences = p.iter().zip(&q).map(|(p, q)| {
            (g, f) = (g + p, f + q);
            f - g
        });
        let difference = differences.collect();
        let mut point = vec![false; reference.len()];
        for &bin in numeric.grid.points() {
            if let Some(point) = point.get_mut(bin) {
                *point = true;
            }
        }
        let (above, below, mass_max, bound) = (0.0, 0.0, 0.0, 0.0);
        let (step, atoms, values_apart, one_value) = (0.0, 0.0, true, false);
        let bins = Self {
            point,
            reference,
            current,
            p,
            q,
            mass,
            difference,
            above,
            below,
            mass_max,
            bound,
            step,
            atoms,
            values_apart,
            one_value,
            blocks: OnceCell::new(),
        };
        bins.summed()
    }

    /// Number of bins.
    pub(super) fn len(&self) -> usize {
        self.mass.len()
    }

    fn summed(mut self) -> Self {
        let (mut above, mut below, mut mass_max) = (0.0f64, 0.0f64, 0.0f64);
        for (&difference, &mass) in self.difference.iter().zip(&self.mass) {
            above = larger(above, difference);
            below = larger(below, -difference);
            mass_max = larger(mass_max, mass);
        }
        let (mut bound, mut atoms, mut between, mut squares) = (0.0f64, 0.0, 0.0, 0.0);
        let (mut together_max, mut held, mut points_held) = (0.0f64, 0u32, 0u32);
        let shares = self.p.iter().zip(&self.q);
        let counts = self.reference.iter().zip(&self.current);
        for ((&point, (&p, &q)), (&reference, &current)) in self.point.iter().zip(shares).zip(counts) {
            let together = reference + current;
            together_max = larger(together_max, together);
            let is_held = u32::from(reference > 0.0);
            held += is_held;
            if point {
                points_held += is_held;
                atoms += if together > 1.0 { p } else { 0.0 };
            } else {
                bound = larger(bound, smaller(p, q));
                between += p;
                squares += p * p;
            }
        }
        let step = if between > 0.0 { (squares / between).min(STEP_MAX) } else { 0.0 };
        (self.above, self.below, self.mass_max) = (above, below, mass_max);
        (self.bound, self.step, self.atoms) = (bound, step, atoms);
        self.values_apart = together_max <= 1.0;
        self.one_value = held == 1 && points_held == 1;
        self
    }

    /// max |F − G|, 0..=1.
    pub(super) fn largest(&self) -> f64 {
        self.above.max(self.below).min(1.0)
    }
}

/// The larger of two numbers that are no NaN: one instruction, where `f64::max` takes four.
pub(super) fn larger(left: f64, right: f64) -> f64 {
    if left > right { left } else { right }
}

/// The smaller of two numbers that are no NaN.
pub(super) fn smaller(left: f64, right: f64) -> f64 {
    if left < right { left } else { right }
}

/// The sum of counts, exact up to 2^53; four sums side by side, as one would wait for each addition.
pub(super) fn total(counts: &[f64]) -> f64 {
    let fours = counts.chunks_exact(4);
    let rest: f64 = fours.remainder().iter().sum();
    let mut sums = [0.0; 4];
    for four in fours {
        sums.iter_mut().zip(four).for_each(|(sum, count)| *sum += count);
    }
    sums.iter().sum::<f64>() + rest
}

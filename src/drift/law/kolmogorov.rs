//! The laws of the largest difference of two empirical distribution functions.

use std::f64::consts::PI;

use super::counting::hypergeometric_ln;
use super::tail::{DIGITS_LOST, Tail};

/// −ζ(1/2)/√(2π): how much a Brownian path's maximum exceeds its maximum on a grid of step δ, in units
/// of √δ (Chernoff 1965; Broadie, Glasserman and Kou 1997, doi:10.1111/1467-9965.00035). With `K`
/// equal-mass bins, P(√n_eff·D_K > x) = Q(x + 0.5826/√K), Q the Kolmogorov tail.
pub const GRID_CORRECTION: f64 = 0.582_597_157_939_010_7;

/// Kolmogorov's limit law: P(K > `x`), `x` = √(nm/(n+m))·D (Kolmogorov 1933).
///
/// Two series for the same function: 2·Σ(−1)^{j−1}·exp(−2j²x²) for large `x`, where it keeps the
/// relative accuracy of the tail, and 1 − √(2π)/x·Σexp(−(2j−1)²π²/(8x²)) for small `x`.
pub fn kolmogorov_sf(x: f64) -> f64 {
    kolmogorov_tail(x).p_value()
}

/// As [`kolmogorov_sf`].
pub fn kolmogorov_tail(x: f64) -> Tail {
    if x.is_nan() || x <= 0.0 {
        return Tail::certain();
    }
    if x < 1.0 {
        let sum: f64 = (1..=4).map(|j| (-(f64::from(2 * j - 1) * PI / x).powi(2) / 8.0).exp()).sum();
        return Tail::of(1.0 - (2.0 * PI).sqrt() / x * sum);
    }
    // The first term's exponential is taken out of the sum.
    let mut sum = 1.0;
    for j in 2..=6 {
        let term = (-2.0 * f64::from(j * j - 1) * x * x).exp();
        sum += if j % 2 == 1 { term } else { -term };
        if term < 1e-17 {
            break;
        }
    }
    Tail::new(2.0 * sum, -2.0 * x * x)
}

/// Kuiper's limit law: P(K > `x`), `x` = √(nm/(n+m))·V (Kuiper 1960).
///
/// 2·Σ(4j²x²−1)·exp(−2j²x²) for large `x`; for small `x` its theta transform,
/// 1 − √(2π)·π²/x³·Σj²·exp(−π²j²/(2x²)).
pub fn kuiper_sf(x: f64) -> f64 {
    kuiper_tail(x).p_value()
}

/// As [`kuiper_sf`].
pub fn kuiper_tail(x: f64) -> Tail {
    if x.is_nan() || x <= 0.0 {
        return Tail::certain();
    }
    if x < 1.2 {
        let sum: f64 = (1..=6)
            .map(|j| {
                let square = f64::from(j * j);
                square * (-PI * PI * square / (2.0 * x * x)).exp()
            })
            .sum();
        return Tail::of(1.0 - (2.0 * PI).sqrt() * PI * PI / x.powi(3) * sum);
    }
    let mut sum = 4.0 * x * x - 1.0;
    for j in 2..=6 {
        let square = f64::from(j * j) * x * x;
        let term = (4.0 * square - 1.0) * (-2.0 * f64::from(j * j - 1) * x * x).exp();
        sum += term;
        if term < 1e-17 {
            break;
        }
    }
    Tail::new(2.0 * sum, -2.0 * x * x)
}

/// How many steps [`kolmogorov_exact_two_sample`] takes, about.
pub fn path_cells(n: u32, m: u32, t: u64) -> u64 {
    let all = u64::from(n) * u64::from(m);
    all.min(t.saturating_mul(2).saturating_add(u64::from(n) + u64::from(m)))
}

/// The exact law of the two-sample statistic without ties: P(D ≥ `t`/(n·m)) for samples of `n` and `m`
/// values from one continuous distribution.
///
/// Every order of the pooled values is equally likely; an order is a lattice path from (0,0) to (n,m),
/// and D ≥ t/(nm) when the path meets |i·m − j·n| ≥ t (Hodges 1958, doi:10.1007/BF02589501). The
/// probability of leaving the band is summed step by step from positive terms, so it keeps its relative
/// accuracy in the far tail. Takes at most n·m steps; see [`path_cells`]. With ties the p-value is
/// conservative.
pub fn kolmogorov_exact_two_sample(n: u32, m: u32, t: u64) -> f64 {
    kolmogorov_exact_tail(n, m, t).p_value()
}

/// As [`kolmogorov_exact_two_sample`]. Below 1e-590, where the sum has lost its digits, twice the probability
/// of the likeliest point outside the band that a path may come through: its logarithm is right to about a
/// hundredth there.
pub fn kolmogorov_exact_tail(n: u32, m: u32, t: u64) -> Tail {
    if t == 0 || n == 0 || m == 0 {
        return Tail::certain();
    }
    let summed = sum_of_paths(n, m, t);
    if summed / PATHS_SCALE > DIGITS_LOST {
        return Tail::of(summed / PATHS_SCALE);
    }
    if summed > SUM_MIN {
        return Tail::new(summed, -PATHS_SCALE_LN);
    }
    let likeliest = likeliest_point_outside(n, m, t).min(SUM_MIN.ln() - PATHS_SCALE_LN);
    Tail::new(1.0, likeliest)
}

/// Every path of [`sum_of_paths`] weighs 2^1000, so that rare ones are not lost.
const PATHS_SCALE: f64 = 1.071_508_607_186_267_3e301;
const PATHS_SCALE_LN: f64 = 1000.0 * std::f64::consts::LN_2;

/// Below this a sum of paths has lost digits.
const SUM_MIN: f64 = 1e-289;

/// The logarithm of twice the largest probability of a point with |i·m − j·n| ≥ t.
fn likeliest_point_outside(n: u32, m: u32, t: u64) -> f64 {
    let (rows, columns) = (f64::from(n), f64::from(m));
    let mut largest = f64::NEG_INFINITY;
    for j in 0..=m {
        let least = (t + u64::from(j) * u64::from(n)).div_ceil(u64::from(m));
        if least <= u64::from(n) {
            // Among the first i + j values i are of the first sample.
            let (i, j) = (least as f64, f64::from(j));
            let ln = hypergeometric_ln(i, i + j, rows + columns - i - j, rows, columns);
            largest = largest.max(ln);
        }
    }
    largest + std::f64::consts::LN_2
}

/// The probability of leaving the band, times [`PATHS_SCALE`].
fn sum_of_paths(n: u32, m: u32, t: u64) -> f64 {
    let (rows, columns, limit) = (i128::from(n), i128::from(m), i128::from(t));
    let (width, mut left_band) = (m as usize + 1, 0.0);
    // Probability of coming up to (i, j) with no meeting before, for the current row i.
    let mut arrived = vec![0.0; width];
    arrived[0] = PATHS_SCALE;
    let mut low = 0;
    for i in 0..=rows {
        let mut carried = 0.0;
        let mut next_low = None;
        let mut gap = i * columns - low as i128 * rows;
        let mut steps_left = (rows + columns - i - low as i128) as f64;
        for (j, cell) in arrived.iter_mut().enumerate().skip(low) {
            if gap.abs() >= limit || steps_left == 0.0 {
                break;
            }
            let here = std::mem::take(cell) + carried;
            let up = here * (rows - i) as f64 / steps_left;
            if gap + columns >= limit {
                left_band += up;
            } else if i < rows {
                *cell = up;
                next_low.get_or_insert(j);
            }
            // Exactly zero in the last column, where nothing may seem to leave the band.
            carried = here * (steps_left - (rows - i) as f64) / steps_left;
            gap -= rows;
            steps_left -= 1.0;
        }
        // What was carried out of the band has left it, unless it has come to the end of the path.
        if steps_left > 0.0 {
            left_band += carried;
        }
        match next_low {
            Some(at) => low = at,
            None => break,
        }
    }
    left_band
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_series_meet() {
        for law in [kolmogorov_sf, kuiper_sf] {
            for x in [1.0, 1.2] {
                let (below, above) = (law(x - 1e-12), law(x + 1e-12));
                assert!((below - above).abs() < 1e-10, "{x}: {below} {above}");
            }
        }
    }

    /// The share of bridges on `bins` equal bins whose corrected p-value is at or below each level.
    fn simulated_sizes(bins: u32, runs: u32, levels: [f64; 2]) -> [f64; 2] {
        let mut state = 7u64;
        let mut even = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64
        };
        let mut normal = || (-2.0 * even().ln()).sqrt() * (2.0 * PI * even()).cos();
        let correction = 2.0 * GRID_CORRECTION / f64::from(bins).sqrt();
        let mut sizes = [0.0; 2];
        for _ in 0..runs {
            let steps: Vec<f64> = (0..bins).map(|_| normal() / f64::from(bins).sqrt()).collect();
            let drift = steps.iter().sum::<f64>() / f64::from(bins);
            let (mut at, mut above, mut below) = (0.0, 0.0f64, 0.0f64);
            for step in steps {
                at += step - drift;
                above = above.max(at);
                below = below.max(-at);
            }
            let p_value = kuiper_sf(above + below + correction);
            for (size, level) in sizes.iter_mut().zip(levels) {
                *size += f64::from(u8::from(p_value <= level)) / f64::from(runs);
            }
        }
        sizes
    }

    #[test]
    fn kuipers_grid_correction_is_twice_that_of_kolmogorov() {
        for bins in [64, 256] {
            let (runs, levels) = (4_000, [0.05, 0.01]);
            for (size, level) in simulated_sizes(bins, runs, levels).into_iter().zip(levels) {
                let error = (level * (1.0 - level) / f64::from(runs)).sqrt();
                println!("{bins} bins: {size:.4} at {level}");
                assert!((size - level).abs() < 3.3 * error, "{bins} bins: {size} at {level}");
            }
        }
    }

    #[test]
    #[ignore = "half a million bridges: minutes without optimisation"]
    fn kuipers_grid_correction_at_length() {
        for bins in [64, 256] {
            println!("{bins} bins: {:?}", simulated_sizes(bins, 250_000, [0.05, 0.001]));
        }
    }

    #[test]
    fn the_exact_law_of_tiny_samples_is_counted_by_hand() {
        // Of the six orders of two and two values, two separate the samples.
        assert!((kolmogorov_exact_two_sample(2, 2, 4) - 1.0 / 3.0).abs() < 1e-15);
        assert_eq!(kolmogorov_exact_two_sample(2, 2, 2), 1.0);
        assert!((kolmogorov_exact_two_sample(1, 9, 9) - 0.2).abs() < 1e-15);
    }
}

//! Null distributions: how large a statistic gets when nothing has changed.
//!
//! Place in the flow: the tests of [`drift`](super) call these functions to turn a statistic into a
//! p-value. Pure functions of numbers.
//!
//! Invariant: every function returns a probability in 0..=1 for any input in its stated range. Upper
//! tails are computed as such, never as one minus a lower tail, so small p-values keep their digits
//! down to about 1e-300.
//!
//! To add a law: a function here or a file beside, and its values in `tests/golden/`.

mod counting;
mod kolmogorov;
mod quadratic;

pub(super) use counting::deviance;
pub use counting::{binomial_upper_tail, count_beyond_range, rates_differ};
pub use kolmogorov::{GRID_CORRECTION, kolmogorov_exact_two_sample, kolmogorov_sf, kuiper_sf, path_cells};
pub use quadratic::{BridgeForm, anderson_darling_sf, cramer_von_mises_sf};

use std::f64::consts::SQRT_2;

use statrs::function::beta::checked_beta_reg;
use statrs::function::gamma::checked_gamma_ur;

/// P(X > `x`) for a chi-squared variable with `degrees` degrees of freedom: the regularised upper
/// incomplete gamma function Q(degrees/2, x/2). 1 for `x` of 0 or less or without degrees of freedom.
pub fn chi_squared_sf(x: f64, degrees: f64) -> f64 {
    if x.is_nan() || x <= 0.0 || degrees <= 0.0 {
        return 1.0;
    }
    if x == f64::INFINITY {
        return 0.0;
    }
    checked_gamma_ur(degrees / 2.0, x / 2.0).map_or(1.0, clamp)
}

/// P(Z > `x`) for a standard normal variable: erfc(x/√2)/2.
pub fn normal_sf(x: f64) -> f64 {
    if x.is_nan() { 1.0 } else { 0.5 * libm::erfc(x / SQRT_2) }
}

/// P(|T| > |`t`|) for Student's t with `degrees` degrees of freedom (not necessarily whole):
/// I_{ν/(ν+t²)}(ν/2, 1/2).
pub fn student_t_two_sided(t: f64, degrees: f64) -> f64 {
    if t.is_nan() || degrees.is_nan() || degrees <= 0.0 || t == 0.0 {
        return 1.0;
    }
    if degrees > 1e7 {
        return 2.0 * normal_sf(t.abs());
    }
    checked_beta_reg(degrees / 2.0, 0.5, degrees / (degrees + t * t)).map_or(1.0, clamp)
}

fn clamp(probability: f64) -> f64 {
    if probability.is_nan() { 1.0 } else { probability.clamp(0.0, 1.0) }
}

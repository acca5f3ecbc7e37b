//! Null distributions: how large a statistic gets when nothing has changed.
//!
//! Place in the flow: the tests of [`drift`](super) call these functions to turn a statistic into a
//! p-value. Pure functions of numbers.
//!
//! Invariant: every function returns a probability in 0..=1 for any input in its stated range. Upper
//! tails are computed as such, never as one minus a lower tail, so small p-values keep their digits
//! down to about 1e-300. The functions whose names end in `tail` give a [`Tail`], which holds the logarithm
//! of probabilities smaller than any double.
//!
//! To add a law: a function here or a file beside, and its values in `tests/golden/`.

mod bridge;
mod counting;
mod gamma;
mod kolmogorov;
mod quadratic;
mod tail;

pub use bridge::BridgeForm;
pub use counting::{
    binomial_tail, binomial_upper_tail, count_beyond_range, count_beyond_range_tail, rates_differ,
    rates_differ_tail,
};
pub(super) use counting::{deviance, ln_ratio};
pub use gamma::{
    chi_squared_sf, chi_squared_tail, normal_sf, normal_tail, student_t_tail, student_t_two_sided,
};
pub use kolmogorov::{
    GRID_CORRECTION, kolmogorov_exact_tail, kolmogorov_exact_two_sample, kolmogorov_sf, kolmogorov_tail,
    kuiper_sf, kuiper_tail, path_cells,
};
pub use quadratic::{anderson_darling_sf, anderson_darling_tail, cramer_von_mises_sf, cramer_von_mises_tail};
pub use tail::Tail;

/// Halvings of a search for a critical value: its interval is then known to a trillionth.
const HALVINGS: u32 = 40;

/// The smallest value whose tail is at most e^`log_p`, given the falling logarithm of the tail; looked for from
/// `first` on in doublings. `None` where it lies beyond `most`, or where the tail has no logarithm.
pub fn critical_value(log_sf: impl Fn(f64) -> f64, log_p: f64, first: f64, most: f64) -> Option<f64> {
    let (mut low, mut high) = (0.0, first);
    while log_sf(high) > log_p {
        (low, high) = (high, 2.0 * high);
        if high > most {
            return None;
        }
    }
    // Far out the logarithm of a tail is a line nearly, but halving is quick enough and cannot fail.
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        if log_sf(middle) > log_p {
            low = middle;
        } else {
            high = middle;
        }
    }
    log_sf(high).is_finite().then_some(high)
}

fn clamp(probability: f64) -> f64 {
    if probability.is_nan() { 1.0 } else { probability.clamp(0.0, 1.0) }
}

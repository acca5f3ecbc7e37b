//! `tv`: the total variation distance.

use super::cells::shares;

/// TV = ½·Σ|q − p| over the cells, p and q the shares of `reference` and `current`: the share of values
/// that would have to move; 0..=1, and 0 when either sample is empty.
pub fn tv(reference: &[u64], current: &[u64]) -> f64 {
    (shares(reference, current).map(|(p, q)| (q - p).abs()).sum::<f64>() / 2.0).min(1.0)
}

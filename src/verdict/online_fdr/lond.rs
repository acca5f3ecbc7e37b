//! LOND: levels that grow with the number of rejections.
//!
//! α_t = α·γ_t·(D_{t−1} + 1), D the rejections so far.
//!
//! - Controls the false-discovery rate when the null p-values are independent of each other and of the rest.
//! - Source: Javanmard and Montanari 2015, "On online control of false discovery rate", arXiv:1502.06197.
//!   Defaults as in R's onlineFDR.

use super::{History, Procedure, gamma_slow};

pub(super) const PROCEDURE: Procedure = Procedure {
    name: "lond",
    about: "levels grow with the number of rejections; for independent p-values",
    ticks: |_| true,
    level,
};

/// The level; [`e_lond`](super::e_lond) has the same for e-values.
pub(super) fn level(history: &History, alpha: f64) -> f64 {
    alpha * gamma_slow(history.number()) * (history.rejections as f64 + 1.0)
}

//! e-LOND: LOND on e-values, which needs no assumption on how the tests depend on each other.
//!
//! A test is rejected when its e-value is at least 1/α_t, α_t = α·γ_t·(D_{t−1} + 1) as in LOND. A p-value is
//! turned into an e-value by the calibrator e = p^(−1/2)/2, so it is rejected when p ≤ (α_t/2)².
//!
//! - Controls the false-discovery rate under any dependence. The price is high: a level of 1e-3 asks for a
//!   p-value of 2.5e-7.
//! - Sources: Xu and Ramdas 2024, "Online multiple testing with e-values", AISTATS, arXiv:2311.06412;
//!   for the calibrator Vovk and Wang 2021, "E-values: calibration, combination and applications",
//!   doi:10.1214/20-AOS2020: κ·p^(κ−1) with κ = 1/2.

use super::{Procedure, lond};

pub(super) const PROCEDURE: Procedure = Procedure {
    name: "e-lond",
    about: "lond on e-values from the p-values; for tests that depend on each other in any way",
    ticks: |_| true,
    level: |history, alpha| (lond::level(history, alpha) / 2.0).powi(2),
};

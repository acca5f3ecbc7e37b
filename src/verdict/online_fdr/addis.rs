//! ADDIS: as SAFFRON, but tests with a p-value over τ are discarded as well.
//!
//! α_t = min(λ, (τ − λ)·(w₀·γ(t₀) + (α − w₀)·γ(t₁) + α·Σ_{j≥2} γ(t_j))), t_j one more than the tests since
//! rejection j with λ < p ≤ τ, with w₀ = α/2, λ = 1/4 and τ = 1/2.
//!
//! - Controls the false-discovery rate when the null p-values are independent and uniformly conservative;
//!   gains on SAFFRON where null p-values pile up near one, as those of discrete tests do.
//! - Source: Tian and Ramdas 2019, "ADDIS: an adaptive discarding algorithm for online FDR control with
//!   conservative nulls", arXiv:1905.11465. Defaults as in R's onlineFDR.

use super::{Procedure, gamma_fast};

const LAMBDA: f64 = 0.25;
const TAU: f64 = 0.5;

pub(super) const PROCEDURE: Procedure = Procedure {
    name: "addis",
    about: "as saffron, passing over p-values above a half too; for independent, conservative p-values",
    ticks: |p_value| p_value > LAMBDA && p_value <= TAU,
    level: |history, alpha| ((TAU - LAMBDA) * history.wealth(alpha, alpha / 2.0, gamma_fast)).min(LAMBDA),
};

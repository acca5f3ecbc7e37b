//! SAFFRON: as LORD++, but tests with a p-value up to λ, the candidates, cost nothing.
//!
//! α_t = min(λ, (1 − λ)·(w₀·γ(t₀) + (α − w₀)·γ(t₁) + α·Σ_{j≥2} γ(t_j))), t_j one more than the tests since
//! rejection j that were no candidates, with w₀ = α/2 and λ = 1/2.
//!
//! - Controls the false-discovery rate when the null p-values are independent and not smaller than uniform;
//!   gains on LORD++ where many tests see a change.
//! - Source: Ramdas, Zrnic, Wainwright and Jordan 2018, "SAFFRON: an adaptive algorithm for online control of
//!   the false discovery rate", arXiv:1802.09098. Defaults as in R's onlineFDR.

use super::{Procedure, gamma_fast};

const LAMBDA: f64 = 0.5;

pub(super) const PROCEDURE: Procedure = Procedure {
    name: "saffron",
    about: "as lord++, spending nothing on p-values up to a half; for independent p-values, many changes",
    ticks: |p_value| p_value > LAMBDA,
    level: |history, alpha| ((1.0 - LAMBDA) * history.wealth(alpha, alpha / 2.0, gamma_fast)).min(LAMBDA),
};

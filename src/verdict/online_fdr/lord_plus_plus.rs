//! LORD++: levels that are regained with every rejection.
//!
//! α_t = w₀·γ_t + (α − w₀)·γ_{t−τ₁} + α·Σ_{j≥2} γ_{t−τ_j}, τ_j the test of rejection j, with w₀ = α/10.
//!
//! - Controls the false-discovery rate when the null p-values are independent of each other and of the rest,
//!   and a modified rate (mFDR) when each is valid given what came before.
//! - Source: Ramdas, Yang, Wainwright and Jordan 2017, "Online control of the false discovery rate with
//!   decaying memory", arXiv:1710.00499. Defaults as in R's onlineFDR.

use super::{Procedure, gamma_slow};

pub(super) const PROCEDURE: Procedure = Procedure {
    name: "lord++",
    about: "levels are regained with every rejection; for independent p-values",
    ticks: |_| true,
    level: |history, alpha| history.wealth(alpha, alpha / 10.0, gamma_slow),
};

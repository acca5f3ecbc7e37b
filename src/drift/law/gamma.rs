//! The laws of chi-squared, normal and Student's t variables.

use std::f64::consts::{PI, SQRT_2};

use statrs::function::beta::checked_beta_reg;
use statrs::function::gamma::checked_gamma_ur;

use super::counting::{deviance, stirling_error};
use super::tail::{DIGITS_LOST, Tail};

/// Up to this many degrees of freedom the chi-squared tail is a finite sum.
const DEGREES_SUMMED: f64 = 4_096.0;

/// Beyond this the normal tail is taken from its asymptotic series, which is right to 1e-13 there.
const NORMAL_FAR: f64 = 37.0;

/// Above this many degrees of freedom Student's t is normal.
const DEGREES_OF_NORMAL: f64 = 1e7;

/// P(X > `x`) for a chi-squared variable with `degrees` degrees of freedom: the regularised upper
/// incomplete gamma function Q(degrees/2, x/2). 1 for `x` of 0 or less or without degrees of freedom.
pub fn chi_squared_sf(x: f64, degrees: f64) -> f64 {
    chi_squared_tail(x, degrees).p_value()
}

/// As [`chi_squared_sf`]. Up to 4,096 whole degrees of freedom it is a sum of positive terms, with
/// z = x/2 and a = degrees/2: Σ z^j·exp(−z)/Γ(j + 1) over j = a − 1, a − 2, … down to 0, or to ½ and then
/// erfc(√z) (Abramowitz and Stegun 1964, 26.4.4 and 26.4.5). Otherwise, beyond 1e-290, Legendre's continued
/// fraction.
pub fn chi_squared_tail(x: f64, degrees: f64) -> Tail {
    if x.is_nan() || x <= 0.0 || degrees.is_nan() || degrees <= 0.0 {
        return Tail::certain();
    }
    let (z, a) = (x / 2.0, degrees / 2.0);
    if degrees <= DEGREES_SUMMED && degrees.fract() == 0.0 {
        return whole_degrees(z, a);
    }
    let plain = checked_gamma_ur(a, z).unwrap_or(1.0);
    if plain > DIGITS_LOST || z <= a {
        return Tail::of(plain);
    }
    Tail::new(a * legendre_fraction(z, a), ln_poisson(a, z))
}

/// The finite sum for whole and half `a`.
fn whole_degrees(z: f64, a: f64) -> Tail {
    if a == 0.5 {
        return twice_normal(2.0 * z);
    }
    let mut rank = a - 1.0;
    let largest = ln_poisson(rank, z);
    let inverse = 1.0 / z;
    let (mut term, mut sum) = (1.0, 1.0);
    while rank >= 1.0 {
        term *= rank * inverse;
        sum += term;
        rank -= 1.0;
        if term < sum * 1e-17 {
            return Tail::new(sum, largest);
        }
    }
    if a.fract() == 0.0 {
        return Tail::new(sum, largest);
    }
    let rest = twice_normal(2.0 * z);
    Tail::new(sum + (rest.ln() - largest).exp(), largest)
}

/// ln(z^j·exp(−z)/Γ(j + 1)), in Loader's form.
fn ln_poisson(j: f64, z: f64) -> f64 {
    if j == 0.0 { -z } else { -stirling_error(j) - deviance(j, z) - 0.5 * (2.0 * PI * j).ln() }
}

/// exp(z)·z^(−a)·Γ(a, z), its continued fraction (Abramowitz and Stegun 1964, 6.5.31) by Lentz's way, for z > a.
fn legendre_fraction(z: f64, a: f64) -> f64 {
    let mut b = z + 1.0 - a;
    let mut c = 1e300;
    let mut d = 1.0 / b;
    let mut product = d;
    let mut step = 1.0;
    while step < 10_000.0 {
        let term = -step * (step - a);
        b += 2.0;
        d = 1.0 / (term * d + b);
        c = b + term / c;
        let change = c * d;
        product *= change;
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
        step += 1.0;
    }
    product
}

/// P(Z > `x`) for a standard normal variable: erfc(x/√2)/2.
pub fn normal_sf(x: f64) -> f64 {
    if x.is_nan() { 1.0 } else { 0.5 * libm::erfc(x / SQRT_2) }
}

/// As [`normal_sf`]; for large `x` exp(−x²/2)/(x·√(2π))·(1 − 1/x² + 3/x⁴ − …), six terms.
pub fn normal_tail(x: f64) -> Tail {
    if x.is_nan() || x < NORMAL_FAR {
        return Tail::of(normal_sf(x));
    }
    let inverse = 1.0 / (x * x);
    let mut series = 1.0;
    for odd in [9.0, 7.0, 5.0, 3.0, 1.0] {
        series = 1.0 - odd * inverse * series;
    }
    Tail::new(series / (x * (2.0 * PI).sqrt()), -0.5 * x * x)
}

/// P(Z² > `square`).
fn twice_normal(square: f64) -> Tail {
    normal_tail(square.sqrt()).twice()
}

/// P(|T| > |`t`|) for Student's t with `degrees` degrees of freedom (not necessarily whole):
/// I_{ν/(ν+t²)}(ν/2, 1/2).
pub fn student_t_two_sided(t: f64, degrees: f64) -> f64 {
    student_t_tail(t, degrees).p_value()
}

/// As [`student_t_two_sided`], both tails together; beyond 1e-290 by the continued fraction of the incomplete
/// beta function (Abramowitz and Stegun 1964, 26.5.8).
pub fn student_t_tail(t: f64, degrees: f64) -> Tail {
    if t.is_nan() || degrees.is_nan() || degrees <= 0.0 || t == 0.0 {
        return Tail::certain();
    }
    if degrees > DEGREES_OF_NORMAL {
        return normal_tail(t.abs()).twice();
    }
    let plain = checked_beta_reg(degrees / 2.0, 0.5, degrees / (degrees + t * t)).unwrap_or(1.0);
    if plain > DIGITS_LOST {
        return Tail::of(plain);
    }
    let a = degrees / 2.0;
    let square = t * t / degrees;
    let (ln_x, y) = if square.is_finite() {
        (-square.ln_1p(), square / (1.0 + square))
    } else {
        (2.0 * (0.5 * degrees.ln() - t.abs().ln()), 1.0)
    };
    // 1/B(a, ½) = Γ(a + ½)/(Γ(a)·√π).
    let factor = (y / PI).sqrt() / a * beta_fraction(a, 0.5, ln_x.exp());
    Tail::new(factor, a * ln_x + ln_gamma_half_step(a))
}

/// ln(Γ(a + ½)/Γ(a)).
fn ln_gamma_half_step(a: f64) -> f64 {
    if a < 100.0 {
        return libm::lgamma(a + 0.5) - libm::lgamma(a);
    }
    let inverse = 1.0 / a;
    0.5 * a.ln() - inverse / 8.0 + inverse.powi(3) / 192.0
}

/// The continued fraction of the incomplete beta function by Lentz's way, for x well below a/(a + b).
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    let (mut c, mut d) = (1.0, 1.0 / (1.0 - (a + b) * x / (a + 1.0)));
    let mut product = d;
    let mut step = 1.0;
    while step < 10_000.0 {
        let (before, after) = (a + 2.0 * step - 1.0, a + 2.0 * step + 1.0);
        let even = step * (b - step) * x / (before * (a + 2.0 * step));
        d = 1.0 / (1.0 + even * d);
        c = 1.0 + even / c;
        product *= c * d;
        let odd = -(a + step) * (a + b + step) * x / ((a + 2.0 * step) * after);
        d = 1.0 / (1.0 + odd * d);
        c = 1.0 + odd / c;
        let change = c * d;
        product *= change;
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
        step += 1.0;
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: f64, want: f64, relative: f64) {
        assert!((got - want).abs() <= relative * want.abs(), "{got:e} is not {want:e}");
    }

    #[test]
    fn the_finite_sum_is_the_incomplete_gamma_function() {
        for degrees in [1.0, 2.0, 3.0, 8.0, 15.0, 16.0, 63.0, 264.0, 1023.0, 4096.0] {
            for share in [0.05, 0.5, 0.9, 1.0, 1.2, 2.0] {
                let x = degrees * share;
                let want = checked_gamma_ur(degrees / 2.0, x / 2.0).expect("in range");
                near(chi_squared_sf(x, degrees), want, 1e-11);
            }
        }
    }

    #[test]
    fn far_tails_join_the_near_ones() {
        for degrees in [1.0, 2.0, 15.0, 264.0, 5000.0, 4.5] {
            let mut last = 0.0;
            for step in 1..400 {
                let x = degrees + 10.0 * f64::from(step);
                let ln = chi_squared_tail(x, degrees).ln();
                assert!(ln < last, "{degrees} {x}: {ln} {last}");
                last = ln;
            }
        }
        // Two degrees of freedom: exp(−x/2).
        near(chi_squared_tail(1e6, 2.0).ln(), -5e5, 1e-14);
        near(chi_squared_tail(1e6, 2.000_000_001).ln(), -5e5, 1e-7);
        near(normal_tail(NORMAL_FAR).ln(), normal_sf(NORMAL_FAR).ln(), 1e-13);
    }

    #[test]
    fn students_far_tail_is_continuous() {
        for degrees in [0.5, 1.0, 4.0, 37.3, 1e3, 1e5, 9.9e6] {
            let at = |t: f64| student_t_tail(t, degrees).ln();
            let mut t = 1.0;
            while at(t * 1.01) > DIGITS_LOST.ln() && t < 1e300 {
                t *= 1.01;
            }
            while at(t) > DIGITS_LOST.ln() && t < 1e300 {
                t *= 1.000_1;
            }
            if t >= 1e300 {
                continue;
            }
            // Both sides of the step from one way to the other lie on one line in ln t.
            let (before, here, after) = (at(t / 1.000_1), at(t * 1.000_1), at(t * 1.000_1f64.powi(3)));
            near(here - before, after - here, 2e-3);
            assert!(at(10.0 * t) < here);
        }
    }
}

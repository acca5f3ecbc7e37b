//! The limit laws of the Cramér–von Mises and the Anderson–Darling statistic.
//!
//! Such a statistic is Σλⱼχ²ⱼ with independent chi-squared variables of one degree of freedom. With
//! D(u) = ∏(1 − λⱼu) and its zeros u₁ < u₂ < …, Smirnov's formula (Smirnov 1936; Durbin and Knott 1972) is
//!
//! P(X > x) = (1/π)·Σₖ (−1)^(k+1) ∫ exp(−xu/2) / (u·√|D(u)|) du, over u₂ₖ₋₁ < u < u₂ₖ.
//!
//! The factor exp(−x·u₁/2) comes out of the sum, so far tails keep their relative accuracy. What is
//! left changes so slowly that it is interpolated from a table made at the first use.

use std::f64::consts::PI;
use std::sync::LazyLock;

use super::tail::Tail;

/// Terms of Smirnov's sum are left out once they are this much smaller than the first: e^−30.
const EXPONENT_MAX: f64 = 30.0;
/// More intervals than this are never summed: only for `x` so small that the probability is one.
const INTERVALS_MAX: usize = 40;

/// The limit law of the Cramér–von Mises statistic: P(W² > `x`), W² = ∫B², B a Brownian bridge.
/// D(u) = sin√u/√u with zeros (πj)² (Smirnov 1936; Anderson and Darling 1952, doi:10.1214/aoms/1177729437).
pub fn cramer_von_mises_sf(x: f64) -> f64 {
    cramer_von_mises_tail(x).p_value()
}

/// As [`cramer_von_mises_sf`].
pub fn cramer_von_mises_tail(x: f64) -> Tail {
    static TABLE: LazyLock<Table> = LazyLock::new(|| Table::new(0.007, PI * PI, cramer_von_mises_sum));
    TABLE.tail(x)
}

fn cramer_von_mises_sum(x: f64) -> Tail {
    smirnov(x, |j| (PI * (j + 1) as f64).powi(2), |u| u.sqrt().sin() / u.sqrt())
}

/// The limit law of the Anderson–Darling statistic: P(A² > `x`), A² = ∫B²/(t(1 − t)).
/// D(u) = −cos(½π√(1 + 4u))/(πu) with zeros j(j + 1) (Anderson and Darling 1952).
pub fn anderson_darling_sf(x: f64) -> f64 {
    anderson_darling_tail(x).p_value()
}

/// As [`anderson_darling_sf`].
pub fn anderson_darling_tail(x: f64) -> Tail {
    static TABLE: LazyLock<Table> = LazyLock::new(|| Table::new(0.07, 2.0, anderson_darling_sum));
    TABLE.tail(x)
}

fn anderson_darling_sum(x: f64) -> Tail {
    smirnov(x, |j| ((j + 1) * (j + 2)) as f64, |u| -(0.5 * PI * (1.0 + 4.0 * u).sqrt()).cos() / (PI * u))
}

/// Width of a table's cell in ln x, and Chebyshev nodes in it: together they leave an error under 1e-10.
const CELL: f64 = 0.25;
const NODES: usize = 12;
/// Cells of a table: up to a thousand times the smallest x, where p is about 1e-30.
const CELLS: usize = 28;

/// ln p(x) + x·u₁/2 of a law, u₁ its first zero, as Chebyshev polynomials of ln x.
struct Table {
    law: fn(f64) -> Tail,
    first_zero: f64,
    /// Below it the probability differs from one by less than 1e-6, and is taken as one.
    smallest: f64,
    ln_smallest: f64,
    cells: Vec<[f64; NODES]>,
}

impl Table {
    fn new(smallest: f64, first_zero: f64, law: fn(f64) -> Tail) -> Self {
        let ln_smallest = smallest.ln();
        let value = |cell: usize, node: f64| {
            let x = (ln_smallest + CELL * (cell as f64 + 0.5 + 0.5 * node)).exp();
            law(x).ln() + x * first_zero / 2.0
        };
        let angle = |node: usize| PI * (node as f64 + 0.5) / NODES as f64;
        let cell = |cell: usize| -> [f64; NODES] {
            let values: [f64; NODES] = std::array::from_fn(|node| value(cell, angle(node).cos()));
            std::array::from_fn(|order| {
                let projected: f64 = values
                    .iter()
                    .enumerate()
                    .map(|(node, value)| value * (order as f64 * angle(node)).cos())
                    .sum();
                projected * if order == 0 { 1.0 } else { 2.0 } / NODES as f64
            })
        };
        Self { law, first_zero, smallest, ln_smallest, cells: (0..CELLS).map(cell).collect() }
    }

    /// P(X > `x`); beyond the table from the sum itself, of which little is then left.
    fn tail(&self, x: f64) -> Tail {
        if x.is_nan() || x < self.smallest {
            return Tail::certain();
        }
        let place = (x.ln() - self.ln_smallest) / CELL;
        let Some(cell) = self.cells.get(place as usize) else { return (self.law)(x) };
        let node = 2.0 * (place - place.trunc()) - 1.0;
        // Clenshaw's recurrence.
        let (mut next, mut after) = (0.0, 0.0);
        for coefficient in cell.iter().skip(1).rev() {
            (next, after) = (coefficient + 2.0 * node * next - after, next);
        }
        Tail::new(1.0, (cell[0] + node * next - after - x * self.first_zero / 2.0).min(0.0))
    }
}

/// Smirnov's sum. `zero(j)` is zero number j from 0 on.
fn smirnov(x: f64, zero: impl Fn(usize) -> f64, determinant: impl Fn(f64) -> f64) -> Tail {
    let first = zero(0);
    if x == f64::INFINITY {
        return Tail::of(0.0);
    }
    // exp(−xu/2)/(u·√|D|) but for the factor exp(−x·first/2), times √ of the distance to the interval's ends.
    let smooth = |u: f64, distance: f64| {
        let rest = determinant(u).abs() / distance;
        (-x * (u - first) / 2.0).exp() / (u * rest.sqrt())
    };
    let mut sum = 0.0;
    for interval in 0..INTERVALS_MAX {
        let low = zero(2 * interval);
        if x * (low - first) / 2.0 > EXPONENT_MAX {
            break;
        }
        let high = zero(2 * interval + 1);
        let area =
            if x * (high - low) < 400.0 { between(x, low, high, smooth) } else { upwards(x, low, smooth) };
        sum += if interval % 2 == 0 { area } else { -area };
    }
    Tail::new(sum / PI, -x * first / 2.0)
}

/// The integral between two zeros, with u = (low + high)/2 − (high − low)/2·cos t by the midpoint rule,
/// which for such a periodic function converges geometrically: the pole at 0 sets the rate, the exponential
/// wants the rest.
fn between(x: f64, low: f64, high: f64, smooth: impl Fn(f64, f64) -> f64) -> f64 {
    let half = (high - low) / 2.0;
    let pole = (high + low) / (high - low);
    let rate = (pole + (pole * pole - 1.0).sqrt()).ln();
    let nodes = (8.0 + (16.0 / rate).min(1000.0) + 4.5 * (x * half / 2.0).sqrt()).ceil();
    let mut sum = 0.0;
    let mut node = 0.5;
    while node < nodes {
        let t = PI * node / nodes;
        let above = 2.0 * half * (t / 2.0).sin().powi(2);
        let below = 2.0 * half * (t / 2.0).cos().powi(2);
        sum += smooth(low + above, above * below);
        node += 1.0;
    }
    sum * PI / nodes
}

/// The integral from a zero upwards, when the next is out of reach of exp(−xu/2): with
/// u = low + s² by the trapezoidal rule.
fn upwards(x: f64, low: f64, smooth: impl Fn(f64, f64) -> f64) -> f64 {
    let reach = (2.0 * EXPONENT_MAX / x).sqrt();
    let nodes = (32.0 + 60.0 * reach / low.sqrt()).min(4096.0).ceil();
    let step = reach / nodes;
    let mut sum = 0.0;
    let mut node = 0.5;
    while node < nodes {
        let s = node * step;
        sum += smooth(low + s * s, s * s);
        node += 1.0;
    }
    2.0 * step * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_statistics_have_probability_one() {
        for x in [0.0, 1e-300, 0.0071] {
            assert!((cramer_von_mises_sf(x) - 1.0).abs() < 1e-6, "{x}: {}", cramer_von_mises_sf(x));
        }
        for x in [0.0, 1e-300, 0.071] {
            assert!((anderson_darling_sf(x) - 1.0).abs() < 1e-6, "{x}: {}", anderson_darling_sf(x));
        }
        assert_eq!(anderson_darling_sf(f64::INFINITY), 0.0);
    }

    #[test]
    fn the_table_is_the_sum() {
        type Law = fn(f64) -> Tail;
        let laws: [(f64, Law, Law); 2] = [
            (0.007, cramer_von_mises_tail, cramer_von_mises_sum),
            (0.07, anderson_darling_tail, anderson_darling_sum),
        ];
        for (smallest, table, sum) in laws {
            for step in 0..720 {
                let x = smallest * (0.010_13 * f64::from(step)).exp();
                let (got, want) = (table(x).ln(), sum(x).ln());
                assert!((got - want).abs() < 1e-9, "{x}: {got:e} {want:e}");
            }
        }
    }
}

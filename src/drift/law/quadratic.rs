//! The limit laws of quadratic statistics: Cramér–von Mises, Anderson–Darling, and any weighted sum of
//! squares of a Brownian bridge on a grid.
//!
//! Such a statistic is Σλⱼχ²ⱼ with independent chi-squared variables of one degree of freedom. With
//! D(u) = ∏(1 − λⱼu) and its zeros u₁ < u₂ < …, Smirnov's formula (Smirnov 1936; Durbin and Knott 1972) is
//!
//! P(X > x) = (1/π)·Σₖ (−1)^(k+1) ∫ exp(−xu/2) / (u·√|D(u)|) du, over u₂ₖ₋₁ < u < u₂ₖ.
//!
//! The factor exp(−x·u₁/2) comes out of the sum, so far tails keep their relative accuracy.

use std::f64::consts::PI;

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
    // Below it the probability differs from one by less than 1e-6.
    if x.is_nan() || x < 0.007 {
        return Tail::certain();
    }
    smirnov(x, |j| Some((PI * (j + 1) as f64).powi(2)), |u| u.sqrt().sin() / u.sqrt())
}

/// The limit law of the Anderson–Darling statistic: P(A² > `x`), A² = ∫B²/(t(1 − t)).
/// D(u) = −cos(½π√(1 + 4u))/(πu) with zeros j(j + 1) (Anderson and Darling 1952).
pub fn anderson_darling_sf(x: f64) -> f64 {
    anderson_darling_tail(x).p_value()
}

/// As [`anderson_darling_sf`].
pub fn anderson_darling_tail(x: f64) -> Tail {
    // Below it the probability differs from one by less than 1e-6.
    if x.is_nan() || x < 0.07 {
        return Tail::certain();
    }
    smirnov(
        x,
        |j| Some(((j + 1) * (j + 2)) as f64),
        |u| -(0.5 * PI * (1.0 + 4.0 * u).sqrt()).cos() / (PI * u),
    )
}

/// The law of Σωₖ·B(Hₖ)², B a Brownian bridge and H₁ < H₂ < … the ends of consecutive blocks of mass.
/// It is the limit law of a quadratic statistic of two samples on a grid, atoms included (Choulakian,
/// Lockhart and Stephens 1994, doi:10.2307/3315828).
///
/// The covariance min(s,t) − st has a tridiagonal inverse, so D(u) is the end of a recurrence with one step
/// a block (a string with beads): −Δ(Δy/h) = u·ω·y from y = 0 with slope 1; its sign changes count the zeros
/// below u (Sturm).
#[derive(Debug, Clone, PartialEq)]
pub struct BridgeForm {
    /// Mass of each block; positive, sums to one.
    masses: Vec<f64>,
    /// Weight at the end of each block but the last; positive.
    weights: Vec<f64>,
}

impl BridgeForm {
    /// From the masses of the blocks (any positive numbers; made to sum to one) and the weight of the edge
    /// at height H between two of them, given H and the masses left and right of it. Blocks without mass are
    /// left out. `None` when fewer than two are left.
    pub fn new(masses: &[f64], weight: impl Fn(f64, f64, f64) -> f64) -> Option<Self> {
        let total: f64 = masses.iter().sum();
        let masses: Vec<f64> = masses.iter().map(|mass| mass / total).filter(|mass| *mass > 0.0).collect();
        let mut height = 0.0;
        let weights: Vec<f64> = masses
            .windows(2)
            .map(|pair| {
                height += pair[0];
                weight(height, pair[0], pair[1])
            })
            .collect();
        let valid = !weights.is_empty() && weights.iter().all(|weight| weight.is_finite() && *weight > 0.0);
        valid.then_some(Self { masses, weights })
    }

    /// P(X > `x`).
    pub fn sf(&self, x: f64) -> f64 {
        self.tail(x).p_value()
    }

    /// As [`sf`](Self::sf).
    pub fn tail(&self, x: f64) -> Tail {
        if x.is_nan() || x <= 0.0 {
            return Tail::certain();
        }
        let mut zeros = Vec::new();
        smirnov(x, |j| self.zero(j, &mut zeros), |u| self.walk(u).0)
    }

    /// D(u), and how many zeros lie below u.
    fn walk(&self, u: f64) -> (f64, usize) {
        let mut masses = self.masses.iter();
        let (mut y, mut slope, mut zeros) = (0.0, 1.0, 0);
        y += slope * masses.next().copied().unwrap_or(0.0);
        for (mass, weight) in masses.zip(&self.weights) {
            slope -= u * weight * y;
            let next = y + slope * mass;
            zeros += usize::from((next < 0.0) != (y < 0.0));
            y = next;
        }
        (y, zeros)
    }

    /// Zero number `j` of D from 0 on; `known` keeps those found.
    fn zero(&self, j: usize, known: &mut Vec<f64>) -> Option<f64> {
        while known.len() <= j.min(self.weights.len()) {
            let number = known.len();
            if number >= self.weights.len() {
                return None;
            }
            let mut low = known.last().copied().unwrap_or(0.0);
            low += low * 1e-12;
            let mut high = (2.0 * low).max(0.5);
            while self.walk(high).1 <= number {
                low = high;
                high *= 2.0;
                if !high.is_finite() {
                    return None;
                }
            }
            known.push(self.refine(number, low, high));
        }
        known.get(j).copied()
    }

    /// The zero number `number`, between `low` and `high`: halving until it is alone, then the secant rule
    /// of Illinois.
    fn refine(&self, number: usize, mut low: f64, mut high: f64) -> f64 {
        let ((mut at_low, mut below), (mut at_high, mut above)) = (self.walk(low), self.walk(high));
        while (below, above) != (number, number + 1) && high - low > 1e-14 * high {
            let middle = 0.5 * (low + high);
            let (value, zeros) = self.walk(middle);
            if zeros <= number {
                (low, at_low, below) = (middle, value, zeros);
            } else {
                (high, at_high, above) = (middle, value, zeros);
            }
        }
        for _ in 0..80 {
            if high - low <= 1e-14 * high || at_low == at_high {
                break;
            }
            let guess = (high * at_low - low * at_high) / (at_low - at_high);
            let guess = if guess > low && guess < high { guess } else { 0.5 * (low + high) };
            let (value, zeros) = self.walk(guess);
            if zeros <= number {
                (low, at_low, at_high) = (guess, value, at_high / 2.0);
            } else {
                (high, at_high, at_low) = (guess, value, at_low / 2.0);
            }
        }
        0.5 * (low + high)
    }
}

/// Smirnov's sum. `zero(j)` is zero number j from 0 on, `None` beyond the last.
fn smirnov(x: f64, mut zero: impl FnMut(usize) -> Option<f64>, determinant: impl Fn(f64) -> f64) -> Tail {
    let Some(first) = zero(0) else { return Tail::certain() };
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
        let Some(low) = zero(2 * interval) else { break };
        if x * (low - first) / 2.0 > EXPONENT_MAX {
            break;
        }
        let high = zero(2 * interval + 1);
        let area = match high {
            Some(high) if x * (high - low) < 400.0 => between(x, low, high, smooth),
            _ => upwards(x, low, smooth),
        };
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

/// The integral from a zero upwards, when the next is out of reach of exp(−xu/2) or there is none: with
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
    fn one_edge_is_a_chi_squared_variable() {
        // B(½)² has variance ¼ under its square.
        let form = BridgeForm::new(&[3.0, 3.0], |_, _, _| 1.0).expect("one edge");
        for x in [0.01, 0.1, 1.0, 4.0, 30.0] {
            let (got, want) = (form.sf(x), 2.0 * super::super::normal_sf((4.0 * x).sqrt()));
            assert!((got - want).abs() < 1e-10 * want, "{x}: {got:e} {want:e}");
        }
    }

    #[test]
    fn two_equal_edges_are_known_too() {
        // Three blocks: eigenvalues of [[2, 1], [1, 2]]/9 are 1/3 and 1/9.
        let form = BridgeForm::new(&[1.0, 1.0, 1.0], |_, _, _| 1.0).expect("two edges");
        let mut zeros = Vec::new();
        assert!((form.zero(0, &mut zeros).expect("first") - 3.0).abs() < 1e-11);
        assert!((form.zero(1, &mut zeros).expect("second") - 9.0).abs() < 1e-11);
        assert_eq!(form.zero(2, &mut zeros), None);
    }

    #[test]
    fn a_fine_grid_has_the_limit_law() {
        let fine = BridgeForm::new(&[1.0; 400], |_, left, _| left).expect("many edges");
        for x in [0.05, 0.2, 0.5, 1.0, 3.0] {
            let (got, want) = (fine.sf(x), cramer_von_mises_sf(x));
            assert!((got / want - 1.0).abs() < 1e-3, "{x}: {got:e} {want:e}");
        }
    }

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
}

//! The law of a weighted sum of squares of a Brownian bridge on a grid.
//!
//! Such a sum is Σλⱼχ²ⱼ with independent chi-squared variables of one degree of freedom. With D(u) = ∏(1 − λⱼu)
//! its moment generating function is D(2s)^(−1/2), and for 0 < c < u₁/2, u₁ the first zero of D,
//!
//! P(X > x) = (1/2πi)·∫ exp(−sx)·D(2s)^(−1/2)/s ds along any path through c from −i∞ to i∞.
//!
//! Through the saddle point, along a hyperbola that bends around the zeros, the integrand has no oscillation to
//! speak of and falls doubly exponentially, so the midpoint rule gives about eight digits with some twenty-five
//! points, in the far tail as well as in the middle (the method of Rice 1980, doi:10.1137/0901030; the path
//! after Weideman and Trefethen 2007, doi:10.1090/S0025-5718-07-01945-X). The eigenvalues are never needed.

use std::f64::consts::{FRAC_PI_4, PI};
use std::sync::LazyLock;

use super::tail::Tail;

/// Step between the points of the path.
const STEP: f64 = 0.25;
/// The angle of the hyperbola: how soon it bends. The integrand is analytic this far on either side, which
/// makes the midpoint rule's error about exp(−2π·angle/step) = 3e-9.
const ANGLE: f64 = FRAC_PI_4;
/// Points of the path that are worked out side by side.
const LANES: usize = 4;
/// The path ends where a group of points adds less than this share.
const NEGLIGIBLE: f64 = 1e-11;
/// Groups of points at most; about seven are needed.
const GROUPS_MAX: usize = 64;
/// Steps towards the saddle point at most; about four are needed.
const SADDLE_STEPS_MAX: usize = 100;

/// The law of Σωₖ·B(Hₖ)², B a Brownian bridge and H₁ < H₂ < … the ends of consecutive blocks of mass.
/// It is the limit law of a quadratic statistic of two samples on a grid, atoms included (Choulakian,
/// Lockhart and Stephens 1994, doi:10.2307/3315828).
///
/// The covariance min(s,t) − st has a tridiagonal inverse, so D(u) is the end of a recurrence with one step
/// a block (a string with beads): −Δ(Δy/h) = u·ω·y from y = 0 with slope 1; its sign changes count the zeros
/// below u (Sturm).
#[derive(Debug, Clone, PartialEq)]
pub struct BridgeForm {
    /// Mass of the first block; all masses sum to one.
    first: f64,
    /// Weight at the lower end and mass of each further block; positive.
    beads: Vec<(f64, f64)>,
}

/// D and its first two derivatives at a real point.
struct Slopes {
    value: f64,
    first: f64,
    second: f64,
    /// Zeros of D below the point.
    zeros: usize,
}

/// Where the path crosses the real line.
struct Saddle {
    /// As s.
    at: f64,
    /// The width of the saddle.
    width: f64,
}

/// Complex numbers side by side.
#[derive(Clone, Copy)]
struct Lanes {
    re: [f64; LANES],
    im: [f64; LANES],
}

impl BridgeForm {
    /// From the masses of the blocks (any positive numbers; made to sum to one) and the weight of the edge
    /// at height H between two of them, given H and the masses left and right of it. Blocks without mass are
    /// left out. `None` when fewer than two are left.
    pub fn new(masses: &[f64], weight: impl Fn(f64, f64, f64) -> f64) -> Option<Self> {
        let total: f64 = masses.iter().sum();
        let mut masses = masses.iter().map(|mass| mass / total).filter(|mass| *mass > 0.0);
        let first = masses.next()?;
        let (mut left, mut height) = (first, 0.0);
        let beads: Vec<(f64, f64)> = masses
            .map(|mass| {
                height += left;
                let bead = (weight(height, left, mass), mass);
                left = mass;
                bead
            })
            .collect();
        let valid = !beads.is_empty() && beads.iter().all(|(weight, _)| weight.is_finite() && *weight > 0.0);
        valid.then_some(Self { first, beads })
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
        if x == f64::INFINITY {
            return Tail::of(0.0);
        }
        let saddle = self.saddle(x);
        let offset = saddle.at - saddle.width * ANGLE.sin();
        let mut sum = 0.0;
        for points in PATH.iter() {
            let mut s = Lanes { re: [0.0; LANES], im: [0.0; LANES] };
            let mut along = s;
            for lane in 0..LANES {
                // s = offset + width·sin(angle + it), and its derivative.
                s.re[lane] = offset + saddle.width * points.re[lane];
                s.im[lane] = saddle.width * points.im[lane];
                along.re[lane] = saddle.width * points.im[lane] * ANGLE.tan();
                along.im[lane] = saddle.width * points.re[lane] / ANGLE.tan();
            }
            let (added, largest) = self.integrand(&s, &along, x, saddle.at);
            sum += added;
            if largest <= NEGLIGIBLE * sum.abs() {
                break;
            }
        }
        // For statistics that no sample has, the zero is too near for the saddle to be told from it.
        let factor = if sum.is_finite() && sum > 0.0 { sum * STEP / PI } else { 1.0 };
        Tail::new(factor, -saddle.at * x)
    }

    /// The sum over the lanes of Im(exp(−(s − c)x)·D(2s)^(−1/2)/s·ds/dt), and the largest size of a term.
    fn integrand(&self, s: &Lanes, along: &Lanes, x: f64, centre: f64) -> (f64, f64) {
        let (end, turns) = self.walk_complex(s);
        let (mut sum, mut largest) = (0.0, 0.0f64);
        for (lane, turns) in turns.into_iter().enumerate() {
            let (re, im) = (s.re[lane], s.im[lane]);
            let root = inverse_root(end.re[lane], end.im[lane]);
            // The values of the recurrence turn clockwise, by less than half a turn a step; each whole turn
            // changes the sign of the root.
            let sign = if turns % 2.0 == 0.0 { 1.0 } else { -1.0 };
            let square = re * re + im * im;
            let size = (-(re - centre) * x).exp() * root.size / square;
            let (sin, cos) = (-im * x).sin_cos();
            let (sin, cos) = (sin * root.cos + cos * root.sin, cos * root.cos - sin * root.sin);
            // along/s, times |s|².
            let quotient_re = along.re[lane] * re + along.im[lane] * im;
            let quotient_im = along.im[lane] * re - along.re[lane] * im;
            sum += sign * size * (cos * quotient_im + sin * quotient_re);
            largest = largest.max(size * (quotient_re.abs() + quotient_im.abs()));
        }
        (sum, largest)
    }

    /// D(2s), and how often the recurrence went once around 0.
    fn walk_complex(&self, s: &Lanes) -> (Lanes, [f64; LANES]) {
        let mut y = Lanes { re: [self.first; LANES], im: [0.0; LANES] };
        let mut slope = Lanes { re: [1.0; LANES], im: [0.0; LANES] };
        let mut turns = [0.0; LANES];
        for (weight, mass) in &self.beads {
            let twice = 2.0 * weight;
            for (lane, turns) in turns.iter_mut().enumerate() {
                // Multiplied before y is known: each step waits for the one before.
                let (u_re, u_im) = (twice * s.re[lane], twice * s.im[lane]);
                let (y_re, y_im) = (y.re[lane], y.im[lane]);
                slope.re[lane] -= u_re * y_re - u_im * y_im;
                slope.im[lane] -= u_re * y_im + u_im * y_re;
                y.re[lane] = y_re + mass * slope.re[lane];
                y.im[lane] = y_im + mass * slope.im[lane];
                // From below the real line to above it clockwise is past the negative half.
                *turns += if y_im < 0.0 && y.im[lane] >= 0.0 { 1.0 } else { 0.0 };
            }
        }
        (y, turns)
    }

    /// D and its derivatives at `u`.
    fn walk(&self, u: f64) -> Slopes {
        let (mut y, mut slope) = ([self.first, 0.0, 0.0], [1.0, 0.0, 0.0]);
        let mut zeros = 0;
        for (weight, mass) in &self.beads {
            let before = y;
            let pull = weight * u;
            slope[0] -= pull * before[0];
            slope[1] -= weight * before[0] + pull * before[1];
            slope[2] -= 2.0 * weight * before[1] + pull * before[2];
            for order in 0..3 {
                y[order] = before[order] + mass * slope[order];
            }
            zeros += usize::from((y[0] < 0.0) != (before[0] < 0.0));
        }
        Slopes { value: y[0], first: y[1], second: y[2], zeros }
    }

    /// About where exp(−sx)·D(2s)^(−1/2)/s is smallest between 0 and u₁/2. With N = −D′/D, the condition is
    /// N(u) = x + 2/u; each step solves it with N replaced by B/(P − u) that has its value and slope.
    fn saddle(&self, x: f64) -> Saddle {
        let (mut low, mut high, mut u) = (0.0f64, f64::INFINITY, 0.0);
        let mut width = 0.0;
        for _ in 0..SADDLE_STEPS_MAX {
            let at = self.walk(u);
            if at.zeros > 0 || at.value <= 0.0 {
                high = u;
                u = 0.5 * (low + high);
                continue;
            }
            let ratio = at.first / at.value;
            let rise = ratio * ratio - at.second / at.value;
            if u > 0.0 {
                // One over the root of the exponent's second derivative in s, 2·N′ + 1/s².
                width = 1.0 / (2.0 * rise.max(0.0) + 4.0 / (u * u)).sqrt();
                if -ratio < x + 2.0 / u { low = u } else { high = u }
            }
            let next = pole_model(-ratio, rise, u, x);
            let next = if next > low && next < high { next } else { 0.5 * (low + high.min(2.0 * u)) };
            if u > 0.0 && (next - u).abs() <= 0.2 * width {
                break;
            }
            u = next;
        }
        Saddle { at: u / 2.0, width }
    }
}

/// The u' between 0 and P with B/(P − u') = x + 2/u', where B/(P − u) has value `n` and slope `rise` at `u`.
fn pole_model(n: f64, rise: f64, u: f64, x: f64) -> f64 {
    let pole = u + n / rise;
    let b = n * n / rise + 2.0 - x * pole;
    let root = (b * b + 8.0 * x * pole).sqrt();
    // The positive root of x·u'² + b·u' − 2·pole = 0, without cancellation.
    if b > 0.0 { 4.0 * pole / (b + root) } else { (root - b) / (2.0 * x) }
}

/// The points of the path for a width of 1, measured from its offset: sin(angle + it) at t = (k + ½)·step.
static PATH: LazyLock<Vec<Lanes>> = LazyLock::new(|| {
    let t = |group: usize, lane: usize| ((group * LANES + lane) as f64 + 0.5) * STEP;
    let lanes = |group: usize| Lanes {
        re: std::array::from_fn(|lane| ANGLE.sin() * t(group, lane).cosh()),
        im: std::array::from_fn(|lane| ANGLE.cos() * t(group, lane).sinh()),
    };
    (0..GROUPS_MAX).map(lanes).collect()
});

/// z^(−1/2) as its size and the cosine and sine of its angle.
struct InverseRoot {
    size: f64,
    cos: f64,
    sin: f64,
}

/// The root whose angle is within −π/2..=π/2: half of the angle of z, taken without trigonometry.
fn inverse_root(re: f64, im: f64) -> InverseRoot {
    let size = (re * re + im * im).sqrt();
    if size == f64::INFINITY {
        return InverseRoot { size: 0.0, cos: 1.0, sin: 0.0 };
    }
    let (across, up) = if size > 0.0 { (re / size, im / size) } else { (1.0, 0.0) };
    // Of cosine and sine of the half angle the larger is taken first: no cancellation.
    let large = (0.5 + 0.5 * across.abs()).sqrt();
    let small = 0.5 * up.abs() / large;
    let (cos, sin) = if across >= 0.0 { (large, small) } else { (small, large) };
    InverseRoot { size: 1.0 / size.sqrt(), cos, sin: if up < 0.0 { sin } else { -sin } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::law::{anderson_darling_tail, cramer_von_mises_tail, normal_tail};

    #[test]
    fn one_edge_is_a_chi_squared_variable() {
        // B(½)² has variance ¼ under its square.
        let form = BridgeForm::new(&[3.0, 3.0], |_, _, _| 1.0).expect("one edge");
        for x in [0.001, 0.01, 0.1, 1.0, 4.0, 30.0, 1e3, 1e5] {
            let (got, want) = (form.tail(x), normal_tail((4.0 * x).sqrt()).twice());
            assert!((got.ln() - want.ln()).abs() < 1e-9 * want.ln().abs().max(1.0), "{x}: {got:?} {want:?}");
        }
    }

    #[test]
    fn two_equal_edges_are_known_too() {
        // Three blocks: eigenvalues of [[2, 1], [1, 2]]/9 are 1/3 and 1/9.
        let form = BridgeForm::new(&[1.0, 1.0, 1.0], |_, _, _| 1.0).expect("two edges");
        for u in [1.0, 2.9, 3.1, 8.0, 10.0] {
            let at = form.walk(u);
            assert!((at.value - (1.0 - u / 3.0) * (1.0 - u / 9.0)).abs() < 1e-12);
            assert!((at.first + (1.0 - u / 9.0) / 3.0 + (1.0 - u / 3.0) / 9.0).abs() < 1e-12);
            assert!((at.second - 2.0 / 27.0).abs() < 1e-12);
            assert_eq!(at.zeros, usize::from(u > 3.0) + usize::from(u > 9.0));
        }
    }

    #[test]
    fn a_fine_grid_has_the_limit_law() {
        let fine = BridgeForm::new(&[1.0; 400], |_, left, _| left).expect("many edges");
        for x in [0.05, 0.2, 0.5, 1.0, 3.0, 100.0] {
            let (got, want) = (fine.tail(x).ln(), cramer_von_mises_tail(x).ln());
            assert!((got / want - 1.0).abs() < 1e-3, "{x}: {got:e} {want:e}");
        }
        let weight = |height: f64, left: f64, _: f64| left / (height * (1.0 - height));
        let fine = BridgeForm::new(&[1.0; 1000], weight).expect("many edges");
        for x in [0.5, 2.0, 10.0] {
            let (got, want) = (fine.tail(x).ln(), anderson_darling_tail(x).ln());
            assert!((got / want - 1.0).abs() < 1e-2, "{x}: {got:e} {want:e}");
        }
    }

    #[test]
    fn the_tail_falls_smoothly() {
        let masses: Vec<f64> = (1..60).map(|block| 1.0 / f64::from(block)).collect();
        let form =
            BridgeForm::new(&masses, |height, left, right| (left + right) / (2.0 * height * (1.0 - height)));
        let form = form.expect("many edges");
        let mut last = 0.0;
        for step in -80..200 {
            let ln = form.tail((f64::from(step) / 20.0).exp()).ln();
            assert!(ln < last + 1e-9, "{step}: {ln} after {last}");
            last = ln;
        }
    }
}

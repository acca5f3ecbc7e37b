//! Exact laws of counts: rates in two samples, values beyond the reference's range, new names.
//!
//! Point probabilities use Loader's saddle-point form (Loader 2000, "Fast and accurate computation of
//! binomial probabilities"), which keeps about fourteen digits however large the counts are; tails are
//! sums of positive terms outward from the observed count.

use std::f64::consts::PI;

use super::gamma::normal_tail;
use super::tail::Tail;

/// Above this smallest expected count the normal law replaces the sum: the sum would take thousands of
/// steps, and the normal law is by then right to a fraction of a percent.
const EXPECTED_FOR_NORMAL: f64 = 1e6;

/// Longest product in [`count_beyond_range`]; beyond it the quotient of factorials is taken by Stirling's way.
const PRODUCT_STEPS_MAX: u64 = 16;

/// Two-sided p-value for "`a` of `n`" against "`b` of `m`" having one rate, given `a + b`: twice the
/// smaller tail of the hypergeometric law (Fisher 1935), at most 1. Exact, therefore conservative when
/// `a + b` is small. When all four expected counts exceed a million, the normal law of the difference.
///
/// Counts above their `n` are held at it; 1 when either sample is empty.
pub fn rates_differ(a: u64, n: u64, b: u64, m: u64) -> f64 {
    rates_differ_tail(a, n, b, m).p_value()
}

/// As [`rates_differ`].
pub fn rates_differ_tail(a: u64, n: u64, b: u64, m: u64) -> Tail {
    if n == 0 || m == 0 {
        return Tail::certain();
    }
    let (n, m) = (n as f64, m as f64);
    let (a, b) = ((a as f64).min(n), (b as f64).min(m));
    let (marked, total) = (a + b, n + m);
    if marked == 0.0 || marked == total {
        return Tail::certain();
    }
    let expected_min = n.min(m) * marked.min(total - marked) / total;
    if expected_min > EXPECTED_FOR_NORMAL {
        let pooled = marked / total;
        let z = (a / n - b / m) / (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
        return normal_tail(z.abs()).twice();
    }
    let point = hypergeometric_ln(a, marked, total - marked, n, m);
    let tail = if a * m >= b * n {
        // One more marked value in the first sample.
        tail_from(1.0, |step| {
            let x = a + step;
            (marked - x) * (n - x) / ((x + 1.0) * (m - marked + x + 1.0))
        })
    } else {
        // One less.
        tail_from(1.0, |step| {
            let x = a - step;
            x * (m - marked + x) / ((marked - x + 1.0) * (n - x + 1.0))
        })
    };
    Tail::new(2.0 * tail, point)
}

/// P(X ≥ `k`) for X binomial with `trials` and success probability `p`.
pub fn binomial_upper_tail(k: u64, trials: u64, p: f64) -> f64 {
    binomial_tail(k, trials, p).p_value()
}

/// As [`binomial_upper_tail`].
pub fn binomial_tail(k: u64, trials: u64, p: f64) -> Tail {
    if k == 0 {
        return Tail::certain();
    }
    if k > trials || p.is_nan() || p <= 0.0 {
        return Tail::of(0.0);
    }
    if p >= 1.0 {
        return Tail::certain();
    }
    let (k, trials) = (k as f64, trials as f64);
    let q = 1.0 - p;
    let expected = trials * p;
    if expected.min(trials * q) > EXPECTED_FOR_NORMAL {
        return normal_tail((k - 0.5 - expected) / (expected * q).sqrt());
    }
    if k >= expected {
        let sum = tail_from(1.0, |step| {
            let x = k + step;
            (trials - x) * p / ((x + 1.0) * q)
        });
        return Tail::new(sum, binomial_ln(k, trials, p, q));
    }
    let from = k - 1.0;
    let lower = tail_from(binomial_ln(from, trials, p, q).exp(), |step| {
        let x = from - step;
        x * q / ((trials - x + 1.0) * p)
    });
    Tail::of(1.0 - lower)
}

/// P(N ≥ `k`), N the number of `n` current values that lie below the smallest or above the largest of
/// `m` reference values, when all n + m come from one distribution.
///
/// All orders of the pooled values being equally likely, the ends of the order hold i and j current
/// values with P(N_low ≥ i, N_high ≥ j) = S(i+j), S(k) = ∏_{i<k} (n−i)/(n+m−i); hence
/// P(N ≥ k) = (k+1)·S(k) − k·S(k+1). Exact for continuous values, conservative with ties.
pub fn count_beyond_range(k: u64, n: u64, m: u64) -> f64 {
    count_beyond_range_tail(k, n, m).p_value()
}

/// As [`count_beyond_range`].
pub fn count_beyond_range_tail(k: u64, n: u64, m: u64) -> Tail {
    if k == 0 || m == 0 {
        return Tail::certain();
    }
    if k > n {
        return Tail::of(0.0);
    }
    let (product, logarithm) = run_of_current(k, n, m);
    // S(k+1) = S(k)·(n−k)/(n+m−k).
    let (k, n, m) = (k as f64, n as f64, m as f64);
    Tail::new(product * (1.0 + k * m / (n + m - k)), logarithm)
}

/// S(k) of [`count_beyond_range`], as a factor and a logarithm. For large k it is the probability that k
/// marked values all come into a sample of n.
fn run_of_current(k: u64, n: u64, m: u64) -> (f64, f64) {
    let (n_values, m_values) = (n as f64, m as f64);
    if k > PRODUCT_STEPS_MAX {
        let k = k as f64;
        return (1.0, hypergeometric_ln(k, k, n_values + m_values - k, n_values, m_values));
    }
    let (mut product, mut step) = (1.0, 0.0);
    for _ in 0..k {
        product *= (n_values - step) / (n_values + m_values - step);
        step += 1.0;
    }
    (product, 0.0)
}

/// Sums `first`·(1 + r₀ + r₀r₁ + …) until terms no longer matter; `ratio(i)` is rᵢ.
fn tail_from(first: f64, ratio: impl Fn(f64) -> f64) -> f64 {
    let (mut term, mut sum, mut step) = (first, first, 0.0);
    while term > sum * 1e-17 {
        term *= ratio(step).max(0.0);
        sum += term;
        step += 1.0;
    }
    sum
}

/// ln P(X = x), X the marked values among `n` drawn from `marked` + `unmarked` = n + m.
pub(super) fn hypergeometric_ln(x: f64, marked: f64, unmarked: f64, n: f64, m: f64) -> f64 {
    let (p, q) = (n / (n + m), m / (n + m));
    binomial_ln(x, marked, p, q) + binomial_ln(n - x, unmarked, p, q) - binomial_ln(n, n + m, p, q)
}

/// ln P(X = x) for X binomial with `trials`, p and q = 1 − p.
fn binomial_ln(x: f64, trials: f64, p: f64, q: f64) -> f64 {
    if trials == 0.0 {
        return 0.0;
    }
    if x == 0.0 {
        return trials * q.ln();
    }
    if x == trials {
        return trials * p.ln();
    }
    let rest = trials - x;
    stirling_error(trials)
        - stirling_error(x)
        - stirling_error(rest)
        - deviance(x, trials * p)
        - deviance(rest, trials * q)
        + 0.5 * (trials / (2.0 * PI * x * rest)).ln()
}

/// [`stirling_error`] of 0, ½, 1, … 15½; that of 0 is not used.
const STIRLING_ERRORS: [f64; 32] = [
    0.0,
    0.153_426_409_720_027_36,
    0.081_061_466_795_327_26,
    0.054_814_121_051_917_65,
    0.041_340_695_955_409_3,
    0.033_162_873_519_936_29,
    0.027_677_925_684_998_34,
    0.023_746_163_656_297_496,
    0.020_790_672_103_765_093,
    0.018_488_450_532_673_187,
    0.016_644_691_189_821_193,
    0.015_134_973_221_917_378,
    0.013_876_128_823_070_748,
    0.012_810_465_242_920_227,
    0.011_896_709_945_891_77,
    0.011_104_559_758_206_917,
    0.010_411_265_261_972_096,
    0.009_799_416_126_158_804,
    0.009_255_462_182_712_733,
    0.008_768_700_134_139_386,
    0.008_330_563_433_362_87,
    0.007_934_114_564_314_02,
    0.007_573_675_487_951_841,
    0.007_244_554_301_320_383,
    0.006_942_840_107_209_53,
    0.006_665_247_032_707_682,
    0.006_408_994_188_004_207,
    0.006_171_712_263_039_458,
    0.005_951_370_112_758_847_5,
    0.005_746_216_513_010_115_5,
    0.005_554_733_551_962_801,
    0.005_375_599_032_926_835,
];

/// ln n! − ((n + ½)·ln n − n + ½·ln 2π).
pub(super) fn stirling_error(n: f64) -> f64 {
    if n < 16.0 {
        let halves = 2.0 * n;
        let known = STIRLING_ERRORS.get(halves as usize).filter(|_| halves.trunc() == halves && n > 0.0);
        if let Some(error) = known {
            return *error;
        }
        return libm::lgamma(n + 1.0) - ((n + 0.5) * n.ln() - n + 0.5 * (2.0 * PI).ln());
    }
    let square = n * n;
    (1.0 / 12.0
        - (1.0 / 360.0 - (1.0 / 1260.0 - (1.0 / 1680.0 - 1.0 / 1188.0 / square) / square) / square) / square)
        / n
}

/// x·ln(x/μ) − x + μ for positive `mean`: never negative, and without cancellation when `x` is near
/// `mean`. It is half a cell's share of the G statistic.
pub(in crate::drift) fn deviance(x: f64, mean: f64) -> f64 {
    if x == 0.0 {
        return mean;
    }
    let r = (x - mean) / (x + mean);
    if r.abs() >= 0.1 {
        return x * (x / mean).ln() - x + mean;
    }
    // x·ln(x/μ) = 2x·artanh(r), and x − μ = r·(x + μ).
    r * (x - mean) + 2.0 * x * r * artanh_rest(r * r)
}

/// ln(a/b) of positive numbers, without loss when they are near each other.
pub(in crate::drift) fn ln_ratio(a: f64, b: f64) -> f64 {
    let r = (a - b) / (a + b);
    if r.abs() >= 0.1 { (a / b).ln() } else { 2.0 * r * (1.0 + artanh_rest(r * r)) }
}

/// artanh(r)/r − 1 for |r| up to 0.1, from r².
fn artanh_rest(square: f64) -> f64 {
    const ODD: [f64; 8] =
        [1.0 / 17.0, 1.0 / 15.0, 1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0];
    square * ODD.iter().fold(0.0, |series, odd| series * square + odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, want: f64, relative: f64) {
        assert!((got - want).abs() <= relative * want.abs(), "{got} is not {want}");
    }

    #[test]
    fn fishers_tea_is_tasted() {
        // Three of four against one of four: the upper tail is 17/70.
        close(rates_differ(3, 4, 1, 4), 34.0 / 70.0, 1e-13);
        close(rates_differ(1, 4, 3, 4), 34.0 / 70.0, 1e-13);
        assert_eq!(rates_differ(0, 10, 0, 10), 1.0);
        assert_eq!(rates_differ(10, 10, 10, 10), 1.0);
        close(rates_differ(4, 4, 0, 4), 2.0 / 70.0, 1e-13);
    }

    #[test]
    fn the_normal_law_takes_over_without_a_step() {
        let exact = rates_differ(1_999_000, 4_000_000, 1_002_500, 2_000_000);
        let normal = rates_differ(2_199_000, 4_400_000, 1_102_500, 2_200_000);
        assert!(exact > 1e-6 && (exact / normal).ln().abs() < 2.0, "{exact} {normal}");
    }

    #[test]
    fn the_run_of_current_values_is_exact() {
        // One current value against nine: it is the smallest or largest of ten with probability 1/5.
        close(count_beyond_range(1, 1, 9), 0.2, 1e-14);
        // Two against two: both outside unless the range holds one of them; 3 of 6 orders.
        close(count_beyond_range(2, 2, 2), 0.5, 1e-14);
        close(count_beyond_range(1, 2, 2), 5.0 / 6.0, 1e-14);
        for (k, n, m) in
            [(7, 9, 3), (16, 900, 50), (17, 900, 50), (17, 17, 40), (400, 1000, 90), (90, 5000, 1)]
        {
            let (product, logarithm) = run_of_current(k, n, m);
            close(product * logarithm.exp(), run_of_current_by_definition(k, n, m), 1e-12);
        }
    }

    #[test]
    fn logarithms_go_on_where_the_probability_ends() {
        let one_in_a_million = (1.0f64 / 1e6).ln();
        // 301 places for the range among the C(3e8, 300) choices, of which 300! orders are one.
        let want = 301.0f64.ln() + libm::lgamma(301.0) - 300.0 * 3e8f64.ln();
        close(count_beyond_range_tail(300, 300, 299_999_700).ln(), want, 1e-6);
        close(binomial_tail(1000, 1000, 1e-6).ln(), 1000.0 * one_in_a_million, 1e-13);
        let separated = rates_differ_tail(5000, 5000, 0, 5000);
        assert_eq!(separated.p_value(), 0.0);
        // Two of the C(10000, 5000) choices.
        let choices = binomial_ln(5000.0, 10_000.0, 0.5, 0.5) + 10_000.0 * 2.0f64.ln();
        close(separated.ln(), 2.0f64.ln() - choices, 1e-12);
    }

    fn run_of_current_by_definition(k: u64, n: u64, m: u64) -> f64 {
        (0..k).map(|i| (n - i) as f64 / (n + m - i) as f64).product()
    }

    #[test]
    fn binomial_tails_add_up() {
        close(binomial_upper_tail(2, 3, 0.5), 0.5, 1e-14);
        close(binomial_upper_tail(1, 3, 0.5), 0.875, 1e-14);
        close(binomial_upper_tail(5, 5, 1e-3), 1e-15, 1e-12);
        assert_eq!(binomial_upper_tail(0, 0, 0.5), 1.0);
    }

    #[test]
    fn deviance_has_no_cancellation() {
        close(deviance(1e9 + 1.0, 1e9), 5e-10, 1e-8);
        close(deviance(2.0, 1.0), 2.0 * 2.0f64.ln() - 1.0, 1e-14);
        close(deviance(1.21, 1.0), 1.21 * 1.21f64.ln() - 0.21, 1e-13);
    }
}

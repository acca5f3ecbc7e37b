//! Exact binomial intervals.

use driftline::drift::law::binomial_upper_tail;

/// The interval of Clopper and Pearson (1934, doi:10.1093/biomet/26.4.404) for a probability, after `hits` of
/// `of`.
pub fn clopper_pearson(hits: u64, of: u64, confidence: f64) -> (f64, f64) {
    let tail = (1.0 - confidence) / 2.0;
    let low = if hits == 0 { 0.0 } else { bisect(|p| binomial_upper_tail(hits, of, p) < tail) };
    let high = if hits == of { 1.0 } else { bisect(|p| 1.0 - binomial_upper_tail(hits + 1, of, p) > tail) };
    (low, high)
}

/// The largest p in 0..=1 for which `below` holds, `below` holding up to some p and not after.
fn bisect(below: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if below(middle) { low = middle } else { high = middle }
    }
    low
}

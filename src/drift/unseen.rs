//! `unseen`: names that the baseline never saw.

use super::law::{binomial_tail, rates_differ_tail};
use super::rate::Rates;
use super::{CATEGORICAL, DriftTest, NotTestable, Pair, Score};
use crate::summary::{CategoricalSummary, Categories, ColumnSummary, Shape};

pub(super) const TEST: DriftTest = DriftTest {
    name: "unseen",
    about: "Share of values whose name the baseline never saw",
    kinds: CATEGORICAL,
    alarms: true,
    score,
};

/// Statistic and effect: the share of values whose name is not in the baseline.
///
/// p-value: with `s` names that the baseline saw exactly once, the chance that the next value has a new name
/// is about s/m (Good 1953, doi:10.1093/biomet/40.3-4.237). `s` is itself a count of chance, so the k new
/// values of n are set against the s of m: given s + k, k is binomial with n/(n+m), and the p-value is its
/// upper tail. For m much larger than n and s it is the Poisson tail with mean n·s/m; without singletons it
/// is (n/(n+m))^k, the chance that all k fell into the window rather than the training data. Taken as if
/// new values came one at a time: a window much larger than the baseline may meet one new name many times.
///
/// Where the baseline holds more names than it can tell apart, "unseen" is not known: not applicable.
fn score(pair: &Pair<'_>) -> Result<Score, NotTestable> {
    let (categories, reference, current) = match (pair.shape, pair.reference, pair.current) {
        (Shape::Numeric(_), _, _) => {
            return Err(NotTestable::NotApplicable {
                reason: "the column is numeric: new values are tested by `overflow`".to_owned(),
            });
        }
        (
            Shape::Categorical(categories),
            ColumnSummary::Categorical(reference),
            ColumnSummary::Categorical(current),
        ) if [reference, current].iter().all(|side| side.counts.len() == categories.len()) => {
            (categories, reference, current)
        }
        _ => return Err(super::shape_mismatch()),
    };
    if categories.open {
        return Err(NotTestable::NotApplicable {
            reason: "the baseline has more names than it can tell apart".to_owned(),
        });
    }
    let of = |side: &CategoricalSummary| (side.counts.get(categories.unseen()), side.counts.total());
    let rates = Rates { reference: of(reference), current: of(current) }.checked()?;
    let ((seen_before, m), (k, n)) = (rates.reference, rates.current);
    if seen_before > 0 {
        let p_value = rates_differ_tail(k, n, seen_before, m);
        return Ok(rates.score(p_value).with_detail("the reference has unseen names itself"));
    }
    let singletons = singletons(categories, reference);
    let p = n as f64 / (n as f64 + m as f64);
    Ok(rates.score(binomial_tail(k, k.saturating_add(singletons), p)))
}

/// Names that the baseline saw exactly once. Those in buckets are known only if the baseline says; if not,
/// every rare name may be one, which makes the p-value conservative.
fn singletons(categories: &Categories, reference: &CategoricalSummary) -> u64 {
    let common = reference.counts.iter().take(categories.top.len()).filter(|&count| count == 1).count();
    let rare = categories.rare_singletons.unwrap_or(categories.rare.len() as u64);
    rare.saturating_add(common as u64)
}

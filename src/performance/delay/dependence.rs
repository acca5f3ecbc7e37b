//! Do delay and outcome go together within strata? The generalised Cochran-Mantel-Haenszel test.

use super::{DELAY_BUCKETS, DelayCounts};
use crate::drift::law::chi_squared_sf;

/// Groups that delays are put into, of about as many labels each.
const GROUPS: usize = 4;

/// Labels below which nothing is tested.
const LABELS_MIN: u64 = 200;

/// Labels of an outcome, and of the others, below which it is not tested.
const OUTCOME_LABELS_MIN: u64 = 20;

/// One outcome against the others, by group of delay.
#[derive(Default, Clone, Copy)]
struct Table {
    outcome: [f64; GROUPS],
    all: [f64; GROUPS],
}

/// P-value of delay being independent of the outcome within every stratum: the smallest over the outcomes,
/// times their number (two outcomes are one question). None with too few labels, one outcome or one delay.
pub(super) fn p_value(strata: &[Vec<DelayCounts>]) -> Option<f64> {
    let groups = groups(strata)?;
    let outcomes = strata.iter().map(Vec::len).max().unwrap_or(0);
    let all: f64 = strata.iter().map(|table| count(table)).sum::<u64>() as f64;
    let mut tested = 0_u32;
    let mut smallest = f64::INFINITY;
    for outcome in 0..outcomes {
        let tables: Vec<Table> = strata.iter().map(|table| against_rest(table, outcome, &groups)).collect();
        let own: f64 = tables.iter().flat_map(|table| table.outcome).sum();
        if own.min(all - own) < OUTCOME_LABELS_MIN as f64 {
            continue;
        }
        if let Some(p) = one_against_rest(&tables) {
            smallest = smallest.min(p);
            tested += 1;
        }
    }
    let questions = if tested == 2 && outcomes == 2 { 1 } else { tested };
    (tested > 0).then(|| (smallest * f64::from(questions)).min(1.0))
}

fn count(table: &[DelayCounts]) -> u64 {
    table.iter().flatten().fold(0, |sum, count| sum.saturating_add(*count))
}

/// The group of each bucket: quarters of all labels.
fn groups(strata: &[Vec<DelayCounts>]) -> Option<[usize; DELAY_BUCKETS]> {
    let all = strata.iter().map(|table| count(table)).fold(0, u64::saturating_add);
    if all < LABELS_MIN {
        return None;
    }
    let mut before = 0_u64;
    Some(std::array::from_fn(|bucket| {
        let within: u64 = strata.iter().flatten().filter_map(|counts| counts.get(bucket)).sum();
        // By the middle of the bucket's labels, so that a full bucket does not leave the next group empty.
        let middle = (before + within / 2) as f64 / all as f64;
        before = before.saturating_add(within);
        ((middle * GROUPS as f64) as usize).min(GROUPS - 1)
    }))
}

fn against_rest(table: &[DelayCounts], outcome: usize, groups: &[usize; DELAY_BUCKETS]) -> Table {
    let mut sums = Table::default();
    for (place, counts) in table.iter().enumerate() {
        for (count, group) in counts.iter().zip(groups) {
            if let (Some(own), Some(all)) = (sums.outcome.get_mut(*group), sums.all.get_mut(*group)) {
                *all += *count as f64;
                *own += if place == outcome { *count as f64 } else { 0.0 };
            }
        }
    }
    sums
}

/// dᵀV⁻¹d with d = Σ (observed − expected) over strata and V the sum of their hypergeometric covariances,
/// against chi-squared. The last group follows from the others, and so does one that is always empty.
fn one_against_rest(tables: &[Table]) -> Option<f64> {
    let mut difference = [0.0; GROUPS];
    let mut covariance = [[0.0; GROUPS]; GROUPS];
    for Table { outcome, all } in tables {
        let (n, own): (f64, f64) = (all.iter().sum(), outcome.iter().sum());
        if n < 2.0 {
            continue;
        }
        let scale = own * (n - own) / (n * n * (n - 1.0));
        for (row, variances) in covariance.iter_mut().enumerate() {
            difference[row] += outcome[row] - own * all[row] / n;
            for (column, variance) in variances.iter_mut().enumerate() {
                let same = if row == column { n } else { 0.0 };
                *variance += scale * all[row] * (same - all[column]);
            }
        }
    }
    let (statistic, degrees) = quadratic_form(difference, covariance);
    (degrees > 0).then(|| chi_squared_sf(statistic, degrees as f64))
}

/// dᵀV⁻¹d by elimination, and the rank of V: directions without variance are left out.
fn quadratic_form(mut d: [f64; GROUPS], mut v: [[f64; GROUPS]; GROUPS]) -> (f64, u32) {
    let smallest = 1e-9 * (0..GROUPS).map(|at| v[at][at]).fold(0.0, f64::max);
    let (mut sum, mut rank) = (0.0, 0);
    let mut left: Vec<usize> = (0..GROUPS).collect();
    while let Some(place) =
        (0..left.len()).max_by(|a, b| v[left[*a]][left[*a]].total_cmp(&v[left[*b]][left[*b]]))
    {
        let pivot = left.swap_remove(place);
        if v[pivot][pivot] <= smallest {
            break;
        }
        sum += d[pivot] * d[pivot] / v[pivot][pivot];
        rank += 1;
        for &row in &left {
            let factor = v[row][pivot] / v[pivot][pivot];
            d[row] -= factor * d[pivot];
            for &column in &left {
                v[row][column] -= factor * v[pivot][column];
            }
        }
    }
    (sum, rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: [[u64; 4]; 2]) -> Vec<DelayCounts> {
        let spread =
            |counts: [u64; 4]| std::array::from_fn(|bucket| if bucket < 4 { counts[bucket] } else { 0 });
        rows.map(spread).to_vec()
    }

    #[test]
    fn one_stratum_gives_pearsons_statistic_but_for_n() {
        let rows = [[20.0, 30.0, 25.0, 25.0], [30.0, 20.0, 25.0, 25.0]];
        let all: [f64; 4] = std::array::from_fn(|group| rows[0][group] + rows[1][group]);
        let p = one_against_rest(&[Table { outcome: rows[0], all }]).expect("a p-value");
        // Pearson: 4·5²/25 = 4, times (n − 1)/n.
        assert!((p - chi_squared_sf(4.0 * 199.0 / 200.0, 3.0)).abs() < 1e-9, "{p}");
    }

    #[test]
    fn outcomes_that_come_at_other_times_are_noticed() {
        assert!(p_value(&[table([[100, 50, 50, 25], [25, 50, 50, 100]])]).expect("a p-value") < 1e-6);
        assert!(p_value(&[table([[100; 4], [300; 4]])]).expect("a p-value") > 0.99);
    }

    #[test]
    fn strata_that_differ_in_both_are_no_dependence() {
        // Within each, half of the labels are of either outcome at every delay.
        let strata =
            [table([[90, 90, 10, 10], [30, 30, 3, 3]]), table([[10, 10, 90, 90], [100, 100, 900, 900]])];
        assert!(p_value(&strata).expect("a p-value") > 0.9);
    }

    #[test]
    fn too_little_is_not_tested() {
        assert_eq!(p_value(&[]), None);
        assert_eq!(p_value(&[table([[5; 4], [5; 4]])]), None);
        assert_eq!(p_value(&[table([[1_000; 4], [1, 0, 0, 0]])]), None);
        assert_eq!(p_value(&[table([[1_000, 0, 0, 0], [1_000, 0, 0, 0]])]), None);
    }
}

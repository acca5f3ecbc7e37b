//! What is learnt from cohorts, and whether corrected values and their intervals hold the truth.

use super::*;
use crate::performance::random::{Random, assert_covers};
use crate::performance::value::{CostMatrix, loss_per_day};

const DAY: i64 = 86_400;
const SHARE: (f64, f64) = (0.0, 1.0);

fn days(days: i64) -> Span {
    Span::from_secs(days * DAY)
}

fn year() -> DelayBuckets {
    DelayBuckets::new(days(365))
}

/// How rows of one stratum are made.
#[derive(Clone, Copy)]
struct Nature {
    /// Share of outcome 1.
    rate: f64,
    /// Mean delays in days, by outcome.
    delays: [f64; 2],
    /// Share that is ever labelled.
    ever: f64,
    /// Chance of deciding 1, by outcome.
    decides: [f64; 2],
}

const PLAIN: Nature = Nature { rate: 0.05, delays: [20.0, 20.0], ever: 1.0, decides: [0.1, 0.7] };

/// A cohort and its labelled rows by stratum, outcome and decision.
struct Drawn {
    cohort: Cohort,
    cells: Vec<[[u64; 2]; 2]>,
}

fn draw(random: &mut Random, natures: &[Nature], age: i64, rows: u64) -> Drawn {
    let buckets = year();
    let empty = CohortStratum { labelled: vec![[0; DELAY_BUCKETS]; 2], unlabelled: 0 };
    let mut cohort = Cohort { age: days(age), strata: vec![empty; natures.len()] };
    let mut cells = vec![[[0; 2]; 2]; natures.len()];
    for row in 0..rows as usize {
        let stratum = row % natures.len();
        let nature = natures[stratum];
        let outcome = usize::from(random.chance(nature.rate));
        let decision = usize::from(random.chance(nature.decides[outcome]));
        let delay = random.exponential(nature.delays[outcome]);
        if delay <= age as f64 && random.chance(nature.ever) {
            let micros = (delay * DAY as f64 * 1e6) as i64;
            cohort.strata[stratum].labelled[outcome][buckets.bucket(Span::from_micros(micros))] += 1;
            cells[stratum][outcome][decision] += 1;
        } else {
            cohort.strata[stratum].unlabelled += 1;
        }
    }
    Drawn { cohort, cells }
}

/// The labelled rows with a loss for each outcome and decision.
fn groups(drawn: &Drawn, loss: impl Fn(usize, usize) -> f64) -> Vec<Labelled> {
    let mut groups = Vec::new();
    for (stratum, cells) in drawn.cells.iter().enumerate() {
        for (outcome, decisions) in cells.iter().enumerate() {
            let sum = |power: i32| -> f64 {
                let each = decisions.iter().enumerate();
                each.map(|(decision, rows)| *rows as f64 * loss(outcome, decision).powi(power)).sum()
            };
            groups.push(Labelled {
                age: drawn.cohort.age,
                stratum,
                outcome: Some(outcome),
                rows: decisions.iter().sum(),
                loss: sum(1),
                loss_squared: sum(2),
            });
        }
    }
    groups
}

fn history(random: &mut Random, natures: &[Nature], rows: u64) -> Vec<Cohort> {
    [1, 3, 6, 12, 20, 35, 60, 90, 150, 250, 380, 400]
        .map(|age| draw(random, natures, age, rows).cohort)
        .to_vec()
}

#[test]
fn buckets_cover_every_delay_without_a_gap() {
    let buckets = DelayBuckets::new(days(90));
    assert_eq!(buckets.bucket(Span::from_secs(-5)), 0);
    assert_eq!((buckets.bucket(days(90)), buckets.bucket(days(9_000))), (31, 31));
    assert_eq!((buckets.lower(0), buckets.upper(31)), (Span::ZERO, days(90)));
    for bucket in 0..DELAY_BUCKETS {
        assert_eq!(buckets.bucket(buckets.upper(bucket)), bucket);
        assert!(buckets.lower(bucket) < buckets.upper(bucket));
        assert_eq!(buckets.bucket(buckets.lower(bucket) + Span::from_micros(1)), bucket);
    }
    assert_eq!(DelayBuckets::new(Span::ZERO), DelayBuckets::new(Span::from_secs(1)));
}

#[test]
fn the_share_by_stratum_is_the_product_limit_estimate() {
    // 200 rows, half of them with a label in bucket 3; of an old cohort only, half of the rest in bucket 20.
    let buckets = year();
    let cohort = |age, late: u64| {
        let mut counts = [0; DELAY_BUCKETS];
        counts[3] = 100;
        counts[20] = late;
        let strata = vec![CohortStratum { labelled: vec![counts], unlabelled: 100 - late }];
        Cohort { age, strata }
    };
    let delays = Delays::fit(&[cohort(buckets.upper(10), 0), cohort(days(365), 50)], &buckets);
    let (share, error) = delays.labelled_share(buckets.upper(10), 0).expect("a share");
    assert!((share - 0.5).abs() < 1e-12 && (error - (0.25_f64 / 400.0).sqrt()).abs() < 1e-12);
    let (share, _) = delays.labelled_share(days(365), 0).expect("a share");
    assert!((share - 0.75).abs() < 1e-12);
    let weight = delays.weight(days(400), 0, None).expect("a weight");
    assert!((weight.weight - 4.0 / 3.0).abs() < 1e-12 && !weight.is_clipped);
    assert!(delays.weight(Span::from_secs(1), 0, None).expect("a weight").is_clipped);
    let summary = delays.summary();
    assert_eq!((summary.follow_up, summary.median_delay), (days(365), Some(buckets.upper(3))));
    assert_eq!((summary.method, summary.dependence), (Method::Stratum, None));
}

#[test]
fn a_stratum_with_few_rows_has_the_share_of_all() {
    let buckets = year();
    let mut fast = [0; DELAY_BUCKETS];
    fast[0] = 1_000;
    let mut rare = [0; DELAY_BUCKETS];
    rare[5] = 1;
    let strata = vec![
        CohortStratum { labelled: vec![fast], unlabelled: 1_000 },
        CohortStratum { labelled: vec![rare], unlabelled: 0 },
    ];
    let delays = Delays::fit(&[Cohort { age: days(400), strata }], &buckets);
    assert_eq!(delays.labelled_share(days(365), 1), delays.labelled_share(days(365), 7));
    assert!(delays.labelled_share(days(365), 1) != delays.labelled_share(days(365), 0));
}

#[test]
fn nothing_is_learnt_from_nothing() {
    let delays = Delays::fit(&[], &year());
    assert_eq!((delays.weight(days(1), 0, Some(1)), delays.labelled_share(days(1), 0)), (None, None));
    assert_eq!(delays.summary().coverage, None);
    let group = Labelled { age: days(1), stratum: 0, outcome: None, rows: 5, loss: 1.0, loss_squared: 1.0 };
    let error = delays.corrected_mean(&[group], SHARE).expect_err("no mean");
    assert_eq!(error.status(), "insufficient_data");
}

#[test]
fn a_rate_with_outcome_specific_delays_is_corrected() {
    // Naive rates of .123 and .017 at an age of ten days where the truth is .05.
    for (delays, naive) in [([36.94, 10.0], 0.123), ([10.0, 42.95], 0.017)] {
        let nature = Nature { delays, ..PLAIN };
        let mut random = Random::new(11);
        let learnt = Delays::fit(&history(&mut random, &[nature], 40_000), &year());
        assert_eq!(learnt.summary().method, Method::Outcome);
        let young = draw(&mut random, &[nature], 10, 400_000);
        let groups = groups(&young, |outcome, _| outcome as f64);
        let rows: u64 = groups.iter().map(|group| group.rows).sum();
        let seen = groups.iter().map(|group| group.loss).sum::<f64>() / rows as f64;
        assert!((seen - naive).abs() < 0.002, "naive {seen}");
        let corrected = learnt.corrected_mean(&groups, SHARE).expect("a mean");
        assert!((corrected.value - 0.05).abs() < 0.0015, "{corrected:?}");
        let interval = corrected.interval.expect("an interval");
        assert!(interval.low < 0.05 && 0.05 < interval.high && corrected.is_publishable);
    }
}

#[test]
fn labels_of_one_outcome_alone_give_no_rate() {
    let nature = Nature { delays: [400.0, 2.0], rate: 0.3, ..PLAIN };
    let mut random = Random::new(3);
    let learnt = Delays::fit(&history(&mut random, &[nature], 5_000), &year());
    assert_eq!(learnt.summary().method, Method::Outcome);
    assert_eq!(learnt.weight(days(1), 0, Some(1)), None);
    assert!(learnt.weight(days(200), 0, Some(1)).is_some());
    let young = draw(&mut random, &[nature], 1, 1_000);
    let groups = groups(&young, |outcome, _| outcome as f64);
    assert!(learnt.corrected_mean(&groups, SHARE).is_err());
}

#[test]
fn few_effective_labels_are_not_for_show() {
    let mut random = Random::new(5);
    let learnt = Delays::fit(&history(&mut random, &[PLAIN], 2_000), &year());
    let mean = |random: &mut Random, rows| {
        let young = draw(random, &[PLAIN], 20, rows);
        learnt.corrected_mean(&groups(&young, |outcome, _| outcome as f64), SHARE).expect("a mean")
    };
    let (few, many) = (mean(&mut random, 250), mean(&mut random, 2_500));
    assert!(!few.is_publishable && many.is_publishable);
    assert!((many.effective_rows - many.rows as f64).abs() < 1e-6 && many.represented > 2_000.0);
    let json = serde_json::to_string(&many).expect("json");
    assert!(json.contains(r#""method":"stratum""#) && !json.contains("null"), "{json}");
}

// === do intervals hold the truth? ===

fn matrix() -> CostMatrix {
    CostMatrix::new(&[vec![0.0, 5.0], vec![100.0, 20.0]]).expect("a matrix")
}

fn true_cost(natures: &[Nature]) -> f64 {
    let cost = |nature: &Nature| -> f64 {
        let of = |outcome: usize| {
            let wrong = nature.decides[outcome];
            matrix().cost(outcome, 0).unwrap_or(0.0) * (1.0 - wrong)
                + matrix().cost(outcome, 1).unwrap_or(0.0) * wrong
        };
        nature.rate * of(1) + (1.0 - nature.rate) * of(0)
    };
    natures.iter().map(cost).sum::<f64>() / natures.len() as f64
}

/// How often the intervals of the rate, of the mean cost and of the loss a day hold the truth.
fn coverage(natures: &[Nature], rows: u64, want: Method) -> [u32; 3] {
    let rate = natures.iter().map(|nature| nature.rate).sum::<f64>() / natures.len() as f64;
    let cost = true_cost(natures);
    let calm = [Nature { rate: 0.04, ..PLAIN }];
    let mut held = [0; 3];
    let mut chosen = 0;
    let mut random = Random::new(1);
    for _ in 0..RUNS {
        let learnt = Delays::fit(&history(&mut random, natures, 1_500), &year());
        chosen += u32::from(learnt.summary().method == want);
        let young = draw(&mut random, natures, 15, rows);
        let corrected = |loss: fn(usize, usize) -> f64| {
            learnt.corrected_mean(&groups(&young, loss), (0.0, 1_000.0)).expect("a mean")
        };
        let rates = corrected(|outcome, _| outcome as f64);
        let costs = corrected(|outcome, decision| matrix().cost(outcome, decision).unwrap_or(0.0));
        let old = draw(&mut random, &calm, 10_000, 20_000);
        let counts: Vec<u64> = old.cells.iter().flatten().flatten().copied().collect();
        let reference = matrix().mean_of_counts(&counts).expect("a mean");
        let loss = loss_per_day(&costs.mean(), &reference, 50.0).expect("a loss");
        let truth = [rate, cost, 50.0 * (cost - true_cost(&calm))];
        let intervals = [rates.interval, costs.interval, loss.interval];
        for ((held, truth), interval) in held.iter_mut().zip(truth).zip(intervals) {
            let interval = interval.expect("an interval");
            *held += u32::from(interval.low <= truth && truth <= interval.high);
        }
    }
    assert!(chosen + 3 >= RUNS, "{want:?} was chosen in {chosen} of {RUNS} runs");
    held
}

const RUNS: u32 = 500;

#[test]
fn intervals_corrected_by_outcome_hold_the_truth() {
    let slow = Nature { delays: [10.0, 40.0], rate: 0.1, ..PLAIN };
    for held in coverage(&[slow], 8_000, Method::Outcome) {
        assert_covers(held, RUNS);
    }
}

#[test]
fn intervals_corrected_by_stratum_hold_the_truth() {
    let natures = [
        Nature { delays: [10.0, 10.0], rate: 0.05, ..PLAIN },
        Nature { delays: [40.0, 40.0], rate: 0.25, ever: 0.7, ..PLAIN },
    ];
    for held in coverage(&natures, 6_000, Method::Stratum) {
        assert_covers(held, RUNS);
    }
}

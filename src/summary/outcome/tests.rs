use proptest::prelude::*;

use super::*;

fn binary(score: f64, decision: Option<u16>) -> Predicted {
    Predicted { values: [score].into(), class: decision, amount: Some(score * 1e3), query: None }
}

fn number(value: f64) -> Predicted {
    Predicted { values: [value].into(), class: None, amount: None, query: Some((value.abs() * 3.0) as u64) }
}

fn shapes() -> Vec<OutcomeShape> {
    let grid: Vec<f64> = (0..250).map(|step| f64::from(step * step) / 62_500.0).collect();
    let classes = ["a", "b", "c"].map(str::to_owned).to_vec();
    vec![
        OutcomeShape::Binary(BinaryShape::new(&grid, 0.3, true, true)),
        OutcomeShape::Multiclass(MulticlassShape::new(classes, true, true).expect("three classes")),
        OutcomeShape::Regression(RegressionShape::new(&grid, 0.4, 0.2)),
        OutcomeShape::Ranking,
    ]
}

/// A case of a task made from two numbers between 0 and 1.
fn case(shape: &OutcomeShape, a: f64, b: f64) -> (Predicted, Truth) {
    match shape {
        OutcomeShape::Binary(_) => (binary(a, None), Truth::Class(u16::from(b < a))),
        OutcomeShape::Multiclass(_) => {
            let values = [a, b * (1.0 - a), (1.0 - b) * (1.0 - a)].into();
            let predicted = Predicted { values, class: None, amount: Some(b), query: None };
            (predicted, Truth::Class(if a + b > 1.2 { 0 } else { 2 }))
        }
        OutcomeShape::Regression(_) => (number(a), Truth::Number(b - 0.2)),
        OutcomeShape::Ranking => (number(a), Truth::Number(b.round())),
    }
}

fn count(shape: &OutcomeShape, cases: &[(f64, f64)]) -> OutcomeSummary {
    let mut summary = shape.empty();
    for (a, b) in cases {
        let (predicted, truth) = case(shape, *a, *b);
        shape.predict(&mut summary, &predicted).expect("fits");
        shape.add(&mut summary, &predicted, truth, (a * 31.0) as u8).expect("fits");
    }
    summary
}

fn cases() -> impl Strategy<Value = Vec<(f64, f64)>> {
    prop::collection::vec((0.0..1.0_f64, 0.0..1.0_f64), 0..60)
}

proptest! {
    #[test]
    fn parts_add_up_to_the_whole_in_any_order(first in cases(), second in cases()) {
        for shape in shapes() {
            let whole = count(&shape, &[first.clone(), second.clone()].concat());
            let (one, two) = (count(&shape, &first), count(&shape, &second));
            let mut forward = one.clone();
            forward.merge(&two).expect("one shape");
            let mut backward = two;
            backward.merge(&one).expect("one shape");
            prop_assert_eq!(&forward, &whole);
            prop_assert_eq!(&backward, &whole);
        }
    }

    #[test]
    fn a_truth_that_is_taken_away_leaves_no_trace(kept in cases(), corrected in cases()) {
        for shape in shapes() {
            let mut expected = count(&shape, &kept);
            let mut summary = expected.clone();
            for (a, b) in &corrected {
                let (predicted, truth) = case(&shape, *a, *b);
                shape.predict(&mut expected, &predicted).expect("fits");
                shape.predict(&mut summary, &predicted).expect("fits");
                shape.add(&mut summary, &predicted, truth, 3).expect("fits");
            }
            for (a, b) in &corrected {
                let (predicted, truth) = case(&shape, *a, *b);
                shape.take_away(&mut summary, &predicted, truth, 3).expect("fits");
            }
            prop_assert_eq!(&summary, &expected);
        }
    }

    #[test]
    fn what_is_written_is_read_back(cases in cases()) {
        for shape in shapes() {
            let summary = count(&shape, &cases);
            prop_assert_eq!(OutcomeSummary::decode(&summary.encode()), Ok(summary));
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let framed = [vec![1], bytes].concat();
        let _ = OutcomeSummary::decode(&framed);
    }
}

#[test]
fn every_truncation_is_an_error() {
    for shape in shapes() {
        let bytes = count(&shape, &[(0.2, 0.9), (0.7, 0.1)]).encode();
        for end in 0..bytes.len() {
            assert!(OutcomeSummary::decode(&bytes[..end]).is_err(), "{}: cut at {end}", shape.task());
        }
    }
}

#[test]
fn strata_hold_every_prediction() {
    let cases: Vec<(f64, f64)> = (0..1_000).map(|i| (f64::from(i * 7 % 1_000) / 1_000.0, 0.5)).collect();
    for shape in shapes() {
        let strata = shape.predicted_by_stratum(&count(&shape, &cases));
        assert_eq!(strata.len(), shape.strata());
        assert_eq!(strata.iter().sum::<u64>(), 1_000, "{}", shape.task());
    }
}

#[test]
fn what_does_not_fit_the_task_is_refused() {
    let [two, three, regression, ranking] = shapes().try_into().expect("four shapes");
    assert_eq!(two.check(&binary(f64::NAN, None), None), Err(Unfit));
    assert_eq!(two.check(&binary(0.5, Some(2)), None), Err(Unfit));
    assert_eq!(two.check(&binary(0.5, None), Some(Truth::Number(1.0))), Err(Unfit));
    assert_eq!(three.check(&binary(0.5, None), None), Err(Unfit), "one score for three classes");
    assert_eq!(three.check(&binary(0.5, Some(1)), Some(Truth::Class(3))), Err(Unfit));
    assert_eq!(regression.check(&number(f64::INFINITY), None), Err(Unfit));
    assert_eq!(ranking.check(&number(0.5), Some(Truth::Number(-1.0))), Err(Unfit));
    assert_eq!(two.check(&binary(7.5, None), Some(Truth::Class(1))), Ok(()), "a margin orders too");
}

#[test]
fn a_score_at_the_threshold_has_a_bin_apart_from_those_below() {
    let shape = BinaryShape::new(&[0.1, 0.2], 0.37, true, false);
    assert_ne!(shape.bin(0.37), shape.bin(0.37_f64.next_down()));
}

#[test]
fn bins_of_errors_hold_what_they_say() {
    let shape = RegressionShape::new(&[], 5.0, 2.0);
    for error in [0.0, 1e-7, 2e-6, 2.1e-6, 0.3, 1.0, 7.7, 19_999.0, 1e9] {
        let (low, high) = shape.error_ends(shape.error_bin(error));
        let slack = 1e-9 * error;
        assert!(low <= error + slack && error <= high + slack, "{error} in {low}..{high}");
    }
}

#[test]
fn more_queries_than_are_kept_leave_the_same_sample_in_any_order() {
    let row = |relevance| RankedRow { score: 1.0, relevance };
    let (mut up, mut down) = (Queries::default(), Queries::default());
    for query in 0..2 * QUERIES_MAX as u64 {
        up.add(query, row(1.0));
        down.add(2 * QUERIES_MAX as u64 - 1 - query, row(1.0));
    }
    assert_eq!(up, down);
    assert!(up.is_sample() && up.len() == QUERIES_MAX);
}

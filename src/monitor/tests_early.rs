//! The early watch through the whole monitor: workers, owner, incident, restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::tests::{Memory, at, batch, event, monitor, plan, settings, stream, summarise};
use super::*;
use crate::incident::Status;
use crate::quality::REJECTED_RECORDS;

/// Windows of ten minutes, ticks of one.
const WINDOWS: [(i64, i64); 1] = [(600, 600)];

/// One event a second for so many minutes; `amount` is absent in every third from second 1,230 to 1,530. They
/// come in disorder within the lateness.
fn outage(minutes: i64) -> Vec<String> {
    (0..minutes * 60)
        .map(|second| {
            let time = (second - (second * 7) % 10).max(0);
            let country = if second % 2 == 0 { "DE" } else { "FR" };
            let amount = ((second * 37) % 100) as f64;
            if second % 3 == 0 && (1_230..1_530).contains(&second) {
                return format!(r#"{{"t":{time},"f":{{"country":"{country}"}},"ms":3.5}}"#);
            }
            event(time, amount, country)
        })
        .collect()
}

/// What is read from a partition, and how much of it at once.
struct Part {
    events: Vec<String>,
    offset: usize,
}

/// Runs partitions in the order and with the sizes that the seed says; after every `restart_every` batches
/// the monitor is made anew from what was committed, and what was not is read again.
fn run(plan: &Arc<Plan>, parts: &[Vec<String>], mut seed: u64, restart_every: usize) -> Memory {
    let partitions = i32::try_from(parts.len()).expect("few");
    let mut memory = Memory::default();
    let mut owner = monitor(plan, &memory, partitions);
    let mut parts: Vec<Part> =
        parts.iter().map(|events| Part { events: events.clone(), offset: 0 }).collect();
    let mut batches = 0_usize;
    while parts.iter().any(|part| part.offset < part.events.len()) {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let number = usize::try_from(seed >> 33).expect("31 bits") % parts.len();
        let part = &mut parts[number];
        let end =
            part.events.len().min(part.offset + 1 + usize::try_from((seed >> 40) % 150).expect("small"));
        let partition = i32::try_from(number).expect("few");
        let first = i64::try_from(part.offset).expect("small");
        let raw = batch(partition, first, &part.events[part.offset..end]);
        owner.ingest(summarise(plan, raw), at(0)).expect("in order");
        part.offset = end;
        batches += 1;
        if !seed.is_multiple_of(3) {
            memory.apply(owner.advance(at(0)).expect("joins"));
        }
        if batches.is_multiple_of(restart_every) {
            owner = monitor(plan, &memory, partitions);
            for (part, partition) in parts.iter_mut().zip(0..) {
                part.offset = usize::try_from(memory.position(partition)).expect("not negative");
            }
        }
    }
    memory.apply(owner.advance(at(0)).expect("joins"));
    memory
}

/// Every `of`-th event, from the first or a later one.
fn share(events: &[String], of: usize) -> Vec<Vec<String>> {
    (0..of).map(|part| events.iter().skip(part).step_by(of).cloned().collect()).collect()
}

/// The transitions without what depends on when they were made.
fn history(memory: &Memory) -> Vec<Incident> {
    memory.transitions.iter().map(|incident| Incident { positions: vec![], ..incident.clone() }).collect()
}

#[test]
fn an_outage_opens_an_incident_before_its_window_closes_and_resolves_after_quiet_rounds() {
    let plan = plan(&WINDOWS);
    let memory = run(&plan, &[outage(90)], 1, usize::MAX);
    let opened = &memory.transitions[0];
    assert_eq!(opened.status, Status::Open);
    assert_eq!(opened.opened_at, at(1_260), "the first tick with enough rows of it");
    assert_eq!(opened.window_start, at(1_200));
    assert_eq!(opened.features.len(), 1);
    assert_eq!(opened.features[0].name.as_ref(), "amount");
    assert_eq!(opened.features[0].test.as_deref(), Some("missing"));
    let words = opened.features[0].summary.clone().expect("words");
    assert!(words.contains("of 60 rows since 00:20 UTC, at most 0.6 % expected"), "{words}");
    assert!(!opened.baseline.is_empty());
    assert!(opened.retrained_at.is_empty(), "broken data is mended, not trained on");
    let first_window = memory.windows.iter().find(|window| window.verdict.alarm).expect("it alarms too");
    assert!(opened.opened_at < first_window.end);
    let opened = memory.transitions.iter().filter(|incident| incident.status == Status::Open).count();
    assert_eq!(opened, 1, "one incident");
    let last = memory.transitions.last().expect("transitions");
    assert_eq!(last.status, Status::Resolved);
    assert!(last.resolved_at >= Some(at(1_560 + 2 * 600)), "two quiet windows, not two quiet minutes");
}

#[test]
fn nothing_is_opened_when_nothing_is_wrong_or_the_watch_is_off() {
    let calm: Vec<String> = (0..5_400)
        .map(|second| event(second, (second % 100) as f64, if second % 2 == 0 { "DE" } else { "FR" }))
        .collect();
    assert!(run(&plan(&WINDOWS), &[calm], 1, usize::MAX).transitions.is_empty());
    let mut off = settings(&WINDOWS);
    off.early.early = false;
    off.incident.retrain = None;
    let off = Plan::new("cfg".into(), vec![stream()], vec![off])
        .with_shared(0, Arc::new(super::tests::baseline(1)));
    let memory = run(&Arc::new(off), &[outage(90)], 1, usize::MAX);
    assert_eq!(memory.transitions[0].opened_at, at(1_800), "when the window closes");
}

#[test]
fn a_storm_of_rejected_records_opens_an_incident_and_names_the_reason() {
    let plan = plan(&WINDOWS);
    let events: Vec<String> = (0..3_000)
        .map(|second| {
            if (1_310..1_400).contains(&second) && second % 2 == 0 {
                return "{".to_owned();
            }
            event(second, ((second * 37) % 100) as f64, if second % 4 < 2 { "DE" } else { "FR" })
        })
        .collect();
    let memory = run(&plan, &[events], 5, usize::MAX);
    let opened = &memory.transitions[0];
    assert_eq!((opened.status, opened.opened_at), (Status::Open, at(1_380)));
    assert_eq!(opened.features[0].name.as_ref(), REJECTED_RECORDS);
    let words = opened.features[0].summary.clone().expect("words");
    assert!(words.contains("most often as malformed"), "{words}");
}

#[test]
fn the_ticks_of_a_batch_add_up_to_its_counts() {
    let plan = plan(&WINDOWS);
    let odd = [r#""amount":null"#, r#""amount":"five","country":"DE""#, r#""amount":1,"country":[]"#];
    let events = |step: i64| -> Vec<String> {
        (0..100).map(|row| format!(r#"{{"t":{},"f":{{{}}}}}"#, row * step, odd[row as usize % 3])).collect()
    };
    for (step, ticks) in [(0, 1), (3, 5)] {
        let partial = summarise(&plan, batch(0, 0, &events(step)));
        let group = &partial.groups[0];
        assert_eq!(group.ticks.len(), ticks);
        assert_eq!(group.ticks.values().map(|tick| tick.rows).sum::<u64>(), group.summary.rows.events);
        for (column, summary) in (0..).zip(&group.summary.columns) {
            let bad = || group.ticks.values().filter_map(|tick| tick.columns.get(&column));
            let anomalies = summary.anomalies();
            assert!(anomalies.missing > 30 && anomalies.wrong_type == 33, "{anomalies:?}");
            assert_eq!(bad().map(|bad| bad.missing).sum::<u64>(), anomalies.missing);
            assert_eq!(bad().map(|bad| bad.wrong_type).sum::<u64>(), anomalies.wrong_type);
        }
    }
}

#[test]
fn late_events_are_counted_in_no_tick_that_is_over() {
    let plan = plan(&WINDOWS);
    let mut events: Vec<String> = (0..1_000)
        .map(|second| event(second, (second % 100) as f64, if second % 2 == 0 { "DE" } else { "FR" }))
        .collect();
    // All of the window that is open, but of a minute that is over by the lateness.
    let late: Vec<String> =
        (0..200).map(|row| format!(r#"{{"t":{},"f":{{"country":"DE"}}}}"#, 700 + row % 60)).collect();
    events.splice(900..900, late);
    let counted = run(&plan, &[events.clone()], 1, usize::MAX);
    assert!(counted.transitions.is_empty(), "{:?}", counted.transitions);
    assert_eq!(counted.counted, BTreeMap::from([("counted", 1_200)]), "in their window they are counted");
    // The same in time are an outage.
    events.drain(900..1_100);
    let in_time = (0..200).map(|row| format!(r#"{{"t":{},"f":{{"country":"DE"}}}}"#, 895 + row % 5));
    events.splice(900..900, in_time);
    assert_eq!(run(&plan, &[events], 1, usize::MAX).transitions.len(), 1);
}

#[test]
fn a_state_without_an_early_watch_is_gone_on_from() {
    let plan = plan(&WINDOWS);
    let memory = run(&plan, &[outage(10)], 1, usize::MAX);
    let mut state: serde_json::Value =
        serde_json::from_slice(memory.restored.state.as_deref().expect("a state")).expect("JSON");
    let model =
        state.pointer_mut("/models/credit").and_then(serde_json::Value::as_object_mut).expect("a model");
    assert!(model.remove("early").is_some());
    let restored = Restored { state: Some(state.to_string().into_bytes()), ..memory.restored.clone() };
    let (mut owner, notes) = Monitor::restore(Arc::clone(&plan), restored, &|_| None).expect("a sound state");
    assert!(notes.is_empty(), "{notes:?}");
    owner.advance(at(0)).expect("joins");
}

#[test]
fn another_length_of_ticks_begins_anew_and_the_incident_can_still_resolve() {
    let before = plan(&WINDOWS);
    let memory = run(&before, &[outage(22)], 1, usize::MAX);
    assert_eq!(memory.transitions.len(), 1);
    let mut without = settings(&WINDOWS);
    without.early.early = false;
    let without = Arc::new(
        Plan::new("cfg".into(), vec![stream()], vec![without])
            .with_shared(0, Arc::new(super::tests::baseline(1))),
    );
    let mut memory = memory.clone();
    let mut owner = monitor(&without, &memory, 1);
    let rest = &outage(90)[22 * 60..];
    owner.ingest(summarise(&without, batch(0, 22 * 60, rest)), at(0)).expect("in order");
    memory.apply(owner.advance(at(0)).expect("joins"));
    assert_eq!(memory.transitions.last().map(|incident| incident.status), Some(Status::Resolved));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn no_interleaving_batch_or_restart_changes_an_incident(seed in any::<u64>(), restart_every in 1usize..40) {
        let plan = plan(&WINDOWS);
        let mut events = outage(60);
        // Rejected ones stand between the others, and an own record of them ends a partition.
        (0..events.len()).filter(|row| row % 40 == 13 || (2_000..2_100).contains(row)).for_each(|row| events[row] = "{".to_owned());
        let parts = share(&events, 2);
        let (one, other) = (run(&plan, &parts, 1, usize::MAX), run(&plan, &parts, seed, restart_every));
        prop_assert!(!one.transitions.is_empty());
        prop_assert_eq!(history(&one), history(&other));
        prop_assert_eq!(&one.outbox, &other.outbox);
        prop_assert_eq!(one.results(), other.results());
    }
}

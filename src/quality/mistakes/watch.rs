//! Ticks that wait until they are complete, and the detectors that take them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::finding::Finding;
use super::reference::{Counts, Judged, Reference, floor_of};
use crate::event::{Span, Timestamp};
use crate::quality::evidence::worth_max;
use crate::quality::round::{News, Outcome, Round};
use crate::quality::{Report, Ticks, WAITING_MAX};
use crate::sequential::CountedBets;

/// A stream speaks from this share of the labels on that a window needs to be judged. Chance is ruled out by
/// the evidence; a rate that people are told should just not rest on a handful of cases.
const LABELS_SHARE: u64 = 10;

/// A version without labels for so many rounds is forgotten: labels may come in batches, a week apart where a
/// round is a day.
const SILENT_ROUNDS: i64 = 8;

/// A stream that is worth less is forgotten, as in the early watch.
const WORTH_MIN: f64 = 0.1;

/// Page's likelihood ratio needs a rate below 1.
const PAGE_RATE_MAX: f64 = 0.9999;

/// Labels without which a stream does not speak, where windows need `labels_min`.
pub fn labels_least(labels_min: u64) -> u64 {
    (labels_min / LABELS_SHARE).max(1)
}

/// The watch over a model's mistakes: all that is kept of it over a restart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// Length of a tick; zero when there is no watch.
    tick: Span,
    /// Ticks that end up to here have passed.
    passed: Option<Timestamp>,
    waiting: BTreeMap<Timestamp, Vec<VersionTick>>,
    /// What is known of each version, by its name and baseline.
    versions: Vec<Version>,
    round: Round,
}

/// The labels of a version in a tick.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct VersionTick {
    name: Option<String>,
    baseline: String,
    /// Labels and mistakes by the class that came true.
    classes: BTreeMap<u16, (u64, u64)>,
    /// The same by the class that was decided for.
    decisions: BTreeMap<u16, (u64, u64)>,
}

/// The detectors of a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Version {
    name: Option<String>,
    /// Id of its baseline, in hex. A baseline that was replaced counts apart: labels of its predictions still
    /// come, in any order.
    baseline: String,
    /// Start of the last passed tick with labels of it.
    seen: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    classes: BTreeMap<u16, Evidence>,
    /// What confirms it: the evidence by the class that was decided for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    decisions: BTreeMap<u16, Evidence>,
}

/// The evidence of a stream that has had mistakes lately; the others have none and need no place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Evidence {
    worths: [f64; CountedBets::BETS],
    /// Page's sum; the counts are those since it was last not above 0.
    page: f64,
    since: Timestamp,
    labels: u64,
    mistakes: u64,
}

/// A case whose truth became known.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The version.
    pub version: Option<&'a str>,
    /// Id of the baseline that the case was judged by, in hex.
    pub baseline: &'a str,
    /// When it was known: the time of the label, or of the prediction if that is later.
    pub time: Timestamp,
    /// What it showed.
    pub judged: Judged,
}

impl Known<'_> {
    /// When the truth of a prediction was known that has this time, and whose label came so long after it.
    /// A label may carry a time before its prediction's.
    pub fn at(prediction: Timestamp, delay: Span) -> Timestamp {
        prediction.max(prediction + delay)
    }
}

/// When there is an alarm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Mean number of ticks to a false alarm, at least.
    pub ticks_per_alarm: f64,
    /// Labels of a stream without which its rate says nothing; see [`labels_least`].
    pub labels_least: u64,
    /// Length of a round: the shortest window's.
    pub round: Span,
    /// An excess of at least this is news when the excess that was told is smaller.
    pub excess_critical: f64,
    /// Whether there is an open incident: it hears of quiet rounds, and an alarm without one is always told.
    pub is_open: bool,
}

/// Finds what is expected of a version on the baseline with this id; `None` for one that predicts no more,
/// whose labels say nothing that could still be mended, and for a baseline that was replaced.
pub type Lookup<'a> = &'a dyn Fn(Option<&str>, &str) -> Option<Arc<Reference>>;

/// A tick that passes.
#[derive(Clone, Copy)]
struct Passing<'a> {
    start: Timestamp,
    end: Timestamp,
    tick: &'a [VersionTick],
    limits: &'a Limits,
    /// What the worths of all streams must add up to for an alarm.
    threshold: f64,
    /// What those of the decisions must add up to.
    confirmed_at: f64,
    references: Lookup<'a>,
}

/// A stream with what is known of it, while a tick passes.
struct Stream<'a> {
    evidence: &'a Evidence,
    /// Whether it had labels in this tick.
    is_fresh: bool,
    finding: Finding,
}

impl Watch {
    /// Makes it one of these ticks. With another length everything begins anew.
    pub fn retune(&mut self, ticks: Option<Ticks>) {
        let length = ticks.map_or(Span::ZERO, |ticks| ticks.length());
        if self.tick != length {
            *self = Self { tick: length, ..Self::default() };
        }
    }

    /// The versions it knows, with the ids of their baselines.
    pub fn versions(&self) -> impl Iterator<Item = (Option<&str>, &str)> {
        self.versions.iter().map(|version| (version.name.as_deref(), version.baseline.as_str()))
    }

    // === counting ===

    /// Adds a case. If its tick has passed, it counts in the first that has not. Cases beyond
    /// `versions_max` versions or [`WAITING_MAX`] waiting ticks count in their windows only.
    pub fn add(&mut self, ticks: &Ticks, known: Known<'_>, versions_max: usize) {
        let start = ticks.start_of(self.passed.map_or(known.time, |passed| passed.max(known.time)));
        let is_full = self.waiting.len() >= WAITING_MAX && !self.waiting.contains_key(&start);
        if is_full || !self.knows(known, versions_max) {
            return;
        }
        let tick = self.waiting.entry(start).or_default();
        // In order of the names: partitions may bring versions in any order.
        let its = (known.version, known.baseline);
        let place = tick.binary_search_by(|other| (other.name.as_deref(), other.baseline.as_str()).cmp(&its));
        let place = place.unwrap_or_else(|place| {
            let (name, baseline) = (known.version.map(str::to_owned), known.baseline.to_owned());
            tick.insert(
                place,
                VersionTick { name, baseline, classes: BTreeMap::new(), decisions: BTreeMap::new() },
            );
            place
        });
        if let Some(counts) = tick.get_mut(place) {
            let Judged { class, decision, is_mistake } = known.judged;
            let sides = [counts.classes.entry(class), counts.decisions.entry(decision)];
            for (labels, mistakes) in sides.map(std::collections::btree_map::Entry::or_default) {
                *labels = labels.saturating_add(1);
                *mistakes = mistakes.saturating_add(u64::from(is_mistake));
            }
        }
    }

    /// A later label takes the place of one that was added, while that one's tick waits; once it has passed the
    /// case has been heard and does not count again.
    pub fn correct(&mut self, ticks: &Ticks, before: Known<'_>, now: Known<'_>, versions_max: usize) {
        if self.take_back(ticks, before) {
            self.add(ticks, now, versions_max);
        }
    }

    /// Takes back a case that was added; false if its tick does not wait any more.
    fn take_back(&mut self, ticks: &Ticks, known: Known<'_>) -> bool {
        let start = ticks.start_of(known.time);
        let Some(tick) = self.waiting.get_mut(&start) else { return false };
        let its = |counts: &&mut VersionTick| {
            counts.name.as_deref() == known.version && counts.baseline == known.baseline
        };
        let Some(counts) = tick.iter_mut().find(its) else { return false };
        let Judged { class, decision, is_mistake } = known.judged;
        let mistake = u64::from(is_mistake);
        let (Some(of_class), Some(of_decision)) =
            (counts.classes.get_mut(&class), counts.decisions.get_mut(&decision))
        else {
            return false;
        };
        // As many right ones, or wrong ones, as are to be taken away.
        let has = |(labels, mistakes): &(u64, u64)| {
            if is_mistake { *mistakes > 0 } else { *labels > *mistakes }
        };
        if !has(of_class) || !has(of_decision) {
            return false;
        }
        for (labels, mistakes) in [of_class, of_decision] {
            (*labels, *mistakes) = (*labels - 1, *mistakes - mistake);
        }
        counts.classes.retain(|_, (labels, _)| *labels > 0);
        counts.decisions.retain(|_, (labels, _)| *labels > 0);
        tick.retain(|counts| !counts.classes.is_empty());
        if tick.is_empty() {
            self.waiting.remove(&start);
        }
        true
    }

    /// Makes sure that a version has its place.
    fn knows(&mut self, known: Known<'_>, versions_max: usize) -> bool {
        let its = (known.version, known.baseline);
        let of = |version: &Version| (version.name.as_deref(), version.baseline.as_str()).cmp(&its);
        match self.versions.binary_search_by(of) {
            Ok(_) => true,
            Err(_) if self.versions.len() >= versions_max => false,
            Err(place) => {
                let (name, baseline) = (known.version.map(str::to_owned), known.baseline.to_owned());
                let (classes, decisions) = (BTreeMap::new(), BTreeMap::new());
                let fresh = Version { name, baseline, seen: None, classes, decisions };
                self.versions.insert(place, fresh);
                true
            }
        }
    }

    // === passing ===

    /// Takes the next tick that ends up to here, and says what is to be told of it. `None` when there is no
    /// further one. `references` gives what is expected of a version; one of which nothing is known is left
    /// out.
    pub fn pass(
        &mut self,
        up_to: Timestamp,
        limits: &Limits,
        references: Lookup<'_>,
    ) -> Option<Option<Report<Finding>>> {
        let next = self.waiting.first_entry().filter(|entry| *entry.key() + self.tick <= up_to);
        let Some(entry) = next else {
            self.passed = self.passed.max(Some(up_to));
            return None;
        };
        let (start, tick) = entry.remove_entry();
        let end = start + self.tick;
        self.passed = self.passed.max(Some(end));
        self.note_seen(start, &tick, limits);
        let (streams, decisions) = self.streams(references);
        let [threshold, confirmed_at] =
            [streams, decisions].map(|streams| limits.ticks_per_alarm * streams as f64);
        let passing = Passing { start, end, tick: &tick, limits, threshold, confirmed_at, references };
        self.take(passing);
        let report = self.report(passing);
        self.forget();
        Some(report)
    }

    /// Notes which versions have labels.
    fn note_seen(&mut self, start: Timestamp, tick: &[VersionTick], limits: &Limits) {
        let silence = Span::from_micros(limits.round.as_micros().saturating_mul(SILENT_ROUNDS));
        for version in &mut self.versions {
            if tick.iter().any(|counts| counts.is_of(version)) {
                version.seen = Some(start);
            } else if version.seen.is_some_and(|seen| seen + silence <= start) {
                version.seen = None;
                version.classes.clear();
                version.decisions.clear();
            }
        }
    }

    /// Number of streams that are watched now, and of decisions that confirm what they show.
    fn streams(&self, references: Lookup<'_>) -> (usize, usize) {
        let seen = self.versions.iter().filter(|version| version.seen.is_some());
        seen.filter_map(|version| version.reference(references))
            .fold((0, 0), |(streams, decisions), known| {
                (streams + known.streams(), decisions + known.decisions())
            })
    }

    /// Every detector takes the tick.
    fn take(&mut self, passing: Passing<'_>) {
        for version in &mut self.versions {
            let Some(reference) = version.reference(passing.references) else {
                // It starts anew if it comes back.
                version.classes.clear();
                version.decisions.clear();
                continue;
            };
            let Some(counts) = passing.tick.iter().find(|counts| counts.is_of(version)) else { continue };
            take_all(&mut version.classes, &counts.classes, |class| reference.expected(class), passing);
            let of_decision = |decision| reference.expected_of_decision(decision);
            take_all(&mut version.decisions, &counts.decisions, of_decision, passing);
        }
    }

    /// Whether the decisions bear an alarm out: their worths add up to it too, if any decision is watched.
    fn is_confirmed(&self, passing: Passing<'_>) -> bool {
        let evidence = self.versions.iter().flat_map(|version| version.decisions.values());
        let sum: f64 = evidence.map(Evidence::worth).sum();
        sum >= passing.confirmed_at
    }

    /// What is to be told, if anything.
    fn report(&mut self, passing: Passing<'_>) -> Option<Report<Finding>> {
        let Passing { start, end, limits, threshold, .. } = passing;
        let streams: Vec<Stream<'_>> =
            self.versions.iter().flat_map(|version| version.known(passing)).collect();
        let speaks =
            |stream: &&Stream<'_>| stream.is_large() && stream.evidence.labels >= limits.labels_least;
        let sum: f64 = streams.iter().filter(speaks).map(|stream| stream.finding.worth).sum();
        let is_confirmed = self.is_confirmed(passing);
        let is_over = sum > 0.0 && sum >= threshold && is_confirmed;
        let carries = |stream: &&Stream<'_>| stream.finding.worth >= limits.ticks_per_alarm;
        let carriers: Vec<&Stream<'_>> = streams.iter().filter(speaks).filter(carries).collect();
        let is_fresh = carriers.iter().any(|stream| stream.is_fresh);
        let mut findings: Vec<Finding> = Vec::new();
        if is_over && is_fresh {
            findings.extend(carriers.into_iter().map(|stream| stream.finding.clone()));
            findings.sort_by(|a, b| b.excess().total_cmp(&a.excess()));
        }
        let is_awake = |stream: &Stream<'_>| stream.finding.worth >= 1.0 && stream.is_large();
        let is_calm = !is_confirmed || !streams.iter().any(is_awake);
        let alarm: Vec<(String, f64)> =
            findings.iter().map(|finding| (label(finding), finding.excess())).collect();
        let outcome = Outcome { start, end, alarm: &alarm, is_over, is_calm };
        let Limits { round, excess_critical, is_open, .. } = *limits;
        let round_start = self.round.start(start, round);
        let say = self.round.pass(outcome, News { round, excess_critical, is_open })?;
        Some(Report::new(say, end, round_start, findings, |finding| finding.since))
    }

    /// Lets go of what says nothing any more.
    fn forget(&mut self) {
        let Self { versions, waiting, .. } = self;
        for version in versions.iter_mut() {
            version.classes.retain(|_, evidence| evidence.worth() >= WORTH_MIN);
            version.decisions.retain(|_, evidence| evidence.worth() >= WORTH_MIN);
        }
        let waits = |version: &Version| waiting.values().flatten().any(|counts| counts.is_of(version));
        versions.retain(|version| version.seen.is_some() || waits(version));
    }
}

impl VersionTick {
    fn is_of(&self, version: &Version) -> bool {
        self.name == version.name && self.baseline == version.baseline
    }
}

impl Stream<'_> {
    /// Whether the rate is so far over the expected one that it matters.
    fn is_large(&self) -> bool {
        self.finding.rate() >= self.finding.expected + floor_of(self.finding.expected)
    }
}

impl Version {
    fn reference(&self, references: Lookup<'_>) -> Option<Arc<Reference>> {
        references(self.name.as_deref(), &self.baseline)
    }

    /// Every stream of the version that has evidence.
    fn known<'a>(&'a self, passing: Passing<'_>) -> Vec<Stream<'a>> {
        let Some(reference) = self.reference(passing.references) else { return Vec::new() };
        let counts = passing.tick.iter().find(|counts| counts.is_of(self));
        let stream = |(class, evidence): (&u16, &'a Evidence)| {
            let known = reference.class(*class)?;
            let finding = Finding {
                version: self.name.clone(),
                baseline: self.baseline.clone(),
                class: known.name.clone(),
                usual_error: reference.usual_error(),
                since: evidence.since,
                labels: evidence.labels,
                mistakes: evidence.mistakes,
                expected: known.expected?,
                training_rate: known.counts.rate(),
                training_labels: known.counts.labels,
                worth: evidence.worth(),
                is_calibrated: reference.is_calibrated(),
            };
            let is_fresh = counts.is_some_and(|counts| counts.classes.contains_key(class));
            Some(Stream { evidence, is_fresh, finding })
        };
        self.classes.iter().filter_map(stream).collect()
    }
}

impl Evidence {
    fn new(start: Timestamp) -> Self {
        Self { worths: [0.0; CountedBets::BETS], page: 0.0, since: start, labels: 0, mistakes: 0 }
    }

    fn take(&mut self, shown: Counts, expected: f64, passing: Passing<'_>) {
        if self.page <= 0.0 || self.worth() < 1.0 {
            *self = Self { worths: self.worths, ..Self::new(passing.start) };
        }
        self.labels = self.labels.saturating_add(shown.labels);
        self.mistakes = self.mistakes.saturating_add(shown.mistakes);
        let high = (expected + floor_of(expected)).min(PAGE_RATE_MAX);
        let right = shown.labels.saturating_sub(shown.mistakes) as f64;
        let cap = worth_max(passing.threshold.max(passing.confirmed_at));
        let grown =
            shown.mistakes as f64 * (high / expected).ln() + right * ((1.0 - high) / (1.0 - expected)).ln();
        // Held as the bets are, so that a long break does not count for long once it is over.
        self.page = (self.page + grown).min(cap.ln());
        CountedBets::new(expected).update(&mut self.worths, shown.labels, shown.mistakes, cap);
    }

    fn worth(&self) -> f64 {
        CountedBets::mean(&self.worths)
    }
}

/// Every detector of one side takes its counts of a tick.
fn take_all(
    known: &mut BTreeMap<u16, Evidence>,
    counts: &BTreeMap<u16, (u64, u64)>,
    expected: impl Fn(u16) -> Option<f64>,
    passing: Passing<'_>,
) {
    for (class, (labels, mistakes)) in counts {
        let Some(expected) = expected(*class) else { continue };
        if *mistakes > 0 || known.contains_key(class) {
            let evidence = known.entry(*class).or_insert_with(|| Evidence::new(passing.start));
            evidence.take(Counts { labels: *labels, mistakes: *mistakes }, expected, passing);
        }
    }
}

/// A stream's name among those people were told of.
fn label(finding: &Finding) -> String {
    let version = finding.version.as_deref().unwrap_or_default();
    format!("{} {version}", finding.name())
}

//! The owner's side: ticks that wait until they are complete, and the detectors that take them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::evidence::{Evidence, Shown, worth_max};
use super::expected::{Expected, RATE_WATCHED_MAX};
use super::finding::{Finding, REJECTED_RECORDS, Trouble};
use super::round::{self, News, Report, Round};
use super::ticks::{Bad, TickRows, Ticks};
use crate::event::{ColumnKind, RejectReason, Role, Span, Timestamp};
use crate::sequential::CountedBets;

/// Most ticks that wait at once: two weeks of minutes, by which one partition may be ahead of another. Rows
/// of further ones count in their windows only.
pub const WAITING_MAX: usize = 20_000;

/// The early watch of a model: all that is kept of it over a restart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// Length of a tick; zero when there is no watch.
    tick: Span,
    /// Ticks that end up to here have passed.
    passed: Option<Timestamp>,
    waiting: BTreeMap<Timestamp, Tick>,
    /// What is known of each version, by its name.
    versions: Vec<Version>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rejected: Option<Evidence>,
    round: Round,
}

/// The counts of a tick.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Tick {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    rejected: BTreeMap<RejectReason, u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    versions: Vec<VersionTick>,
}

/// The counts of a version in a tick.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct VersionTick {
    version: Option<String>,
    /// Rows by topic: which columns they carry follows from it.
    rows: BTreeMap<Arc<str>, u64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    columns: BTreeMap<u32, Bad>,
}

/// The detectors of a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Version {
    name: Option<String>,
    /// Id of its baseline, in hex: the columns are those of this one.
    baseline: String,
    /// Start of the last passed tick with rows of it.
    seen: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    missing: BTreeMap<u32, Evidence>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    wrong_type: BTreeMap<u32, Evidence>,
}

/// Where the rows of a tick came from.
#[derive(Debug, Clone, Copy)]
pub struct Arrived<'a> {
    /// The version.
    pub version: Option<&'a str>,
    /// Id of the baseline they were counted on, in hex.
    pub baseline: &'a str,
    /// The topic.
    pub topic: &'a Arc<str>,
    /// The newest event time that their partition had shown before.
    pub carried: Option<Timestamp>,
}

/// When there is an alarm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Mean number of ticks to a false alarm, at least.
    pub ticks_per_alarm: f64,
    /// How far over the expected rate a rate must be to alarm, 0 to 1.
    pub rate_floor: f64,
    /// Rows without which a rate says nothing.
    pub rows_min: u64,
    /// Length of a round: the shortest window's.
    pub round: Span,
    /// Share of rejected records that is expected.
    pub rejected_share_expected: f64,
    /// An excess of at least this is news when the excess that was told is smaller.
    pub excess_critical: f64,
    /// Whether there is an open incident: it hears of quiet rounds, and an alarm without one is always told.
    pub is_open: bool,
}

/// Finds what is expected of a version on the baseline with this id.
pub type Lookup<'a> = &'a dyn Fn(Option<&str>, &str) -> Option<Arc<Expected>>;

/// A tick that passes.
#[derive(Clone, Copy)]
struct Passing<'a> {
    start: Timestamp,
    end: Timestamp,
    tick: &'a Tick,
    limits: &'a Limits,
    /// What the worths of all streams must add up to for an alarm.
    threshold: f64,
    expected: Lookup<'a>,
}

impl Passing<'_> {
    /// Most that a bet may be worth: one alone may carry the whole.
    fn cap(&self) -> f64 {
        worth_max(self.threshold)
    }
}

/// A stream with what is known of it, while a tick passes.
struct Stream<'a> {
    evidence: &'a Evidence,
    expected: f64,
    /// Whether it had rows in this tick.
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

    /// Adds what a batch holds of each tick. Ticks that were over for its partition, or have passed, are left
    /// out: those rows count in their window only.
    pub fn add(
        &mut self,
        ticks: &Ticks,
        arrived: Arrived<'_>,
        counts: BTreeMap<Timestamp, TickRows>,
        versions_max: usize,
    ) {
        let over = |start| arrived.carried.is_some_and(|newest| ticks.is_over(start, newest));
        if counts.keys().all(|start| over(*start)) || !self.knows(arrived, versions_max) {
            return;
        }
        for (start, counted) in counts.into_iter().filter(|(start, _)| !over(*start)) {
            if let Some(tick) = self.open(ticks, start) {
                tick.add(arrived, counted);
            }
        }
    }

    /// Adds a rejected record, at the newest time its partition had shown. If that tick has passed, for the
    /// partition was taken to be idle, it counts in the first that has not.
    pub fn reject(&mut self, ticks: &Ticks, reason: RejectReason, reached: Timestamp) {
        // The tick that holds the end of what has passed has not passed.
        let time = self.passed.map_or(reached, |passed| passed.max(reached));
        if let Some(tick) = self.open(ticks, ticks.start_of(time)) {
            *tick.rejected.entry(reason).or_default() += 1;
        }
    }

    /// The waiting tick with this start; `None` if it has passed or there are too many.
    fn open(&mut self, ticks: &Ticks, start: Timestamp) -> Option<&mut Tick> {
        let has_passed = self.passed.is_some_and(|passed| ticks.end_of(start) <= passed);
        let is_full = self.waiting.len() >= WAITING_MAX && !self.waiting.contains_key(&start);
        (!has_passed && !is_full).then(|| self.waiting.entry(start).or_default())
    }

    /// Makes sure that a version has its place; one with a new baseline begins anew.
    fn knows(&mut self, arrived: Arrived<'_>, versions_max: usize) -> bool {
        let its = |name: &Option<String>| name.as_deref() == arrived.version;
        let fresh = || Version {
            name: arrived.version.map(str::to_owned),
            baseline: arrived.baseline.to_owned(),
            seen: None,
            missing: BTreeMap::new(),
            wrong_type: BTreeMap::new(),
        };
        let is_full = self.versions.len() >= versions_max;
        match self.versions.iter_mut().find(|version| its(&version.name)) {
            Some(version) if version.baseline == arrived.baseline => true,
            Some(version) => {
                *version = fresh();
                for tick in self.waiting.values_mut() {
                    tick.versions.retain(|tick| !its(&tick.version));
                }
                true
            }
            None if is_full => false,
            None => {
                self.versions.push(fresh());
                self.versions.sort_by(|a, b| a.name.cmp(&b.name));
                true
            }
        }
    }

    // === passing ===

    /// Takes the next tick that ends up to here, and says what is to be told of it. `None` when there is no
    /// further one. `expected` gives what is expected of a version; one of which nothing is known is
    /// left out.
    pub fn pass(
        &mut self,
        up_to: Timestamp,
        limits: &Limits,
        expected: Lookup<'_>,
    ) -> Option<Option<Report>> {
        let next = self.waiting.first_entry().filter(|entry| *entry.key() + self.tick <= up_to);
        let Some(entry) = next else {
            self.passed = self.passed.max(Some(up_to));
            return None;
        };
        let (start, tick) = entry.remove_entry();
        let end = start + self.tick;
        self.passed = self.passed.max(Some(end));
        self.note_seen(start, &tick, limits);
        let threshold = limits.ticks_per_alarm * self.streams(limits, expected) as f64;
        let passing = Passing { start, end, tick: &tick, limits, threshold, expected };
        self.take(passing);
        let found = self.find(passing);
        let report = self.report(passing, found);
        self.forget();
        Some(report)
    }

    /// Notes which versions are in use. One that had no rows for a round is let go of: after a roll-back its
    /// trouble would never be over.
    fn note_seen(&mut self, start: Timestamp, tick: &Tick, limits: &Limits) {
        for version in &mut self.versions {
            if tick.versions.iter().any(|known| known.version == version.name) {
                version.seen = Some(start);
            } else if version.seen.is_some_and(|seen| seen + limits.round <= start) {
                version.seen = None;
                version.missing.clear();
                version.wrong_type.clear();
            }
        }
    }

    /// Number of streams that are watched now.
    fn streams(&self, limits: &Limits, expected: Lookup<'_>) -> usize {
        let seen = self.versions.iter().filter(|version| version.seen.is_some());
        let of_versions: usize =
            seen.filter_map(|version| version.expected(expected)).map(|known| known.streams()).sum();
        of_versions + usize::from(rejected_bound(limits).is_some())
    }

    /// Every detector takes the tick.
    fn take(&mut self, passing: Passing<'_>) {
        for counts in &passing.tick.versions {
            if let Some(version) = self.versions.iter_mut().find(|version| version.name == counts.version) {
                version.take(counts, passing);
            }
        }
        let (rows, bad) = records(passing.tick);
        let Some(bound) = rejected_bound(passing.limits).filter(|_| rows > 0) else { return };
        if bad > 0 || self.rejected.is_some() {
            let evidence = self.rejected.get_or_insert_with(|| Evidence::new(passing.start));
            let shown = Shown { start: passing.start, rows, bad, reasons: &passing.tick.rejected };
            evidence.take(shown, &CountedBets::new(bound), passing.cap(), passing.limits.round);
        }
    }

    /// Every stream that has evidence.
    fn known(&self, passing: Passing<'_>) -> Vec<Stream<'_>> {
        let tick = passing.tick;
        let mut streams = Vec::new();
        for version in &self.versions {
            let counts = tick.versions.iter().find(|counts| counts.version == version.name);
            let Some(known) = version.expected(passing.expected) else { continue };
            for (trouble, sides) in
                [(Trouble::Missing, &version.missing), (Trouble::WrongType, &version.wrong_type)]
            {
                streams.extend(
                    sides
                        .iter()
                        .filter_map(|(at, evidence)| version.stream(trouble, *at, evidence, &known, counts)),
                );
            }
        }
        if let (Some(evidence), Some(bound)) = (&self.rejected, rejected_bound(passing.limits)) {
            let (rows, _) = records(tick);
            streams.push(Stream {
                evidence,
                expected: bound,
                is_fresh: rows > 0,
                finding: rejected(evidence, bound, self.only_version()),
            });
        }
        streams
    }

    /// The version of all events, if there is one.
    fn only_version(&self) -> Option<String> {
        let mut seen = self.versions.iter().filter(|version| version.seen.is_some());
        match (seen.next(), seen.next()) {
            (Some(only), None) => only.name.clone(),
            _ => None,
        }
    }

    /// The streams that carry an alarm, and whether all are calm.
    fn find(&self, passing: Passing<'_>) -> Found {
        let Passing { limits, .. } = passing;
        let streams = self.known(passing);
        let is_large = |stream: &Stream<'_>| stream.evidence.rate() >= stream.expected + limits.rate_floor;
        let speaks = |stream: &&Stream<'_>| is_large(stream) && stream.evidence.rows() >= limits.rows_min;
        let sum: f64 = streams.iter().filter(speaks).map(|stream| stream.evidence.worth()).sum();
        let is_over = sum > 0.0 && sum >= passing.threshold;
        let carries = |stream: &&Stream<'_>| stream.evidence.worth() >= limits.ticks_per_alarm;
        let carriers: Vec<&Stream<'_>> = streams.iter().filter(speaks).filter(carries).collect();
        let is_fresh = carriers.iter().any(|stream| stream.is_fresh);
        let findings = carriers.into_iter().map(|stream| stream.finding.clone());
        Found {
            is_over,
            is_calm: streams.iter().all(|stream| !stream.evidence.is_awake() || !is_large(stream)),
            findings: if is_over && is_fresh { ranked(findings.collect()) } else { Vec::new() },
            round_start: self.round.start(passing.start, limits.round),
        }
    }

    /// What is to be told, if anything; see the module on rounds.
    fn report(&mut self, passing: Passing<'_>, found: Found) -> Option<Report> {
        let Passing { start, end, limits, .. } = passing;
        let alarm: Vec<(String, f64)> =
            found.findings.iter().map(|finding| (label(finding), finding.excess())).collect();
        let Found { is_over, is_calm, findings, round_start } = found;
        let outcome = round::Outcome { start, end, alarm: &alarm, is_over, is_calm };
        let (round, excess_critical, is_open) = (limits.round, limits.excess_critical, limits.is_open);
        let say = self.round.pass(outcome, News { round, excess_critical, is_open })?;
        Some(Report::new(say, end, round_start, findings, |finding| finding.since))
    }

    /// Lets go of what says nothing any more.
    fn forget(&mut self) {
        for version in &mut self.versions {
            version.missing.retain(|_, evidence| !evidence.is_spent());
            version.wrong_type.retain(|_, evidence| !evidence.is_spent());
        }
        self.rejected = self.rejected.take().filter(|evidence| !evidence.is_spent());
        let waits = |name: &Option<String>| {
            self.waiting.values().any(|tick| tick.versions.iter().any(|counts| counts.version == *name))
        };
        if self.versions.iter().any(|version| version.seen.is_none()) {
            let kept: Vec<bool> =
                self.versions.iter().map(|version| version.seen.is_some() || waits(&version.name)).collect();
            let mut kept = kept.into_iter();
            self.versions.retain(|_| kept.next().unwrap_or(true));
        }
    }
}

impl Tick {
    fn add(&mut self, arrived: Arrived<'_>, counted: TickRows) {
        // In order of the names: partitions may bring versions in any order.
        let name = arrived.version;
        let place = self.versions.binary_search_by(|known| known.version.as_deref().cmp(&name));
        let place = place.unwrap_or_else(|place| {
            self.versions
                .insert(place, VersionTick { version: name.map(str::to_owned), ..VersionTick::default() });
            place
        });
        let Some(mine) = self.versions.get_mut(place) else { return };
        let rows = mine.rows.entry(Arc::clone(arrived.topic)).or_default();
        *rows = rows.saturating_add(counted.rows);
        counted
            .columns
            .into_iter()
            .for_each(|(column, bad)| mine.columns.entry(column).or_default().add(bad));
    }
}

/// What a tick led to.
struct Found {
    /// Whether the worths add up to an alarm.
    is_over: bool,
    /// Whether no stream has evidence of a rate that is large enough to alarm.
    is_calm: bool,
    /// The streams that carry the alarm, if one of them had rows in this tick.
    findings: Vec<Finding>,
    round_start: Timestamp,
}

impl Version {
    fn expected(&self, lookup: Lookup<'_>) -> Option<Arc<Expected>> {
        lookup(self.name.as_deref(), &self.baseline)
    }

    /// Every detector of the version takes the tick.
    fn take(&mut self, counts: &VersionTick, passing: Passing<'_>) {
        let Some(known) = self.expected(passing.expected) else { return };
        let none = BTreeMap::new();
        for (place, (column, at)) in known.columns.iter().zip(0_u32..).enumerate() {
            let rows = known.rows_of(place, &counts.rows);
            let bad = counts.columns.get(&at).copied().unwrap_or_default();
            let sides = [
                (&mut self.missing, column.missing, bad.missing),
                (&mut self.wrong_type, column.wrong_type, bad.wrong_type),
            ];
            for (evidence, bound, bad) in sides {
                let Some(bound) = bound.filter(|_| rows > 0) else { continue };
                if bad > 0 || evidence.contains_key(&at) {
                    let shown = Shown { start: passing.start, rows, bad, reasons: &none };
                    let evidence = evidence.entry(at).or_insert_with(|| Evidence::new(passing.start));
                    evidence.take(shown, &CountedBets::new(bound), passing.cap(), passing.limits.round);
                }
            }
        }
    }

    fn stream<'a>(
        &self,
        trouble: Trouble,
        at: u32,
        evidence: &'a Evidence,
        known: &Expected,
        counts: Option<&VersionTick>,
    ) -> Option<Stream<'a>> {
        let place = usize::try_from(at).ok()?;
        let column = known.columns.get(place)?;
        let expected = match trouble {
            Trouble::Missing => column.missing?,
            _ => column.wrong_type?,
        };
        let finding = Finding {
            name: Arc::clone(&column.spec.name),
            role: column.spec.role,
            kind: column.spec.kind,
            trouble,
            version: self.name.clone(),
            baseline: self.baseline.clone(),
            since: evidence.since(),
            rows: evidence.rows(),
            bad: evidence.bad(),
            expected,
            training_values: column.values,
            reason: None,
            is_calibrated: known.is_calibrated,
        };
        let is_fresh = counts.is_some_and(|counts| known.rows_of(place, &counts.rows) > 0);
        Some(Stream { evidence, expected, is_fresh, finding })
    }
}

fn rejected(evidence: &Evidence, expected: f64, version: Option<String>) -> Finding {
    Finding {
        name: REJECTED_RECORDS.into(),
        role: Role::Feature,
        kind: ColumnKind::Categorical,
        trouble: Trouble::Rejected,
        version,
        baseline: String::new(),
        since: evidence.since(),
        rows: evidence.rows(),
        bad: evidence.bad(),
        expected,
        training_values: 0,
        reason: evidence.reason(),
        is_calibrated: true,
    }
}

/// The rate of rejected records that is expected; `None` when they are not watched.
fn rejected_bound(limits: &Limits) -> Option<f64> {
    let share = limits.rejected_share_expected;
    (share <= RATE_WATCHED_MAX).then_some(share)
}

/// All records of a tick, and the rejected ones.
fn records(tick: &Tick) -> (u64, u64) {
    let rejected = tick.rejected.values().fold(0, |sum: u64, n| sum.saturating_add(*n));
    let counted = tick.versions.iter().flat_map(|counts| counts.rows.values());
    (counted.fold(rejected, |sum, n| sum.saturating_add(*n)), rejected)
}

/// A stream's name among those people were told of.
fn label(finding: &Finding) -> String {
    format!("{} {}", finding.trouble.name(), finding.name)
}

/// The furthest over what is expected first, each column once.
fn ranked(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|a, b| {
        b.excess()
            .total_cmp(&a.excess())
            .then_with(|| a.name.cmp(&b.name))
            .then(a.trouble.cmp(&b.trouble))
            .then_with(|| a.version.cmp(&b.version))
    });
    let mut seen = BTreeSet::new();
    findings.retain(|finding| seen.insert(Arc::clone(&finding.name)));
    findings
}

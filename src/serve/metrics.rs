//! Metrics: every name is declared here, and nothing else of the program knows their types.
//!
//! Invariant: the number of time series is bounded by the configuration. A topic, model or channel that
//! the configuration does not name counts as `other`.
//!
//! To add a metric: a field, a line in [`Metrics::new`], a method, and its name in the test below.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram as Quantiles;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};
use serde::Serialize;

use crate::event::{RejectReason, Timestamp};
use crate::monitor::{BudgetView, JoinView};
use crate::performance::Reading;
use crate::store::{NewestPerformance, PerformanceRow, Store, StoreError};

/// What the page of metrics calls itself.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a label says instead of a name that the configuration does not have.
const OTHER: &str = "other";

/// The outcome of an event that reached its window.
const COUNTED: &str = "counted";

/// From labels.
const REALISED: &str = "realised";

/// Without labels.
const ESTIMATED: &str = "estimated";

/// Largest time from event to alert that is told apart, in milliseconds: a week.
const EVENT_TO_ALERT_MS_MAX: u64 = 7 * 86_400_000;

type FloatGauge = Gauge<f64, std::sync::atomic::AtomicU64>;

/// Names that may appear as labels: what the configuration has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// Topics.
    pub topics: BTreeSet<String>,
    /// Models.
    pub models: BTreeSet<String>,
    /// Channels.
    pub channels: BTreeSet<String>,
}

/// What came of one attempt to deliver a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The receiver has it.
    Delivered,
    /// To be tried again.
    Retried,
    /// Given up.
    Dead,
}

impl Attempt {
    fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retried => "retried",
            Self::Dead => "dead",
        }
    }
}

/// Time from event to alert since the process started, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EventToAlert {
    /// Alerts that were timed.
    pub alerts: u64,
    /// Median.
    pub p50: f64,
    /// 90 of 100 were faster.
    pub p90: f64,
    /// 99 of 100 were faster.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

// === labels ===

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    topic: String,
    model: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartitionLabels {
    topic: String,
    partition: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabel {
    model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CalibrationLabels {
    model: String,
    version: String,
    length: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LengthLabels {
    model: String,
    length: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PerformanceLabels {
    model: String,
    metric: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    model: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MoneyLabels {
    model: String,
    currency: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct JoinLabels {
    model: String,
    outcome: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChannelLabel {
    channel: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeliveryLabels {
    channel: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QuantileLabel {
    quantile: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

/// Everything the process counts and times.
#[derive(Debug)]
pub struct Metrics {
    labels: Labels,
    registry: Registry,
    events: Family<EventLabels, Counter>,
    kafka_lag: Family<PartitionLabels, Gauge>,
    source_paused: Gauge,
    watermark_delay: Family<ModelLabel, FloatGauge>,
    windows_closed: Family<ModelLabel, Counter>,
    window_test: Histogram,
    alarms: Family<ModelLabel, Counter>,
    incidents_open: Family<ModelLabel, Gauge>,
    false_alarms_allowed: Family<ModelLabel, FloatGauge>,
    false_alarms_spent: Family<ModelLabel, FloatGauge>,
    alarms_in_period: Family<ModelLabel, Gauge>,
    calibrated: Family<CalibrationLabels, Gauge>,
    reference_windows: Family<CalibrationLabels, FloatGauge>,
    promise_void: Family<LengthLabels, Gauge>,
    performance: Family<PerformanceLabels, FloatGauge>,
    performance_delay: Family<KindLabels, FloatGauge>,
    label_coverage: Family<ModelLabel, FloatGauge>,
    loss_per_day: Family<MoneyLabels, FloatGauge>,
    labels_joined: Family<JoinLabels, Counter>,
    predictions_waiting: Family<ModelLabel, Gauge>,
    labels_waiting: Family<ModelLabel, Gauge>,
    join_journal: Family<ModelLabel, Gauge>,
    join_index: Family<ModelLabel, Gauge>,
    outbox_waiting: Family<ChannelLabel, Gauge>,
    outbox_oldest: Family<ChannelLabel, FloatGauge>,
    deliveries: Family<DeliveryLabels, Counter>,
    delivery: Histogram,
    event_to_alert: Histogram,
    event_to_alert_quantile: Family<QuantileLabel, FloatGauge>,
    event_to_alert_quantiles: Mutex<Option<Quantiles<u64>>>,
    commit: Histogram,
    commits: Counter,
    dead_letters: Gauge,
    store_size: Gauge,
    memory: Gauge,
}

/// Registers metrics of one registry, so that [`Metrics::new`] reads as a list.
struct Registrar(Registry);

impl Registrar {
    fn add<M: Metric + Clone>(&mut self, name: &str, about: &str, metric: M) -> M {
        self.0.register(name, about, metric.clone());
        metric
    }

    fn add_with<M: Metric + Clone>(&mut self, name: &str, unit: Unit, about: &str, metric: M) -> M {
        self.0.register_with_unit(name, about, unit, metric.clone());
        metric
    }
}

impl Metrics {
    /// Metrics at zero. `labels` are the names that may appear.
    #[rustfmt::skip]
    pub fn new(labels: Labels) -> Self {
        let mut add = Registrar(Registry::with_prefix("driftline"));
        let build = Info::new(BuildLabels { version: env!("CARGO_PKG_VERSION") });
        add.0.register("build", "The version that runs", build);
        let metrics = Self {
            events: add.add("events", "Records by what came of them: counted in a window or the reason why not; goes on over restarts", Family::default()),
            kafka_lag: add.add("kafka_lag", "Records of a partition that are not read yet", Family::default()),
            source_paused: add.add("source_paused", "1 while reading is paused because counting is behind", Gauge::default()),
            watermark_delay: add.add_with("watermark_delay", Unit::Seconds, "How far the event time up to which a model is complete lies behind the clock", Family::default()),
            windows_closed: add.add("windows_closed", "Windows that closed", Family::default()),
            window_test: add.add_with("window_test", Unit::Seconds, "Time to test a closed window", Histogram::new(DURATIONS)),
            alarms: add.add("alarms", "Windows that alarmed", Family::default()),
            incidents_open: add.add("incidents_open", "Open incidents", Family::default()),
            false_alarms_allowed: add.add("false_alarms_allowed", "The false-alarm budget, for its period", Family::default()),
            false_alarms_spent: add.add("false_alarms_spent", "False alarms that were to be expected in the last period", Family::default()),
            alarms_in_period: add.add("alarms_in_period", "Incidents opened in the last period of the budget", Family::default()),
            calibrated: add.add("calibrated", "1 if the false-alarm promise rests on reference windows", Family::default()),
            reference_windows: add.add("reference_windows_effective", "What the reference windows are worth as independent ones", Family::default()),
            promise_void: add.add("promise_void", "1 if the audit of quiet windows rejects the promise", Family::default()),
            performance: add.add("performance", "The headline metric in the newest window of the shortest length of which it is known: realised (from labels), estimated (without), reference (in training)", Family::default()),
            performance_delay: add.add_with("performance_delay", Unit::Seconds, "How far the end of that window lies behind the clock", Family::default()),
            label_coverage: add.add("label_coverage", "Share of predictions whose label is there, in the window of the realised value, or in the newest if none has labels", Family::default()),
            loss_per_day: add.add("loss_per_day", "What the model costs a day beyond what it cost in training, in that currency: realised or estimated", Family::default()),
            labels_joined: add.add("labels_joined", "Predictions and labels by what became of them; goes on over restarts", Family::default()),
            predictions_waiting: add.add("predictions_waiting", "Predictions whose label is not there yet", Family::default()),
            labels_waiting: add.add("labels_waiting", "Labels whose prediction is not there yet", Family::default()),
            join_journal: add.add_with("join_journal", Unit::Bytes, "What waits for labels, on disk", Family::default()),
            join_index: add.add_with("join_index", Unit::Bytes, "The index over what waits for labels, in memory", Family::default()),
            outbox_waiting: add.add("outbox_waiting", "Notifications that wait for delivery", Family::default()),
            outbox_oldest: add.add_with("outbox_oldest", Unit::Seconds, "Age of the oldest notification that waits", Family::default()),
            deliveries: add.add("deliveries", "Attempts to deliver by what came of them", Family::default()),
            delivery: add.add_with("delivery", Unit::Seconds, "Time of one attempt to deliver", Histogram::new(DURATIONS)),
            event_to_alert: add.add_with("event_to_alert", Unit::Seconds, "Time from the arrival of the event that closed an alarming window to the delivery of its alert", Histogram::new(DURATIONS)),
            event_to_alert_quantile: add.add_with("event_to_alert_quantile", Unit::Seconds, "The same as quantiles since the start", Family::default()),
            commit: add.add_with("commit", Unit::Seconds, "Time to make a commit durable", Histogram::new(DURATIONS)),
            commits: add.add("commits", "Commits made durable", Counter::default()),
            dead_letters: add.add("dead_letters", "Dead letters kept", Gauge::default()),
            store_size: add.add_with("store_size", Unit::Bytes, "The store's file and its log", Gauge::default()),
            memory: add.add_with("memory", Unit::Bytes, "Resident memory of the process", Gauge::default()),
            event_to_alert_quantiles: Mutex::new(Quantiles::new_with_bounds(1, EVENT_TO_ALERT_MS_MAX, 3).ok()),
            registry: Registry::default(),
            labels,
        };
        Self { registry: add.0, ..metrics }.at_zero()
    }

    /// Series that are known beforehand exist from the start, so a first increase is seen as one.
    fn at_zero(self) -> Self {
        for model in &self.labels.models {
            let label = ModelLabel { model: model.clone() };
            drop(self.windows_closed.get_or_create(&label));
            drop(self.alarms.get_or_create(&label));
            drop(self.incidents_open.get_or_create(&label));
        }
        for channel in &self.labels.channels {
            let label = ChannelLabel { channel: channel.clone() };
            drop(self.outbox_waiting.get_or_create(&label));
            drop(self.outbox_oldest.get_or_create(&label));
        }
        self
    }

    // === records ===

    /// `n` records of a topic and model came to `outcome`: `counted` or the name of a [`RejectReason`].
    pub fn events(&self, topic: &str, model: &str, outcome: &str, n: u64) {
        let names = RejectReason::ALL.iter().map(|reason| reason.name()).chain([COUNTED]);
        let outcome = names.into_iter().find(|name| *name == outcome).unwrap_or(OTHER);
        let topic = known(&self.labels.topics, topic);
        let model = known(&self.labels.models, model);
        self.events.get_or_create(&EventLabels { topic, model, outcome }).inc_by(n);
    }

    /// Records of a partition that are not read yet.
    pub fn kafka_lag(&self, topic: &str, partition: i32, records: u64) {
        let label = PartitionLabels { topic: known(&self.labels.topics, topic), partition };
        self.kafka_lag.get_or_create(&label).set(signed(records));
    }

    /// A partition is no longer ours.
    pub fn kafka_partition_lost(&self, topic: &str, partition: i32) {
        self.kafka_lag.remove(&PartitionLabels { topic: known(&self.labels.topics, topic), partition });
    }

    /// Reading is paused because counting is behind.
    pub fn source_paused(&self, is_paused: bool) {
        self.source_paused.set(i64::from(is_paused));
    }

    // === windows ===

    /// How far a model's watermark lies behind the clock, in seconds.
    pub fn watermark_delay(&self, model: &str, seconds: f64) {
        self.watermark_delay.get_or_create(&self.model(model)).set(seconds);
    }

    /// How a model's budget and calibrations stand. Series of versions that are gone go.
    pub fn budgets(&self, budgets: &[BudgetView]) {
        self.calibrated.clear();
        self.reference_windows.clear();
        for budget in budgets {
            let label = self.model(&budget.model);
            self.false_alarms_allowed.get_or_create(&label).set(budget.account.allowed);
            self.false_alarms_spent.get_or_create(&label).set(budget.account.spent);
            self.alarms_in_period.get_or_create(&label).set(signed(budget.account.alarms));
            for audit in &budget.account.audits {
                let labels = LengthLabels { model: label.model.clone(), length: audit.length.to_string() };
                self.promise_void.get_or_create(&labels).set(i64::from(audit.void));
            }
            for one in &budget.calibrations {
                let labels = CalibrationLabels {
                    model: label.model.clone(),
                    version: one.version.clone().unwrap_or_default(),
                    length: one.length.to_string(),
                };
                let effective = one.standing.as_ref().map_or(0.0, |standing| standing.effective);
                self.calibrated.get_or_create(&labels).set(i64::from(one.calibrated));
                self.reference_windows.get_or_create(&labels).set(effective);
            }
        }
    }

    /// What of each model waits for labels.
    pub fn joins(&self, joins: &[JoinView]) {
        for join in joins {
            let label = self.model(&join.model);
            self.predictions_waiting.get_or_create(&label).set(signed(join.waiting));
            self.labels_waiting.get_or_create(&label).set(signed(join.waiting_labels));
            self.join_journal.get_or_create(&label).set(signed(join.journal_bytes));
            self.join_index.get_or_create(&label).set(signed(join.index_bytes));
        }
    }

    /// `n` windows of a model closed, `alarms` of them with an alarm.
    pub fn windows_closed(&self, model: &str, n: u64, alarms: u64) {
        let label = self.model(model);
        self.windows_closed.get_or_create(&label).inc_by(n);
        self.alarms.get_or_create(&label).inc_by(alarms);
    }

    /// A closed window was tested.
    pub fn window_tested(&self, took: Duration) {
        self.window_test.observe(took.as_secs_f64());
    }

    /// A commit became durable.
    pub fn committed(&self, took: Duration) {
        self.commit.observe(took.as_secs_f64());
        self.commits.inc();
    }

    // === delivery ===

    /// One attempt to deliver ended.
    pub fn delivery(&self, channel: &str, attempt: Attempt, took: Duration) {
        let channel = known(&self.labels.channels, channel);
        self.deliveries.get_or_create(&DeliveryLabels { channel, outcome: attempt.name() }).inc();
        self.delivery.observe(took.as_secs_f64());
    }

    /// An alert left: time since the arrival of the event that closed its window.
    pub fn event_to_alert(&self, took: Duration) {
        self.event_to_alert.observe(took.as_secs_f64());
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(EVENT_TO_ALERT_MS_MAX);
        if let Some(quantiles) = self.quantiles().as_mut() {
            quantiles.saturating_record(milliseconds);
        }
    }

    /// Time from event to alert; `None` before the first alert.
    pub fn event_to_alert_quantiles(&self) -> Option<EventToAlert> {
        let guard = self.quantiles();
        let quantiles = guard.as_ref().filter(|quantiles| !quantiles.is_empty())?;
        let seconds = |milliseconds: u64| Duration::from_millis(milliseconds).as_secs_f64();
        let at = |quantile| seconds(quantiles.value_at_quantile(quantile));
        Some(EventToAlert {
            alerts: quantiles.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: seconds(quantiles.max()),
        })
    }

    // === the page ===

    /// Takes over what the store knows better: performance, outbox, open incidents, dead letters, size.
    /// `now` is the wall clock.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn read_store(&self, store: &Store, now: Timestamp) -> Result<(), StoreError> {
        // Channels that are no longer configured share one label, so they are added up first.
        let mut channels: BTreeMap<String, (u64, f64)> = BTreeMap::new();
        for stats in store.outbox_stats()? {
            let age = stats.oldest_waiting.map_or(0.0, |oldest| (now - oldest).as_secs_f64());
            let (waiting, oldest) = channels.entry(known(&self.labels.channels, &stats.channel)).or_default();
            *waiting += stats.waiting;
            *oldest = oldest.max(age);
        }
        for (channel, (waiting, oldest)) in channels {
            let label = ChannelLabel { channel };
            self.outbox_waiting.get_or_create(&label).set(signed(waiting));
            self.outbox_oldest.get_or_create(&label).set(oldest);
        }
        let open = store.open_incidents()?;
        for model in &self.labels.models {
            let number = open.iter().find(|(name, _)| name == model).map_or(0, |(_, number)| *number);
            self.incidents_open.get_or_create(&self.model(model)).set(signed(number));
        }
        self.dead_letters.set(signed(store.dead_letters_kept()?));
        self.store_size.set(signed(store.size_bytes()));
        self.read_joined(store)?;
        self.read_performance(store, now)
    }

    /// What became of labels; models that are no longer configured share one name.
    fn read_joined(&self, store: &Store) -> Result<(), StoreError> {
        let mut counts: BTreeMap<JoinLabels, u64> = BTreeMap::new();
        for count in store.joined(None)? {
            let model = known(&self.labels.models, &count.model);
            let sum = counts.entry(JoinLabels { model, outcome: count.outcome }).or_default();
            *sum = sum.saturating_add(count.n);
        }
        for (labels, n) in counts {
            self.labels_joined.get_or_create(&labels).inner().store(n, Ordering::Relaxed);
        }
        Ok(())
    }

    /// How the configured models do. Series of what is no longer known go.
    fn read_performance(&self, store: &Store, now: Timestamp) -> Result<(), StoreError> {
        let mut known = Vec::new();
        for model in &self.labels.models {
            known.extend(store.newest_performance(model)?.into_iter().next());
        }
        self.performance.clear();
        self.performance_delay.clear();
        self.label_coverage.clear();
        self.loss_per_day.clear();
        for NewestPerformance { newest, labelled, .. } in &known {
            if let Some(estimated) = reading_of(newest) {
                self.show_estimated(newest, &estimated, now);
            }
            let realised = labelled.as_ref().unwrap_or(newest);
            if let Some(reading) = reading_of(realised) {
                self.show_realised(realised, &reading, now);
            }
        }
        Ok(())
    }

    fn show_estimated(&self, row: &PerformanceRow, reading: &Reading, now: Timestamp) {
        let metric = reading.metric(&reading.headline);
        if let Some(estimate) = metric.and_then(|metric| metric.estimate) {
            self.show_metric(row, reading, ESTIMATED, estimate.value);
            self.show_delay(row, ESTIMATED, now);
        }
        if let Some(reference) = metric.and_then(|metric| metric.reference) {
            self.show_metric(row, reading, "reference", reference);
        }
        if let Some(money) = &reading.money
            && let Some(loss) = money.estimated_loss_per_day
        {
            self.show_loss(row, &money.currency, ESTIMATED, loss.value);
        }
    }

    fn show_realised(&self, row: &PerformanceRow, reading: &Reading, now: Timestamp) {
        if let Some(value) = reading.metric(&reading.headline).and_then(|metric| metric.value) {
            self.show_metric(row, reading, REALISED, value);
            self.show_delay(row, REALISED, now);
        }
        if let Some(coverage) = reading.coverage {
            self.label_coverage.get_or_create(&self.model(&row.model)).set(coverage);
        }
        if let Some(money) = &reading.money
            && let Some(loss) = money.loss_per_day
        {
            self.show_loss(row, &money.currency, REALISED, loss.value);
        }
    }

    fn show_metric(&self, row: &PerformanceRow, reading: &Reading, kind: &'static str, value: f64) {
        let model = known(&self.labels.models, &row.model);
        let labels = PerformanceLabels { model, metric: reading.headline.clone(), kind };
        self.performance.get_or_create(&labels).set(value);
    }

    fn show_delay(&self, row: &PerformanceRow, kind: &'static str, now: Timestamp) {
        let labels = KindLabels { model: known(&self.labels.models, &row.model), kind };
        self.performance_delay.get_or_create(&labels).set((now - row.window_end).as_secs_f64());
    }

    fn show_loss(&self, row: &PerformanceRow, currency: &str, kind: &'static str, value: f64) {
        let model = known(&self.labels.models, &row.model);
        let labels = MoneyLabels { model, currency: currency.to_owned(), kind };
        self.loss_per_day.get_or_create(&labels).set(value);
    }

    /// The page of metrics, with the memory as it is now.
    ///
    /// # Errors
    /// Never for a `String`; the signature is that of formatting.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        self.memory.set(resident_bytes().map_or(0, signed));
        if let Some(EventToAlert { p50, p90, p99, .. }) = self.event_to_alert_quantiles() {
            for (quantile, seconds) in [("0.5", p50), ("0.9", p90), ("0.99", p99)] {
                self.event_to_alert_quantile.get_or_create(&QuantileLabel { quantile }).set(seconds);
            }
        }
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }

    fn model(&self, model: &str) -> ModelLabel {
        ModelLabel { model: known(&self.labels.models, model) }
    }

    fn quantiles(&self) -> std::sync::MutexGuard<'_, Option<Quantiles<u64>>> {
        self.event_to_alert_quantiles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bounds of the buckets of every histogram, in seconds.
const DURATIONS: [f64; 16] =
    [0.0001, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// What is known of a window; a document that cannot be read is told in the log and shown nowhere.
fn reading_of(row: &PerformanceRow) -> Option<Reading> {
    match serde_json::from_str(row.reading.get()) {
        Ok(reading) => Some(reading),
        Err(error) => {
            let (model, start) = (&row.model, row.window_start);
            tracing::warn!(model, %start, %error, "the stored performance of a window cannot be read");
            None
        }
    }
}

fn known(names: &BTreeSet<String>, name: &str) -> String {
    if names.contains(name) { name.to_owned() } else { OTHER.to_owned() }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Resident memory, where the system tells it: `VmRSS` of `/proc/self/status`, in KiB.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::LengthView;
    use crate::verdict::{Account, Audit};

    fn sample() -> Metrics {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Metrics::new(Labels {
            topics: names(&["predictions"]),
            models: names(&["fraud"]),
            channels: names(&["slack"]),
        })
    }

    /// A page on which every metric has a sample.
    fn budget() -> BudgetView {
        let day = crate::event::Span::from_secs(86_400);
        let interval = [0.0, 1.0];
        let audit = Audit { length: day, quiet_blocks: 0, low_ranks: 0, share: None, interval, void: false };
        BudgetView {
            model: "fraud".into(),
            account: Account {
                allowed: 1.0,
                period: day,
                spent: 0.5,
                left: 0.5,
                alarms: 0,
                audits: vec![audit],
            },
            calibrations: vec![LengthView {
                version: Some("7".into()),
                length: day,
                calibrated: false,
                standing: None,
                season: None,
                season_note: String::new(),
                reason: None,
            }],
        }
    }

    /// What comes from a store that knows of performance.
    fn performance(metrics: &Metrics) {
        let (model, kind) = ("fraud".to_owned(), REALISED);
        let metric = "roc_auc".to_owned();
        let labels = PerformanceLabels { model: model.clone(), metric, kind };
        metrics.performance.get_or_create(&labels).set(0.9);
        metrics.performance_delay.get_or_create(&KindLabels { model: model.clone(), kind }).set(60.0);
        metrics.label_coverage.get_or_create(&ModelLabel { model: model.clone() }).set(0.92);
        let labels = MoneyLabels { model: model.clone(), currency: "EUR".to_owned(), kind };
        metrics.loss_per_day.get_or_create(&labels).set(12_300.0);
        drop(metrics.labels_joined.get_or_create(&JoinLabels { model, outcome: "joined".to_owned() }));
    }

    fn full_page() -> String {
        let metrics = sample();
        metrics.events("predictions", "fraud", "counted", 10);
        metrics.kafka_lag("predictions", 0, 1);
        metrics.watermark_delay("fraud", 0.5);
        metrics.window_tested(Duration::from_millis(1));
        metrics.committed(Duration::from_millis(8));
        metrics.budgets(&[budget()]);
        metrics.joins(&[JoinView { model: "fraud".into(), waiting: 9, ..JoinView::default() }]);
        performance(&metrics);
        metrics.delivery("slack", Attempt::Delivered, Duration::from_millis(80));
        metrics.event_to_alert(Duration::from_millis(250));
        metrics.encode().expect("a page")
    }

    #[test]
    fn the_names_are_those_that_dashboards_rely_on() {
        let page = full_page();
        let names: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        insta::assert_snapshot!(names.join("\n"), @r"
        driftline_build info
        driftline_events counter
        driftline_kafka_lag gauge
        driftline_source_paused gauge
        driftline_watermark_delay_seconds gauge
        driftline_windows_closed counter
        driftline_window_test_seconds histogram
        driftline_alarms counter
        driftline_incidents_open gauge
        driftline_false_alarms_allowed gauge
        driftline_false_alarms_spent gauge
        driftline_alarms_in_period gauge
        driftline_calibrated gauge
        driftline_reference_windows_effective gauge
        driftline_promise_void gauge
        driftline_performance gauge
        driftline_performance_delay_seconds gauge
        driftline_label_coverage gauge
        driftline_loss_per_day gauge
        driftline_labels_joined counter
        driftline_predictions_waiting gauge
        driftline_labels_waiting gauge
        driftline_join_journal_bytes gauge
        driftline_join_index_bytes gauge
        driftline_outbox_waiting gauge
        driftline_outbox_oldest_seconds gauge
        driftline_deliveries counter
        driftline_delivery_seconds histogram
        driftline_event_to_alert_seconds histogram
        driftline_event_to_alert_quantile_seconds gauge
        driftline_commit_seconds histogram
        driftline_commits counter
        driftline_dead_letters gauge
        driftline_store_size_bytes gauge
        driftline_memory_bytes gauge
        ");
    }

    #[test]
    fn every_line_is_open_metrics() {
        let page = full_page();
        let (lines, end) = page.split_at(page.len() - "# EOF\n".len());
        assert_eq!(end, "# EOF\n");
        let (mut family, mut kind) = ("", "");
        for line in lines.lines() {
            if let Some(described) = line.strip_prefix("# TYPE ") {
                (family, kind) = described.split_once(' ').expect("name and type");
                assert!(family.starts_with("driftline_"), "{line}");
            } else if let Some(unit) = line.strip_prefix("# UNIT ") {
                let (name, unit) = unit.split_once(' ').expect("name and unit");
                assert!(name == family && name.ends_with(&format!("_{unit}")), "{line}");
            } else if !line.starts_with("# HELP ") {
                let (series, value) = line.rsplit_once(' ').expect("series and value");
                let suffix = series.split('{').next().and_then(|name| name.strip_prefix(family));
                let allowed: &[&str] = match kind {
                    "counter" => &["_total"],
                    "gauge" => &[""],
                    "info" => &["_info"],
                    _ => &["_bucket", "_count", "_sum"],
                };
                assert!(suffix.is_some_and(|suffix| allowed.contains(&suffix)), "{line}");
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
    }

    #[test]
    fn a_name_that_is_not_configured_counts_as_other() {
        let metrics = sample();
        metrics.events("predictions", "fraud", "counted", 10);
        for i in 0..1_000 {
            metrics.events("predictions", &format!("model {i}"), "unknown_model", 1);
        }
        metrics.events("predictions", "fraud", "no such outcome", 1);
        let page = metrics.encode().expect("a page");
        let events: BTreeSet<&str> =
            page.lines().filter(|line| line.starts_with("driftline_events_total")).collect();
        let expected = [
            r#"driftline_events_total{topic="predictions",model="fraud",outcome="counted"} 10"#,
            r#"driftline_events_total{topic="predictions",model="fraud",outcome="other"} 1"#,
            r#"driftline_events_total{topic="predictions",model="other",outcome="unknown_model"} 1000"#,
        ];
        assert_eq!(events, BTreeSet::from(expected));
    }

    #[test]
    fn a_lost_partition_has_no_lag() {
        let metrics = sample();
        metrics.kafka_lag("predictions", 3, 17);
        assert!(
            metrics
                .encode()
                .expect("a page")
                .contains(r#"driftline_kafka_lag{topic="predictions",partition="3"} 17"#)
        );
        metrics.kafka_partition_lost("predictions", 3);
        assert!(!metrics.encode().expect("a page").contains("driftline_kafka_lag{"));
    }

    #[test]
    fn time_from_event_to_alert_is_told_as_quantiles() {
        let metrics = sample();
        assert_eq!(metrics.event_to_alert_quantiles(), None);
        for milliseconds in 1..=100 {
            metrics.event_to_alert(Duration::from_millis(milliseconds));
        }
        let quantiles = metrics.event_to_alert_quantiles().expect("quantiles");
        assert_eq!((quantiles.alerts, quantiles.p50, quantiles.max), (100, 0.05, 0.1));
        let page = metrics.encode().expect("a page");
        assert!(
            page.contains(r#"driftline_event_to_alert_quantile_seconds{quantile="0.99"} 0.099"#),
            "{page}"
        );
        assert!(page.contains("driftline_event_to_alert_seconds_count 100"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_memory_is_that_of_the_process() {
        let bytes = resident_bytes().expect("Linux tells it");
        assert!((1 << 20..1 << 36).contains(&bytes), "{bytes}");
    }
}

//! A model in a world whose laws are known, and the records that it would leave in Kafka: predictions on one
//! topic, what came true on another, with everything that happens to records on their way.
//!
//! A loan's score is the very chance that training loans of its kind were repaid, so every change of how well
//! the model does has a cause that the test has chosen: other loans, or another law.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field as ArrowField, Schema};
use driftline::baseline::read::MemoryTable;
use driftline::baseline::{Baseline, BuildOptions, Roles, build_table};
use driftline::event::decode::TimestampUnit;
use driftline::monitor::ModelSettings;

pub const MINUTE: i64 = 60;
pub const HOUR: i64 = 3_600;
pub const DAY: i64 = 86_400;

/// 2024-01-01T00:00:00Z in seconds: the first day of production. Training ends when it begins.
pub const BEGIN: i64 = 1_704_067_200;

/// Predictions a day, in training and in production.
pub const PER_DAY: i64 = 400;

/// Partitions of each topic.
pub const PARTITIONS: i32 = 2;

/// Cost of a case by truth (row) and decision (column).
pub const COSTS: [[f64; 2]; 2] = [[0.0, 3.0], [1.0, 0.0]];

/// SplitMix64: the same seed gives the same world.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From 0 to below `below`.
    pub fn below(&mut self, below: i64) -> i64 {
        (self.uniform() * below as f64) as i64
    }

    pub fn chance(&mut self, chance: f64) -> bool {
        self.uniform() < chance
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.uniform()).ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.uniform()).ln()
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as i64 + 1) as usize);
        }
    }
}

/// The laws of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum World {
    /// As in training.
    Calm,
    /// The same loans, of which others are repaid.
    OtherConcept,
    /// Loans that are harder to tell apart; like loans are repaid as before.
    HarderLoans,
    /// Loans that are easier to tell apart; like loans are repaid as before.
    EasierLoans,
    /// More loans are repaid; those that are, and those that are not, look as before.
    MoreRepaid,
}

/// A loan with what the model said of it.
#[derive(Debug, Clone, Copy)]
pub struct Loan {
    pub income: f64,
    pub debt: f64,
    pub country: &'static str,
    pub score: f64,
    pub decision: u16,
    /// The chance that it is repaid.
    pub chance: f64,
    pub repaid: u16,
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl World {
    /// A loan of this world.
    pub fn draw(self, random: &mut Random) -> Loan {
        if self == Self::MoreRepaid {
            let wanted = u16::from(random.chance(0.8));
            loop {
                let loan = Self::Calm.draw(random);
                if loan.repaid == wanted {
                    return loan;
                }
            }
        }
        let spread = match self {
            Self::HarderLoans => 0.45,
            Self::EasierLoans => 2.6,
            _ => 1.3,
        };
        let (income, debt) = (spread * random.normal(), random.normal());
        let country = if random.chance(0.6) { "DE" } else { "FR" };
        let learned = logistic(1.6 * income - 0.9 * debt);
        let score = (learned * 1e6).round() / 1e6;
        let chance = match self {
            Self::OtherConcept => logistic(0.5 * income - 0.9 * debt),
            _ => learned,
        };
        let repaid = u16::from(random.chance(chance));
        Loan { income, debt, country, score, decision: u16::from(score >= 0.5), chance, repaid }
    }

    /// The mean cost of a loan, to about three digits.
    pub fn mean_cost(self) -> f64 {
        const LOANS: u32 = 200_000;
        let mut random = Random::new(99);
        let sum: f64 = (0..LOANS)
            .map(|_| {
                let loan = self.draw(&mut random);
                let decision = usize::from(loan.decision);
                match self {
                    Self::MoreRepaid => COSTS[usize::from(loan.repaid)][decision],
                    _ => loan.chance * COSTS[1][decision] + (1.0 - loan.chance) * COSTS[0][decision],
                }
            })
            .sum();
        sum / f64::from(LOANS)
    }
}

/// How long labels take, in days.
#[derive(Debug, Clone, Copy)]
pub enum Delay {
    /// The same for all.
    Exponential(f64),
    /// Loans that are not repaid are known sooner: mean by outcome.
    ByOutcome([f64; 2]),
}

impl Delay {
    fn draw(self, random: &mut Random, repaid: u16) -> i64 {
        let mean = match self {
            Self::Exponential(mean) => mean,
            Self::ByOutcome(means) => means[usize::from(repaid)],
        };
        // Well below the longest that is waited for, so that no order of arrival decides what counts.
        (random.exponential(mean).min(12.0) * DAY as f64) as i64
    }
}

/// The longest delay that the tests configure, in days.
pub const DELAY_MAX_DAYS: i64 = 15;

/// A baseline of training loans, `days` of them, that end when production begins.
pub fn baseline(seed: u64, days: i64, settings: &ModelSettings) -> Arc<Baseline> {
    let mut random = Random::new(seed);
    let number = days * PER_DAY;
    let times: Vec<i64> = (0..number).map(|row| BEGIN - days * DAY + row * DAY / PER_DAY).collect();
    let loans: Vec<Loan> = times.iter().map(|_| World::Calm.draw(&mut random)).collect();
    let field = |name: &str, kind| ArrowField::new(name, kind, true);
    let schema = Arc::new(Schema::new(vec![
        field("at", DataType::Int64),
        field("income", DataType::Float64),
        field("debt", DataType::Float64),
        field("country", DataType::Utf8),
        field("p", DataType::Float64),
        field("granted", DataType::Int64),
        field("repaid", DataType::Int64),
    ]));
    let numbers = |of: fn(&Loan) -> f64| Arc::new(loans.iter().map(of).collect::<Float64Array>()) as ArrayRef;
    let classes = |of: fn(&Loan) -> u16| {
        Arc::new(loans.iter().map(|loan| i64::from(of(loan))).collect::<Int64Array>()) as ArrayRef
    };
    let columns = vec![
        Arc::new(Int64Array::from(times)) as ArrayRef,
        numbers(|loan| loan.income),
        numbers(|loan| loan.debt),
        Arc::new(loans.iter().map(|loan| Some(loan.country)).collect::<StringArray>()),
        numbers(|loan| loan.score),
        classes(|loan| loan.decision),
        classes(|loan| loan.repaid),
    ];
    let batch = RecordBatch::try_new(schema.clone(), columns).expect("a batch");
    let table = MemoryTable::new(&schema, move || vec![batch.clone()].into_iter());
    let roles = Roles {
        timestamp: Some("at".into()),
        prediction: Some("granted".into()),
        scores: vec!["p".into()],
        label: Some("repaid".into()),
        segment: Some("country".into()),
        ..Roles::default()
    };
    let outcomes = settings.performance.as_ref().map(|performance| performance.outcomes());
    let options = BuildOptions {
        panes: Some((settings.windows.pane(), settings.windows.offset)),
        timestamp_unit: Some(TimestampUnit::Seconds),
        outcomes: outcomes.as_ref(),
        ..BuildOptions::default()
    };
    Arc::new(build_table(&table, &roles, &options).expect("a baseline"))
}

/// A record on its way.
#[derive(Debug, Clone)]
pub struct Sent {
    /// When it reaches the log, in seconds; records of a partition come in this order.
    pub arrival: i64,
    pub json: String,
}

/// A prediction and every label that was sent for it.
#[derive(Debug, Clone)]
pub struct Sample {
    pub time: i64,
    pub loan: Loan,
    /// Time and truth of each label, as they were sent, copies included.
    pub labels: Vec<(i64, u16)>,
}

impl Sample {
    /// What counts in the end: the latest label that is not too far away.
    pub fn truth(&self) -> Option<u16> {
        let near = |label: &&(i64, u16)| (label.0 - self.time).abs() <= DELAY_MAX_DAYS * DAY;
        self.labels.iter().filter(near).max().map(|label| label.1)
    }
}

/// What was sent, and the truth about it.
pub struct Story {
    /// Records by partition.
    pub predictions: BTreeMap<i32, Vec<Sent>>,
    pub labels: BTreeMap<i32, Vec<Sent>>,
    /// By id.
    pub samples: Vec<Sample>,
    /// Copies of predictions.
    pub predictions_copied: u64,
    /// Labels of predictions that were never made.
    pub labels_unknown: u64,
    /// The last arrival but for those that only move the clocks on, in seconds.
    pub end: i64,
}

/// What may happen to records.
#[derive(Debug, Clone, Copy)]
pub struct Troubles {
    pub copied: f64,
    pub unknown: f64,
    pub corrected: f64,
    pub before: f64,
    pub never: f64,
    pub too_late: f64,
}

impl Troubles {
    pub const SOME: Self =
        Self { copied: 0.02, unknown: 0.01, corrected: 0.01, before: 0.03, never: 0.02, too_late: 0.005 };
}

impl Story {
    /// `days` of production in the world of each day.
    pub fn new(seed: u64, days: i64, delay: Delay, world: impl Fn(i64) -> World) -> Self {
        let mut random = Random::new(seed);
        let mut story = Self {
            predictions: BTreeMap::new(),
            labels: BTreeMap::new(),
            samples: Vec::new(),
            predictions_copied: 0,
            labels_unknown: 0,
            end: 0,
        };
        for row in 0..days * PER_DAY {
            let time = BEGIN + row * DAY / PER_DAY;
            let loan = world((time - BEGIN) / DAY).draw(&mut random);
            story.send_prediction(&mut random, row, time, loan);
            story.send_labels(&mut random, row, time, loan, delay);
        }
        story.finish(&mut random);
        story
    }

    fn send_prediction(&mut self, random: &mut Random, id: i64, time: i64, loan: Loan) {
        let Loan { income, debt, country, score, decision, .. } = loan;
        let json = format!(
            r#"{{"id":"loan-{id}","t":{time},"f":{{"income":{income},"debt":{debt},"country":"{country}"}},"granted":{decision},"p":{score}}}"#
        );
        let partition = random.below(PARTITIONS.into()) as i32;
        let copies = 1 + i64::from(random.chance(Troubles::SOME.copied));
        self.predictions_copied += copies as u64 - 1;
        for _ in 0..copies {
            // Out of order within the lateness; a copy may come through another partition's producer.
            let arrival = time + random.below(8 * MINUTE);
            self.predictions.entry(partition).or_default().push(Sent { arrival, json: json.clone() });
        }
        self.samples.push(Sample { time, loan, labels: Vec::new() });
    }

    fn send_labels(&mut self, random: &mut Random, id: i64, time: i64, loan: Loan, delay: Delay) {
        let troubles = Troubles::SOME;
        if random.chance(troubles.unknown) {
            self.labels_unknown += 1;
            self.send_label(random, &format!("nobody-{id}"), time + DAY, 1);
        }
        if random.chance(troubles.never) {
            return;
        }
        let due = match random.uniform() {
            chance if chance < troubles.before => time - random.below(5 * HOUR),
            chance if chance < troubles.before + troubles.too_late => {
                time + (DELAY_MAX_DAYS + 3) * DAY + random.below(DAY)
            }
            _ => time + delay.draw(random, loan.repaid),
        };
        let mut labels = vec![(due, loan.repaid)];
        if random.chance(troubles.corrected) {
            labels[0].1 = 1 - loan.repaid;
            labels.push((due + DAY + random.below(DAY), loan.repaid));
        }
        for (due, truth) in labels {
            for _ in 0..=i64::from(random.chance(troubles.copied)) {
                self.send_label(random, &format!("loan-{id}"), due, truth);
                self.samples[id as usize].labels.push((due, truth));
            }
        }
    }

    fn send_label(&mut self, random: &mut Random, id: &str, time: i64, truth: u16) {
        let json = format!(r#"{{"id":"{id}","t":{time},"repaid":{truth}}}"#);
        let partition = random.below(PARTITIONS.into()) as i32;
        // Far more out of order than predictions: labels are late for no window.
        let arrival = time + random.below(6 * HOUR);
        self.labels.entry(partition).or_default().push(Sent { arrival, json });
    }

    /// Brings the records into the order of their arrival, and adds one to each partition that is so late that
    /// every window before it is settled.
    fn finish(&mut self, random: &mut Random) {
        for sent in self.predictions.values_mut().chain(self.labels.values_mut()) {
            random.shuffle(sent);
            sent.sort_by_key(|sent| sent.arrival);
        }
        let newest = self.predictions.values().chain(self.labels.values()).flatten();
        self.end = newest.map(|sent| sent.arrival).max().unwrap_or(BEGIN);
        let last = self.end + (DELAY_MAX_DAYS + 10) * DAY;
        for (partition, sent) in &mut self.predictions {
            let id = self.samples.len();
            let loan = World::Calm.draw(random);
            self.samples.push(Sample { time: last, loan, labels: Vec::new() });
            let json = format!(
                r#"{{"id":"loan-{id}","t":{last},"f":{{"income":0.5,"debt":0.5,"country":"DE"}},"granted":1,"p":0.7}}"#
            );
            sent.push(Sent { arrival: last + i64::from(*partition), json });
        }
        for (partition, sent) in &mut self.labels {
            self.labels_unknown += 1;
            let json = format!(r#"{{"id":"last-{partition}","t":{last},"repaid":1}}"#);
            sent.push(Sent { arrival: last + i64::from(*partition), json });
        }
    }

    /// Predictions of a window that were made, with what came true of them.
    pub fn window(&self, start: i64, end: i64, segment: Option<&str>) -> Vec<&Sample> {
        let is_in = |sample: &&Sample| {
            (start..end).contains(&sample.time) && segment.is_none_or(|name| name == sample.loan.country)
        };
        self.samples.iter().filter(is_in).collect()
    }

    /// Distinct predictions.
    pub fn made(&self) -> u64 {
        self.samples.len() as u64
    }

    /// Predictions with a truth.
    pub fn matched(&self) -> u64 {
        self.samples.iter().filter(|sample| sample.truth().is_some()).count() as u64
    }

    /// Labels sent.
    pub fn labels_sent(&self) -> u64 {
        self.labels.values().map(|sent| sent.len() as u64).sum()
    }

    /// Labels that are copies of one that was sent for the same loan.
    pub fn labels_copied(&self) -> u64 {
        let copies = |sample: &Sample| {
            let distinct: BTreeSet<_> = sample.labels.iter().collect();
            (sample.labels.len() - distinct.len()) as u64
        };
        self.samples.iter().map(copies).sum()
    }
}

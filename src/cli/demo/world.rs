//! The demo's running world: events and what became of them into Kafka at a compressed pace, and what a
//! trainer can learn from.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use super::population::{Application, CSV_HEADER, Climate, Random, outcome};
use crate::event::{Span, Timestamp};

/// The topic of the predictions.
pub const TOPIC: &str = "driftline-demo";
/// The topic of the labels.
pub const LABELS: &str = "driftline-demo-labels";
/// Partitions of each topic.
pub const PARTITIONS: i32 = 2;
/// Event time that passes in one second of the demo.
pub const MINUTES_PER_SECOND: i64 = 10;
/// Length of the demo's windows: one a second.
pub const WINDOW: Span = Span::from_secs(MINUTES_PER_SECOND * 60);
/// Applications in a minute of event time.
const PER_MINUTE: i64 = 50;
/// Rows of the first training file.
const TRAINING_ROWS: i64 = 20_000;
/// A step of the demo.
pub const STEP: Duration = Duration::from_millis(100);
/// Event time of a step.
const STEP_SPAN: Span = Span::from_secs(MINUTES_PER_SECOND * 6);
/// From a prediction until its outcome is known, in seconds of event time: at least, and beyond that at most.
const LABEL_DELAY_SECS: (f64, f64) = (180.0, 360.0);
/// Outcomes that never become known.
const UNKNOWN_SHARE: f64 = 0.02;
/// Labels that are sent twice.
const TWICE_SHARE: f64 = 0.02;
/// Labels after which one of a loan that nobody asked for is sent.
const FOREIGN_SHARE: f64 = 0.01;

/// What has been sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Predictions.
    pub predictions: u64,
    /// Labels of these, each once.
    pub labels: u64,
    /// Labels that were sent a second time.
    pub twice: u64,
    /// Labels of loans of which no prediction is known.
    pub foreign: u64,
}

/// An application and what became of it.
#[derive(Debug)]
struct Case {
    time: Timestamp,
    application: Application,
    missed: bool,
    /// When that is known; `None` if it never is.
    known_at: Option<Timestamp>,
}

/// People, a model in production, and topics that tell of them.
pub struct World {
    producer: ThreadedProducer<DefaultProducerContext>,
    random: Random,
    /// Event time now.
    pub now: Timestamp,
    /// What the world is like.
    pub climate: Climate,
    /// The model in production.
    pub version: u32,
    /// What the model in production was trained in.
    trained_in: Climate,
    sent: Sent,
    /// Outcomes that are not known yet, by when they will be and the number of their prediction.
    unknown: BTreeMap<(Timestamp, u64), bool>,
    /// Cases since the climate changed: what a trainer would train on.
    recent: Vec<Case>,
}

impl World {
    /// A calm world with model version 1, whose event time begins at `start`.
    ///
    /// # Errors
    /// When the producer cannot be made.
    pub fn new(brokers: &str, start: Timestamp) -> Result<Self, KafkaError> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("client.id", "driftline-demo")
            .set("linger.ms", "5")
            .set("message.timeout.ms", "30000")
            .create()?;
        Ok(Self {
            producer,
            random: Random::new(7),
            now: start,
            climate: Climate::Calm,
            version: 1,
            trained_in: Climate::Calm,
            sent: Sent::default(),
            unknown: BTreeMap::new(),
            recent: Vec::new(),
        })
    }

    /// What has been sent so far.
    pub fn sent(&self) -> Sent {
        self.sent
    }

    /// Cases with a known outcome that a trainer could learn the new climate from.
    pub fn learnable(&self) -> usize {
        self.recent.iter().filter(|case| self.is_known(case)).count()
    }

    fn is_known(&self, case: &Case) -> bool {
        case.known_at.is_some_and(|at| at <= self.now)
    }

    /// The world turns.
    pub fn change(&mut self, climate: Climate) {
        self.climate = climate;
        self.recent.clear();
    }

    /// A new version goes live, trained in the climate of now.
    pub fn deploy(&mut self, version: u32) {
        self.version = version;
        self.trained_in = self.climate;
    }

    /// Sends the predictions of one step and the labels that are known by then.
    ///
    /// # Errors
    /// When the producer refuses for another reason than a full queue, which it waits for.
    pub fn step(&mut self) -> Result<(), KafkaError> {
        let number = PER_MINUTE * STEP_SPAN.as_micros() / 60_000_000;
        for index in 0..number {
            let time = self.now + Span::from_micros(STEP_SPAN.as_micros() * index / number);
            let application = Application::draw(&mut self.random, self.climate);
            let id = self.sent.predictions;
            self.send(TOPIC, id, &application.json(id, self.version, self.trained_in, time))?;
            self.sent.predictions += 1;
            self.follow(id, time, application);
        }
        self.now = self.now + STEP_SPAN;
        self.send_labels()
    }

    /// Decides what becomes of an application, and when that is known.
    fn follow(&mut self, id: u64, time: Timestamp, application: Application) {
        let missed = application.is_missed(&mut self.random, self.climate);
        let seconds = LABEL_DELAY_SECS.0 + LABEL_DELAY_SECS.1 * self.random.uniform();
        // A few minutes: the conversion keeps every size.
        let known_at = time + Span::from_micros((seconds * 1e6) as i64);
        let known_at = (self.random.uniform() >= UNKNOWN_SHARE).then_some(known_at);
        if let Some(at) = known_at {
            self.unknown.insert((at, id), missed);
        }
        self.recent.push(Case { time, application, missed, known_at });
    }

    fn send_labels(&mut self) -> Result<(), KafkaError> {
        while let Some(entry) = self.unknown.first_entry() {
            let (at, id) = *entry.key();
            if at > self.now {
                break;
            }
            let missed = entry.remove();
            let text = label("app", id, at, missed);
            self.send(LABELS, id, &text)?;
            self.sent.labels += 1;
            if self.random.uniform() < TWICE_SHARE {
                self.send(LABELS, id, &text)?;
                self.sent.twice += 1;
            }
            if self.random.uniform() < FOREIGN_SHARE {
                self.send(LABELS, id, &label("other", id, at, missed))?;
                self.sent.foreign += 1;
            }
        }
        Ok(())
    }

    fn send(&self, topic: &str, number: u64, event: &str) -> Result<(), KafkaError> {
        let partition = i32::try_from(number % PARTITIONS as u64).unwrap_or(0);
        let mut record = BaseRecord::<(), str>::to(topic).partition(partition).payload(event);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(STEP);
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// Waits until everything sent has reached the broker.
    ///
    /// # Errors
    /// When it has not within ten seconds.
    pub fn flush(&self) -> Result<(), KafkaError> {
        self.producer.flush(Duration::from_secs(10))
    }

    /// Writes the training file of the first model: the same people, before the demo began.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_first_training(&self, path: &Path) -> io::Result<i64> {
        let mut random = Random::new(1);
        let step = Span::from_micros(60_000_000 / PER_MINUTE);
        let begin = self.now - Span::from_micros(step.as_micros() * TRAINING_ROWS);
        let mut file = io::BufWriter::new(fs::File::create(path)?);
        writeln!(file, "{CSV_HEADER}")?;
        for row in 0..TRAINING_ROWS {
            let time = begin + Span::from_micros(step.as_micros() * row);
            let application = Application::draw(&mut random, Climate::Calm);
            let missed = application.is_missed(&mut random, Climate::Calm);
            writeln!(file, "{}", application.csv(time, Climate::Calm, missed))?;
        }
        file.flush()?;
        Ok(TRAINING_ROWS)
    }

    /// Writes what became known since the climate changed, as the next model's training file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_recent_training(&self, path: &Path) -> io::Result<usize> {
        let mut file = io::BufWriter::new(fs::File::create(path)?);
        writeln!(file, "{CSV_HEADER}")?;
        for case in self.recent.iter().filter(|case| self.is_known(case)) {
            writeln!(file, "{}", case.application.csv(case.time, self.climate, case.missed))?;
        }
        file.flush()?;
        Ok(self.learnable())
    }
}

/// The event that tells what became of a loan.
fn label(kind: &str, id: u64, at: Timestamp, missed: bool) -> String {
    format!(r#"{{"id":"{kind}-{id}","ts":{},"outcome":"{}"}}"#, at.as_micros() / 1000, outcome(missed))
}

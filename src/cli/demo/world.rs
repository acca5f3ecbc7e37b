//! The demo's running world: events into Kafka at a compressed pace, and a trainer that answers calls.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use super::population::{Application, CSV_HEADER, Climate, Random};
use crate::event::{Span, Timestamp};

/// The topic of the demo.
pub const TOPIC: &str = "driftline-demo";
/// Partitions of the topic.
pub const PARTITIONS: i32 = 2;
/// Event time that passes in one second of the demo.
pub const MINUTES_PER_SECOND: i64 = 10;
/// Applications in a minute of event time.
const PER_MINUTE: i64 = 50;
/// Rows of the first training file.
const TRAINING_ROWS: i64 = 20_000;
/// A step of the demo.
pub const STEP: Duration = Duration::from_millis(100);
/// Event time of a step.
const STEP_SPAN: Span = Span::from_secs(MINUTES_PER_SECOND * 6);

/// People, a model in production, and a topic that tells of them.
pub struct World {
    producer: ThreadedProducer<DefaultProducerContext>,
    random: Random,
    /// Event time now.
    pub now: Timestamp,
    /// What the world is like.
    pub climate: Climate,
    /// The model in production.
    pub version: u32,
    sent: u64,
    /// Applications since the climate changed: what a trainer would train on.
    recent: Vec<(Timestamp, Application)>,
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
            sent: 0,
            recent: Vec::new(),
        })
    }

    /// Events sent so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Applications that a trainer could learn the new climate from.
    pub fn recent(&self) -> usize {
        self.recent.len()
    }

    /// The world turns.
    pub fn change(&mut self, climate: Climate) {
        self.climate = climate;
        self.recent.clear();
    }

    /// Sends the events of one step.
    ///
    /// # Errors
    /// When the producer refuses for another reason than a full queue, which it waits for.
    pub fn step(&mut self) -> Result<(), KafkaError> {
        let number = PER_MINUTE * STEP_SPAN.as_micros() / 60_000_000;
        for index in 0..number {
            let time = self.now + Span::from_micros(STEP_SPAN.as_micros() * index / number);
            let application = Application::draw(&mut self.random, self.climate);
            let event = application.json(self.sent, self.version, time);
            let partition = i32::try_from(self.sent % PARTITIONS as u64).unwrap_or(0);
            self.send(partition, &event)?;
            self.recent.push((time, application));
            self.sent += 1;
        }
        self.now = self.now + STEP_SPAN;
        Ok(())
    }

    fn send(&self, partition: i32, event: &str) -> Result<(), KafkaError> {
        let mut record = BaseRecord::<(), str>::to(TOPIC).partition(partition).payload(event);
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
            writeln!(file, "{}", Application::draw(&mut random, Climate::Calm).csv(time))?;
        }
        file.flush()?;
        Ok(TRAINING_ROWS)
    }

    /// Writes what came since the climate changed, as the next model's training file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_recent_training(&self, path: &Path) -> io::Result<usize> {
        let mut file = io::BufWriter::new(fs::File::create(path)?);
        writeln!(file, "{CSV_HEADER}")?;
        for (time, application) in &self.recent {
            writeln!(file, "{}", application.csv(*time))?;
        }
        file.flush()?;
        Ok(self.recent.len())
    }
}

/// Makes the topic on a real cluster; one that is there already is used as it is.
///
/// # Errors
/// When the cluster cannot be reached or refuses.
pub fn create_topic(brokers: &str) -> Result<(), String> {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().map_err(|error| error.to_string())?;
    let topic = NewTopic::new(TOPIC, PARTITIONS, TopicReplication::Fixed(1));
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let results =
        runtime.block_on(admin.create_topics([&topic], &options)).map_err(|error| error.to_string())?;
    match results.into_iter().next() {
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | Some(Ok(_)) | None => Ok(()),
        Some(Err((name, code))) => Err(format!("topic {name}: {code}")),
    }
}

/// The files of a demo.
#[derive(Debug, Clone)]
pub struct Files {
    /// Where they are.
    pub dir: PathBuf,
}

impl Files {
    /// Makes the directories.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn create(dir: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(dir.join("baselines"))?;
        Ok(Self { dir })
    }

    /// Training file of a version.
    pub fn training(&self, version: u32) -> PathBuf {
        self.dir.join(format!("training-{version}.csv"))
    }

    /// Baseline of a version.
    pub fn baseline(&self, version: u32) -> PathBuf {
        self.dir.join("baselines").join(format!("credit-{version}.baseline"))
    }

    /// The configuration.
    pub fn config(&self) -> PathBuf {
        self.dir.join("driftline.toml")
    }
}

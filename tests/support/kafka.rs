//! A real Kafka for tests: topics, records, positions.
//!
//! A test file takes it in with `#[path = "support/kafka.rs"] mod kafka;`. The broker's address comes from
//! `DRIFTLINE_TEST_KAFKA`, which `tests/run.sh` sets; without it a test fails. Every test makes topics
//! and groups of its own, so tests can run side by side and again on the same broker.

#![allow(dead_code, reason = "no test file uses all of it")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests read where the broker is, and name topics by the clock"
)]

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

/// How long the broker may take for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The broker's address.
pub fn broker() -> String {
    std::env::var("DRIFTLINE_TEST_KAFKA").expect(
        "these tests need a Kafka: run tests/run.sh, which brings one up, or set DRIFTLINE_TEST_KAFKA=host:port",
    )
}

/// A name that no other test has, on this broker and in this or any other run.
pub fn unique(name: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    format!("{name}-{now:x}-{:x}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// Creates a topic under this exact name and waits until every partition has a leader.
pub fn create_topic(name: &str, partitions: i32) {
    create_topic_with(name, partitions, &[]);
}

/// Creates a topic with configuration, such as `("message.timestamp.type", "LogAppendTime")`.
pub fn create_topic_with(name: &str, partitions: i32, configuration: &[(&str, &str)]) {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (key, value) in configuration {
        topic = topic.set(key, value);
    }
    for result in wait(admin().create_topics([&topic], &options())).unwrap() {
        result.unwrap();
    }
    wait_for_leaders(name, partitions);
}

/// Gives a topic more partitions.
pub fn add_partitions(name: &str, total: usize) {
    for result in wait(admin().create_partitions([&NewPartitions::new(name, total)], &options())).unwrap() {
        result.unwrap();
    }
    wait_for_leaders(name, i32::try_from(total).unwrap());
}

/// Deletes a topic.
pub fn delete_topic(name: &str) {
    for result in wait(admin().delete_topics(&[name], &options())).unwrap() {
        result.unwrap();
    }
}

/// Deletes the records of a partition before `offset`, as retention does.
pub fn delete_records_before(topic: &str, partition: i32, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
    wait(admin().delete_records(&list, &options())).unwrap();
}

/// Writes records to one partition and waits until the broker has them.
pub fn produce<P: AsRef<[u8]>>(topic: &str, partition: i32, payloads: impl IntoIterator<Item = P>) {
    let producer: BaseProducer = client().set("linger.ms", "5").create().unwrap();
    send(&producer, topic, partition, payloads);
    producer.flush(PATIENCE).unwrap();
}

/// Writes a record without a value.
pub fn produce_tombstone(topic: &str, partition: i32) {
    let producer: BaseProducer = client().create().unwrap();
    producer.send(BaseRecord::<[u8], [u8]>::to(topic).partition(partition).key(b"key")).unwrap();
    producer.flush(PATIENCE).unwrap();
}

/// Writes records in one transaction, which is then committed or aborted.
pub fn produce_transaction<P: AsRef<[u8]>>(
    topic: &str,
    partition: i32,
    payloads: impl IntoIterator<Item = P>,
    is_committed: bool,
) {
    let producer: BaseProducer = client().set("transactional.id", unique("transaction")).create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    send(&producer, topic, partition, payloads);
    producer.flush(PATIENCE).unwrap();
    if is_committed {
        producer.commit_transaction(PATIENCE).unwrap();
    } else {
        producer.abort_transaction(PATIENCE).unwrap();
    }
}

/// What a group remembers of a partition: the offset and who committed it.
pub fn committed(group: &str, topic: &str, partition: i32) -> Option<(i64, String)> {
    let consumer: BaseConsumer = client().set("group.id", group).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, partition);
    let list = consumer.committed_offsets(list, PATIENCE).unwrap();
    let element = list.find_partition(topic, partition)?;
    match element.offset() {
        Offset::Offset(offset) => Some((offset, element.metadata().to_owned())),
        _ => None,
    }
}

/// Writes a position into a group that has no members, as Kafka's tools do.
pub fn commit(group: &str, topic: &str, partition: i32, offset: i64, metadata: &str) {
    let consumer: BaseConsumer = client().set("group.id", group).create().unwrap();
    let mut list = TopicPartitionList::new();
    let mut element = list.add_partition(topic, partition);
    element.set_offset(Offset::Offset(offset)).unwrap();
    element.set_metadata(metadata);
    consumer.commit(&list, rdkafka::consumer::CommitMode::Sync).unwrap();
}

/// Waits until something is so.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn client() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker());
    config
}

fn admin() -> AdminClient<DefaultClientContext> {
    client().create().unwrap()
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE))
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn wait_for_leaders(topic: &str, partitions: i32) {
    let consumer: BaseConsumer = client().create().unwrap();
    eventually("every partition has a leader", || {
        (0..partitions)
            .all(|partition| consumer.fetch_watermarks(topic, partition, Duration::from_secs(1)).is_ok())
    });
}

fn send<P: AsRef<[u8]>>(
    producer: &BaseProducer,
    topic: &str,
    partition: i32,
    payloads: impl IntoIterator<Item = P>,
) {
    for payload in payloads {
        let mut record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(payload.as_ref());
        while let Err((error, back)) = producer.send(record) {
            assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
            producer.poll(Duration::from_millis(10));
            record = back;
        }
    }
}

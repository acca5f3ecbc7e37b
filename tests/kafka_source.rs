//! The Kafka source against a real broker; one test, which needs a broker to vanish, uses a simulated one.

#[path = "support/kafka.rs"]
mod kafka;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use driftline::event::Origin;
use driftline::event::decode::{FeatureMapping, Field, Mapping, RecordLimits, TimestampUnit};
use driftline::monitor::Position;
use driftline::source::{KafkaSettings, KafkaSource, OffsetReset, SourceError, SourceEvent, Stream};
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use secrecy::SecretString;

/// Room for batches on their way, unless a test is about that.
const ROOM: usize = 16;

/// A service in small: it reads, remembers what it read, and says what is durable.
struct Service {
    source: KafkaSource,
    events: Receiver<SourceEvent>,
    seen: Seen,
}

/// What a service saw.
#[derive(Default)]
struct Seen {
    /// Offsets and payloads by partition, of what this service counts.
    records: BTreeMap<Origin, Vec<(i64, Vec<u8>)>>,
    positions: BTreeMap<Origin, i64>,
    ours: BTreeMap<Origin, i64>,
    ends: Vec<(Origin, i64, Instant)>,
    gaps: Vec<(i32, i64, i64)>,
    failure: Option<String>,
    revocations: usize,
}

impl Service {
    fn start(group: &str, topics: &[&str], store: &str, from: &Seen) -> Self {
        Self::start_with(&settings(group), topics, store, from, ROOM)
    }

    fn start_with(settings: &KafkaSettings, topics: &[&str], store: &str, from: &Seen, room: usize) -> Self {
        let streams: Vec<Stream> = topics.iter().map(|topic| stream(topic)).collect();
        let (sender, events) = mpsc::sync_channel(room);
        let source = KafkaSource::start(settings, &streams, store, &from.positions(), sender).unwrap();
        Self { source, events, seen: Seen::default() }
    }

    /// Handles events until something is so; fails the test after a while.
    fn run_until(&mut self, what: &str, is_so: impl Fn(&Seen) -> bool) {
        let deadline = Instant::now() + kafka::PATIENCE;
        while !is_so(&self.seen) {
            assert!(Instant::now() < deadline, "waited for: {what}; stats {:?}", self.source.stats());
            assert!(self.seen.failure.is_none(), "{:?} while waiting for: {what}", self.seen.failure);
            self.step(Duration::from_millis(50));
        }
    }

    fn run_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.step(Duration::from_millis(10));
        }
    }

    /// Handles one event if there is one.
    fn step(&mut self, wait: Duration) {
        match self.events.recv_timeout(wait) {
            Ok(event) => self.handle(event),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }

    fn handle(&mut self, event: SourceEvent) {
        let seen = &mut self.seen;
        match event {
            SourceEvent::Records(batch) => {
                assert!(seen.ours.contains_key(&batch.origin), "records of a partition that is not ours");
                let records = seen.records.entry(batch.origin.clone()).or_default();
                for row in 0..batch.len() {
                    records.push((batch.offsets[row], batch.payload(row).to_vec()));
                }
                seen.positions.insert(batch.origin.clone(), batch.offsets[batch.len() - 1] + 1);
            }
            SourceEvent::Assigned(partitions) => seen.ours.extend(partitions),
            SourceEvent::Revoked(partitions, done) => {
                seen.revocations += 1;
                seen.ours.retain(|origin, _| !partitions.contains(origin));
                self.source.durable(&seen.positions());
                drop(done);
            }
            SourceEvent::AtEnd(origin, next) => seen.ends.push((origin, next, Instant::now())),
            SourceEvent::Gap(origin, from, to) => seen.gaps.push((origin.partition, from, to)),
            SourceEvent::Failed(message) => seen.failure = Some(message),
        }
    }

    /// Makes everything durable and ends in order.
    fn stop(mut self) -> Seen {
        self.source.durable(&self.seen.positions());
        while let Ok(event) = self.events.try_recv() {
            self.handle(event);
        }
        self.source.durable(&self.seen.positions());
        assert!(self.source.stop(Duration::from_secs(10)), "the source did not end in time");
        self.seen
    }
}

impl Seen {
    fn positions(&self) -> Vec<Position> {
        let position =
            |(origin, next): (&Origin, &i64)| Position { origin: origin.clone(), next_offset: *next };
        self.positions.iter().map(position).collect()
    }

    fn count(&self) -> usize {
        self.records.values().map(Vec::len).sum()
    }

    fn offsets(&self, topic: &str, partition: i32) -> Vec<i64> {
        let of = self.records.get(&origin(topic, partition));
        of.map_or_else(Vec::new, |records| records.iter().map(|(offset, _)| *offset).collect())
    }
}

fn origin(topic: &str, partition: i32) -> Origin {
    Origin { topic: Arc::from(topic), partition }
}

fn at(topic: &str, partition: i32, next: i64) -> Seen {
    Seen { positions: BTreeMap::from([(origin(topic, partition), next)]), ..Seen::default() }
}

fn settings(group: &str) -> KafkaSettings {
    KafkaSettings {
        brokers: kafka::broker(),
        group: group.into(),
        offset_reset: OffsetReset::Earliest,
        options: BTreeMap::from([
            ("session.timeout.ms".into(), SecretString::from("6000")),
            ("heartbeat.interval.ms".into(), SecretString::from("300")),
            ("topic.metadata.refresh.interval.ms".into(), SecretString::from("500")),
        ]),
    }
}

fn with(mut settings: KafkaSettings, option: &str, value: &str) -> KafkaSettings {
    settings.options.insert(option.into(), SecretString::from(value));
    settings
}

fn stream(topic: &str) -> Stream {
    Stream {
        topic: topic.into(),
        format: "json".into(),
        mapping: Mapping {
            model: Field::Constant("credit".into()),
            version: None,
            timestamp: "/timestamp".into(),
            timestamp_unit: TimestampUnit::Milliseconds,
            id: None,
            features: FeatureMapping::None,
            prediction: None,
            scores: BTreeMap::new(),
            label: None,
            latency_ms: None,
            segment: None,
        },
        limits: RecordLimits { bytes_max: 4096, depth_max: 64 },
    }
}

/// A topic of its own, and a group of the same name.
fn topic(name: &str, partitions: i32) -> String {
    let name = kafka::unique(name);
    kafka::create_topic(&name, partitions);
    name
}

fn numbers(range: std::ops::Range<i64>) -> impl Iterator<Item = String> {
    range.map(|number| format!("{{\"n\":{number}}}"))
}

#[test]
fn every_record_is_read_once_in_order() {
    let topic = topic("once", 4);
    for partition in 0..4 {
        kafka::produce(&topic, partition, numbers(0..5_000));
    }
    let mut service = Service::start(&topic, &[&topic], "store", &Seen::default());
    service.run_until("20,000 records", |seen| seen.count() >= 20_000);
    service.run_until("the ends", |seen| seen.ends.len() >= 4);
    let seen = service.stop();
    for partition in 0..4 {
        assert_eq!(seen.offsets(&topic, partition), (0..5_000).collect::<Vec<_>>());
        let payloads = seen.records[&origin(&topic, partition)].iter().map(|(_, payload)| payload.clone());
        assert!(payloads.eq(numbers(0..5_000).map(String::into_bytes)));
        assert_eq!(kafka::committed(&topic, &topic, partition), Some((5_000, "store".into())));
    }
}

#[test]
fn a_restart_begins_where_the_store_is_not_where_the_group_is() {
    let topic = topic("restart", 2);
    kafka::produce(&topic, 0, numbers(0..100));
    kafka::produce(&topic, 1, numbers(0..100));
    let mut service = Service::start(&topic, &[&topic], "store", &Seen::default());
    service.run_until("200 records", |seen| seen.count() >= 200);
    service.stop();

    // The group is at 100, but the store went back to 40: somebody restored a copy of it.
    let mut service = Service::start(&topic, &[&topic], "store", &at(&topic, 0, 40));
    service.run_until("60 records", |seen| seen.count() >= 60);
    service.run_until("both ends", |seen| seen.ends.len() >= 2);
    let seen = service.stop();
    assert_eq!(seen.offsets(&topic, 0), (40..100).collect::<Vec<_>>());
    assert_eq!(seen.offsets(&topic, 1), Vec::<i64>::new(), "the store knows nothing of it, the group does");
}

#[test]
fn another_store_of_the_group_is_continued_not_repeated() {
    let topic = topic("successor", 1);
    kafka::produce(&topic, 0, numbers(0..100));
    kafka::commit(&topic, &topic, 0, 70, "other-store");
    let mut service = Service::start(&topic, &[&topic], "store", &at(&topic, 0, 40));
    service.run_until("30 records", |seen| seen.count() >= 30);
    assert_eq!(service.stop().offsets(&topic, 0), (70..100).collect::<Vec<_>>());
}

#[test]
fn a_slow_receiver_loses_nothing_and_stays_a_member() {
    let topic = topic("slow", 3);
    let filler = "x".repeat(2_000);
    for partition in 0..3 {
        kafka::produce(&topic, partition, (0..9_000).map(|number| format!("{number} {filler}")));
    }
    // 54 MB against 16 MiB fetched ahead. The pause is longer than the client may go without polling.
    let settings = with(with(settings(&topic), "max.poll.interval.ms", "6000"), "session.timeout.ms", "6000");
    let mut service = Service::start_with(&settings, &[&topic], "store", &Seen::default(), 1);
    service.run_until("the first records", |seen| seen.count() > 0);
    std::thread::sleep(Duration::from_secs(7));
    assert!(service.source.stats().is_held_back);
    assert!(service.source.stats().records < 27_000, "{:?}", service.source.stats());
    service.run_until("all records", |seen| seen.count() >= 27_000);
    let seen = service.stop();
    assert_eq!(seen.revocations, 0);
    for partition in 0..3 {
        assert_eq!(seen.offsets(&topic, partition), (0..9_000).collect::<Vec<_>>());
    }
}

fn rebalance_counts_each_record_once(adapt: impl Fn(KafkaSettings) -> KafkaSettings) {
    let topic = topic("rebalance", 4);
    let settings = adapt(settings(&topic));
    let start = |store: &str| Service::start_with(&settings, &[&topic], store, &Seen::default(), ROOM);
    let write = |round: i64| {
        for partition in 0..4 {
            kafka::produce(&topic, partition, numbers(round * 500..(round + 1) * 500));
        }
    };
    write(0);
    let mut first = start("first");
    first.run_until("a part of the records", |seen| seen.count() >= 500);
    let mut second = start("second");
    write(1);
    let deadline = Instant::now() + kafka::PATIENCE;
    while first.seen.ours.len() != 2 || second.seen.ours.len() != 2 {
        assert!(Instant::now() < deadline, "{:?} {:?}", first.seen.ours, second.seen.ours);
        first.step(Duration::from_millis(10));
        second.step(Duration::from_millis(10));
    }
    write(2);
    let deadline = Instant::now() + kafka::PATIENCE;
    while first.seen.count() + second.seen.count() < 6_000 {
        assert!(Instant::now() < deadline, "{} {}", first.seen.count(), second.seen.count());
        first.step(Duration::from_millis(10));
        second.step(Duration::from_millis(10));
    }
    assert!(first.seen.revocations > 0 && second.seen.count() > 0);
    let first = first.stop();
    write(3);
    second.run_until("all partitions", |seen| seen.ours.len() == 4);
    let total = first.count();
    second.run_until("the rest", |seen| total + seen.count() >= 8_000);
    second.run_for(Duration::from_millis(500));
    let second = second.stop();
    for partition in 0..4 {
        let mut offsets = [first.offsets(&topic, partition), second.offsets(&topic, partition)].concat();
        offsets.sort_unstable();
        assert_eq!(offsets, (0..2_000).collect::<Vec<_>>(), "partition {partition}");
    }
}

#[test]
fn a_cooperative_rebalance_counts_each_record_once() {
    rebalance_counts_each_record_once(|settings| settings);
}

#[test]
fn an_eager_rebalance_counts_each_record_once() {
    rebalance_counts_each_record_once(|settings| with(settings, "partition.assignment.strategy", "range"));
}

#[test]
fn a_rebalance_by_the_broker_counts_each_record_once() {
    rebalance_counts_each_record_once(|mut settings| {
        // The newer protocol keeps these on the broker.
        settings.options.remove("session.timeout.ms");
        settings.options.remove("heartbeat.interval.ms");
        with(settings, "group.protocol", "consumer")
    });
}

#[test]
fn records_that_retention_removed_are_a_gap() {
    for strategy in ["cooperative-sticky", "range"] {
        let topic = topic("gap", 2);
        kafka::produce(&topic, 0, numbers(0..100));
        kafka::produce(&topic, 1, numbers(0..100));
        kafka::delete_records_before(&topic, 1, 40);
        let mut from = at(&topic, 1, 10);
        from.positions.insert(origin(&topic, 0), 90);
        let settings = with(settings(&topic), "partition.assignment.strategy", strategy);
        let mut service = Service::start_with(&settings, &[&topic], "store", &from, ROOM);
        service.run_until("70 records", |seen| seen.count() >= 70);
        service.run_for(Duration::from_millis(300));
        let seen = service.stop();
        assert_eq!(seen.gaps, [(1, 10, 40)]);
        assert_eq!(seen.offsets(&topic, 0), (90..100).collect::<Vec<_>>());
        assert_eq!(seen.offsets(&topic, 1), (40..100).collect::<Vec<_>>());
    }
}

#[test]
fn retention_that_overtakes_a_slow_reader_is_a_gap() {
    let topic = topic("overtaken", 2);
    let filler = "x".repeat(2_000);
    kafka::produce(&topic, 0, numbers(0..10));
    kafka::produce(&topic, 1, (0..20_000).map(|number| format!("{number} {filler}")));
    let mut service = Service::start_with(&settings(&topic), &[&topic], "store", &Seen::default(), 1);
    service.run_until("the first records", |seen| seen.offsets(&topic, 1).len() > 10);
    kafka::eventually("the fetch-ahead is full", || service.source.stats().is_held_back);
    std::thread::sleep(Duration::from_secs(1));
    kafka::delete_records_before(&topic, 1, 19_000);
    service.run_until("the last record", |seen| seen.offsets(&topic, 1).last() == Some(&19_999));
    let seen = service.stop();
    let &[(1, from, 19_000)] = seen.gaps.as_slice() else { panic!("{:?}", seen.gaps) };
    assert!(from < 19_000);
    assert_eq!(seen.offsets(&topic, 1), (0..from).chain(19_000..20_000).collect::<Vec<_>>());
    assert_eq!(seen.offsets(&topic, 0), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_log_that_ends_before_our_position_fails_the_source() {
    let topic = topic("recreated", 1);
    kafka::produce(&topic, 0, numbers(0..10));
    let mut service = Service::start(&topic, &[&topic], "store", &at(&topic, 0, 50));
    let deadline = Instant::now() + kafka::PATIENCE;
    while service.seen.failure.is_none() {
        assert!(Instant::now() < deadline);
        service.step(Duration::from_millis(50));
    }
    let message = service.seen.failure.clone().unwrap();
    assert!(message.contains(&topic) && message.contains("50") && message.contains("10"), "{message}");
    assert_eq!(service.seen.count(), 0);
}

#[test]
fn a_partition_without_a_position_is_refused_when_the_operator_says_so() {
    let topic = topic("refused", 1);
    let settings = KafkaSettings { offset_reset: OffsetReset::Error, ..settings(&topic) };
    let mut service = Service::start_with(&settings, &[&topic], "store", &Seen::default(), ROOM);
    let deadline = Instant::now() + kafka::PATIENCE;
    while service.seen.failure.is_none() {
        assert!(Instant::now() < deadline);
        service.step(Duration::from_millis(50));
    }
    let message = service.seen.failure.clone().unwrap();
    assert!(message.contains("offset_reset") && message.contains(&topic), "{message}");
    assert!(service.source.stop(Duration::from_secs(10)));
}

#[test]
fn the_newest_record_is_the_same_place_after_a_restart() {
    let topic = topic("latest", 1);
    kafka::produce(&topic, 0, numbers(0..10));
    let settings = KafkaSettings { offset_reset: OffsetReset::Latest, ..settings(&topic) };
    let mut service = Service::start_with(&settings, &[&topic], "store", &Seen::default(), ROOM);
    service.run_until("the partition", |seen| seen.ours.get(&origin(&topic, 0)) == Some(&10));
    service.stop();
    kafka::produce(&topic, 0, numbers(10..15));
    let mut service = Service::start_with(&settings, &[&topic], "store", &Seen::default(), ROOM);
    service.run_until("what came in between", |seen| seen.count() >= 5);
    assert_eq!(service.stop().offsets(&topic, 0), (10..15).collect::<Vec<_>>());
}

#[test]
fn an_idle_partition_is_said_to_be_at_its_end_again_and_again() {
    let busy = topic("busy", 1);
    let idle = topic("idle", 2);
    kafka::produce(&idle, 1, numbers(0..3));
    let mut service = Service::start(&busy, &[&busy, &idle], "store", &Seen::default());
    let of = origin(&idle, 1);
    let end = Instant::now() + Duration::from_secs(6);
    let mut written = 0;
    while Instant::now() < end {
        kafka::produce(&busy, 0, numbers(written..written + 50));
        written += 50;
        service.step(Duration::from_millis(1));
        while let Ok(event) = service.events.try_recv() {
            service.handle(event);
        }
    }
    let ends: Vec<_> = service.seen.ends.iter().filter(|(origin, ..)| *origin == of).collect();
    assert!(ends.len() >= 3, "{ends:?}");
    assert!(ends.iter().all(|(_, next, _)| *next == 3), "{ends:?}");
    let gaps = ends.windows(2).map(|pair| pair[1].2 - pair[0].2);
    assert!(gaps.max().unwrap() < Duration::from_millis(2_500));
    service.stop();
}

#[test]
fn transactions_are_read_when_committed_and_their_markers_are_passed() {
    let topic = topic("transactions", 1);
    kafka::produce_transaction(&topic, 0, numbers(0..5), true);
    kafka::produce_transaction(&topic, 0, numbers(5..9), false);
    kafka::produce(&topic, 0, numbers(9..10));
    kafka::produce_transaction(&topic, 0, numbers(10..12), true);
    let mut service = Service::start(&topic, &[&topic], "store", &Seen::default());
    // Each transaction ends with a marker that takes an offset: 5 + 1, 4 + 1, 1, 2 + 1.
    service.run_until("the end", |seen| seen.ends.iter().any(|(_, next, _)| *next == 15));
    let seen = service.stop();
    assert_eq!(seen.offsets(&topic, 0), [0, 1, 2, 3, 4, 11, 12, 13]);
    assert!(seen.gaps.is_empty());
}

#[test]
fn tombstones_and_oversized_records_are_handed_over_within_bounds() {
    let topic = topic("sizes", 1);
    kafka::produce(&topic, 0, [vec![], vec![b'a'; 4_096], vec![b'b'; 500_000]]);
    let mut service = Service::start(&topic, &[&topic], "store", &Seen::default());
    service.run_until("3 records", |seen| seen.count() >= 3);
    let seen = service.stop();
    let sizes: Vec<usize> =
        seen.records[&origin(&topic, 0)].iter().map(|(_, payload)| payload.len()).collect();
    assert_eq!(sizes, [0, 4_096, 4_097], "one byte beyond the limit shows that the record is too large");
}

#[test]
fn a_topic_and_partitions_that_come_later_are_read_from_their_beginning() {
    let topic = kafka::unique("later");
    let mut service = Service::start(&topic, &[&topic], "store", &Seen::default());
    service.run_for(Duration::from_secs(1));
    assert!(service.seen.failure.is_none());
    kafka::create_topic(&topic, 1);
    kafka::produce(&topic, 0, numbers(0..10));
    service.run_until("the new topic", |seen| seen.count() >= 10);
    kafka::add_partitions(&topic, 2);
    kafka::produce(&topic, 1, numbers(0..10));
    service.run_until("the new partition", |seen| seen.count() >= 20);
    let seen = service.stop();
    for partition in 0..2 {
        assert_eq!(seen.offsets(&topic, partition), (0..10).collect::<Vec<_>>());
    }
}

#[test]
fn a_broker_that_cannot_be_reached_is_waited_for() {
    let unreachable = KafkaSettings { brokers: "127.0.0.1:1".into(), ..settings("nobody") };
    let mut service = Service::start_with(&unreachable, &["nothing"], "store", &Seen::default(), ROOM);
    service.run_for(Duration::from_secs(2));
    let stats = service.source.stats();
    assert!(!stats.is_connected && stats.last_error.is_some(), "{stats:?}");
    assert!(service.seen.failure.is_none() && service.seen.ends.is_empty());
    assert!(service.source.stop(Duration::from_secs(5)));
}

#[test]
fn silence_of_the_brokers_is_not_the_end_of_a_partition() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("quiet", 1, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    let produce = |range| {
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
        for payload in numbers(range) {
            producer.send(BaseRecord::<(), _>::to("quiet").partition(0).payload(&payload)).unwrap();
        }
        producer.flush(kafka::PATIENCE).unwrap();
    };
    produce(0..10);
    let settings = KafkaSettings { brokers: brokers.clone(), ..settings("group") };
    let settings = with(settings, "reconnect.backoff.max.ms", "200");
    let mut service = Service::start_with(&settings, &["quiet"], "store", &Seen::default(), ROOM);
    service.run_until("the end", |seen| seen.ends.len() >= 2);
    assert!(service.source.stats().is_connected);

    cluster.broker_down(1).unwrap();
    service.run_for(Duration::from_millis(2_500));
    assert!(!service.source.stats().is_connected);
    let ends = service.seen.ends.len();
    service.run_for(Duration::from_secs(2));
    assert_eq!(service.seen.ends.len(), ends, "nobody knows whether there are records");

    cluster.broker_up(1).unwrap();
    produce(10..20);
    service.run_until("what came later", |seen| seen.count() >= 20);
    service.run_until("the end again", |seen| seen.ends.len() > ends);
    assert_eq!(service.stop().offsets("quiet", 0), (0..20).collect::<Vec<_>>());
}

#[test]
fn what_is_durable_is_told_to_the_group_with_the_stores_name() {
    let topic = topic("commit", 1);
    kafka::produce(&topic, 0, numbers(0..10));
    let mut service = Service::start(&topic, &[&topic], "store-7", &Seen::default());
    service.run_until("10 records", |seen| seen.count() >= 10);
    let durable = [Position { origin: origin(&topic, 0), next_offset: 6 }];
    service.source.durable(&durable);
    kafka::eventually("the commit", || kafka::committed(&topic, &topic, 0) == Some((6, "store-7".into())));
    let stats = service.source.stats();
    assert_eq!(stats.partitions[0].next_offset, 10);
    // A crash: nothing more is made durable.
    drop(service.source);
    drop(service.events);
    kafka::eventually("the group is left", || {
        let mut again = Service::start(&topic, &[&topic], "store-7", &at(&topic, 0, 6));
        again.run_until("4 records", |seen| seen.count() >= 4);
        again.stop().offsets(&topic, 0) == [6, 7, 8, 9]
    });
}

#[test]
fn one_topic_for_two_streams_is_refused() {
    let (sender, _events) = mpsc::sync_channel(1);
    let streams = [stream("same"), stream("same")];
    let error = KafkaSource::start(&settings("group"), &streams, "store", &[], sender).err();
    assert!(matches!(error, Some(SourceError::RepeatedTopic { topic }) if topic == "same"));
}

//! What the Kafka client says about itself once a second: lag, the ends of partitions, brokers.
//!
//! The end of a partition is found here and not by the client's end-of-partition signal. Taken in
//! batches, that signal moves the place from which the client resumes one record too far, so that a
//! record could be lost in a rebalance; and it comes only once, while idleness must be shown to last.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;

/// The client's statistics, as much of them as matters.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// When it was taken, at the latest.
    pub(super) at: Instant,
    /// Bytes received from brokers since the client started.
    pub(super) rx_bytes: u64,
    /// Rebalances since the client started.
    pub(super) rebalances: u64,
    /// Brokers with a working connection.
    pub(super) brokers_up: usize,
    /// By topic and partition.
    pub(super) partitions: BTreeMap<String, BTreeMap<i32, PartitionSnapshot>>,
}

/// One partition in the client's eyes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartitionSnapshot {
    /// The offset the next readable record will have; `None` before the first answer.
    pub(super) end: Option<i64>,
    /// Whether everything up to `end` had been fetched, and the broker was being asked for more.
    pub(super) is_fetched_to_end: bool,
    /// Whether no fetched record waited in the queue that serves the partition.
    pub(super) is_queue_empty: bool,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    rx_bytes: u64,
    #[serde(default)]
    brokers: BTreeMap<String, Broker>,
    #[serde(default)]
    topics: BTreeMap<String, Topic>,
    cgrp: Option<Group>,
}

#[derive(Deserialize)]
struct Broker {
    nodeid: i32,
    state: String,
    #[serde(default)]
    rxidle: i64,
}

#[derive(Deserialize)]
struct Topic {
    #[serde(default)]
    partitions: BTreeMap<i32, Partition>,
}

#[derive(Deserialize)]
struct Partition {
    broker: i32,
    next_offset: i64,
    hi_offset: i64,
    ls_offset: i64,
    fetchq_cnt: i64,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    rebalance_cnt: u64,
}

impl Snapshot {
    /// Reads the client's JSON. A broker that has been silent for longer than `silence_max` is not taken
    /// to answer; an idle partition is answered at least every `fetch.wait.max.ms`.
    pub(super) fn parse(
        json: &[u8],
        at: Instant,
        is_read_committed: bool,
        silence_max: Duration,
    ) -> Result<Self, serde_json::Error> {
        let document: Document = serde_json::from_slice(json)?;
        let silence_max_us = i64::try_from(silence_max.as_micros()).unwrap_or(i64::MAX);
        let answers = |id: i32| {
            document.brokers.values().any(|broker| {
                broker.nodeid == id && broker.is_up() && (0..=silence_max_us).contains(&broker.rxidle)
            })
        };
        let read = |partition: &Partition| {
            let end = if is_read_committed { partition.ls_offset } else { partition.hi_offset };
            let end = (end >= 0).then_some(end);
            let is_fetched = end.is_some_and(|end| partition.next_offset >= end);
            PartitionSnapshot {
                end,
                is_fetched_to_end: is_fetched && answers(partition.broker),
                is_queue_empty: partition.fetchq_cnt == 0,
            }
        };
        let partitions = document
            .topics
            .iter()
            .map(|(name, topic)| {
                // Number -1 stands for records of no partition.
                let known = topic.partitions.iter().filter(|(number, _)| **number >= 0);
                (name.clone(), known.map(|(number, partition)| (*number, read(partition))).collect())
            })
            .collect();
        Ok(Self {
            at,
            rx_bytes: document.rx_bytes,
            rebalances: document.cgrp.as_ref().map_or(0, |group| group.rebalance_cnt),
            brokers_up: document.brokers.values().filter(|broker| broker.is_up()).count(),
            partitions,
        })
    }

    /// What is known of one partition.
    pub(super) fn partition(&self, topic: &str, partition: i32) -> Option<PartitionSnapshot> {
        self.partitions.get(topic)?.get(&partition).copied()
    }
}

impl Broker {
    fn is_up(&self) -> bool {
        self.state == "UP" || self.state == "UPDATE"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(state: &str, rxidle: i64, next: i64, stable: i64, high: i64) -> PartitionSnapshot {
        let json = format!(
            r#"{{"rx_bytes":7,"brokers":{{"b:1/1":{{"nodeid":1,"state":"{state}","rxidle":{rxidle},"extra":[]}}}},
            "topics":{{"t":{{"partitions":{{"-1":{{"broker":-1,"next_offset":-1001,"hi_offset":-1001,"ls_offset":-1001,"fetchq_cnt":0}},
            "3":{{"broker":1,"next_offset":{next},"hi_offset":{high},"ls_offset":{stable},"fetchq_cnt":0}}}}}}}},"cgrp":{{"rebalance_cnt":2}}}}"#
        );
        let parsed = Snapshot::parse(json.as_bytes(), Instant::now(), true, Duration::from_secs(5)).unwrap();
        assert_eq!((parsed.rx_bytes, parsed.rebalances), (7, 2));
        assert_eq!(parsed.partition("t", -1), None);
        parsed.partition("t", 3).unwrap()
    }

    #[test]
    fn a_partition_fetched_to_its_end_is_known() {
        let partition = snapshot("UP", 400_000, 10, 10, 10);
        assert_eq!(
            partition,
            PartitionSnapshot { end: Some(10), is_fetched_to_end: true, is_queue_empty: true }
        );
    }

    #[test]
    fn records_of_open_transactions_are_beyond_the_end() {
        assert!(snapshot("UP", 400_000, 8, 8, 10).is_fetched_to_end);
    }

    #[test]
    fn a_partition_with_records_left_is_not_at_its_end() {
        assert!(!snapshot("UP", 400_000, 9, 10, 10).is_fetched_to_end);
    }

    #[test]
    fn silence_of_a_broker_is_not_the_end_of_a_partition() {
        assert!(!snapshot("UP", 6_000_000, 10, 10, 10).is_fetched_to_end);
        assert!(!snapshot("UP", -1, 10, 10, 10).is_fetched_to_end);
        assert!(!snapshot("DOWN", 1_000, 10, 10, 10).is_fetched_to_end);
    }

    #[test]
    fn nothing_is_known_before_the_first_answer() {
        let partition = snapshot("UP", 400_000, -1001, -1001, -1001);
        assert_eq!((partition.end, partition.is_fetched_to_end), (None, false));
    }
}

//! Clocks of partitions and the watermark of a model.

use serde::{Deserialize, Serialize};

use crate::event::{Span, Timestamp};

/// What is known of a partition's event time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionClock {
    /// The newest event time it has shown.
    pub newest: Option<Timestamp>,
    /// When, by the process's clock, it last gave a record.
    pub data_at: Option<Timestamp>,
    /// Since when it is polled and empty; forgotten over restarts, so that emptiness must be seen again.
    #[serde(skip)]
    pub empty_since: Option<Timestamp>,
    /// Since when it is not ours while other partitions are; forgotten over restarts, so that it must be
    /// seen again.
    #[serde(skip)]
    pub away_since: Option<Timestamp>,
}

impl PartitionClock {
    /// Records came; `newest` is the newest event time among them, if any could be read.
    pub fn advance(&mut self, newest: Option<Timestamp>, now: Timestamp) {
        self.newest = self.newest.max(newest);
        self.data_at = Some(now);
        self.empty_since = None;
    }

    /// The partition was polled and is at its end.
    pub fn empty(&mut self, now: Timestamp) {
        self.empty_since.get_or_insert(now);
    }

    /// The partition is not ours at `now`, while others are.
    pub fn away(&mut self, now: Timestamp) {
        self.away_since.get_or_insert(now);
    }

    /// The partition is ours, to be read anew: neither empty nor away.
    pub fn back(&mut self) {
        self.empty_since = None;
        self.away_since = None;
    }

    /// Whether it has been away for so long that it is taken to be another process's for good.
    ///
    /// Until then it holds the watermark back like a partition that is behind. After a crash the group
    /// may share partitions with a member that is dead, until its session ends: windows that closed
    /// meanwhile would miss the records that come with those partitions.
    pub fn is_gone(&self, now: Timestamp, idle_after: Span) -> bool {
        self.away_since.is_some_and(|since| now - since >= idle_after)
    }

    /// Whether it has been polled and empty for long enough to leave the minimum.
    pub fn is_idle(&self, now: Timestamp, idle_after: Span) -> bool {
        self.empty_since.is_some_and(|since| now - since >= idle_after)
    }
}

/// The watermark over partitions: the smallest `newest` of those that are not idle.
///
/// A partition that has shown nothing yet, and is not known to be empty, holds everything back. When
/// all are idle, event time goes on with the process's clock from the newest event, less the time that
/// idleness takes to be believed: so the last window closes although nothing follows, and a pause in a
/// stream of old events moves its time by the length of the pause only, not to the present.
pub fn model_watermark<'a>(
    clocks: impl Iterator<Item = &'a PartitionClock>,
    now: Timestamp,
    idle_after: Span,
) -> Option<Timestamp> {
    let mut smallest: Option<Timestamp> = None;
    let mut newest: Option<Timestamp> = None;
    let mut data_at: Option<Timestamp> = None;
    let mut active = 0;
    for clock in clocks {
        newest = newest.max(clock.newest);
        data_at = data_at.max(clock.data_at);
        if !clock.is_idle(now, idle_after) {
            active += 1;
            let shown = clock.newest?;
            smallest = Some(smallest.map_or(shown, |smallest| smallest.min(shown)));
        }
    }
    if active > 0 {
        return smallest;
    }
    let quiet = (now - data_at?).max(idle_after) - idle_after;
    Some(newest? + quiet)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Span = Span::from_secs(60);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::default() + Span::from_secs(seconds)
    }

    fn clock(newest: i64, data_at: i64) -> PartitionClock {
        PartitionClock { newest: Some(at(newest)), data_at: Some(at(data_at)), ..PartitionClock::default() }
    }

    #[test]
    fn the_slowest_active_partition_decides() {
        let clocks = [clock(100, 0), clock(50, 0)];
        assert_eq!(model_watermark(clocks.iter(), at(0), IDLE), Some(at(50)));
    }

    #[test]
    fn a_partition_that_showed_nothing_holds_back_until_it_is_known_to_be_empty() {
        let mut unseen = PartitionClock::default();
        assert_eq!(model_watermark([clock(100, 0), unseen].iter(), at(500), IDLE), None);
        unseen.empty(at(500));
        assert_eq!(model_watermark([clock(100, 0), unseen].iter(), at(559), IDLE), None);
        assert_eq!(model_watermark([clock(100, 0), unseen].iter(), at(560), IDLE), Some(at(100)));
    }

    #[test]
    fn a_partition_that_is_behind_is_not_idle_however_long_it_gives_nothing() {
        let clocks = [clock(100, 0), clock(50, 0)];
        assert_eq!(model_watermark(clocks.iter(), at(1_000_000), IDLE), Some(at(50)));
    }

    #[test]
    fn data_brings_an_idle_partition_back() {
        let mut slow = clock(50, 0);
        slow.empty(at(10));
        assert_eq!(model_watermark([clock(100, 80), slow].iter(), at(80), IDLE), Some(at(100)));
        slow.advance(Some(at(60)), at(81));
        assert_eq!(model_watermark([clock(100, 80), slow].iter(), at(81), IDLE), Some(at(60)));
    }

    #[test]
    fn when_all_are_idle_event_time_goes_on_with_the_clock() {
        let mut only = clock(1_000, 0);
        only.empty(at(1));
        assert_eq!(model_watermark([only].iter(), at(60), IDLE), Some(at(1_000)));
        assert_eq!(model_watermark([only].iter(), at(61), IDLE), Some(at(1_001)));
        assert_eq!(model_watermark([only].iter(), at(3_660), IDLE), Some(at(4_600)));
    }
}

//! Clocks of partitions and the watermark of a model.

use serde::{Deserialize, Serialize};

use crate::event::{Span, Timestamp};

/// Longest time between two sightings of an empty partition that still count as one stretch of emptiness.
/// A source says so about every second; a longer silence means that nobody looked (the network was gone,
/// the process stood still, the clock was set), and then emptiness must be seen anew.
const SIGHTING_GAP_MAX: Span = Span::from_secs(10);

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
    /// When it was last seen to be empty.
    #[serde(skip)]
    pub empty_seen: Option<Timestamp>,
    /// Since when it is not ours while other partitions are; forgotten over restarts, so that it must be
    /// seen again.
    #[serde(skip)]
    pub away_since: Option<Timestamp>,
}

impl PartitionClock {
    /// Records came; `newest` is the newest event time among them. Records without a time that can be
    /// read say nothing about event time: they neither move the clock nor hold others back.
    pub fn advance(&mut self, newest: Option<Timestamp>, now: Timestamp) {
        if newest.is_some() {
            self.newest = self.newest.max(newest);
            self.data_at = Some(now);
            self.forget_emptiness();
        }
    }

    /// The partition was polled and is at its end.
    pub fn empty(&mut self, now: Timestamp) {
        let is_one_stretch =
            self.empty_seen.is_some_and(|seen| now >= seen && now - seen <= SIGHTING_GAP_MAX);
        if !is_one_stretch {
            self.empty_since = None;
        }
        self.empty_since.get_or_insert(now);
        self.empty_seen = Some(now);
    }

    /// The partition is not ours at `now`, while others are.
    pub fn away(&mut self, now: Timestamp) {
        self.away_since.get_or_insert(now);
    }

    /// The partition is ours, to be read anew: neither empty nor away.
    pub fn back(&mut self) {
        self.forget_emptiness();
        self.away_since = None;
    }

    fn forget_emptiness(&mut self) {
        self.empty_since = None;
        self.empty_seen = None;
    }

    /// Whether it has been away for so long that it is taken to be another process's for good.
    ///
    /// Until then it holds the watermark back like a partition that is behind. After a crash the group
    /// may share partitions with a member that is dead, until its session ends: windows that closed
    /// meanwhile would miss the records that come with those partitions.
    pub fn is_gone(&self, now: Timestamp, idle_after: Span) -> bool {
        self.away_since.is_some_and(|since| now - since >= idle_after)
    }

    /// Whether it has been polled and empty for long enough to leave the minimum. Only sightings count:
    /// while nobody looks, no time passes.
    pub fn is_idle(&self, idle_after: Span) -> bool {
        self.empty_since.zip(self.empty_seen).is_some_and(|(since, seen)| seen - since >= idle_after)
    }
}

/// The watermark over partitions: the smallest `newest` of those that are not idle.
///
/// A partition that has shown nothing yet, and is not known to be empty, holds everything back. When
/// all are idle, event time goes on with the process's clock, as far as emptiness was seen, from the newest event, less the time that
/// idleness takes to be believed: so the last window closes although nothing follows, and a pause in a
/// stream of old events moves its time by the length of the pause only, not to the present.
pub fn model_watermark<'a>(
    clocks: impl Iterator<Item = &'a PartitionClock>,
    idle_after: Span,
) -> Option<Timestamp> {
    let mut smallest: Option<Timestamp> = None;
    let mut newest: Option<Timestamp> = None;
    let mut data_at: Option<Timestamp> = None;
    let mut seen: Option<Timestamp> = None;
    let mut active = 0;
    for clock in clocks {
        newest = newest.max(clock.newest);
        data_at = data_at.max(clock.data_at);
        // The least recently seen decides how far event time may go on.
        seen = seen.map_or(clock.empty_seen, |seen| clock.empty_seen.map(|other| other.min(seen)));
        if !clock.is_idle(idle_after) {
            active += 1;
            let shown = clock.newest?;
            smallest = Some(smallest.map_or(shown, |smallest| smallest.min(shown)));
        }
    }
    if active > 0 {
        return smallest;
    }
    let quiet = (seen? - data_at?).max(idle_after) - idle_after;
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

    /// Sees the partition empty every five seconds.
    fn see_empty(clock: &mut PartitionClock, from: i64, to: i64) {
        (from..=to).step_by(5).chain([to]).for_each(|second| clock.empty(at(second)));
    }

    #[test]
    fn the_slowest_active_partition_decides() {
        let clocks = [clock(100, 0), clock(50, 0)];
        assert_eq!(model_watermark(clocks.iter(), IDLE), Some(at(50)));
    }

    #[test]
    fn a_partition_that_showed_nothing_holds_back_until_it_is_known_to_be_empty() {
        let mut unseen = PartitionClock::default();
        assert_eq!(model_watermark([clock(100, 0), unseen].iter(), IDLE), None);
        see_empty(&mut unseen, 500, 559);
        assert_eq!(model_watermark([clock(100, 0), unseen].iter(), IDLE), None);
        unseen.empty(at(560));
        assert_eq!(model_watermark([clock(100, 0), unseen].iter(), IDLE), Some(at(100)));
    }

    #[test]
    fn a_partition_that_is_behind_is_not_idle_however_long_it_gives_nothing() {
        let clocks = [clock(100, 0), clock(50, 0)];
        assert_eq!(model_watermark(clocks.iter(), IDLE), Some(at(50)));
    }

    #[test]
    fn emptiness_that_nobody_looked_at_does_not_count() {
        let mut lost = clock(50, 0);
        see_empty(&mut lost, 10, 30);
        lost.empty(at(7_200));
        assert!(!lost.is_idle(IDLE), "two hours without a look are no hours of emptiness");
        see_empty(&mut lost, 7_205, 7_260);
        assert!(lost.is_idle(IDLE));
        lost.empty(at(3_600));
        assert!(!lost.is_idle(IDLE), "a clock that was set back begins anew");
    }

    #[test]
    fn data_brings_an_idle_partition_back_and_garbage_does_not() {
        let mut slow = clock(50, 0);
        see_empty(&mut slow, 10, 80);
        assert_eq!(model_watermark([clock(100, 80), slow].iter(), IDLE), Some(at(100)));
        slow.advance(None, at(81));
        assert_eq!(model_watermark([clock(100, 80), slow].iter(), IDLE), Some(at(100)));
        slow.advance(Some(at(60)), at(81));
        assert_eq!(model_watermark([clock(100, 80), slow].iter(), IDLE), Some(at(60)));
    }

    #[test]
    fn when_all_are_idle_event_time_goes_on_with_the_clock() {
        let mut only = clock(1_000, 0);
        see_empty(&mut only, 1, 60);
        assert_eq!(model_watermark([only].iter(), IDLE), Some(at(1_000)));
        only.empty(at(61));
        assert_eq!(model_watermark([only].iter(), IDLE), Some(at(1_001)));
        see_empty(&mut only, 66, 3_660);
        assert_eq!(model_watermark([only].iter(), IDLE), Some(at(4_600)));
    }
}

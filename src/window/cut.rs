//! Which windows a pane belongs to and which of them are complete.

use std::collections::BTreeSet;

use super::{Settings, WindowSettings};
use crate::event::{Span, Timestamp};

/// A window of one model: its end and length. Ordered as windows close: by end, then shortest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowId {
    /// End, exclusive.
    pub end: Timestamp,
    /// Length.
    pub length: Span,
    /// Distance to the next window of this length.
    pub slide: Span,
}

impl WindowId {
    /// Start, inclusive.
    pub fn start(&self) -> Timestamp {
        self.end - self.length
    }

    /// Whether windows of this length overlap.
    pub fn is_sliding(&self) -> bool {
        self.slide < self.length
    }
}

/// The geometry of a model's windows.
#[derive(Debug, Clone)]
pub struct Cut {
    windows: Vec<WindowSettings>,
    offset: Span,
    pane: Span,
    lateness: Span,
    longest: Span,
}

impl Cut {
    /// From the settings, whose lengths and slides are positive.
    pub fn new(settings: &Settings) -> Self {
        Self {
            windows: settings.windows.clone(),
            offset: settings.offset,
            pane: settings.pane(),
            lateness: settings.allowed_lateness,
            longest: settings.windows.iter().map(|window| window.length).max().unwrap_or(Span::ZERO),
        }
    }

    /// Length of a pane.
    pub fn pane(&self) -> Span {
        self.pane
    }

    /// Number of window lengths.
    pub fn lengths(&self) -> usize {
        self.windows.len()
    }

    /// Start of the pane that holds an event of this time.
    pub fn pane_of(&self, time: Timestamp) -> Timestamp {
        time.floor_to(self.pane, self.offset)
    }

    /// The end of the first window to close that holds this pane.
    pub fn first_end(&self, pane: Timestamp) -> Timestamp {
        let ends = self.windows.iter().map(|window| self.first_start(pane, window) + window.length);
        ends.min().unwrap_or(pane + self.pane)
    }

    /// Whether an event in this pane is late against the newest event time of its partition: the first
    /// window that holds it would be complete at that time.
    pub fn is_late(&self, pane: Timestamp, newest: Timestamp) -> bool {
        self.first_end(pane) <= self.complete_up_to(newest)
    }

    /// Up to which end windows are complete at this watermark.
    pub fn complete_up_to(&self, watermark: Timestamp) -> Timestamp {
        watermark - self.lateness
    }

    /// Whether every window that holds this pane is complete.
    pub fn is_done(&self, pane: Timestamp, complete_up_to: Timestamp) -> bool {
        pane + self.longest <= complete_up_to
    }

    /// The windows that hold one of `panes` and end in `(after, up_to]`, in the order they close.
    pub fn closing(
        &self,
        panes: impl Iterator<Item = Timestamp>,
        after: Option<Timestamp>,
        up_to: Timestamp,
    ) -> BTreeSet<WindowId> {
        let mut closing = BTreeSet::new();
        for pane in panes {
            for window @ &WindowSettings { length, slide } in &self.windows {
                let mut start = self.first_start(pane, window);
                if let Some(after) = after.filter(|after| start + length <= *after) {
                    // Skip the windows that have closed already instead of stepping over them.
                    let skip = (after - (start + length)).as_micros() / slide.as_micros().max(1);
                    start = start + Span::from_micros(slide.as_micros().saturating_mul(skip));
                }
                while start <= pane && start + length <= up_to {
                    if after.is_none_or(|after| start + length > after) {
                        closing.insert(WindowId { end: start + length, length, slide });
                    }
                    start = start + slide;
                }
            }
        }
        closing
    }

    /// Start of the first window of this length that holds the pane.
    fn first_start(&self, pane: Timestamp, window: &WindowSettings) -> Timestamp {
        let floor = (pane + self.pane - window.length).floor_to(window.slide, self.offset);
        if floor + window.length < pane + self.pane { floor + window.slide } else { floor }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::default() + Span::from_secs(seconds)
    }

    fn cut(windows: &[(i64, i64)], offset: i64) -> Cut {
        let windows = windows
            .iter()
            .map(|&(length, slide)| WindowSettings {
                length: Span::from_secs(length),
                slide: Span::from_secs(slide),
            })
            .collect();
        Cut::new(&Settings {
            windows,
            offset: Span::from_secs(offset),
            allowed_lateness: Span::from_secs(5),
            ..Settings::default()
        })
    }

    #[test]
    fn a_tumbling_window_holds_its_panes_and_closes_once() {
        let cut = cut(&[(60, 60)], 0);
        assert_eq!(cut.pane(), Span::from_secs(60));
        let ends: Vec<Timestamp> =
            cut.closing([at(0), at(60)].into_iter(), None, at(120)).iter().map(|id| id.end).collect();
        assert_eq!(ends, [at(60), at(120)]);
        assert_eq!(cut.closing([at(0), at(60)].into_iter(), Some(at(60)), at(120)).len(), 1);
    }

    #[test]
    fn an_event_is_late_when_its_pane_ended_longer_ago_than_the_lateness() {
        let cut = cut(&[(60, 60)], 0);
        assert!(!cut.is_late(at(0), at(64)));
        assert!(cut.is_late(at(0), at(65)));
    }

    #[test]
    fn lateness_is_judged_by_the_first_window_that_holds_the_pane() {
        let cut = cut(&[(86_400, 86_400), (604_800, 86_400)], 0);
        assert!(!cut.is_late(at(0), at(86_404)), "the day is not over");
        assert!(cut.is_late(at(0), at(86_405)));
    }

    proptest! {
        #[test]
        fn closing_lists_exactly_the_windows_that_hold_a_pane(
            panes in prop::collection::btree_set(-50i64..50, 0..8),
            slide in 1i64..5, times in 1i64..5, offset in 0i64..7,
            after in prop::option::of(-80i64..80), up_to in -80i64..80,
        ) {
            let (length, tumbling) = (slide * times, 30);
            let cut = cut(&[(length, slide), (tumbling, tumbling)], offset);
            let pane = cut.pane().as_micros() / 1_000_000;
            let panes: Vec<i64> = panes.into_iter().map(|p| p * pane + offset).collect();
            let found: Vec<(i64, i64)> = cut
                .closing(panes.iter().map(|p| at(*p)), after.map(at), at(up_to))
                .iter()
                .map(|id| (id.end.as_micros() / 1_000_000, id.length.as_micros() / 1_000_000))
                .collect();
            let mut expected = BTreeSet::new();
            for (length, slide) in [(length, slide), (tumbling, tumbling)] {
                for end in -200i64..200 {
                    let start = end - length;
                    let aligned = (start - offset).rem_euclid(slide) == 0;
                    let holds = panes.iter().any(|p| start <= *p && *p + pane <= end);
                    if aligned && holds && end <= up_to && after.is_none_or(|after| end > after) {
                        expected.insert((end, length));
                    }
                }
            }
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }
}

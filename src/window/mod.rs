//! Windows in event time: panes, watermarks, lateness.
//!
//! Place in the flow: decides to which pane an event belongs, whether it is late, and when a window is
//! complete. Pure; holds no counts.
//!
//! **Watermark.** Each partition's watermark is the newest event time it has shown (events from the
//! future never count). A model's watermark is the smallest over the partitions that may carry it. An
//! idle partition leaves that minimum, but only while it is polled and empty: one that is paused or
//! behind holds the others back, because its records are not late, only unread.
//!
//! **Lateness.** An event is late when the first window that would hold it ended more than the allowed
//! lateness before the newest event *of its own partition*. That depends on the partition's records alone, not on how partitions
//! interleave or how records fall into batches, so any two runs agree on it. Since the model's watermark
//! never runs ahead of an active partition's, such an event always finds its pane open. Only after a
//! partition was idle may its events meet a window that closed without them; those are late too.
//!
//! **Closing.** A window is complete when the model's watermark has passed its end by the allowed
//! lateness.
//!
//! Invariant: the watermark of a model never goes back, and no pane is added to once a window that holds
//! it has closed.

mod cut;
mod watermark;

pub use cut::{Cut, WindowId};
pub use watermark::{PartitionClock, model_watermark};

use serde::{Deserialize, Serialize};

use crate::event::Span;

/// How a model's event time is cut and when it is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The windows, shortest first.
    pub windows: Vec<WindowSettings>,
    /// Shifts where windows begin: a window starts at a multiple of its slide after this.
    pub offset: Span,
    /// How far behind its partition's newest event an event may be and still be counted.
    pub allowed_lateness: Span,
    /// How far ahead of its arrival an event may be and still be believed.
    pub future_skew: Span,
    /// A partition that is read to its end and stays empty for this long, or is away for this long, stops
    /// holding the others back.
    pub idle_after: Span,
}

/// One length of window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSettings {
    /// Its length.
    pub length: Span,
    /// Distance between the starts of two windows: the length itself (tumbling) or a part of it.
    pub slide: Span,
}

impl Settings {
    /// The length of a pane: the greatest that divides every length and slide.
    pub fn pane(&self) -> Span {
        self.windows.iter().fold(Span::ZERO, |pane, window| pane.gcd(window.length).gcd(window.slide))
    }
}

impl Default for Settings {
    fn default() -> Self {
        let hour = Span::from_secs(3600);
        let windows = [1, 6, 24, 168]
            .map(|hours| WindowSettings { length: Span::from_secs(hours * 3600), slide: hour })
            .to_vec();
        Self {
            windows,
            offset: Span::ZERO,
            allowed_lateness: Span::from_secs(600),
            future_skew: Span::from_secs(300),
            idle_after: Span::from_secs(60),
        }
    }
}

//! Windows in event time: panes, watermarks, lateness.
//!
//! Place in the flow: decides to which pane an event belongs, whether it is late, and when a window is
//! complete. Pure; holds no counts.

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
    /// A partition that is read to its end and stays empty for this long stops holding the others back.
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

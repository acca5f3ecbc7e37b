//! The one place that reads the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::event::{Clock, Timestamp};

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::saturating_from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

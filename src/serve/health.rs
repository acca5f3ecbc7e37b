//! Health: whether the process does its work, and whether records reach it.
//!
//! The owner of the windows beats each time round its loop; the source says how it stands. Both are read
//! by `/healthz` and `/readyz` without a wait.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::event::Timestamp;
use crate::monitor::{BudgetView, JoinView};

/// What the process says of itself. All times are of the monotonic clock.
#[derive(Debug)]
pub struct Health {
    started: Instant,
    beat_age_max: Duration,
    last_beat_ms: AtomicU64,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    source: Source,
    is_draining: bool,
    watermarks: BTreeMap<String, Timestamp>,
    budgets: Arc<Vec<BudgetView>>,
    joins: Arc<Vec<JoinView>>,
}

#[derive(Debug, Default)]
enum Source {
    #[default]
    Starting,
    Reading,
    Unavailable(String),
}

impl Health {
    /// Health of a process that starts now and must beat at least every `beat_age_max`.
    pub fn new(beat_age_max: Duration) -> Self {
        let last_beat_ms = AtomicU64::new(0);
        Self { started: Instant::now(), beat_age_max, last_beat_ms, told: Mutex::default() }
    }

    /// The owner's loop went round.
    pub fn beat(&self) {
        self.last_beat_ms.store(milliseconds(self.uptime()), Ordering::Relaxed);
    }

    /// The source has its partitions and answers.
    pub fn source_reading(&self) {
        self.told().source = Source::Reading;
    }

    /// The source cannot be read, and why.
    pub fn source_unavailable(&self, reason: impl Into<String>) {
        self.told().source = Source::Unavailable(reason.into());
    }

    /// The process is about to end.
    pub fn draining(&self) {
        self.told().is_draining = true;
    }

    /// A model's event time is complete up to here.
    pub fn watermark(&self, model: &str, watermark: Timestamp) {
        self.told().watermarks.insert(model.to_owned(), watermark);
    }

    /// The watermark of each model that has one.
    pub fn watermarks(&self) -> BTreeMap<String, Timestamp> {
        self.told().watermarks.clone()
    }

    /// How the models' budgets and calibrations stand.
    pub fn set_budgets(&self, budgets: Vec<BudgetView>) {
        self.told().budgets = Arc::new(budgets);
    }

    /// How the models' budgets and calibrations stood when the owner last looked.
    pub fn budgets(&self) -> Arc<Vec<BudgetView>> {
        Arc::clone(&self.told().budgets)
    }

    /// What waits for labels, of each model that joins them.
    pub fn set_joins(&self, joins: Vec<JoinView>) {
        self.told().joins = Arc::new(joins);
    }

    /// What waited for labels when the owner last looked.
    pub fn joins(&self) -> Arc<Vec<JoinView>> {
        Arc::clone(&self.told().joins)
    }

    /// Time since the process started.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Time since the last beat, or since the start if there was none.
    pub fn beat_age(&self) -> Duration {
        let last = Duration::from_millis(self.last_beat_ms.load(Ordering::Relaxed));
        self.uptime().saturating_sub(last)
    }

    /// Why the process should be restarted; `None` while it does its work.
    pub fn sick(&self) -> Option<String> {
        let age = self.beat_age();
        (age > self.beat_age_max).then(|| {
            let (age, max) = (age.as_secs(), self.beat_age_max.as_secs());
            format!("the main loop has not gone round for {age} s; it must every {max} s")
        })
    }

    /// Why no records are counted; empty while they are.
    pub fn not_ready(&self) -> Vec<String> {
        let mut reasons: Vec<String> = self.sick().into_iter().collect();
        let told = self.told();
        match &told.source {
            Source::Reading => {}
            Source::Starting => reasons.push("the source has not been given its partitions yet".to_owned()),
            Source::Unavailable(reason) => reasons.push(format!("the source cannot be read: {reason}")),
        }
        if told.is_draining {
            reasons.push("the process is about to end".to_owned());
        }
        reasons
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        // What was told is replaced whole, so it is right even if a thread died beside it.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stands_still_is_sick_until_it_beats() {
        let health = Health::new(Duration::from_millis(20));
        assert_eq!(health.sick(), None);
        std::thread::sleep(Duration::from_millis(40));
        assert!(health.sick().is_some());
        health.beat();
        assert_eq!(health.sick(), None);
    }

    #[test]
    fn readiness_names_every_reason() {
        let health = Health::new(Duration::from_secs(60));
        assert_eq!(health.not_ready(), ["the source has not been given its partitions yet"]);
        health.source_reading();
        assert!(health.not_ready().is_empty());
        health.source_unavailable("all brokers are down");
        health.draining();
        let expected = ["the source cannot be read: all brokers are down", "the process is about to end"];
        assert_eq!(health.not_ready(), expected);
    }
}

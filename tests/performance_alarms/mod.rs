//! Seeded simulations of models whose truth becomes known, through the service itself: training rows make a
//! baseline, predictions and labels go through summariser and monitor as records, and what is committed is
//! looked at.
//!
//! `tests/performance_alarms.rs` holds small runs to what is promised; `benches/performance.rs` runs more of the
//! same and prints tables. Seeds are fixed and were not chosen: every experiment has the seed of [`SEED`] and a
//! stream number of its own.

#![allow(dead_code, reason = "the test and the benchmark each use a part")]

#[path = "../calibration/interval.rs"]
pub mod interval;
#[path = "../calibration/random.rs"]
pub mod random;
pub mod service;
pub mod world;

/// The seed of every experiment.
pub const SEED: u64 = 20_260_803;

//! Seeded simulations of whole models, to count false alarms, power and delay.
//!
//! `tests/calibration.rs` holds small runs to what is promised and published; `benches/calibration.rs` runs
//! more of the same and prints tables. Seeds are fixed and were not chosen: every experiment has the seed
//! of [`SEED`] and a stream number of its own.

#![allow(dead_code, reason = "the test and the benchmark each use a part")]

pub mod interval;
pub mod power;
pub mod production;
pub mod random;
pub mod rank;
pub mod rules;
pub mod scales;
pub mod stream;
pub mod world;

/// The seed of every experiment.
pub const SEED: u64 = 20_260_801;

//! The application: what turns the pure core and its I/O neighbours into a service.
//!
//! ```text
//!  source thread ─► owner thread ──► worker threads ──► owner thread ─► store ─► outbox workers (tokio)
//!                    (hands out       (decode, count)    (adds up,      (one      server (tokio)
//!                     in order)                           closes)        commit)
//! ```
//!
//! The owner hands batches to the workers in turn and takes the results back in the same turn, so
//! records reach the monitor in the order the source gave them without a queue that sorts.
//!
//! Invariant: Kafka's offsets and the outbox move only after the commit that they follow from.

pub mod library;
pub mod pipeline;

mod clock;

pub use clock::SystemClock;

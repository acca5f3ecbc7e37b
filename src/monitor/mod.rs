//! The state machine that ties the core together: summaries in, commits out.
//!
//! Place in the flow: the one owner of windows, verdicts and incidents. Workers hand it partial
//! summaries; it adds them up, closes windows when the watermark passes them, and says in a [`Commit`]
//! what must become durable. Pure: time is an argument, and restoring from what it said is the only
//! way it starts.
//!
//! Invariant: the state after `restore(commits so far)` and the records from the committed positions on
//! is the state of an undisturbed run.

mod commit;

pub use commit::{ClosedWindow, Commit, DeadLetter, PaneKey, PaneWrite, Position, Restored, WindowKey};

//! Driftline is a sidecar that tells a team, while it happens and with a stated false-alarm
//! rate, that the data under a deployed model no longer looks like its training data; that
//! starts the retraining, and checks that it helped.
//!
//! # The way of the data
//!
//! ```text
//!  source ──► event ──► summary ──► baseline ──► window ──► drift ──► verdict ──► incident ──► notify
//! (Kafka,    (bytes to  (counts)   (whose grid  (event-    (statistics (budget,    (open,       (Slack,
//!  files)     Arrow                 they are    time       of two      floor)      update,       PagerDuty,
//!             columns)              counted     panes,     summaries)              resolve,      webhooks)
//!                                   on)         watermark)                         retrain)
//!    └ poll thread ┘└──── worker pool ────┘└──────────── one owner: Monitor ────────────┘    └ outbox workers
//!                                                           │ Commit: positions + panes + windows
//!                                                           ▼         + incidents + outbox, one transaction
//!                                                         store ──► serve (API, metrics)
//! ```
//!
//! Where performance is measured, predictions and labels go another way through the same owner and the same
//! commit:
//!
//! ```text
//!  predictions ──► waiting predictions ──► panes of outcomes ──► windows, measured ──► verdict ──► incident
//!  labels ───────► (journals, joined by    (by the prediction's  (metrics, estimates,  (ranked, or
//!                  id, exactly once)       time)                 cost; revised as      a limit)
//!                                                                labels come)
//! ```
//!
//! A batch of records is decoded and counted by a pool of workers; that part is a pure function,
//! so it is parallel. The one owner, [`monitor::Monitor`], only adds integers, closes windows when
//! the watermark passes them, and says what must become durable. The application writes that in
//! one transaction, and only then do Kafka's offsets and the notifications move.
//!
//! # Invariants
//!
//! 1. **Every event counts exactly once in its window.** Positions and counts become durable
//!    together or not at all; start-up seeks to the stored positions. The group's positions only say
//!    where another member left off.
//! 2. **Nothing is dropped silently.** What reaches no window is counted with a reason and kept as
//!    a dead letter with its topic, partition and offset.
//! 3. **The core is deterministic.** From [`event`] to [`monitor`] there is no I/O, no clock, no
//!    task, no lock and no randomness; time is an argument. The same records give the same windows,
//!    incidents and notification ids in any interleaving of the partitions, as long as no limit on
//!    segments, versions or waiting ticks is reached. When a window of performance is found complete
//!    may depend on how far labels were read by then; what it comes to in the end does not.
//! 4. **Nothing leaves the process before it is durable.** A notification exists only as a row of
//!    the outbox.
//! 5. **Everything is bounded**, and each bound is written where it is enforced.
//!
//! # Glossary
//!
//! - **event time**: when the event happened, from the record itself; **arrival**: when it reached us.
//! - **pane**: the smallest slice of event time that is counted on its own. A **window** is a run of
//!   panes; it is *tumbling* when it slides by its length, *sliding* when it slides by less.
//! - **watermark**: the event time up to which a partition is taken to be complete; the smallest over
//!   the partitions closes windows. **Allowed lateness**: how far behind the watermark an event may be
//!   and still be counted.
//! - **baseline** (or reference): what the training data looked like, as counts on a grid.
//!   **Current**: the window that is compared with it.
//! - **column**: what is watched: a *feature*, the *prediction*, a *score*, the *label*.
//! - **segment**: a value of the one column by which a model's windows are also split.
//! - **tick**: a slice of a pane, at most a minute, after which the early watch looks at the rates of
//!   missing, wrongly typed and rejected records.
//! - **reference window**: a window in which nothing was wrong, of the training rows, of the first weeks or of a
//!   replay, that others are *ranked* among; enough of them make a verdict **calibrated**. The **ledger** keeps
//!   account of the budget and audits the proviso. The **early watch** looks at rates by the minute, before a
//!   window closes.
//! - **statistic**, **p-value**, **effect**: what a drift test gives; a **verdict** is what a window's
//!   scores mean within the **false-alarm budget**; an **incident** is a model's drift from its first
//!   alarm to its resolution; a **notification** is one change of an incident for one channel; the
//!   **outbox** holds notifications until they are delivered or become **dead letters**.
//! - **label**: what turned out to be true of a prediction, found by the prediction's **id**. It **waits** with
//!   its prediction, one for the other, for at most the longest delay. **Outcomes** are the counts of what was
//!   predicted and what came true, in panes of the prediction's time.
//! - **coverage**: the share of a window's predictions whose label is there. A window is **waiting** without
//!   enough of them, **provisional** while they come, **mature** (complete) from a share on. A **cohort** is a
//!   pane's predictions, from which it is learned how fast labels come; a **revision** is one state of a window
//!   whose labels are still coming.
//! - **realised** is computed from labels, **estimated** without them: by **CBPE** (confidence-based performance
//!   estimation, from what scores meant in training) for classes, by **DLE** (direct loss estimation, from the
//!   losses of like predictions) for numbers.
//! - **mix** and **concept**: the parts of a change of the mean loss that come from other cases, and from like
//!   cases that come out differently. A **diagnosis** says which of them is behind an incident, or that the data
//!   are broken.
//! - **loss per day**: what predictions cost more than in training, at the number of them in a day.
//!
//! # Modules, in the order data flows
//!
//! A module uses those above it in the list and none below it; `tests/layers.rs` holds this.
//! [`sequential`] stands beside [`drift`]: its detectors look at every event, where a drift test looks at
//! a window that has closed. [`quality`] is such a watch by default: over missing, wrongly typed and rejected
//! records, and over mistakes as labels come in, tick by tick, while the window is still open. [`performance`]
//! measures predictions whose truth is known, and estimates those whose truth is not; [`monitor`] joins, cuts
//! and judges them.

#![deny(unsafe_code)]
#![warn(
    missing_docs,
    elided_lifetimes_in_paths,
    clippy::allow_attributes_without_reason,
    clippy::await_holding_lock,
    clippy::dbg_macro,
    clippy::expect_used,
    clippy::panic,
    clippy::todo,
    clippy::unwrap_used
)]

pub mod event;
pub mod summary;
pub mod baseline;
pub mod window;
pub mod drift;
pub mod sequential;
pub mod performance;
pub mod quality;
pub mod verdict;
pub mod incident;
pub mod monitor;
pub mod source;
pub mod notify;
pub mod store;
pub mod serve;
pub mod config;
pub mod app;
pub mod cli;

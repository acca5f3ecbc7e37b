//! The watch over mistakes: a model that suddenly errs more is seen as labels come in, before a window of its
//! performance is complete.
//!
//! Place in the flow: the owner adds each case whose truth became known; when the watermark passes, ticks are
//! handed to the detectors, and what they find goes the way of every verdict about performance. It uses the
//! ticks, bets and rounds of the early watch beside it. Pure.
//!
//! **Mistakes.** Classes: the decision is not the truth. Numbers: the error is beyond nine in ten of the
//! training rows' errors ([`Reference`]). Orders of queries have none: a row is not right or wrong by itself.
//!
//! **Streams.** One for each version and class that *came true*. Labels of one outcome often come sooner than
//! those of another (a fraud is reported in days, its absence is known after weeks), so among the labels of an
//! hour the outcomes are mixed otherwise than in training, and the plain rate of mistakes moves with the mix
//! though the model is as good as ever. Given the truth, which labels come first says nothing about the
//! decision, nor does the share of each outcome. What is assumed is that the delay depends on the case through
//! its outcome only. Where it also depends on the score within an outcome (cases that were decided one way are
//! checked first), the first labels after a start or a change of that habit are other cases than those of
//! training, and such a watch can be misled, as any look at labels that are not complete.
//!
//! **Ticks.** A case belongs to the tick in which it became known: of the label's time, or the prediction's if
//! that is later. A tick passes when the watermark does. A case whose tick has passed counts in the first that
//! has not: late labels are evidence too. A corrected label takes the place of the first while that one's tick
//! still waits, and is left out afterwards: a case never counts twice.
//!
//! **Evidence.** As in the early watch: [`CountedBets`](crate::sequential::CountedBets) on each stream, with
//! the highest rate that is expected; with J streams an alarm when the worths of those that speak add up to
//! J·A, so the mean number of ticks with labels to a false alarm is at least A. A stream speaks when it has
//! enough labels since its evidence began, and its rate since then is over the expected one by the
//! [floor](floor_of). Where the evidence began is Page's estimate: when the sum of the logarithms of the
//! likelihood ratio, of the expected rate with its floor against the expected rate, was last not above 0.
//! Sources: Shin, Ramdas and Rinaldo 2024, doi:10.51387/23-NEJSDS51; Page 1954, doi:10.1093/biomet/41.1-2.100.
//!
//! Invariant: what is found depends on the cases and the times at which they became known, not on batches or
//! how partitions interleave, as long as no limit is reached, no record comes further behind the newest of its
//! partition than the allowed lateness, and labels that contradict each other come from one partition.

mod finding;
mod reference;
mod watch;

pub use finding::{ERRORS, Finding};
pub use reference::{Judged, Reference, floor_of};
pub use watch::{Known, Limits, Lookup, Watch, labels_least};

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

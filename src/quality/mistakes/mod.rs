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
//! **Streams.** One for each version and class that *came true*, and to confirm it one for each class that was
//! *decided for*. Labels of one outcome often come sooner than those of another (a fraud is reported in days,
//! its absence is known after weeks), so among the labels of an hour the outcomes are mixed otherwise than in
//! training, and the plain rate of mistakes moves with the mix though the model is as good as ever. Given the
//! truth, neither the order in which outcomes become known nor their share matters. Elsewhere what was decided
//! one way is looked into at once, and the rest is known later; given the decision that does not matter. There
//! is an alarm only when both sides have the evidence: false ones are as rare as promised where the delay
//! depends on the case through its outcome only, and where it does through its decision only. Where it depends
//! on both at once, the first labels after a start or a change of habits are other cases than those of
//! training, and this watch can be misled, as any look at labels that are not complete. Numbers have one
//! stream and no decisions: there a delay that depends on the size of the error misleads.
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
//! [floor](floor_of); the confirming side needs the evidence alone. Where the evidence began is Page's
//! estimate: when the sum of the logarithms of the likelihood ratio, of the expected rate with its floor
//! against the expected rate, was last not above 0. Sources: Shin, Ramdas and Rinaldo 2024,
//! doi:10.51387/23-NEJSDS51; Page 1954, doi:10.1093/biomet/41.1-2.100.
//!
//! **How soon.** In training 8 % of the negatives and 20 % of the positives are mistaken, one case in five is
//! positive, ten labels come a minute, and the budget is one alarm in 30 days over five parts. The median of
//! seeded runs, in labels of both classes since the break, is 30 when nine in ten of each class are mistaken
//! from then on, 60 when half are, 180 when 25 and 40 % are, 470 when 8 and 50 % are and 920 when 16 and 20 %
//! are; 9 and 22 % is not seen in 20,000 and is left to the windows. With rates by truth as high as is expected
//! at all, and a bar of one alarm in 2,000 ticks, there were 6 in 200,000.
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

//! Orders from the rows of queries.

use super::{CUTOFFS, Measured, Outcomes, provisional};
use crate::performance::ranking::Ranking;
use crate::summary::outcome::Queries;

pub(super) fn reduce(queries: &Queries) -> Ranking {
    Ranking::unordered(queries.iter().map(|(_, rows)| rows.to_vec()), CUTOFFS.to_vec())
}

/// A metric of an order needs all rows of a query, which weights cannot give back.
pub(super) fn noted(measured: Measured, outcomes: &Outcomes) -> Measured {
    let outcome = match measured.outcome {
        Ok(_) if outcomes.is_weighted() => Err(provisional()),
        Ok(value) if outcomes.queries().is_sample() => {
            Ok(value.with_detail("of a random sample of the queries".to_owned()))
        }
        outcome => outcome,
    };
    Measured { outcome, ..measured }
}

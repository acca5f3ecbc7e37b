//! How a model's budget and calibration stand, for people.

use std::sync::Arc;

use serde::Serialize;

use super::{Model, ModelPlan, Prepared};
use crate::event::Span;
use crate::verdict::{Account, Source, Standing, UNCALIBRATED, alpha_per_block};

/// A model's budget, and what its windows are ranked among.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BudgetView {
    /// The model.
    pub model: String,
    /// Allowed, spent, left, and the audit.
    #[serde(flatten)]
    pub account: Account,
    /// By version and window length.
    pub calibrations: Vec<LengthView>,
}

/// What windows of one version and length are ranked among.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LengthView {
    /// The version; `None` when one baseline serves all.
    pub version: Option<String>,
    /// Length of the windows.
    pub length: Span,
    /// Whether the promise rests on reference windows.
    pub calibrated: bool,
    /// The reference windows, if there are enough to say anything.
    pub standing: Option<Standing>,
    /// The season that windows are compared within, if any.
    pub season: Option<&'static str>,
    /// Why this season or none.
    pub season_note: String,
    /// Why it is not calibrated, and what would mend it.
    pub reason: Option<String>,
}

/// What of a model waits to be joined, and what that takes. What was joined is counted in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct JoinView {
    /// The model.
    pub model: String,
    /// Predictions whose label is not there yet.
    pub waiting: u64,
    /// Labels whose prediction is not there yet.
    pub waiting_labels: u64,
    /// Bytes on disk of what waits.
    pub journal_bytes: u64,
    /// Bytes of memory of the index over it.
    pub index_bytes: u64,
}

impl BudgetView {
    pub(super) fn of(plan: &ModelPlan, model: &Model) -> Self {
        let settings = &plan.settings.verdict;
        let memory = &model.memory;
        let account = memory.ledger.account(settings.budget, memory.watermark);
        let mut calibrations = Vec::new();
        for (version, prepared) in versions(plan, model) {
            for window in &plan.settings.windows.windows {
                let alpha = alpha_per_block(settings.budget, window.length, plan.settings.budget_parts());
                let found = model.what_is_usual(plan, version.as_deref(), &prepared, window.length);
                let standing = found.as_ref().ok().map(|calibration| calibration.standing(alpha));
                let shortage = match (&standing, &found) {
                    (Some(standing), _) if !standing.calibrated => {
                        Some(super::learn::shortage(standing, alpha))
                    }
                    (None, Err(why)) => Some(why.clone()),
                    _ => memory.ledger.void(window.length, &prepared.id),
                };
                let is_training =
                    standing.as_ref().is_some_and(|standing| standing.source == Source::Training);
                calibrations.push(LengthView {
                    version: version.clone(),
                    length: window.length,
                    calibrated: shortage.is_none(),
                    standing,
                    season: prepared
                        .calibrations
                        .season()
                        .filter(|_| is_training)
                        .map(|season| season.name()),
                    season_note: prepared.calibrations.season_note().to_owned(),
                    reason: shortage,
                });
            }
        }
        Self { model: plan.settings.name.clone(), account, calibrations }
    }

    /// `calibrated` if every window length of every version is, `partly` if some are, else `uncalibrated`.
    pub fn calibration(&self) -> &'static str {
        let calibrated = self.calibrations.iter().filter(|one| one.calibrated).count();
        match calibrated {
            0 => "uncalibrated",
            all if all == self.calibrations.len() => "calibrated",
            _ => "partly",
        }
    }
}

/// Every version with its baseline. Where versions share one, those that learn for themselves are told apart.
fn versions(plan: &ModelPlan, model: &Model) -> Vec<(Option<String>, Arc<Prepared>)> {
    let own = plan.versions().flat_map(|(version, prepared)| {
        let learned: Vec<Option<String>> = match version {
            None => model.learned.keys().cloned().collect(),
            Some(_) => Vec::new(),
        };
        let names = if learned.is_empty() { vec![version.map(str::to_owned)] } else { learned };
        names.into_iter().map(|name| (name, Arc::clone(prepared)))
    });
    own.collect()
}

/// What is said of a length that nothing is known of.
pub(super) fn no_reference(why: &str) -> String {
    format!("{why}; {UNCALIBRATED}")
}

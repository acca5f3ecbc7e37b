//! The baselines of all models: loads their files and keeps the plan that knows them.
//!
//! A model's baseline is one file for all versions, or, when its path holds `{version}`, one file a
//! version. Such a file is loaded when the version is first seen in the events, so a new model goes live
//! by putting its baseline in place before its first prediction: nothing is restarted.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::baseline::Baseline;
use crate::config::Model;
use crate::monitor::{Lookup, NeedsBaseline, Plan, Prepared};

/// Reads a baseline file; `None` if there is none.
pub type Load = dyn Fn(&Path) -> Result<Option<Baseline>, String> + Send + Sync;

/// Loads baselines and gives out the plan.
pub struct Library {
    models: Vec<Model>,
    load: Box<Load>,
    plan: Mutex<Arc<Plan>>,
    /// Held while a file is read and its reference windows are scored.
    looking: Mutex<()>,
}

/// A model's baseline cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("baseline of model `{model}`: {why}")]
pub struct LibraryError {
    model: String,
    why: String,
}

impl Library {
    /// Loads the baselines that all versions of a model share. `models` are those of the plan, in its order.
    ///
    /// # Errors
    /// When such a file is missing, damaged or of another model.
    pub fn open(plan: Plan, models: Vec<Model>, load: Box<Load>) -> Result<Self, LibraryError> {
        let mut plan = plan;
        for (index, model) in
            models.iter().enumerate().filter(|(_, model)| model.baseline_pattern().is_none())
        {
            let failed = |why| LibraryError { model: model.name.clone(), why };
            let found = load(&model.baseline).map_err(failed)?;
            let baseline =
                found.ok_or_else(|| failed(format!("there is no file {}", model.baseline.display())))?;
            check(&baseline, &model.name, None).map_err(failed)?;
            plan = plan.with_shared(index, Arc::new(baseline));
        }
        Ok(Self { models, load, plan: Mutex::new(Arc::new(plan)), looking: Mutex::new(()) })
    }

    /// The plan as of now.
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks for baselines and gives the plan that knows them, or knows that they are absent.
    ///
    /// Scoring the reference windows of a baseline may take seconds, so it is done beside the plan: those who
    /// need another version wait, those who read the plan do not.
    pub fn find(&self, needs: &[NeedsBaseline]) -> Arc<Plan> {
        let _one_at_a_time = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        for need in needs {
            let plan = self.plan();
            let Some(known) = plan.models().get(need.model) else { continue };
            if !matches!(known.lookup(need.version.as_deref()), Lookup::Unknown) {
                // Another worker asked for the same version a moment ago.
                continue;
            }
            let model = known.settings.name.clone();
            let found = self.read(need, &model).unwrap_or_else(|why| {
                tracing::error!(model.id = %model, model.version = need.version.as_deref(), "baseline cannot be used: {why}");
                None
            });
            let prepared = found.map(|baseline| Prepared::new(Arc::new(baseline), &known.settings));
            match &prepared {
                Some(prepared) => {
                    tracing::info!(model.id = %model, model.version = need.version.as_deref(), baseline.id = %prepared.id, "baseline loaded");
                }
                None => {
                    tracing::warn!(model.id = %model, model.version = need.version.as_deref(), "no baseline: events of this version are set aside");
                }
            }
            let mut held = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
            let plan = Plan::clone(&held).with_prepared(need.model, need.version.clone(), prepared);
            *held = Arc::new(plan);
        }
        self.plan()
    }

    /// Looks again, when next asked, for versions that had no baseline, and makes room where a model has all
    /// the versions it may have. `in_use` are the versions with open panes, by model.
    pub fn refresh(&self, in_use: &[BTreeSet<Option<String>>]) {
        let mut held = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        if held.models().iter().any(|model| model.is_stale()) {
            *held = Arc::new(Plan::clone(&held).refreshed(in_use));
        }
    }

    fn read(&self, need: &NeedsBaseline, model: &str) -> Result<Option<Baseline>, String> {
        let version = need.version.as_deref();
        let known = self.models.get(need.model).filter(|model| model.baseline_pattern().is_some());
        // The version comes from an event: `baseline_of` sees to it that it cannot leave the directory.
        let Some(path) = known.and_then(|model| model.baseline_of(version)) else { return Ok(None) };
        let found = (self.load)(&path)?;
        if let Some(baseline) = &found {
            check(baseline, model, version)?;
        }
        Ok(found)
    }
}

fn check(baseline: &Baseline, model: &str, version: Option<&str>) -> Result<(), String> {
    if let Some(other) = baseline.model.as_deref().filter(|other| *other != model) {
        return Err(format!("the file was built for model `{other}`"));
    }
    match (baseline.version.as_deref(), version) {
        (Some(other), Some(version)) if other != version => {
            Err(format!("the file was built for version `{other}`, events carry `{version}`"))
        }
        _ => Ok(()),
    }
}

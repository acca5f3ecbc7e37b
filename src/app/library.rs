//! The baselines of all models: loads their files and keeps the plan that knows them.
//!
//! A model's baseline is one file for all versions, or, when its path holds `{version}`, one file a
//! version. Such a file is loaded when the version is first seen in the events, so a new model goes live
//! by putting its baseline in place before its first prediction: nothing is restarted.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::baseline::Baseline;
use crate::monitor::{Lookup, NeedsBaseline, Plan};

/// Reads a baseline file; `None` if there is none.
pub type Load = dyn Fn(&Path) -> Result<Option<Baseline>, String> + Send + Sync;

/// What stands for the version in a path.
const VERSION: &str = "{version}";

/// Versions become parts of paths, so they are held to this length and to letters, digits and `._-`.
const VERSION_BYTES_MAX: usize = 64;

/// Loads baselines and gives out the plan.
pub struct Library {
    paths: Vec<PathBuf>,
    load: Box<Load>,
    plan: Mutex<Arc<Plan>>,
}

/// A model's baseline cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("baseline of model `{model}`: {why}")]
pub struct LibraryError {
    model: String,
    why: String,
}

impl Library {
    /// Loads the baselines that all versions of a model share. `paths` are in the order of the plan's models.
    ///
    /// # Errors
    /// When such a file is missing, damaged or of another model.
    pub fn open(plan: Plan, paths: Vec<PathBuf>, load: Box<Load>) -> Result<Self, LibraryError> {
        let mut plan = plan;
        for (index, path) in paths.iter().enumerate().filter(|(_, path)| !is_template(path)) {
            let model =
                plan.models().get(index).map_or_else(String::new, |model| model.settings.name.clone());
            let failed = |why| LibraryError { model: model.clone(), why };
            let found = load(path).map_err(failed)?;
            let baseline = found.ok_or_else(|| failed(format!("there is no file {}", path.display())))?;
            check(&baseline, &model, None).map_err(failed)?;
            plan = plan.with_shared(index, Arc::new(baseline));
        }
        Ok(Self { paths, load, plan: Mutex::new(Arc::new(plan)) })
    }

    /// The plan as of now.
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks for baselines and gives the plan that knows them, or knows that they are absent.
    pub fn find(&self, needs: &[NeedsBaseline]) -> Arc<Plan> {
        let mut held = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let mut plan = Plan::clone(&held);
        for need in needs {
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
            match &found {
                Some(baseline) => {
                    tracing::info!(model.id = %model, model.version = need.version.as_deref(), baseline.id = %baseline.id, "baseline loaded");
                }
                None => {
                    tracing::warn!(model.id = %model, model.version = need.version.as_deref(), "no baseline: events of this version are set aside");
                }
            }
            plan = plan.with_version(need.model, need.version.clone(), found.map(Arc::new));
        }
        *held = Arc::new(plan);
        Arc::clone(&held)
    }

    /// Forgets which versions had no baseline, so that a file put in place since is found.
    pub fn look_again(&self) {
        let mut held = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let absent = held.models().iter().any(|model| model.has_absent());
        if absent {
            *held = Arc::new(Plan::clone(&held).forget_absent());
        }
    }

    fn read(&self, need: &NeedsBaseline, model: &str) -> Result<Option<Baseline>, String> {
        let Some(path) = self.paths.get(need.model).filter(|path| is_template(path)) else { return Ok(None) };
        let version = need.version.as_deref().unwrap_or("");
        if !is_plain(version) {
            return Err(format!(
                "a version must be 1 to {VERSION_BYTES_MAX} letters, digits, `.`, `_` or `-`"
            ));
        }
        let path = PathBuf::from(path.to_string_lossy().replace(VERSION, version));
        let found = (self.load)(&path)?;
        if let Some(baseline) = &found {
            check(baseline, model, Some(version))?;
        }
        Ok(found)
    }
}

fn is_template(path: &Path) -> bool {
    path.to_string_lossy().contains(VERSION)
}

/// Whether a version can stand in a file name without leaving its directory.
fn is_plain(version: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=VERSION_BYTES_MAX).contains(&version.len())
        && !version.starts_with('.')
        && version.chars().all(allowed)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_cannot_leave_its_directory() {
        for wrong in ["", "../x", "a/b", ".hidden", "a b", "ü", &"1".repeat(65)] {
            assert!(!is_plain(wrong), "{wrong}");
        }
        assert!(is_plain("2026-11-23_v1.2"));
    }
}

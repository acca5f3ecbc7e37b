//! What `driftline check` says of a model's performance: how it is measured, against what, and what keeps it
//! from being measured.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::text::plain;
use super::{blind_spots, reference};
use crate::baseline::{Baseline, Outcomes};
use crate::config::{Config, Model};
use crate::event::Span;
use crate::monitor::{ModelSettings, PerformanceReference, shortage};
use crate::performance::{Bound, Settings};
use crate::source::Stream;
use crate::summary::outcome::Task;
use crate::verdict::{Standing, alpha_per_block, alpha_per_window};

/// Baselines of a model that are opened; further ones are left out.
const BASELINES_MAX: usize = 10;

/// A model's baseline file with its outcomes.
pub(super) struct Found {
    path: PathBuf,
    outcomes: Option<Outcomes>,
    ranked: Vec<Ranked>,
}

/// What windows of a length are ranked among.
struct Ranked {
    length: Span,
    /// The reference windows, if there are any.
    standing: Option<Standing>,
    /// Why they do not carry the budget; `None` if they do.
    reason: Option<String>,
}

/// The outcomes of a model's baselines, if its performance is measured. A file that cannot be read is told of
/// elsewhere.
pub(super) fn find(model: &Model, settings: &ModelSettings, baselines: &[PathBuf]) -> Vec<Found> {
    let wanted = baselines.iter().take(if model.performance.is_some() { BASELINES_MAX } else { 0 });
    let read = |path: &PathBuf| {
        let baseline = Baseline::read(path).ok()?;
        let ranked = ranked(&baseline, settings);
        Some(Found { path: path.clone(), outcomes: baseline.without_panes().outcomes, ranked })
    };
    wanted.filter_map(read).collect()
}

fn ranked(baseline: &Baseline, settings: &ModelSettings) -> Vec<Ranked> {
    let performance = settings.performance.as_ref();
    let reference = performance
        .and_then(|performance| PerformanceReference::new(baseline, performance, &settings.windows));
    let calibrations = reference.map(|reference| reference.calibrations).unwrap_or_default();
    let ranked = calibrations.into_iter().map(|(length, found)| {
        let alpha = alpha_per_block(settings.verdict.budget, length, settings.budget_parts());
        match found.map(|calibration| calibration.standing(alpha)) {
            Ok(standing) => {
                let reason = (!standing.calibrated).then(|| shortage(&standing, alpha));
                Ranked { length, standing: Some(standing), reason }
            }
            Err(why) => Ranked { length, standing: None, reason: Some(why) },
        }
    });
    ranked.collect()
}

/// What keeps performance from being measured, as far as the baselines say.
pub(super) fn warnings(config: &Config, model: &Model, found: &[Found]) -> Vec<String> {
    let Some(settings) = &model.performance else { return Vec::new() };
    if settings.task == Task::Ranking {
        return vec![format!(
            "rankings are not measured while they happen, so nothing comes of [model.performance] of \"{}\": measure \
             files of them with `driftline evaluate --task ranking`",
            model.name
        )];
    }
    let about = |found: &Found| {
        let file = found.path.display();
        let anew = "build it anew with [model.performance] in the configuration";
        let Some(outcomes) = &found.outcomes else {
            let why = "holds no outcomes of its training rows, so performance has no reference";
            return Some(format!("the baseline {file} of \"{}\" {why}: {anew}", model.name));
        };
        if let Some(difference) = difference(settings, outcomes) {
            return Some(format!(
                "the baseline {file} of \"{}\" was built with {difference}: {anew}",
                model.name
            ));
        }
        let fed = || config.streams.iter().filter(|stream| model.is_fed_by(stream));
        let is_mapped = |column: &str| fed().any(|stream| maps(stream, column));
        let lost = outcomes.scores.iter().find(|column| fed().next().is_some() && !is_mapped(column))?;
        Some(format!(
            "no stream of \"{}\" maps the {} that the baseline {file} measures",
            model.name,
            if **lost == *"prediction" {
                "prediction".to_owned()
            } else {
                format!("score \"{}\"", plain(lost))
            }
        ))
    };
    found.iter().filter_map(about).collect()
}

fn maps(stream: &Stream, column: &str) -> bool {
    let mapping = &stream.mapping;
    (column == "prediction" && mapping.prediction.is_some())
        || mapping.scores.iter().any(|(name, _)| **name == *column)
}

/// In what a baseline's outcomes are not those that the configuration asks for.
fn difference(settings: &Settings, outcomes: &Outcomes) -> Option<String> {
    let task = outcomes.shape.task();
    let amount = settings.value.as_ref().and_then(|value| value.amount.as_deref());
    let named = match task {
        Task::Binary => settings.positive.as_slice(),
        _ => settings.classes.as_slice(),
    };
    let names = outcomes.classes.names();
    if task != settings.task {
        Some(format!("the task {task}"))
    } else if !named.is_empty() && names != named {
        Some(format!("the classes {}", plain(&names.join(", "))))
    } else if outcomes.amount.as_deref() != amount {
        Some(match &outcomes.amount {
            Some(amount) => format!("amounts in \"{}\"", plain(amount)),
            None => "no amounts".to_owned(),
        })
    } else {
        None
    }
}

// === for people ===

/// The entries of a page: name and text; a name may be empty.
pub(super) fn entries(settings: &ModelSettings, found: &[Found]) -> Vec<(&'static str, String)> {
    let Some(performance) = &settings.performance else { return Vec::new() };
    let mut entries = vec![("performance", headline(performance))];
    for found in found {
        let line = |outcomes| reference::line(outcomes, Some(&performance.metric));
        let said = found.outcomes.as_ref().map_or_else(|| "none".to_owned(), line);
        entries.push(("", format!("reference {said}")));
        for Ranked { length, standing, reason } in &found.ranked {
            entries.push(("", blind_spots::ranked_among(*length, standing.as_ref(), reason.as_deref())));
        }
    }
    for window in &performance.windows {
        let alpha = alpha_per_window(settings.verdict.budget, window.slide, settings.budget_parts());
        let (length, every) = (window.length.to_string(), format!("every {}", window.slide));
        let kind = if window.slide == window.length { "tumbling" } else { "sliding" };
        entries.push(("", format!("{length:<6} {kind:<8} {every:<10} each {alpha:.2e} of the budget")));
    }
    for limit in &performance.limits {
        let bound = match limit.bound {
            Bound::Below(least) => format!("below {least}"),
            Bound::Above(most) => format!("above {most}"),
        };
        entries.push(("", format!("alarms when {} is {bound}", limit.metric)));
    }
    entries.push((
        "waiting",
        format!(
            "up to {} predictions and {} bytes wait for labels, {} long",
            performance.waiting_max, performance.waiting_bytes_max, performance.label_delay_max
        ),
    ));
    entries.extend(money(performance).map(|said| ("value", said)));
    entries
}

fn headline(performance: &Settings) -> String {
    format!(
        "{}; alarms are about {}; windows with {} labels or more are judged, complete from {} % on",
        performance.task,
        performance.metric,
        performance.labels_min,
        100.0 * performance.mature_at
    )
}

fn money(performance: &Settings) -> Option<String> {
    let value = performance.value.as_ref()?;
    let currency = plain(&value.currency);
    let costs = match performance.task {
        Task::Regression => format!("{} a unit too high, {} a unit too low", value.over, value.under),
        _ => {
            let rows: Vec<String> = value.costs.iter().map(|row| format!("{row:?}")).collect();
            let times = value.amount.as_deref().map(|amount| format!(" times `{}`", plain(amount)));
            format!("{}{} by truth and decision", rows.join(" "), times.unwrap_or_default())
        }
    };
    let outlay = value.retrain_cost + value.retrain_risk;
    Some(format!("in {currency}: {costs}; a retraining costs {outlay}, against {} ahead", value.horizon))
}

// === for programs ===

/// Adds to a described model's `performance` what each window may spend, and the reference of each baseline.
pub(super) fn extend(described: &mut Value, settings: &ModelSettings, found: &[Found]) {
    let Some(performance) = &settings.performance else { return };
    let alpha = |slide: Span| alpha_per_window(settings.verdict.budget, slide, settings.budget_parts());
    let windows = performance.windows.iter().map(
        |window| json!({ "length": window.length, "slide": window.slide, "alpha": alpha(window.slide) }),
    );
    let references = found.iter().map(|found| {
        let calibrations = found.ranked.iter().map(|Ranked { length, standing, reason }| {
            json!({
                "length": length,
                "calibrated": standing.is_some() && reason.is_none(),
                "standing": standing,
                "reason": reason,
            })
        });
        json!({
            "baseline": found.path,
            "outcomes": found.outcomes.as_ref().map(reference::as_json),
            "calibrations": calibrations.collect::<Vec<_>>(),
        })
    });
    if let Some(members) = described.get_mut("performance").and_then(Value::as_object_mut) {
        members.insert("windows".to_owned(), windows.collect());
        members.insert("reference".to_owned(), references.collect());
    }
}

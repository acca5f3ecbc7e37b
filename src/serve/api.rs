//! The answers: each takes what is asked and reads it from the store or from memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::to_raw_value;

use super::metrics::CONTENT_TYPE;
use super::{Answer, ApiError, ApiState, Asked, ENDPOINTS, WindowsOf};
use crate::event::Span;
use crate::monitor::JoinView;
use crate::store::{
    Cursor, DeadLetterFilter, IncidentFilter, ModelActivity, OutboxFilter, Page, PerformanceRow,
    SegmentFilter, StatusFilter, WindowFilter, WindowName,
};
use crate::verdict::Budget;
use crate::verdict::blind_spots::BlindSpot;
use crate::window::WindowSettings;

/// A model as it is configured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelView {
    /// Its name in the events.
    pub name: String,
    /// The versions that have a baseline by now.
    pub versions: Vec<VersionView>,
    /// The windows its event time is cut into.
    pub windows: Vec<WindowSettings>,
    /// How late an event may be and still be counted.
    pub allowed_lateness: Span,
    /// False alarms allowed.
    pub false_alarms: Budget,
    /// `calibrated`, `partly` (some window lengths) or `uncalibrated`: whether the promise rests on
    /// reference windows.
    pub calibration: String,
}

/// A version of a model with its baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionView {
    /// The version; `None` when one baseline serves all.
    pub version: Option<String>,
    /// Id of the baseline, in hex.
    pub baseline: String,
}

/// A model as it is configured and as it stands.
#[derive(Serialize)]
struct ModelAnswer {
    #[serde(flatten)]
    configured: ModelView,
    activity: ModelActivity,
}

/// A page under the name of what it holds, with the cursor of the next.
fn page<T: Serialize>(name: &'static str, page: Page<T>) -> Result<Answer, ApiError> {
    Answer::json(&PageAnswer { name, page })
}

struct PageAnswer<T> {
    name: &'static str,
    page: Page<T>,
}

impl<T: Serialize> Serialize for PageAnswer<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry(self.name, &self.page.rows)?;
        map.serialize_entry("next", &next(self.page.next))?;
        map.end()
    }
}

fn next(cursor: Option<Cursor>) -> Option<String> {
    cursor.map(|cursor| cursor.to_string())
}

// === the process ===

pub(super) fn index(_: &ApiState, _: &Asked) -> Result<Answer, ApiError> {
    let rows = ENDPOINTS.iter();
    let rows = rows.map(|row| json!({"path": row.path, "about": row.about, "parameters": row.parameters}));
    let endpoints: Vec<_> = rows.collect();
    let version = env!("CARGO_PKG_VERSION");
    Answer::json(&json!({"name": "driftline", "version": version, "endpoints": endpoints}))
}

pub(super) fn healthz(state: &ApiState, _: &Asked) -> Result<Answer, ApiError> {
    let stopped = state.store.stopped().map(|reason| format!("the store takes no more writes: {reason}"));
    let reasons: Vec<String> = stopped.into_iter().chain(state.health.sick()).collect();
    if !reasons.is_empty() {
        return Err(ApiError::unavailable("unhealthy", reasons));
    }
    Answer::json(&json!({"status": "ok"}))
}

pub(super) fn readyz(state: &ApiState, _: &Asked) -> Result<Answer, ApiError> {
    let stopped = state.store.stopped().map(|reason| format!("the store takes no more writes: {reason}"));
    let reasons: Vec<String> = stopped.into_iter().chain(state.health.not_ready()).collect();
    if !reasons.is_empty() {
        return Err(ApiError::unavailable("not_ready", reasons));
    }
    Answer::json(&json!({"status": "ready"}))
}

pub(super) fn metrics(state: &ApiState, _: &Asked) -> Result<Answer, ApiError> {
    state.metrics.read_store(&state.store, (state.now)())?;
    let body = state.metrics.encode().map_err(|error| ApiError::internal(&error))?;
    Ok(Answer { content_type: CONTENT_TYPE, body })
}

pub(super) fn status(state: &ApiState, _: &Asked) -> Result<Answer, ApiError> {
    let positions = state.store.positions()?.into_iter().map(|position| {
        let (topic, partition) = (&*position.origin.topic, position.origin.partition);
        json!({"topic": topic, "partition": partition, "next_offset": position.next_offset})
    });
    Answer::json(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "config": &*state.config,
        "now": (state.now)(),
        "uptime_seconds": state.health.uptime().as_secs(),
        "ready": state.health.not_ready().is_empty() && state.store.stopped().is_none(),
        "reasons": state.health.not_ready(),
        "positions": positions.collect::<Vec<_>>(),
        "watermarks": state.health.watermarks(),
        "event_to_alert_seconds": state.metrics.event_to_alert_quantiles(),
        "events": state.store.counters()?,
        "store": {
            "id": state.store.id(),
            "size_bytes": state.store.size_bytes(),
            "stopped": state.store.stopped(),
        },
    }))
}

// === models and windows ===

fn model_answer(state: &ApiState, configured: ModelView) -> Result<ModelAnswer, ApiError> {
    let activity = state.store.model_activity(&configured.name)?;
    Ok(ModelAnswer { configured, activity })
}

fn known_model(state: &ApiState, asked: &Asked) -> Result<ModelView, ApiError> {
    let name = asked.part("model");
    let missing =
        || ApiError::not_found(format!("no model is called `{name}`: GET /api/v1/models lists them"));
    (state.models.0)().into_iter().find(|model| model.name == name).ok_or_else(missing)
}

pub(super) fn models(state: &ApiState, _: &Asked) -> Result<Answer, ApiError> {
    let models = (state.models.0)().into_iter().map(|model| model_answer(state, model));
    Answer::json(&json!({"models": models.collect::<Result<Vec<_>, _>>()?}))
}

pub(super) fn model(state: &ApiState, asked: &Asked) -> Result<Answer, ApiError> {
    Answer::json(&model_answer(state, known_model(state, asked)?)?)
}

pub(super) fn budget(state: &ApiState, asked: &Asked) -> Result<Answer, ApiError> {
    let model = known_model(state, asked)?;
    let budgets = state.health.budgets();
    match budgets.iter().find(|budget| budget.model == model.name) {
        Some(budget) => Answer::json(budget),
        None => Err(ApiError::unavailable(
            "not_ready",
            vec!["the windows have not been looked at yet".to_owned()],
        )),
    }
}

/// Which segments are asked for; an empty name means all rows together.
fn segments(asked: &Asked) -> SegmentFilter {
    match asked.text("segment") {
        None => SegmentFilter::Any,
        Some(segment) if segment.is_empty() => SegmentFilter::Whole,
        Some(segment) => SegmentFilter::One(segment),
    }
}

/// The window that the path and the parameters name.
fn window_name(state: &ApiState, asked: &Asked) -> Result<WindowName, ApiError> {
    Ok(WindowName {
        model: known_model(state, asked)?.name,
        start: asked.part_as("start")?,
        length: asked.part_as("length")?,
        version: asked.text("version"),
        segment: asked.text("segment").filter(|segment| !segment.is_empty()),
    })
}

fn no_such_window(name: &WindowName, what: &str) -> ApiError {
    let WindowName { model, start, length, .. } = name;
    ApiError::not_found(format!("model `{model}` has no {what} of {length} from {start}"))
}

fn window_filter(state: &ApiState, asked: &Asked) -> Result<WindowFilter, ApiError> {
    Ok(WindowFilter {
        model: known_model(state, asked)?.name,
        version: asked.text("version"),
        segment: segments(asked),
        length: asked.parsed("length")?,
        alarm: asked.choice("alarm", &[("true", true), ("false", false)])?,
        after: asked.time("after")?,
        before: asked.time("before")?,
        cursor: asked.parsed("cursor")?,
        limit: asked.limit()?,
    })
}

pub(super) fn windows(state: &ApiState, asked: &Asked) -> Result<Answer, ApiError> {
    page("windows", state.store.windows(&window_filter(state, asked)?)?)
}

pub(super) fn window(state: &ApiState, asked: &Asked) -> Result<Answer, ApiError> {
    let name = window_name(state, asked)?;
    let document = state.store.window(&name)?;
    Answer::json(&document.ok_or_else(|| no_such_window(&name, "such window"))?)
}

// === performance ===

/// How a model does over time, and what waits to be known.
#[derive(Serialize)]
struct PerformanceAnswer {
    performance: Vec<PerformanceRow>,
    next: Option<String>,
    joins: JoinsAnswer,
}

/// Every revision of one window.
#[derive(Serialize)]
struct RevisionsAnswer {
    revisions: Vec<PerformanceRow>,
    joins: JoinsAnswer,
}

/// What became of a model's predictions and labels.
#[derive(Serialize)]
struct JoinsAnswer {
    /// By what became of them, since the store was made.
    counts: BTreeMap<String, u64>,
    /// What waits; `None` for a model that joins no labels.
    waiting: Option<JoinView>,
}

fn joins(state: &ApiState, model: &str) -> Result<JoinsAnswer, ApiError> {
    let counts = state.store.joined(Some(model))?.into_iter().map(|count| (count.outcome, count.n));
    let views = state.health.joins();
    let waiting = views.iter().find(|view| view.model == model).cloned();
    Ok(JoinsAnswer { counts: counts.collect(), waiting })
}

/// A list shows of a verdict what it comes to; the window's own page shows it whole.
fn with_short_verdict(mut row: PerformanceRow) -> Result<PerformanceRow, ApiError> {
    let verdict = row.verdict_summary().map_err(|error| ApiError::internal(&error))?;
    let verdict = verdict.as_ref().map(to_raw_value).transpose();
    row.verdict = verdict.map_err(|error| ApiError::internal(&error))?;
    Ok(row)
}

pub(super) fn performance(state: &ApiState, asked: &Asked) -> Result<Answer, ApiError> {
    let filter = window_filter(state, asked)?;
    let page = state.store.performance(&filter)?;
    Answer::json(&PerformanceAnswer {
        performance: page.rows.into_iter().map(with_short_verdict).collect::<Result<_, _>>()?,
        next: next(page.next),
        joins: joins(state, &filter.model)?,
    })
}

pub(super) fn performance_window(state: &ApiState, asked: &Asked) -> Result<Answer, ApiError> {
    let name = window_name(state, asked)?;
    let revisions = state.store.performance_revisions(&name)?;
    if revisions.is_empty() {
        return Err(no_such_window(&name, "performance of a window"));
    }
    Answer::json(&RevisionsAnswer { revisions, joins: joins(state, &name.model)? })
}

// === blind spots ===

/// Windows that the current traffic is the mean of: a day of hours, so that nights count.
const TRAFFIC_WINDOWS: usize = 24;

/// What a model's windows of one length are too small to show.
#[derive(Serialize)]
struct BlindSpotsAnswer {
    length: Span,
    /// Mean rows of the last closed windows; `None` if there are none.
    rows: Option<f64>,
    /// How many windows that is the mean of.
    windows: usize,
    /// The blindest columns first; the rest is left out when there are more than asked for.
    columns: Vec<BlindSpot>,
    columns_total: usize,
    /// Why there are no columns.
    reason: Option<&'static str>,
}

/// What the traffic is taken from.
#[derive(Deserialize)]
struct WindowRows {
    n: u64,
}

pub(super) fn blind_spots(state: &ApiState, asked: &Asked) -> Result<Answer, ApiError> {
    let model = known_model(state, asked)?;
    // Without a wish it is the version whose windows are the newest.
    let version = match asked.text("version") {
        Some(version) => Some(version),
        None => {
            let newest = state.store.model_activity(&model.name)?.versions.into_iter().next();
            newest.and_then(|known| known.version)
        }
    };
    let (wish, limit): (Option<Span>, _) = (asked.parsed("length")?, asked.limit()?);
    let lengths = model.windows.iter().map(|window| window.length);
    let lengths = lengths.filter(|length| wish.is_none_or(|wish| wish == *length));
    let answers = lengths.map(|length| of_length(state, &model.name, version.as_deref(), length, limit));
    let answers: Vec<_> = answers.collect::<Result<_, _>>()?;
    if answers.is_empty() {
        let message = format!("model `{}` has no windows of that length", model.name);
        return Err(ApiError::not_found(message));
    }
    Answer::json(&json!({"model": model.name, "version": version, "blind_spots": answers}))
}

fn of_length(
    state: &ApiState,
    model: &str,
    version: Option<&str>,
    length: Span,
    limit: usize,
) -> Result<BlindSpotsAnswer, ApiError> {
    let filter = WindowFilter {
        model: model.to_owned(),
        version: version.map(str::to_owned),
        segment: SegmentFilter::Whole,
        length: Some(length),
        limit: TRAFFIC_WINDOWS,
        ..WindowFilter::default()
    };
    let briefs = state.store.windows(&filter)?.rows;
    let read = briefs.iter().map(|brief| serde_json::from_str::<WindowRows>(brief.get()));
    let rows: Vec<WindowRows> = read.collect::<Result<_, _>>().map_err(|error| ApiError::internal(&error))?;
    let windows = rows.len();
    let mut answer =
        BlindSpotsAnswer { length, rows: None, windows, columns: Vec::new(), columns_total: 0, reason: None };
    if rows.is_empty() {
        answer.reason = Some("no window of this length has closed yet");
        return Ok(answer);
    }
    let mean = rows.iter().map(|window| window.n as f64).sum::<f64>() / windows as f64;
    answer.rows = Some(mean);
    match (state.blind_spots.0)(WindowsOf { model, version, length, rows: mean }) {
        Some(columns) => {
            answer.columns_total = columns.len();
            answer.columns = columns.into_iter().take(limit).collect();
        }
        None => answer.reason = Some("this version has no baseline"),
    }
    Ok(answer)
}

// === incidents and what is sent ===

pub(super) fn incidents(state: &ApiState, asked: &Asked) -> Result<Answer, ApiError> {
    let choices = [
        ("open", StatusFilter::Open),
        ("updated", StatusFilter::Updated),
        ("resolved", StatusFilter::Resolved),
    ];
    let filter = IncidentFilter {
        model: asked.text("model"),
        status: asked.choice("status", &choices)?,
        cursor: asked.parsed("cursor")?,
        limit: asked.limit()?,
    };
    page("incidents", state.store.incidents(&filter)?)
}

pub(super) fn incident(state: &ApiState, asked: &Asked) -> Result<Answer, ApiError> {
    let id = asked.part("id");
    let missing = || ApiError::not_found(format!("no incident `{id}`: GET /api/v1/incidents lists them"));
    Answer::json(&state.store.incident(id)?.ok_or_else(missing)?)
}

pub(super) fn transition(state: &ApiState, asked: &Asked) -> Result<Answer, ApiError> {
    let (id, sequence) = (asked.part("id"), asked.part_as("sequence")?);
    let missing = || ApiError::not_found(format!("incident `{id}` has no transition {sequence}"));
    Answer::json(&state.store.transition(id, sequence)?.ok_or_else(missing)?)
}

pub(super) fn dead_letters(state: &ApiState, asked: &Asked) -> Result<Answer, ApiError> {
    let filter = DeadLetterFilter {
        topic: asked.text("topic"),
        reason: asked.text("reason"),
        cursor: asked.parsed("cursor")?,
        limit: asked.limit()?,
    };
    page("dead_letters", state.store.dead_letters(&filter)?)
}

pub(super) fn outbox(state: &ApiState, asked: &Asked) -> Result<Answer, ApiError> {
    let choices = ["waiting", "delivered", "dead"].map(|status| (status, status));
    let filter = OutboxFilter {
        channel: asked.text("channel"),
        status: asked.choice("status", &choices)?.map(str::to_owned),
        cursor: asked.parsed("cursor")?,
        limit: asked.limit()?,
    };
    let rows = state.store.outbox_rows(&filter)?;
    let channels = state.store.outbox_stats()?;
    Answer::json(&json!({"channels": channels, "notifications": rows.rows, "next": next(rows.next)}))
}

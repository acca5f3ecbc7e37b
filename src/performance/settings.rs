//! What a model's performance is measured by, in the operator's words.
//!
//! Place in the flow: the configuration makes [`Settings`], the monitor holds them, and everything that
//! measures, estimates or prices performance reads them. Plain data; pure.
//!
//! Invariant: a metric that is named here exists for the task: [`metric_of`] is the only judge of names.
//!
//! To add a setting: a field here with its default, a key in the configuration's `model.performance` or
//! `model.value`.

use serde::{Deserialize, Serialize};

use super::counts::headline;
use super::{Compute, METRICS};
use crate::baseline::OutcomeOptions;
use crate::event::Span;
use crate::summary::outcome::Task;
use crate::window::WindowSettings;

/// Largest cutoff of a metric of orders: more rows are not kept of a query.
pub const CUTOFF_MAX: u32 = 1_000;

const DAY: i64 = 86_400;

/// What performance is measured by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// What the model predicts.
    pub task: Task,
    /// Two classes: the names of class 1, as events name them; a JSON `true` is named `true`, and 1 and 1.0
    /// are `1`. Every other name is class 0.
    pub positive: Vec<String>,
    /// Several classes: their names, as the labels have them, in the order of the scores; empty if the
    /// training labels say them.
    pub classes: Vec<String>,
    /// Two classes: where events carry no decision, scores of at least this are decided as class 1.
    pub threshold: f64,
    /// The score column that is measured, if there are several.
    pub score: Option<String>,
    /// The metric that alarms are about; the others are measured and shown.
    pub metric: String,
    /// The windows of the predictions' time, shortest first.
    pub windows: Vec<WindowSettings>,
    /// A label that comes later than this after its prediction is not waited for.
    pub label_delay_max: Span,
    /// Windows with fewer labels are not judged.
    pub labels_min: u64,
    /// A window counts as complete from this share of labelled predictions on, 0 to 1.
    pub mature_at: f64,
    /// Most predictions that wait for their labels.
    pub waiting_max: u64,
    /// Most bytes on disk that waiting predictions take.
    pub waiting_bytes_max: u64,
    /// The operator's own limits.
    pub limits: Vec<Limit>,
    /// What mistakes and retraining cost.
    pub value: Option<Value>,
}

/// A value of a metric that the operator will not accept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// The metric.
    pub metric: String,
    /// Which values break the limit.
    #[serde(flatten)]
    pub bound: Bound,
}

/// Which values of a metric break a limit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Those below this number.
    Below(f64),
    /// Those above it.
    Above(f64),
}

impl Bound {
    /// Whether a value breaks the limit.
    pub fn is_broken_by(self, value: f64) -> bool {
        match self {
            Self::Below(least) => value < least,
            Self::Above(most) => value > most,
        }
    }
}

/// What mistakes and retraining cost; all amounts in one currency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Value {
    /// Cost of a case by its truth (row) and decision (column); a gain is negative. Empty for regression.
    pub costs: Vec<Vec<f64>>,
    /// A numeric feature by which the cost of each case is multiplied.
    pub amount: Option<String>,
    /// Regression: cost of each unit that is predicted too high.
    pub over: f64,
    /// Regression: cost of each unit that is predicted too low.
    pub under: f64,
    /// The currency, as people write it.
    pub currency: String,
    /// What a retraining costs; 0 if that is not said.
    pub retrain_cost: f64,
    /// What a retraining that goes wrong may cost on top, on average; 0 if that is not said.
    pub retrain_risk: f64,
    /// So long the loss of a model that is not retrained is reckoned ahead.
    pub horizon: Span,
}

impl Settings {
    /// What a baseline counts its training rows' outcomes by.
    pub fn outcomes(&self) -> OutcomeOptions {
        OutcomeOptions {
            task: self.task,
            positive: self.positive.clone(),
            classes: self.classes.clone(),
            threshold: self.threshold,
            score: self.score.clone(),
            amount: self.value.as_ref().and_then(|value| value.amount.clone()),
        }
    }

    /// The defaults of a task.
    pub fn new(task: Task) -> Self {
        Self {
            task,
            positive: default_positive(),
            classes: Vec::new(),
            threshold: 0.5,
            score: None,
            metric: headline(task).to_owned(),
            windows: default_windows(),
            label_delay_max: Span::from_secs(60 * DAY),
            labels_min: 200,
            mature_at: 0.95,
            waiting_max: 10_000_000,
            waiting_bytes_max: 8 << 30,
            limits: Vec::new(),
            value: None,
        }
    }

    /// Into how many parts performance splits the false-alarm budget: one for each length of window, and one
    /// for the watch over the stream of errors.
    pub fn parts(&self) -> usize {
        self.windows.len() + 1
    }
}

/// The names of class 1 if none are given: what JSON's `1` and `true` are named.
fn default_positive() -> Vec<String> {
    ["1", "true"].map(str::to_owned).to_vec()
}

/// A day, and a week that slides by a day: labels are fewer than events.
fn default_windows() -> Vec<WindowSettings> {
    let day = Span::from_secs(DAY);
    let week = Span::from_secs(7 * DAY);
    vec![WindowSettings { length: day, slide: day }, WindowSettings { length: week, slide: day }]
}

/// A name that is no metric of a task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no metric of a {task} model{}", .nearest.as_ref().map(|name| format!(", did you mean `{name}`?")).unwrap_or_default())]
pub struct UnknownMetric {
    /// What was asked for.
    pub name: String,
    /// The task.
    pub task: Task,
    /// The metric that was most likely meant.
    pub nearest: Option<String>,
}

/// The name of a task's metric, as it is measured; orders are cut, as in `ndcg@10`.
///
/// # Errors
/// [`UnknownMetric`] with the nearest name.
pub fn metric_of(task: Task, name: &str) -> Result<String, UnknownMetric> {
    let of_task = METRICS.iter().filter(|metric| metric.task() == task);
    let is_meant = |metric: &&super::Metric| match metric.compute {
        Compute::RankingAt(_) => name
            .split_once('@')
            .is_some_and(|(stem, cutoff)| metric.name.strip_suffix("@k") == Some(stem) && is_cutoff(cutoff)),
        _ => metric.name == name,
    };
    if of_task.clone().any(|metric| is_meant(&metric)) {
        return Ok(name.to_owned());
    }
    let nearest = of_task
        .map(|metric| metric.name.replace("@k", "@10"))
        .map(|known| (strsim::jaro_winkler(&name.to_lowercase(), &known), known))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(&a.1)));
    Err(UnknownMetric { name: name.to_owned(), task, nearest: nearest.map(|(_, known)| known) })
}

fn is_cutoff(text: &str) -> bool {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    is_plain && text.parse::<u32>().is_ok_and(|cutoff| (1..=CUTOFF_MAX).contains(&cutoff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_metric_of_its_task() {
        for task in Task::ALL {
            assert_eq!(metric_of(task, headline(task)).as_deref(), Ok(headline(task)));
        }
    }

    #[test]
    fn a_name_that_is_no_metric_of_the_task_is_refused_with_the_nearest() {
        let nearest = |task, name| metric_of(task, name).map_err(|error| error.nearest);
        assert_eq!(nearest(Task::Binary, "roc-auc"), Err(Some("roc_auc".to_owned())));
        assert_eq!(nearest(Task::Regression, "RMSE"), Err(Some("rmse".to_owned())));
        assert_eq!(nearest(Task::Ranking, "ndcg"), Err(Some("ndcg@10".to_owned())));
        assert_eq!(nearest(Task::Binary, "xyzzy"), Err(None));
        assert!(metric_of(Task::Regression, "roc_auc").is_err());
        let text = metric_of(Task::Binary, "roc-auc").expect_err("no metric").to_string();
        assert_eq!(text, "`roc-auc` is no metric of a binary model, did you mean `roc_auc`?");
    }

    #[test]
    fn a_cutoff_is_a_whole_number_within_what_is_kept() {
        for name in ["ndcg@1", "map@25", "hit@1000", "mrr"] {
            assert_eq!(metric_of(Task::Ranking, name).as_deref(), Ok(name));
        }
        for name in ["ndcg@0", "ndcg@k", "ndcg@1001", "ndcg@05", "ndcg@", "ndcg@1.5", "mrr@5"] {
            assert!(metric_of(Task::Ranking, name).is_err(), "{name}");
        }
    }

    #[test]
    fn settings_are_read_back_as_they_were_written() {
        let mut settings = Settings::new(Task::Binary);
        settings.limits = vec![Limit { metric: "roc_auc".to_owned(), bound: Bound::Below(0.75) }];
        let text = serde_json::to_string(&settings).expect("plain data");
        assert!(text.contains(r#"{"metric":"roc_auc","below":0.75}"#), "{text}");
        assert_eq!(serde_json::from_str::<Settings>(&text).expect("its own"), settings);
    }
}

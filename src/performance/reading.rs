//! What is known of a window's performance at one moment: the document that is stored, shown and reported.

use serde::{Deserialize, Serialize};

use crate::event::{Span, Timestamp};
use crate::summary::outcome::Task;

/// A number with its 95 % interval; an end that is not known is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Ranged {
    /// The value.
    pub value: f64,
    /// Lower end.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

/// How complete a window's labels are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Maturity {
    /// There are too few labels to say anything; what is shown is estimated.
    Waiting,
    /// Labels are still coming: those that are there are weighted for those that are not.
    Provisional,
    /// As good as all labels are there, or none comes any more.
    Mature,
}

impl Maturity {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Provisional => "provisional",
            Self::Mature => "mature",
        }
    }
}

/// A metric of a window: realised, estimated, and in the training data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricReading {
    /// The metric's name.
    pub metric: String,
    /// The realised value; `None` when it cannot be computed, and `status` says why.
    pub value: Option<f64>,
    /// Lower end of its 95 % interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Labels, or for orders queries, it was computed from.
    pub n: u64,
    /// How far the counts may leave it from the value of the rows themselves.
    pub bound: f64,
    /// `ok`, or why there is no value.
    pub status: String,
    /// What else a reader should know.
    pub detail: Option<String>,
    /// The value in the training data.
    pub reference: Option<f64>,
    /// The value that is estimated without labels.
    pub estimate: Option<Ranged>,
    /// Whether the realised value lies within the estimate's interval; `None` unless both are there.
    pub estimate_holds: Option<bool>,
}

/// What the estimates rest on, and how good they were.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimation {
    /// `cbpe` or `dle`.
    pub method: String,
    /// What must be true for the estimates to be.
    pub assumes: String,
    /// Mature windows in which both are known.
    pub windows_compared: u64,
    /// In those, the mean of |estimated − realised| of the headline metric.
    pub mean_absolute_error: Option<f64>,
    /// In how many of those the realised value lay within the interval.
    pub windows_held: u64,
    /// Whether the estimates may be relied on: false once realised values left their intervals.
    pub reliable: bool,
}

/// The share of class 1, estimated without labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PriorReading {
    /// `bbse` or `em`.
    pub method: String,
    /// The share in the window, 0 to 1.
    pub share: Ranged,
    /// The share in the training data.
    pub reference: f64,
}

/// A change of the mean loss, split into what the mix of cases did and what the world did to each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitReading {
    /// The loss that is split.
    pub loss: String,
    /// The whole change, against the training data.
    pub total: Ranged,
    /// The part of a changed mix of cases.
    pub mix: Ranged,
    /// The part of changed outcomes of like cases.
    pub concept: Ranged,
    /// What cannot be told apart: cases of a kind that the training data does not have.
    pub unexplained: f64,
}

/// What the model costs, compared with what it cost in the training data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MoneyReading {
    /// The currency, as the operator writes it.
    pub currency: String,
    /// Mean cost of a prediction, realised.
    pub cost: Option<Ranged>,
    /// The same, estimated without labels.
    pub estimated_cost: Option<Ranged>,
    /// The same in the training data.
    pub reference_cost: f64,
    /// Predictions a day.
    pub per_day: f64,
    /// Loss a day against the training data, realised.
    pub loss_per_day: Option<Ranged>,
    /// The same, estimated without labels.
    pub estimated_loss_per_day: Option<Ranged>,
    /// Loss since `since`.
    pub accumulated: Option<Ranged>,
    /// Since when it is accumulated: the start of the first window of the change.
    pub since: Option<Timestamp>,
    /// What a retraining costs, with the price of its risk.
    pub retrain_cost: f64,
    /// Days until a retraining has paid for itself; `None` if it never does.
    pub break_even_days: Option<f64>,
    /// Whether it pays within the horizon, with 90 % confidence; `None` when that is not known.
    pub retrain_pays: Option<bool>,
    /// The horizon.
    pub horizon: Span,
}

/// What is known of a window's performance at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// What the model predicts.
    pub task: Task,
    /// The metric that alarms are about.
    pub headline: String,
    /// Predictions of the window.
    pub predictions: u64,
    /// Those whose truth is known.
    pub labels: u64,
    /// Their share, 0 to 1.
    pub coverage: Option<f64>,
    /// From the window's end to the watermark.
    pub age: Span,
    /// How complete the labels are.
    pub maturity: Maturity,
    /// What the labels are worth when they are weighted.
    pub effective_labels: Option<f64>,
    /// How labels were weighted, in words; `None` when they were not.
    pub correction: Option<String>,
    /// Every metric of the task.
    pub metrics: Vec<MetricReading>,
    /// What the estimates rest on; `None` when there are none.
    pub estimation: Option<Estimation>,
    /// The share of class 1, estimated without labels.
    pub prior: Option<PriorReading>,
    /// What changed: the mix of cases or the world.
    pub split: Option<SplitReading>,
    /// Money.
    pub money: Option<MoneyReading>,
}

impl Reading {
    /// A metric's reading.
    pub fn metric(&self, name: &str) -> Option<&MetricReading> {
        self.metrics.iter().find(|reading| reading.metric == name)
    }
}

//! What is behind an incident: a fault in the data, a shift that does no harm, one that does, or a world in
//! which the same cases have other outcomes. A rule over the evidence, no estimate of its own.
//!
//! Place in the flow: takes the alarms of a window, the [`Split`] of its loss and the changes of the headline
//! metric, gives a [`Diagnosis`] that messages, the API and the report show with the incident. Pure, and
//! total: every combination of evidence has a diagnosis.
//!
//! # The rules, the first that holds
//!
//! 1. **Data fault.** Values are missing or of the wrong type more often than in training, or records are
//!    rejected; or unseen categories or numbers beyond the training range make up at least
//!    [`FAULT_SHARE_MIN`] of a column, which is a new coding or unit more often than a new population. It goes
//!    first because nothing else can be judged from broken data, and a model trained on it would be broken too.
//! 2. **Labels say that the metric got worse** (the interval of the realised value is beyond the reference):
//!    - the split says why: *concept change* when its concept part is surely harmful and its mix part is not,
//!      or is smaller; *harmful shift* when the mix part is surely harmful and not smaller than the concept;
//!      *unclear* when neither is;
//!    - without a split, an estimate without labels does, since it assumes that the concept is as it was: the
//!      realised value beyond the estimate's interval is a *concept change*, within it, with an estimate that
//!      is worse too, a *harmful shift*;
//!    - without either, no column that alarms leaves a *concept change*; otherwise it is *unclear*.
//! 3. **Labels say that it did not**: *concept change* when the split's concept part is harmful all the same,
//!    hidden by a kinder mix; *harmless shift* when columns alarm and the realised value is at worst within
//!    the tolerance of the reference; otherwise *unclear*, as there are too few labels to tell.
//! 4. **No labels yet**, so only the shift can be judged: *harmful shift* when the estimate is worse than the
//!    reference, *harmless shift* when columns alarm and it is at worst within the tolerance. A change of
//!    concept cannot be seen from here, which the evidence says.
//! 5. Otherwise **unclear**.
//!
//! Invariant: a data fault never asks for retraining, and every diagnosis has at least one sentence of
//! evidence.
//!
//! To add a rule: a function that may give a [`Diagnosis`], at its place in [`diagnose`], and its row in the
//! table of the tests.

use serde::{Deserialize, Serialize};

use super::split::{Part, Split};
use super::{Better, Interval};

/// Share of a column's values that are unseen or beyond the training range from which a fault is likelier than
/// a new population.
pub const FAULT_SHARE_MIN: f64 = 0.2;

/// How far from its reference a metric may be and still do no harm, as a share of the reference, where nothing
/// else is set.
pub const TOLERANCE_DEFAULT: f64 = 0.02;

/// Columns named in one sentence.
const NAMED_MAX: usize = 5;

/// What is behind an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiagnosisKind {
    /// The data is broken: repair the pipeline.
    DataFault,
    /// The data is new, and the model does as well on it.
    HarmlessShift,
    /// The data is new, and the model does worse on it.
    HarmfulShift,
    /// The same cases have other outcomes.
    ConceptChange,
    /// The evidence does not decide.
    Unclear,
}

impl DiagnosisKind {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::DataFault => "data_fault",
            Self::HarmlessShift => "harmless_shift",
            Self::HarmfulShift => "harmful_shift",
            Self::ConceptChange => "concept_change",
            Self::Unclear => "unclear",
        }
    }

    /// For people: what it is and what to do.
    pub fn advice(self) -> &'static str {
        match self {
            Self::DataFault => "data fault: repair the data; a model retrained on it would learn the fault",
            Self::HarmlessShift => {
                "harmless shift: the data is new, the model copes; retraining is not urgent"
            }
            Self::HarmfulShift => {
                "harmful shift: the model meets cases that it is worse at; retrain with them"
            }
            Self::ConceptChange => "concept change: like cases now end differently; retrain on recent labels",
            Self::Unclear => "unclear: the evidence does not decide; look at the columns, wait for labels",
        }
    }

    /// Whether retraining would do harm, whatever else is set.
    pub fn forbids_retraining(self) -> bool {
        self == Self::DataFault
    }

    /// Whether retraining is the remedy.
    pub fn calls_for_retraining(self) -> bool {
        matches!(self, Self::HarmfulShift | Self::ConceptChange)
    }
}

/// How far a diagnosis can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// A guess that later windows may overturn.
    Low,
    /// It rests on an assumption that the evidence names.
    Medium,
    /// It rests on counts or on labels.
    High,
}

/// What is behind an incident, and why that is thought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// What it is.
    pub kind: DiagnosisKind,
    /// How far it can be relied on.
    pub confidence: Confidence,
    /// The evidence in plain sentences, what decided first.
    pub evidence: Vec<String>,
}

/// An alarm of a test of a column, or of rejected records.
#[derive(Debug, Clone, PartialEq)]
pub struct Alarm {
    /// The column, or what stands for rejected records.
    pub column: String,
    /// The test's stable name: `missing`, `wrong_type`, `rejected`, `unseen`, `overflow` or another.
    pub test: String,
    /// Share of rows that the test counts, in the reference; none for tests that do not count rows.
    pub reference_share: Option<f64>,
    /// The same now.
    pub share: Option<f64>,
}

/// The headline metric now against the reference.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricChange {
    /// The metric's stable name.
    pub metric: String,
    /// Which way is better.
    pub better: Better,
    /// Its value now.
    pub value: f64,
    /// Where it is with 95 %; without one nothing can be told from it.
    pub interval: Option<Interval>,
    /// Its value in the reference.
    pub reference: f64,
    /// How far from the reference does no harm, in units of the metric; [`TOLERANCE_DEFAULT`] of the reference
    /// when there is none.
    pub tolerance: Option<f64>,
    /// Whether an estimate has been in line with realised values; always so for a realised value.
    pub is_reliable: bool,
}

/// The share of a class that an estimate without labels sees, now and in the reference.
#[derive(Debug, Clone, PartialEq)]
pub struct PriorShift {
    /// The class.
    pub class: String,
    /// Its share in the reference.
    pub reference: f64,
    /// Its share now.
    pub now: f64,
    /// Where that is with 95 %.
    pub interval: Option<Interval>,
}

/// What is known about an incident.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// What alarmed.
    pub alarms: Vec<Alarm>,
    /// The realised metric, when there are enough labels to show it.
    pub realised: Option<MetricChange>,
    /// The metric as estimated without labels.
    pub estimated: Option<MetricChange>,
    /// The change of the loss, split.
    pub split: Option<Split>,
    /// The share of the positive class, or of the one that moved most.
    pub prior: Option<PriorShift>,
}

/// Says what is behind an incident. See the rules of this module.
pub fn diagnose(findings: &Findings) -> Diagnosis {
    let mut diagnosis = data_fault(findings)
        .or_else(|| with_labels(findings))
        .or_else(|| without_labels(findings))
        .unwrap_or_else(|| unclear("Neither labels nor an estimate without them say how the model does."));
    diagnosis.evidence.extend(context(findings, diagnosis.kind));
    diagnosis
}

fn decided(kind: DiagnosisKind, confidence: Confidence, why: impl Into<String>) -> Diagnosis {
    Diagnosis { kind, confidence, evidence: vec![why.into()] }
}

fn unclear(why: impl Into<String>) -> Diagnosis {
    decided(DiagnosisKind::Unclear, Confidence::Low, why)
}

// === rule 1 ===

/// How an alarm bears on the data being broken.
fn is_fault(alarm: &Alarm) -> bool {
    // Fewer bad values than in training are a change, and no fault.
    let has_fallen = alarm.share.zip(alarm.reference_share).is_some_and(|(now, before)| now <= before);
    match alarm.test.as_str() {
        "missing" | "wrong_type" | "rejected" => !has_fallen,
        "unseen" | "overflow" => {
            let before = alarm.reference_share.unwrap_or(0.0);
            alarm.share.is_some_and(|share| share - before >= FAULT_SHARE_MIN)
        }
        _ => false,
    }
}

fn data_fault(findings: &Findings) -> Option<Diagnosis> {
    let faults: Vec<&Alarm> = findings.alarms.iter().filter(|alarm| is_fault(alarm)).collect();
    let counted = |alarm: &&Alarm| matches!(alarm.test.as_str(), "missing" | "wrong_type" | "rejected");
    let confidence = if faults.iter().any(counted) { Confidence::High } else { Confidence::Medium };
    let mut sentences = faults.iter().take(NAMED_MAX).map(|alarm| fault_sentence(alarm));
    let mut diagnosis = decided(DiagnosisKind::DataFault, confidence, sentences.next()?);
    diagnosis.evidence.extend(sentences);
    if faults.len() > NAMED_MAX {
        diagnosis.evidence.push(format!("And {} more such alarms.", faults.len() - NAMED_MAX));
    }
    diagnosis.evidence.push("Nothing else can be judged until the data is whole again.".to_owned());
    Some(diagnosis)
}

fn fault_sentence(alarm: &Alarm) -> String {
    let column = &alarm.column;
    let what = match alarm.test.as_str() {
        "missing" => format!("Values of {column} are missing"),
        "wrong_type" => format!("Values of {column} are of the wrong type"),
        "rejected" => "Records are rejected".to_owned(),
        "unseen" => format!("Categories of {column} were not seen in training"),
        _ => format!("Values of {column} are beyond the range of training"),
    };
    match (alarm.share, alarm.reference_share) {
        (Some(now), Some(before)) => {
            format!("{what} in {} of rows, {} in the reference.", percent(now), percent(before))
        }
        (Some(now), None) => format!("{what} in {} of rows.", percent(now)),
        (None, _) => format!("{what} more often than in the reference."),
    }
}

// === rules 2 and 3 ===

/// What an interval says against a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Surely worse.
    Worse,
    /// At worst within the tolerance.
    AsGood,
    /// Neither can be told.
    Open,
}

/// How far from 0 what lies in an interval is.
fn from_zero(interval: Interval) -> Interval {
    let (low, high) = (interval.low.abs(), interval.high.abs());
    let holds_zero = interval.low <= 0.0 && interval.high >= 0.0;
    Interval { low: if holds_zero { 0.0 } else { low.min(high) }, high: low.max(high) }
}

impl MetricChange {
    fn standing(&self) -> Standing {
        let Some(Interval { low, high }) = self.interval else { return Standing::Open };
        let tolerance = self.tolerance.unwrap_or(TOLERANCE_DEFAULT * self.reference.abs());
        // How much worse than the reference, at least and at most.
        let (least, most) = match self.better {
            Better::Higher => (self.reference - high, self.reference - low),
            Better::Lower => (low - self.reference, high - self.reference),
            Better::Zero => {
                let Interval { low, high } = from_zero(Interval { low, high });
                (low - self.reference.abs(), high - self.reference.abs())
            }
        };
        match (least > 0.0, most <= tolerance) {
            // Both hold of a change that is certain and too small to matter.
            (_, true) => Standing::AsGood,
            (true, false) => Standing::Worse,
            (false, false) => Standing::Open,
        }
    }

    /// Whether this is worse than anything within an interval.
    fn is_worse_than(&self, interval: Interval) -> bool {
        match (self.better, self.interval) {
            (Better::Higher, Some(own)) => own.high < interval.low,
            (Better::Lower, Some(own)) => own.low > interval.high,
            (Better::Zero, Some(own)) => from_zero(own).low > from_zero(interval).high,
            (_, None) => false,
        }
    }

    fn sentence(&self, how: &str) -> String {
        let value = match self.interval {
            Some(Interval { low, high }) => {
                format!("{} ({} to {})", number(self.value), number(low), number(high))
            }
            None => number(self.value),
        };
        format!("{how} {} is {value}, {} in the reference.", self.metric, number(self.reference))
    }
}

fn with_labels(findings: &Findings) -> Option<Diagnosis> {
    let realised = findings.realised.as_ref()?;
    let mut diagnosis = match realised.standing() {
        Standing::Worse => worse(findings, realised),
        standing => not_worse(findings, standing)?,
    };
    diagnosis.evidence.insert(0, realised.sentence("Realised"));
    Some(diagnosis)
}

fn worse(findings: &Findings, realised: &MetricChange) -> Diagnosis {
    if let Some(split) = &findings.split {
        return by_split(split);
    }
    let estimated = findings.estimated.as_ref().filter(|estimated| estimated.is_reliable);
    if let Some((estimated, interval)) = estimated.and_then(|one| Some((one, one.interval?))) {
        if realised.is_worse_than(interval) {
            let why =
                "It is worse than was estimated from the data alone, so outcomes of like cases changed.";
            return decided(DiagnosisKind::ConceptChange, Confidence::Medium, why);
        }
        if estimated.standing() == Standing::Worse {
            let why = "As much was estimated from the data alone, with outcomes of like cases unchanged.";
            return decided(DiagnosisKind::HarmfulShift, Confidence::Medium, why);
        }
    }
    match findings.alarms.is_empty() {
        true => {
            let why = "No column drifted, so outcomes of like cases changed.";
            decided(DiagnosisKind::ConceptChange, Confidence::Medium, why)
        }
        false => unclear("Columns drifted too, and nothing tells whether that is the cause."),
    }
}

fn by_split(split: &Split) -> Diagnosis {
    let (mix, concept) = (&split.mix, &split.concept);
    let both = mix.is_harmful() && concept.is_harmful();
    let confidence = if both { Confidence::Medium } else { Confidence::High };
    match (concept.is_harmful(), mix.is_harmful()) {
        (true, harmful) if !harmful || concept.value > mix.value => {
            let why = "Like cases have other outcomes, which explains more of it than the mix of cases.";
            decided(DiagnosisKind::ConceptChange, confidence, why)
        }
        (_, true) => {
            let why = "Cases that the model is worse at became more frequent, which explains most of it.";
            decided(DiagnosisKind::HarmfulShift, confidence, why)
        }
        _ if split.unexplained.is_harmful() => {
            let why = "It comes from cases of which the reference has next to none.";
            decided(DiagnosisKind::HarmfulShift, Confidence::Medium, why)
        }
        _ => unclear("Neither the mix of cases nor the outcomes of like cases surely explain it."),
    }
}

/// None when labels leave it open and the estimate may know more.
fn not_worse(findings: &Findings, standing: Standing) -> Option<Diagnosis> {
    if findings.split.as_ref().is_some_and(|split| split.concept.is_harmful()) {
        let why = "Like cases have worse outcomes, which a kinder mix of cases hides for now.";
        return Some(decided(DiagnosisKind::ConceptChange, Confidence::Low, why));
    }
    match standing {
        Standing::Open => {
            let mut diagnosis = without_labels(findings)?;
            diagnosis.confidence = Confidence::Low;
            diagnosis.evidence.push("There are too few labels to tell.".to_owned());
            Some(diagnosis)
        }
        _ if findings.alarms.is_empty() => Some(unclear("Nothing drifted and the metric holds.")),
        _ => {
            let why = "That is within what does no harm, so the drift has not hurt the model.";
            Some(decided(DiagnosisKind::HarmlessShift, Confidence::High, why))
        }
    }
}

// === rule 4 ===

const UNSEEN_CONCEPT: &str =
    "The estimate assumes that outcomes of like cases are as before; labels will tell.";

fn without_labels(findings: &Findings) -> Option<Diagnosis> {
    let open = || findings.realised.as_ref().map(|_| unclear("Neither labels nor an estimate decide."));
    let Some(estimated) = &findings.estimated else { return open() };
    let mut diagnosis = match estimated.standing() {
        _ if !estimated.is_reliable => {
            unclear("The estimate without labels has not been in line with realised values.")
        }
        Standing::Worse => decided(DiagnosisKind::HarmfulShift, Confidence::Medium, UNSEEN_CONCEPT),
        Standing::AsGood if !findings.alarms.is_empty() => {
            decided(DiagnosisKind::HarmlessShift, Confidence::Low, UNSEEN_CONCEPT)
        }
        Standing::AsGood => unclear("Nothing drifted and the estimate holds."),
        Standing::Open => unclear("The estimate without labels does not decide."),
    };
    diagnosis.evidence.insert(0, estimated.sentence("Estimated"));
    Some(diagnosis)
}

// === context ===

/// What else is known, whether it decided or not.
fn context(findings: &Findings, kind: DiagnosisKind) -> Vec<String> {
    let mut sentences = Vec::new();
    if let Some(split) = findings.split.as_ref().filter(|_| kind != DiagnosisKind::DataFault) {
        sentences.push(split_sentence(split));
    }
    if let Some(prior) = &findings.prior {
        let certain =
            prior.interval.is_some_and(|Interval { low, high }| !(low..=high).contains(&prior.reference));
        let moved = if certain { "moved" } else { "may have moved" };
        let (from, to) = (percent(prior.reference), percent(prior.now));
        sentences.push(format!("The share of class {} {moved} from {from} to {to}.", prior.class));
    }
    let mut drifting: Vec<&str> =
        findings.alarms.iter().filter(|alarm| !is_fault(alarm)).map(|alarm| alarm.column.as_str()).collect();
    drifting.sort_unstable();
    drifting.dedup();
    if let Some(more) = drifting.len().checked_sub(1) {
        let named = drifting.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
        let rest = match (more + 1).saturating_sub(NAMED_MAX) {
            0 => String::new(),
            rest => format!(" and {rest} more"),
        };
        sentences.push(format!("Drifting columns: {named}{rest}."));
    }
    sentences
}

fn split_sentence(split: &Split) -> String {
    let part = |part: &Part| match part.interval {
        Some(Interval { low, high }) => {
            format!("{} ({} to {})", signed(part.value), signed(low), signed(high))
        }
        None => signed(part.value),
    };
    let unexplained = match split.unexplained_share_now + split.unexplained_share_reference {
        share if share > 0.0 => {
            format!(", {} to cases on one side only", part(&split.unexplained))
        }
        _ => String::new(),
    };
    format!(
        "Of a change of the mean loss by {}, {} is due to the mix of cases, {} to their outcomes{unexplained}.",
        signed(split.change.value),
        part(&split.mix),
        part(&split.concept),
    )
}

/// Four digits that count.
fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        size if !(1e-4..1e15).contains(&size) && size != 0.0 => format!("{value:.3e}"),
        size if size >= 1_000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn signed(value: f64) -> String {
    let text = number(value);
    if value > 0.0 { format!("+{text}") } else { text }
}

fn percent(share: f64) -> String {
    let percents = 100.0 * share;
    match percents {
        p if p == 0.0 || p >= 9.95 => format!("{p:.0} %"),
        p if p >= 0.095 => format!("{p:.1} %"),
        p => format!("{p:.2} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarm(column: &str, test: &str, shares: Option<(f64, f64)>) -> Alarm {
        Alarm {
            column: column.to_owned(),
            test: test.to_owned(),
            reference_share: shares.map(|(before, _)| before),
            share: shares.map(|(_, now)| now),
        }
    }

    fn drift() -> Vec<Alarm> {
        vec![alarm("income", "psi", None), alarm("age", "ks", None)]
    }

    /// ROC AUC against a reference of 0.9, ± 0.01.
    fn auc(value: f64) -> Option<MetricChange> {
        let interval = Some(Interval { low: value - 0.01, high: value + 0.01 });
        let (metric, better) = ("roc_auc".to_owned(), Better::Higher);
        let (reference, tolerance) = (0.9, Some(0.015));
        Some(MetricChange { metric, better, value, interval, reference, tolerance, is_reliable: true })
    }

    fn unreliable(value: f64) -> Option<MetricChange> {
        auc(value).map(|change| MetricChange { is_reliable: false, ..change })
    }

    fn split(mix: f64, concept: f64) -> Option<Split> {
        let part =
            |value: f64| Part { value, interval: Some(Interval { low: value - 0.01, high: value + 0.01 }) };
        let none = Part { value: 0.0, interval: None };
        Some(Split {
            reference: part(0.1),
            now: part(0.1 + mix + concept),
            change: part(mix + concept),
            mix: part(mix),
            concept: part(concept),
            unexplained: none,
            only_concept: part(0.1 + concept),
            only_mix: part(0.1 + mix),
            strata: 10,
            pooled: 0,
            unexplained_share_reference: 0.0,
            unexplained_share_now: 0.0,
        })
    }

    fn kind(
        alarms: Vec<Alarm>,
        realised: Option<MetricChange>,
        estimated: Option<MetricChange>,
        split: Option<Split>,
    ) -> (DiagnosisKind, Confidence) {
        let found = diagnose(&Findings { alarms, realised, estimated, split, prior: None });
        assert!(!found.evidence.is_empty());
        assert!(found.evidence.iter().all(|sentence| sentence.ends_with('.')), "{:?}", found.evidence);
        (found.kind, found.confidence)
    }

    use Confidence::{High, Low, Medium};
    use DiagnosisKind::{ConceptChange, DataFault, HarmfulShift, HarmlessShift, Unclear};

    #[test]
    fn broken_data_is_a_fault_whatever_else_is_seen() {
        for (alarms, want) in [
            (vec![alarm("age", "missing", Some((0.01, 0.3)))], Some(High)),
            (vec![alarm("age", "missing", None)], Some(High)),
            (vec![alarm("age", "wrong_type", None), alarm("income", "psi", None)], Some(High)),
            (vec![alarm("(rejected records)", "rejected", Some((0.0, 0.2)))], Some(High)),
            (vec![alarm("city", "unseen", Some((0.0, 0.9)))], Some(Medium)),
            (vec![alarm("income", "overflow", Some((0.01, 0.5)))], Some(Medium)),
            (vec![alarm("city", "unseen", Some((0.0, 0.05)))], None),
            (vec![alarm("city", "unseen", None)], None),
            (vec![alarm("age", "missing", Some((0.3, 0.0)))], None),
        ] {
            for (realised, split) in [(None, None), (auc(0.8), split(0.0, 0.1)), (auc(0.9), None)] {
                let got = kind(alarms.clone(), realised, auc(0.8), split);
                match want {
                    Some(confidence) => assert_eq!(got, (DataFault, confidence), "{alarms:?}"),
                    None => assert_ne!(got.0, DataFault, "{alarms:?}"),
                }
            }
        }
    }

    #[test]
    fn labels_that_show_harm_are_explained_by_the_split() {
        for (split, want) in [
            (split(0.0, 0.1), (ConceptChange, High)),
            (split(0.1, 0.0), (HarmfulShift, High)),
            (split(0.05, 0.1), (ConceptChange, Medium)),
            (split(0.1, 0.05), (HarmfulShift, Medium)),
            (split(-0.05, 0.1), (ConceptChange, High)),
            (split(0.005, 0.005), (Unclear, Low)),
        ] {
            assert_eq!(kind(drift(), auc(0.8), auc(0.9), split), want);
            assert_eq!(kind(Vec::new(), auc(0.8), None, split), want);
        }
        let new = Part { value: 0.1, interval: Some(Interval { low: 0.05, high: 0.15 }) };
        let one_sided = split(0.0, 0.0).map(|split| Split { unexplained: new, ..split });
        assert_eq!(kind(drift(), auc(0.8), None, one_sided), (HarmfulShift, Medium));
    }

    #[test]
    fn labels_that_show_harm_are_compared_with_the_estimate() {
        for (alarms, estimated, want) in [
            (drift(), auc(0.9), (ConceptChange, Medium)),
            (drift(), auc(0.81), (HarmfulShift, Medium)),
            (drift(), unreliable(0.9), (Unclear, Low)),
            (drift(), None, (Unclear, Low)),
            (Vec::new(), None, (ConceptChange, Medium)),
            (Vec::new(), auc(0.9), (ConceptChange, Medium)),
        ] {
            assert_eq!(kind(alarms, auc(0.8), estimated, None), want);
        }
    }

    #[test]
    fn labels_that_show_no_harm_make_a_shift_harmless() {
        assert_eq!(kind(drift(), auc(0.9), auc(0.8), None), (HarmlessShift, High));
        assert_eq!(kind(drift(), auc(0.95), None, split(0.0, 0.0)), (HarmlessShift, High));
        assert_eq!(kind(drift(), auc(0.9), None, split(-0.1, 0.1)), (ConceptChange, Low));
        assert_eq!(kind(Vec::new(), auc(0.9), None, None), (Unclear, Low));
        // A fall that is certain and too small to matter.
        let slight = auc(0.895)
            .map(|change| MetricChange { interval: Some(Interval { low: 0.891, high: 0.899 }), ..change });
        assert_eq!(kind(drift(), slight, None, None), (HarmlessShift, High));
    }

    #[test]
    fn labels_that_leave_it_open_let_the_estimate_speak_softly() {
        assert_eq!(kind(drift(), auc(0.892), auc(0.8), None), (HarmfulShift, Low));
        assert_eq!(kind(drift(), auc(0.892), None, None), (Unclear, Low));
        let without = auc(0.8).map(|change| MetricChange { interval: None, ..change });
        assert_eq!(kind(drift(), without, auc(0.9), None), (HarmlessShift, Low));
    }

    #[test]
    fn without_labels_only_the_shift_is_judged() {
        for (alarms, estimated, want) in [
            (drift(), auc(0.8), (HarmfulShift, Medium)),
            (Vec::new(), auc(0.8), (HarmfulShift, Medium)),
            (drift(), auc(0.9), (HarmlessShift, Low)),
            (drift(), auc(0.892), (Unclear, Low)),
            (drift(), unreliable(0.8), (Unclear, Low)),
            (Vec::new(), auc(0.9), (Unclear, Low)),
            (drift(), None, (Unclear, Low)),
            (Vec::new(), None, (Unclear, Low)),
        ] {
            assert_eq!(kind(alarms, None, estimated, None), want);
        }
    }

    #[test]
    fn an_error_is_worse_when_it_is_higher() {
        let mae = |value: f64| {
            auc(value).map(|change| MetricChange {
                metric: "mae".to_owned(),
                better: Better::Lower,
                ..change
            })
        };
        assert_eq!(kind(drift(), mae(1.0), mae(0.9), None), (ConceptChange, Medium));
        assert_eq!(kind(drift(), mae(0.8), None, None), (HarmlessShift, High));
        let relative = mae(0.905).map(|change| MetricChange { tolerance: None, ..change });
        assert_eq!(kind(drift(), None, relative, None), (HarmlessShift, Low));
    }

    #[test]
    fn a_fault_never_asks_for_retraining() {
        assert!(DataFault.forbids_retraining() && !DataFault.calls_for_retraining());
        assert!([HarmfulShift, ConceptChange].iter().all(|kind| kind.calls_for_retraining()));
        assert!([HarmlessShift, Unclear].iter().all(|kind| !kind.calls_for_retraining()));
        for kind in [DataFault, HarmlessShift, HarmfulShift, ConceptChange, Unclear] {
            assert_eq!(serde_json::to_string(&kind).expect("json"), format!("\"{}\"", kind.name()));
            assert!(kind.advice().starts_with(&kind.name().replace('_', " ")));
        }
    }

    #[test]
    fn the_evidence_reads_as_sentences_with_the_numbers() {
        let prior = PriorShift {
            class: "1".to_owned(),
            reference: 0.05,
            now: 0.123,
            interval: Some(Interval { low: 0.11, high: 0.13 }),
        };
        let got = diagnose(&Findings {
            alarms: (0..7).map(|column| alarm(&format!("c{column}"), "ks", None)).collect(),
            realised: auc(0.8),
            estimated: None,
            split: split(0.02, 0.05),
            prior: Some(prior),
        });
        assert_eq!(
            got.evidence,
            [
                "Realised roc_auc is 0.8000 (0.7900 to 0.8100), 0.9000 in the reference.",
                "Like cases have other outcomes, which explains more of it than the mix of cases.",
                "Of a change of the mean loss by +0.0700, +0.0200 (+0.0100 to +0.0300) is due to the mix of \
                 cases, +0.0500 (+0.0400 to +0.0600) to their outcomes.",
                "The share of class 1 moved from 5.0 % to 12 %.",
                "Drifting columns: c0, c1, c2, c3, c4 and 2 more.",
            ]
        );
        let fault = diagnose(&Findings {
            alarms: vec![alarm("age", "missing", Some((0.004, 0.34)))],
            ..Findings::default()
        });
        assert_eq!(
            fault.evidence,
            [
                "Values of age are missing in 34 % of rows, 0.4 % in the reference.",
                "Nothing else can be judged until the data is whole again.",
            ]
        );
    }
}

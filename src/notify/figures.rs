//! How a model does, in words: metric, labels, estimate, money, and what the change is taken to be.
//!
//! Place in the flow: beside `words`, for incidents that carry performance. Pure; plain text on one line,
//! not escaped: each channel escapes for itself.
//!
//! To name a metric for people: one row in [`LABELS`].

use crate::event::Timestamp;
use crate::incident::{Cause, Incident, PerformanceEvidence};
use crate::performance::value;
use crate::performance::{
    Diagnosis, DiagnosisKind, Maturity, MetricReading, MoneyReading, Ranged, SplitReading,
};

use super::text::{clip, clip_name, count};
use super::words;

/// Most sentences of evidence that a message shows, and most characters of each.
const EVIDENCE_MAX: usize = 4;
const EVIDENCE_CHARS_MAX: usize = 300;

/// Longest shown form of a metric's name, and of a currency.
const LABEL_CHARS_MAX: usize = 40;
const CURRENCY_CHARS_MAX: usize = 12;

/// Metrics for people, by their stable name; a cutoff stands after the `@`.
const LABELS: &[(&str, &str)] = &[
    ("accuracy", "accuracy"),
    ("auc_ovr_macro", "ROC AUC (one against the rest)"),
    ("average_precision", "average precision"),
    ("balanced_accuracy", "balanced accuracy"),
    ("bias", "bias"),
    ("brier", "Brier score"),
    ("cost", "cost of a prediction"),
    ("ece", "calibration error (ECE)"),
    ("error_rate", "rate of mistakes"),
    ("f0.5", "F0.5"),
    ("f1", "F1"),
    ("f1_macro", "F1 (macro)"),
    ("f1_micro", "F1 (micro)"),
    ("f1_weighted", "F1 (weighted)"),
    ("f2", "F2"),
    ("hit", "hit rate"),
    ("kappa", "Cohen's kappa"),
    ("log_loss", "log loss"),
    ("mae", "mean absolute error"),
    ("map", "mean average precision"),
    ("mape", "mean absolute percentage error"),
    ("mcc", "Matthews correlation"),
    ("median_ae", "median absolute error"),
    ("mrr", "mean reciprocal rank"),
    ("mse", "mean squared error"),
    ("ndcg", "NDCG"),
    ("pinball_0.1", "pinball loss at 10 %"),
    ("pinball_0.5", "pinball loss at 50 %"),
    ("pinball_0.9", "pinball loss at 90 %"),
    ("precision", "precision"),
    ("r2", "R²"),
    ("recall", "recall"),
    ("rmse", "root mean squared error"),
    ("roc_auc", "ROC AUC"),
    ("smape", "symmetric percentage error"),
    ("specificity", "specificity"),
    ("spiegelhalter_z", "Spiegelhalter's Z"),
    ("wape", "weighted absolute percentage error"),
];

/// A metric's name for people: `ROC AUC` for `roc_auc`, `NDCG@10` for `ndcg@10`. A name that is not known
/// stays as it is, made safe to show.
pub fn metric_label(name: &str) -> String {
    let (stem, cutoff) = name.split_once('@').map_or((name, None), |(stem, cutoff)| (stem, Some(cutoff)));
    let Some((_, label)) = LABELS.iter().find(|(known, _)| *known == stem) else {
        return clip_name(name, LABEL_CHARS_MAX);
    };
    cutoff.map_or_else(|| (*label).to_owned(), |k| format!("{label}@{}", clip_name(k, 8)))
}

// === numbers ===

/// A metric's value, as exact as it is read: `0.912`, `31.4`, `12,345`.
fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if !value.is_finite() => "unknown".to_owned(),
        0.0 => "0".to_owned(),
        _ if size >= 1_000.0 => whole(value),
        _ if size >= 10.0 => format!("{value:.1}").replace('-', "−"),
        _ if size >= 0.001 => format!("{value:.3}").replace('-', "−"),
        _ => format!("{value:.1e}").replace('-', "−"),
    }
}

/// A number without decimals, its thousands apart.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and held below 2^53"
)]
fn whole(value: f64) -> String {
    let digits = count(value.abs().round().min(9e15) as u64);
    if value < 0.0 { format!("−{digits}") } else { digits }
}

/// A value with its interval, as far as that is known.
fn with_interval(value: f64, low: Option<f64>, high: Option<f64>) -> String {
    match (low, high) {
        (Some(low), Some(high)) => format!("{} ({} to {})", number(value), number(low), number(high)),
        _ => number(value),
    }
}

fn ranged(ranged: &Ranged) -> String {
    with_interval(ranged.value, ranged.low, ranged.high)
}

/// A change with its sign: `+0.030`.
fn signed(value: f64) -> String {
    if value > 0.0 { format!("+{}", number(value)) } else { number(value) }
}

/// An amount in the operator's currency: `€ 12,345`.
fn money(amount: f64, currency: &str) -> String {
    value::money(amount, &clip_name(currency, CURRENCY_CHARS_MAX))
}

/// A share in whole percent; one below all is never shown as all, and one above none never as none.
fn percent(share: f64) -> String {
    match share * 100.0 {
        few if few > 0.0 && few < 0.5 => "under 1 %".to_owned(),
        most if (99.5..100.0).contains(&most) => "over 99 %".to_owned(),
        percent => format!("{percent:.0} %"),
    }
}

fn day(at: Timestamp) -> String {
    match jiff::Timestamp::from_microsecond(at.as_micros()) {
        Ok(time) => time.strftime("%-d %b %Y").to_string(),
        Err(_) => at.to_string(),
    }
}

// === what is said ===

/// Everything that is known of how the model does, a line each; empty when nothing is.
pub(super) fn lines(incident: &Incident) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(known) = &incident.performance {
        lines.push(metric(&known.metric));
        lines.push(labels(known));
        lines.extend(estimate(&known.metric));
        lines.extend(known.cause.map(|cause| format!("Alarm: {}.", self::cause(cause))));
        lines.extend(known.money.as_ref().and_then(costs));
        lines.extend(known.split.as_ref().map(split));
    }
    if let Some(found) = &incident.diagnosis {
        lines.push(format!("{}.", diagnosis(found)));
        lines.extend(evidence(found));
    }
    lines
}

/// One line of it: `ROC AUC 0.912, 0.971 in training: harmful shift`.
pub(super) fn short(incident: &Incident) -> Option<String> {
    let known = incident.performance.as_ref().map(|known| {
        let MetricReading { metric, value, estimate, reference, .. } = &known.metric;
        let label = metric_label(metric);
        let value = match (value, estimate) {
            (Some(value), _) => format!("{label} {}", number(*value)),
            (None, Some(estimate)) => format!("estimated {label} {}", number(estimate.value)),
            (None, None) => format!("{label} unknown"),
        };
        reference.map_or(value.clone(), |reference| format!("{value}, {} in training", number(reference)))
    });
    let found = incident.diagnosis.as_ref().map(|found| name(found.kind));
    match (known, found) {
        (Some(known), Some(found)) => Some(format!("{known}: {}", found.to_lowercase())),
        (Some(known), None) => Some(known),
        (None, found) => found.map(str::to_owned),
    }
}

/// How the model does now that the incident is over: back, if that was what alarmed.
pub(super) fn after(incident: &Incident) -> Option<String> {
    let known = incident.performance.as_ref()?;
    let value = metric(&known.metric);
    Some(match known.cause {
        None if words::is_performance(incident) => format!("Back: {value}"),
        None => value,
        Some(_) => format!("As last alarmed: {value}"),
    })
}

/// What it costs a day, for a line that says why to retrain.
pub(super) fn costs_shortly(incident: &Incident) -> Option<String> {
    let money = incident.performance.as_ref()?.money.as_ref()?;
    loss(money).map(|(loss, _)| loss)
}

/// The metric's name for people, for a field of its own.
pub(super) fn component(incident: &Incident) -> Option<String> {
    incident.performance.as_ref().map(|known| metric_label(&known.metric.metric))
}

fn metric(reading: &MetricReading) -> String {
    let MetricReading { metric, value, low, high, status, detail, reference, estimate, .. } = reading;
    let label = metric_label(metric);
    let known = match (value, estimate) {
        (Some(value), _) => format!("{label} {}", with_interval(*value, *low, *high)),
        (None, Some(estimate)) => format!("{label}, estimated without labels, {}", ranged(estimate)),
        (None, None) => format!("{label} unknown: {}", clip(detail.as_deref().unwrap_or(status), 200)),
    };
    match reference {
        Some(reference) => format!("{known}, {} in training.", number(*reference)),
        None => format!("{known}."),
    }
}

fn labels(known: &PerformanceEvidence) -> String {
    if known.coverage.is_none() {
        // Of how many predictions these are is not known while they come.
        return format!("{} labels.", count(known.labels));
    }
    let there = known.coverage.map(|share| format!(", {}", percent(share))).unwrap_or_default();
    let how = match known.maturity {
        Maturity::Waiting => "too few to judge by",
        Maturity::Provisional => "more are coming",
        Maturity::Mature => "as good as all that come",
    };
    format!("{} of {} labels{there}: {how}.", count(known.labels), count(known.predictions))
}

/// The estimate beside a realised value.
fn estimate(reading: &MetricReading) -> Option<String> {
    let estimate = reading.estimate.as_ref().filter(|_| reading.value.is_some())?;
    let held = match reading.estimate_holds {
        Some(false) => "; the realised value lies outside, so do not rely on it",
        Some(true) => "; the realised value lies within",
        None => "",
    };
    Some(format!("Estimated without labels: {}{held}.", ranged(estimate)))
}

fn cause(cause: Cause) -> String {
    match cause {
        Cause::Reference => "worse than the reference windows allow".to_owned(),
        Cause::Limit(limit) => format!("beyond the limit {}", number(limit)),
        Cause::Sudden => "errors broke out suddenly".to_owned(),
    }
}

/// `Costs about € 12,300 a day (€ 9,100 to € 15,600); € 86,000 since 2 May 2026; a retraining …`
fn costs(money_reading: &MoneyReading) -> Option<String> {
    let (loss, is_loss) = loss(money_reading)?;
    let mut parts = vec![capitalised(&loss)];
    if let (Some(sum), Some(since)) = (&money_reading.accumulated, money_reading.since) {
        parts.push(format!("{} since {}", money(sum.value, &money_reading.currency), day(since)));
    }
    let pays = match (money_reading.break_even_days, money_reading.retrain_pays) {
        (_, Some(false)) => {
            Some(format!("a retraining is not sure to pay for itself within {}", money_reading.horizon))
        }
        (Some(days), _) if !days.is_finite() => None,
        (Some(days), _) if days < 1.5 => Some("a retraining pays for itself in a day".to_owned()),
        (Some(days), _) => Some(format!("a retraining pays for itself in {} days", whole(days))),
        (None, _) => None,
    };
    parts.extend(pays.filter(|_| is_loss));
    Some(format!("{}.", parts.join("; ")))
}

/// What it costs a day, and whether that is a loss: realised if it is known, else estimated.
fn loss(reading: &MoneyReading) -> Option<(String, bool)> {
    let (loss, costs, saves) = match (&reading.loss_per_day, &reading.estimated_loss_per_day) {
        (Some(loss), _) => (loss, "costs", "saves"),
        (None, Some(loss)) => (loss, "is estimated to cost", "is estimated to save"),
        (None, None) => return None,
    };
    let is_loss = loss.value >= 0.0;
    let sign = if is_loss { 1.0 } else { -1.0 };
    let amount = |value: f64| money(sign * value, &reading.currency);
    let ends = if is_loss { (loss.low, loss.high) } else { (loss.high, loss.low) };
    let interval = match ends {
        (Some(low), Some(high)) => format!(" ({} to {})", amount(low), amount(high)),
        _ => String::new(),
    };
    let verb = if is_loss { costs } else { saves };
    Some((format!("{verb} about {} a day{interval}", amount(loss.value)), is_loss))
}

fn split(split: &SplitReading) -> String {
    format!(
        "{} changed by {}: {} by a changed mix of cases, {} by like cases that come out differently, {} that \
         cannot be told apart.",
        capitalised(&metric_label(&split.loss)),
        signed(split.total.value),
        signed(split.mix.value),
        signed(split.concept.value),
        signed(split.unexplained)
    )
}

fn name(kind: DiagnosisKind) -> &'static str {
    match kind {
        DiagnosisKind::DataFault => "Data fault",
        DiagnosisKind::HarmlessShift => "Harmless shift",
        DiagnosisKind::HarmfulShift => "Harmful shift",
        DiagnosisKind::ConceptChange => "Concept change",
        DiagnosisKind::Unclear => "Cause unclear",
    }
}

/// What the change is taken to be, and what follows.
pub(super) fn diagnosis(found: &Diagnosis) -> String {
    let means = match found.kind {
        DiagnosisKind::DataFault => "the data are broken; mend the pipeline, and do not retrain on them",
        DiagnosisKind::HarmlessShift => "the cases are others, but the model is as good on them",
        DiagnosisKind::HarmfulShift => "the cases are others, and the model is worse on them",
        DiagnosisKind::ConceptChange => "like cases come out differently from training",
        DiagnosisKind::Unclear => "the evidence does not say whether the data or the world changed",
    };
    format!("{}: {means}", name(found.kind))
}

/// The first sentences of evidence.
pub(super) fn evidence(found: &Diagnosis) -> Vec<String> {
    found.evidence.iter().take(EVIDENCE_MAX).map(|sentence| clip(sentence, EVIDENCE_CHARS_MAX)).collect()
}

/// With a capital at its beginning.
pub(super) fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::performance::METRICS;

    #[test]
    fn every_metric_has_a_name_for_people() {
        for metric in METRICS {
            let stem = metric.name.split('@').next().unwrap_or_default();
            assert!(LABELS.iter().any(|(known, _)| *known == stem), "{}", metric.name);
        }
        assert!(LABELS.is_sorted_by_key(|(name, _)| *name));
        assert_eq!(metric_label("roc_auc"), "ROC AUC");
        assert_eq!(metric_label("ndcg@10"), "NDCG@10");
        assert_eq!(metric_label("their\nown"), "their own");
    }

    #[test]
    fn numbers_are_as_exact_as_they_are_read() {
        let shown = [0.0, 0.9123, -0.0421, 31.42, 12_345.6, -2_000.0, 0.000_04, f64::NAN].map(number);
        assert_eq!(shown, ["0", "0.912", "−0.042", "31.4", "12,346", "−2,000", "4.0e−5", "unknown"]);
        let shown = [0.0, 0.004, 0.92, 0.998, 1.0].map(percent);
        assert_eq!(shown, ["0 %", "under 1 %", "92 %", "over 99 %", "100 %"]);
    }

    #[test]
    fn a_currency_from_outside_stays_short() {
        assert_eq!(money(-12_345.0, "EUR"), "−€ 12,345");
        assert!(money(1.0, &"x".repeat(500)).chars().count() < 20);
    }

    #[test]
    fn a_gain_is_told_as_one() {
        let reading = MoneyReading {
            currency: "USD".to_owned(),
            cost: None,
            estimated_cost: None,
            reference_cost: 1.0,
            per_day: 100.0,
            loss_per_day: None,
            estimated_loss_per_day: Some(Ranged { value: -300.0, low: Some(-500.0), high: Some(-100.0) }),
            accumulated: None,
            since: None,
            retrain_cost: 10.0,
            break_even_days: None,
            retrain_pays: Some(false),
            horizon: crate::event::Span::from_secs(86_400),
        };
        let expected = "Is estimated to save about $ 300 a day ($ 100 to $ 500).";
        assert_eq!(costs(&reading).as_deref(), Some(expected));
        let none = MoneyReading { estimated_loss_per_day: None, ..reading };
        assert_eq!(costs(&none), None);
    }
}

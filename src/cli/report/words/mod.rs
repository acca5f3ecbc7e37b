//! The facts in words: what stands on the page, for both formats.
//!
//! Pure. A sentence says only what its facts hold: realised or estimated, complete or provisional, known or not.

mod change;
mod cost;
mod done;
mod performance;
mod sure;

use super::facts::{Advice, Comparison, Facts, Standing};
use super::figures::{count, days, interval, minute, money, name, stretch, value};
use super::page::{Block, Figure, Page, Section, Tone};
use crate::performance::value::amount;

/// Characters of an id that are shown.
const ID_CHARS: usize = 12;

/// Says the facts.
pub(super) fn page(facts: &Facts) -> Page {
    let mut sections = vec![change::what_changed(facts), performance::section(facts)];
    sections.extend(cost::sections(facts));
    sections.extend(change::assumption(facts));
    sections.push(sure::section(facts));
    sections.push(done::section(facts));
    let list = facts.not_known.clone();
    sections.push(Section { title: "What is not known".to_owned(), blocks: vec![Block::List(list)] });
    Page {
        title: name(&facts.model),
        about: about(facts),
        headline: headline(facts),
        tone: tone(facts.standing),
        lead: lead(facts),
        figures: figures(facts),
        sections,
        footer: footer(facts),
    }
}

fn about(facts: &Facts) -> String {
    let period = match (facts.from, facts.to) {
        (Some(from), Some(to)) => {
            format!("The {} up to {} UTC, by the time of the events", stretch(to - from), minute(to))
        }
        _ => "No windows yet".to_owned(),
    };
    let version =
        facts.version.as_deref().map_or_else(String::new, |version| format!("Version {}. ", name(version)));
    format!("{version}{period}. Written {} UTC.", minute(facts.made_at))
}

fn tone(standing: Standing) -> Tone {
    match standing {
        Standing::Well | Standing::Over | Standing::HarmlessShift => Tone::Good,
        Standing::NoData
        | Standing::Watch
        | Standing::BelowTraining
        | Standing::Moved
        | Standing::Unclear => Tone::Neutral,
        Standing::Worse | Standing::DataFault | Standing::HarmfulShift | Standing::ConceptChange => Tone::Bad,
    }
}

fn headline(facts: &Facts) -> String {
    match facts.standing {
        Standing::NoData => "No window has closed yet, so there is nothing to report".to_owned(),
        Standing::Well if facts.performance.is_some() => "Nothing wrong is seen".to_owned(),
        Standing::Well => "Nothing wrong is seen in the data; how the model does is not measured".to_owned(),
        Standing::Watch => "The newest window alarmed; it is not an incident yet".to_owned(),
        Standing::Over => match facts.incidents.len() {
            1 => "Nothing is wrong now; one incident ended in this period".to_owned(),
            n => format!("Nothing is wrong now; {n} incidents ended in this period"),
        },
        Standing::BelowTraining if facts.performance.as_ref().is_some_and(|one| one.is_worse()) => {
            "Nothing alarms, yet the model does worse than in training".to_owned()
        }
        Standing::BelowTraining => "Nothing alarms, yet the model costs more than in training".to_owned(),
        Standing::Moved => moved(facts).to_owned(),
        Standing::Worse => "The model does worse; why is not established".to_owned(),
        Standing::DataFault => "The data are broken: mend them before anything else".to_owned(),
        Standing::HarmlessShift => "The cases changed, and the model does as well on them".to_owned(),
        Standing::HarmfulShift => "The cases changed, and the model is worse on them".to_owned(),
        Standing::ConceptChange => {
            "The world changed: like cases come out differently, and the model has not learned that"
                .to_owned()
        }
        Standing::Unclear => "Something changed; the evidence does not say what".to_owned(),
    }
}

fn moved(facts: &Facts) -> &'static str {
    let Some(performance) = &facts.performance else {
        return "The data moved; whether that hurts the model is not established";
    };
    match (performance.is_worse(), performance.realised().is_some(), performance.estimated().is_some()) {
        (true, true, _) => "The data moved, and the model does worse",
        (true, false, _) => {
            "The data moved, and the model is estimated to do worse; no label confirms it yet"
        }
        (false, true, _) => "The data moved; the model is not seen to do worse",
        (false, false, true) => {
            "The data moved; the model is not estimated to do worse, which no label confirms yet"
        }
        (false, false, false) => "The data moved; whether that hurts the model is not established",
    }
}

fn lead(facts: &Facts) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(change) = facts.change.as_ref().filter(|change| change.is_open)
        && let Some(to) = facts.to
    {
        lines.push(format!(
            "It began with the window of {} UTC, {} before the end of this period.",
            minute(change.since),
            stretch(to - change.since)
        ));
    }
    lines.extend(performance::line(facts));
    lines.extend(advice(facts));
    lines
}

fn advice(facts: &Facts) -> Option<String> {
    let money_of = |of: fn(&super::facts::Money) -> Option<f64>| facts.money.as_ref().and_then(of);
    let horizon = facts.money.as_ref().map(|money| money.horizon.to_string()).unwrap_or_default();
    Some(match facts.advice {
        Advice::Nothing if facts.standing == Standing::HarmlessShift => {
            "Nothing needs to be done for the model's sake; retraining is not needed for this.".to_owned()
        }
        Advice::Nothing if facts.standing == Standing::NoData => return None,
        Advice::Nothing => "Nothing needs to be done.".to_owned(),
        Advice::Look if facts.standing == Standing::BelowTraining => {
            "The difference may have been there from the start: a model often does worse on new data than on what \
             it was trained on. See in the chart below whether it has grown."
                .to_owned()
        }
        Advice::Look => {
            "See first whether the columns below were meant to change: that tells a broken pipeline from other \
             cases."
                .to_owned()
        }
        Advice::MendData => {
            "Mend the pipeline, do not retrain: a model that is retrained on broken data learns the fault."
                .to_owned()
        }
        Advice::Retrain => match money_of(|money| money.break_even_days) {
            Some(until) => format!(
                "Retraining pays: by what is known now it has paid for itself after {}, and with 90 % confidence \
                 within {horizon}.",
                days(until)
            ),
            None => format!("Retraining pays within {horizon}, with 90 % confidence."),
        },
        Advice::RetrainDoesNotPay => format!(
            "That retraining pays within {horizon} is not shown with 90 % confidence: waiting costs little, or too \
             little is known."
        ),
        Advice::RetrainUnpriced if facts.money.is_some() => {
            "Retraining is the usual remedy; whether it pays cannot be said yet.".to_owned()
        }
        Advice::RetrainUnpriced => {
            "Retraining is the usual remedy; whether it pays cannot be said, for no value is configured.".to_owned()
        }
    })
}

fn figures(facts: &Facts) -> Vec<Figure> {
    let mut figures: Vec<Figure> = metric_figure(facts).into_iter().collect();
    if let Some(facts) = &facts.money {
        let source = if facts.is_estimated { "estimated" } else { "realised" };
        if let Some(loss) = facts.loss_per_day {
            figures.push(Figure {
                label: format!("Loss per day, {source}"),
                value: money(loss.value, &facts.currency),
                note: format!("{}, against training", interval(loss, amount)),
            });
        }
        if let (Some(sum), Some(since)) = (facts.accumulated, facts.since) {
            figures.push(Figure {
                label: match facts.accumulated_to {
                    Some(to) if to < facts.window_end => "Lost in the change".to_owned(),
                    _ => "Lost since the change".to_owned(),
                },
                value: money(sum.value, &facts.currency),
                note: format!("{}, since {}", interval(sum, amount), minute(since)),
            });
        }
        let pays = match facts.retrain_pays {
            Some(true) => "pays",
            Some(false) => "not shown to pay",
            None => "not known",
        };
        figures.push(Figure {
            label: format!("Retraining within {}", facts.horizon),
            value: pays.to_owned(),
            note: match facts.break_even_days {
                Some(until) => {
                    format!(
                        "costs {}, even after {}",
                        money(facts.retrain_cost, &facts.currency),
                        days(until)
                    )
                }
                None => format!("costs {}", money(facts.retrain_cost, &facts.currency)),
            },
        });
    }
    if facts.performance.is_none() && facts.drift.windows > 0 {
        figures.extend(drift_figures(facts));
    }
    figures
}

fn metric_figure(facts: &Facts) -> Option<Figure> {
    let performance = facts.performance.as_ref()?;
    let point = performance.realised().or_else(|| performance.estimated())?;
    let (best, is_estimated) = point.best()?;
    let source = match (is_estimated, point.maturity) {
        (true, _) => "estimated",
        (false, crate::performance::Maturity::Mature) => "realised",
        (false, _) => "realised, provisional",
    };
    let training = match point.reference {
        None => "training value not known".to_owned(),
        Some(reference) => match performance.compare(best, reference) {
            Comparison::AsInTraining => format!("no clear difference from {} in training", value(reference)),
            Comparison::Worse => format!("worse than {} in training", value(reference)),
            Comparison::Better => format!("better than {} in training", value(reference)),
            Comparison::Different => format!("{} in training", value(reference)),
        },
    };
    Some(Figure {
        label: format!("{}, {source}", name(&performance.headline)),
        value: value(best.value),
        note: format!("{}; {training}", interval(best, value)),
    })
}

fn drift_figures(facts: &Facts) -> Vec<Figure> {
    let drift = &facts.drift;
    let open = facts.incidents.iter().filter(|incident| incident.is_open()).count();
    vec![
        Figure {
            label: "Windows that alarmed".to_owned(),
            value: format!("{} of {}", count(drift.alarms as u64), count(drift.windows as u64)),
            note: format!("the budget allows {:.1} false alarms in this period", drift.false_alarms_allowed),
        },
        Figure {
            label: "Incidents".to_owned(),
            value: facts.incidents.len().to_string(),
            note: if open > 0 { "one is open".to_owned() } else { "none is open".to_owned() },
        },
    ]
}

fn footer(facts: &Facts) -> Vec<String> {
    let short = |id: &str| id.chars().take(ID_CHARS).collect::<String>();
    let baseline = facts.baseline.as_deref().map_or_else(|| "none".to_owned(), short);
    vec![
        "Realised: computed from labels that have arrived. Provisional: labels are still coming, and the value \
         will change. Estimated: computed without labels, right only as far as what it assumes holds. Training: \
         the same of the data the model was trained on. Brackets and bands are 95 % intervals. Times are UTC."
            .to_owned(),
        format!(
            "driftline {}; baseline {baseline}; configuration {}.",
            env!("CARGO_PKG_VERSION"),
            short(&facts.config)
        ),
    ]
}

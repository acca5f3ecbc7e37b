//! What changed, since when, and which assumption broke.

use crate::cli::report::facts::{Change, Facts};
use crate::cli::report::figures::{
    count, effect, minute, name, of, or_dash, percent, ranged, sentence, stretch, value,
};
use crate::cli::report::page::{Block, Chart, Section, Table};
use crate::event::Role;
use crate::performance::{DiagnosisKind, PriorReading, SplitReading};

/// Segments that are named.
const SEGMENTS_MAX: usize = 6;

pub(super) fn what_changed(facts: &Facts) -> Section {
    let mut blocks = Vec::new();
    match &facts.change {
        None if facts.drift.windows == 0 => {
            blocks.push(Block::Text("There are no windows to look at.".to_owned()))
        }
        None => {
            blocks.push(Block::Text(format!("Nothing that is told from chance. {}", windows_line(facts))))
        }
        Some(change) => {
            blocks.push(Block::Text(format!("{} {}", when(facts, change), windows_line(facts))));
            blocks.extend(columns(change));
        }
    }
    Section { title: "What changed, and since when".to_owned(), blocks }
}

fn when(facts: &Facts, change: &Change) -> String {
    let began = minute(change.since);
    let mut text = match (change.is_open, facts.incidents.first().and_then(|incident| incident.resolved_at)) {
        (false, Some(resolved)) => format!(
            "The latest change began with the window of {began} and was over at {}, after {}.",
            minute(resolved),
            stretch(resolved - change.since)
        ),
        _ => format!("The change began with the window of {began} and goes on."),
    };
    let segments = &change.segments;
    if !segments.is_empty() {
        let named: Vec<String> = segments.iter().take(SEGMENTS_MAX).map(|segment| name(segment)).collect();
        let more = segments.len().saturating_sub(named.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        text.push_str(&format!(" Segments that alarmed in its latest window: {}{more}.", named.join(", ")));
    }
    text
}

fn windows_line(facts: &Facts) -> String {
    let drift = &facts.drift;
    format!(
        "Of {} of all rows {} alarmed; the budget allows {:.1} false alarms in this period.",
        of(drift.windows as u64, "window"),
        match drift.alarms {
            0 => "none".to_owned(),
            alarms => count(alarms as u64),
        },
        drift.false_alarms_allowed
    )
}

fn columns(change: &Change) -> Vec<Block> {
    if change.columns.is_empty() {
        return vec![Block::Text("No column stands out.".to_owned())];
    }
    let named: Vec<String> = change.columns.iter().map(|column| name(&column.name)).collect();
    let mut table =
        Table::new(&[("Column", false), ("Moved, 0 to 1", true), ("Effect", true), ("In words", false)]);
    table.rows = change
        .columns
        .iter()
        .map(|column| {
            let role = match column.role {
                Role::Feature => "",
                Role::Prediction => " (prediction)",
                Role::Score => " (score)",
                Role::Label => " (label)",
            };
            vec![
                format!("{}{role}", name(&column.name)),
                value(column.moved),
                or_dash(column.effect, |size| effect(size, column.effect_unit)),
                column.summary.as_deref().map_or_else(|| "–".to_owned(), sentence),
            ]
        })
        .collect();
    if change.columns_more > 0 {
        table.note = format!("{} more columns moved.", change.columns_more);
    }
    let alt = format!("Bars of how much each column moved, the most moved first: {}.", named.join(", "));
    vec![Block::Chart { chart: Chart::Columns, alt }, Block::Table(table)]
}

/// Which assumption broke; nothing where nothing did.
pub(super) fn assumption(facts: &Facts) -> Option<Section> {
    let change = facts.change.as_ref()?;
    let mut blocks = Vec::new();
    let head = match change.diagnosis.as_ref().map(|diagnosis| diagnosis.kind) {
        Some(DiagnosisKind::DataFault) => {
            "That the data mean what they meant in training: they are taken to be broken. What the model makes of \
             them says nothing of the world."
        }
        Some(DiagnosisKind::HarmlessShift) => {
            "That cases are like those of training. They are not, but the model is as good on them as it was."
        }
        Some(DiagnosisKind::HarmfulShift) => {
            "That cases are like those of training. They are not, and the model is worse on the new ones; like \
             cases still come out as they did."
        }
        Some(DiagnosisKind::ConceptChange) => {
            "That like cases come out as they did in training. They do not any more: what the model learned no \
             longer holds, and a changed mix of cases does not explain all of it."
        }
        Some(DiagnosisKind::Unclear) => "The evidence does not say which one.",
        None => "It is not known which one: the change carries no diagnosis.",
    };
    blocks.push(Block::Text(head.to_owned()));
    let mut evidence: Vec<String> = change
        .diagnosis
        .iter()
        .flat_map(|diagnosis| &diagnosis.evidence)
        .map(|line| sentence(line))
        .collect();
    evidence.extend(change.split.as_ref().map(split));
    evidence.extend(change.prior.as_ref().map(prior));
    if !evidence.is_empty() {
        blocks.push(Block::List(evidence));
    }
    Some(Section { title: "Which assumption broke".to_owned(), blocks })
}

fn split(split: &SplitReading) -> String {
    format!(
        "Of the change of the mean {} by {}, a changed mix of cases made {}, and like cases that come out \
         differently made {}; {} cannot be told apart.",
        name(&split.loss),
        ranged(split.total),
        ranged(split.mix),
        ranged(split.concept),
        value(split.unexplained)
    )
}

fn prior(prior: &PriorReading) -> String {
    let interval = crate::cli::report::figures::interval(prior.share, percent);
    format!(
        "The share of class 1 is estimated at {} ({interval}) without labels ({}); it was {} in training.",
        percent(prior.share.value),
        name(&prior.method).to_uppercase(),
        percent(prior.reference)
    )
}

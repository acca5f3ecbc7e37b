//! What it costs, and what retraining would bring.

use crate::cli::report::facts::{Facts, Money};
use crate::cli::report::figures::{
    amount_ranged, days, maturity, minute, money, money_ranged, name, or_dash,
};
use crate::cli::report::page::{Block, Chart, Section, Table};
use crate::performance::value::amount;

/// Windows of the table: the newest.
const WINDOWS_SHOWN: usize = 5;

/// Both sections; where no value is configured, one that says so.
pub(super) fn sections(facts: &Facts) -> Vec<Section> {
    let costs = "What it costs".to_owned();
    let Some(found) = &facts.money else {
        let text = if facts.performance.is_some() {
            "Not known: no loss is recorded. Say in [model.value] what right and wrong predictions cost (`costs`; \
             `over` and `under` for regression), in which `currency`, and what a retraining costs \
             (`retrain_cost`, `retrain_risk`)."
        } else {
            "Not known: without performance there is no loss to count."
        };
        return vec![Section { title: costs, blocks: vec![Block::Text(text.to_owned())] }];
    };
    let mut blocks = vec![Block::Text(loss(found))];
    blocks.extend(accumulated(found).map(Block::Text));
    if has_losses(facts) {
        let alt =
            "Loss per day by window, realised and estimated, and the loss since the change began; the table \
                   below has the newest."
                .to_owned();
        blocks.push(Block::Chart { chart: Chart::Loss, alt });
        blocks.push(Block::Table(windows(facts, found)));
    }
    vec![
        Section { title: costs, blocks },
        Section { title: "What retraining would bring".to_owned(), blocks: retraining(facts, found) },
    ]
}

fn has_losses(facts: &Facts) -> bool {
    let timeline = facts.performance.iter().flat_map(|performance| &performance.timeline);
    timeline.clone().any(|point| point.loss_per_day.is_some() || point.estimated_loss_per_day.is_some())
}

fn loss(found: &Money) -> String {
    let window = format!("{} to {}", minute(found.window_start), minute(found.window_end));
    let Some(loss) = found.loss_per_day else {
        return format!(
            "The loss in the newest window ({window}) cannot be told: there are too few labels, and no estimate."
        );
    };
    let how = if found.is_estimated {
        "estimated without labels".to_owned()
    } else {
        format!("realised, {}", maturity(found.maturity))
    };
    let cost = found.cost.map_or_else(String::new, |cost| {
        format!(
            " A prediction costs {} on average, {} in training, and there are {} a day.",
            money_ranged(cost, &found.currency),
            amount(found.reference_cost),
            amount(found.per_day)
        )
    });
    let sign = match (loss.low, loss.high) {
        (Some(low), Some(high)) if low <= 0.0 && high >= 0.0 => {
            " The interval holds 0: a loss is not established."
        }
        _ => "",
    };
    format!(
        "Against what the model cost in training, the loss is {} a day ({how}; window of {window}).{cost}{sign}",
        money_ranged(loss, &found.currency)
    )
}

fn accumulated(found: &Money) -> Option<String> {
    let (sum, since) = (found.accumulated?, found.since?);
    if let Some(to) = found.accumulated_to.filter(|to| *to < found.window_end) {
        let amount = money_ranged(sum, &found.currency);
        return Some(format!("From {} to {} it came to {amount}.", minute(since), minute(to)));
    }
    Some(format!(
        "Since the change began at {} it comes to {}.",
        minute(since),
        money_ranged(sum, &found.currency)
    ))
}

fn windows(facts: &Facts, found: &Money) -> Table {
    let head = [
        ("Window from", false),
        ("Loss per day, realised", true),
        ("Loss per day, estimated", true),
        ("Since the change", true),
    ];
    let mut table = Table::new(&head);
    table.note = format!("Amounts in {}.", name(&found.currency));
    let points: Vec<_> = facts
        .performance
        .iter()
        .flat_map(|performance| &performance.timeline)
        .filter(|point| point.loss_per_day.is_some() || point.estimated_loss_per_day.is_some())
        .collect();
    table.rows = points
        .iter()
        .rev()
        .take(WINDOWS_SHOWN)
        .map(|point| {
            vec![
                minute(point.window_start),
                or_dash(point.loss_per_day, amount_ranged),
                or_dash(point.estimated_loss_per_day, amount_ranged),
                or_dash(point.accumulated, amount_ranged),
            ]
        })
        .collect();
    table
}

fn retraining(facts: &Facts, found: &Money) -> Vec<Block> {
    let mut lines = vec![format!(
        "Expected: a retrained model costs again what this one did in training, {} a prediction. That is an \
         expectation, not a measurement, and where the training figures are of the very rows it was fitted on they \
         flatter it: only labels of the retrained model will tell.",
        money(found.reference_cost, &found.currency)
    )];
    if let (Some(loss), Some(gain)) = (found.loss_over_horizon, found.gain_over_horizon) {
        lines.push(format!(
            "If the loss goes on as it is, not retraining costs {} in {}. A retraining costs {} with the price of \
             its risk, so it is expected to bring {} in that time.",
            money_ranged(loss, &found.currency),
            found.horizon,
            money(found.retrain_cost, &found.currency),
            money_ranged(gain, &found.currency)
        ));
    }
    lines.push(match (found.retrain_pays, found.break_even_days) {
        (Some(true), Some(until)) => format!(
            "It has paid for itself after {}. That it pays within {} holds with 90 % confidence.",
            days(until),
            found.horizon
        ),
        (Some(true), None) => format!("That it pays within {} holds with 90 % confidence.", found.horizon),
        (Some(false), Some(until)) => format!(
            "By the middle of the interval it has paid for itself after {}, but that it pays within {} does not hold \
             with 90 % confidence.",
            days(until),
            found.horizon
        ),
        (Some(false), None) => format!("That it pays within {} does not hold with 90 % confidence.", found.horizon),
        (None, _) => "Whether it pays cannot be told yet.".to_owned(),
    });
    if facts.advice == crate::cli::report::facts::Advice::MendData {
        lines.push("All this holds for sound data only: mend the data first.".to_owned());
    }
    lines.into_iter().map(Block::Text).collect()
}

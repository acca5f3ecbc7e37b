//! What windows cost, what a change has cost since it began, and how good estimates were.

use super::Outcomes;
use super::follow::{Compared, LossOfWindow, Merged};
use super::measure::{MeasuredWindow, Measuring, ranged};
use crate::event::{Span, Timestamp};
use crate::monitor::Cell;
use crate::performance::diagnosis::{Alarm, Findings, MetricChange, PriorShift};
use crate::performance::value::{
    Basis, Loss, WindowCost, accumulated_loss, loss_per_day, retrain_case, rows_per_day,
};
use crate::performance::{Interval, Mean, Measured, MoneyReading, Ranged, better_of};

/// Windows whose loss is remembered, for what a change has cost since it began.
const LOSSES_MAX: usize = 400;

/// Versions whose estimates are compared with what came true.
const COMPARED_MAX: usize = 20;

/// So many realised values in a row outside of their intervals, and estimates are not relied on.
const MISSED_MAX: u32 = 2;

impl Outcomes {
    /// Remembers the mean cost of a window of the shortest length.
    pub(super) fn remember_loss(
        &mut self,
        cell: &Cell,
        measuring: &Measuring<'_>,
        rows: u64,
        cost: Option<(Mean, Basis)>,
    ) {
        let (Some((cost, basis)), Some(before)) = (cost, measuring.reference.rows(None).cost) else { return };
        let start = measuring.start;
        let losses = &mut self.memory.losses;
        let loss = LossOfWindow { version: cell.version.clone(), start, rows, cost, basis, before };
        match losses.iter_mut().find(|known| known.start == start && known.version == cell.version) {
            Some(known) => *known = loss,
            None => losses.push(loss),
        }
        losses.sort_by(|a, b| a.start.cmp(&b.start).then_with(|| a.version.cmp(&b.version)));
        let surplus = losses.len().saturating_sub(LOSSES_MAX);
        losses.drain(..surplus);
    }

    /// Compares the estimate of a complete window with what came true. Windows that share rows miss together,
    /// so only those of the shortest length count, and where these slide only those that follow one another.
    pub(super) fn compare(&mut self, cell: &Cell, measured: &MeasuredWindow) {
        if !self.is_apart(measured) {
            return;
        }
        let Some(reading) = measured.reading.metric(&measured.reading.headline) else { return };
        let (Some(value), Some(estimate), Some(holds)) =
            (reading.value, reading.estimate, reading.estimate_holds)
        else {
            return;
        };
        let compared = &mut self.memory.compared;
        let place = compared.iter().position(|known| known.version == cell.version).unwrap_or_else(|| {
            if compared.len() >= COMPARED_MAX {
                compared.remove(0);
            }
            compared.push(Compared { version: cell.version.clone(), ..Compared::default() });
            compared.len() - 1
        });
        if let Some(known) = compared.get_mut(place) {
            known.windows += 1;
            known.held += u64::from(holds);
            known.absolute_error += (estimate.value - value).abs();
            known.missed_in_a_row = if holds { 0 } else { known.missed_in_a_row.saturating_add(1) };
        }
    }

    fn is_apart(&self, measured: &MeasuredWindow) -> bool {
        let length = measured.end - measured.start;
        let Some(shortest) = self.settings.windows.first().filter(|one| one.length == length) else {
            return false;
        };
        // One start a length: starts are a slide apart.
        let after = measured.start - measured.start.floor_to(length, Span::ZERO);
        after < shortest.slide
    }

    /// Whether estimates for a version may be relied on, as far as that is known.
    pub(in crate::monitor) fn estimates_hold(&self, version: Option<&str>) -> bool {
        let its = self.memory.compared.iter().find(|known| known.version.as_deref() == version);
        its.is_none_or(|known| known.missed_in_a_row < MISSED_MAX)
    }

    /// Writes beside the estimates how good they were.
    pub(super) fn tell_how_good_estimates_were(&self, cell: &Cell, measured: &mut MeasuredWindow) {
        let Some(estimation) = &mut measured.reading.estimation else { return };
        let Some(known) = self.memory.compared.iter().find(|known| known.version == cell.version) else {
            return;
        };
        estimation.windows_compared = known.windows;
        estimation.windows_held = known.held;
        estimation.mean_absolute_error =
            (known.windows > 0).then(|| known.absolute_error / known.windows as f64);
        estimation.reliable = known.missed_in_a_row < MISSED_MAX;
    }

    /// Writes what the window costs, and what the change has cost so far.
    pub(super) fn price(
        &self,
        measuring: &Measuring<'_>,
        merged: &Merged,
        measured: &mut MeasuredWindow,
        alarms: bool,
    ) {
        let reference = measuring.reference;
        let rows = reference.rows(measuring.segment);
        let (Some(value), Some(before)) = (&reference.value, &rows.cost) else { return };
        let Some(per_day) = rows_per_day(merged.predictions(), measuring.end - measuring.start) else {
            return;
        };
        let realised = measured.cost.filter(|(_, basis)| *basis == Basis::Realised).map(|(cost, _)| cost);
        let a_day = |cost: Option<Mean>| {
            let loss = loss_per_day(&cost?, before, per_day).ok()?;
            Some(of_loss(&loss))
        };
        let now = measured.cost.map(|(cost, _)| cost);
        let case = now.and_then(|now| retrain_case(&now, before, per_day, value).ok());
        // The window that alarms first is where the change begins.
        let since = self.changed_since().or(alarms.then_some(measuring.start));
        let since = since.filter(|_| measuring.segment.is_none());
        let accumulated = since.and_then(|since| self.accumulated(since, measuring.end));
        measured.reading.money = Some(MoneyReading {
            currency: value.currency.clone(),
            cost: realised.map(|cost| ranged(cost.value, cost.interval())),
            estimated_cost: measured.estimated_cost.map(|cost| ranged(cost.value, cost.interval())),
            reference_cost: before.value,
            per_day,
            loss_per_day: a_day(realised),
            estimated_loss_per_day: a_day(measured.estimated_cost),
            accumulated,
            since: since.filter(|_| accumulated.is_some()),
            retrain_cost: value.retrain_cost + value.retrain_risk,
            break_even_days: case.and_then(|case| case.break_even_days),
            retrain_pays: case.and_then(|case| case.saving_at_least.map(|_| case.pays)),
            horizon: value.horizon,
        });
    }

    /// Start of the first window of the change that is going on.
    fn changed_since(&self) -> Option<Timestamp> {
        let open = self.memory.incident.open()?;
        // What the watch over mistakes opened began in a window that was not judged yet.
        let shortest = self.settings.windows.first()?.length;
        Some(self.memory.changed_since.unwrap_or(open.opened_at - shortest))
    }

    /// What the change has cost up to a window's end. A version that has been replaced has cost what it has:
    /// all versions count, each against its own training rows.
    fn accumulated(&self, since: Timestamp, end: Timestamp) -> Option<Ranged> {
        let its = |loss: &&LossOfWindow| (since..end).contains(&loss.start);
        let windows: Vec<WindowCost> = self
            .memory
            .losses
            .iter()
            .filter(its)
            .map(|loss| WindowCost {
                rows: loss.rows,
                cost: loss.cost,
                basis: loss.basis,
                reference: loss.before,
            })
            .collect();
        Some(of_loss(&accumulated_loss(&windows).ok()?.loss))
    }
}

fn of_loss(loss: &Loss) -> Ranged {
    ranged(loss.value, loss.interval)
}

impl MeasuredWindow {
    /// What is known, for the diagnosis.
    pub(super) fn findings(&self, measuring: &Measuring<'_>, alarms: &[Alarm]) -> Findings {
        let settings = measuring.settings;
        let metrics = &measuring.reference.rows(measuring.segment).metrics;
        let before = metrics.iter().find(|metric| metric.metric == settings.metric);
        let before = before.and_then(|metric| metric.outcome.as_ref().ok()).map(|value| value.value);
        let is_reliable = self.reading.estimation.as_ref().is_none_or(|estimation| estimation.reliable);
        let change = |now: &Option<Measured>, is_reliable: bool| {
            let now = now.as_ref()?.outcome.as_ref().ok()?;
            Some(change_of(settings, now.value, now.interval, before?, is_reliable))
        };
        Findings {
            alarms: alarms.to_vec(),
            realised: change(&self.realised, true),
            estimated: change(&self.estimated, is_reliable),
            split: self.split,
            prior: self.prior(),
        }
    }

    /// How the share of class 1 changed: counted where labels tell, for the estimate takes cases of a class
    /// to be as they were, which a change of the world is not.
    fn prior(&self) -> Option<PriorShift> {
        let estimate = self.reading.prior.as_ref()?;
        let (now, interval) = match &self.positives {
            Some(counted) => (counted.value, counted.interval()),
            None => {
                let ends = estimate.share.low.zip(estimate.share.high);
                (estimate.share.value, ends.map(|(low, high)| Interval { low, high }))
            }
        };
        Some(PriorShift { class: "1".to_owned(), reference: estimate.reference, now, interval })
    }
}

/// The headline metric against the training data.
pub(super) fn change_of(
    settings: &crate::performance::Settings,
    value: f64,
    interval: Option<Interval>,
    reference: f64,
    is_reliable: bool,
) -> MetricChange {
    MetricChange {
        metric: settings.metric.clone(),
        better: better_of(settings.task, &settings.metric),
        value,
        interval,
        reference,
        tolerance: None,
        is_reliable,
    }
}

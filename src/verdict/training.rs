//! Reference windows from the training rows: each compared with all the others.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};

use super::evidence::{CellEvidence, Evidence, ReferenceWindow, alarming};
use super::season::Seasonal;
use crate::baseline::{Baseline, Column, Reference};
use crate::drift::Pair;
use crate::event::{Span, Timestamp};
use crate::summary::{Categories, ColumnSummary, ModelSummary, Shape};
use crate::window::WindowSettings;

/// Most reference windows of one length, the latest ones: scoring them is work at every start.
const WINDOWS_MAX: usize = 4_096;

/// Cuts the training rows into windows as production is cut, and scores each against the rest.
///
/// The rest is all other training rows, or those of the same season. Windows of less than `rows_min` rows
/// are left out, as they are in production.
///
/// # Errors
/// A sentence for people when the baseline cannot be cut so.
pub(super) fn reference_windows(
    baseline: &Baseline,
    window: WindowSettings,
    offset: Span,
    seasonal: Option<&Seasonal>,
    rows_min: u64,
) -> Result<Vec<ReferenceWindow>, String> {
    let reference = baseline.reference.as_ref().filter(|reference| !reference.panes.is_empty());
    let reference = reference.ok_or("the baseline was built without a timestamp column")?;
    let step = step(reference, window, offset)?;
    let ends = ends(reference, window.length, step, offset);
    let mut windows: Vec<ReferenceWindow> = ends
        .into_iter()
        .map(|end| ReferenceWindow { start: end - window.length, end, cells: Vec::new() })
        .collect();
    let whole = Side { baseline, segment: None, total: None, seasonal, rows_min };
    whole.score(&mut reference.panes.iter().map(|(start, pane)| (*start, Cow::Borrowed(pane))), &mut windows);
    for segment in &baseline.segments {
        let side = Side { segment: Some(&segment.name), total: Some(&segment.total), ..whole };
        side.score(&mut segment.panes().map(|(start, pane)| (start, Cow::Owned(pane))), &mut windows);
    }
    windows.retain(|window| window.cells.iter().any(|cell| cell.segment.is_none()));
    Ok(windows)
}

/// How far reference windows lie apart: as in production, or as close as the panes allow.
fn step(reference: &Reference, window: WindowSettings, offset: Span) -> Result<Span, String> {
    let (pane, length) = (reference.pane.as_micros().max(1), window.length.as_micros());
    let slide = window.slide.as_micros().max(1);
    if length % pane != 0 || (slide % pane != 0 && pane % slide != 0) {
        return Err(format!(
            "the baseline's panes of {} do not make up windows of {}: build it with this configuration",
            reference.pane, window.length
        ));
    }
    // Panes that begin elsewhere would give windows of other hours than their names say.
    if reference.panes.iter().any(|(start, _)| start.floor_to(reference.pane, offset) != *start) {
        return Err(format!(
            "the baseline's panes of {} do not begin where windows begin (`window_offset`): build it with this \
             configuration",
            reference.pane
        ));
    }
    Ok(if slide % pane == 0 { window.slide } else { reference.pane })
}

/// The ends of the latest windows that hold a pane, ascending: those that lie within the training rows' time.
///
/// Goes from pane to pane, for a single row of another century must not make millions of empty windows.
fn ends(reference: &Reference, length: Span, step: Span, offset: Span) -> Vec<Timestamp> {
    let (Some((first, _)), Some((last, _))) = (reference.panes.first(), reference.panes.last()) else {
        return Vec::new();
    };
    let mut ends: BTreeSet<Timestamp> = BTreeSet::new();
    for (start, _) in reference.panes.iter().rev() {
        // Those from here on are earlier than all that are held.
        if ends.len() >= WINDOWS_MAX && ends.first().is_some_and(|least| *least > *start + length) {
            break;
        }
        let latest = (*start + length).floor_to(step, offset);
        let begin = |end: &Timestamp| *end - length;
        let holding = std::iter::successors(Some(latest), |end| Some(*end - step));
        let holding = holding.take_while(|end| *end > *start && begin(end) >= *first);
        ends.extend(holding.filter(|end| *end <= *last + reference.pane));
    }
    let surplus = ends.len().saturating_sub(WINDOWS_MAX);
    ends.into_iter().skip(surplus).collect()
}

/// The training rows of one segment, or all.
#[derive(Clone, Copy)]
struct Side<'a> {
    baseline: &'a Baseline,
    segment: Option<&'a str>,
    /// Its counts; those of the columns if it is all rows.
    total: Option<&'a ModelSummary>,
    seasonal: Option<&'a Seasonal>,
    rows_min: u64,
}

impl Side<'_> {
    /// Rolls over the panes, which ascend, and adds this side's evidence to every window with enough rows.
    fn score<'p>(
        &self,
        panes: &mut dyn Iterator<Item = (Timestamp, Cow<'p, ModelSummary>)>,
        windows: &mut [ReferenceWindow],
    ) {
        let mut held: VecDeque<(Timestamp, Cow<'p, ModelSummary>)> = VecDeque::new();
        let mut sum = self.baseline.empty_summary();
        let mut next = panes.next();
        for window in windows {
            while let Some((start, pane)) = next.take_if(|(start, _)| *start < window.end) {
                if start >= window.start && sum.merge(&pane).is_ok() {
                    held.push_back((start, pane));
                }
                next = panes.next();
            }
            while let Some((_, pane)) = held.pop_front_if(|(start, _)| *start < window.start) {
                let _ = sum.take_away(&pane);
            }
            if sum.n() >= self.rows_min {
                let evidence = self.evidence(&sum, window.start, window.end);
                window.cells.push(CellEvidence { segment: self.segment.map(str::to_owned), evidence });
            }
        }
    }

    fn evidence(&self, window: &ModelSummary, start: Timestamp, end: Timestamp) -> Vec<Option<Evidence>> {
        let profile = self.seasonal.and_then(|seasonal| seasonal.profile(self.segment, start, end));
        let total = profile.as_ref().or(self.total);
        let mut evidence = Vec::new();
        for (index, (column, current)) in self.baseline.columns.iter().zip(&window.columns).enumerate() {
            let mut rest = match total {
                Some(total) => total.columns.get(index).unwrap_or(&column.summary).clone(),
                None => column.summary.clone(),
            };
            let is_part = rest.take_away(current).is_ok();
            let mut current = current.clone();
            let extremes = column.extremes.as_ref().filter(|_| self.segment.is_none());
            if let Some(extremes) = extremes {
                put_beyond(&mut current, extremes.outside(start, end));
            }
            set_apart_new_names(column, &mut current);
            let pair = Pair { shape: &column.shape, reference: &rest, current: &current };
            evidence.extend(alarming(column).map(|test| {
                if !is_part || current.rows() == 0 || !is_told(column, test.name) {
                    return None;
                }
                (test.score)(&pair).ok().as_ref().and_then(Evidence::of)
            }));
        }
        evidence
    }
}

/// Whether a test of reference windows means what it means of others. Where the baseline has rare names, a
/// name that only one window has cannot be told from its bucket.
fn is_told(column: &Column, test: &str) -> bool {
    let has_rare = matches!(&column.shape, Shape::Categorical(categories) if categories.buckets > 0);
    test != "unseen" || !has_rare
}

/// Moves the values that lie beyond all values outside of the stretch to where a window of other rows would
/// have them: below the first and above the last edge.
fn put_beyond(current: &mut ColumnSummary, (below, above): (u64, u64)) {
    let ColumnSummary::Numeric(numeric) = current else { return };
    let last = numeric.counts.len().saturating_sub(1);
    let mut shift = |rows: u64, bins: &mut dyn Iterator<Item = usize>, to: usize| {
        let mut left = rows;
        for bin in bins.take_while(|bin| *bin != to) {
            let moved = numeric.counts.get(bin).min(left);
            numeric.counts.shift(bin, to, moved);
            left -= moved;
            if left == 0 {
                break;
            }
        }
    };
    shift(below, &mut (1..=last), 0);
    shift(above, &mut (0..last).rev(), last);
}

/// Counts as unseen what no other training row has, in whatever season or segment: that is what a name means
/// in production too.
fn set_apart_new_names(column: &Column, current: &mut ColumnSummary) {
    let (Shape::Categorical(categories), ColumnSummary::Categorical(window)) = (&column.shape, current) else {
        return;
    };
    let unseen = Categories::unseen(categories);
    for index in 0..categories.top.len() {
        if column.summary.counts().get(index) == window.counts.get(index) {
            window.counts.shift(index, unseen, u64::MAX);
        }
    }
}

//! Reference windows from the training rows: each compared with all the others.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::evidence::{CellEvidence, Evidence, ReferenceWindow, alarming};
use super::season::Seasonal;
use crate::baseline::{Baseline, Column, Reference};
use crate::drift::Pair;
use crate::event::{Span, Timestamp};
use crate::summary::{Categories, ColumnSummary, ModelSummary, Shape};
use crate::window::WindowSettings;

/// Most reference windows of one length, the latest ones.
const WINDOWS_MAX: usize = 10_000;

/// Columns times segments times windows that are scored at a start, over all lengths: some twenty seconds of
/// work. Models with more columns have fewer reference windows.
const WORK_MAX: usize = 2_000_000;

/// Most reference windows of each of so many lengths.
pub(super) fn windows_max(baseline: &Baseline, lengths: usize) -> usize {
    let width = baseline.columns.len() * (1 + baseline.segments.len()) * lengths;
    (WORK_MAX / width.max(1)).min(WINDOWS_MAX)
}

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
    windows_max: usize,
) -> Result<Vec<ReferenceWindow>, String> {
    let reference = baseline.reference.as_ref().filter(|reference| !reference.panes.is_empty());
    let reference = reference.ok_or(
        "the baseline was built without a timestamp column: name one (`training.timestamp`), or set `learn`",
    )?;
    let step = step(reference, window, offset)?;
    let ends = ends(reference, window.length, step, offset, windows_max);
    let mut windows: Vec<Cut> = ends
        .into_iter()
        .map(|end| ReferenceWindow { start: end - window.length, end, cells: Vec::new() })
        .map(|window| Cut { window, new_names: Vec::new() })
        .collect();
    let whole = Side { baseline, segment: None, total: None, seasonal, rows_min };
    whole.score(&mut reference.panes.iter().map(|(start, pane)| (*start, Cow::Borrowed(pane))), &mut windows);
    for segment in &baseline.segments {
        let side = Side { segment: Some(&segment.name), total: Some(&segment.total), ..whole };
        side.score(&mut segment.panes().map(|(start, pane)| (start, Cow::Owned(pane))), &mut windows);
    }
    let is_tested = |window: &ReferenceWindow| window.cells.iter().any(|cell| cell.segment.is_none());
    Ok(windows.into_iter().map(|cut| cut.window).filter(is_tested).collect())
}

/// A reference window, and the names that no other training row has: by column and place, of all segments.
struct Cut {
    window: ReferenceWindow,
    new_names: Vec<(usize, usize)>,
}

/// How far reference windows lie apart: as in production. Wider apart, the largest of a block would be of
/// fewer windows than in production, and alarms several times as frequent as promised.
fn step(reference: &Reference, window: WindowSettings, offset: Span) -> Result<Span, String> {
    let (pane, length) = (reference.pane.as_micros().max(1), window.length.as_micros());
    let slide = window.slide.as_micros().max(1);
    if length % pane != 0 || slide % pane != 0 {
        let slide =
            if window.slide == window.length { String::new() } else { format!(" every {}", window.slide) };
        return Err(format!(
            "the baseline's panes of {} do not make up windows of {}{slide}: build it with this configuration",
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
    Ok(window.slide)
}

/// The ends of the latest windows that hold a pane, ascending: those that lie within the training rows' time.
///
/// Goes from pane to pane, for a single row of another century must not make millions of empty windows.
fn ends(reference: &Reference, length: Span, step: Span, offset: Span, windows_max: usize) -> Vec<Timestamp> {
    let (Some((first, _)), Some((last, _))) = (reference.panes.first(), reference.panes.last()) else {
        return Vec::new();
    };
    let mut ends: BTreeSet<Timestamp> = BTreeSet::new();
    for (start, _) in reference.panes.iter().rev() {
        // Those from here on are earlier than all that are held.
        if ends.len() >= windows_max && ends.first().is_some_and(|least| *least > *start + length) {
            break;
        }
        let latest = (*start + length).floor_to(step, offset);
        let begin = |end: &Timestamp| *end - length;
        let holding = std::iter::successors(Some(latest), |end| Some(*end - step));
        let holding = holding.take_while(|end| *end > *start && begin(end) >= *first);
        ends.extend(holding.filter(|end| *end <= *last + reference.pane));
    }
    let surplus = ends.len().saturating_sub(windows_max);
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
        windows: &mut [Cut],
    ) {
        let mut held: VecDeque<(Timestamp, Cow<'p, ModelSummary>)> = VecDeque::new();
        let mut sum = self.baseline.empty_summary();
        // Windows come round to the same slots: each profile is added up once.
        let mut profiles: BTreeMap<Vec<usize>, Option<ModelSummary>> = BTreeMap::new();
        let mut next = panes.next();
        for Cut { window, new_names } in windows {
            while let Some((start, pane)) = next.take_if(|(start, _)| *start < window.end) {
                if start >= window.start && sum.merge(&pane).is_ok() {
                    held.push_back((start, pane));
                }
                next = panes.next();
            }
            while held.front().is_some_and(|(start, _)| *start < window.start) {
                // What was added on the same shapes can be taken away.
                if let Some((_, pane)) = held.pop_front() {
                    let _ = sum.take_away(&pane);
                }
            }
            if sum.n() >= self.rows_min {
                if self.segment.is_none() {
                    *new_names = self.new_names(&sum);
                }
                let profile = self.seasonal.and_then(|seasonal| {
                    let slots = seasonal.season().touched(window.start, window.end).into_iter().collect();
                    let made = || seasonal.profile(self.segment, window.start, window.end);
                    profiles.entry(slots).or_insert_with(made).as_ref()
                });
                let evidence = self.evidence(&sum, (window.start, window.end), new_names, profile);
                window.cells.push(CellEvidence { segment: self.segment.map(str::to_owned), evidence });
            }
        }
    }

    /// The names that only this window of all rows has.
    fn new_names(&self, window: &ModelSummary) -> Vec<(usize, usize)> {
        let mut names = Vec::new();
        for (at, (column, current)) in self.baseline.columns.iter().zip(&window.columns).enumerate() {
            let Shape::Categorical(categories) = &column.shape else { continue };
            let (all, its) = (column.summary.counts(), current.counts());
            names.extend(
                (0..categories.top.len())
                    .filter(|name| its.get(*name) == all.get(*name))
                    .map(|name| (at, name)),
            );
        }
        names
    }

    fn evidence(
        &self,
        window: &ModelSummary,
        (start, end): (Timestamp, Timestamp),
        new_names: &[(usize, usize)],
        profile: Option<&ModelSummary>,
    ) -> Vec<Option<Evidence>> {
        let total = profile.or(self.total);
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
            let its = new_names.iter().filter(|(at, _)| *at == index).map(|(_, name)| *name);
            set_apart(&column.shape, its, &mut current);
            let pair = Pair::new(&column.shape, &rest, &current);
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

/// Counts these names as unseen.
fn set_apart(shape: &Shape, names: impl Iterator<Item = usize>, current: &mut ColumnSummary) {
    let (Shape::Categorical(categories), ColumnSummary::Categorical(window)) = (shape, current) else {
        return;
    };
    let unseen = Categories::unseen(categories);
    names.for_each(|name| window.counts.shift(name, unseen, u64::MAX));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::baseline::read::MemoryTable;
    use crate::baseline::{BuildOptions, Roles, Watched, build_table, count_table, plan_table};
    use crate::event::decode::TimestampUnit;
    use crate::window;

    const HOUR: i64 = 3_600;
    const ROWS_MIN: u64 = 10;

    /// Second, number, name, segment.
    type Row = (i64, f64, String, &'static str);

    fn span(seconds: i64) -> Span {
        Span::from_secs(seconds)
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::default() + span(seconds)
    }

    fn table(rows: &[Row]) -> MemoryTable<impl Fn() -> std::vec::IntoIter<RecordBatch> + use<>> {
        let schema = Arc::new(Schema::new(vec![
            Field::new("at", DataType::Int64, true),
            Field::new("x", DataType::Float64, true),
            Field::new("name", DataType::Utf8, true),
            Field::new("segment", DataType::Utf8, true),
        ]));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| row.1).collect::<Float64Array>()),
            Arc::new(rows.iter().map(|row| Some(row.2.as_str())).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| Some(row.3)).collect::<StringArray>()),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).expect("a batch");
        MemoryTable::new(&schema, move || vec![batch.clone()].into_iter())
    }

    fn roles() -> Roles {
        Roles {
            timestamp: Some("at".into()),
            segment: Some("segment".into()),
            ignore: vec!["segment".into()],
            ..Roles::default()
        }
    }

    fn options(pane: i64, offset: i64) -> BuildOptions<'static> {
        BuildOptions {
            panes: Some((span(pane), span(offset))),
            timestamp_unit: Some(TimestampUnit::Seconds),
            ..BuildOptions::default()
        }
    }

    fn build(rows: &[Row], pane: i64, offset: i64) -> Baseline {
        build_table(&table(rows), &roles(), &options(pane, offset)).expect("a baseline")
    }

    /// Twenty rows an hour, but for every seventh hour with five, and days 3 and 4 without any. Now and then a
    /// value or a name that no other hour has.
    fn rows(days: i64) -> Vec<Row> {
        let mut rows = Vec::new();
        for hour in (0..days * 24).filter(|hour| !(72..120).contains(hour)) {
            let many = if hour % 7 == 0 { 5 } else { 20 };
            for k in 0..many {
                let number = (hour * 31 + k * 17).rem_euclid(101) as f64;
                let number = if (hour, k) == (11, 3) { 5_000.0 } else { number };
                let number = if hour == 13 && k < 2 { -700.0 - k as f64 } else { number };
                let name = if hour == 30 && k < 4 {
                    "only here".to_owned()
                } else {
                    format!("name{}", (hour + k) % 5)
                };
                rows.push((hour * HOUR + k * 100, number, name, if k % 2 == 0 { "even" } else { "odd" }));
            }
        }
        rows
    }

    fn tumbling(length: i64) -> WindowSettings {
        WindowSettings { length: span(length), slide: span(length) }
    }

    fn cut(baseline: &Baseline, window: WindowSettings, offset: i64) -> Result<Vec<ReferenceWindow>, String> {
        reference_windows(baseline, window, span(offset), None, ROWS_MIN, WINDOWS_MAX)
    }

    /// Evidence of the rows in a stretch against all others, counted anew: what lies beyond all others is put
    /// beyond all bins, and what no other has is called by a new name, as if the window were of other rows.
    fn by_hand(
        baseline: &Baseline,
        shapes: &[Watched],
        all: &[Row],
        window: &ReferenceWindow,
        segment: Option<&str>,
    ) -> Vec<Option<Evidence>> {
        let within = |row: &Row| (window.start..window.end).contains(&at(row.0));
        let others: Vec<&Row> = all.iter().filter(|row| !within(row)).collect();
        let least = others.iter().map(|row| row.1).fold(f64::INFINITY, f64::min);
        let most = others.iter().map(|row| row.1).fold(f64::NEG_INFINITY, f64::max);
        let is_its = |row: &Row| segment.is_none_or(|segment| row.3 == segment);
        let inside: Vec<Row> = all
            .iter()
            .filter(|row| within(row) && is_its(row))
            .map(|row| {
                let number = match row.1 {
                    low if low < least && segment.is_none() => -1e9,
                    high if high > most && segment.is_none() => 1e9,
                    usual => usual,
                };
                let is_known = others.iter().any(|other| other.2 == row.2);
                let name = if is_known { row.2.clone() } else { "a new name".to_owned() };
                (row.0, number, name, row.3)
            })
            .collect();
        let rest: Vec<Row> = others.into_iter().filter(|row| is_its(row)).cloned().collect();
        let current = count_table(&table(&inside), shapes.to_vec()).expect("counts").columns;
        let reference = count_table(&table(&rest), shapes.to_vec()).expect("counts").columns;
        let mut evidence = Vec::new();
        for ((column, current), reference) in baseline.columns.iter().zip(&current).zip(&reference) {
            let pair = Pair::new(&column.shape, reference, current);
            evidence.extend(
                alarming(column).map(|test| (test.score)(&pair).ok().as_ref().and_then(Evidence::of)),
            );
        }
        evidence
    }

    #[test]
    fn a_window_is_scored_as_if_it_were_no_training_rows() {
        let rows = rows(6);
        let baseline = build(&rows, HOUR, 0);
        let shapes = plan_table(&table(&rows), &roles(), &options(HOUR, 0)).expect("a plan").columns;
        for length in [HOUR, 6 * HOUR, 24 * HOUR] {
            let windows = cut(&baseline, tumbling(length), 0).expect("windows");
            assert!(!windows.is_empty());
            for window in &windows {
                for cell in &window.cells {
                    let expected = by_hand(&baseline, &shapes, &rows, window, cell.segment.as_deref());
                    assert_eq!(cell.evidence, expected, "{:?} from {}", cell.segment, window.start);
                }
            }
        }
    }

    #[test]
    fn values_and_names_of_one_window_alone_are_new() {
        let baseline = build(&rows(6), HOUR, 0);
        let windows = cut(&baseline, tumbling(HOUR), 0).expect("windows");
        let names: Vec<&str> =
            baseline.columns.iter().flat_map(|column| alarming(column).map(|test| test.name)).collect();
        let loudest = |test: &str| {
            let index = names.iter().position(|name| *name == test).expect("a test of that name");
            let surprise =
                |window: &ReferenceWindow| window.cells[0].evidence[index].expect("tested").surprise;
            let most = windows.iter().max_by(|a, b| surprise(a).total_cmp(&surprise(b))).expect("windows");
            (most.start, surprise(most))
        };
        assert_eq!(loudest("overflow").0, at(13 * HOUR), "two rows lie below all others");
        assert_eq!(loudest("unseen").0, at(30 * HOUR));
        assert!(loudest("unseen").1 > 3.0 && loudest("overflow").1 > 3.0);
    }

    #[test]
    fn gaps_and_windows_of_few_rows_are_left_out() {
        let baseline = build(&rows(6), HOUR, 0);
        let windows = cut(&baseline, tumbling(HOUR), 0).expect("windows");
        let hours: Vec<i64> = windows.iter().map(|window| window.start.as_micros() / 3_600_000_000).collect();
        let expected: Vec<i64> = (0..144).filter(|hour| hour % 7 != 0 && !(72..120).contains(hour)).collect();
        assert_eq!(hours, expected);
        assert!(windows.iter().all(|window| window.cells.len() == 3), "all rows and two segments");
        let few =
            reference_windows(&baseline, tumbling(HOUR), Span::ZERO, None, 21, WINDOWS_MAX).expect("windows");
        assert!(few.is_empty());
    }

    #[test]
    fn windows_lie_where_production_cuts_them() {
        let offset = 1_800;
        let baseline = build(&rows(6), HOUR, offset);
        let sliding = WindowSettings { length: span(3 * HOUR), slide: span(HOUR) };
        let windows = cut(&baseline, sliding, offset).expect("windows");
        let settings =
            window::Settings { windows: vec![sliding], offset: span(offset), ..window::Settings::default() };
        let panes = baseline.reference.as_ref().expect("panes").panes.iter().map(|(start, _)| *start);
        let first = panes.clone().min().expect("panes");
        let closing = window::Cut::new(&settings).closing(panes, None, at(6 * 24 * HOUR + offset));
        let production: Vec<Timestamp> =
            closing.iter().filter(|window| window.start() >= first).map(|window| window.end).collect();
        let ends: Vec<Timestamp> = windows.iter().map(|window| window.end).collect();
        assert_eq!(ends, production.into_iter().filter(|end| ends.contains(end)).collect::<Vec<_>>());
        assert!(ends.len() > 80, "{}", ends.len());
    }

    #[test]
    fn panes_that_begin_elsewhere_or_do_not_divide_are_refused_with_the_reason() {
        let baseline = build(&rows(3), HOUR, 0);
        let why = cut(&baseline, tumbling(HOUR), 1_800).expect_err("half an hour off");
        assert!(why.contains("window_offset") && why.contains("build it"), "{why}");
        assert!(cut(&baseline, tumbling(HOUR), 24 * HOUR).is_ok(), "a whole number of panes off");
        let why = cut(&baseline, tumbling(HOUR * 3 / 2), 0).expect_err("one and a half");
        assert!(why.contains("panes of 1h do not make up windows of"), "{why}");
        let sliding = WindowSettings { length: span(6 * HOUR), slide: span(HOUR / 2) };
        let why = cut(&baseline, sliding, 0).expect_err("a slide shorter than a pane");
        assert!(why.contains("windows of 6h every 30m"), "{why}");
        let untimed = Roles { timestamp: None, ..roles() };
        let untimed = build_table(&table(&rows(3)), &untimed, &options(HOUR, 0)).expect("a baseline");
        assert!(cut(&untimed, tumbling(HOUR), 0).expect_err("no times").contains("timestamp"));
    }

    #[test]
    fn a_row_of_another_century_costs_no_time_and_hides_no_window() {
        let mut rows = rows(3);
        rows.push((-3_000_000_000, 1.0, "name1".to_owned(), "even"));
        rows.push((4_000_000_000, 1.0, "name1".to_owned(), "even"));
        let baseline = build(&rows, 60, 0);
        let started = std::time::Instant::now();
        let windows = cut(&baseline, tumbling(HOUR), 0).expect("windows");
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
        assert_eq!(windows.len(), (0..72).filter(|hour| hour % 7 != 0).count());
    }
}

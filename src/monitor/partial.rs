//! From a raw batch to partial summaries: what a worker does. Pure, so it runs in parallel.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::Array;

use super::cases::{Case, CaseColumns, LabelCase, LabelColumns};
use super::early::{TickCount, Watched};
use super::plan::{Lookup, ModelPlan, NoClasses, Plan, Prepared, StreamPlan};
use crate::event::decode::{Decode, Mapping, decoder};
use crate::event::{ColumnSpec, EventBatch, EventSchema, RawBatch, RejectReason, Rejected, Role, Timestamp};
use crate::quality::{RowTicks, TickRows};
use crate::summary::{ColumnSummary, ModelSummary, NumericScratch, Shape};

/// What a worker makes of a raw batch. It holds back one decision: whether a whole group is late can only
/// be told by the owner, who knows what the partition had shown before this batch.
#[derive(Debug)]
pub struct Partial {
    /// The batch it was made from; dead letters take their bytes from it.
    pub raw: RawBatch,
    /// The counts.
    pub groups: Vec<Group>,
    /// Events that are only labels; they are rows of no group.
    pub labels: Vec<LabelCase>,
    /// Records that count nowhere, with the model if it was known.
    pub rejected: Vec<(Option<usize>, Rejected)>,
    /// For each rejected record the newest event time in the batch up to it.
    pub reached: Vec<Option<Timestamp>>,
    /// The newest event time in the batch, events from the future left out.
    pub newest: Option<Timestamp>,
}

/// The events of a batch that fall into one pane of one model, version and segment.
#[derive(Debug)]
pub struct Group {
    /// Index of the model in the plan.
    pub model: usize,
    /// Its version.
    pub version: Option<String>,
    /// The segment.
    pub segment: Option<String>,
    /// Start of the pane.
    pub pane: Timestamp,
    /// End of the first window that holds the pane.
    pub first_end: Timestamp,
    /// The baseline it is counted on.
    pub prepared: Arc<Prepared>,
    /// Positions of the records in the raw batch.
    pub rows: Vec<u32>,
    /// The counts.
    pub summary: ModelSummary,
    /// What the early watch counts, by start of the tick; nothing when there is none.
    pub ticks: BTreeMap<Timestamp, TickRows>,
    /// The same events as cases, where performance is measured and the stream carries predictions.
    pub cases: Vec<Case>,
}

/// A baseline that must be looked for before a batch can be counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NeedsBaseline {
    /// Index of the model in the plan.
    pub model: usize,
    /// The version.
    pub version: Option<String>,
}

/// A batch that cannot be counted before baselines were looked for.
#[derive(Debug)]
pub struct Postponed {
    /// The batch, as it was given.
    pub raw: RawBatch,
    /// What must be looked for, each once, in order.
    pub needs: Vec<NeedsBaseline>,
}

/// A worker's tools: decoders and buffers. They carry nothing from one batch to the next.
pub struct Summariser {
    plan: Arc<Plan>,
    decoders: Vec<Option<Box<dyn Decode>>>,
    numeric: NumericScratch,
    names: Vec<u32>,
}

/// A group before its columns are counted: rows of the event batch.
struct Sorted {
    model: usize,
    version: Option<String>,
    segment: Option<String>,
    pane: Timestamp,
    first_end: Timestamp,
    late_from: Timestamp,
    future_skew: crate::event::Span,
    prepared: Arc<Prepared>,
    rows: Vec<usize>,
    /// The tick of each row, if there is an early watch.
    ticks: Option<RowTicks>,
}

/// What makes a group, in indexes of the batch's dictionaries; -1 is null.
type Key = (i32, i32, i32, i64);

impl Partial {
    /// A batch of which no record counts, all for one reason.
    pub fn rejecting(raw: RawBatch, reason: RejectReason) -> Self {
        let rejected = |row| (None, Rejected { row, reason, detail: detail_of(reason) });
        Self {
            rejected: (0..raw.len()).map(rejected).collect(),
            reached: vec![None; raw.len()],
            raw,
            groups: Vec::new(),
            labels: Vec::new(),
            newest: None,
        }
    }
}

impl Summariser {
    /// Builds the decoders of a plan.
    pub fn new(plan: Arc<Plan>) -> Self {
        let decoders = plan
            .streams()
            .iter()
            .map(|plan| {
                let stream = &plan.stream;
                decoder(&stream.format)
                    .map(|found| (found.build)(&stream.mapping, &plan.schema, stream.limits))
            })
            .collect();
        Self { plan, decoders, numeric: NumericScratch::default(), names: Vec::new() }
    }

    /// The plan in use.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Decodes and counts a batch.
    ///
    /// # Errors
    /// [`Postponed`]: the batch comes back with the baselines that must be looked for first; a plan that knows of them,
    /// even that they are absent, makes the next call succeed.
    pub fn summarise(&mut self, raw: RawBatch) -> Result<Partial, Box<Postponed>> {
        let plan = Arc::clone(&self.plan);
        let decoder = self.decoders.get_mut(raw.stream).and_then(Option::as_mut);
        let (Some(stream), Some(decoder)) = (plan.streams().get(raw.stream), decoder) else {
            // A batch of a stream that the plan does not have: the application made it, not the data.
            return Ok(Partial::rejecting(raw, RejectReason::UnknownModel));
        };
        let decoded = decoder.decode(&raw);
        let mut sorting = Sorting::new(&plan, stream, &decoded.batch, &raw);
        sorting.sort(decoded.rejected);
        if !sorting.needs.is_empty() {
            let mut needs = sorting.needs;
            needs.sort();
            needs.dedup();
            return Err(Box::new(Postponed { raw, needs }));
        }
        let Sorting { groups, labels, rejected, reached, newest, .. } = sorting;
        let groups = groups
            .into_iter()
            .filter(|group| !group.rows.is_empty())
            .map(|group| self.count(&decoded.batch, &stream.stream.mapping, group))
            .collect();
        Ok(Partial { raw, groups, labels, rejected, reached, newest })
    }

    fn count(&mut self, batch: &EventBatch, mapping: &Mapping, group: Sorted) -> Group {
        let baseline = &group.prepared.baseline;
        let mut summary = baseline.empty_summary();
        let whole = group.rows.len() == batch.len();
        let mut ticks = TickCount::new(&group.rows, group.ticks.as_ref());
        for (((column, summary), index), place) in
            baseline.columns.iter().zip(&mut summary.columns).zip(&group.prepared.indexes).zip(0_u32..)
        {
            if !mapping.carries(&column.spec) {
                continue;
            }
            let Some(at) = find_column(batch.schema(), &column.spec) else { continue };
            match (&column.shape, &mut *summary) {
                (Shape::Numeric(grid), ColumnSummary::Numeric(summary)) => {
                    let numbers = batch.numbers(at);
                    if whole {
                        summary.observe(grid, numbers, 0..batch.len(), &mut self.numeric);
                    } else {
                        summary.observe(grid, numbers, group.rows.iter().copied(), &mut self.numeric);
                    }
                }
                (Shape::Categorical(categories), ColumnSummary::Categorical(summary)) => {
                    let Some(index) = index else { continue };
                    let (names, rows) = (batch.names(at), group.rows.iter().copied());
                    summary.observe(categories, index, names, rows, &mut self.names);
                }
                _ => {}
            }
            ticks.add(place, &Watched::new(batch, at, &column.spec), summary);
        }
        let ticks = ticks.finish();
        count_rows(batch, mapping, &group.rows, &mut summary);
        let rows = group.rows.iter().filter_map(|row| batch.rows().get(*row).copied()).collect();
        let cases = self.cases(batch, mapping, &group);
        Group {
            model: group.model,
            version: group.version,
            segment: group.segment,
            pane: group.pane,
            first_end: group.first_end,
            prepared: group.prepared,
            rows,
            summary,
            ticks,
            cases,
        }
    }

    fn cases(&self, batch: &EventBatch, mapping: &Mapping, group: &Sorted) -> Vec<Case> {
        let settings = self.plan.models().get(group.model).map(|model| &model.settings);
        let columns = settings
            .filter(|settings| settings.performance.is_some())
            .and_then(|settings| CaseColumns::new(batch, mapping, &settings.name, &group.prepared));
        columns.map_or_else(Vec::new, |columns| group.rows.iter().map(|row| columns.case(*row)).collect())
    }
}

pub(super) fn find_column(schema: &EventSchema, spec: &ColumnSpec) -> Option<usize> {
    schema.columns().iter().position(|column| column == spec).map(|at| at + EventSchema::FIRST)
}

fn count_rows(batch: &EventBatch, mapping: &Mapping, rows: &[usize], summary: &mut ModelSummary) {
    let events = rows.len() as u64;
    summary.rows.events = events;
    if mapping.features != crate::event::decode::FeatureMapping::None {
        summary.rows.features = events;
    }
    if mapping.prediction.is_some() || !mapping.scores.is_empty() {
        summary.rows.predictions = events;
    }
    let label = batch.schema().columns().iter().position(|column| column.role == Role::Label);
    if let Some(label) = label {
        let nulls = batch.arrow().column(label + EventSchema::FIRST);
        summary.rows.labels = rows.iter().filter(|row| !nulls.is_null(**row)).count() as u64;
    }
    if mapping.latency_ms.is_some() {
        let latency = batch.numbers(EventSchema::LATENCY);
        rows.iter()
            .filter(|row| !latency.is_null(**row))
            .for_each(|row| summary.latency.record_ms(latency.value(*row)));
    }
}

/// Sorts the events of a batch into groups.
struct Sorting<'a> {
    plan: &'a Plan,
    batch: &'a EventBatch,
    raw: &'a RawBatch,
    /// Where the stream carries labels and nothing else: how they are read.
    label_columns: Option<LabelColumns<'a>>,
    labels: Vec<LabelCase>,
    groups: Vec<Sorted>,
    known: HashMap<Key, Result<usize, (Option<usize>, RejectReason)>>,
    rejected: Vec<(Option<usize>, Rejected)>,
    reached: Vec<Option<Timestamp>>,
    needs: Vec<NeedsBaseline>,
    newest: Option<Timestamp>,
    segments: BTreeSet<String>,
}

impl<'a> Sorting<'a> {
    fn new(plan: &'a Plan, stream: &StreamPlan, batch: &'a EventBatch, raw: &'a RawBatch) -> Self {
        Self {
            plan,
            batch,
            raw,
            label_columns: stream.is_labels_only().then(|| LabelColumns::new(batch)),
            labels: Vec::new(),
            groups: Vec::new(),
            known: HashMap::new(),
            rejected: Vec::new(),
            reached: Vec::new(),
            needs: Vec::new(),
            newest: None,
            segments: BTreeSet::new(),
        }
    }

    /// Sorts the events, with the records that are none at their places between them.
    fn sort(&mut self, refused: Vec<Rejected>) {
        let mut refused = refused.into_iter().peekable();
        let models = self.batch.names(EventSchema::MODEL);
        let versions = self.batch.names(EventSchema::VERSION);
        let segments = self.batch.names(EventSchema::SEGMENT);
        let key_of = |names: crate::event::Names<'_>, row: usize| {
            if names.is_null(row) { -1 } else { names.keys[row] }
        };
        // The geometry of each model, looked up once a batch instead of once an event.
        let cuts: Vec<Option<&ModelPlan>> = (0..models.values.len())
            .map(|key| {
                self.plan.model(models.values.value(key)).and_then(|index| self.plan.models().get(index))
            })
            .collect();
        let mut last: Option<(Key, usize, Timestamp)> = None;
        for (row, &micros) in self.batch.timestamps().iter().enumerate() {
            while let Some(rejected) = refused.next_if(|refused| refused.row < self.raw_row(row)) {
                self.refuse(None, rejected);
            }
            let time = Timestamp::saturating_from_micros(micros);
            let model_key = key_of(models, row);
            let model = usize::try_from(model_key).ok().and_then(|key| cuts.get(key).copied().flatten());
            if let Some(model) = model.filter(|model| model.settings.performance.is_some())
                && self.label_columns.is_some()
            {
                self.place_label(row, time, model);
                continue;
            }
            // Neighbours mostly share a pane: the division by its length is saved for them.
            let (version_key, segment_key) = (key_of(versions, row), key_of(segments, row));
            let at = match last {
                Some(((m, v, s, pane), at, end))
                    if (m, v, s) == (model_key, version_key, segment_key) && pane <= micros && time < end =>
                {
                    Ok(at)
                }
                _ if !time.is_plausible() => Err((None, RejectReason::BadTimestamp)),
                _ => {
                    let pane = model.map_or(time, |model| model.cut.pane_of(time));
                    let key = (model_key, version_key, segment_key, pane.as_micros());
                    let names = (models.get(row), versions.get(row), segments.get(row));
                    let found = self.group_of(key, names, pane);
                    if let (Ok(at), Some(model)) = (found, model) {
                        last = Some((key, at, pane + model.cut.pane()));
                    }
                    found
                }
            };
            self.place(row, time, at);
        }
        refused.for_each(|rejected| self.refuse(None, rejected));
    }

    /// The position in the raw batch of an event.
    fn raw_row(&self, row: usize) -> usize {
        self.batch.rows().get(row).copied().unwrap_or(0) as usize
    }

    fn refuse(&mut self, model: Option<usize>, rejected: Rejected) {
        self.rejected.push((model, rejected));
        self.reached.push(self.newest);
    }

    fn group_of(
        &mut self,
        key: Key,
        (model, version, segment): (Option<&str>, Option<&str>, Option<&str>),
        pane: Timestamp,
    ) -> Result<usize, (Option<usize>, RejectReason)> {
        if let Some(found) = self.known.get(&key) {
            return *found;
        }
        let found = self.open_group(model, version, segment, pane);
        self.known.insert(key, found);
        found
    }

    fn open_group(
        &mut self,
        model: Option<&str>,
        version: Option<&str>,
        segment: Option<&str>,
        pane: Timestamp,
    ) -> Result<usize, (Option<usize>, RejectReason)> {
        let model = model.and_then(|name| self.plan.model(name)).ok_or((None, RejectReason::UnknownModel))?;
        let plan = self.plan.models().get(model).ok_or((None, RejectReason::UnknownModel))?;
        let prepared = match plan.lookup(version) {
            Lookup::Found(prepared) => prepared,
            Lookup::Absent => return Err((Some(model), RejectReason::NoBaseline)),
            Lookup::OverLimit => return Err((Some(model), RejectReason::OverLimit)),
            Lookup::Unknown => {
                self.needs.push(NeedsBaseline { model, version: version.map(str::to_owned) });
                return Err((Some(model), RejectReason::NoBaseline));
            }
        };
        let first_end = plan.cut.first_end(pane);
        // Every group takes as much memory as a pane: a batch with a new segment in each event must not
        // take thousands. The owner holds the limit over batches.
        let segment = segment.map(|segment| {
            let known = self.segments.contains(segment);
            if known || self.segments.len() < plan.settings.segments_max {
                self.segments.insert(segment.to_owned());
                segment
            } else {
                super::OTHER_SEGMENT
            }
        });
        if segment == Some(super::OTHER_SEGMENT) {
            let is_same = |group: &Sorted| {
                (group.model, group.pane, group.version.as_deref(), group.segment.as_deref())
                    == (model, pane, version, segment)
            };
            if let Some(at) = self.groups.iter().position(is_same) {
                return Ok(at);
            }
        }
        self.groups.push(Sorted {
            model,
            version: version.map(str::to_owned),
            segment: segment.map(str::to_owned),
            pane,
            first_end,
            late_from: first_end + plan.settings.windows.allowed_lateness,
            future_skew: plan.settings.windows.future_skew,
            prepared,
            rows: Vec::new(),
            ticks: plan.settings.early.ticks(&plan.settings.windows).map(RowTicks::new),
        });
        Ok(self.groups.len() - 1)
    }

    fn place(&mut self, row: usize, time: Timestamp, at: Result<usize, (Option<usize>, RejectReason)>) {
        let raw_row = self.raw_row(row);
        let arrival = self.raw.arrivals.get(raw_row).copied().unwrap_or(Timestamp::MAX);
        if !time.is_plausible() {
            let detail = "its time is outside the years 4 to 9995".to_owned();
            let reason = RejectReason::BadTimestamp;
            return self.refuse(None, Rejected { row: raw_row, reason, detail });
        }
        let group = match at.map(|at| self.groups.get_mut(at)) {
            Ok(Some(group)) => group,
            Ok(None) => return,
            Err((model, reason)) => {
                // It counts nowhere, but its time says how far the partition is.
                if time <= arrival {
                    self.newest = self.newest.max(Some(time));
                }
                let detail = detail_of(reason);
                return self.refuse(model, Rejected { row: raw_row, reason, detail });
            }
        };
        let reason = if time > arrival + group.future_skew {
            RejectReason::Future
        } else if self.newest.is_some_and(|newest| newest >= group.late_from) {
            RejectReason::Late
        } else {
            group.rows.push(row);
            if let Some(ticks) = &mut group.ticks {
                ticks.push(time, self.newest);
            }
            self.newest = self.newest.max(Some(time));
            return;
        };
        let model = group.model;
        self.refuse(Some(model), Rejected { row: raw_row, reason, detail: detail_of(reason) });
    }
}

impl Sorting<'_> {
    /// Takes a record that is only a label. It is late for no window: its prediction says where it counts.
    fn place_label(&mut self, row: usize, time: Timestamp, plan: &ModelPlan) {
        let name = plan.settings.name.as_str();
        let (Some(columns), Some(model)) = (&self.label_columns, self.plan.model(name)) else { return };
        let raw_row = self.raw_row(row);
        let arrival = self.raw.arrivals.get(raw_row).copied().unwrap_or(Timestamp::MAX);
        let (key, truth) = match plan.label_classes() {
            Ok(classes) => columns.read(row, name, classes),
            Err(NoClasses) => (None, None),
        };
        let reason = match (key, truth) {
            _ if !time.is_plausible() => RejectReason::BadTimestamp,
            _ if time > arrival + plan.settings.windows.future_skew => RejectReason::Future,
            (Some(key), Some(truth)) => {
                self.labels.push(LabelCase { model, key, truth, time });
                self.newest = self.newest.max(Some(time));
                return;
            }
            (None, _) => RejectReason::MissingId,
            (Some(_), None) => RejectReason::BadLabel,
        };
        if time.is_plausible() && time <= arrival {
            self.newest = self.newest.max(Some(time));
        }
        self.refuse(Some(model), Rejected { row: raw_row, reason, detail: detail_of(reason) });
    }
}

/// What a dead letter says of a reason that the decoder does not explain.
pub(super) fn detail_of(reason: RejectReason) -> String {
    match reason {
        RejectReason::UnknownModel => "the configuration names no such model",
        RejectReason::NoBaseline => "there is no baseline for this version of the model",
        RejectReason::OverLimit => "the model has as many versions as `versions_max` allows",
        RejectReason::Late => "its window was complete when it came; see `allowed_lateness`",
        RejectReason::MissingId => "it is a label without an id, so nobody can tell what of",
        RejectReason::BadLabel => "its label is missing, or no class or number of this model",
        RejectReason::Future => "its time is ahead of its arrival by more than `future_skew`",
        _ => "",
    }
    .to_owned()
}

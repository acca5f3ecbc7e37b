//! What workers and owner need to know: streams, models and their baselines. Immutable; a new baseline
//! makes a new plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cases::{is_labels_only, label_kind, label_spec};
use super::outcomes::PerformanceReference;
use crate::baseline::{ClassNames, SharedBaseline};
use crate::event::decode::{Field, Stream};
use crate::event::{ColumnSpec, EventSchema};
use crate::quality::HighestRates;
use crate::summary::outcome::Task;
use crate::summary::{CategoryIndex, Shape};
use crate::verdict::{Calibrations, Collected, Season, Source};
use crate::window::{self, Cut};
use crate::{incident, performance, quality, verdict};

/// Versions without a baseline that are remembered as such; further ones are taken as absent unasked.
const ABSENT_MAX: usize = 1_000;

/// A model's settings.
#[derive(Debug, Clone)]
pub struct ModelSettings {
    /// Its name in the events.
    pub name: String,
    /// How its event time is cut.
    pub windows: window::Settings,
    /// What it may cost in false alarms.
    pub verdict: verdict::Settings,
    /// What an alarm leads to.
    pub incident: incident::Settings,
    /// What is watched before windows close.
    pub early: quality::Settings,
    /// What performance is measured by; `None` where it is not.
    pub performance: Option<performance::Settings>,
    /// Most segment values told apart.
    pub segments_max: usize,
    /// Most versions watched.
    pub versions_max: usize,
    /// Reference windows that a replay wrote, if the operator names them.
    pub imported: Option<Arc<Collected>>,
}

impl ModelSettings {
    /// Into how many parts the budget is split: one for each window length, one for the early watch, and those
    /// of performance, if it is measured.
    pub fn budget_parts(&self) -> usize {
        let performance = self.performance.as_ref().map_or(0, performance::Settings::parts);
        self.early.parts(&self.windows) + performance
    }
}

/// Everything the core is told from outside, but for records and time.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Id of the configuration, in hex.
    pub config: String,
    streams: Vec<StreamPlan>,
    models: Vec<ModelPlan>,
}

/// A stream with the columns its records are decoded into.
#[derive(Debug, Clone)]
pub struct StreamPlan {
    /// The topic and its mapping.
    pub stream: Stream,
    /// The columns of every model the stream may carry.
    pub schema: EventSchema,
}

/// A model with its baselines.
#[derive(Debug, Clone)]
pub struct ModelPlan {
    /// The settings.
    pub settings: ModelSettings,
    /// The geometry of its windows.
    pub cut: Cut,
    /// The classes of labels, if the configuration says them.
    classes: Option<ClassNames>,
    /// The baseline of all versions, if they share one.
    shared: Option<Arc<Prepared>>,
    versions: BTreeMap<Option<String>, Option<Arc<Prepared>>>,
}

/// A baseline with what counting needs beside it.
#[derive(Debug)]
pub struct Prepared {
    /// The baseline.
    pub baseline: SharedBaseline,
    /// Its id in hex.
    pub id: String,
    /// For each column that is categorical, the index of its names.
    pub indexes: Vec<Option<CategoryIndex>>,
    /// What its windows are ranked among.
    pub calibrations: Calibrations,
    /// The highest rates of missing values that the training rows show, for the early watch.
    pub highest_rates: HighestRates,
    /// What performance is compared with, if it is measured and the baseline knows it.
    pub performance: Option<Arc<PerformanceReference>>,
}

impl Prepared {
    /// Indexes the names of a baseline and scores its reference windows, which may take seconds. The counts of
    /// its panes have then served, and are let go.
    pub fn new(baseline: SharedBaseline, settings: &ModelSettings) -> Arc<Self> {
        let id = baseline.id.to_string();
        let mut calibrations = Calibrations::of_training(&baseline, &settings.windows, &settings.verdict);
        match settings.imported.as_ref().map(|imported| imported.of(&id)) {
            Some(Some(imported)) => {
                let season = Season::named(settings.verdict.season);
                calibrations.fill(&baseline, imported, season, Source::Imported);
            }
            Some(None) => calibrations.explain(
                "the file of reference windows holds none that were compared with this baseline: write it anew \
                 with `driftline replay --reference-out`",
            ),
            None => {}
        }
        let shortest = quality::shortest(&settings.windows);
        let highest_rates = HighestRates::new(&baseline, shortest, settings.verdict.rows_min);
        let performance = settings
            .performance
            .as_ref()
            .and_then(|of| PerformanceReference::new(&baseline, of, &settings.windows))
            .map(Arc::new);
        let baseline = Arc::new(Arc::unwrap_or_clone(baseline).without_panes());
        let indexes = baseline
            .columns
            .iter()
            .map(|column| match &column.shape {
                Shape::Categorical(categories) => Some(CategoryIndex::new(categories)),
                Shape::Numeric(_) => None,
            })
            .collect();
        Arc::new(Self { id, baseline, indexes, calibrations, highest_rates, performance })
    }
}

/// What is known of a version's baseline.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// It has one.
    Found(Arc<Prepared>),
    /// It has none.
    Absent,
    /// It must be looked for.
    Unknown,
    /// The model has as many versions as it may.
    OverLimit,
}

impl Plan {
    /// A plan without baselines.
    pub fn new(config: String, streams: Vec<Stream>, models: Vec<ModelSettings>) -> Self {
        let models = models
            .into_iter()
            .map(|settings| ModelPlan {
                cut: Cut::new(&settings.windows),
                classes: settings.performance.as_ref().and_then(classes_of),
                settings,
                shared: None,
                versions: BTreeMap::new(),
            })
            .collect();
        let streams = streams
            .into_iter()
            .map(|stream| StreamPlan { stream, schema: EventSchema::new(Vec::new()) })
            .collect();
        Self { config, streams, models }
    }

    /// The streams.
    pub fn streams(&self) -> &[StreamPlan] {
        &self.streams
    }

    /// The models.
    pub fn models(&self) -> &[ModelPlan] {
        &self.models
    }

    /// The index of a model.
    pub fn model(&self, name: &str) -> Option<usize> {
        self.models.iter().position(|model| model.settings.name == name)
    }

    /// Whether a topic may carry a model.
    pub fn may_carry(&self, topic: &str, model: &str) -> bool {
        self.streams.iter().filter(|plan| plan.stream.topic == topic).any(|plan| carries(&plan.stream, model))
    }

    /// The plan with one baseline for all versions of a model.
    #[must_use]
    pub fn with_shared(mut self, model: usize, baseline: SharedBaseline) -> Self {
        if let Some(model) = self.models.get_mut(model) {
            model.shared = Some(Prepared::new(baseline, &model.settings));
        }
        self.with_schemas()
    }

    /// The plan with what was found for a version of a model: its baseline, or that there is none.
    #[must_use]
    pub fn with_version(self, model: usize, version: Option<String>, found: Option<SharedBaseline>) -> Self {
        let settings = self.models.get(model).map(|model| &model.settings);
        let prepared = found.and_then(|baseline| Some(Prepared::new(baseline, settings?)));
        self.with_prepared(model, version, prepared)
    }

    /// The same with a baseline that was prepared elsewhere.
    #[must_use]
    pub fn with_prepared(
        mut self,
        model: usize,
        version: Option<String>,
        found: Option<Arc<Prepared>>,
    ) -> Self {
        if let Some(model) = self.models.get_mut(model) {
            model.versions.insert(version, found);
        }
        self.with_schemas()
    }

    /// The plan that looks again for every version that had no baseline, and, where a model has as many
    /// versions as it may, lets go of those that are not in use: an old one makes room for the next.
    #[must_use]
    pub fn refreshed(mut self, in_use: &[BTreeSet<Option<String>>]) -> Self {
        for (index, model) in self.models.iter_mut().enumerate() {
            let is_full = model.loaded() >= model.settings.versions_max;
            let is_used =
                |version: &Option<String>| in_use.get(index).is_some_and(|used| used.contains(version));
            model.versions.retain(|version, found| found.is_some() && (!is_full || is_used(version)));
        }
        self.with_schemas()
    }

    fn with_schemas(mut self) -> Self {
        for plan in &mut self.streams {
            let labels_only = plan.is_labels_only();
            let carried = || self.models.iter().filter(|model| carries(&plan.stream, &model.settings.name));
            let mut columns: BTreeSet<ColumnSpec> = carried()
                .filter(|model| !labels_only || model.settings.performance.is_none())
                .flat_map(|model| model.baselines())
                .flat_map(|prepared| prepared.baseline.specs())
                .filter(|column| plan.stream.mapping.carries(column))
                .cloned()
                .collect();
            // Labels on a stream of their own are read without a baseline: they may come before any version.
            let tasks = carried().filter_map(|model| model.settings.performance.as_ref());
            columns.extend(tasks.filter(|_| labels_only).map(|of| label_spec(label_kind(of.task))));
            plan.schema = EventSchema::new(columns.into_iter().collect());
        }
        self
    }
}

impl StreamPlan {
    /// Whether its records are labels and nothing else.
    pub fn is_labels_only(&self) -> bool {
        is_labels_only(&self.stream.mapping)
    }
}

/// The classes that a configuration names.
fn classes_of(settings: &performance::Settings) -> Option<ClassNames> {
    match settings.task {
        Task::Binary => Some(ClassNames::new(settings.task, settings.positive.clone())),
        Task::Multiclass if !settings.classes.is_empty() => {
            Some(ClassNames::new(settings.task, settings.classes.clone()))
        }
        Task::Multiclass | Task::Regression | Task::Ranking => None,
    }
}

/// No baseline is loaded that would say which classes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoClasses;

fn carries(stream: &Stream, model: &str) -> bool {
    match &stream.mapping.model {
        Field::Constant(name) => name == model,
        Field::Pointer(_) => true,
    }
}

impl ModelPlan {
    /// What is known of the baseline of a version.
    pub fn lookup(&self, version: Option<&str>) -> Lookup {
        if let Some(shared) = &self.shared {
            return Lookup::Found(Arc::clone(shared));
        }
        let known = self.versions.get(&version.map(str::to_owned));
        let found = self.loaded();
        match known {
            Some(Some(prepared)) => Lookup::Found(Arc::clone(prepared)),
            Some(None) => Lookup::Absent,
            None if found >= self.settings.versions_max => Lookup::OverLimit,
            None if self.versions.len() - found >= ABSENT_MAX => Lookup::Absent,
            None => Lookup::Unknown,
        }
    }

    /// The classes that labels on a stream of their own name; `None` where truths are numbers.
    ///
    /// # Errors
    /// When the configuration does not say them and no baseline is loaded that does.
    pub fn label_classes(&self) -> Result<Option<&ClassNames>, NoClasses> {
        let task = self.settings.performance.as_ref().map(|settings| settings.task);
        if !matches!(task, Some(Task::Binary | Task::Multiclass)) {
            return Ok(None);
        }
        let known = self.baselines().find_map(|prepared| prepared.baseline.outcomes.as_ref());
        self.classes.as_ref().or(known.map(|outcomes| &outcomes.classes)).ok_or(NoClasses).map(Some)
    }

    /// Whether there is anything to look for again, or to let go of.
    pub fn is_stale(&self) -> bool {
        self.versions.values().any(Option::is_none) || self.loaded() >= self.settings.versions_max
    }

    fn loaded(&self) -> usize {
        self.versions.values().flatten().count()
    }

    /// Every baseline that is loaded.
    pub fn baselines(&self) -> impl Iterator<Item = &Arc<Prepared>> {
        self.shared.iter().chain(self.versions.values().flatten())
    }

    /// Every loaded version with its baseline; `None` stands for all versions if they share one.
    pub fn versions(&self) -> impl Iterator<Item = (Option<&str>, &Arc<Prepared>)> {
        let own =
            self.versions.iter().filter_map(|(version, found)| Some((version.as_deref(), found.as_ref()?)));
        self.shared.iter().map(|shared| (None, shared)).chain(own)
    }
}

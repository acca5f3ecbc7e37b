//! `[model.performance]` and `[model.value]`: how it is measured whether a model is still right, and what it
//! costs when it is not.

use super::document::{Item, Section, Table, all, key, quoted};
use super::model::window_list;
use crate::event::Span;
use crate::performance::{Bound, Limit, Settings, Value, metric_of};
use crate::summary::outcome::{CLASSES_MAX, Task};
use crate::window;

/// The keys of `[model.performance]`.
pub(super) static PERFORMANCE: Section = Section {
    path: "model.performance",
    repeated: false,
    keys: &[
        key("task", "what the model predicts: \"binary\", \"multiclass\", \"regression\" or \"ranking\""),
        key("positive", "binary: the names of class 1"),
        key("classes", "multiclass: the names of the classes, in the order of the scores"),
        key("threshold", "binary: from which score on class 1 is decided, if events carry no decision"),
        key("score", "the score column that is measured, if there are several"),
        key("metric", "the metric that alarms are about"),
        key("windows", "window lengths, as in [\"1d\", { length = \"7d\", slide = \"1d\" }]"),
        key("label_delay_max", "how long after its prediction a label is waited for"),
        key("labels_min", "windows with fewer labels are not judged"),
        key("mature_at", "share of labelled predictions from which a window counts as complete"),
        key("waiting_max", "most predictions that wait for their labels"),
        key("waiting_bytes_max", "most bytes on disk that waiting predictions take"),
        key("limits", "values of metrics that are not accepted"),
    ],
};

/// The keys of a limit.
pub(super) static LIMIT: Section = Section {
    path: "model.performance.limits",
    repeated: true,
    keys: &[
        key("metric", "the metric"),
        key("below", "values below this break the limit"),
        key("above", "values above this break the limit"),
    ],
};

/// The keys of `[model.value]`.
pub(super) static VALUE: Section = Section {
    path: "model.value",
    repeated: false,
    keys: &[
        key("costs", "cost of a case, a row for each truth and in it a number for each decision"),
        key("amount", "a numeric feature by which the cost of each case is multiplied"),
        key("over", "regression: cost of each unit that is predicted too high"),
        key("under", "regression: cost of each unit that is predicted too low"),
        key("currency", "the currency of all amounts"),
        key("retrain_cost", "what a retraining costs"),
        key("retrain_risk", "what a retraining that goes wrong costs on top, on average"),
        key("horizon", "how far ahead the loss of a model that is not retrained is reckoned"),
    ],
};

const DAY: i64 = 86_400;
/// Amounts of money beyond this are taken for a mistake.
const MONEY_MAX: f64 = 1e12;
/// Names of class 1; in practice one or two.
const POSITIVE_MAX: usize = 100;
/// Limits of one model.
const LIMITS_MAX: usize = 32;
/// Waiting predictions take some thirty bytes of memory each.
const WAITING_MAX: u64 = 1_000_000_000;
const WAITING_BYTES_MIN: u64 = 1 << 20;
const WAITING_BYTES_MAX: u64 = 1 << 42;

/// Reads both tables of a model; `windows` are those of its drift, whose panes performance is counted in.
pub(super) fn read(model: &Table<'_>, windows: Option<&window::Settings>) -> Option<Option<Settings>> {
    let settings = model.maybe("performance", |item| performance(&item.table(&PERFORMANCE)?, windows));
    let value = model.maybe("value", |item| {
        let table = item.table(&VALUE)?;
        if model.get("performance").is_none() {
            let help = "what mistakes cost follows from labels: write `[model.performance]` with a `task`";
            return item.unfit("`model.value` needs `model.performance`".to_owned(), help.to_owned());
        }
        value(item, &table, settings.as_ref().and_then(Option::as_ref))
    });
    let (settings, value) = (settings?, value?);
    Some(settings.map(|settings| Settings { value, ..settings }))
}

fn performance(table: &Table<'_>, drift: Option<&window::Settings>) -> Option<Settings> {
    let task = table.need("task", |item| item.choice(&Task::ALL.map(|task| (task.name(), task))))?;
    let default = Settings::new(task);
    let positive = table.or("positive", default.positive, |item| {
        of_tasks(item, task, &[Task::Binary])?;
        names(item, 1..=POSITIVE_MAX)
    });
    let classes = table.or("classes", default.classes, |item| {
        of_tasks(item, task, &[Task::Multiclass])?;
        names(item, 2..=CLASSES_MAX)
    });
    let threshold = table.or("threshold", default.threshold, |item| {
        of_tasks(item, task, &[Task::Binary])?;
        item.number(-1e12..=1e12)
    });
    let score = table.maybe("score", |item| {
        of_tasks(item, task, &[Task::Binary, Task::Regression, Task::Ranking])?;
        item.name()
    });
    let metric = table.or("metric", default.metric, |item| metric(item, task));
    let windows = windows(table, default.windows, drift);
    let label_delay_max = table.or("label_delay_max", default.label_delay_max, |item| {
        item.span(Span::from_secs(60)..=Span::from_secs(3 * 366 * DAY))
    });
    let labels_min = table.or("labels_min", default.labels_min, |item| item.whole(1..=1_000_000_000));
    let mature_at = table.or("mature_at", default.mature_at, |item| item.number(0.0..=1.0));
    let waiting_max = table.or("waiting_max", default.waiting_max, |item| item.whole(1..=WAITING_MAX));
    let waiting_bytes_max = table.or("waiting_bytes_max", default.waiting_bytes_max, |item| {
        item.whole(WAITING_BYTES_MIN..=WAITING_BYTES_MAX)
    });
    let limits = table.or("limits", default.limits, |item| limits(item, task));
    Some(Settings {
        task,
        positive: positive?,
        classes: classes?,
        threshold: threshold?,
        score: score?,
        metric: metric?,
        windows: windows?,
        label_delay_max: label_delay_max?,
        labels_min: labels_min?,
        mature_at: mature_at?,
        waiting_max: waiting_max?,
        waiting_bytes_max: waiting_bytes_max?,
        limits: limits?,
        value: None,
    })
}

/// Refuses a key that means nothing to the task.
fn of_tasks(item: &Item<'_>, task: Task, tasks: &[Task]) -> Option<()> {
    if tasks.contains(&task) {
        return Some(());
    }
    let names: Vec<&str> = tasks.iter().map(|task| task.name()).collect();
    let help = format!("it is for {} models: leave it out", names.join(", "));
    item.unfit(format!("`{}` means nothing to a {task} model", item.path), help)
}

fn names(item: &Item<'_>, number: std::ops::RangeInclusive<usize>) -> Option<Vec<String>> {
    let items = item.list()?;
    let names = item.names()?;
    if !number.contains(&names.len()) {
        let (least, most) = number.into_inner();
        return item.refuse(format!("`{}` must name {least} to {most} classes", item.path), None);
    }
    let repeated =
        names.iter().enumerate().find(|(place, name)| names.iter().take(*place).any(|n| n == *name));
    if let Some((place, name)) = repeated {
        return items.get(place).unwrap_or(item).refuse(format!("{} is named twice", quoted(name)), None);
    }
    Some(names)
}

fn metric(item: &Item<'_>, task: Task) -> Option<String> {
    metric_of(task, item.string()?).map_or_else(
        |error| {
            let help = match &error.nearest {
                Some(nearest) => format!("did you mean \"{nearest}\"?"),
                None => "`driftline evaluate` shows every metric of a task".to_owned(),
            };
            item.unfit(format!("{} is no metric of a {task} model", quoted(&error.name)), help)
        },
        Some,
    )
}

/// The windows, each made of whole panes of the model.
fn windows(
    table: &Table<'_>,
    default: Vec<window::WindowSettings>,
    drift: Option<&window::Settings>,
) -> Option<Vec<window::WindowSettings>> {
    let windows = table.or("windows", default, window_list)?;
    let Some(drift) = drift else { return Some(windows) };
    let pane = drift.pane().as_micros().max(1);
    let is_odd = |window: &&window::WindowSettings| {
        window.length.as_micros() % pane != 0 || window.slide.as_micros() % pane != 0
    };
    if let Some(odd) = windows.iter().find(is_odd) {
        let message = format!(
            "performance windows of {} every {} are not made of the model's panes of {}",
            odd.length,
            odd.slide,
            drift.pane()
        );
        let help = "the pane is what divides all of `model.windows`: write `model.performance.windows` of its \
                    multiples";
        return match table.get("windows") {
            Some(item) => item.unfit(message, help.to_owned()),
            None => table.refuse(message, help.to_owned()),
        };
    }
    Some(windows)
}

fn limits(item: &Item<'_>, task: Task) -> Option<Vec<Limit>> {
    let tables = item.tables(&LIMIT);
    if !item.is_list() {
        return None;
    }
    if tables.len() > LIMITS_MAX {
        return item.refuse(format!("`{}` may have at most {LIMITS_MAX} limits", item.path), None);
    }
    all(tables.iter().map(|table| limit(table, task)))
}

fn limit(table: &Table<'_>, task: Task) -> Option<Limit> {
    let metric = table.need("metric", |item| metric(item, task));
    let number = |item: &Item<'_>| item.number(-1e12..=1e12);
    let below = table.maybe("below", number);
    let above = table.maybe("above", number);
    let bound = match (below?, above?) {
        (Some(least), None) => Bound::Below(least),
        (None, Some(most)) => Bound::Above(most),
        _ => {
            let help = "as in { metric = \"roc_auc\", below = 0.75 }; two limits are two tables";
            return table.refuse("a limit has either `below` or `above`".to_owned(), help.to_owned());
        }
    };
    Some(Limit { metric: metric?, bound })
}

// === value ===

fn value(item: &Item<'_>, table: &Table<'_>, settings: Option<&Settings>) -> Option<Value> {
    let money = |item: &Item<'_>| item.number(0.0..=MONEY_MAX);
    let costs = table.or("costs", Vec::new(), |item| costs(item, settings));
    let amount = table.maybe("amount", |item| {
        if let Some(settings) = settings {
            of_tasks(item, settings.task, &[Task::Binary, Task::Multiclass])?;
        }
        item.name()
    });
    let unit = |item: &Item<'_>| {
        if let Some(settings) = settings {
            of_tasks(item, settings.task, &[Task::Regression])?;
        }
        money(item)
    };
    let over = table.or("over", 0.0, unit);
    let under = table.or("under", 0.0, unit);
    let currency = table.need("currency", Item::name);
    let retrain_cost = table.or("retrain_cost", 0.0, money);
    let retrain_risk = table.or("retrain_risk", 0.0, money);
    let horizon = table.or("horizon", Span::from_secs(30 * DAY), |item| {
        item.span(Span::from_secs(DAY)..=Span::from_secs(3 * 366 * DAY))
    });
    let value = Value {
        costs: costs?,
        amount: amount?,
        over: over?,
        under: under?,
        currency: currency?,
        retrain_cost: retrain_cost?,
        retrain_risk: retrain_risk?,
        horizon: horizon?,
    };
    check_costs(item, &value, settings?.task).then_some(value)
}

/// A square of numbers, as large as there are classes.
fn costs(item: &Item<'_>, settings: Option<&Settings>) -> Option<Vec<Vec<f64>>> {
    let row = |row: &Item<'_>| all(row.list()?.iter().map(|cost| cost.number(-MONEY_MAX..=MONEY_MAX)));
    let costs = all(item.list()?.iter().map(row))?;
    let settings = settings?;
    of_tasks(item, settings.task, &[Task::Binary, Task::Multiclass])?;
    if settings.task == Task::Multiclass && settings.classes.is_empty() {
        let help = "write `model.performance.classes`: rows and columns of the costs are in its order";
        return item.unfit("costs of several classes need the classes' names".to_owned(), help.to_owned());
    }
    let classes = if settings.task == Task::Binary { 2 } else { settings.classes.len() };
    if costs.len() != classes || costs.iter().any(|row| row.len() != classes) {
        let help = "a row for each truth, and in it a number for each decision, as in [[0, 5], [1, 0]]";
        let message = format!("`{}` must be {classes} rows of {classes} numbers", item.path);
        return item.unfit(message, help.to_owned());
    }
    Some(costs)
}

/// Refuses costs by which all decisions are worth the same.
fn check_costs(item: &Item<'_>, value: &Value, task: Task) -> bool {
    let is_flat = |row: &Vec<f64>| row.windows(2).all(|pair| matches!(pair, [a, b] if a == b));
    let missing = match task {
        Task::Binary | Task::Multiclass => value.costs.iter().all(is_flat).then_some(
            "write `costs`, in which the decisions on a case do not all cost the same, as in [[0, 5], [1, 0]]",
        ),
        Task::Regression => (value.over == 0.0 && value.under == 0.0)
            .then_some("write `over` and `under`: what a unit too high and a unit too low cost"),
        Task::Ranking => Some("an order of rows has no costs here: leave `[model.value]` out"),
    };
    missing.is_none_or(|help| {
        let message = "by `model.value` no mistake of the model costs anything".to_owned();
        item.unfit::<()>(message, help.to_owned()).is_some()
    })
}

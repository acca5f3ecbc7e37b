//! `[[model]]`: a watched model, its windows, its budget and what an alarm leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::channel::Declared;
use super::document::{Item, Section, Table, closest, key, quoted};
use super::{Model, Training, performance};
use crate::event::Span;
use crate::event::decode::TimestampUnit;
use crate::{incident, quality, verdict, window};

/// The keys of `[[model]]`.
pub(super) static MODEL: Section = Section {
    path: "model",
    repeated: true,
    keys: &[
        key("name", "its name, as the events carry it"),
        key("baseline", "its baseline file; `{version}` in it stands for the model's version"),
        key("windows", "window lengths, as in [\"1h\", { length = \"7d\", slide = \"1d\" }]"),
        key("window_offset", "shifts where windows begin"),
        key("allowed_lateness", "how late an event may be and still be counted"),
        key("future_skew", "how far ahead of its arrival an event may be and still be believed"),
        key("idle_after", "when a partition that stays empty stops holding the others back"),
        key("false_alarms", "the false-alarm budget, as in \"1 per 30d\""),
        key("rows_min", "windows with fewer rows are not tested"),
        key("season", "whether hours or weekdays are compared with their own kind"),
        key("online_fdr", "an online false-discovery-rate procedure in place of the budget"),
        key("learn", "so long a new version's windows are taken to be healthy, and become the reference"),
        key("reference", "file of reference windows that a replay wrote"),
        key("floors", "smallest effects that may alarm"),
        key("early", "whether missing, wrongly typed and rejected records alarm before a window closes"),
        key("rejected_share_expected", "share of the records that may be rejected with nothing wrong"),
        key("open_after", "alarming windows in a row that open an incident"),
        key("resolve_after", "quiet windows in a row that resolve it"),
        key("critical_effect", "an effect of at least this is critical"),
        key("channels", "names of the channels that hear of incidents"),
        key("retrain", "when and where retraining is asked for"),
        key("segments_max", "most segments told apart"),
        key("versions_max", "most versions watched at once"),
        key("performance", "how it is measured whether the model is still right"),
        key("value", "what mistakes and retraining cost"),
        key("training", "column roles of the training file"),
    ],
};

/// The keys of a window that is written as a table.
pub(super) static WINDOW: Section = Section {
    path: "model.windows",
    repeated: false,
    keys: &[
        key("length", "length of the window"),
        key("slide", "distance between the starts of two windows; its length if left out"),
    ],
};

/// The keys of `floors`.
pub(super) static FLOORS: Section = Section {
    path: "model.floors",
    repeated: false,
    keys: &[
        key("cumulative_share", "difference of two cumulative shares"),
        key("share", "share of the rows that would have to move"),
        key("rate", "difference of two rates"),
        key("standard_deviations", "standard deviations of the training data"),
    ],
};

/// The keys of `online_fdr`.
pub(super) static ONLINE_FDR: Section = Section {
    path: "model.online_fdr",
    repeated: false,
    keys: &[
        key("procedure", "\"lord++\", \"saffron\", \"addis\", \"lond\" or \"e-lond\""),
        key("alpha", "share of the alarms that may be false"),
    ],
};

/// The keys of `retrain`.
pub(super) static RETRAIN: Section = Section {
    path: "model.retrain",
    repeated: false,
    keys: &[
        key("channel", "name of a channel of the kind \"retrain\""),
        key("after_windows", "alarming windows since the incident opened, before the call"),
        key("cooldown", "event time between two calls"),
        key("only_if_it_pays", "whether the loss must outweigh the cost of a retraining before the call"),
        key("per_week_max", "calls in any seven days of event time"),
    ],
};

/// The keys of `[model.training]`.
pub(super) static TRAINING: Section = Section {
    path: "model.training",
    repeated: false,
    keys: &[
        key("timestamp", "column of the event time"),
        key("timestamp_unit", "what a timestamp that is a number counts: \"s\", \"ms\" or \"us\" since 1970"),
        key("prediction", "column of the model's decision"),
        key("scores", "columns of the scores"),
        key("label", "column of what turned out to be true"),
        key("ignore", "columns that are not watched"),
        key("features", "the only features; all other columns if empty"),
        key("categorical", "columns of numbers that are names"),
        key("segment", "column by whose values the rows are also counted apart"),
    ],
};

const DAY: i64 = 86_400;
/// A window is closed and scored for each column, so this bounds the work of a slide.
const WINDOWS_MAX: usize = 16;
/// Shorter panes cost a row of counts a second.
const PANE_MIN: Span = Span::from_secs(1);
/// Panes of the longest window, all of which may be open at once.
const PANES_MAX: i64 = 10_000;

/// Reads one `[[model]]`.
pub(super) fn read(table: &Table<'_>, channels: &[Declared]) -> Option<Model> {
    let name = table.need("name", Item::name);
    let baseline = table.need("baseline", baseline);
    let windows = windows(table);
    let verdict = verdict(table, windows.as_ref());
    let incident = incident(table, channels);
    let early = early(table);
    let performance = performance::read(table, windows.as_ref());
    let segments_max = table.or("segments_max", 100, |item| item.size(1..=10_000));
    let versions_max = table.or("versions_max", 10, |item| item.size(1..=1_000));
    let reference = table.maybe("reference", Item::path);
    let training = table.or("training", Training::default(), |item| training(&item.table(&TRAINING)?));
    Some(Model {
        name: name?,
        baseline: baseline?,
        windows: windows?,
        verdict: verdict?,
        incident: incident?,
        early: early?,
        performance: performance?,
        segments_max: segments_max?,
        versions_max: versions_max?,
        reference: reference?,
        training: training?,
    })
}

fn baseline(item: &Item<'_>) -> Option<PathBuf> {
    let text = item.string()?;
    if text.replace("{version}", "").contains(['{', '}']) {
        let help = "the only placeholder is `{version}`, in lower case";
        return item.refuse(format!("`{}` has an unknown placeholder", item.path), help.to_owned());
    }
    item.path()
}

// === windows ===

fn windows(table: &Table<'_>) -> Option<window::Settings> {
    let default = window::Settings::default();
    let day = Span::from_secs(DAY);
    let windows = table.or("windows", default.windows.clone(), window_list);
    let offset =
        table.or("window_offset", default.offset, |item| item.span(Span::ZERO..=Span::from_secs(366 * DAY)));
    let allowed_lateness = table.or("allowed_lateness", default.allowed_lateness, |item| {
        item.span(Span::ZERO..=Span::from_secs(31 * DAY))
    });
    let future_skew = table
        .or("future_skew", default.future_skew, |item| item.span(Span::ZERO..=Span::from_secs(31 * DAY)));
    let idle_after = table.or("idle_after", default.idle_after, |item| item.span(Span::from_secs(1)..=day));
    Some(window::Settings {
        windows: windows?,
        offset: offset?,
        allowed_lateness: allowed_lateness?,
        future_skew: future_skew?,
        idle_after: idle_after?,
    })
}

pub(super) fn window_list(item: &Item<'_>) -> Option<Vec<window::WindowSettings>> {
    let items = item.list()?;
    if items.is_empty() || items.len() > WINDOWS_MAX {
        return item.refuse(format!("`{}` must name 1 to {WINDOWS_MAX} windows", item.path), None);
    }
    let read: Vec<Option<window::WindowSettings>> = items.iter().map(one_window).collect();
    let distinct = refuse_equal_lengths(&items, &read);
    let mut windows: Vec<_> = read.into_iter().collect::<Option<_>>()?;
    if !distinct {
        return None;
    }
    windows.sort_by_key(|window| window.length);
    check_pane(item, windows)
}

/// A window is told from the others by its length.
fn refuse_equal_lengths(items: &[Item<'_>], read: &[Option<window::WindowSettings>]) -> bool {
    let mut lengths: BTreeSet<Span> = BTreeSet::new();
    let mut distinct = true;
    for (item, window) in items.iter().zip(read) {
        let Some(window) = window else { continue };
        if !lengths.insert(window.length) {
            item.refuse::<()>(format!("a second window is {} long", window.length), None);
            distinct = false;
        }
    }
    distinct
}

fn one_window(item: &Item<'_>) -> Option<window::WindowSettings> {
    let range = PANE_MIN..=Span::from_secs(366 * DAY);
    if !item.is_table() {
        return item.span(range).map(|length| window::WindowSettings { length, slide: length });
    }
    let table = item.table(&WINDOW)?;
    let length = table.need("length", |item| item.span(range.clone()));
    let slide = table.maybe("slide", |item| item.span(range));
    let (length, slide) = (length?, slide?);
    let slide = slide.unwrap_or(length);
    if slide > length || length.as_micros() % slide.as_micros() != 0 {
        let help = "a window is made of whole slides, as in { length = \"7d\", slide = \"1d\" }";
        return item
            .refuse(format!("a length of {length} is not a multiple of the slide {slide}"), help.to_owned());
    }
    Some(window::WindowSettings { length, slide })
}

fn check_pane(item: &Item<'_>, windows: Vec<window::WindowSettings>) -> Option<Vec<window::WindowSettings>> {
    let settings = window::Settings { windows, ..window::Settings::default() };
    let pane = settings.pane();
    let longest = settings.windows.iter().map(|window| window.length).max().unwrap_or(Span::ZERO);
    let help = "choose lengths and slides that are multiples of one another, as hours and days are";
    if pane < PANE_MIN {
        let message =
            format!("these windows have no common part longer than {pane}, and a pane must last 1s");
        return item.refuse(message, help.to_owned());
    }
    let panes = longest.as_micros() / pane.as_micros().max(1);
    if panes > PANES_MAX {
        let message = format!(
            "these windows need panes of {pane}: {panes} for {longest}, over the limit of {PANES_MAX}"
        );
        return item.refuse(message, help.to_owned());
    }
    Some(settings.windows)
}

// === verdict ===

fn verdict(table: &Table<'_>, windows: Option<&window::Settings>) -> Option<verdict::Settings> {
    let default = verdict::Settings::default();
    let budget = table.or("false_alarms", default.budget, |item| {
        let budget = budget(item)?;
        check_budget(item, budget, windows).then_some(budget)
    });
    let floors = table.or("floors", default.floors, |item| floors(&item.table(&FLOORS)?, default.floors));
    let rows_min = table.or("rows_min", default.rows_min, |item| item.whole(1..=1_000_000_000));
    let season = table.or("season", verdict::SeasonSetting::Auto, season);
    let online_fdr = table.maybe("online_fdr", |item| online_fdr(&item.table(&ONLINE_FDR)?));
    let learn = table.maybe("learn", |item| item.span(Span::from_secs(1)..=Span::from_secs(3 * 366 * DAY)));
    Some(verdict::Settings {
        budget: budget?,
        floors: floors?,
        rows_min: rows_min?,
        season: season?,
        learn: learn?,
        online_fdr: online_fdr?,
    })
}

fn online_fdr(table: &Table<'_>) -> Option<verdict::OnlineFdr> {
    let procedure = table.need("procedure", |item| {
        let name = item.string()?;
        let known = verdict::online_fdr::Procedure::named(name);
        known.map_or_else(|error| item.unfit(error.to_string(), None), Some)
    });
    let alpha = table.or("alpha", 0.05, |item| item.number(1e-6..=0.5));
    procedure?.build(alpha?).ok()
}

fn season(item: &Item<'_>) -> Option<verdict::SeasonSetting> {
    let name = item.string()?;
    let all = verdict::SeasonSetting::ALL;
    all.iter().find(|(known, _)| *known == name).map(|(_, setting)| *setting).or_else(|| {
        let names = all.map(|(known, _)| quoted(known)).join(", ");
        let help = match closest(name, all.iter().map(|(known, _)| *known)) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("it is one of {names}"),
        };
        item.unfit(format!("there is no season {}", quoted(name)), help)
    })
}

fn budget(item: &Item<'_>) -> Option<verdict::Budget> {
    let parsed = item.string()?.split_once(" per ").and_then(|(alarms, period)| {
        let alarms = alarms.trim().parse::<f64>().ok()?;
        let period = period.trim().parse::<Span>().ok()?;
        let possible = alarms > 0.0 && alarms <= 1e6 && period >= Span::from_secs(1);
        possible.then_some(verdict::Budget { alarms, period })
    });
    parsed.or_else(|| {
        let help = "write a number above 0 and a time, as in \"1 per 30d\" or \"0.5 per 7d\"";
        item.refuse(format!("`{}` is not a false-alarm budget", item.path), help.to_owned())
    })
}

fn check_budget(item: &Item<'_>, budget: verdict::Budget, windows: Option<&window::Settings>) -> bool {
    let Some(settings) = windows else { return true };
    let lengths = settings.windows.len();
    let spent = settings
        .windows
        .iter()
        .find(|window| verdict::alpha_per_window(budget, window.slide, lengths) >= 1.0);
    let Some(window) = spent else { return true };
    let message = format!("this budget lets every window of {} alarm", window.length);
    item.refuse::<()>(message, "allow fewer false alarms, or use shorter windows".to_owned());
    false
}

fn floors(table: &Table<'_>, default: verdict::Floors) -> Option<verdict::Floors> {
    let share = |item: &Item<'_>| item.number(0.0..=1.0);
    let cumulative_share = table.or("cumulative_share", default.cumulative_share, share);
    let share_floor = table.or("share", default.share, share);
    let rate = table.or("rate", default.rate, share);
    let standard_deviations =
        table.or("standard_deviations", default.standard_deviations, |item| item.number(0.0..=100.0));
    Some(verdict::Floors {
        cumulative_share: cumulative_share?,
        share: share_floor?,
        rate: rate?,
        standard_deviations: standard_deviations?,
    })
}

// === early watch ===

fn early(table: &Table<'_>) -> Option<quality::Settings> {
    let default = quality::Settings::default();
    let early = table.or("early", default.early, Item::boolean);
    let rejected_share_expected =
        table.or("rejected_share_expected", default.rejected_share_expected, |item| item.number(0.0..=1.0));
    Some(quality::Settings { early: early?, rejected_share_expected: rejected_share_expected? })
}

// === incident ===

fn incident(table: &Table<'_>, channels: &[Declared]) -> Option<incident::Settings> {
    let open_after = table.or("open_after", 1, |item| item.small(1..=1_000));
    let resolve_after = table.or("resolve_after", 3, |item| item.small(1..=1_000));
    let critical_effect = table.or("critical_effect", 0.2, |item| item.number(0.0..=100.0));
    let heard = table.or("channels", Vec::new(), |item| incident_channels(item, channels));
    let retrain = table.maybe("retrain", |item| retrain(&item.table(&RETRAIN)?, channels, table));
    Some(incident::Settings {
        open_after: open_after?,
        resolve_after: resolve_after?,
        critical_effect: critical_effect?,
        channels: heard?,
        retrain: retrain?,
    })
}

fn incident_channels(item: &Item<'_>, channels: &[Declared]) -> Option<Vec<String>> {
    let items = item.list()?;
    let mut seen: Vec<&str> = Vec::new();
    let mut names = Vec::new();
    for item in &items {
        let Some(channel) = known_channel(item, channels) else {
            names.push(None);
            continue;
        };
        let name = if channel.kind.as_deref() == Some("retrain") {
            let help = "a retrain channel starts retraining: name it in `retrain.channel`";
            item.unfit(format!("\"{}\" cannot tell people of incidents", channel.name), help.to_owned())
        } else if seen.contains(&channel.name.as_str()) {
            item.refuse(format!("\"{}\" is named twice", channel.name), None)
        } else {
            Some(channel.name.clone())
        };
        seen.push(&channel.name);
        names.push(name);
    }
    names.into_iter().collect()
}

fn known_channel<'c>(item: &Item<'_>, channels: &'c [Declared]) -> Option<&'c Declared> {
    let name = item.string()?;
    if let Some(channel) = channels.iter().find(|channel| channel.name == name) {
        return Some(channel);
    }
    let meant = closest(name, channels.iter().map(|channel| channel.name.as_str()));
    let help = match meant {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => "each channel is a `[[channel]]` with this `name`".to_owned(),
    };
    item.unfit(format!("no `[[channel]]` is called {}", quoted(name)), help)
}

fn retrain(table: &Table<'_>, channels: &[Declared], model: &Table<'_>) -> Option<incident::RetrainSettings> {
    let channel = table.need("channel", |item| {
        let channel = known_channel(item, channels)?;
        match channel.kind.as_deref() {
            Some("retrain") | None => Some(channel.name.clone()),
            Some(kind) => item.unfit(
                format!("\"{}\" is a {kind} channel and cannot start retraining", channel.name),
                "name a channel of `kind = \"retrain\"`".to_owned(),
            ),
        }
    });
    let after_windows = table.or("after_windows", 1, |item| item.small(1..=1_000));
    let cooldown = table
        .or("cooldown", Span::from_secs(7 * DAY), |item| item.span(Span::ZERO..=Span::from_secs(366 * DAY)));
    let per_week_max = table.or("per_week_max", 1, |item| item.small(1..=1_000));
    let only_if_it_pays = table.or("only_if_it_pays", false, |item| {
        let asked = item.boolean()?;
        if asked && model.get("value").is_none() {
            let help = "write `[model.value]` with what mistakes and a retraining cost, or leave this out";
            return item.unfit("nothing says what a retraining would save".to_owned(), help.to_owned());
        }
        Some(asked)
    });
    Some(incident::RetrainSettings {
        channel: channel?,
        after_windows: after_windows?,
        cooldown: cooldown?,
        per_week_max: per_week_max?,
        only_if_it_pays: only_if_it_pays?,
    })
}

// === training ===

fn training(table: &Table<'_>) -> Option<Training> {
    let timestamp = table.maybe("timestamp", Item::name);
    let timestamp_unit = table.maybe("timestamp_unit", |item| {
        item.choice(&[
            ("s", TimestampUnit::Seconds),
            ("ms", TimestampUnit::Milliseconds),
            ("us", TimestampUnit::Microseconds),
        ])
    });
    let prediction = table.maybe("prediction", Item::name);
    let scores = table.or("scores", Vec::new(), Item::names);
    let label = table.maybe("label", Item::name);
    let ignore = table.or("ignore", Vec::new(), Item::names);
    let features = table.or("features", Vec::new(), Item::names);
    let categorical = table.or("categorical", Vec::new(), Item::names);
    let segment = table.maybe("segment", |item| segment(item, table));
    let one_role_each = check_roles(table);
    let training = Training {
        timestamp: timestamp?,
        timestamp_unit: timestamp_unit?,
        prediction: prediction?,
        scores: scores?,
        label: label?,
        ignore: ignore?,
        features: features?,
        categorical: categorical?,
        segment: segment?,
    };
    one_role_each.then_some(training)
}

/// The segment column may have any role but the timestamp's, of which every value would be a segment.
fn segment(item: &Item<'_>, table: &Table<'_>) -> Option<String> {
    let column = item.name()?;
    if table.get("timestamp").and_then(|timestamp| timestamp.as_str()) == Some(column.as_str()) {
        let message = format!("the column {} is in `timestamp` and in `segment`", quoted(&column));
        return item.refuse(message, "name a column of few values".to_owned());
    }
    Some(column)
}

/// A column has one role. `categorical` and `segment` are none: they say how a column is counted.
fn check_roles(table: &Table<'_>) -> bool {
    let mut role_of: BTreeMap<&str, &'static str> = BTreeMap::new();
    let mut right = true;
    for role in ["timestamp", "prediction", "scores", "label", "ignore", "features"] {
        let Some(item) = table.get(role) else { continue };
        let items = if item.is_list() { item.list().unwrap_or_default() } else { vec![item] };
        for item in items {
            let Some(column) = item.as_str() else { continue };
            if let Some(other) = role_of.insert(column, role) {
                let message = format!("the column {} is in `{other}` and in `{role}`", quoted(column));
                item.refuse::<()>(message, "a column has one role".to_owned());
                right = false;
            }
        }
    }
    right
}

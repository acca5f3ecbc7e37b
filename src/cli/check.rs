//! `driftline check`: says what would run with a configuration, or every mistake in it.
//!
//! Place in the flow: reads the file as the service does, and starts nothing.

use std::fmt::{self, Write as _};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{blind_spots, measured};
use crate::app::plan_of;
use crate::baseline::Baseline;
use crate::config::{self, Config, ConfigErrors, Model};
use crate::event::Span;
use crate::event::decode::{FeatureMapping, Field, Mapping, TimestampUnit};
use crate::monitor::{ModelPlan, ModelSettings, Plan};
use crate::notify::ChannelSettings;
use crate::source::{KafkaSettings, OffsetReset, Stream};
use crate::verdict::alpha_per_window;

/// Exit code when the file is right.
const RIGHT: u8 = 0;
/// Exit code when the operator has to mend something.
const MISTAKES: u8 = 2;
/// Baseline files listed for a pattern; more are counted only.
const FILES_SHOWN: usize = 10;
/// Directory entries looked at for baselines of a pattern.
const FILES_SEEN_MAX: usize = 10_000;

/// Checks a configuration file and returns the exit code: 0, or 2 if there are mistakes.
///
/// What would run goes to `out`, mistakes to `err`. With `json` both go to `out` as one object:
/// `{"ok":true,"config","warnings","service","kafka","streams","models","channels"}` or
/// `{"ok":false,"errors":[{"message","file","line","column","help"}]}`.
///
/// # Errors
/// When `out` or `err` cannot be written.
pub fn run(config: &Path, json: bool, out: &mut dyn Write, err: &mut dyn Write) -> std::io::Result<u8> {
    let read = match config::load(config) {
        Ok(read) => read,
        Err(errors) if json => return writeln!(out, "{}", errors_as_json(&errors)).map(|()| MISTAKES),
        Err(errors) => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            err.write_all(errors.render(colour).as_bytes())?;
            return Ok(MISTAKES);
        }
    };
    let mut broken = broken_baselines(&read);
    let plan = match plan_of(&read) {
        Ok(plan) if broken.is_empty() => plan,
        planned => {
            broken.extend(planned.err());
            return tell_broken(&broken, config, json, out, err);
        }
    };
    if json {
        return writeln!(out, "{}", right_as_json(&read, &plan)).map(|()| RIGHT);
    }
    out.write_all(summary(config, &read, &plan).as_bytes())?;
    Ok(RIGHT)
}

/// What is wrong with the baseline files that all versions of a model share.
fn broken_baselines(config: &Config) -> Vec<String> {
    let shared = config.models.iter().filter(|model| model.baseline_pattern().is_none());
    shared
        .filter_map(|model| {
            let error = Baseline::read(&model.baseline).err()?;
            Some(format!("the baseline of model \"{}\" cannot be used: {error}", model.name))
        })
        .collect()
}

fn tell_broken(
    broken: &[String],
    config: &Path,
    json: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> std::io::Result<u8> {
    if json {
        let file = config.display().to_string();
        let errors: Vec<Value> = broken
            .iter()
            .map(|message| json!({"message": message, "file": file, "line": null, "column": null, "help": null}))
            .collect();
        writeln!(out, "{}", json!({"ok": false, "errors": errors}))?;
    } else {
        for message in broken {
            writeln!(err, "  x {message}\n")?;
        }
        let count =
            if broken.len() == 1 { "1 mistake".to_owned() } else { format!("{} mistakes", broken.len()) };
        writeln!(err, "{count} in {}", config.display())?;
    }
    Ok(MISTAKES)
}

// === for programs ===

fn errors_as_json(errors: &ConfigErrors) -> Value {
    let list: Vec<Value> = errors
        .mistakes()
        .iter()
        .map(|mistake| {
            json!({
                "message": mistake.message,
                "file": errors.file(),
                "line": mistake.line,
                "column": mistake.column,
                "help": mistake.help,
            })
        })
        .collect();
    json!({ "ok": false, "errors": list })
}

fn right_as_json(config: &Config, plan: &Plan) -> Value {
    let mut value = config::describe(config);
    let mut warnings = config.warnings.clone();
    if let Some(models) = value.get_mut("models").and_then(Value::as_array_mut) {
        for ((described, model), plan) in models.iter_mut().zip(&config.models).zip(plan.models()) {
            extend_model(described, config, model, &plan.settings);
            warnings.extend(extend_performance(described, config, model, &plan.settings));
        }
    }
    if let Value::Object(members) = &mut value {
        members.insert("ok".to_owned(), json!(true));
        members.insert("config".to_owned(), json!(config.id));
        members.insert("warnings".to_owned(), json!(warnings));
    }
    value
}

/// Adds what follows from a model's settings: the pane, each window's share of the budget, its files.
fn extend_model(described: &mut Value, config: &Config, model: &Model, settings: &ModelSettings) {
    let windows: Vec<Value> = model
        .windows
        .windows
        .iter()
        .map(|window| json!({ "length": window.length, "slide": window.slide, "alpha": alpha(settings, window.slide) }))
        .collect();
    let found = baselines_found(config, model);
    if let Value::Object(members) = described {
        members.insert("windows".to_owned(), Value::Array(windows));
        members.insert("pane".to_owned(), json!(model.windows.pane()));
        members.insert("blind_spots".to_owned(), json!(blind_spots::tables(model, settings, &found)));
        members.insert("baselines_found".to_owned(), json!(found));
    }
}

/// Adds what is measured and against what, and gives what keeps it from being measured.
fn extend_performance(
    described: &mut Value,
    config: &Config,
    model: &Model,
    settings: &ModelSettings,
) -> Vec<String> {
    let found = measured::find(model, settings, &baselines_found(config, model));
    measured::extend(described, settings, &found);
    measured::warnings(config, model, &found)
}

fn alpha(settings: &ModelSettings, slide: Span) -> f64 {
    alpha_per_window(settings.verdict.budget, slide, settings.budget_parts())
}

// === for people ===

fn summary(path: &Path, config: &Config, plan: &Plan) -> String {
    let mut page = Page::default();
    page.line(format_args!(
        "{}: no mistakes ({}, {}, {})",
        path.display(),
        counted(config.models.len(), "model"),
        counted(config.streams.len(), "stream"),
        counted(config.channels.len(), "channel"),
    ));
    page.line(format_args!("configuration {}", config.id));
    for warning in &config.warnings {
        page.line(format_args!("warning: {warning}"));
    }
    let measured = |(model, plan): (&Model, &ModelPlan)| {
        measured::find(model, &plan.settings, &baselines_found(config, model))
    };
    let outcomes: Vec<Vec<measured::Found>> = config.models.iter().zip(plan.models()).map(measured).collect();
    for (model, found) in config.models.iter().zip(&outcomes) {
        for warning in measured::warnings(config, model, found) {
            page.line(format_args!("warning: {warning}"));
        }
    }
    // What may be secret is taken from the description, where it is redacted already.
    let described = config::describe(config);
    service(&mut page, config);
    kafka(&mut page, config, &described);
    config.streams.iter().for_each(|item| stream(&mut page, item));
    for ((item, plan), found) in config.models.iter().zip(plan.models()).zip(&outcomes) {
        model(&mut page, config, item, &plan.settings);
        for (name, said) in measured::entries(&plan.settings, found) {
            page.entry(name, said);
        }
    }
    let channels = described.get("channels").and_then(Value::as_array).into_iter().flatten();
    config.channels.iter().zip(channels).for_each(|(item, described)| channel(&mut page, item, described));
    page.text
}

/// Text in two columns under headings.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
    }

    fn heading(&mut self, heading: fmt::Arguments<'_>) {
        self.line(format_args!("\n{heading}"));
    }

    fn entry(&mut self, name: &str, value: impl fmt::Display) {
        self.line(format_args!("  {name:<18} {value}"));
    }

    fn optional(&mut self, name: &str, value: Option<impl fmt::Display>) {
        if let Some(value) = value {
            self.entry(name, value);
        }
    }
}

fn counted<N: fmt::Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    let plural = if number == N::from(1) { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

fn service(page: &mut Page, config: &Config) {
    let service = &config.service;
    page.heading(format_args!("service"));
    page.entry("data_dir", service.data_dir.display());
    page.entry("listen", format_args!("http://{}", service.listen));
    page.entry("commit_interval", format_args!("{:?}", service.commit_interval));
    page.entry("workers", service.workers);
    page.entry("history", service.history);
    page.entry("dead_letters_max", service.dead_letters_max);
}

fn kafka(page: &mut Page, config: &Config, described: &Value) {
    let Some(KafkaSettings { brokers, group, offset_reset, .. }) = &config.kafka else {
        page.heading(format_args!("kafka: none, so only files can be replayed"));
        return;
    };
    page.heading(format_args!("kafka"));
    page.entry("brokers", brokers);
    page.entry("group", group);
    page.entry(
        "offset_reset",
        match offset_reset {
            OffsetReset::Earliest => "earliest: a partition that was never read is read from its start",
            OffsetReset::Latest => "latest: of a partition that was never read only new records are read",
            OffsetReset::Error => "error: a partition that was never read stops the service",
        },
    );
    for (name, value) in members(described.pointer("/kafka/options")) {
        page.entry("option", format_args!("{name} = {}", with_state(value)));
    }
}

/// The members of a described object whose values are texts.
fn members(value: Option<&Value>) -> impl Iterator<Item = (&str, &str)> {
    let members = value.and_then(Value::as_object).into_iter().flatten();
    members.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
}

/// A described value; of a reference it is said that there is a value behind it, which loading made sure of.
fn with_state(value: &str) -> String {
    let is_reference = value.starts_with("env:") || value.starts_with("file:");
    if is_reference { format!("{value} (set)") } else { value.to_owned() }
}

fn stream(page: &mut Page, stream: &Stream) {
    let Stream { topic, format, mapping, limits } = stream;
    page.heading(format_args!("stream {topic}"));
    page.entry(
        "format",
        format_args!(
            "{format}, records up to {} and {} levels deep",
            bytes(limits.bytes_max),
            limits.depth_max
        ),
    );
    page.entry("model", field(&mapping.model));
    page.optional("version", mapping.version.as_ref().map(field));
    page.entry("timestamp", format_args!("{} ({})", mapping.timestamp, unit(mapping.timestamp_unit)));
    page.optional("id", mapping.id.as_ref());
    columns(page, mapping);
    page.optional("latency_ms", mapping.latency_ms.as_ref());
    page.optional("segment", mapping.segment.as_ref());
}

fn columns(page: &mut Page, mapping: &Mapping) {
    match &mapping.features {
        FeatureMapping::None => {}
        FeatureMapping::Object(pointer) if pointer.is_empty() => {
            page.entry("features", "the members of the record that the baseline names");
        }
        FeatureMapping::Object(pointer) => {
            page.entry("features", format_args!("the members of {pointer} that the baseline names"));
        }
        FeatureMapping::Listed(pointers) => {
            for (name, pointer) in pointers {
                page.entry("feature", format_args!("{name} at {pointer}"));
            }
        }
    }
    page.optional("prediction", mapping.prediction.as_ref());
    for (name, pointer) in &mapping.scores {
        page.entry("score", format_args!("{name} at {pointer}"));
    }
    page.optional("label", mapping.label.as_ref());
}

fn field(field: &Field) -> String {
    match field {
        Field::Constant(value) => format!("\"{}\" for every record", value.escape_debug()),
        Field::Pointer(pointer) => format!("{pointer} of each record"),
    }
}

fn unit(unit: TimestampUnit) -> &'static str {
    match unit {
        TimestampUnit::Seconds => "seconds since 1970",
        TimestampUnit::Milliseconds => "milliseconds since 1970",
        TimestampUnit::Microseconds => "microseconds since 1970",
        TimestampUnit::Rfc3339 => "RFC 3339",
    }
}

fn bytes(bytes: usize) -> String {
    const UNITS: [(usize, &str); 2] = [(1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.into_iter().find(|(size, _)| bytes >= *size && bytes.is_multiple_of(*size)) {
        Some((size, name)) => format!("{} {name}", bytes / size),
        None => format!("{bytes} bytes"),
    }
}

fn model(page: &mut Page, config: &Config, model: &Model, settings: &ModelSettings) {
    page.heading(format_args!("model {}", model.name));
    baselines(page, config, model);
    windows(page, settings);
    let floors = model.verdict.floors;
    page.entry(
        "floors",
        format_args!(
            "cumulative share {}, share {}, rate {}, standard deviations {}",
            floors.cumulative_share, floors.share, floors.rate, floors.standard_deviations
        ),
    );
    page.entry("rows_min", format_args!("{}, windows with fewer are not tested", model.verdict.rows_min));
    page.entry("early", early(settings));
    incident(page, model);
    page.entry(
        "limits",
        format_args!(
            "{}, {}",
            counted(model.segments_max, "segment"),
            counted(model.versions_max, "version")
        ),
    );
    let tables = blind_spots::tables(model, settings, &baselines_found(config, model));
    if !tables.is_empty() {
        let mut label = "season";
        for line in blind_spots::seasons(&tables) {
            page.entry(label, line.strip_prefix("season ").unwrap_or(line));
            label = "";
        }
        let mut label = "calibration";
        if model.verdict.online_fdr.is_some() {
            page.entry(label, "none: `online_fdr` decides, and alarms are uncalibrated");
        } else {
            for line in blind_spots::calibration(&tables) {
                page.entry(label, line);
                label = "";
            }
        }
        page.entry("blind_spots", "the smallest changes that 4 windows of 5 show");
        blind_spots::lines(&tables).iter().for_each(|line| page.line(format_args!("    {line}")));
    }
}

fn baselines(page: &mut Page, config: &Config, model: &Model) {
    page.entry("baseline", model.baseline.display());
    if model.baseline_pattern().is_none() {
        return;
    }
    let found = baselines_found(config, model);
    if found.is_empty() {
        page.entry("", "no such file yet; looked for again when a version is first seen");
    }
    for path in found.iter().take(FILES_SHOWN) {
        page.entry("", format_args!("found {}", path.display()));
    }
    if let Some(more) = found.len().checked_sub(FILES_SHOWN).filter(|more| *more > 0) {
        page.entry("", format_args!("and {more} more"));
    }
}

fn windows(page: &mut Page, model: &ModelSettings) {
    let settings = &model.windows;
    let budget = model.verdict.budget;
    let lengths = settings.windows.len();
    page.entry("windows", format_args!("{} from panes of {}", counted(lengths, "length"), settings.pane()));
    for window in &settings.windows {
        let kind = if window.slide == window.length { "tumbling" } else { "sliding" };
        let length = window.length.to_string();
        let every = format!("every {}", window.slide);
        let alpha = alpha(model, window.slide);
        page.entry("", format_args!("{length:<6} {kind:<8} {every:<10} each {alpha:.2e} of the budget"));
    }
    page.entry(
        "false_alarms",
        format_args!(
            "{} per {}, over all columns, segments and lengths; {:.3} for each length",
            budget.alarms,
            budget.period,
            budget.alarms / model.budget_parts().max(1) as f64
        ),
    );
    if let Some(procedure) = &model.verdict.online_fdr {
        let (name, alpha) = (procedure.procedure().name, procedure.alpha());
        let said =
            format!("{name}: a share of at most {alpha} of the alarms is false, in place of the budget");
        page.entry("online_fdr", said);
    }
    if settings.offset != Span::ZERO {
        page.entry("window_offset", settings.offset);
    }
    page.entry("allowed_lateness", settings.allowed_lateness);
    page.entry("future_skew", settings.future_skew);
    page.entry("idle_after", settings.idle_after);
}

/// What the early watch does.
fn early(model: &ModelSettings) -> String {
    let Some(ticks) = model.early.ticks(&model.windows) else {
        let why = if model.early.early { "the shortest window is as fast" } else { "early = false" };
        return format!("off: {why}");
    };
    format!(
        "missing, wrongly typed and rejected (over {}) records alarm per {} of event time; {:.3} of the budget",
        model.early.rejected_share_expected,
        ticks.length(),
        model.verdict.budget.alarms / model.budget_parts().max(1) as f64
    )
}

fn incident(page: &mut Page, model: &Model) {
    let incident = &model.incident;
    page.entry("open_after", format_args!("{} in a row", counted(incident.open_after, "alarming window")));
    page.entry("resolve_after", format_args!("{} in a row", counted(incident.resolve_after, "quiet window")));
    page.entry("critical_effect", incident.critical_effect);
    let channels =
        if incident.channels.is_empty() { "none".to_owned() } else { incident.channels.join(", ") };
    page.entry("channels", channels);
    if let Some(retrain) = &incident.retrain {
        page.entry(
            "retrain",
            format_args!(
                "through {} after {}, not again within {}, at most {} in 7 days",
                retrain.channel,
                counted(retrain.after_windows, "alarming window"),
                retrain.cooldown,
                retrain.per_week_max
            ),
        );
    }
}

fn channel(page: &mut Page, channel: &ChannelSettings, described: &Value) {
    page.heading(format_args!("channel {} ({})", channel.name, channel.kind));
    page.optional("url", described.get("url").and_then(Value::as_str).map(with_state));
    let secrets = described.get("secrets").and_then(Value::as_array).into_iter().flatten();
    for reference in secrets.filter_map(Value::as_str) {
        let name = if channel.kind == "pagerduty" { "routing_key" } else { "signing_secret" };
        page.entry(name, with_state(reference));
    }
    for (name, value) in members(described.get("headers")) {
        page.entry("header", format_args!("{name}: {}", with_state(value)));
    }
    page.optional("link_base", channel.link_base.as_ref());
    page.entry(
        "delivery",
        format_args!("{}, {:?} each", counted(channel.attempts_max, "attempt"), channel.timeout),
    );
}

// === baselines ===

/// The baseline files of a model that are there: the ones its streams need, and those that fit its pattern.
fn baselines_found(config: &Config, model: &Model) -> Vec<PathBuf> {
    let mut found = model.baselines_expected(&config.streams);
    found.retain(|path| path.is_file());
    found.extend(matching_files(model).unwrap_or_default());
    found.into_iter().collect()
}

/// Files beside the pattern whose names fit it. A pattern with the version in a directory is not searched.
fn matching_files(model: &Model) -> Option<Vec<PathBuf>> {
    let pattern = Path::new(model.baseline_pattern()?);
    let (before, after) = pattern.file_name()?.to_str()?.split_once("{version}")?;
    let directory =
        pattern.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(directory).ok()?.take(FILES_SEEN_MAX).flatten();
    let fits = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        let version = name.and_then(|name| name.strip_prefix(before)?.strip_suffix(after));
        version.is_some_and(|version| model.baseline_of(Some(version)).is_some_and(|path| path.is_file()))
    };
    Some(entries.map(|entry| entry.path()).filter(fits).collect())
}

//! `driftline replay`: what would have been alerted, from files of recorded events.
//!
//! The same pipeline, monitor and verdicts as `run`; nothing is stored and nothing is sent.
//!
//! Each file is a partition of the topic it belongs to. Where performance is measured, several files are read
//! side by side, always the one that is furthest behind in event time, so that labels meet the predictions of
//! their time and windows are looked at as they would have been: `files.rs` does that. Windows are looked at
//! after a batch of records and not within one, so a revision may hold some labels more than it would have held
//! live; what a window comes to in the end is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use crate::app::library::Library;
use crate::app::pipeline::{Came, Pipeline};
use crate::app::{SystemClock, plan_of, read_baseline};
use crate::config::Config;
use crate::event::{Clock, Origin, Span, Timestamp};
use crate::incident::{Incident, Notification, NotificationKind, Status};
use crate::monitor::{ClosedWindow, Commit, Monitor, PerformanceWindow, Restored};
use crate::source::SourceEvent;
use crate::verdict::{Collected, Verdict};

use self::files::Files;
use super::Failure;

mod files;

/// Seconds between two sightings of an ended file.
const SIGHTING_SECS: i64 = 5;

/// Longer than any recording.
const EVER: Span = Span::from_secs(1_000 * 366 * 86_400);

/// What to replay.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration; its `[kafka]` section is not needed.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Files of events, one JSON object a line, plain or `.gz`; `-` for standard input. Each is one partition.
    /// With several streams write `TOPIC=FILE`.
    #[arg(required = true, value_name = "EVENTS")]
    pub events: Vec<PathBuf>,
    /// The stream of files that name none; not needed if there is only one.
    #[arg(long)]
    pub topic: Option<String>,
    /// Writes the windows of the replay to this file, for `reference` in the configuration: what is usual is
    /// then known from them. They are to be weeks in which nothing was wrong. Only for a configuration with
    /// one model, whose baseline has no timestamps of its own.
    #[arg(long, value_name = "FILE")]
    pub reference_out: Option<PathBuf>,
    /// One JSON object a line: windows, verdicts, incidents, notifications, and a summary at the end.
    #[arg(long)]
    pub json: bool,
}

/// Counts of a replay.
#[derive(Debug, Default, Serialize)]
struct Tally {
    events: BTreeMap<&'static str, u64>,
    windows: u64,
    alarms: u64,
    incidents_opened: u64,
    incidents_resolved: u64,
    notifications: u64,
    panes_open: u64,
    performance_revisions: u64,
    performance_judged: u64,
    performance_alarms: u64,
    /// What became of predictions and labels, by outcome.
    joined: BTreeMap<&'static str, u64>,
}

/// Runs the events through the configuration.
///
/// # Errors
/// [`Failure`] when a baseline or a file cannot be read, or the output cannot be written.
pub fn run(args: &Args, config: &Config, out: &mut dyn Write) -> Result<(), Failure> {
    let mut files = Files::of(args, config)?;
    let config = &collecting(args, config)?;
    let plan = plan_of(config).map_err(Failure::operator)?;
    let library =
        Library::open(plan, config.models.clone(), Box::new(read_baseline)).map_err(Failure::operator)?;
    let library = Arc::new(library);
    let (monitor, _) =
        Monitor::restore(library.plan(), Restored::default(), &|_| None).map_err(Failure::other)?;
    let mut pipeline = Pipeline::start(monitor, library, config.service.workers)
        .map_err(|error| Failure::other(error.to_string()))?;
    let collected = args.reference_out.as_ref().map(|_| Collected::default());
    let mut report = Report { json: args.json, out, tally: Tally::default(), collected };
    // All partitions must be known before the first is read: an unread one holds the watermark back.
    pipeline.monitor().assign(files.origins().map(|origin| (origin.clone(), 0)));
    // Every file is read to its end and stays empty: a short one stops holding the longer ones back, as a
    // partition without records would.
    let quiet = config.models.iter().map(|model| model.windows.idle_after).max().unwrap_or(Span::ZERO);
    while let Some(event) = files.next(pipeline.monitor(), config)? {
        let ended = match &event {
            SourceEvent::AtEnd(origin, _) => Some(origin.clone()),
            _ => None,
        };
        step(&mut pipeline, event, &mut report)?;
        if files.is_by_time() {
            drain(&mut pipeline, &mut report)?;
            if let Some(ended) = ended {
                fall_silent(&mut pipeline, quiet, |origin| *origin == ended);
            }
        }
    }
    drain(&mut pipeline, &mut report)?;
    let now = fall_silent(&mut pipeline, quiet, |_| true);
    let rest = pipeline.monitor().advance(now).map_err(Failure::other)?;
    report.commit(&rest)?;
    report.tally.panes_open = pipeline.monitor().open_panes() as u64;
    if let (Some(path), Some(collected), Some(model)) =
        (&args.reference_out, &report.collected, config.models.first())
    {
        write_reference(path, &model.name, collected)?;
    }
    report.finish()
}

/// The configuration, or the one under which every window of the replay is learned from.
fn collecting(args: &Args, config: &Config) -> Result<Config, Failure> {
    let mut config = config.clone();
    if args.reference_out.is_some() {
        let [model] = config.models.as_mut_slice() else {
            return Err(Failure::operator(
                "--reference-out is for a configuration with one model".to_owned(),
            ));
        };
        model.verdict.learn = Some(EVER);
        model.reference = None;
    }
    Ok(config)
}

fn write_reference(path: &std::path::Path, model: &str, collected: &Collected) -> Result<(), Failure> {
    if collected.is_empty() {
        return Err(Failure::operator(
            "no window was learned: the baseline has reference windows of its own, or no window had enough rows"
                .to_owned(),
        ));
    }
    let failed = |why: String| Failure::other(format!("cannot write {}: {why}", path.display()));
    let file = std::fs::File::create(path).map_err(|error| failed(error.to_string()))?;
    let mut out = io::BufWriter::new(file);
    collected.write(model, &mut out).map_err(|error| failed(error.to_string()))?;
    out.into_inner()
        .map_err(|error| failed(error.to_string()))?
        .sync_all()
        .map_err(|error| failed(error.to_string()))
}

/// Partitions stay empty until they hold no other back any more; gives the time when that is.
fn fall_silent(pipeline: &mut Pipeline, quiet: Span, is_over: impl Fn(&Origin) -> bool) -> Timestamp {
    let now = SystemClock.now();
    let ends: Vec<(Origin, i64)> =
        pipeline.monitor().positions().map(|(origin, end)| (origin.clone(), end)).collect();
    for second in (0..=quiet.as_micros() / 1_000_000 + SIGHTING_SECS).step_by(SIGHTING_SECS as usize) {
        let seen = now + Span::from_secs(second);
        for (origin, end) in ends.iter().filter(|(origin, _)| is_over(origin)) {
            pipeline.monitor().at_end(origin, *end, seen);
        }
    }
    now + quiet
}

fn drain(pipeline: &mut Pipeline, report: &mut Report<'_>) -> Result<(), Failure> {
    while !pipeline.is_empty() {
        take(pipeline, report)?;
    }
    Ok(())
}

fn step(pipeline: &mut Pipeline, event: SourceEvent, report: &mut Report<'_>) -> Result<(), Failure> {
    while pipeline.is_full() {
        take(pipeline, report)?;
    }
    pipeline.put(event).map_err(Failure::other)
}

fn take(pipeline: &mut Pipeline, report: &mut Report<'_>) -> Result<(), Failure> {
    let now = SystemClock.now();
    if let Some(Came::Word(SourceEvent::Failed(why))) = pipeline.take(now).map_err(Failure::other)? {
        return Err(Failure::other(why));
    }
    if pipeline.monitor().is_due(now) || pipeline.monitor().is_look_due(now) {
        let commit = pipeline.monitor().advance(now).map_err(Failure::other)?;
        report.commit(&commit)?;
    }
    Ok(())
}

impl Tally {
    /// What is said of labels, on a line of its own; nothing where none are joined.
    fn of_performance(&self) -> String {
        if self.joined.is_empty() {
            return String::new();
        }
        let joined: Vec<String> = self.joined.iter().map(|(outcome, n)| format!("{n} {outcome}")).collect();
        format!(
            "\njoined: {}; {} windows of performance judged, {} alarmed, {} revisions",
            joined.join(", "),
            self.performance_judged,
            self.performance_alarms,
            self.performance_revisions,
        )
    }
}

/// What a verdict comes to, in a word.
fn mark(verdict: &Verdict) -> &'static str {
    if verdict.alarm {
        "ALARM"
    } else if verdict.quiet {
        "quiet"
    } else {
        "-"
    }
}

/// Tells what happened, as JSON lines or as text.
struct Report<'a> {
    json: bool,
    out: &'a mut dyn Write,
    tally: Tally,
    collected: Option<Collected>,
}

impl Report<'_> {
    fn commit(&mut self, commit: &Commit) -> Result<(), Failure> {
        if let Some(collected) = &mut self.collected {
            for learned in &commit.learned {
                collected.push(&learned.baseline, learned.length, learned.window.clone());
            }
        }
        for (_, _, outcome, n) in &commit.counted {
            *self.tally.events.entry(outcome).or_default() += n;
        }
        self.tally.windows += commit.windows.len() as u64;
        self.tally.alarms += commit.windows.iter().filter(|window| window.verdict.alarm).count() as u64;
        self.tally.notifications += commit.outbox.len() as u64;
        let judged = commit.performance.iter().filter_map(|window| window.verdict.as_ref());
        self.tally.performance_revisions += commit.performance.len() as u64;
        self.tally.performance_judged += judged.clone().count() as u64;
        self.tally.performance_alarms += judged.filter(|verdict| verdict.alarm).count() as u64;
        for (_, outcome, n) in &commit.joined {
            *self.tally.joined.entry(outcome).or_default() += n;
        }
        // What a window led to is told right after the windows that ended with it; the early watch speaks
        // between them.
        let windows = commit.windows.iter().map(|window| window.end);
        let windows = windows.chain(commit.performance.iter().map(|window| window.end));
        let ends: BTreeSet<Timestamp> =
            windows.chain(commit.transitions.iter().map(|incident| incident.updated_at)).collect();
        for end in ends {
            for window in commit.windows.iter().filter(|window| window.end == end) {
                self.window(window)?;
            }
            for window in commit.performance.iter().filter(|window| window.end == end) {
                self.performance(window)?;
            }
            for incident in commit.transitions.iter().filter(|incident| incident.updated_at == end) {
                self.incident(incident, &commit.outbox)?;
            }
        }
        Ok(())
    }

    fn window(&mut self, window: &ClosedWindow) -> Result<(), Failure> {
        let verdict = &window.verdict;
        if !self.json {
            let mark = mark(verdict);
            // The column that speaks loudest, by its test; not the one with the largest effect.
            let loudest = verdict
                .features
                .iter()
                .filter_map(|column| Some((column.p_value?, column)))
                .min_by(|(a, one), (b, other)| a.total_cmp(b).then(other.moved.total_cmp(&one.moved)));
            let top = loudest.map_or(String::new(), |(_, column)| {
                let test = column.test.as_deref().unwrap_or("-");
                format!("{} ({test}, largest difference {:.3})", column.name, column.moved)
            });
            let segment = verdict.segment.as_deref().map_or(String::new(), |segment| format!(" [{segment}]"));
            let text = format!(
                "{} .. {} {:>5} {}{segment} n={:<7} {mark:<5} p={} by {} {top}",
                verdict.window_start,
                verdict.window_end,
                window.key.length.to_string(),
                verdict.model,
                verdict.n,
                verdict.p_value.map_or("-".to_owned(), |p| format!("{p:.2e}")),
                if verdict.calibrated { "rank" } else { "i.i.d. rule" },
            );
            return self.text(&text);
        }
        let mut document = serde_json::to_value(window).map_err(|error| Failure::other(error.to_string()))?;
        let mut verdict =
            document.as_object_mut().and_then(|object| object.remove("verdict")).unwrap_or(Value::Null);
        tag(&mut document, "window");
        tag(&mut verdict, "verdict");
        self.line(&document, "")?;
        self.line(&verdict, "")
    }

    /// A revision of a window's performance; as text only the one that is judged.
    fn performance(&mut self, window: &PerformanceWindow) -> Result<(), Failure> {
        if self.json {
            let mut document =
                serde_json::to_value(window).map_err(|error| Failure::other(error.to_string()))?;
            tag(&mut document, "performance");
            return self.line(&document, "");
        }
        let Some(verdict) = &window.verdict else { return Ok(()) };
        let spoke = verdict.features.first();
        let segment = verdict.segment.as_deref().map_or(String::new(), |segment| format!(" [{segment}]"));
        let text = format!(
            "{} .. {} {:>5} {}{segment} labels={:<7} {:<5} p={} by {} {} {}",
            verdict.window_start,
            verdict.window_end,
            window.key.length.to_string(),
            verdict.model,
            verdict.n,
            mark(verdict),
            verdict.p_value.map_or("-".to_owned(), |p| format!("{p:.2e}")),
            match (spoke.and_then(|column| column.test.as_deref()), verdict.calibrated) {
                (Some("limit"), _) => "limit",
                (_, true) => "rank",
                (_, false) => "i.i.d. rule",
            },
            spoke.map_or("", |column| &column.name),
            spoke.and_then(|column| column.summary.as_deref()).unwrap_or("-"),
        );
        self.text(&text)
    }

    fn incident(&mut self, incident: &Incident, outbox: &[Notification]) -> Result<(), Failure> {
        self.tally.incidents_opened += u64::from(incident.status == Status::Open);
        self.tally.incidents_resolved += u64::from(incident.status == Status::Resolved);
        let names: Vec<&str> = incident.features.iter().map(|column| column.name.as_ref()).collect();
        let mut document =
            serde_json::to_value(incident).map_err(|error| Failure::other(error.to_string()))?;
        tag(&mut document, "incident");
        let status = match incident.status {
            Status::Open => "opens",
            Status::Updated => "changes",
            Status::Resolved => "is resolved",
        };
        let text =
            format!("  {} incident {} {status}: {}", incident.updated_at, incident.id, names.join(", "));
        self.line(&document, &text)?;
        let its = |sent: &&Notification| {
            sent.incident.id == incident.id && sent.incident.sequence == incident.sequence
        };
        for sent in outbox.iter().filter(its) {
            let line = json!({
                "type": "notification", "id": sent.id, "kind": sent.kind, "channel": sent.channel,
                "incident": sent.incident.id, "sequence": sent.incident.sequence,
            });
            let what = match sent.kind {
                NotificationKind::Opened => "that it opened",
                NotificationKind::Updated => "that it changed",
                NotificationKind::Resolved => "that it is over",
                NotificationKind::Retrain => "to retrain",
                NotificationKind::Test => "a trial",
            };
            self.line(&line, &format!("    would tell {} {what}", sent.channel))?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), Failure> {
        let mut document =
            serde_json::to_value(&self.tally).map_err(|error| Failure::other(error.to_string()))?;
        tag(&mut document, "summary");
        let tally = &self.tally;
        let counted = tally.events.get("counted").copied().unwrap_or(0);
        let set_aside: Vec<String> = tally
            .events
            .iter()
            .filter(|(outcome, _)| **outcome != "counted")
            .map(|(outcome, n)| format!("{n} {outcome}"))
            .collect();
        let text = format!(
            "{counted} events counted{}; {} windows closed, {} alarmed; {} incidents opened, {} resolved; {} panes still open",
            if set_aside.is_empty() {
                String::new()
            } else {
                format!(", set aside: {}", set_aside.join(", "))
            },
            tally.windows,
            tally.alarms,
            tally.incidents_opened,
            tally.incidents_resolved,
            tally.panes_open,
        );
        self.line(&document, &(text + &tally.of_performance()))?;
        self.out.flush().map_err(output)
    }

    fn line(&mut self, document: &Value, text: &str) -> Result<(), Failure> {
        if self.json { writeln!(self.out, "{document}").map_err(output) } else { self.text(text) }
    }

    fn text(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.out, "{text}").map_err(output)
    }
}

fn output(error: io::Error) -> Failure {
    Failure::output(&error)
}

fn tag(document: &mut Value, name: &str) {
    if let Some(object) = document.as_object_mut() {
        object.insert("type".to_owned(), Value::String(name.to_owned()));
    }
}

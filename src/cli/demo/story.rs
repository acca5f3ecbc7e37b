//! What the demo says while it runs, and the short story at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::receivers::Received;
use super::world::Sent;
use crate::cli::Failure;
use crate::event::Timestamp;
use crate::incident::{Incident, PerformanceEvidence, Status};

/// Lines of a Slack message that are shown, and characters of each.
const SLACK_LINES_MAX: usize = 26;
const LINE_CHARS_MAX: usize = 150;

/// The kinds of incidents that the story is about, in its order.
const KINDS: [&str; 2] = ["drift", "performance"];

/// Tells what happens and remembers what must be told at the end.
pub struct Story<'a> {
    out: &'a mut dyn Write,
    begun: Instant,
    changed: Option<Instant>,
    /// The first incident of each kind, as it opened and as it ended.
    incidents: BTreeMap<String, Told>,
    slack_alerts: usize,
    slack_resolutions: usize,
    /// What PagerDuty was called for, and whether it was told that it is over.
    pages: BTreeMap<String, bool>,
    call: Option<Instant>,
    retrained: Option<(u32, usize)>,
    reports: BTreeSet<PathBuf>,
    sent: Sent,
}

/// An incident, as the story has it.
struct Told {
    opened: (Instant, Incident),
    resolved: Option<Instant>,
}

impl<'a> Story<'a> {
    /// Begins now.
    pub fn begin(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            begun: Instant::now(),
            changed: None,
            incidents: BTreeMap::new(),
            slack_alerts: 0,
            slack_resolutions: 0,
            pages: BTreeMap::new(),
            call: None,
            retrained: None,
            reports: BTreeSet::new(),
            sent: Sent::default(),
        }
    }

    /// Says something, with the seconds since the beginning.
    pub fn tell(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.out, "{:>6.1}s  {text}", self.begun.elapsed().as_secs_f64()).map_err(Failure::other)?;
        self.out.flush().map_err(Failure::other)
    }

    /// The world changed.
    pub fn world_changed(&mut self, at: Timestamp, sent: u64) -> Result<(), Failure> {
        self.changed.get_or_insert_with(Instant::now);
        self.tell(&format!("the world changes at {at}, after {sent} events: the model does not know it yet"))
    }

    /// A new model went live.
    pub fn retrained(&mut self, version: u32, rows: usize, baseline: &str) -> Result<(), Failure> {
        self.retrained.get_or_insert((version, rows));
        self.tell(&format!(
            "trainer: version {version} is live, trained on {rows} recent applications whose outcome is known \
             (baseline {baseline})"
        ))
    }

    /// A report was written.
    pub fn reported(&mut self, path: &Path, sent: Sent) -> Result<(), Failure> {
        self.reports.insert(path.to_owned());
        self.sent = sent;
        self.tell(&format!("driftline report wrote {}", path.display()))
    }

    /// A receiver got something.
    pub fn heard(&mut self, received: &Received, now: Timestamp) -> Result<(), Failure> {
        match received {
            Received::Slack { headline, text } => self.heard_slack(headline, text, now),
            Received::PagerDuty { action, summary, dedup_key } => {
                let is_over = action == "resolve";
                self.pages.entry(dedup_key.clone()).and_modify(|over| *over |= is_over).or_insert(is_over);
                let key: String = dedup_key.chars().take(12).collect();
                self.tell(&format!("PagerDuty got: {action} {key}… {summary}"))
            }
            Received::Retrain { model, version, reason, idempotency_key } => {
                self.call.get_or_insert_with(Instant::now);
                self.tell(&format!(
                    "trainer got: retrain {model}, version {version} (key {idempotency_key}): {reason}"
                ))
            }
            Received::Incident(incident) => {
                self.remember(incident);
                Ok(())
            }
        }
    }

    fn heard_slack(&mut self, headline: &str, text: &[String], now: Timestamp) -> Result<(), Failure> {
        if headline.to_lowercase().contains("resolved") {
            self.slack_resolutions += 1;
        } else {
            self.slack_alerts += 1;
        }
        self.tell(&format!("Slack got (event time {now}):"))?;
        let lines = std::iter::once(headline).chain(text.iter().map(String::as_str));
        // Statistics are for those who doubt the words; here they would hide them.
        let is_shown = |line: &&str| !line.trim().is_empty() && !line.starts_with("effect ");
        let lines: Vec<&str> = lines.filter(is_shown).collect();
        for line in lines.iter().take(SLACK_LINES_MAX) {
            // Slack draws the marks; a terminal reads better without them.
            let plain: String = line.chars().filter(|c| !matches!(c, '*' | '`')).collect();
            let short: String = plain.chars().take(LINE_CHARS_MAX).collect();
            let more = if short.len() < plain.len() { "…" } else { "" };
            writeln!(self.out, "         | {short}{more}").map_err(Failure::other)?;
        }
        match lines.len().saturating_sub(SLACK_LINES_MAX) {
            0 => Ok(()),
            more => writeln!(self.out, "         | … and {more} lines more").map_err(Failure::other),
        }
    }

    fn remember(&mut self, incident: &Incident) {
        let now = Instant::now();
        match (incident.status, self.incidents.get_mut(&incident.kind)) {
            (Status::Resolved, Some(told)) if told.opened.1.id == incident.id => {
                told.resolved.get_or_insert(now);
            }
            (Status::Open, None) => {
                let told = Told { opened: (now, incident.clone()), resolved: None };
                self.incidents.insert(incident.kind.clone(), told);
            }
            _ => {}
        }
    }

    /// Whether everything that must be told has happened.
    pub fn is_complete(&self) -> bool {
        self.missing().is_empty()
    }

    /// What has not happened yet.
    pub fn missing(&self) -> String {
        let kinds = KINDS.len();
        let opened = |kind: &str| self.incidents.contains_key(kind);
        let resolved = |kind: &str| self.incidents.get(kind).is_some_and(|told| told.resolved.is_some());
        let all = [
            (opened("drift"), "the drift alarm"),
            (opened("performance"), "the performance alarm"),
            (self.slack_alerts >= kinds, "a Slack alert of each"),
            (self.pages.len() >= kinds, "a PagerDuty trigger of each"),
            (self.call.is_some(), "the retrain call"),
            (self.retrained.is_some(), "the new version"),
            (resolved("drift"), "the end of the drift incident"),
            (resolved("performance"), "the end of the performance incident"),
            (self.slack_resolutions >= kinds, "a Slack resolution of each"),
            (self.pages.values().all(|over| *over), "a PagerDuty resolve of every key"),
        ];
        all.into_iter().filter(|(happened, _)| !happened).map(|(_, what)| what).collect::<Vec<_>>().join(", ")
    }

    /// The short story.
    pub fn end(&mut self) -> Result<(), Failure> {
        let since = |at: Option<Instant>| match (at, self.changed) {
            (Some(at), Some(changed)) => {
                format!("{:>4.1} s", at.saturating_duration_since(changed).as_secs_f64())
            }
            _ => "-".to_owned(),
        };
        let (version, rows) = self.retrained.unwrap_or_default();
        let over = self.incidents.values().map(|told| told.resolved).max().flatten();
        let mut lines = vec![
            (self.call, "the trainer was called, because retraining pays".to_owned()),
            (
                over,
                format!(
                    "all was over: version {version}, trained on {rows} applications of the new world, \
                     brought both back"
                ),
            ),
        ];
        for told in self.incidents.values() {
            let (at, incident) = &told.opened;
            lines.push((Some(*at), alarm(incident)));
        }
        lines.sort_by_key(|(at, _)| *at);
        let mut text = "\nWhat happened\n  The world changed while credit version 1 was live.\n".to_owned();
        for (at, line) in lines {
            text += &format!("  {} later  {line}.\n", since(at));
        }
        text += &format!(
            "  {} predictions and {} labels were sent; {} labels were sent twice, {} belong to no prediction.\n",
            self.sent.predictions, self.sent.labels, self.sent.twice, self.sent.foreign,
        );
        if !self.reports.is_empty() {
            text += "\nReports, as they are mailed and printed: the case for retraining, and the end\n";
        }
        for path in &self.reports {
            text += &format!("  {}\n", path.display());
        }
        self.out.write_all(text.as_bytes()).map_err(Failure::other)
    }
}

/// What an alarm said.
fn alarm(incident: &Incident) -> String {
    let columns: Vec<&str> = incident.features.iter().take(3).map(|column| &*column.name).collect();
    let mut text = match incident.kind.as_str() {
        "performance" => "the performance alarm, from labels".to_owned(),
        kind => format!("the {kind} alarm, before any label: {}", columns.join(", ")),
    };
    let found = incident.performance.as_ref().map(figures);
    let kind = incident.diagnosis.as_ref().map(|found| found.kind.advice().to_owned());
    for more in found.into_iter().chain(kind) {
        text += &format!(";\n{:14}{more}", "");
    }
    text
}

/// The metric and the money of an alarm.
fn figures(found: &PerformanceEvidence) -> String {
    let metric = &found.metric;
    let ends = |low: Option<f64>, high: Option<f64>| match low.zip(high) {
        Some((low, high)) => format!(" ({low:.3} to {high:.3})"),
        None => String::new(),
    };
    let mut parts = Vec::new();
    if let Some(value) = metric.value {
        parts.push(format!("{} {value:.3}{}", metric.metric, ends(metric.low, metric.high)));
    }
    if let Some(estimate) = &metric.estimate {
        let ends = ends(estimate.low, estimate.high);
        parts.push(format!("estimated {} {:.3}{ends}", metric.metric, estimate.value));
    }
    parts.extend(metric.reference.map(|reference| format!("{reference:.3} in training")));
    if let Some(money) = &found.money {
        let a_day = |what: &str, loss: f64| format!("{what} of some {loss:.0} {} a day", money.currency);
        let realised = money.loss_per_day.map(|loss| a_day("a loss", loss.value));
        let estimated = money.estimated_loss_per_day.map(|loss| a_day("an estimated loss", loss.value));
        parts.extend(realised.or(estimated));
    }
    parts.join(", ")
}

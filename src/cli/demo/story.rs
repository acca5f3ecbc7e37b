//! What the demo says while it runs, and the short story at its end.

use std::io::Write;
use std::time::Instant;

use super::receivers::Received;
use crate::cli::Failure;
use crate::event::Timestamp;

/// Lines of a Slack message that are shown.
const SLACK_LINES_MAX: usize = 24;

/// Tells what happens and remembers what must be told at the end.
pub struct Story<'a> {
    out: &'a mut dyn Write,
    begun: Instant,
    changed: Option<(Instant, Timestamp)>,
    alert: Option<(Instant, String)>,
    paged: Option<String>,
    page: Option<String>,
    call: Option<(Instant, String)>,
    retrained: Option<(u32, usize)>,
    resolved: Option<(Instant, String)>,
    unpaged: bool,
}

impl<'a> Story<'a> {
    /// Begins now.
    pub fn begin(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            begun: Instant::now(),
            changed: None,
            alert: None,
            paged: None,
            page: None,
            call: None,
            retrained: None,
            resolved: None,
            unpaged: false,
        }
    }

    /// Says something, with the seconds since the beginning.
    pub fn tell(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.out, "{:>6.1}s  {text}", self.begun.elapsed().as_secs_f64()).map_err(Failure::other)?;
        self.out.flush().map_err(Failure::other)
    }

    /// The world changed.
    pub fn world_changed(&mut self, at: Timestamp, sent: u64) -> Result<(), Failure> {
        self.changed.get_or_insert((Instant::now(), at));
        self.tell(&format!("the world changes at {at}, after {sent} events: the model does not know it yet"))
    }

    /// A new model went live.
    pub fn retrained(&mut self, version: u32, rows: usize, baseline: &str) -> Result<(), Failure> {
        self.retrained.get_or_insert((version, rows));
        self.tell(&format!(
            "trainer: version {version} is live, trained on {rows} recent applications (baseline {baseline})"
        ))
    }

    /// A receiver got something.
    pub fn heard(&mut self, received: &Received, now: Timestamp) -> Result<(), Failure> {
        let at = Instant::now();
        match received {
            Received::Slack { headline, text } => {
                if headline.to_lowercase().contains("resolved") {
                    self.resolved.get_or_insert((at, text.join(" ")));
                } else {
                    self.alert.get_or_insert((at, headline.clone()));
                }
                self.tell(&format!("Slack got (event time {now}):"))?;
                let lines = std::iter::once(headline).chain(text);
                for line in lines.filter(|line| !line.trim().is_empty()).take(SLACK_LINES_MAX) {
                    // Slack draws the marks; a terminal reads better without them.
                    let plain: String = line.chars().filter(|c| !matches!(c, '*' | '`')).collect();
                    writeln!(self.out, "         | {plain}").map_err(Failure::other)?;
                }
                Ok(())
            }
            Received::PagerDuty { action, summary, dedup_key } => {
                if action == "resolve" {
                    self.unpaged |= self.paged.as_ref() == Some(dedup_key);
                } else {
                    self.paged.get_or_insert_with(|| dedup_key.clone());
                    self.page.get_or_insert_with(|| summary.clone());
                }
                let key: String = dedup_key.chars().take(12).collect();
                self.tell(&format!("PagerDuty got: {action} {key}… {summary}"))
            }
            Received::Retrain { model, version, idempotency_key } => {
                self.call.get_or_insert((at, idempotency_key.clone()));
                self.tell(&format!(
                    "trainer got: retrain {model}, version {version} drifts (key {idempotency_key})"
                ))
            }
        }
    }

    /// Whether everything that must be told has happened.
    pub fn is_complete(&self) -> bool {
        self.missing().is_empty()
    }

    /// What has not happened yet.
    pub fn missing(&self) -> String {
        let all = [
            (self.alert.is_some(), "the Slack alert"),
            (self.paged.is_some(), "the PagerDuty trigger"),
            (self.call.is_some(), "the retrain call"),
            (self.retrained.is_some(), "the new version"),
            (self.resolved.is_some(), "the Slack resolution"),
            (self.unpaged, "the PagerDuty resolve of the same key"),
        ];
        all.into_iter().filter(|(happened, _)| !happened).map(|(_, what)| what).collect::<Vec<_>>().join(", ")
    }

    /// The short story.
    pub fn end(&mut self) -> Result<(), Failure> {
        let since = |at: Option<Instant>| match (at, self.changed) {
            (Some(at), Some((changed, _))) => {
                format!("{:.1} s", at.saturating_duration_since(changed).as_secs_f64())
            }
            _ => "-".to_owned(),
        };
        let page = self.page.as_deref().unwrap_or_default();
        let (version, rows) = self.retrained.unwrap_or_default();
        let text = format!(
            "\nWhat happened\n  The world changed while credit version 1 was live. {} later Slack and PagerDuty said:\n  \
             \"{page}\"\n  \
             The trainer was called once, {} after the change. Version {version}, trained on {rows} applications of\n  \
             the new world, went live; its windows stayed quiet, so the incident was resolved {} after the\n  \
             change, in Slack and under the same key in PagerDuty.\n",
            since(self.alert.as_ref().map(|(at, _)| *at)),
            since(self.call.as_ref().map(|(at, _)| *at)),
            since(self.resolved.as_ref().map(|(at, _)| *at)),
        );
        self.out.write_all(text.as_bytes()).map_err(Failure::other)
    }
}

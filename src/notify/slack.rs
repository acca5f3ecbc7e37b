//! Slack incoming webhooks: a change of an incident as a Block Kit message.
//!
//! Place in the flow: a [`Channel`]. Pure. An incoming webhook can neither edit nor thread, so each change
//! is a message of its own, and the one that resolves says what it resolves.
//!
//! Invariants: at most 50 blocks, 150 characters in the header, 3,000 in a section, 2,000 in a field, and
//! at most [`MESSAGE_CHARS_MAX`] in the whole body (Slack refuses messages beyond about 13,200 characters
//! without documenting it). No text from outside can mention anyone, link, or format: it stands in a
//! `plain_text` object or between backticks, always with `&`, `<` and `>` escaped.

use serde_json::{Value, json};

use crate::event::Timestamp;
use crate::incident::{Incident, Notification, NotificationKind, Severity};
use crate::verdict::ColumnVerdict;

use super::text::{clip, clip_name, count, p_value, stretch};
use super::{Channel, ChannelSettings, Delivery, Request, Response, answer, figures, words};

/// Most characters of the JSON body.
const MESSAGE_CHARS_MAX: usize = 10_000;

/// Further segments that a message names.
const SEGMENTS_SHOWN: usize = 3;

/// Columns that are shown; a reader finds the rest behind the link.
const FEATURES_MAX: usize = 10;

const HEADER_CHARS_MAX: usize = 150;
const SECTION_CHARS_MAX: usize = 3_000;
const FIELD_CHARS_MAX: usize = 2_000;
const WORDS_CHARS_MAX: usize = 300;
/// Of all lines that say how the model does: less than a section holds, for they come with other blocks.
const FIGURES_CHARS_MAX: usize = 2_400;
/// Of the reason why an alarm is uncalibrated.
const WHY_CHARS_MAX: usize = 600;

/// What Slack's refusals mean and what mends them.
const REFUSALS: &[(&str, &str)] = &[
    ("no_service", "the webhook was removed or disabled: create a new one and change the URL"),
    ("no_team", "the workspace is gone: create a webhook in another one"),
    ("channel_is_archived", "the channel is archived: restore it or create a webhook for another one"),
    ("channel_not_found", "the channel is gone: create a webhook for another one"),
    ("action_prohibited", "an administrator forbade posting there"),
    ("invalid_token", "the URL is wrong: copy it again"),
];

/// Posts messages.
pub(super) struct Slack;

impl Channel for Slack {
    fn render(&self, notification: &Notification, settings: &ChannelSettings, _now: Timestamp) -> Request {
        // The details shrink until the message fits; without any column it always does.
        let body = (0..=FEATURES_MAX)
            .rev()
            .map(|features| message(notification, settings, features).to_string())
            .find(|body| body.chars().count() <= MESSAGE_CHARS_MAX)
            .unwrap_or_else(|| json!({"text": fallback(notification)}).to_string());
        Request {
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.into_bytes(),
        }
    }

    fn classify(&self, response: &Response) -> Delivery {
        match answer::by_status(response) {
            Delivery::Dead { reason } => {
                let hint = REFUSALS.iter().find(|(error, _)| reason.contains(error));
                let hint = hint.map(|(_, hint)| format!(" ({hint})")).unwrap_or_default();
                Delivery::Dead { reason: reason + &hint }
            }
            other => other,
        }
    }
}

fn message(notification: &Notification, settings: &ChannelSettings, features_max: usize) -> Value {
    let incident = &notification.incident;
    let headline = format!("{} {}", sign(notification), words::headline(notification));
    let mut blocks = vec![
        json!({"type": "header", "text": plain(&headline, HEADER_CHARS_MAX)}),
        json!({"type": "context", "elements": facts(notification)}),
    ];
    match notification.kind {
        NotificationKind::Resolved => {
            let lines = words::resolution(incident).join("\n");
            blocks.push(json!({"type": "section", "text": plain_lines(&lines, SECTION_CHARS_MAX)}));
        }
        NotificationKind::Test => {
            let text = "This is a trial: the figures below are made up, and nothing has drifted.";
            blocks.push(json!({"type": "section", "text": plain(text, SECTION_CHARS_MAX)}));
            blocks.extend(features(incident, features_max));
        }
        NotificationKind::Retrain => {
            let text = words::retrain_reason(incident);
            blocks.push(json!({"type": "section", "text": plain(&text, SECTION_CHARS_MAX)}));
        }
        NotificationKind::Opened | NotificationKind::Updated if words::is_performance(incident) => {
            blocks.push(performance(incident));
            if !incident.features.is_empty() {
                blocks.extend(features(incident, features_max));
            }
            blocks.extend(why_uncalibrated(incident));
        }
        NotificationKind::Opened | NotificationKind::Updated => {
            blocks.extend(features(incident, features_max));
            blocks.extend(performance_shortly(incident));
            blocks.extend(why_uncalibrated(incident));
        }
    }
    blocks.extend(foot(incident, settings));
    json!({"text": fallback(notification), "mrkdwn": false, "blocks": blocks})
}

/// A sign that is seen before anything is read.
fn sign(notification: &Notification) -> &'static str {
    match (notification.kind, notification.incident.severity) {
        (NotificationKind::Resolved, _) => "🟢",
        (NotificationKind::Test, _) => "🔵",
        (NotificationKind::Retrain, _) => "🔁",
        (_, Severity::Critical) => "🔴",
        (_, Severity::Warning) => "🟠",
    }
}

/// Which model, which window, how much, how sure. What is resolved has the figures of no window: the last
/// that alarmed may be of another version than the one that was quiet.
fn facts(notification: &Notification) -> Vec<Value> {
    let incident = &notification.incident;
    let is_over = notification.kind == NotificationKind::Resolved;
    let (version, window, severity) = match is_over {
        true => ("resolved by version", "last alarming window", "was"),
        false => ("version", "window", "severity"),
    };
    let mut facts = vec![mrkdwn(format!("model {}", code(&words::model(incident))))];
    if incident.version.is_some() {
        facts.push(mrkdwn(format!("{version} {}", code(&words::version(incident)))));
    }
    let stretch = stretch(incident.window_start, incident.window_end);
    let loud = words::severity(incident.severity).to_lowercase();
    facts.push(mrkdwn(format!("{window} {stretch}")));
    if !is_over {
        facts.push(mrkdwn(format!("n = {}", count(incident.n))));
    }
    facts.push(mrkdwn(format!("{severity} {loud}")));
    if let Some(segment) = &incident.segment {
        facts.push(mrkdwn(format!("segment {}", code(&clip_name(segment, words::NAME_CHARS_MAX)))));
    }
    let named = |segment: &&String| incident.segment.as_ref() != Some(*segment);
    let others: Vec<&String> = incident.segments.iter().filter(named).collect();
    if !others.is_empty() {
        let shown = others.iter().take(SEGMENTS_SHOWN);
        let names: Vec<String> =
            shown.map(|segment| code(&clip_name(segment, words::NAME_CHARS_MAX))).collect();
        let more = others.len().saturating_sub(SEGMENTS_SHOWN);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        facts.push(mrkdwn(format!("also in {}{rest}", names.join(", "))));
    }
    if is_over {
        return facts;
    }
    if let Some(p) = incident.p_value {
        facts.push(mrkdwn(p_value(p).replace('<', "&lt;")));
    }
    if !incident.calibrated {
        facts.push(mrkdwn("*uncalibrated*: the false-alarm budget is not assured".to_owned()));
    }
    facts
}

/// How the model does, line by line.
fn performance(incident: &Incident) -> Value {
    let lines = figures::lines(incident).join("\n");
    json!({"type": "section", "text": plain_lines(&lines, FIGURES_CHARS_MAX)})
}

/// One line of how the model does, beside the columns that moved.
fn performance_shortly(incident: &Incident) -> Option<Value> {
    let line = figures::capitalised(&figures::short(incident)?);
    Some(json!({"type": "section", "text": plain(&line, WORDS_CHARS_MAX)}))
}

/// The columns that moved most, and how many are not shown.
fn features(incident: &Incident, most: usize) -> Vec<Value> {
    let mut blocks: Vec<Value> = incident
        .features
        .iter()
        .take(most)
        .enumerate()
        .map(|(rank, verdict)| feature(rank, verdict))
        .collect();
    let more = incident.features.len().saturating_sub(most);
    if incident.features.is_empty() {
        blocks.push(json!({"type": "section", "text": plain("No column stands out.", SECTION_CHARS_MAX)}));
    } else if more > 0 {
        let more = usize_count(more);
        blocks.push(json!({"type": "context", "elements": [mrkdwn(format!("and {more} more that moved"))]}));
    }
    blocks
}

fn feature(rank: usize, verdict: &ColumnVerdict) -> Value {
    let what = verdict.summary.as_deref().unwrap_or("no description");
    let values = words::sizes(verdict);
    json!({
        "type": "section",
        "text": mrkdwn(format!("*{}.* {}", rank + 1, code(&words::column(verdict)))),
        "fields": [
            plain(what, WORDS_CHARS_MAX),
            plain(&format!("{}; {values}", words::evidence(verdict)), FIELD_CHARS_MAX),
        ],
    })
}

/// Why an alarm is uncalibrated, and what would mend it.
fn why_uncalibrated(incident: &Incident) -> Option<Value> {
    let why = incident.note.as_deref().filter(|_| !incident.calibrated)?;
    Some(json!({"type": "context", "elements": [plain(&format!("uncalibrated: {why}"), WHY_CHARS_MAX)]}))
}

/// Where to read on, and what the figures were made from.
fn foot(incident: &Incident, settings: &ChannelSettings) -> Vec<Value> {
    let mut blocks = Vec::new();
    if let Some(link) = words::link(incident, settings) {
        let link = escape(&link, 2_000).replace('|', "%7C");
        blocks.push(
            json!({"type": "section", "text": mrkdwn(format!("<{link}|All figures of this incident>"))}),
        );
    }
    let short = |hash: &str| code(&clip_name(hash, 16));
    let origin = format!(
        "incident {}, transition {}{}, configuration {}",
        short(&incident.id),
        incident.sequence,
        if incident.baseline.is_empty() {
            // Rejected records were compared with none.
            String::new()
        } else {
            format!(", baseline {}", short(&incident.baseline))
        },
        short(&incident.config)
    );
    blocks.push(json!({"type": "context", "elements": [mrkdwn(origin)]}));
    blocks
}

/// What a phone shows before the message is opened.
fn fallback(notification: &Notification) -> String {
    let incident = &notification.incident;
    let text = match notification.kind {
        NotificationKind::Resolved => {
            format!("{}, open for {}", words::headline(notification), words::open_for(incident))
        }
        _ => format!("{}: {}", words::headline(notification), words::gist(incident, 3)),
    };
    escape(&text, 1_000)
}

fn usize_count(number: usize) -> String {
    count(u64::try_from(number).unwrap_or(u64::MAX))
}

// === text objects ===

/// Formatted text of our own making; what comes from outside enters through [`code`]. `verbatim` keeps
/// Slack from finding links and names in it.
fn mrkdwn(text: String) -> Value {
    json!({"type": "mrkdwn", "text": text, "verbatim": true})
}

/// Text without any formatting, on one line; Slack refuses an empty one.
fn plain(text: &str, max: usize) -> Value {
    let text = escape(text, max);
    let text = if text.is_empty() { "(blank)" } else { text.as_str() };
    json!({"type": "plain_text", "text": text, "emoji": false})
}

/// Lines of our own, each cleaned; those that no longer fit are left out.
fn plain_lines(text: &str, max: usize) -> Value {
    let mut shown = String::new();
    let mut room = max;
    for line in text.lines().map(|line| escape(line, max / 4)) {
        let Some(rest) = room.checked_sub(line.chars().count() + 1) else { break };
        room = rest;
        if !shown.is_empty() {
            shown.push('\n');
        }
        shown.push_str(&line);
    }
    json!({"type": "plain_text", "text": shown, "emoji": false})
}

/// A name in monospace. Between backticks nothing is formatted; a backtick in the name becomes a quote.
fn code(name: &str) -> String {
    format!("`{}`", escape(&name.replace('`', "'"), 500))
}

/// Cleaned, with Slack's three control characters as entities, at most `max` characters after that; never
/// cuts within an entity.
fn escape(text: &str, max: usize) -> String {
    let mut escaped = String::new();
    let mut length = 0;
    for c in clip(text, max).chars() {
        let piece: &str = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            c => &String::from(c),
        };
        let piece_length = piece.chars().count();
        if length + piece_length > max {
            // Room for the mark is made by taking back whole pieces.
            while length + 1 > max {
                length -= take_back(&mut escaped);
            }
            escaped.push('…');
            break;
        }
        escaped.push_str(piece);
        length += piece_length;
    }
    escaped
}

/// Removes the last character or entity and gives its length in characters.
fn take_back(escaped: &mut String) -> usize {
    let entity = ["&amp;", "&lt;", "&gt;"].into_iter().find(|entity| escaped.ends_with(entity));
    let length = entity.map_or(1, str::len);
    for _ in 0..length {
        escaped.pop();
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_can_mention_link_or_format() {
        assert_eq!(code("<!channel>"), "`&lt;!channel&gt;`");
        assert_eq!(code("a`b*c_d~e\nf"), "`a'b*c_d~e f`");
        assert_eq!(escape("<https://x|y> & <@U1>", 100), "&lt;https://x|y&gt; &amp; &lt;@U1&gt;");
    }

    #[test]
    fn escaping_holds_the_limit_and_keeps_entities_whole() {
        for max in 1..40 {
            let text = escape(&"a<b&".repeat(20), max);
            assert!(text.chars().count() <= max, "{max}: {text}");
            let rest = text.replace("&amp;", "").replace("&lt;", "");
            assert!(!rest.contains('&') && !rest.contains(';'), "{text}");
            assert!(text.ends_with('…'), "{text}");
        }
    }

    #[test]
    fn refusals_say_how_to_mend_them() {
        let response = Response { status: 404, retry_after_secs: None, body: b"no_service".to_vec() };
        let Delivery::Dead { reason } = Slack.classify(&response) else { panic!("must be dead") };
        assert_eq!(
            reason,
            "answered 404: no_service (the webhook was removed or disabled: create a new one and change the URL)"
        );
    }
}

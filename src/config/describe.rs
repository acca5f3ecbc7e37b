//! The resolved configuration as one JSON document, and its id.

use std::path::Path;
use std::time::Duration;

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::channel::noted_path;
use super::kafka::option_path;
use super::{Config, Model, Service};
use crate::event::Span;
use crate::event::decode::{FeatureMapping, Field};
use crate::notify::ChannelSettings;
use crate::source::{KafkaSettings, OffsetReset, Stream};

/// First line of what is hashed: the version of this rendering.
const RENDERING: &str = "driftline-config-1\n";

/// How much of plain values and paths is rendered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// For people and programs: URLs up to their host, paths as they are used.
    Shown,
    /// For the id: plain URLs whole, paths as the file has them, nothing that depends on the machine.
    Identifying,
}

/// The resolved configuration as JSON, fit to be shown: keys as in the file, defaults filled in, times as
/// people write them. A value that was written as a reference is that reference; of a plain URL only
/// the scheme and the host are shown.
///
/// [`Config::id`] is the SHA-256 of `driftline-config-1`, a line feed, and the same document in compact form
/// with its keys sorted, but for three things: plain URLs are whole; paths are relative to the file's
/// directory where they lie in it; and `workers` is left out, because its default is the machine's and no
/// result depends on it. So comments, order, spelling of durations and written-out defaults do not
/// alter the id, nor do the values of secrets; every other change does.
pub fn describe(config: &Config) -> Value {
    render(config, Detail::Shown)
}

/// The id of a configuration.
pub(super) fn id(config: &Config) -> String {
    let mut hash = Sha256::new();
    hash.update(RENDERING);
    hash.update(sorted(render(config, Detail::Identifying)).to_string());
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sorts the keys of every object, whatever order the JSON library keeps.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<(String, Value)> = members.into_iter().collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(members.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn render(config: &Config, detail: Detail) -> Value {
    let each = |values: Vec<Value>| Value::Array(values);
    json!({
        "service": service(config, &config.service, detail),
        "kafka": config.kafka.as_ref().map(|settings| kafka(config, settings)),
        "streams": each(config.streams.iter().map(stream).collect()),
        "models": each(config.models.iter().map(|item| model(config, item, detail)).collect()),
        "channels": each(config.channels.iter().map(|item| channel(config, item, detail)).collect()),
    })
}

fn service(config: &Config, service: &Service, detail: Detail) -> Value {
    let mut value = json!({
        "data_dir": path(config, &service.data_dir, detail),
        "listen": service.listen,
        "commit_interval": duration(service.commit_interval),
        "dead_letters_max": service.dead_letters_max,
        "history": service.history,
    });
    if let (Detail::Shown, Value::Object(members)) = (detail, &mut value) {
        members.insert("workers".to_owned(), json!(service.workers));
    }
    value
}

fn kafka(config: &Config, settings: &KafkaSettings) -> Value {
    let options: Map<String, Value> = settings
        .options
        .iter()
        .map(|(name, value)| (name.clone(), json!(shown(config, &option_path(name), value))))
        .collect();
    json!({
        "brokers": settings.brokers,
        "group": settings.group,
        "offset_reset": offset_reset_name(settings.offset_reset),
        "options": options,
    })
}

/// The word of the configuration.
fn offset_reset_name(reset: OffsetReset) -> &'static str {
    match reset {
        OffsetReset::Earliest => "earliest",
        OffsetReset::Latest => "latest",
        OffsetReset::Error => "error",
    }
}

fn stream(stream: &Stream) -> Value {
    let mapping = &stream.mapping;
    let (model, model_field) = constant_or_pointer(Some(&mapping.model));
    let (version, version_field) = constant_or_pointer(mapping.version.as_ref());
    let features = match &mapping.features {
        FeatureMapping::None => Value::Null,
        FeatureMapping::Object(pointer) => json!(pointer),
        FeatureMapping::Listed(pointers) => json!(pointers),
    };
    json!({
        "topic": stream.topic,
        "format": stream.format,
        "model": model,
        "version": version,
        "record_bytes_max": stream.limits.bytes_max,
        "depth_max": stream.limits.depth_max,
        "fields": {
            "model": model_field,
            "version": version_field,
            "timestamp": mapping.timestamp,
            "timestamp_unit": mapping.timestamp_unit,
            "id": mapping.id,
            "features": features,
            "prediction": mapping.prediction,
            "scores": mapping.scores,
            "label": mapping.label,
            "latency_ms": mapping.latency_ms,
            "segment": mapping.segment,
        },
    })
}

fn constant_or_pointer(field: Option<&Field>) -> (Option<&str>, Option<&str>) {
    match field {
        Some(Field::Constant(value)) => (Some(value), None),
        Some(Field::Pointer(pointer)) => (None, Some(pointer)),
        None => (None, None),
    }
}

fn model(config: &Config, model: &Model, detail: Detail) -> Value {
    let budget = model.verdict.budget;
    let mut value = json!({
        "name": model.name,
        "baseline": path(config, &model.baseline, detail),
        "windows": model.windows.windows,
        "window_offset": model.windows.offset,
        "allowed_lateness": model.windows.allowed_lateness,
        "future_skew": model.windows.future_skew,
        "idle_after": model.windows.idle_after,
        "false_alarms": format!("{} per {}", budget.alarms, budget.period),
        "rows_min": model.verdict.rows_min,
        "season": model.verdict.season,
        "learn": model.verdict.learn,
        "online_fdr": model.verdict.online_fdr.as_ref().map(|procedure| {
            json!({"procedure": procedure.procedure().name, "alpha": procedure.alpha()})
        }),
        "reference": model.reference,
        "floors": model.verdict.floors,
        "early": model.early.early,
        "rejected_share_expected": model.early.rejected_share_expected,
        "open_after": model.incident.open_after,
        "resolve_after": model.incident.resolve_after,
        "critical_effect": model.incident.critical_effect,
        "channels": model.incident.channels,
        "retrain": model.incident.retrain,
        "segments_max": model.segments_max,
        "versions_max": model.versions_max,
        "training": {
            "timestamp": model.training.timestamp,
            "timestamp_unit": model.training.timestamp_unit,
            "prediction": model.training.prediction,
            "scores": model.training.scores,
            "label": model.training.label,
            "ignore": model.training.ignore,
            "features": model.training.features,
            "categorical": model.training.categorical,
            "segment": model.training.segment,
        },
    });
    // Left out where performance is not measured: the id of such a configuration is what it always was.
    if let (Some(performance), Value::Object(members)) = (&model.performance, &mut value) {
        let mut performance = json!(performance);
        let costs = performance.as_object_mut().and_then(|members| members.remove("value"));
        members.insert("performance".to_owned(), performance);
        members.insert("value".to_owned(), costs.unwrap_or_default());
    }
    value
}

fn channel(config: &Config, channel: &ChannelSettings, detail: Detail) -> Value {
    let headers: Map<String, Value> = channel
        .headers
        .iter()
        .map(|(name, value)| {
            let path = noted_path(&channel.name, &format!("headers.{name}"));
            (name.clone(), json!(shown(config, &path, value)))
        })
        .collect();
    let url = match detail {
        Detail::Shown => shown_url(config, channel),
        Detail::Identifying => shown(config, &noted_path(&channel.name, "url"), &channel.url),
    };
    json!({
        "name": channel.name,
        "kind": channel.kind,
        "url": url,
        "secrets": secret_references(config, channel),
        "headers": headers,
        "link_base": channel.link_base,
        "timeout": duration(channel.timeout),
        "attempts_max": channel.attempts_max,
    })
}

/// A channel's URL as it may be shown: its reference, or the scheme and host.
fn shown_url(config: &Config, channel: &ChannelSettings) -> String {
    if let Some(reference) = config.references.get(&noted_path(&channel.name, "url")) {
        return reference.clone();
    }
    let Ok(url) = Url::parse(channel.url.expose_secret()) else { return "(hidden)".to_owned() };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let tail = if url.path() == "/" && url.query().is_none() { "" } else { "/…" };
    format!("{}://{}{port}{tail}", url.scheme(), url.host_str().unwrap_or_default())
}

/// The references of a channel's keys, in their order.
fn secret_references<'c>(config: &'c Config, channel: &ChannelSettings) -> Vec<&'c str> {
    let listed = (0..channel.secrets.len()).map(|index| format!("signing_secret.{index}"));
    let single = ["routing_key", "signing_secret"].into_iter().map(str::to_owned);
    let paths = single.chain(listed).map(|name| noted_path(&channel.name, &name));
    paths.filter_map(|path| config.references.get(&path).map(String::as_str)).collect()
}

/// A value that may be secret as it may be shown: its reference, or itself if it was written plainly.
fn shown(config: &Config, path: &str, value: &SecretString) -> String {
    match config.references.get(path) {
        Some(reference) => reference.clone(),
        None => value.expose_secret().to_owned(),
    }
}

fn path(config: &Config, path: &Path, detail: Detail) -> String {
    let within = path.strip_prefix(&config.directory).unwrap_or(path);
    match detail {
        Detail::Shown => path.display().to_string(),
        Detail::Identifying => within.display().to_string(),
    }
}

fn duration(duration: Duration) -> Span {
    Span::from_micros(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}

//! `[[stream]]`: a topic, and where in its records each thing is.

use std::collections::BTreeMap;

use super::document::{Item, Section, Table, closest, key, quoted};
use crate::event::decode::{DECODERS, FeatureMapping, Field, Mapping, RecordLimits, TimestampUnit};
use crate::source::Stream;

/// The keys of `[[stream]]`.
pub(super) static STREAM: Section = Section {
    path: "stream",
    repeated: true,
    keys: &[
        key("topic", "the topic's name"),
        key("format", "how its records are written"),
        key("model", "the model all its records belong to"),
        key("version", "the model version all its records belong to"),
        key("record_bytes_max", "largest record, in bytes"),
        key("depth_max", "deepest nesting of a record"),
        key("fields", "where in a record each thing is, as JSON pointers"),
    ],
};

/// The keys of `[stream.fields]`.
pub(super) static FIELDS: Section = Section {
    path: "stream.fields",
    repeated: false,
    keys: &[
        key("model", "pointer to the model's name"),
        key("version", "pointer to the model's version"),
        key("timestamp", "pointer to the event time, as in \"/ts\""),
        key("timestamp_unit", "how it is written: \"s\", \"ms\", \"us\" (since 1970) or \"rfc3339\""),
        key("id", "pointer to what joins a prediction with its label"),
        key("features", "pointer to an object of features, or a table of name and pointer"),
        key("prediction", "pointer to the model's decision"),
        key("score", "pointer to the number it was decided from"),
        key("scores", "table of name and pointer, if there are several"),
        key("label", "pointer to what turned out to be true"),
        key("latency_ms", "pointer to the serving latency in milliseconds"),
        key("segment", "pointer to the value by which windows are also split"),
    ],
};

/// Kafka's own limit on a record is 1 MiB by default and rarely over this.
const RECORD_BYTES_MAX: u32 = 64 << 20;
/// The decoder keeps a level on its stack.
const DEPTH_MAX: u32 = 128;

/// Reads one `[[stream]]`; `models` are the names that the document declares.
pub(super) fn read(table: &Table<'_>, models: &[String]) -> Option<Stream> {
    let topic = table.need("topic", topic);
    let format = table.or("format", "json".to_owned(), |item| {
        let names: Vec<(&str, &str)> = DECODERS.iter().map(|decoder| (decoder.name, decoder.name)).collect();
        item.choice(&names).map(str::to_owned)
    });
    let default = RecordLimits::default();
    let bytes_max = table.or("record_bytes_max", default.bytes_max, |item| item.size(1..=RECORD_BYTES_MAX));
    let depth_max = table.or("depth_max", default.depth_max, |item| item.size(1..=DEPTH_MAX));
    let fields = table.need("fields", |item| item.table(&FIELDS));
    let mapping = fields.and_then(|fields| mapping(table, &fields, models));
    Some(Stream {
        topic: topic?,
        format: format?,
        mapping: mapping?,
        limits: RecordLimits { bytes_max: bytes_max?, depth_max: depth_max? },
    })
}

fn topic(item: &Item<'_>) -> Option<String> {
    let text = item.string()?;
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || text.len() > 249 || !text.chars().all(legal) || matches!(text, "." | "..") {
        let help = "one topic a stream: 1 to 249 of the characters a-z A-Z 0-9 . _ -";
        return item.refuse(format!("`{}` is not a topic's name", item.path), help.to_owned());
    }
    Some(text.to_owned())
}

fn mapping(stream: &Table<'_>, fields: &Table<'_>, models: &[String]) -> Option<Mapping> {
    let model = model(stream, fields, models);
    let version = version(stream, fields);
    let timestamp = fields.need("timestamp", pointer);
    let timestamp_unit = fields.need("timestamp_unit", |item| {
        item.choice(&[
            ("s", TimestampUnit::Seconds),
            ("ms", TimestampUnit::Milliseconds),
            ("us", TimestampUnit::Microseconds),
            ("rfc3339", TimestampUnit::Rfc3339),
        ])
    });
    let id = fields.maybe("id", pointer);
    let features = fields.or("features", FeatureMapping::None, features);
    let prediction = fields.maybe("prediction", pointer);
    let scores = scores(fields);
    let label = fields.maybe("label", pointer);
    let latency_ms = fields.maybe("latency_ms", pointer);
    let segment = fields.maybe("segment", pointer);
    Some(Mapping {
        model: model?,
        version: version?,
        timestamp: timestamp?,
        timestamp_unit: timestamp_unit?,
        id: id?,
        features: features?,
        prediction: prediction?,
        scores: scores?,
        label: label?,
        latency_ms: latency_ms?,
        segment: segment?,
    })
}

fn model(stream: &Table<'_>, fields: &Table<'_>, models: &[String]) -> Option<Field> {
    let declared = |item: &Item<'_>| known_model(item, models);
    match (stream.get("model"), fields.get("model")) {
        (Some(constant), Some(item)) => {
            declared(&constant);
            pointer(&item);
            twice(&item)
        }
        (Some(item), None) => declared(&item).map(Field::Constant),
        (None, Some(item)) => pointer(&item).map(Field::Pointer),
        (None, None) => match models {
            [only] => Some(Field::Constant(only.clone())),
            // That there is no model is a mistake of its own.
            [] => None,
            _ => stream.refuse(
                "this stream does not say which model its records belong to".to_owned(),
                "write `model`, or `fields.model` if each record names its model".to_owned(),
            ),
        },
    }
}

fn known_model(item: &Item<'_>, models: &[String]) -> Option<String> {
    let name = item.name()?;
    if models.contains(&name) {
        return Some(name);
    }
    let meant = closest(&name, models.iter().map(String::as_str));
    let help = meant.map(|meant| format!("did you mean \"{meant}\"?"));
    item.unfit(format!("no `[[model]]` is called {}", quoted(&name)), help)
}

fn version(stream: &Table<'_>, fields: &Table<'_>) -> Option<Option<Field>> {
    match (stream.get("version"), fields.get("version")) {
        (Some(constant), Some(item)) => {
            constant.name();
            pointer(&item);
            twice(&item)
        }
        (Some(item), None) => item.name().map(|version| Some(Field::Constant(version))),
        (None, Some(item)) => pointer(&item).map(|pointer| Some(Field::Pointer(pointer))),
        (None, None) => Some(None),
    }
}

fn twice<T>(item: &Item<'_>) -> Option<T> {
    let message = format!("`{}` and the same key of the stream contradict each other", item.path);
    item.refuse_key(message, "keep the constant, or the pointer into each record".to_owned())
}

/// A JSON pointer (RFC 6901) to something inside a record.
fn pointer(item: &Item<'_>) -> Option<String> {
    let text = item.string()?;
    if let Some(rest) = text.strip_prefix('/') {
        let mut escapes = rest.split('~').skip(1);
        if escapes.all(|escape| escape.starts_with(['0', '1'])) {
            return Some(text.to_owned());
        }
        let help = "in a JSON pointer `~` is written `~0` and a `/` inside a name `~1`";
        return item.refuse(format!("`{}` is not a JSON pointer", item.path), help.to_owned());
    }
    let help = if text.is_empty() || text.chars().any(char::is_whitespace) {
        "write a path that begins with `/`, as in \"/payload/score\"".to_owned()
    } else {
        format!("write \"/{}\"", text.trim_start_matches(['$', '.']).replace('.', "/"))
    };
    item.refuse(format!("`{}` must be a JSON pointer, which begins with `/`", item.path), help)
}

fn features(item: &Item<'_>) -> Option<FeatureMapping> {
    if item.is_table() {
        return pointers(item).map(FeatureMapping::Listed);
    }
    if item.as_str() == Some("") {
        return Some(FeatureMapping::Object(String::new()));
    }
    pointer(item).map(FeatureMapping::Object)
}

fn scores(fields: &Table<'_>) -> Option<BTreeMap<String, String>> {
    match (fields.get("score"), fields.get("scores")) {
        (Some(single), Some(item)) => {
            pointer(&single);
            pointers(&item);
            item.refuse_key(
                "`score` and `scores` are two ways to write the same".to_owned(),
                "keep `scores` if there are several".to_owned(),
            )
        }
        (Some(item), None) => pointer(&item).map(|pointer| BTreeMap::from([("score".to_owned(), pointer)])),
        (None, Some(item)) => pointers(&item),
        (None, None) => Some(BTreeMap::new()),
    }
}

/// A table of names and pointers; not empty.
fn pointers(item: &Item<'_>) -> Option<BTreeMap<String, String>> {
    let members = item.members()?;
    if members.is_empty() {
        return item.refuse(format!("`{}` is empty", item.path), "leave the key out".to_owned());
    }
    let read: Vec<_> =
        members.iter().map(|(name, item)| Some(((*name).to_owned(), pointer(item)?))).collect();
    read.into_iter().collect()
}

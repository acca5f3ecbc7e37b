//! Joins the topics to a [`Config`] and checks what holds between them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use toml::de::DeTable;

use super::channel::Declared;
use super::document::{Reader, Section, Table, all, key, quoted};
use super::error::{ConfigErrors, Finding, Rests, place};
use super::{Config, Model, Purpose, channel, describe, kafka, mask, model, service, stream, warnings};
use crate::source::Stream;

/// The tables of the document.
pub(super) static DOCUMENT: Section = Section {
    path: "",
    repeated: false,
    keys: &[
        key("service", "the process; write `[service]` with at least `data_dir`"),
        key("kafka", "the connection; write `[kafka]` with at least `brokers`"),
        key("stream", "a topic; write `[[stream]]`, once for each"),
        key("model", "a watched model; write `[[model]]`, once for each"),
        key("channel", "where notifications go; write `[[channel]]`, once for each"),
    ],
};

/// Reads a document for a purpose.
pub(super) fn parse(
    name: &str,
    directory: &Path,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    purpose: Purpose,
) -> Result<Config, ConfigErrors> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let syntax = syntax_findings(text, errors);
    let reader = Reader {
        text,
        directory,
        env,
        purpose,
        findings: RefCell::default(),
        hidden: RefCell::default(),
        references: RefCell::default(),
    };
    let config = assemble(&Table::document(&DOCUMENT, document.get_ref(), &reader));
    let found = reader.findings.take();
    let broken = !syntax.is_empty();
    let findings = with_what_is_still_true(text, syntax, found);
    match config {
        Some(config) if findings.is_empty() => Ok(finished(config, &reader)),
        _ if findings.is_empty() => {
            let message = "the configuration could not be understood".to_owned();
            Err(ConfigErrors::unreadable(name, message, Some("please report this as a bug".to_owned())))
        }
        _ => {
            let masked = mask::masked(text, document.get_ref(), broken, reader.hidden.take());
            Err(ConfigErrors::new(name, text, masked, findings))
        }
    }
}

fn finished(mut config: Config, reader: &Reader<'_>) -> Config {
    config.references = reader.references.take();
    config.id = describe::id(&config);
    config.warnings = warnings::suspicious(&config);
    config
}

/// Reads every table, then joins them.
fn assemble(root: &Table<'_>) -> Option<Config> {
    let service = root.need("service", |item| service::read(&item.table(&service::SERVICE)?));
    let kafka = root.maybe("kafka", |item| kafka::read(&item.table(&kafka::KAFKA)?));
    let tables = |name, section| root.get(name).map(|item| item.tables(section)).unwrap_or_default();
    let channel_tables = tables("channel", &channel::CHANNEL);
    let model_tables = root.need("model", |item| Some(item.tables(&model::MODEL))).unwrap_or_default();
    let stream_tables = tables("stream", &stream::STREAM);
    for (tables, key) in [(&channel_tables, "name"), (&model_tables, "name"), (&stream_tables, "topic")] {
        refuse_repeated(tables, key);
    }
    let text_of = |table: &Table<'_>, key| table.get(key).and_then(|item| item.as_str()).map(str::to_owned);
    let declared: Vec<Declared> = channel_tables
        .iter()
        .filter_map(|table| Some(Declared { name: text_of(table, "name")?, kind: text_of(table, "kind") }))
        .collect();
    let names: Vec<String> = model_tables.iter().filter_map(|table| text_of(table, "name")).collect();
    let channels = all(channel_tables.iter().map(channel::read));
    let models = all(model_tables.iter().map(|table| model::read(table, &declared)));
    let streams = all(stream_tables.iter().map(|table| stream::read(table, &names)));
    let (models, streams) = (models?, streams?);
    check_baselines(&model_tables, &models, &streams);
    Some(Config {
        id: String::new(),
        directory: root.reader.directory.to_path_buf(),
        service: service?,
        kafka: kafka?,
        streams,
        models,
        channels: channels?,
        warnings: Vec::new(),
        references: BTreeMap::new(),
    })
}

/// Refuses two tables of one name: each name is said in other places and must mean one thing.
fn refuse_repeated(tables: &[Table<'_>], key: &'static str) {
    let mut line_of: BTreeMap<&str, usize> = BTreeMap::new();
    for table in tables {
        let Some(item) = table.get(key) else { continue };
        let Some(name) = item.as_str() else { continue };
        if let Some(line) = line_of.get(name) {
            let header = table.section.header();
            let message = format!("a second `{header}` has the {key} {}", quoted(name));
            item.refuse::<()>(message, format!("the first is on line {line}"));
        } else {
            line_of.insert(name, item.line());
        }
    }
}

/// Refuses a baseline that cannot be found, or that depends on a version that no stream carries.
fn check_baselines(tables: &[Table<'_>], models: &[Model], streams: &[Stream]) {
    for (table, model) in tables.iter().zip(models) {
        let Some(item) = table.get("baseline") else { continue };
        let fed: Vec<&Stream> = streams.iter().filter(|stream| model.is_fed_by(stream)).collect();
        let versioned = fed.iter().any(|stream| stream.mapping.version.is_some());
        if model.baseline_pattern().is_some() && !fed.is_empty() && !versioned {
            let help = "write `version` or `fields.version` in the stream, or a path without `{version}`";
            let message =
                format!("no stream of \"{}\" carries a version to put for `{{version}}`", model.name);
            item.unfit::<()>(message, help.to_owned());
        }
        if !item.reader.purpose.needs_baselines() {
            continue;
        }
        for path in model.baselines_expected(streams) {
            if !path.is_file() {
                let help = "make it with `driftline baseline build TRAIN --config FILE --model NAME -o PATH`";
                item.unfit::<()>(format!("there is no baseline file {}", path.display()), help.to_owned());
            }
        }
    }
}

// === syntax errors ===

/// The syntax errors, at most one a line. A list without its end takes the rest of the file for elements,
/// each of which the parser reports; only the first of those says something.
fn syntax_findings(text: &str, errors: Vec<toml::de::Error>) -> Vec<Finding> {
    let mut findings: Vec<(usize, Finding)> = Vec::new();
    let mut in_list = false;
    for error in errors {
        let is_about_list = ["between array elements", "in array", "unclosed array,"]
            .iter()
            .any(|sign| error.message().contains(sign));
        if is_about_list && in_list {
            in_list = !error.message().starts_with("unclosed array,");
            continue;
        }
        in_list = is_about_list;
        let start = error.span().map_or(0, |span| span.start);
        let (line, _) = place(text, start);
        if findings.iter().all(|(known, _)| *known != line) {
            let span = error.span().unwrap_or(start..start);
            let finding = Finding {
                span: Some(span),
                message: format!("not TOML: {}", error.message()),
                help: advice(error.message()).map(str::to_owned),
                rests: Rests::OnItself,
            };
            findings.push((line, finding));
        }
    }
    findings.into_iter().map(|(_, finding)| finding).collect()
}

fn advice(message: &str) -> Option<&'static str> {
    let advice = [
        ("string values must be quoted", "put the text in double quotes"),
        ("between array elements", "put a comma between the elements, or end the list with `]`"),
        ("unclosed array table", "a repeated table is written `[[name]]`"),
        ("key with no value", "write `key = value`"),
        ("duplicate key", "keep one of them"),
    ];
    advice.iter().find(|(sign, _)| message.contains(sign)).map(|(_, advice)| *advice)
}

/// Joins the syntax errors with those findings that they leave true: the ones that rest on themselves, stand
/// before the first error that shifts what follows, and not on a line with an error.
fn with_what_is_still_true(text: &str, syntax: Vec<Finding>, found: Vec<Finding>) -> Vec<Finding> {
    if syntax.is_empty() {
        return found;
    }
    let line_of = |finding: &Finding| finding.span.as_ref().map(|span| place(text, span.start).0);
    let broken_lines: Vec<Option<usize>> = syntax.iter().map(line_of).collect();
    let keeps_shape = |finding: &&Finding| {
        ["must be quoted", "invalid basic string", "invalid literal string", "duplicate key"]
            .iter()
            .any(|sign| finding.message.contains(sign))
    };
    let shape_ends = syntax.iter().filter(|finding| !keeps_shape(finding)).map(line_of).min().flatten();
    let still_true = found.into_iter().filter(|finding| {
        let line = line_of(finding);
        finding.rests == Rests::OnItself
            && !broken_lines.contains(&line)
            && shape_ends.is_none_or(|end| line.is_some_and(|line| line < end))
    });
    syntax.iter().cloned().chain(still_true).collect()
}

//! What is allowed but suspicious. Pure: looks at the resolved configuration alone.

use reqwest::Url;
use secrecy::ExposeSecret;

use super::{Config, Model};
use crate::event::decode::FeatureMapping;
use crate::notify::ChannelSettings;
use crate::performance;
use crate::source::Stream;

/// Length of PagerDuty's integration keys, in characters.
const ROUTING_KEY_LENGTH: usize = 32;

/// Every warning, in the order of the sections.
pub(super) fn suspicious(config: &Config) -> Vec<String> {
    let mut warnings = service(config);
    warnings.extend(config.streams.iter().flat_map(stream));
    warnings.extend(config.models.iter().flat_map(|item| model(config, item)));
    warnings.extend(config.channels.iter().flat_map(|item| channel(config, item)));
    warnings
}

fn service(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let listen = config.service.listen;
    if !listen.ip().is_loopback() {
        warnings.push(format!(
            "`service.listen` is {listen}: the API has no log-in, and everyone who reaches this address can \
             read what it shows"
        ));
    }
    if config.streams.is_empty() {
        warnings.push("there is no `[[stream]]`, so no events are read".to_owned());
    }
    let lengths = config.models.iter().flat_map(|model| &model.windows.windows).map(|window| window.length);
    if let Some(longest) = lengths.max().filter(|longest| *longest > config.service.history) {
        warnings.push(format!(
            "`service.history` is {}, shorter than the longest window of {longest}",
            config.service.history
        ));
    }
    warnings
}

fn stream(stream: &Stream) -> Option<String> {
    let mapping = &stream.mapping;
    let watches_nothing = mapping.features == FeatureMapping::None
        && mapping.prediction.is_none()
        && mapping.scores.is_empty()
        && mapping.label.is_none();
    watches_nothing.then(|| {
        format!(
            "the stream \"{}\" maps no features, prediction, score or label: only its rows are counted",
            stream.topic
        )
    })
}

fn model(config: &Config, model: &Model) -> Vec<String> {
    let mut warnings = Vec::new();
    if !config.streams.is_empty() && !config.streams.iter().any(|stream| model.is_fed_by(stream)) {
        warnings.push(format!("no stream carries events of the model \"{}\"", model.name));
    }
    if model.incident.channels.is_empty() {
        warnings
            .push(format!("the model \"{}\" has no channels, so nobody hears of its incidents", model.name));
    }
    if let Some(settings) = &model.performance {
        warnings.extend(performance(config, model, settings));
    }
    warnings
}

/// What keeps performance from being measured as it is meant.
fn performance(config: &Config, model: &Model, settings: &performance::Settings) -> Vec<String> {
    let name = &model.name;
    let fed = || config.streams.iter().filter(|stream| model.is_fed_by(stream));
    let labels = || fed().filter(|stream| stream.mapping.label.is_some());
    let predicts =
        |stream: &&Stream| stream.mapping.prediction.is_some() || !stream.mapping.scores.is_empty();
    let mut warnings = Vec::new();
    if fed().next().is_some() && labels().next().is_none() {
        warnings.push(format!(
            "no stream of the model \"{name}\" maps `label`, so its performance is estimated and never measured"
        ));
    }
    if fed().next().is_some() && !fed().any(|stream| predicts(&stream)) {
        warnings.push(format!(
            "no stream of the model \"{name}\" maps `prediction` or `score`, so there is nothing to measure"
        ));
    }
    let apart = labels().any(|stream| !predicts(&stream));
    let halves = fed().filter(|stream| stream.mapping.label.is_some() || predicts(stream));
    for stream in halves.filter(|stream| apart && stream.mapping.id.is_none()) {
        warnings.push(format!(
            "labels of the model \"{name}\" meet their predictions by id, and the stream \"{}\" maps no `id`",
            stream.topic
        ));
    }
    warnings.extend(scores_of_classes(model, settings, fed().filter(predicts)));
    let lengths = settings.windows.iter().map(|window| window.length);
    if let Some(longest) = lengths.max().filter(|longest| *longest > settings.label_delay_max) {
        warnings.push(format!(
            "labels of the model \"{name}\" are waited for {}, less than its performance window of {longest} lasts",
            settings.label_delay_max
        ));
    }
    warnings
}

/// A stream whose scores are not one for each of the classes that the operator names.
fn scores_of_classes<'a>(
    model: &Model,
    settings: &performance::Settings,
    streams: impl Iterator<Item = &'a Stream>,
) -> Vec<String> {
    let classes = &settings.classes;
    let unlike = |stream: &&Stream| {
        let scores = &stream.mapping.scores;
        let is_score = |class: &String| scores.iter().any(|(name, _)| **name == **class);
        !scores.is_empty()
            && !classes.is_empty()
            && scores.len() != classes.len()
            && !classes.iter().all(is_score)
    };
    let warning = |stream: &Stream| {
        format!(
            "the {} scores of the stream \"{}\" are not one for each of the {} classes of the model \"{}\"",
            stream.mapping.scores.len(),
            stream.topic,
            classes.len(),
            model.name
        )
    };
    streams.filter(unlike).map(warning).collect()
}

fn channel(config: &Config, channel: &ChannelSettings) -> Vec<String> {
    let name = &channel.name;
    let mut warnings = Vec::new();
    let used = config.models.iter().any(|model| {
        let retrains = model.incident.retrain.as_ref().is_some_and(|retrain| retrain.channel == *name);
        retrains || model.incident.channels.contains(name)
    });
    if !used {
        warnings.push(format!("no model uses the channel \"{name}\""));
    }
    if is_sent_in_the_clear(channel) {
        warnings
            .push(format!("the URL of the channel \"{name}\" is http: what is sent can be read on the way"));
    }
    let key_is_odd = |key: &str| {
        key.chars().count() != ROUTING_KEY_LENGTH || !key.chars().all(|c| c.is_ascii_alphanumeric())
    };
    let routing_key = channel.secrets.first().filter(|_| channel.kind == "pagerduty");
    if routing_key.is_some_and(|key| !key.expose_secret().is_empty() && key_is_odd(key.expose_secret())) {
        warnings.push(format!(
            "the routing key of the channel \"{name}\" is not {ROUTING_KEY_LENGTH} letters and digits, as \
             PagerDuty's integration keys are"
        ));
    }
    warnings
}

fn is_sent_in_the_clear(channel: &ChannelSettings) -> bool {
    let Ok(url) = Url::parse(channel.url.expose_secret()) else { return false };
    let is_local = match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            let address = host.trim_start_matches('[').trim_end_matches(']');
            address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    };
    url.scheme() == "http" && !is_local
}

//! `[kafka]`: the connection, and any librdkafka option.
//!
//! Each option is tried on librdkafka itself, so a misspelt name or a wrong value is a mistake of the file
//! and not a surprise at start.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use secrecy::{ExposeSecret, SecretString};

use super::document::{Item, Section, Table, closest, key};
use super::mask::names_a_credential;
use super::secret::Reference;
use crate::source::{KafkaSettings, OffsetReset};

/// The keys of `[kafka]`.
pub(super) static KAFKA: Section = Section {
    path: "kafka",
    repeated: false,
    keys: &[
        key("brokers", "where to begin, as in \"kafka-1:9092,kafka-2:9092\""),
        key("group", "the consumer group"),
        key("offset_reset", "where to begin on a partition that was never read"),
        key("options", "any librdkafka option"),
    ],
};

/// Options that Driftline sets itself, and why they cannot be set.
static OWNED: &[(&str, &str)] = &[
    ("enable.auto.commit", "positions are committed after the store has them, never by a timer"),
    ("auto.commit.enable", "positions are committed after the store has them, never by a timer"),
    ("auto.commit.interval.ms", "positions are committed after the store has them, never by a timer"),
    ("enable.auto.offset.store", "positions are committed after the store has them, never by a timer"),
    ("group.id", "write `group` in `[kafka]`"),
    ("bootstrap.servers", "write `brokers` in `[kafka]`"),
    ("metadata.broker.list", "write `brokers` in `[kafka]`"),
    ("auto.offset.reset", "write `offset_reset` in `[kafka]`"),
    ("enable.partition.eof", "the end of a partition is how idle partitions are told from slow ones"),
];

/// Options whose value is a credential.
const SECRET_WORDS: [&str; 6] =
    ["password", "passphrase", "secret", "pem", "oauthbearer.config", "jaas.config"];

/// Options that people set most, for suggestions only; librdkafka knows all of them.
static COMMON: &[&str] = &[
    "broker.address.family",
    "check.crcs",
    "client.id",
    "client.rack",
    "debug",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.wait.max.ms",
    "group.instance.id",
    "group.protocol",
    "heartbeat.interval.ms",
    "isolation.level",
    "max.poll.interval.ms",
    "message.max.bytes",
    "partition.assignment.strategy",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "session.timeout.ms",
    "socket.keepalive.enable",
    "socket.timeout.ms",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "statistics.interval.ms",
];

/// Reads `[kafka]`.
pub(super) fn read(table: &Table<'_>) -> Option<KafkaSettings> {
    let brokers = table.need("brokers", brokers);
    let group = table.or("group", "driftline".to_owned(), Item::name);
    let offset_reset = table.or("offset_reset", OffsetReset::Earliest, |item| {
        item.choice(&[
            ("earliest", OffsetReset::Earliest),
            ("latest", OffsetReset::Latest),
            ("error", OffsetReset::Error),
        ])
    });
    let options = table.or("options", BTreeMap::new(), options);
    Some(KafkaSettings { brokers: brokers?, group: group?, offset_reset: offset_reset?, options: options? })
}

fn brokers(item: &Item<'_>) -> Option<String> {
    let brokers: Vec<&str> = item.string()?.split(',').map(str::trim).collect();
    if brokers.iter().all(|broker| is_broker(broker)) {
        return Some(brokers.join(","));
    }
    let help = "write host:port pairs with commas between, as in \"kafka-1:9092,kafka-2:9092\"";
    item.refuse(format!("`{}` is not a list of brokers", item.path), help.to_owned())
}

fn is_broker(broker: &str) -> bool {
    let Some((host, port)) = broker.rsplit_once(':') else { return false };
    let plain = |host: &str| host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_is_right = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && plain(host),
    };
    host_is_right && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Reads the options. A dotted name may be written bare or in quotes: `sasl.username = ...` makes nested
/// tables of it, which are put together again.
fn options(item: &Item<'_>) -> Option<BTreeMap<String, SecretString>> {
    let mut found = Vec::new();
    flatten("", item, &mut found)?;
    let mut options = BTreeMap::new();
    let mut complete = true;
    for (name, item) in found {
        let Some(value) = option(&name, &item) else {
            complete = false;
            continue;
        };
        if options.insert(name.clone(), value).is_some() {
            item.refuse_key::<()>(format!("the option `{name}` is written twice"), None);
            complete = false;
        }
    }
    complete.then_some(options)
}

fn flatten<'a>(prefix: &str, item: &Item<'a>, found: &mut Vec<(String, Item<'a>)>) -> Option<()> {
    for (name, member) in item.members()? {
        let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
        if member.is_table() {
            flatten(&name, &member, found)?;
        } else {
            found.push((name, member));
        }
    }
    Some(())
}

fn option(name: &str, item: &Item<'_>) -> Option<SecretString> {
    if let Some((_, reason)) = OWNED.iter().find(|(owned, _)| *owned == name) {
        return item.refuse_key(format!("Driftline sets `{name}` itself"), (*reason).to_owned());
    }
    let is_secret = SECRET_WORDS.iter().any(|word| name.contains(word));
    let is_reference = item.as_str().is_some_and(Reference::is_meant);
    if !is_secret && !is_reference {
        let value = item.plain_value()?;
        return try_option(name, &value, true, item).map(|()| SecretString::from(value));
    }
    let value = item.secret(option_path(name))?;
    // A secret that was not read has no value to try, but its name can be wrong all the same.
    let shows_reason = !names_a_credential(name) && !is_reference;
    try_option(name, value.expose_secret(), shows_reason, item)?;
    Some(value)
}

/// Where the reference of an option is noted.
pub(super) fn option_path(name: &str) -> String {
    format!("kafka.options.{name}")
}

/// Asks librdkafka whether it knows the option and takes the value.
fn try_option(name: &str, value: &str, shows_reason: bool, item: &Item<'_>) -> Option<()> {
    if name.contains('\0') || value.contains('\0') {
        return item.refuse(format!("the option `{name}` holds a NUL character"), None);
    }
    let Err(error) = ClientConfig::new().set(name, value).create_native_config() else { return Some(()) };
    let KafkaError::ClientConfig(kind, reason, ..) = error else {
        return item.refuse(format!("librdkafka does not take the option `{name}`"), None);
    };
    if kind == rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN {
        let meant = closest(name, COMMON.iter().copied());
        let help = meant.map(|meant| format!("did you mean `{meant}`?"));
        return item.refuse_unknown(format!("librdkafka knows no option `{name}`"), help);
    }
    if value.is_empty() {
        return Some(());
    }
    let help = shows_reason.then_some(reason).filter(|reason| !reason.is_empty());
    item.refuse(format!("librdkafka does not take this value of `{name}`"), help)
}

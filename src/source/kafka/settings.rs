//! The Kafka client's options: what we set and why, what the operator may change, what nobody may.

use std::time::Duration;

use rdkafka::config::{ClientConfig, NativeClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;
use secrecy::ExposeSecret;

use crate::source::{KafkaSettings, SourceError};

/// Most bytes the client fetches ahead, over all partitions together, in KiB: enough for a tenth of a
/// second at full speed, and small beside the process.
const FETCH_AHEAD_KIB: &str = "16384";

/// What we set when the operator does not say otherwise.
const DEFAULTS: &[(&str, &str)] = &[
    ("client.id", "driftline"),
    // A damaged record must be noticed. The check costs too little to measure.
    ("check.crcs", "true"),
    // An event of an aborted transaction never happened.
    ("isolation.level", "read_committed"),
    // A mistyped topic must show up as missing, not come into being.
    ("allow.auto.create.topics", "false"),
    // Load balancers drop idle connections without a word.
    ("socket.keepalive.enable", "true"),
    ("queued.max.messages.kbytes", FETCH_AHEAD_KIB),
    // One answer must not outgrow what may be fetched ahead.
    ("fetch.max.bytes", "16777216"),
    // With a small fetch-ahead the default pause of 1 s between fetches would leave the client idle.
    ("fetch.queue.backoff.ms", "10"),
    // New topics and partitions are noticed within this time.
    ("topic.metadata.refresh.interval.ms", "10000"),
];

/// Members keep the partitions that do not move while others join and leave. The newer group protocol
/// assigns on the broker and refuses the option.
const ASSIGNMENT: (&str, &str) = ("partition.assignment.strategy", "cooperative-sticky");

const POSITIONS: &str = "positions are kept in the store and written to the group after that";

/// What the operator cannot set, and what to do in its place.
const OWNED: &[(&str, &str)] = &[
    ("bootstrap.servers", "write `brokers` under [kafka]"),
    ("metadata.broker.list", "write `brokers` under [kafka]"),
    ("group.id", "write `group` under [kafka]"),
    ("auto.offset.reset", "write `offset_reset` under [kafka]"),
    ("enable.auto.commit", POSITIONS),
    ("auto.commit.enable", POSITIONS),
    ("auto.commit.interval.ms", POSITIONS),
    ("enable.auto.offset.store", POSITIONS),
    ("enable.partition.eof", "the end of a partition is found in the client's statistics"),
    ("statistics.interval.ms", "lag and the end of partitions are read from the statistics once a second"),
    ("log.queue", "the client's log goes to the service's log"),
];

/// Options as the client takes them, and the few of them the source itself needs to know.
pub(super) struct ClientOptions {
    /// What the client is made from.
    pub(super) config: ClientConfig,
    /// How long the group waits for a member that is silent.
    pub(super) session_timeout: Duration,
    /// Most bytes the client fetches ahead.
    pub(super) fetch_ahead_bytes: usize,
    /// Whether records of open transactions are held back by the broker.
    pub(super) is_read_committed: bool,
}

/// Checks that the Kafka client accepts the settings, without connecting.
///
/// # Errors
///
/// The first option that is unknown, has a value that is not accepted, or is not the operator's to set.
pub fn check_settings(settings: &KafkaSettings) -> Result<(), SourceError> {
    client_options(settings).map(|_| ())
}

/// Makes the client's options.
pub(super) fn client_options(settings: &KafkaSettings) -> Result<ClientOptions, SourceError> {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Info);
    for (name, value) in DEFAULTS {
        config.set(*name, *value);
    }
    if !settings.options.contains_key("group.protocol") {
        config.set(ASSIGNMENT.0, ASSIGNMENT.1);
    }
    for (name, value) in &settings.options {
        if let Some((_, instead)) = OWNED.iter().find(|(owned, _)| owned == name) {
            return Err(SourceError::OwnedOption { name: name.clone(), instead });
        }
        if name == "debug" {
            config.set_log_level(RDKafkaLogLevel::Debug);
        }
        config.set(name, value.expose_secret());
    }
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("group.id", &settings.group)
        // Where to begin is decided from the store. If that place is gone, we must hear of it.
        .set("auto.offset.reset", "error")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "false")
        .set("statistics.interval.ms", "1000");
    let native = config.create_native_config().map_err(option_error)?;
    Ok(ClientOptions {
        session_timeout: Duration::from_millis(number(&native, "session.timeout.ms", 45_000)),
        fetch_ahead_bytes: usize::try_from(number(&native, "queued.max.messages.kbytes", 16_384) * 1024)
            .unwrap_or(usize::MAX),
        is_read_committed: native.get("isolation.level").is_ok_and(|level| level == "read_committed"),
        config,
    })
}

/// A numeric option, as the client understood it.
fn number(native: &NativeClientConfig, name: &str, otherwise: u64) -> u64 {
    native.get(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Names the option, never its value.
fn option_error(error: KafkaError) -> SourceError {
    match error {
        KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, name, _) => {
            SourceError::UnknownOption { name }
        }
        KafkaError::ClientConfig(_, _, name, _) => SourceError::InvalidOption { name },
        KafkaError::Nul(_) => SourceError::Client { problem: "an option holds a zero byte".into() },
        other => SourceError::Client { problem: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use secrecy::SecretString;

    use super::*;
    use crate::source::OffsetReset;

    fn settings(options: &[(&str, &str)]) -> KafkaSettings {
        KafkaSettings {
            brokers: "localhost:9092".into(),
            group: "driftline".into(),
            offset_reset: OffsetReset::Earliest,
            options: options
                .iter()
                .map(|(name, value)| ((*name).to_owned(), SecretString::from(*value)))
                .collect::<BTreeMap<_, _>>(),
        }
    }

    #[test]
    fn defaults_are_accepted_by_the_client() {
        let options = client_options(&settings(&[])).unwrap();
        assert_eq!(options.session_timeout, Duration::from_secs(45));
        assert_eq!(options.fetch_ahead_bytes, 16 << 20);
        assert!(options.is_read_committed);
    }

    #[test]
    fn tls_and_sasl_options_pass_through() {
        let options = client_options(&settings(&[
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "reader"),
            ("sasl.password", "hunter2"),
            ("session.timeout.ms", "6000"),
        ]))
        .unwrap();
        assert_eq!(options.config.get("security.protocol"), Some("sasl_ssl"));
        assert_eq!(options.session_timeout, Duration::from_secs(6));
    }

    #[test]
    fn an_unknown_option_is_named() {
        let error = check_settings(&settings(&[("session.time.ms", "1")])).unwrap_err();
        assert!(matches!(error, SourceError::UnknownOption { name } if name == "session.time.ms"));
    }

    #[test]
    fn a_refused_value_is_named_but_not_shown() {
        let error =
            check_settings(&settings(&[("sasl.mechanism", "PLAIN"), ("security.protocol", "hunter2")]))
                .unwrap_err();
        assert!(error.to_string().contains("security.protocol"), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn an_option_that_positions_rest_on_is_refused_with_what_to_do() {
        let error = check_settings(&settings(&[("auto.offset.reset", "latest")])).unwrap_err();
        assert!(error.to_string().contains("offset_reset"), "{error}");
        for (name, _) in OWNED {
            assert!(check_settings(&settings(&[(name, "1")])).is_err(), "{name}");
        }
    }

    #[test]
    fn the_newer_group_protocol_gets_no_assignor() {
        let options = client_options(&settings(&[("group.protocol", "consumer")])).unwrap();
        assert_eq!(options.config.get(ASSIGNMENT.0), None);
    }
}

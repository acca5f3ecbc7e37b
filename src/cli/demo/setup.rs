//! What the demo sets up before it begins: its files, its topics, its baselines and its configuration.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::types::RDKafkaErrorCode;

use super::population::{POSITIVE, THRESHOLD};
use super::receivers::Receivers;
use super::world::{LABELS, PARTITIONS, TOPIC, WINDOW};
use crate::baseline::{Baseline, BuildOptions, OutcomeOptions, Roles};
use crate::cli::{Failure, chain};
use crate::event::Span;
use crate::summary::outcome::Task;

/// The demo's directory; a temporary one is removed when this is dropped.
pub struct Scratch {
    /// Where it is.
    pub dir: PathBuf,
    is_temporary: bool,
}

impl Scratch {
    /// Makes the directory, a new one for temporary files if none is given.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(dir: Option<&Path>) -> Result<Self, Failure> {
        let scratch = match dir {
            Some(dir) => Self { dir: dir.to_owned(), is_temporary: false },
            None => {
                let name = format!("driftline-demo-{}", std::process::id());
                Self { dir: std::env::temp_dir().join(name), is_temporary: true }
            }
        };
        fs::create_dir_all(&scratch.dir)
            .map_err(|error| Failure::other(format!("cannot make {}: {error}", scratch.dir.display())))?;
        Ok(scratch)
    }

    /// The directory of reports, which need not be there yet. It stays when the demo is over: that of the
    /// demo's files if these stay too, else one of its own.
    pub fn reports(&self) -> PathBuf {
        if !self.is_temporary {
            return self.dir.clone();
        }
        std::env::temp_dir().join(format!("driftline-demo-report-{}", std::process::id()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.is_temporary {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// The files of a demo.
#[derive(Debug, Clone)]
pub struct Files {
    /// Where they are.
    pub dir: PathBuf,
}

impl Files {
    /// Makes the directories.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn create(dir: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(dir.join("baselines"))?;
        Ok(Self { dir })
    }

    /// Training file of a version.
    pub fn training(&self, version: u32) -> PathBuf {
        self.dir.join(format!("training-{version}.csv"))
    }

    /// Baseline of a version.
    pub fn baseline(&self, version: u32) -> PathBuf {
        self.dir.join("baselines").join(format!("credit-{version}.baseline"))
    }

    /// The configuration.
    pub fn config(&self) -> PathBuf {
        self.dir.join("driftline.toml")
    }
}

/// Makes the topics on a real cluster; those that are there already are used as they are.
///
/// # Errors
/// When the cluster cannot be reached or refuses.
pub fn create_topics(brokers: &str) -> Result<(), String> {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().map_err(|error| error.to_string())?;
    let topics = [TOPIC, LABELS].map(|name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)));
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let results =
        runtime.block_on(admin.create_topics(&topics, &options)).map_err(|error| error.to_string())?;
    let refused = results.into_iter().find_map(|result| match result {
        Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => None,
        Err((name, code)) => Some(format!("topic {name}: {code}")),
    });
    refused.map_or(Ok(()), Err)
}

/// Builds the baseline of a version from its training file, as `driftline baseline build` does, and gives the
/// beginning of its id.
///
/// # Errors
/// When the training file does not fit or the baseline cannot be written.
pub fn train(files: &Files, version: u32) -> Result<String, Failure> {
    let roles = Roles {
        timestamp: Some("timestamp".into()),
        prediction: Some("decision".into()),
        scores: vec!["score".into()],
        label: Some("outcome".into()),
        ..Roles::default()
    };
    let outcomes = OutcomeOptions {
        task: Task::Binary,
        positive: POSITIVE.map(str::to_owned).to_vec(),
        classes: Vec::new(),
        threshold: THRESHOLD,
        score: None,
        amount: None,
    };
    let options = BuildOptions {
        panes: Some((WINDOW, Span::ZERO)),
        outcomes: Some(&outcomes),
        ..BuildOptions::default()
    };
    let built = crate::baseline::build(&files.training(version), &roles, &options)
        .map_err(|error| Failure::other(chain(&error)))?;
    let baseline =
        Baseline { model: Some("credit".into()), version: Some(version.to_string()), ..built }.sealed();
    baseline.write(&files.baseline(version)).map_err(Failure::other)?;
    Ok(baseline.id.to_string().chars().take(12).collect())
}

/// Writes the configuration of the service, and the credentials that it refers to.
///
/// # Errors
/// When a file cannot be written.
pub fn write_config(
    files: &Files,
    brokers: &str,
    listen: SocketAddr,
    receivers: &Receivers,
) -> Result<(), Failure> {
    let to = receivers.address;
    let secret = |name: &str, value: String| fs::write(files.dir.join(name), value).map_err(Failure::other);
    // Slack's URL and PagerDuty's key are credentials, and the configuration takes those by reference only.
    secret("slack-url", format!("http://{to}/slack"))?;
    secret("pagerduty-key", "demo-routing-key-of-32-characters".chars().take(32).collect())?;
    let text = format!(
        r#"# Written by `driftline demo`. A configuration of your own looks the same.
[service]
data_dir = "data"
listen = "{listen}"
commit_interval = "200ms"

[kafka]
brokers = "{brokers}"
group = "driftline-demo"
offset_reset = "earliest"

[[stream]]
topic = "{TOPIC}"
format = "json"
[stream.fields]
model = "/model/name"
version = "/model/version"
timestamp = "/ts"
timestamp_unit = "ms"
id = "/id"
features = "/features"
prediction = "/decision"
score = "/score"
latency_ms = "/latency_ms"

# What became of a loan is known minutes later, and comes on a topic of its own.
[[stream]]
topic = "{LABELS}"
format = "json"
model = "credit"
[stream.fields]
timestamp = "/ts"
timestamp_unit = "ms"
id = "/id"
label = "/outcome"

[[model]]
name = "credit"
baseline = "baselines/credit-{{version}}.baseline"
windows = ["10m"]
allowed_lateness = "1m"
# The demo's events begin two months ago and their time runs fast.
future_skew = "30d"
false_alarms = "1 per 30d"
resolve_after = 2
channels = ["slack", "pagerduty", "log"]
retrain = {{ channel = "trainer", after_windows = 1, cooldown = "1h", per_week_max = 100, only_if_it_pays = true }}

[model.performance]
task = "binary"
# Class 1 as labels name it, and as decisions do.
positive = ["{missed}", "{secured}"]
threshold = {THRESHOLD}
windows = ["10m"]
label_delay_max = "30m"

[model.value]
# Rows: paid, missed. Columns: a standard loan, a secured one. A security costs a good customer's patience; a
# missed instalment costs less with one.
costs = [[0.0, 2.0], [9.0, 3.0]]
currency = "EUR"
retrain_cost = 12000.0
retrain_risk = 3000.0

[model.training]
timestamp = "timestamp"
prediction = "decision"
scores = ["score"]
label = "outcome"

[[channel]]
name = "slack"
kind = "slack"
url = "file:{slack}"

[[channel]]
name = "pagerduty"
kind = "pagerduty"
url = "http://{to}/pagerduty"
routing_key = "file:{pagerduty}"

[[channel]]
name = "trainer"
kind = "retrain"
url = "http://{to}/retrain"

[[channel]]
name = "log"
kind = "webhook"
url = "http://{to}/incidents"
"#,
        missed = POSITIVE[0],
        secured = POSITIVE[1],
        slack = files.dir.join("slack-url").display(),
        pagerduty = files.dir.join("pagerduty-key").display(),
    );
    fs::write(files.config(), text).map_err(Failure::other)
}

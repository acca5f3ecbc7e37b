//! `driftline demo`: the whole loop in one process, with nothing to install.
//!
//! librdkafka's in-process cluster stands in for Kafka (or `--brokers` names a real one), local receivers
//! for Slack, PagerDuty and the training pipeline. Everything between is the real service: its
//! configuration file, its baseline files, its Kafka consumer, its store, its API. Event time runs
//! hundreds of times faster than the clock.
//!
//! With `--world-only` the service is left out: the demo is then the world around a Driftline that runs
//! elsewhere, as in `docker-compose.yml`.

mod population;
mod receivers;
mod story;
mod world;

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::mocking::MockCluster;

use self::population::Climate;
use self::receivers::{Received, Receivers};
use self::story::Story;
use self::world::{Files, MINUTES_PER_SECOND, PARTITIONS, STEP, TOPIC, World};
use super::run::stop_on_signal;
use super::{Failure, chain};
use crate::app::SystemClock;
use crate::app::service::Service;
use crate::baseline::{Baseline, BuildOptions, Roles};
use crate::event::{Clock, Span, Timestamp};

/// Steps before the world changes.
const CALM_STEPS: u32 = 80;
/// Applications under the new climate that the trainer waits for.
const TRAINING_MIN: usize = 3_000;
/// `--once` gives up after this.
const ONCE_MAX: Duration = Duration::from_secs(60);
/// Steps of the endless demo between a resolution and the next change.
const REST_STEPS: u32 = 300;

/// What to show.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// End by itself after alert, retrain call and resolution, with exit code 0; 1 if one is missing after 60 s.
    #[arg(long)]
    pub once: bool,
    /// A real Kafka instead of the in-process one.
    #[arg(long, value_name = "HOST:PORT")]
    pub brokers: Option<String>,
    /// Where the API and pages listen; if the port is taken, a free one is used.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Leave the service out: only events, receivers and the trainer. Needs `--brokers`.
    #[arg(long, requires = "brokers")]
    pub world_only: bool,
    /// Where the receivers listen.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    pub receivers: SocketAddr,
    /// Where the demo's files go; by default a new directory for temporary files, removed at the end.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Where the demo stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// As in training.
    Calm,
    /// The world has changed; nobody has been called yet.
    Drifting,
    /// The trainer was called and gathers applications.
    Training,
    /// The new version is live.
    Recovering,
    /// The incident is resolved.
    Resolved,
}

/// Runs the demo.
///
/// # Errors
/// [`Failure`] when something cannot be started, or `--once` misses one of its messages.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let scratch = Scratch::new(args.dir.as_deref())?;
    let files = Files::create(scratch.dir.clone()).map_err(Failure::other)?;
    let cluster = match &args.brokers {
        Some(_) => None,
        None => Some(MockCluster::new(1).map_err(Failure::other)?),
    };
    let brokers = match (&args.brokers, &cluster) {
        (Some(brokers), _) => {
            world::create_topic(brokers).map_err(|error| {
                Failure::other(format!("cannot make topic {TOPIC} on {brokers}: {error}"))
            })?;
            brokers.clone()
        }
        (None, Some(cluster)) => {
            cluster.create_topic(TOPIC, PARTITIONS, 1).map_err(Failure::other)?;
            cluster.bootstrap_servers()
        }
        (None, None) => return Err(Failure::other("no cluster")),
    };
    let receivers = Receivers::start(args.receivers).map_err(Failure::other)?;
    let world = World::new(&brokers, start_time()).map_err(Failure::other)?;
    let rows = world.write_first_training(&files.training(1)).map_err(Failure::other)?;
    let baseline = train(&files, 1)?;
    let mut story = Story::begin(out);
    story.tell(&format!(
        "credit version 1 is live; its baseline has {rows} training rows and id {baseline}"
    ))?;

    let service = if args.world_only {
        None
    } else {
        write_config(&files, &brokers, free(args.listen), &receivers)?;
        let config =
            crate::config::load(&files.config()).map_err(|errors| Failure::operator(errors.render(false)))?;
        Some(Service::start(&config).map_err(Failure::other)?)
    };
    match &service {
        Some(service) => story.tell(&format!(
            "driftline reads topic {TOPIC} and answers on http://{}/ (try /api/v1/incidents, /metrics)",
            service.address()
        ))?,
        None => story.tell(&format!("receivers listen on {}, events go to {brokers}", receivers.address))?,
    }
    story.tell(&format!(
        "event time runs {} times faster than the clock; windows are 10 minutes",
        MINUTES_PER_SECOND * 60
    ))?;

    let stop = Arc::new(AtomicBool::new(false));
    stop_on_signal(Arc::clone(&stop)).map_err(Failure::other)?;
    let result = Demo {
        args,
        files: &files,
        world,
        receivers,
        service: service.as_ref(),
        phase: Phase::Calm,
        stop: &stop,
    }
    .play(&mut story);
    if let Some(service) = service {
        service.stop().map_err(Failure::other)?;
    }
    match result? {
        Ending::Told => story.end(),
        Ending::Stopped => Ok(()),
    }
}

/// How a demo ends.
enum Ending {
    /// The story is told.
    Told,
    /// The process was told to stop.
    Stopped,
}

struct Demo<'a> {
    stop: &'a AtomicBool,
    args: &'a Args,
    files: &'a Files,
    world: World,
    receivers: Receivers,
    service: Option<&'a Service>,
    phase: Phase,
}

impl Demo<'_> {
    /// Turns the world until the story is told, or for ever.
    fn play(&mut self, story: &mut Story<'_>) -> Result<Ending, Failure> {
        let begun = Instant::now();
        let mut next = Instant::now();
        let mut steps_in_phase = 0;
        loop {
            self.world.step().map_err(Failure::other)?;
            steps_in_phase += 1;
            let before = self.phase;
            self.turn(steps_in_phase, story)?;
            while let Ok(received) = self.receivers.inbox.try_recv() {
                self.hear(&received, story)?;
            }
            if self.phase != before {
                steps_in_phase = 0;
            }
            if self.args.once && self.phase == Phase::Resolved && story.is_complete() {
                return self.world.flush().map(|()| Ending::Told).map_err(Failure::other);
            }
            if self.args.once && begun.elapsed() > ONCE_MAX {
                return Err(Failure::other(format!(
                    "after {} s still missing: {}",
                    ONCE_MAX.as_secs(),
                    story.missing()
                )));
            }
            if self.service.is_some_and(|service| !service.is_running()) {
                return Err(Failure::other("the service stopped; see the log above"));
            }
            if self.stop.load(Ordering::Relaxed) {
                return Ok(Ending::Stopped);
            }
            next += STEP;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    /// What happens by itself.
    fn turn(&mut self, steps: u32, story: &mut Story<'_>) -> Result<(), Failure> {
        match self.phase {
            Phase::Calm if steps >= CALM_STEPS => {
                self.world.change(Climate::Inflation);
                self.phase = Phase::Drifting;
                story.world_changed(self.world.now, self.world.sent())
            }
            Phase::Training if self.world.recent() >= TRAINING_MIN => {
                let version = self.world.version + 1;
                let rows = self
                    .world
                    .write_recent_training(&self.files.training(version))
                    .map_err(Failure::other)?;
                let baseline = train(self.files, version)?;
                self.world.version = version;
                self.phase = Phase::Recovering;
                story.retrained(version, rows, &baseline)
            }
            // The endless demo begins again: the world goes back, which is drift for the new version.
            Phase::Resolved if steps >= REST_STEPS => {
                let back =
                    if self.world.climate == Climate::Calm { Climate::Inflation } else { Climate::Calm };
                self.world.change(back);
                self.phase = Phase::Drifting;
                story.world_changed(self.world.now, self.world.sent())
            }
            _ => Ok(()),
        }
    }

    /// What the receivers got.
    fn hear(&mut self, received: &Received, story: &mut Story<'_>) -> Result<(), Failure> {
        match received {
            Received::Retrain { .. } if self.phase == Phase::Drifting => self.phase = Phase::Training,
            Received::PagerDuty { action, .. } if action == "resolve" && self.phase == Phase::Recovering => {
                self.phase = Phase::Resolved;
            }
            _ => {}
        }
        story.heard(received, self.world.now)
    }
}

/// The demo's directory; a temporary one is removed when this is dropped.
struct Scratch {
    dir: PathBuf,
    is_temporary: bool,
}

impl Scratch {
    fn new(dir: Option<&Path>) -> Result<Self, Failure> {
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
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.is_temporary {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Sixty days ago, at a full hour: the demo's time runs fast, and must not overtake the clock too soon.
fn start_time() -> Timestamp {
    (SystemClock.now() - Span::from_secs(60 * 86_400)).floor_to(Span::from_secs(3600), Span::ZERO)
}

/// The address, or one with a free port if its port is taken.
fn free(listen: SocketAddr) -> SocketAddr {
    match TcpListener::bind(listen) {
        Ok(_) => listen,
        Err(_) => SocketAddr::new(listen.ip(), 0),
    }
}

/// Builds the baseline of a version from its training file, as `driftline baseline build` does.
fn train(files: &Files, version: u32) -> Result<String, Failure> {
    let roles = Roles {
        timestamp: Some("timestamp".into()),
        prediction: Some("decision".into()),
        scores: vec!["score".into()],
        ..Roles::default()
    };
    let options = BuildOptions::default();
    let built = crate::baseline::build(&files.training(version), &roles, &options)
        .map_err(|error| Failure::other(chain(&error)))?;
    let baseline =
        Baseline { model: Some("credit".into()), version: Some(version.to_string()), ..built }.sealed();
    baseline.write(&files.baseline(version)).map_err(Failure::other)?;
    Ok(baseline.id.to_string().chars().take(12).collect())
}

fn write_config(
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

[[model]]
name = "credit"
baseline = "baselines/credit-{{version}}.baseline"
windows = ["10m"]
allowed_lateness = "1m"
# The demo's events begin two months ago and their time runs fast.
future_skew = "30d"
false_alarms = "1 per 30d"
resolve_after = 3
channels = ["slack", "pagerduty"]
retrain = {{ channel = "trainer", after_windows = 1, cooldown = "1h", per_week_max = 100 }}

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
"#,
        slack = files.dir.join("slack-url").display(),
        pagerduty = files.dir.join("pagerduty-key").display(),
    );
    fs::write(files.config(), text).map_err(Failure::other)
}

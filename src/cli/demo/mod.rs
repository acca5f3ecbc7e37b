//! `driftline demo`: the whole loop in one process, with nothing to install.
//!
//! librdkafka's in-process cluster stands in for Kafka (or `--brokers` names a real one), local receivers
//! for Slack, PagerDuty and the training pipeline. Everything between is the real service: its
//! configuration file, its baseline files, its Kafka consumer, its store, its API, its report. Event time
//! runs hundreds of times faster than the clock.
//!
//! The story: the world changes, and drift alarms before anyone knows whether it does harm. Labels come
//! minutes later and say that it does, and what it costs; so retraining pays, and the trainer is called. The
//! new version brings both incidents to their end, and a report tells of it all.
//!
//! With `--world-only` the service is left out: the demo is then the world around a Driftline that runs
//! elsewhere, as in `docker-compose.yml`.

mod population;
mod receivers;
mod setup;
mod story;
mod world;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::mocking::MockCluster;

use self::population::Climate;
use self::receivers::{Received, Receivers};
use self::setup::{Files, Scratch};
use self::story::Story;
use self::world::{LABELS, MINUTES_PER_SECOND, PARTITIONS, STEP, TOPIC, WINDOW, World};
use super::run::stop_on_signal;
use super::{Failure, report};
use crate::app::SystemClock;
use crate::app::service::Service;
use crate::config::Config;
use crate::event::{Clock, Span, Timestamp};

/// Steps before the world changes.
const CALM_STEPS: u32 = 60;
/// Cases of the new climate with a known outcome that the trainer waits for.
const TRAINING_MIN: usize = 2_500;
/// `--once` gives up after this.
const ONCE_MAX: Duration = Duration::from_secs(60);
/// Steps of the endless demo between a resolution and the next change.
const REST_STEPS: u32 = 300;
/// Steps of the endless demo between a resolution and the report.
const REPORT_STEPS: u32 = 20;

/// What to show.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// End by itself after alarms, retrain call, resolutions and report, with exit code 0; 1 if one is missing
    /// after 60 s.
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
    /// The trainer was called and waits until it knows enough of the new world.
    Training,
    /// The new version is live.
    Recovering,
    /// Every incident is resolved.
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
            setup::create_topics(brokers).map_err(|error| {
                Failure::other(format!("cannot make topics {TOPIC} and {LABELS} on {brokers}: {error}"))
            })?;
            brokers.clone()
        }
        (None, Some(cluster)) => {
            for topic in [TOPIC, LABELS] {
                cluster.create_topic(topic, PARTITIONS, 1).map_err(Failure::other)?;
            }
            cluster.bootstrap_servers()
        }
        (None, None) => return Err(Failure::other("no cluster")),
    };
    let receivers = Receivers::start(args.receivers).map_err(Failure::other)?;
    let world = World::new(&brokers, start_time()).map_err(Failure::other)?;
    let rows = world.write_first_training(&files.training(1)).map_err(Failure::other)?;
    let baseline = setup::train(&files, 1)?;
    let mut story = Story::begin(out);
    story.tell(&format!(
        "credit version 1 is live; its baseline has {rows} training rows and id {baseline}"
    ))?;

    let watched =
        if args.world_only { None } else { Some(Watched::start(args, &files, &brokers, &receivers)?) };
    match &watched {
        Some(Watched { service, .. }) => story.tell(&format!(
            "driftline reads {TOPIC} and {LABELS}, and answers on http://{}/ (try /api/v1/incidents, \
             /api/v1/models/credit/performance, /metrics)",
            service.address()
        ))?,
        None => story.tell(&format!("receivers listen on {}, events go to {brokers}", receivers.address))?,
    }
    story.tell(&format!(
        "event time runs {} times faster than the clock; windows are {WINDOW}, labels come minutes later",
        MINUTES_PER_SECOND * 60
    ))?;

    let stop = Arc::new(AtomicBool::new(false));
    stop_on_signal(Arc::clone(&stop)).map_err(Failure::other)?;
    let result = Demo {
        args,
        files: &files,
        reports: scratch.reports(),
        world,
        receivers,
        watched: watched.as_ref(),
        phase: Phase::Calm,
        open: BTreeSet::new(),
        stop: &stop,
    }
    .play(&mut story);
    if let Some(Watched { service, .. }) = watched {
        service.stop().map_err(Failure::other)?;
    }
    match result? {
        Ending::Told => story.end(),
        Ending::Stopped => Ok(()),
    }
}

/// The service that watches, with its configuration.
struct Watched {
    config: Config,
    service: Service,
}

impl Watched {
    fn start(args: &Args, files: &Files, brokers: &str, receivers: &Receivers) -> Result<Self, Failure> {
        setup::write_config(files, brokers, free(args.listen), receivers)?;
        let config =
            crate::config::load(&files.config()).map_err(|errors| Failure::operator(errors.render(false)))?;
        let service = Service::start(&config).map_err(Failure::other)?;
        Ok(Self { config, service })
    }

    /// Writes the report, as `driftline report` does beside a running service.
    fn report(&self, path: &Path) -> Result<(), Failure> {
        let args = report::Args {
            config: PathBuf::new(),
            model: None,
            since: Span::from_secs(30 * 86_400),
            window: None,
            format: report::Format::Html,
            output: Some(path.to_owned()),
        };
        report::run(&args, &self.config, SystemClock.now(), &mut io::sink())
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
    /// Where reports go.
    reports: PathBuf,
    world: World,
    receivers: Receivers,
    watched: Option<&'a Watched>,
    phase: Phase,
    /// Keys of what PagerDuty was called for and not told to be over.
    open: BTreeSet<String>,
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
                self.write_report("2-end", story)?;
                return self.world.flush().map(|()| Ending::Told).map_err(Failure::other);
            }
            if self.args.once && begun.elapsed() > ONCE_MAX {
                return Err(Failure::other(format!(
                    "after {} s still missing: {}",
                    ONCE_MAX.as_secs(),
                    story.missing()
                )));
            }
            if self.watched.is_some_and(|watched| !watched.service.is_running()) {
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
                story.world_changed(self.world.now, self.world.sent().predictions)
            }
            Phase::Training if self.world.learnable() >= TRAINING_MIN => {
                let version = self.world.version + 1;
                let rows = self
                    .world
                    .write_recent_training(&self.files.training(version))
                    .map_err(Failure::other)?;
                let baseline = setup::train(self.files, version)?;
                self.world.deploy(version);
                self.phase = Phase::Recovering;
                // What a reader sees who has to decide, before the new version tells.
                self.write_report("1-case", story)?;
                story.retrained(version, rows, &baseline)
            }
            Phase::Resolved if steps == REPORT_STEPS => self.write_report("2-end", story),
            // The endless demo begins again: the world goes back, which is drift for the new version.
            Phase::Resolved if steps >= REST_STEPS => {
                let back =
                    if self.world.climate == Climate::Calm { Climate::Inflation } else { Climate::Calm };
                self.world.change(back);
                self.phase = Phase::Drifting;
                story.world_changed(self.world.now, self.world.sent().predictions)
            }
            _ => Ok(()),
        }
    }

    /// What the receivers got.
    fn hear(&mut self, received: &Received, story: &mut Story<'_>) -> Result<(), Failure> {
        match received {
            Received::Retrain { .. } if self.phase == Phase::Drifting => self.phase = Phase::Training,
            Received::PagerDuty { action, dedup_key, .. } if action == "resolve" => {
                self.open.remove(dedup_key);
                if self.open.is_empty() && self.phase == Phase::Recovering {
                    self.phase = Phase::Resolved;
                }
            }
            Received::PagerDuty { dedup_key, .. } => {
                self.open.insert(dedup_key.clone());
            }
            _ => {}
        }
        story.heard(received, self.world.now)
    }

    /// Writes a report, if the store is here.
    fn write_report(&self, name: &str, story: &mut Story<'_>) -> Result<(), Failure> {
        let Some(watched) = self.watched else { return Ok(()) };
        let path = self.reports.join(format!("credit-{name}.html"));
        std::fs::create_dir_all(&self.reports)
            .map_err(|error| Failure::other(format!("cannot make {}: {error}", self.reports.display())))?;
        watched.report(&path)?;
        story.reported(&path, self.world.sent())
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

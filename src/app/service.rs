//! The running service: start, supervise, drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::library::{Library, LibraryError};
use super::owner::{Owner, OwnerError};
use super::pipeline::Pipeline;
use super::{SystemClock, plan_of, read_baseline};
use crate::config::Config;
use crate::event::{Clock, Timestamp};
use crate::monitor::{BudgetView, Lookup, Monitor, NeedsBaseline, Plan, RestoreError};
use crate::notify::deliver::{self, Attempted, Outcome, Ports, Signals, UnknownKind};
use crate::notify::transport::{HttpTransport, HttpTransportError};
use crate::serve::metrics::{Attempt, Labels};
use crate::serve::{self, ApiState, BlindSpots, Health, Metrics, ModelView, Models, VersionView, WindowsOf};
use crate::source::{KafkaSource, SourceError};
use crate::store::{Options, Store, StoreError};
use crate::verdict::blind_spots::{BlindSpot, Traffic, blind_spots};
use crate::verdict::{alpha_per_block, alpha_per_window};

/// The owner beats at least this often, or `/healthz` fails: far above any commit, far below a human's
/// patience.
const BEAT_AGE_MAX: Duration = Duration::from_secs(60);

/// Batches that wait between source and owner: with at most 2 MiB each they bound what is held in memory.
const BATCHES_WAITING: usize = 8;

/// How long the HTTP side and the delivery workers may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(4);

/// A service in this process.
pub struct Service {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), ServiceError>>>,
}

/// Why the service could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// `run` reads from Kafka.
    #[error("the configuration has no [kafka] section: `run` reads from Kafka; to read files use `replay`")]
    NoKafka,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A baseline that all versions share.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The stored state.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The Kafka client.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The address of the API.
    #[error("cannot listen on {address}: choose another [service] listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A thread or the runtime.
    #[error("the system gives no thread")]
    Thread(#[source] std::io::Error),
    /// A file of reference windows.
    #[error("{0}")]
    Reference(String),
    /// The HTTP client.
    #[error(transparent)]
    Transport(#[from] HttpTransportError),
    /// A channel.
    #[error(transparent)]
    Channel(#[from] UnknownKind),
    /// The owner's loop.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// The owner's thread.
    #[error("the service stopped unexpectedly; see the log above")]
    Died,
}

impl Service {
    /// Starts everything and returns when the API answers.
    ///
    /// # Errors
    /// [`ServiceError`]; nothing runs on then.
    pub fn start(config: &Config) -> Result<Self, ServiceError> {
        let kafka = config.kafka.as_ref().ok_or(ServiceError::NoKafka)?;
        let options =
            Options { dead_letters_max: config.service.dead_letters_max, history: config.service.history };
        let store = Arc::new(Store::open(&config.service.data_dir, options)?);
        let library = Arc::new(Library::open(
            plan_of(config).map_err(ServiceError::Reference)?,
            config.models.clone(),
            Box::new(read_baseline),
        )?);
        let (monitor, positions) = restore(&store, &library)?;

        let listen = |source| ServiceError::Listen { address: config.service.listen, source };
        let listener = std::net::TcpListener::bind(config.service.listen).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;

        let metrics = Arc::new(Metrics::new(labels(config)));
        for counter in store.counters()? {
            metrics.events(&counter.topic, &counter.model, &counter.outcome, counter.events);
        }
        let health = Arc::new(Health::new(BEAT_AGE_MAX));
        health.set_budgets(monitor.budgets());
        health.set_joins(monitor.joins());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("http")
            .enable_all()
            .build()
            .map_err(ServiceError::Thread)?;
        let arrival_to_outbox = Arc::new(AtomicU64::new(0));
        let side = {
            let _inside = runtime.enter();
            let (known, budgets) = (Arc::clone(&library), Arc::clone(&health));
            let told = Arc::clone(&library);
            let state = ApiState {
                store: Arc::clone(&store),
                metrics: Arc::clone(&metrics),
                health: Arc::clone(&health),
                models: Models(Arc::new(move || models(&known.plan(), &budgets.budgets()))),
                blind_spots: BlindSpots(Arc::new(move |windows| blind_spots_of(&told.plan(), windows))),
                config: config.id.as_str().into(),
                now,
            };
            Side::start(listener, state, config, &store, &metrics, &arrival_to_outbox)?
        };

        let (events, received) = std::sync::mpsc::sync_channel(BATCHES_WAITING);
        let source = KafkaSource::start(kafka, &config.streams, store.id(), &positions, events)?;
        let pipeline = Pipeline::start(monitor, Arc::clone(&library), config.service.workers)
            .map_err(ServiceError::Thread)?;
        let stop = Arc::new(AtomicBool::new(false));
        let owner = Owner {
            pipeline,
            library,
            store,
            source,
            received,
            metrics,
            health,
            wake: side.wake.clone(),
            commit_interval: config.service.commit_interval,
            stop: Arc::clone(&stop),
            arrival_to_outbox,
            arrival: None,
        };
        let thread = std::thread::Builder::new()
            .name("owner".to_owned())
            .spawn(move || {
                let result = owner.run();
                side.stop(runtime);
                result.map_err(ServiceError::from)
            })
            .map_err(ServiceError::Thread)?;
        tracing::info!(%address, "driftline is running");
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where the API listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// What asks the service to drain, commit and end.
    pub fn stopper(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Drains, commits and ends.
    ///
    /// # Errors
    /// What made it stop, if it was not asked to.
    pub fn stop(self) -> Result<(), ServiceError> {
        self.stop.store(true, Ordering::Relaxed);
        self.wait()
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// What made it stop, if it was not asked to.
    pub fn wait(mut self) -> Result<(), ServiceError> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) | None => Err(ServiceError::Died),
        }
    }
}

/// The HTTP server and the delivery workers.
struct Side {
    wake: watch::Sender<u64>,
    shutdown: watch::Sender<bool>,
    server: oneshot::Sender<()>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Side {
    fn start(
        listener: std::net::TcpListener,
        state: ApiState,
        config: &Config,
        store: &Arc<Store>,
        metrics: &Arc<Metrics>,
        arrival_to_outbox: &Arc<AtomicU64>,
    ) -> Result<Self, ServiceError> {
        let (wake, woken) = watch::channel(0);
        let (shutdown, told) = watch::channel(false);
        let (server, server_told) = oneshot::channel();
        let (heard, before) = (Arc::clone(metrics), Arc::clone(arrival_to_outbox));
        let ports = Ports {
            outbox: Arc::clone(store) as Arc<dyn crate::notify::Outbox>,
            transport: Arc::new(HttpTransport::new()?),
            clock: Arc::new(SystemClock),
            observer: Arc::new(move |attempted| hear(&heard, &before, attempted)),
        };
        let mut tasks = Vec::new();
        for channel in &config.channels {
            let signals = Signals { wake: woken.clone(), shutdown: told.clone() };
            tasks.push(deliver::spawn(channel.clone(), ports.clone(), signals)?);
        }
        tasks.push(tokio::spawn(async move {
            let asked = async {
                let _ = server_told.await;
            };
            if let Err(error) = serve::run(listener, state, asked).await {
                tracing::error!(%error, "the API stopped");
            }
        }));
        Ok(Self { wake, shutdown, server, tasks })
    }

    fn stop(self, runtime: tokio::runtime::Runtime) {
        let _ = self.shutdown.send(true);
        let _ = self.server.send(());
        runtime.block_on(async {
            let all = async {
                for task in self.tasks {
                    let _ = task.await;
                }
            };
            let _ = tokio::time::timeout(STOP_TIMEOUT, all).await;
        });
        // A blocked store call must not keep the process: what matters is durable.
        runtime.shutdown_timeout(Duration::from_millis(500));
    }
}

fn now() -> Timestamp {
    SystemClock.now()
}

fn hear(metrics: &Metrics, arrival_to_outbox: &AtomicU64, attempted: &Attempted<'_>) {
    let outcome = match attempted.outcome {
        Outcome::Delivered => Attempt::Delivered,
        Outcome::Retried => Attempt::Retried,
        Outcome::Dead => Attempt::Dead,
    };
    metrics.delivery(attempted.channel, outcome, attempted.duration);
    if attempted.outcome == Outcome::Delivered {
        let before = Duration::from_micros(arrival_to_outbox.load(Ordering::Relaxed));
        metrics.event_to_alert(before + attempted.since_created.to_duration());
    }
}

/// Starts the monitor from what the store holds, after loading the baselines that its panes were counted on.
fn restore(
    store: &Store,
    library: &Library,
) -> Result<(Monitor, Vec<crate::monitor::Position>), ServiceError> {
    let restored = store.restore()?;
    let positions = restored.positions.clone();
    // Rows first: of outcomes there may be more versions than can be loaded at once, and those that predict now
    // must not be among the ones left out.
    for panes in [&restored.panes, &restored.outcome_panes] {
        let plan = library.plan();
        let mut needs: Vec<NeedsBaseline> = panes
            .iter()
            .filter_map(|pane| {
                Some(NeedsBaseline { model: plan.model(&pane.key.model)?, version: pane.key.version.clone() })
            })
            .collect();
        needs.sort();
        needs.dedup();
        library.find(&needs);
    }
    let plan = library.plan();
    let (monitor, notes) = Monitor::restore(plan, restored, &|model| Some(store.journal_reader(model)))?;
    for note in notes {
        tracing::warn!("{note}");
    }
    Ok((monitor, positions))
}

fn labels(config: &Config) -> Labels {
    Labels {
        topics: config.streams.iter().map(|stream| stream.topic.clone()).collect(),
        models: config.models.iter().map(|model| model.name.clone()).collect(),
        channels: config.channels.iter().map(|channel| channel.name.clone()).collect(),
    }
}

/// What a model's windows are too small to show.
fn blind_spots_of(plan: &Plan, asked: WindowsOf<'_>) -> Option<Vec<BlindSpot>> {
    let model = plan.models().get(plan.model(asked.model)?)?;
    let Lookup::Found(prepared) = model.lookup(asked.version) else { return None };
    let windows = &model.settings.windows.windows;
    let window = windows.iter().find(|window| window.length == asked.length)?;
    let verdict = &model.settings.verdict;
    let parts = model.settings.budget_parts();
    let alpha = alpha_per_window(verdict.budget, window.slide, parts);
    let calibration = prepared.calibrations.get(window.length).ok();
    let ranking = calibration
        .map(|calibration| (&**calibration, alpha_per_block(verdict.budget, window.length, parts)));
    Some(blind_spots(&prepared.baseline, Traffic { rows: asked.rows }, verdict, alpha, ranking))
}

fn models(plan: &Plan, budgets: &[BudgetView]) -> Vec<ModelView> {
    let calibration = |name: &str| {
        let budget = budgets.iter().find(|budget| budget.model == name);
        budget.map_or("uncalibrated", BudgetView::calibration).to_owned()
    };
    plan.models()
        .iter()
        .map(|model| ModelView {
            name: model.settings.name.clone(),
            versions: model
                .versions()
                .map(|(version, prepared)| VersionView {
                    version: version.map(str::to_owned),
                    baseline: prepared.id.clone(),
                })
                .collect(),
            windows: model.settings.windows.windows.clone(),
            allowed_lateness: model.settings.windows.allowed_lateness,
            false_alarms: model.settings.verdict.budget,
            calibration: calibration(&model.settings.name),
        })
        .collect()
}

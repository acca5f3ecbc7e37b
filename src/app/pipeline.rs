//! Workers and owner: records go out to be decoded and counted, and come back in the order they went.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::event::{Origin, RawBatch, RejectReason, Timestamp};
use crate::monitor::{IngestError, Monitor, Partial, Summariser};
use crate::source::SourceEvent;

use super::library::Library;

/// Batches that wait for each worker: one that it works on, one that is next, one on its way back.
const BATCHES_PER_WORKER: usize = 3;

/// How often one batch may ask for baselines before it is given up; each round loads what was asked for.
const ROUNDS_MAX: usize = 4;

/// The workers, what is under way, and the monitor that takes the results.
pub struct Pipeline {
    monitor: Monitor,
    library: Arc<Library>,
    workers: Vec<Worker>,
    under_way: VecDeque<UnderWay>,
    next: usize,
}

struct Worker {
    input: Option<SyncSender<RawBatch>>,
    output: Receiver<Partial>,
    thread: Option<JoinHandle<()>>,
}

/// Something the source said, in the order it said it.
enum UnderWay {
    /// With worker number so and so.
    Records(usize),
    /// Passed on when everything before it has been added.
    Word(SourceEvent),
}

/// What came back.
#[derive(Debug)]
pub enum Came {
    /// A batch was added; this is when its last record arrived.
    Added(Option<Timestamp>),
    /// The source said something that only the application can act on.
    Word(SourceEvent),
}

/// A worker ended although it should not, or the source broke its promise.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// A thread that counts is gone.
    #[error("a worker thread stopped unexpectedly; see the log above")]
    Worker,
    /// Records were handed over twice, or waiting predictions cannot be read.
    #[error(transparent)]
    Ingest(#[from] IngestError),
}

impl Pipeline {
    /// Starts `workers` threads.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(monitor: Monitor, library: Arc<Library>, workers: usize) -> std::io::Result<Self> {
        let workers =
            (0..workers.max(1)).map(|number| Worker::start(number, &library)).collect::<Result<_, _>>()?;
        Ok(Self { monitor, library, workers, under_way: VecDeque::new(), next: 0 })
    }

    /// The owner.
    pub fn monitor(&mut self) -> &mut Monitor {
        &mut self.monitor
    }

    /// Whether nothing more can be taken before something came back.
    pub fn is_full(&self) -> bool {
        self.under_way.len() >= self.workers.len() * BATCHES_PER_WORKER
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Takes what the source said. Call only while not [full](Self::is_full).
    ///
    /// # Errors
    /// [`PipelineError::Worker`] when a worker is gone.
    pub fn put(&mut self, event: SourceEvent) -> Result<(), PipelineError> {
        match event {
            SourceEvent::Records(raw) => {
                let worker = self.next % self.workers.len();
                self.next = worker + 1;
                let input = self.workers.get(worker).and_then(|worker| worker.input.as_ref());
                input.ok_or(PipelineError::Worker)?.send(raw).map_err(|_| PipelineError::Worker)?;
                self.under_way.push_back(UnderWay::Records(worker));
            }
            word => self.under_way.push_back(UnderWay::Word(word)),
        }
        Ok(())
    }

    /// Waits for the oldest thing under way and adds it.
    ///
    /// # Errors
    /// [`PipelineError`] when a worker is gone or records were handed over twice.
    pub fn take(&mut self, now: Timestamp) -> Result<Option<Came>, PipelineError> {
        let Some(first) = self.under_way.pop_front() else { return Ok(None) };
        match first {
            UnderWay::Records(worker) => {
                let output = self.workers.get(worker).map(|worker| &worker.output);
                let partial =
                    output.ok_or(PipelineError::Worker)?.recv().map_err(|_| PipelineError::Worker)?;
                let arrival = partial.raw.arrivals.last().copied();
                self.monitor.set_plan(self.library.plan());
                self.monitor.ingest(partial, now)?;
                Ok(Some(Came::Added(arrival)))
            }
            UnderWay::Word(SourceEvent::AtEnd(origin, next)) => {
                self.monitor.at_end(&origin, next, now);
                Ok(Some(Came::Word(SourceEvent::AtEnd(origin, next))))
            }
            UnderWay::Word(SourceEvent::Assigned(partitions)) => {
                self.monitor.assign(partitions.iter().cloned());
                Ok(Some(Came::Word(SourceEvent::Assigned(partitions))))
            }
            UnderWay::Word(word) => Ok(Some(Came::Word(word))),
        }
    }

    /// These partitions are given up: call after committing what was read of them.
    pub fn revoke(&mut self, partitions: &[Origin]) {
        self.monitor.revoke(partitions);
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            worker.input = None;
        }
        for worker in &mut self.workers {
            // Whatever still comes back must be taken, or the worker waits for room for ever.
            while worker.output.recv().is_ok() {}
            if let Some(thread) = worker.thread.take() {
                let _ = thread.join();
            }
        }
    }
}

impl Worker {
    fn start(number: usize, library: &Arc<Library>) -> std::io::Result<Self> {
        let (input, batches) = sync_channel::<RawBatch>(BATCHES_PER_WORKER);
        let (results, output) = sync_channel(BATCHES_PER_WORKER);
        let library = Arc::clone(library);
        let thread = std::thread::Builder::new().name(format!("count-{number}")).spawn(move || {
            let mut summariser = Summariser::new(library.plan());
            while let Ok(raw) = batches.recv() {
                let partial = summarise(&mut summariser, &library, raw);
                if results.send(partial).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { input: Some(input), output, thread: Some(thread) })
    }
}

fn summarise(summariser: &mut Summariser, library: &Library, mut raw: RawBatch) -> Partial {
    let plan = library.plan();
    if !Arc::ptr_eq(&plan, summariser.plan()) {
        *summariser = Summariser::new(plan);
    }
    for _ in 0..ROUNDS_MAX {
        match summariser.summarise(raw) {
            Ok(partial) => return partial,
            Err(postponed) => {
                raw = postponed.raw;
                *summariser = Summariser::new(library.find(&postponed.needs));
            }
        }
    }
    // Every round adds all that was asked for to the plan, so the second one already succeeds; were it
    // otherwise, the records must not vanish.
    Partial::rejecting(raw, RejectReason::NoBaseline)
}

//! The files of a replay: which stream each belongs to, and which is read next.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Args;
use crate::cli::{Failure, chain};
use crate::config::Config;
use crate::event::{Origin, Span, Timestamp};
use crate::monitor::Monitor;
use crate::source::{FileSource, SourceEvent};

/// Most records of a batch where windows are looked at between batches.
const RECORDS_MAX: usize = 4_096;

/// The files, each a partition of its stream's topic.
pub(super) struct Files {
    files: Vec<OneFile>,
    /// The shortest pane of the models whose performance is measured, if there are any.
    pane: Option<Span>,
}

struct OneFile {
    path: PathBuf,
    stream: usize,
    origin: Origin,
    /// Opened when it is first read.
    source: Option<FileSource>,
    /// Records of the next batch, where that matters.
    records: usize,
    /// The newest event time before the last batch.
    shown: Option<Timestamp>,
    is_over: bool,
}

impl Files {
    /// Finds the stream of each file; none is opened yet.
    ///
    /// # Errors
    /// [`Failure`] when it is not said which stream a file is of.
    pub(super) fn of(args: &Args, config: &Config) -> Result<Self, Failure> {
        let file = |(number, event): (usize, &PathBuf)| {
            let (stream, path) = match named(event, config) {
                Some((stream, path)) => (stream, path),
                None => (stream_of(args, event, config)?, event.clone()),
            };
            let topic: Arc<str> =
                config.streams.get(stream).map_or("", |stream| stream.topic.as_str()).into();
            let origin = Origin { topic, partition: i32::try_from(number).unwrap_or(i32::MAX) };
            Ok(OneFile { path, stream, origin, source: None, records: 1, shown: None, is_over: false })
        };
        let measured = config.models.iter().filter(|model| model.performance.is_some());
        Ok(Self {
            files: args.events.iter().enumerate().map(file).collect::<Result<_, Failure>>()?,
            pane: measured.map(|model| model.windows.pane()).min(),
        })
    }

    /// The partitions they stand for.
    pub(super) fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.files.iter().map(|file| &file.origin)
    }

    /// Whether they are read side by side, by event time, and not one after the other. Then all that came of
    /// one batch has to be counted before the next is asked for.
    pub(super) fn is_by_time(&self) -> bool {
        self.pane.is_some() && self.files.len() > 1
    }

    /// What the next file says; `None` when all are over.
    ///
    /// # Errors
    /// [`Failure`] when a file cannot be opened.
    pub(super) fn next(
        &mut self,
        monitor: &Monitor,
        config: &Config,
    ) -> Result<Option<SourceEvent>, Failure> {
        let is_by_time = self.is_by_time();
        let pane = self.pane;
        loop {
            let mut open = self.files.iter_mut().filter(|file| !file.is_over);
            // A file that has shown no time is the furthest behind.
            let next = match is_by_time {
                true => open.min_by_key(|file| monitor.newest(&file.origin)),
                false => open.next(),
            };
            let Some(file) = next else { return Ok(None) };
            let mut source = match file.source.take() {
                Some(source) => {
                    file.pace(pane, monitor.newest(&file.origin));
                    source
                }
                None => open_file(file, config)?,
            };
            if pane.is_some() {
                source = source.in_batches_of(file.records);
            }
            match source.next() {
                Some(event) => {
                    // The end is the last that a file says.
                    file.is_over = matches!(event, SourceEvent::AtEnd(..));
                    file.source = Some(source).filter(|_| !file.is_over);
                    return Ok(Some(event));
                }
                None => file.is_over = true,
            }
        }
    }
}

impl OneFile {
    /// Sets the size of the next batch so that batches span about half a pane of event time: no file then runs
    /// ahead of the others by more than a pane, and windows are looked at in each. Where a file begins is known
    /// only from its first records, so these are few.
    fn pace(&mut self, pane: Option<Span>, newest: Option<Timestamp>) {
        let went = newest.zip(self.shown).map_or(Span::ZERO, |(newest, shown)| newest - shown);
        let is_too_far = pane.is_some_and(|pane| went + went > pane);
        self.records = if is_too_far { self.records / 2 } else { self.records * 2 }.clamp(1, RECORDS_MAX);
        self.shown = newest;
    }
}

fn open_file(file: &OneFile, config: &Config) -> Result<FileSource, Failure> {
    let limits = config.streams.get(file.stream).map(|stream| stream.limits).unwrap_or_default();
    let source = FileSource::open(&file.path, file.stream, limits.bytes_max);
    let source = source.map_err(|error| Failure::operator(chain(&error)))?;
    Ok(source.in_place_of(file.origin.clone()))
}

/// The stream and the path of `TOPIC=FILE`; `None` for what does not begin with a topic of the configuration.
fn named(event: &Path, config: &Config) -> Option<(usize, PathBuf)> {
    let (topic, path) = event.to_str()?.split_once('=')?;
    let stream = config.streams.iter().position(|stream| stream.topic == topic)?;
    Some((stream, path.into()))
}

fn stream_of(args: &Args, event: &Path, config: &Config) -> Result<usize, Failure> {
    let topics = || config.streams.iter().map(|stream| stream.topic.as_str()).collect::<Vec<_>>().join(", ");
    match (&args.topic, config.streams.len()) {
        (None, 1) => Ok(0),
        (None, _) => Err(Failure::operator(format!(
            "say which stream {} is of: TOPIC=FILE, or --topic for all files that name none; topics are {}",
            event.display(),
            topics()
        ))),
        (Some(topic), _) => {
            config.streams.iter().position(|stream| stream.topic == *topic).ok_or_else(|| {
                Failure::operator(format!("the configuration has no stream `{topic}`, only {}", topics()))
            })
        }
    }
}

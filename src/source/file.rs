//! JSON lines from a file or standard input.
//!
//! Every line is a record; its offset is its number from 0. An empty line is an empty record, which the
//! decoder rejects and counts. Memory is bounded whatever the file holds: of a line that is longer than
//! a record may be, only enough is kept for the decoder to see that.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;

use super::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, SourceError, SourceEvent, wall_clock};
use crate::event::{Origin, RawBatch};

/// Name of the origin of records from standard input.
const STDIN: &str = "stdin";

/// The UTF-8 byte order mark that some editors put in front.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The records of a file: [`SourceEvent::Assigned`], batches, [`SourceEvent::AtEnd`]; or, where the
/// reading fails, [`SourceEvent::Failed`].
pub struct FileSource {
    reader: Box<dyn BufRead + Send>,
    stream: usize,
    origin: Origin,
    line_bytes_max: usize,
    records_max: usize,
    /// Number of the next line.
    next: i64,
    stage: Stage,
}

enum Stage {
    Start,
    Lines,
    End,
}

impl FileSource {
    /// Opens a file of JSON lines: plain, gzip if its name ends in `.gz`, or `-` for standard input.
    ///
    /// `stream` is the index of the stream whose mapping the lines follow; `line_bytes_max` is the largest
    /// record that is decoded. The origin is called by the file's name without its folder.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened.
    pub fn open(path: &Path, stream: usize, line_bytes_max: usize) -> Result<Self, SourceError> {
        if path.as_os_str() == "-" {
            return Ok(Self::new(Box::new(BufReader::new(io::stdin())), STDIN, stream, line_bytes_max));
        }
        let open = |source| SourceError::Open { path: path.to_owned(), source };
        let file = File::open(path).map_err(open)?;
        if file.metadata().map_err(open)?.is_dir() {
            return Err(open(io::ErrorKind::IsADirectory.into()));
        }
        let plain = BufReader::with_capacity(1 << 18, file);
        let reader: Box<dyn BufRead + Send> = if path.extension().is_some_and(|extension| extension == "gz") {
            Box::new(BufReader::with_capacity(1 << 18, MultiGzDecoder::new(plain)))
        } else {
            Box::new(plain)
        };
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        Ok(Self::new(reader, &name, stream, line_bytes_max))
    }

    /// Stands in for a partition of a topic: its records count like those of that partition.
    #[must_use]
    pub fn in_place_of(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    /// Gives batches of at most so many records, at least one: the way for a reader that looks between them.
    #[must_use]
    pub fn in_batches_of(self, records: usize) -> Self {
        Self { records_max: records.clamp(1, BATCH_RECORDS_MAX), ..self }
    }

    fn new(reader: Box<dyn BufRead + Send>, name: &str, stream: usize, line_bytes_max: usize) -> Self {
        let origin = Origin { topic: Arc::from(name), partition: 0 };
        let records_max = BATCH_RECORDS_MAX;
        Self { reader, stream, origin, line_bytes_max, records_max, next: 0, stage: Stage::Start }
    }

    /// Reads lines until a batch is full or the file ends.
    fn read_batch(&mut self) -> io::Result<RawBatch> {
        let mut batch = RawBatch::new(self.stream, self.origin.clone());
        let arrival = wall_clock();
        let mut line = Vec::new();
        while batch.len() < self.records_max && batch.bytes.len() < BATCH_BYTES_MAX {
            line.clear();
            if !read_line(&mut self.reader, &mut line, self.line_bytes_max.saturating_add(1))? {
                break;
            }
            let text =
                if self.next == 0 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line) } else { &line };
            batch.push(self.next, arrival, text);
            self.next += 1;
        }
        Ok(batch)
    }

    fn fail(&mut self, error: &io::Error) -> SourceEvent {
        self.stage = Stage::End;
        SourceEvent::Failed(format!("{} cannot be read after line {}: {error}", self.origin.topic, self.next))
    }
}

impl Iterator for FileSource {
    type Item = SourceEvent;

    fn next(&mut self) -> Option<SourceEvent> {
        match self.stage {
            Stage::Start => {
                self.stage = Stage::Lines;
                Some(SourceEvent::Assigned(vec![(self.origin.clone(), 0)]))
            }
            Stage::Lines => Some(match self.read_batch() {
                Ok(batch) if batch.is_empty() => {
                    self.stage = Stage::End;
                    SourceEvent::AtEnd(self.origin.clone(), self.next)
                }
                Ok(batch) => SourceEvent::Records(batch),
                Err(error) => self.fail(&error),
            }),
            Stage::End => None,
        }
    }
}

/// Reads a line without its end, keeping at most `keep` bytes of it. Returns false at the end of the file.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>, keep: usize) -> io::Result<bool> {
    let read = reader.by_ref().take(keep as u64).read_until(b'\n', line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(true);
    }
    if read == keep {
        reader.skip_until(b'\n')?;
    }
    Ok(read > 0)
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;

    fn source(text: &[u8], line_bytes_max: usize) -> FileSource {
        FileSource::new(Box::new(Cursor::new(text.to_vec())), "events.jsonl", 3, line_bytes_max)
    }

    /// The lines with their numbers, and where the file ended.
    fn lines(source: FileSource) -> (Vec<(i64, String)>, Option<i64>) {
        let mut lines = Vec::new();
        let mut end = None;
        for event in source {
            match event {
                SourceEvent::Records(batch) => {
                    assert_eq!(batch.stream, 3);
                    for row in 0..batch.len() {
                        let text = String::from_utf8(batch.payload(row).to_vec()).unwrap();
                        lines.push((batch.offsets[row], text));
                    }
                }
                SourceEvent::AtEnd(_, next) => end = Some(next),
                SourceEvent::Assigned(of) => assert_eq!(&*of[0].0.topic, "events.jsonl"),
                other => panic!("unexpected {other:?}"),
            }
        }
        (lines, end)
    }

    fn numbered(texts: &[&str]) -> Vec<(i64, String)> {
        (0..).zip(texts.iter().map(|text| (*text).to_owned())).collect()
    }

    #[test]
    fn every_line_is_a_record_with_its_number() {
        let expected = (numbered(&["{\"a\":1}", "", "{\"b\":2}"]), Some(3));
        assert_eq!(lines(source(b"{\"a\":1}\n\n{\"b\":2}\n", 100)), expected);
        assert_eq!(lines(source(b"{\"a\":1}\n\n{\"b\":2}", 100)), expected);
    }

    #[test]
    fn an_empty_file_ends_at_once() {
        assert_eq!(lines(source(b"", 100)), (vec![], Some(0)));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_record() {
        assert_eq!(lines(source(b"\xef\xbb\xbf{}\n{}", 100)).0, numbered(&["{}", "{}"]));
    }

    #[test]
    fn a_line_beyond_the_limit_is_kept_as_one_record_that_shows_it() {
        let (read, end) = lines(source(b"12345\n1234567890\n1234\n123456\n12345678", 5));
        assert_eq!(read, numbered(&["12345", "123456", "1234", "123456", "123456"]));
        assert_eq!(end, Some(5));
    }

    #[test]
    fn long_files_come_in_bounded_batches() {
        let text = "{\"value\":12345678}\n".repeat(2 * BATCH_RECORDS_MAX + 1);
        let sizes: Vec<usize> = source(text.as_bytes(), 100)
            .filter_map(
                |event| if let SourceEvent::Records(batch) = event { Some(batch.len()) } else { None },
            )
            .collect();
        assert_eq!(sizes, [BATCH_RECORDS_MAX, BATCH_RECORDS_MAX, 1]);
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_files_are_read_through_all_their_members() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl.gz");
        std::fs::write(&path, [gzip("1\n2\n"), gzip("3\n")].concat()).unwrap();
        let records: usize = FileSource::open(&path, 0, 100)
            .unwrap()
            .map(|event| if let SourceEvent::Records(batch) = event { batch.len() } else { 0 })
            .sum();
        assert_eq!(records, 3);
    }

    #[test]
    fn a_cut_gzip_file_fails_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut.jsonl.gz");
        let whole = gzip(&"{\"a\":1}\n".repeat(1000));
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let last = FileSource::open(&path, 0, 100).unwrap().last();
        assert!(matches!(last, Some(SourceEvent::Failed(message)) if message.contains("cut.jsonl.gz")));
    }

    #[test]
    fn a_missing_file_and_a_folder_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("none.jsonl")] {
            let error = FileSource::open(&path, 0, 100).err().unwrap();
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        }
    }
}

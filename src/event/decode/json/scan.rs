//! The bytes of one record and a position in them: white space, strings, literals, and values that
//! nobody asked for.
//!
//! Invariant: a step that succeeds has checked what it passed over against RFC 8259. So a record that is
//! read to its end is well-formed JSON, whatever part of it the mapping looks at. Strings are checked more
//! strictly in one point: an escaped surrogate must be one of a pair, as it could not be UTF-8 otherwise.

use super::number::{self, Number};
use super::plan::Written;
use crate::event::RejectReason;

/// Deepest nesting that can be configured; one bit of [`Scanner::objects`] each.
pub(super) const DEPTH_LIMIT: usize = 1024;

const ONES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = 0x8080_8080_8080_8080;

/// Reading of a record stopped; [`Scanner::fault`] says why. It carries nothing so that the many results
/// on the good path stay in a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stop;

/// A step in reading.
pub(super) type Step<T> = Result<T, Stop>;

/// Why a record was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub reason: RejectReason,
    /// What is wrong, as a fragment that reads on with "at byte".
    pub what: &'static str,
    /// Position in the record, from 0.
    pub at: usize,
}

/// A string between its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text<'a> {
    /// Its bytes as written.
    pub raw: &'a [u8],
    /// Whether they hold escapes.
    pub escaped: bool,
}

/// A record and a position in it.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    depth_max: usize,
    /// For each open container that is being skipped whether it is an object, by depth.
    objects: [u64; DEPTH_LIMIT / 64],
    fault: Option<Fault>,
}

impl<'a> Scanner<'a> {
    /// A scanner at the start of a record, which must be UTF-8.
    pub(super) fn new(bytes: &'a [u8], depth_max: usize) -> Self {
        let depth_max = depth_max.min(DEPTH_LIMIT);
        Self { bytes, at: 0, depth: 0, depth_max, objects: [0; DEPTH_LIMIT / 64], fault: None }
    }

    /// Why reading stopped.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Position in the record.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The next byte; 0 at the end, which is no JSON byte outside of strings.
    #[inline(always)]
    pub(super) fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Passes over one byte.
    #[inline]
    pub(super) fn bump(&mut self) {
        self.at += 1;
    }

    /// Passes over white space.
    #[inline(always)]
    pub(super) fn skip_space(&mut self) {
        if self.peek() > b' ' {
            return;
        }
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// Passes over `expected` if it comes next.
    #[inline]
    pub(super) fn skip_if(&mut self, expected: &[u8]) -> bool {
        let end = self.at + expected.len();
        let found = self.bytes.get(self.at..end) == Some(expected);
        if found {
            self.at = end;
        }
        found
    }

    /// Passes over a key that was expected, from behind its opening quote to its value.
    #[inline(always)]
    pub(super) fn skip_written(&mut self, written: &Written) -> bool {
        let Some(length) = self.bytes.get(self.at..).and_then(|rest| written.matches(rest)) else {
            return false;
        };
        self.at += length;
        self.skip_space();
        true
    }

    /// Stops here because the bytes are no JSON.
    #[cold]
    pub(super) fn malformed<T>(&mut self, what: &'static str) -> Step<T> {
        let what = if self.at >= self.bytes.len() { "the record ends too early" } else { what };
        self.stop(RejectReason::Malformed, what)
    }

    /// Stops because the record, which starts at `start`, is well-formed but no object.
    #[cold]
    pub(super) fn not_an_object<T>(&mut self, start: usize) -> Step<T> {
        self.at = start;
        self.stop(RejectReason::NotAnObject, "a value that is no object")
    }

    #[cold]
    fn stop<T>(&mut self, reason: RejectReason, what: &'static str) -> Step<T> {
        self.fault = Some(Fault { reason, what, at: self.at.min(self.bytes.len()) });
        Err(Stop)
    }

    /// Passes over white space, a colon and white space.
    #[inline]
    pub(super) fn colon(&mut self) -> Step<()> {
        self.skip_space();
        if self.peek() != b':' {
            return self.malformed("no `:` after a key");
        }
        self.bump();
        self.skip_space();
        Ok(())
    }

    /// Passes over the bracket that opens a container, and white space behind it.
    #[inline]
    pub(super) fn open(&mut self) -> Step<()> {
        if self.depth >= self.depth_max {
            return self.stop(RejectReason::TooDeep, "a container beyond the depth limit opens");
        }
        self.depth += 1;
        self.bump();
        self.skip_space();
        Ok(())
    }

    /// Passes over the bracket that closes a container.
    #[inline]
    pub(super) fn close(&mut self) {
        self.depth -= 1;
        self.bump();
    }

    /// Behind a member or element: `true` if another follows, `false` if the container has been closed.
    #[inline(always)]
    pub(super) fn another(&mut self, closing: u8) -> Step<bool> {
        self.skip_space();
        let next = self.peek();
        if next == b',' {
            self.bump();
            self.skip_space();
            Ok(true)
        } else if next == closing {
            self.close();
            Ok(false)
        } else {
            self.malformed("neither `,` nor the end of the container")
        }
    }

    /// A number.
    #[inline(always)]
    pub(super) fn number(&mut self) -> Step<Number<'a>> {
        match number::scan(self.bytes, self.at) {
            Ok(number) => {
                self.at += number.text.len();
                Ok(number)
            }
            Err(at) => {
                self.at = at;
                self.malformed("a number breaks off")
            }
        }
    }

    /// `true`, `false` or `null`; `None` stands for null.
    #[inline]
    pub(super) fn literal(&mut self) -> Step<Option<bool>> {
        for (word, value) in [(b"true".as_slice(), Some(true)), (b"false", Some(false)), (b"null", None)] {
            if self.skip_if(word) {
                return Ok(value);
            }
        }
        self.malformed("no JSON value")
    }

    /// A string, from its opening quote to behind its closing one.
    #[inline(always)]
    pub(super) fn string(&mut self) -> Step<Text<'a>> {
        if self.peek() != b'"' {
            return self.malformed("no `\"` where a key belongs");
        }
        self.bump();
        self.rest_of_string()
    }

    /// A string whose opening quote is already behind.
    #[inline(always)]
    pub(super) fn rest_of_string(&mut self) -> Step<Text<'a>> {
        let start = self.at;
        let mut escaped = false;
        loop {
            self.skip_plain();
            match self.bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return self.malformed("a control character in a string"),
                None => return self.malformed("a string breaks off"),
            }
        }
        let raw = self.bytes.get(start..self.at).unwrap_or_default();
        self.bump();
        Ok(Text { raw, escaped })
    }

    /// Passes over the bytes that mean themselves in a string, eight at a time.
    #[inline(always)]
    fn skip_plain(&mut self) {
        while let Some(chunk) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
            let special = special_bytes(u64::from_le_bytes(*chunk));
            if special != 0 {
                self.at += usize::try_from(special.trailing_zeros() / 8).unwrap_or(0);
                return;
            }
            self.at += 8;
        }
        while self.bytes.get(self.at).is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
            self.at += 1;
        }
    }

    fn escape(&mut self) -> Step<()> {
        self.bump();
        match self.peek() {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.bump();
                Ok(())
            }
            b'u' => self.unicode_escape(),
            _ => self.malformed("an unknown escape in a string"),
        }
    }

    fn unicode_escape(&mut self) -> Step<()> {
        self.bump();
        match self.hex_unit()? {
            0xdc00..=0xdfff => self.malformed("half of a surrogate pair in a string"),
            0xd800..=0xdbff => {
                if !self.skip_if(b"\\u") || !matches!(self.hex_unit()?, 0xdc00..=0xdfff) {
                    return self.malformed("half of a surrogate pair in a string");
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn hex_unit(&mut self) -> Step<u32> {
        let unit = self.bytes.get(self.at..).and_then(hex_unit);
        match unit {
            Some(unit) => {
                self.at += 4;
                Ok(unit)
            }
            None => self.malformed("not four hexadecimal digits after `\\u`"),
        }
    }

    /// Passes over a value of any kind, without recursion.
    pub(super) fn skip_value(&mut self) -> Step<()> {
        let floor = self.depth;
        loop {
            match self.peek() {
                b'"' => {
                    self.string()?;
                }
                b'{' => {
                    if self.skip_open(true)? {
                        continue;
                    }
                }
                b'[' => {
                    if self.skip_open(false)? {
                        continue;
                    }
                }
                b'-' | b'0'..=b'9' => {
                    self.number()?;
                }
                _ => {
                    self.literal()?;
                }
            }
            if !self.skip_to_next(floor)? {
                return Ok(());
            }
        }
    }

    /// Opens a container that is skipped; `true` if a value of it comes next, `false` if it was empty.
    fn skip_open(&mut self, object: bool) -> Step<bool> {
        self.open()?;
        let bit = 1 << (self.depth % 64);
        if let Some(word) = self.objects.get_mut((self.depth - 1) / 64) {
            *word = if object { *word | bit } else { *word & !bit };
        }
        if self.peek() == if object { b'}' } else { b']' } {
            self.close();
            return Ok(false);
        }
        if object {
            self.skip_key()?;
        }
        Ok(true)
    }

    /// Behind a value: closes what ends here, and is `true` if another value comes next above `floor`.
    fn skip_to_next(&mut self, floor: usize) -> Step<bool> {
        while self.depth > floor {
            let word = self.objects.get((self.depth - 1) / 64).copied().unwrap_or(0);
            let object = word & (1 << (self.depth % 64)) != 0;
            if self.another(if object { b'}' } else { b']' })? {
                if object {
                    self.skip_key()?;
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn skip_key(&mut self) -> Step<()> {
        self.string()?;
        self.colon()
    }

    /// Checks that nothing but white space is left.
    pub(super) fn finish(&mut self) -> Step<()> {
        self.skip_space();
        if self.at < self.bytes.len() {
            return self.malformed("more bytes after the end of the value");
        }
        Ok(())
    }
}

/// Marks with its top bit the first byte, if any, that ends a run of plain bytes: a quote, a backslash or
/// a control character. Bits above the first mark mean nothing.
#[inline]
fn special_bytes(word: u64) -> u64 {
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & TOPS;
    let control = word.wrapping_sub(ONES * 0x20) & !word & TOPS;
    control | zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\')))
}

fn hex_unit(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk::<4>()?.iter().try_fold(0, |unit, &byte| {
        let digit = char::from(byte).to_digit(16)?;
        Some(unit * 16 + digit)
    })
}

/// Appends the text that these bytes of a string stand for. They have been checked by the scanner.
pub(super) fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|&byte| byte == b'\\') {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        rest = unescape_one(escape, out);
    }
    out.extend_from_slice(rest);
}

/// Appends what the escape at the start of `bytes` stands for, and gives what follows it.
fn unescape_one<'a>(bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let byte = match bytes.get(1) {
        Some(b'u') => return unescape_unicode(bytes, out),
        Some(b'b') => 0x08,
        Some(b'f') => 0x0c,
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(&other) => other,
        None => return &[],
    };
    out.push(byte);
    bytes.get(2..).unwrap_or_default()
}

fn unescape_unicode<'a>(bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let unit = |from: usize| bytes.get(from..).and_then(hex_unit);
    let (code, length) = match (unit(2), unit(8)) {
        (Some(high @ 0xd800..=0xdbff), Some(low @ 0xdc00..=0xdfff)) => {
            (0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00), 12)
        }
        (Some(unit), _) => (unit, 6),
        (None, _) => (0xfffd, 6),
    };
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    bytes.get(length..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_special_byte_is_marked() {
        for special in [b'"', b'\\', 0, 9, 0x1f] {
            for at in 0..8 {
                let mut bytes = [b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xff];
                assert_eq!(special_bytes(u64::from_le_bytes(bytes)), 0);
                bytes[at] = special;
                let marks = special_bytes(u64::from_le_bytes(bytes));
                assert_eq!(usize::try_from(marks.trailing_zeros() / 8), Ok(at));
            }
        }
    }

    #[test]
    fn escapes_become_what_they_stand_for() {
        let mut out = Vec::new();
        unescape(r#"a\"\\\/\b\f\n\r\t\u0041\u00e4\ud83d\ude00z"#.as_bytes(), &mut out);
        assert_eq!(out, "a\"\\/\u{8}\u{c}\n\r\tAä😀z".as_bytes());
    }

    #[test]
    fn skipping_remembers_what_is_open_at_every_depth() {
        for depth in [1, 63, 64, 65, 128, 1024] {
            let opening: String = (0..depth).map(|n| if n % 3 == 0 { "[" } else { r#"{"a":"# }).collect();
            let closing: String = (0..depth).rev().map(|n| if n % 3 == 0 { "]" } else { "}" }).collect();
            let text = format!("{opening}[]{closing}");
            let mut scanner = Scanner::new(text.as_bytes(), usize::MAX);
            let result = scanner.skip_value().and_then(|()| scanner.finish());
            assert_eq!(result.is_ok(), depth < DEPTH_LIMIT, "{depth}");
            if depth < DEPTH_LIMIT {
                let wrong = text.replacen("]}", "}]", 1);
                assert!(depth == 1 || Scanner::new(wrong.as_bytes(), 1024).skip_value().is_err());
            }
        }
    }
}

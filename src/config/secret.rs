//! Secrets: written as a reference, read once, never shown.
//!
//! Place in the flow: called by the topics for every value that may be a credential. I/O: reads the file of
//! a `file:` reference.
//!
//! A secret is written `"env:NAME"` or `"file:/path"`, and in no other way: so a configuration file can be
//! committed, mailed and printed. A relative path begins at the configuration's directory. One line feed at
//! the end of a file is dropped, because editors and `echo` put it there.
//!
//! Invariant: no message holds the value, and none holds text that was written where a reference should be.

use std::fmt;
use std::fs::File;
use std::io::Read;

use secrecy::SecretString;

use super::document::{Item, Reader};

/// Largest file of a secret, in bytes: a private key with its chain has room, a wrong path to a big file
/// does not fill memory.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// How to write one.
pub(super) const HELP: &str = "write \"env:NAME\" for an environment variable or \"file:/path\" for a file";

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reference {
    /// In this environment variable.
    Env(String),
    /// In this file.
    File(String),
}

impl Reference {
    /// Reads `env:NAME` or `file:PATH`.
    ///
    /// # Errors
    /// Says what is wrong without repeating the text, which may be a secret.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(name) = text.strip_prefix("env:") {
            let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            if !begins || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err("is not the name of an environment variable after `env:`");
            }
            return Ok(Self::Env(name.to_owned()));
        }
        match text.strip_prefix("file:") {
            Some(path) if path.is_empty() || path.contains(char::is_control) => {
                Err("needs a path after `file:`")
            }
            Some(path) => Ok(Self::File(path.to_owned())),
            None => Err("is a secret, and must be a reference to where it is kept"),
        }
    }

    /// Whether the text is meant as a reference, rightly written or not.
    pub(super) fn is_meant(text: &str) -> bool {
        text.starts_with("env:") || text.starts_with("file:")
    }

    fn read(&self, reader: &Reader<'_>) -> Result<SecretString, String> {
        let mut value = match self {
            Self::Env(name) => {
                (reader.env)(name).ok_or_else(|| format!("the environment variable `{name}` is not set"))?
            }
            Self::File(path) => read_file(reader, path)?,
        };
        if let Self::File(_) = self {
            let kept = value
                .strip_suffix('\n')
                .map_or(value.len(), |rest| rest.strip_suffix('\r').map_or(rest.len(), str::len));
            value.truncate(kept);
        }
        if value.is_empty() {
            return Err(match self {
                Self::Env(name) => format!("the environment variable `{name}` is empty"),
                Self::File(path) => format!("the file `{path}` is empty"),
            });
        }
        Ok(SecretString::from(value))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
        }
    }
}

fn read_file(reader: &Reader<'_>, path: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("the file `{path}` cannot be read: {error}");
    let file = File::open(reader.resolve(path)).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("the file `{path}` is larger than 64 KiB, which no secret is"));
    }
    String::from_utf8(bytes).map_err(|_| format!("the file `{path}` is not UTF-8 text"))
}

impl Item<'_> {
    /// A secret: a reference, whose value is read if the purpose needs secrets. `path` is where the reference
    /// is noted, for `check`.
    pub(super) fn secret(&self, path: String) -> Option<SecretString> {
        let Some(text) = self.as_str() else {
            return self.refuse(format!("`{}` must be a reference to a secret", self.path), HELP.to_owned());
        };
        let reference = match Reference::parse(text) {
            Ok(reference) => reference,
            Err(wrong) => return self.refuse(format!("`{}` {wrong}", self.path), HELP.to_owned()),
        };
        self.reader.note_reference(path, reference.to_string());
        if !self.reader.purpose.needs_secrets() {
            return Some(SecretString::default());
        }
        match reference.read(self.reader) {
            Ok(value) => Some(value),
            Err(reason) => self.refuse(format!("the secret of `{}` is not there: {reason}", self.path), None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_told_from_secrets() {
        assert_eq!(Reference::parse("env:A_1"), Ok(Reference::Env("A_1".into())));
        assert_eq!(Reference::parse("file:keys/a"), Ok(Reference::File("keys/a".into())));
        for wrong in ["", "hunter2", "env:", "env:1A", "env:xoxb-1", "file:", "ENV:A", "https://a/b"] {
            assert!(Reference::parse(wrong).is_err(), "{wrong}");
        }
    }
}

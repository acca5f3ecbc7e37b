//! Hides what could be a credential in the text that errors show.
//!
//! Place in the flow: between the file's text and [`ConfigErrors`](super::ConfigErrors). A secret does not
//! belong in the file, but it is exactly the error about that which would print it.
//!
//! Invariant: the masked text has the length of the original in bytes and the same lines, so spans fit both.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::secret::Reference;

/// Parts of a key that mark its value as a credential.
const CREDENTIAL_WORDS: [&str; 12] = [
    "password",
    "passphrase",
    "passwd",
    "secret",
    "token",
    "credential",
    "auth",
    "cookie",
    "signature",
    "pem",
    "key",
    "bearer",
];

/// Whether a value under this name is likely a credential.
pub(super) fn names_a_credential(name: &str) -> bool {
    let name = name.to_lowercase();
    CREDENTIAL_WORDS.iter().any(|word| name.contains(word))
}

/// A copy of the text in which values that could be credentials are stars, and so is what is `hidden`
/// already. `broken` says that the text has
/// syntax errors, so that the tree cannot be trusted to know every value; then whole lines are hidden too.
pub(super) fn masked(
    text: &str,
    document: &DeTable<'_>,
    broken: bool,
    mut hidden: Vec<Range<usize>>,
) -> String {
    walk(text, "", document, &mut hidden);
    if broken {
        suspicious_lines(text, &mut hidden);
    }
    let mut bytes = text.as_bytes().to_vec();
    for range in hidden {
        for byte in bytes.get_mut(range).unwrap_or_default() {
            if !matches!(*byte, b'\n' | b'\r') {
                *byte = b'*';
            }
        }
    }
    // Whole characters are replaced, so this is UTF-8; if that were wrong, nothing is shown.
    String::from_utf8(bytes).unwrap_or_default()
}

fn walk(text: &str, path: &str, table: &DeTable<'_>, hidden: &mut Vec<Range<usize>>) {
    for (name, value) in table {
        let path =
            if path.is_empty() { name.get_ref().to_string() } else { format!("{path}.{}", name.get_ref()) };
        hide(text, &path, value, hidden);
    }
}

fn hide(text: &str, path: &str, value: &Spanned<DeValue<'_>>, hidden: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::Table(table) => walk(text, path, table, hidden),
        DeValue::Array(array) => array.iter().for_each(|value| hide(text, path, value, hidden)),
        DeValue::String(string) if Reference::parse(string).is_ok() => {}
        DeValue::String(string) if path.ends_with("url") || string.contains("://") => {
            hidden.extend(url_tail(text, value.span()))
        }
        _ if is_sensitive(path) => hidden.push(value.span()),
        _ => {}
    }
}

/// Feature and column names are the operator's own and may sound like credentials.
fn is_sensitive(path: &str) -> bool {
    let column_names = ["stream.fields.", "model.training."];
    (names_a_credential(path) || path.starts_with("channel.headers"))
        && !column_names.iter().any(|prefix| path.starts_with(prefix))
}

/// What of a URL is hidden: all that follows the host, and all of it when it is not http, or names a user.
fn url_tail(text: &str, span: Range<usize>) -> Option<Range<usize>> {
    let written = text.get(span.clone())?;
    let host = ["http://", "https://"].iter().find_map(|scheme| Some(written.find(scheme)? + scheme.len()));
    let tail = host.and_then(|host| {
        let rest = written.get(host..)?;
        let end = rest.find(['/', '?', '#', '"', '\''])?;
        (!rest.contains('@')).then_some(span.start + host + end)
    });
    Some(tail.unwrap_or(span.start)..span.end)
}

/// After a syntax error: everything after the `=` of a line that mentions a credential or a URL, and every
/// line of a multi-line string that begins there, to its end or to the end of the file.
fn suspicious_lines(text: &str, hidden: &mut Vec<Range<usize>>) {
    let mut start = 0;
    let mut inside: Option<&str> = None;
    for line in text.split_inclusive('\n') {
        let range = start..start + line.len();
        start = range.end;
        if let Some(quotes) = inside {
            if line.contains(quotes) {
                inside = None;
            }
            hidden.push(range);
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let lower = line.to_lowercase();
        let telling =
            names_a_credential(&lower) || ["url", "headers", "://"].iter().any(|w| lower.contains(w));
        if !telling || is_a_reference(value) {
            continue;
        }
        hidden.push(range.start + key.len() + 1..range.end);
        inside = ["\"\"\"", "'''"].into_iter().find(|quotes| value.matches(quotes).count() == 1);
    }
}

fn is_a_reference(value: &str) -> bool {
    let value = value.trim();
    let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    unquoted.is_some_and(|value| Reference::parse(value).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(text: &str) -> String {
        let (document, errors) = DeTable::parse_recoverable(text);
        let shown = masked(text, document.get_ref(), !errors.is_empty(), Vec::new());
        assert_eq!(shown.len(), text.len());
        shown
    }

    #[test]
    fn plain_credentials_are_hidden_and_references_are_not() {
        let shown = mask(
            "[kafka.options]\nsasl.password = \"hunter2\"\n\"ssl.key.pem\" = '''\nMIIE\n'''\nsasl.username = \"me\"\n\
             [[channel]]\nurl = \"https://hooks.slack.com/services/T0/B0/xyz\"\nrouting_key = 'abc'\n\
             signing_secret = [\"env:GOOD\", \"whsec_bad\"]\nheaders = { X-Thing = \"Bearer 1\" }\n",
        );
        for secret in ["hunter2", "MIIE", "T0/B0", "abc", "whsec_bad", "Bearer 1"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        for kept in ["\"me\"", "https://hooks.slack.com", "env:GOOD"] {
            assert!(shown.contains(kept), "{kept} in {shown}");
        }
    }

    #[test]
    fn a_user_in_a_url_and_a_url_without_a_host_are_hidden_whole() {
        let shown = mask("url = \"https://me:pw@host/\"\nlink_url = \"xoxb-1234\"\n");
        assert!(!shown.contains("pw") && !shown.contains("xoxb"), "{shown}");
    }

    #[test]
    fn names_of_features_stay_readable() {
        let text = "[[stream]]\n[stream.fields]\nfeatures = { card_token = \"/card_token\" }\n";
        assert_eq!(mask(text), text);
    }

    #[test]
    fn a_syntax_error_hides_more_rather_than_less() {
        for text in [
            "url = \"https://hooks.slack.com/T0/hidden\n",
            "headers = { Authorization = \"hidden }\n",
            "\"ssl.key.pem\" = \"\"\"\nhidden\nhidden=\n",
            "sasl.password = hidden\nx = [\n",
        ] {
            assert!(!mask(text).contains("hidden"), "{}", mask(text));
        }
    }
}

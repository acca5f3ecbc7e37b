//! `[[channel]]`: a destination of notifications.
//!
//! What a kind of channel takes is one row of [`KINDS`].

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::document::{Item, Section, Table, all, key};
use super::mask::names_a_credential;
use super::secret::{HELP, Reference};
use crate::event::Span;
use crate::notify::ChannelSettings;

/// The keys of `[[channel]]`.
pub(super) static CHANNEL: Section = Section {
    path: "channel",
    repeated: true,
    keys: &[
        key("name", "its name, unique"),
        key("kind", "one of \"slack\", \"pagerduty\", \"webhook\", \"retrain\""),
        key("url", "where requests go"),
        key("routing_key", "PagerDuty's integration key, as a reference"),
        key("signing_secret", "reference to the secret that signs requests, or a list, newest first"),
        key("headers", "further request headers"),
        key("link_base", "where readers reach this service's API"),
        key("timeout", "how long one attempt may take"),
        key("attempts_max", "attempts before a notification becomes a dead letter"),
    ],
};

/// What a kind of channel takes.
struct Kind {
    name: &'static str,
    url: UrlRule,
    routing_key: bool,
    signing_secret: bool,
}

/// How a kind's URL is written.
#[derive(Clone, Copy)]
enum UrlRule {
    /// It is a credential: a reference.
    Secret,
    /// Known, may be set.
    Default(&'static str),
    /// Needed; plain or a reference.
    Needed,
}

static KINDS: [Kind; 4] = [
    Kind { name: "slack", url: UrlRule::Secret, routing_key: false, signing_secret: false },
    Kind {
        name: "pagerduty",
        url: UrlRule::Default("https://events.pagerduty.com/v2/enqueue"),
        routing_key: true,
        signing_secret: false,
    },
    Kind { name: "webhook", url: UrlRule::Needed, routing_key: false, signing_secret: true },
    Kind { name: "retrain", url: UrlRule::Needed, routing_key: false, signing_secret: true },
];

/// Headers that the sender makes itself.
const OWNED_HEADERS: [&str; 10] = [
    "content-type",
    "content-length",
    "transfer-encoding",
    "connection",
    "host",
    "user-agent",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "idempotency-key",
];

/// More than two are never in use at once; a request carries a signature for each.
const SIGNING_SECRETS_MAX: usize = 5;
/// Bounds the size of a request.
const HEADERS_MAX: usize = 32;

/// A channel as far as others refer to it, read from the document whatever else is wrong with it.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) kind: Option<String>,
}

/// Reads one `[[channel]]`.
pub(super) fn read(table: &Table<'_>) -> Option<ChannelSettings> {
    let name = table.need("name", Item::name);
    let choices: Vec<_> = KINDS.iter().map(|kind| (kind.name, kind)).collect();
    let kind = table.need("kind", |item| item.choice(&choices));
    let noted = name.clone().unwrap_or_default();
    let credentials = kind.and_then(|kind| credentials(table, kind, &noted));
    let headers = table.or("headers", BTreeMap::new(), |item| headers(item, &noted));
    let link_base = table.maybe("link_base", link_base);
    let timeout = table.or("timeout", Duration::from_secs(15), |item| {
        item.span(Span::from_micros(100_000)..=Span::from_secs(120)).map(Span::to_duration)
    });
    let attempts_max = table.or("attempts_max", 12, |item| item.small(1..=100));
    let (url, secrets) = credentials?;
    Some(ChannelSettings {
        name: name?,
        kind: kind?.name.to_owned(),
        url,
        secrets,
        headers: headers?,
        link_base: link_base?,
        timeout: timeout?,
        attempts_max: attempts_max?,
    })
}

/// Where the reference of one of a channel's values is noted.
pub(super) fn noted_path(channel: &str, value: &str) -> String {
    format!("channel.{channel}.{value}")
}

fn credentials(
    table: &Table<'_>,
    kind: &'static Kind,
    name: &str,
) -> Option<(SecretString, Vec<SecretString>)> {
    let url = url(table, kind, name);
    let routing_key = if kind.routing_key {
        table.need("routing_key", |item| routing_key(item, name)).map(|key| vec![key])
    } else {
        not_for(table, "routing_key", kind)
    };
    let signing = if kind.signing_secret {
        table.or("signing_secret", Vec::new(), |item| signing_secrets(item, name))
    } else {
        not_for(table, "signing_secret", kind)
    };
    let mut secrets = routing_key?;
    secrets.extend(signing?);
    Some((url?, secrets))
}

fn not_for(table: &Table<'_>, key: &'static str, kind: &Kind) -> Option<Vec<SecretString>> {
    match table.get(key) {
        None => Some(Vec::new()),
        Some(item) => item.refuse_key(format!("a {} channel has no `{key}`", kind.name), None),
    }
}

// === URLs ===

fn url(table: &Table<'_>, kind: &Kind, name: &str) -> Option<SecretString> {
    match kind.url {
        UrlRule::Secret => table.need("url", |item| secret_url(item, name)),
        UrlRule::Default(url) => table.or("url", SecretString::from(url), |item| any_url(item, name)),
        UrlRule::Needed => table.need("url", |item| any_url(item, name)),
    }
}

fn secret_url(item: &Item<'_>, name: &str) -> Option<SecretString> {
    let secret = item.secret(noted_path(name, "url"))?;
    if !item.reader.purpose.needs_secrets() {
        return Some(secret);
    }
    match http_url(secret.expose_secret()) {
        Ok(_) => Some(secret),
        Err(wrong) => item.refuse(format!("the secret of `{}` {wrong}", item.path), None),
    }
}

fn any_url(item: &Item<'_>, name: &str) -> Option<SecretString> {
    let text = item.string()?;
    if Reference::is_meant(text) {
        return secret_url(item, name);
    }
    let wrong = match http_url(text) {
        Ok(url) if url.username().is_empty() && url.password().is_none() => {
            return Some(SecretString::from(text.to_owned()));
        }
        Ok(_) => "holds a user name or password, which is a secret",
        Err(wrong) => wrong,
    };
    let help = "write an http or https URL, or a reference to one: \"env:NAME\", \"file:/path\"";
    item.refuse(format!("`{}` {wrong}", item.path), help.to_owned())
}

/// A URL that can be sent to; the error does not repeat it.
fn http_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    match (url.scheme(), url.host_str()) {
        ("http" | "https", Some(host)) if !host.is_empty() => Ok(url),
        _ => Err("is not an http or https URL"),
    }
}

fn link_base(item: &Item<'_>) -> Option<String> {
    let text = item.string()?;
    let plain = |url: &Url| {
        url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    match http_url(text) {
        Ok(url) if plain(&url) => Some(text.trim_end_matches('/').to_owned()),
        _ => {
            let help = "write where readers reach the API, as in \"https://driftline.example.com\"";
            item.refuse(format!("`{}` is not a plain http or https URL", item.path), help.to_owned())
        }
    }
}

// === secrets ===

fn routing_key(item: &Item<'_>, name: &str) -> Option<SecretString> {
    let key = item.secret(noted_path(name, "routing_key"))?;
    if key.expose_secret().chars().any(|c| c.is_whitespace() || c.is_control()) {
        return item.refuse(format!("the secret of `{}` holds white space", item.path), None);
    }
    Some(key)
}

fn signing_secrets(item: &Item<'_>, name: &str) -> Option<Vec<SecretString>> {
    if !item.is_list() {
        return signing_secret(item, noted_path(name, "signing_secret")).map(|secret| vec![secret]);
    }
    let items = item.list()?;
    if items.is_empty() || items.len() > SIGNING_SECRETS_MAX {
        return item.refuse(format!("`{}` must hold 1 to {SIGNING_SECRETS_MAX} references", item.path), None);
    }
    all(items.iter().enumerate().map(|(index, item)| {
        let path = noted_path(name, &format!("signing_secret.{index}"));
        signing_secret(item, path)
    }))
}

fn signing_secret(item: &Item<'_>, path: String) -> Option<SecretString> {
    let secret = item.secret(path)?;
    if !item.reader.purpose.needs_secrets() {
        return Some(secret);
    }
    let bytes = secret.expose_secret().strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
    if bytes.is_some_and(|bytes| (24..=64).contains(&bytes.len())) {
        return Some(secret);
    }
    let help = "make one with: echo whsec_$(openssl rand -base64 32)";
    let message = format!("the secret of `{}` is not `whsec_` with base64 of 24 to 64 bytes", item.path);
    item.refuse(message, help.to_owned())
}

// === headers ===

fn headers(item: &Item<'_>, channel: &str) -> Option<BTreeMap<String, SecretString>> {
    let members = item.members()?;
    if members.len() > HEADERS_MAX {
        return item.refuse(format!("`{}` holds more than {HEADERS_MAX} headers", item.path), None);
    }
    let mut seen: Vec<HeaderName> = Vec::new();
    let read: Vec<Option<(String, SecretString)>> = members
        .iter()
        .map(|(name, item)| {
            let name = header_name(name, item, &mut seen);
            let value = name.as_ref().and_then(|name| header_value(name, item, channel));
            Some((name?, value?))
        })
        .collect();
    read.into_iter().collect()
}

fn header_name(name: &str, item: &Item<'_>, seen: &mut Vec<HeaderName>) -> Option<String> {
    let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
        return item.refuse_key(format!("`{}` is not a header's name", name.escape_debug()), None);
    };
    if OWNED_HEADERS.contains(&parsed.as_str()) {
        return item.refuse_key(format!("Driftline sets the header `{name}` itself"), None);
    }
    if seen.contains(&parsed) {
        let message = format!("the header `{name}` is written twice");
        return item.refuse_key(message, "names of headers are the same in upper and lower case".to_owned());
    }
    seen.push(parsed);
    Some(name.to_owned())
}

fn header_value(name: &str, item: &Item<'_>, channel: &str) -> Option<SecretString> {
    let is_reference = item.as_str().is_some_and(Reference::is_meant);
    let value = if is_reference {
        item.secret(noted_path(channel, &format!("headers.{name}")))?
    } else if names_a_credential(name) {
        let message = format!("the header `{name}` is a secret, and must be a reference to where it is kept");
        return item.refuse(message, HELP.to_owned());
    } else {
        SecretString::from(item.string()?.to_owned())
    };
    match HeaderValue::from_str(value.expose_secret()) {
        Ok(_) => Some(value),
        Err(_) => {
            let what = if is_reference { "the secret of " } else { "" };
            item.refuse(format!("{what}`{}` holds characters that no header may have", item.path), None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_are_those_that_can_be_sent_to() {
        let known: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        let sent: Vec<&str> = crate::notify::CHANNELS.iter().map(|kind| kind.name).collect();
        assert_eq!(known, sent);
    }
}

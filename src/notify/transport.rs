//! The way out: one HTTP POST and its answer.
//!
//! Place in the flow: below [`deliver`](super::deliver), which alone calls it. [`Transport`] is a port with
//! a simulated twin; [`HttpTransport`] is the real one. I/O.
//!
//! Invariants: no redirect is followed, so a receiver cannot send a credential elsewhere; no proxy of the
//! environment is used; an answer's body is read up to [`ANSWER_BYTES_MAX`]; every attempt ends within its
//! time; no error text holds a URL.
//!
//! TLS is rustls with ring, and trusts the certificate authorities of the machine (`SSL_CERT_FILE` and
//! `SSL_CERT_DIR`, else the usual places, such as `/etc/ssl/certs`). A minimal container may have none: then
//! `http://` works and `https://` fails with a message that says so.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};

use super::Response;

/// Bytes of an answer's body that are read; the rest is not.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// How long a connection may take to be made; a part of the attempt's time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What is sent. `Debug` shows neither the URL, nor header values, nor the body.
#[derive(Clone)]
pub struct Outgoing {
    /// Where to.
    pub url: SecretString,
    /// All headers beside those that HTTP itself needs.
    pub headers: Vec<(String, SecretString)>,
    /// The body.
    pub body: Vec<u8>,
    /// How long the attempt may take, from the look-up of the name to the end of the answer.
    pub timeout: Duration,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("url", &super::shown_url(&self.url))
            .field("body_bytes", &self.body.len())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// An answer that comes later.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response, TransportError>> + Send + 'a>>;

/// The way out: a port.
pub trait Transport: Send + Sync {
    /// Sends a POST and gives the answer, whatever its status.
    ///
    /// # Errors
    ///
    /// [`TransportError`] when there is no answer. The receiver may have the request all the same.
    fn send(&self, outgoing: Outgoing) -> Answer<'_>;
}

/// No answer came. The texts name no URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The time is over.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// There is no connection: name, address or TLS.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The URL is not one.
    #[error("the URL cannot be used: write it as `https://host/path`")]
    BadUrl,
    /// A header cannot be sent.
    #[error("the header `{0}` holds characters that HTTP does not allow in a header")]
    BadHeader(String),
    /// `https://` without certificate authorities.
    #[error(
        "this machine has no certificate authorities, so https:// cannot be trusted: install the package \
         ca-certificates, or name a file of certificates in SSL_CERT_FILE"
    )]
    NoAuthorities,
    /// The connection broke, or what came was not HTTP.
    #[error("the exchange broke off: {0}")]
    Broken(String),
}

/// Sends over the network.
pub struct HttpTransport {
    client: reqwest::Client,
    /// Whether there are certificate authorities to trust.
    has_authorities: bool,
}

/// The HTTP client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be made")]
pub struct HttpTransportError(#[source] reqwest::Error);

impl HttpTransport {
    /// Makes the client that all destinations share.
    ///
    /// # Errors
    ///
    /// When the TLS library refuses its settings. Missing certificate authorities are no error here, for
    /// a receiver inside the cluster may be reached without TLS; sending to `https://` then fails.
    pub fn new() -> Result<Self, HttpTransportError> {
        // An error means that there is a provider already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        match client().build() {
            Ok(client) => Ok(Self { client, has_authorities: true }),
            Err(_) => {
                // A client that trusts nobody can still speak plain HTTP.
                let client = client().tls_certs_only([]).build().map_err(HttpTransportError)?;
                tracing::warn!("{}", TransportError::NoAuthorities);
                Ok(Self { client, has_authorities: false })
            }
        }
    }

    async fn post(&self, outgoing: Outgoing) -> Result<Response, TransportError> {
        let url = reqwest::Url::parse(outgoing.url.expose_secret()).map_err(|_| TransportError::BadUrl)?;
        match url.scheme() {
            "http" => {}
            "https" if self.has_authorities => {}
            "https" => return Err(TransportError::NoAuthorities),
            _ => return Err(TransportError::BadUrl),
        }
        let request = self
            .client
            .post(url)
            .headers(headers(&outgoing.headers)?)
            .timeout(outgoing.timeout)
            .body(outgoing.body);
        let answered = request.send().await;
        let mut answered = answered.map_err(|error| told(error, outgoing.timeout))?;
        let status = answered.status().as_u16();
        let retry_after_secs = retry_after(answered.headers());
        let mut body = Vec::new();
        while body.len() < ANSWER_BYTES_MAX {
            // The status is the answer: a body that breaks off or takes too long changes nothing about it.
            let Ok(Some(chunk)) = answered.chunk().await else { break };
            let room = ANSWER_BYTES_MAX - body.len();
            body.extend(chunk.iter().take(room));
        }
        Ok(Response { status, retry_after_secs, body })
    }
}

impl Transport for HttpTransport {
    fn send(&self, outgoing: Outgoing) -> Answer<'_> {
        Box::pin(self.post(outgoing))
    }
}

fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("driftline/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        // reqwest would repeat some requests by itself; attempts are counted and spaced by the outbox.
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT_TIMEOUT)
        // Messages are rare, and a kept connection that the receiver has closed fails the next one.
        .pool_max_idle_per_host(0)
}

fn headers(pairs: &[(String, SecretString)]) -> Result<HeaderMap, TransportError> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let bad = || TransportError::BadHeader(super::text::clip(name, 100));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|_| bad())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// `Retry-After` in seconds. A date is taken against the answer's own `Date`, so that a clock that is
/// wrong on either side does no harm; in the past it is 0.
fn retry_after(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(seconds);
    }
    let until = http_date(value)?;
    let now = http_date(headers.get(DATE)?.to_str().ok()?)?;
    Some(u64::try_from(until.saturating_sub(now)).unwrap_or(0))
}

/// Seconds since the epoch of an HTTP date.
fn http_date(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp().as_second())
}

/// What reqwest reports, without the URL.
fn told(error: reqwest::Error, timeout: Duration) -> TransportError {
    if error.is_timeout() && !error.is_connect() {
        return TransportError::TimedOut(timeout);
    }
    let is_connect = error.is_connect();
    let error = error.without_url();
    let text = super::text::clip(&causes(&error), 300);
    if is_connect { TransportError::Connect(text) } else { TransportError::Broken(text) }
}

/// The causes below the outermost error, which only says that a request failed.
fn causes(error: &dyn Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        cause = error.source();
    }
    if texts.is_empty() { error.to_string() } else { texts.join(": ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry_after_of(pairs: &[(HeaderName, &'static str)]) -> Option<u64> {
        let headers = pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        retry_after(&headers.collect())
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let date = (DATE, "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(retry_after_of(&[(RETRY_AFTER, "30")]), Some(30));
        assert_eq!(
            retry_after_of(&[(RETRY_AFTER, "Sun, 06 Nov 1994 08:51:37 GMT"), date.clone()]),
            Some(120)
        );
        assert_eq!(retry_after_of(&[(RETRY_AFTER, "Sun, 06 Nov 1994 08:00:00 GMT"), date]), Some(0));
        assert_eq!(retry_after_of(&[(RETRY_AFTER, "Sun, 06 Nov 1994 08:51:37 GMT")]), None);
        assert_eq!(retry_after_of(&[(RETRY_AFTER, "soon")]), None);
        assert_eq!(retry_after_of(&[(RETRY_AFTER, "-5")]), None);
        assert_eq!(retry_after_of(&[]), None);
    }

    #[test]
    fn what_is_sent_is_not_shown() {
        let outgoing = Outgoing {
            url: "https://hooks.example.com/services/secret".into(),
            headers: vec![("authorization".to_owned(), "secret".into())],
            body: b"secret".to_vec(),
            timeout: Duration::from_secs(1),
        };
        assert!(!format!("{outgoing:?}").contains("secret"));
    }
}

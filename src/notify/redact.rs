//! Keeps credentials out of what people read.
//!
//! Place in the flow: a receiver may repeat what it was sent, and some errors quote an address; both end
//! in the outbox, the API and the log. So every answer and error passes through [`scrub`] before anyone
//! reads it. Pure.

use secrecy::{ExposeSecret, SecretString};

use super::ChannelSettings;

/// What stands in the place of a credential.
const REDACTED: &str = "[redacted]";

/// Shorter values are not looked for: replacing them would make text unreadable, and they protect nothing.
const SECRET_BYTES_MIN: usize = 6;

/// The text without the destination's URL, its path and query, its secrets and the values of its
/// configured headers, in any of the ways in which JSON writes them.
pub fn scrub(text: &str, settings: &ChannelSettings) -> String {
    let mut needles = Vec::new();
    let url = settings.url.expose_secret();
    needles.push(url.to_owned());
    if let Ok(parsed) = reqwest::Url::parse(url) {
        needles.push(parsed.as_str().to_owned());
        let query = parsed.query().map(|query| format!("?{query}")).unwrap_or_default();
        needles.push(parsed.path().to_owned());
        needles.push(format!("{}{query}", parsed.path()));
        needles.extend(parsed.query().map(str::to_owned));
        needles.extend(parsed.password().map(str::to_owned));
    }
    for secret in settings.secrets.iter().chain(settings.headers.values()) {
        let value = secret.expose_secret().trim();
        needles.push(value.to_owned());
        needles.extend(value.strip_prefix("whsec_").map(str::to_owned));
        // `Authorization: Bearer token`: the token alone is the secret.
        needles.extend(value.rsplit(' ').next().map(str::to_owned));
    }
    needles.extend(needles.clone().iter().map(|needle| needle.replace('/', "\\/")));
    needles.retain(|needle| needle.len() >= SECRET_BYTES_MIN);
    // The longest first: a URL must not be replaced piecemeal.
    needles.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    needles.dedup();
    needles.iter().fold(text.to_owned(), |text, needle| text.replace(needle.as_str(), REDACTED))
}

/// As much of a URL as may be shown: scheme, host and port.
pub fn shown_url(url: &SecretString) -> String {
    match reqwest::Url::parse(url.expose_secret()) {
        Ok(url) => {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}://{}{port}/…", url.scheme(), url.host_str().unwrap_or("?"))
        }
        Err(_) => "(not a URL)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    fn settings() -> ChannelSettings {
        ChannelSettings {
            name: "team".to_owned(),
            kind: "webhook".to_owned(),
            url: "https://user:hunter2x@hooks.example.com:8443/services/T0/B0/tokentoken?sig=abcdef123"
                .into(),
            secrets: vec!["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".into()],
            headers: BTreeMap::from([("authorization".to_owned(), "Bearer very-secret-token".into())]),
            link_base: None,
            timeout: Duration::from_secs(1),
            attempts_max: 3,
        }
    }

    #[test]
    fn credentials_are_taken_out_however_they_are_written() {
        let settings = settings();
        let echoes = [
            "POST https://user:hunter2x@hooks.example.com:8443/services/T0/B0/tokentoken?sig=abcdef123 failed",
            "no route for /services/T0/B0/tokentoken",
            r#"{"path":"\/services\/T0\/B0\/tokentoken"}"#,
            "bad key whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "bad key C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "token very-secret-token expired",
            "query was sig=abcdef123",
        ];
        for echo in echoes {
            let text = scrub(echo, &settings);
            assert!(text.contains(REDACTED), "{text}");
            for secret in ["tokentoken", "C2FVs", "very-secret", "abcdef123", "hunter2x"] {
                assert!(!text.contains(secret), "{text}");
            }
        }
    }

    #[test]
    fn only_the_place_of_a_url_is_shown() {
        assert_eq!(shown_url(&settings().url), "https://hooks.example.com:8443/…");
        assert_eq!(shown_url(&"hooks".into()), "(not a URL)");
    }
}

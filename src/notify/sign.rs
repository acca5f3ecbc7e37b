//! Signatures by Standard Webhooks 1.0.0: a receiver can tell that a request is ours, unchanged and recent.
//!
//! Place in the flow: used when a webhook or a retrain call is rendered. Pure: the time of the attempt is
//! an argument, because it is signed too.
//!
//! The signed content is `id.timestamp.body`, the signature `v1,` and base64 of HMAC-SHA256, one for each
//! secret: while a secret is rotated a receiver may know the old or the new one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::event::Timestamp;

/// Bytes of a secret that the specification allows.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// `webhook-id`, `webhook-timestamp` and, if there are secrets, `webhook-signature`.
pub(super) fn headers(
    id: &str,
    now: Timestamp,
    body: &[u8],
    secrets: &[SecretString],
) -> Vec<(String, String)> {
    let seconds = now.as_micros().div_euclid(1_000_000);
    let mut headers =
        vec![("webhook-id".to_owned(), id.to_owned()), ("webhook-timestamp".to_owned(), seconds.to_string())];
    let signatures: Vec<String> =
        secrets.iter().filter_map(|secret| signature(secret, id, seconds, body)).collect();
    if !signatures.is_empty() {
        headers.push(("webhook-signature".to_owned(), signatures.join(" ")));
    }
    headers
}

/// One signature; `None` only if the MAC refused the key, and HMAC takes keys of any length.
fn signature(secret: &SecretString, id: &str, seconds: i64, body: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key(secret)).ok()?;
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(body);
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

/// The key of a secret. One that is not base64 is used as it is written, so that no request ever goes out
/// unsigned; [`check_secret`] refuses it at start.
fn key(secret: &SecretString) -> Zeroizing<Vec<u8>> {
    let text = secret.expose_secret();
    let encoded = text.strip_prefix("whsec_").unwrap_or(text);
    Zeroizing::new(STANDARD.decode(encoded).unwrap_or_else(|_| encoded.as_bytes().to_vec()))
}

/// Says what is wrong with a signing secret.
pub(super) fn check_secret(secret: &SecretString) -> Result<(), String> {
    let text = secret.expose_secret();
    let encoded = text.strip_prefix("whsec_").unwrap_or(text);
    let remedy = "make one with `echo whsec_$(openssl rand -base64 32)`";
    let Ok(key) = STANDARD.decode(encoded).map(Zeroizing::new) else {
        return Err(format!("the signing secret is not base64 after `whsec_`: {remedy}"));
    };
    if KEY_BYTES.contains(&key.len()) {
        return Ok(());
    }
    Err(format!(
        "the signing secret has {} bytes, Standard Webhooks asks for {} to {}: {remedy}",
        key.len(),
        KEY_BYTES.start(),
        KEY_BYTES.end()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const ID: &str = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
    const BODY: &[u8] = br#"{"email":"test@example.com","username":"test_user"}"#;

    #[test]
    fn the_signature_is_that_of_the_specification() {
        let now = Timestamp::saturating_from_micros(1_649_367_553_999_999);
        let headers = headers(ID, now, BODY, &[SECRET.into()]);
        let expected = [
            ("webhook-id", ID),
            ("webhook-timestamp", "1649367553"),
            ("webhook-signature", "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="),
        ];
        assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn another_implementation_makes_the_same_signature() {
        let oracle = standardwebhooks::Webhook::new(SECRET).expect("a secret");
        for (id, seconds, body) in [("a", 0, &b"{}"[..]), (ID, 1_800_000_000, "{\"é\":1}".as_bytes())] {
            let theirs = oracle.sign(id, seconds, body).expect("signs");
            assert_eq!(signature(&SECRET.into(), id, seconds, body), Some(theirs));
        }
    }

    #[test]
    fn every_secret_of_a_rotation_signs() {
        let other: SecretString = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into();
        let headers = headers(ID, Timestamp::default(), BODY, &[SECRET.into(), other]);
        let (_, signatures) = headers.last().expect("a signature");
        assert_eq!(signatures.split(' ').filter(|part| part.starts_with("v1,")).count(), 2);
        assert_eq!(super::headers(ID, Timestamp::default(), BODY, &[]).len(), 2);
    }

    #[test]
    fn bad_secrets_are_refused_without_being_shown() {
        assert_eq!(check_secret(&SECRET.into()), Ok(()));
        for bad in ["whsec_short", "whsec_c2hvcnQ=", "not base64 at all", ""] {
            let error = check_secret(&bad.into()).expect_err(bad);
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
    }
}

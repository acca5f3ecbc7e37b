//! What HTTP answers have in common, whoever gives them.
//!
//! Place in the flow: the channels' `classify` start from here and add what their receiver documents. Pure.

use super::text::clip;
use super::{Delivery, Response};

/// Characters of an answer's body that become part of a reason.
const EXCERPT_CHARS_MAX: usize = 200;

/// The meaning of a status by HTTP alone: 2xx is delivered; 408, 425, 429 and 5xx pass by themselves;
/// everything else stays as it is however often it is tried, redirects too, for they are not followed.
pub(super) fn by_status(response: &Response) -> Delivery {
    match response.status {
        200..=299 => Delivery::Delivered,
        300..=399 => Delivery::Dead {
            reason: format!(
                "answered {}: redirects are not followed, configure the final address",
                response.status
            ),
        },
        408 | 425 | 429 | 500.. | 0..=199 => {
            Delivery::Retry { reason: reason(response), after_secs: response.retry_after_secs }
        }
        400..=499 => Delivery::Dead { reason: reason(response) },
    }
}

/// The status and the beginning of the body, on one line.
pub(super) fn reason(response: &Response) -> String {
    let body = String::from_utf8_lossy(&response.body);
    let excerpt = clip(body.trim(), EXCERPT_CHARS_MAX);
    if excerpt.is_empty() {
        format!("answered {}", response.status)
    } else {
        format!("answered {}: {excerpt}", response.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16) -> Delivery {
        by_status(&Response { status, retry_after_secs: Some(7), body: b"why\nnot".to_vec() })
    }

    #[test]
    fn every_status_has_a_meaning() {
        for status in [200, 202, 204] {
            assert_eq!(answer(status), Delivery::Delivered, "{status}");
        }
        for status in [0, 101, 408, 425, 429, 500, 502, 503, 504, 599, 999] {
            assert!(matches!(answer(status), Delivery::Retry { after_secs: Some(7), .. }), "{status}");
        }
        for status in [301, 302, 307, 400, 401, 403, 404, 409, 410, 413, 422] {
            assert!(matches!(answer(status), Delivery::Dead { .. }), "{status}");
        }
    }

    #[test]
    fn the_reason_is_one_short_line() {
        let body = "x\n".repeat(5_000).into_bytes();
        let text = reason(&Response { status: 400, retry_after_secs: None, body });
        assert!(text.chars().count() < 230 && !text.contains('\n'), "{text}");
    }
}

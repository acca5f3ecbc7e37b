//! What is asked, what is answered, and what goes wrong: the one mapping between them and HTTP.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{Query, RawPathParams};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::event::Timestamp;
use crate::store::{PAGE_MAX, StoreError};

/// Rows of a page when none are asked for.
const LIMIT_DEFAULT: usize = 100;

/// What a JSON answer calls itself.
const JSON: &str = "application/json";

/// An answer that is ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What the body is.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

impl Answer {
    /// A JSON document.
    ///
    /// # Errors
    /// An internal error when `document` has no JSON form.
    pub fn json(document: &impl Serialize) -> Result<Self, ApiError> {
        let body = serde_json::to_string(document).map_err(|error| ApiError::internal(&error))?;
        Ok(Self { content_type: JSON, body })
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, self.content_type)], self.body).into_response()
    }
}

/// What goes wrong with a request: `{"error":{"code","message"}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The status.
    pub status: StatusCode,
    /// A stable name for programs.
    pub code: &'static str,
    /// What is wrong and how to mend it, for people.
    pub message: Cow<'static, str>,
    /// Everything that is wrong, where there may be several.
    pub reasons: Vec<String>,
}

impl ApiError {
    /// Another method than GET or HEAD.
    pub const METHOD_NOT_ALLOWED: Self =
        Self::fixed(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "the API is read-only: use GET");

    /// A request with a body.
    pub const BODY_NOT_ALLOWED: Self =
        Self::fixed(StatusCode::PAYLOAD_TOO_LARGE, "body_not_allowed", "no request takes a body");

    /// No answer in time.
    pub const BUSY: Self =
        Self::fixed(StatusCode::SERVICE_UNAVAILABLE, "busy", "no answer in time: try again, or ask for less");

    const fn fixed(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message: Cow::Borrowed(message), reasons: Vec::new() }
    }

    fn new(status: StatusCode, code: &'static str, message: String) -> Self {
        Self { status, code, message: Cow::Owned(message), reasons: Vec::new() }
    }

    /// No route has this path.
    pub fn no_such_path(path: &str) -> Self {
        let message = format!("nothing is at {path}: GET / lists what there is");
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// The path names something that is not there.
    pub fn not_found(message: String) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// A part of the request cannot be understood.
    pub fn bad_request(name: &str, why: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", format!("parameter `{name}`: {why}"))
    }

    /// The service is not in a state to do its work.
    pub fn unavailable(code: &'static str, reasons: Vec<String>) -> Self {
        let message = Cow::Owned(reasons.join("; "));
        Self { status: StatusCode::SERVICE_UNAVAILABLE, code, message, reasons }
    }

    /// A defect or a failed read. The cause goes to the log, not to the asker.
    pub fn internal(cause: &(dyn std::error::Error + 'static)) -> Self {
        let chain: Vec<String> =
            std::iter::successors(Some(cause), |error| error.source()).map(ToString::to_string).collect();
        tracing::error!(error = chain.join(": "), "a request could not be answered");
        let message = "the request could not be answered; the log says why";
        Self::fixed(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::internal(&error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut error = json!({"code": self.code, "message": self.message});
        if !self.reasons.is_empty() {
            error["reasons"] = json!(self.reasons);
        }
        let body = json!({ "error": error }).to_string();
        (self.status, [(header::CONTENT_TYPE, JSON)], body).into_response()
    }
}

/// The parts of a request that say what is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    path: BTreeMap<String, String>,
    query: BTreeMap<String, String>,
}

impl Asked {
    /// Takes a request apart.
    ///
    /// # Errors
    /// A bad request that names the parameter which is unknown, given twice or not UTF-8.
    pub fn read(
        names: Result<RawPathParams, RawPathParamsRejection>,
        uri: &Uri,
        known: &[&str],
    ) -> Result<Self, ApiError> {
        let path = match &names {
            Ok(names) => names.iter().map(|(name, part)| (name.to_owned(), part.to_owned())).collect(),
            Err(RawPathParamsRejection::MissingPathParams(_)) => BTreeMap::new(),
            Err(rejection) => return Err(ApiError::bad_request("path", rejection.body_text())),
        };
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|rejection| ApiError::bad_request("query", rejection.body_text()))?;
        let mut query = BTreeMap::new();
        for (name, value) in pairs.0 {
            if !known.contains(&name.as_str()) {
                return Err(ApiError::bad_request(&name, unknown(known)));
            }
            if query.insert(name.clone(), value).is_some() {
                return Err(ApiError::bad_request(&name, "given twice"));
            }
        }
        Ok(Self { path, query })
    }

    /// A part of the path; the route has it.
    pub fn part(&self, name: &str) -> &str {
        self.path.get(name).map(String::as_str).unwrap_or_default()
    }

    /// A part of the path, read as a `T`.
    ///
    /// # Errors
    /// A bad request that names the part.
    pub fn part_as<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, ApiError> {
        self.part(name).parse().map_err(|error| ApiError::bad_request(name, error))
    }

    /// A query parameter as it was written.
    pub fn text(&self, name: &str) -> Option<String> {
        self.query.get(name).cloned()
    }

    /// A query parameter, read as a `T`.
    ///
    /// # Errors
    /// A bad request that names the parameter.
    pub fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let value = self.query.get(name).map(|text| text.parse());
        value.transpose().map_err(|error| ApiError::bad_request(name, error))
    }

    /// A point in time. A `+` that was not encoded arrives as a space; the message says so.
    ///
    /// # Errors
    /// A bad request that names the parameter.
    pub fn time(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        self.parsed::<Timestamp>(name).map_err(|_| {
            let why = "write a time as in `2026-01-31T06:00:00Z`; a `+` must be written `%2B`";
            ApiError::bad_request(name, why)
        })
    }

    /// How many rows are wanted.
    ///
    /// # Errors
    /// A bad request when it is not a number from 1 to [`PAGE_MAX`].
    pub fn limit(&self) -> Result<usize, ApiError> {
        let limit = self.parsed("limit").unwrap_or(Some(0)).unwrap_or(LIMIT_DEFAULT);
        if (1..=PAGE_MAX).contains(&limit) {
            return Ok(limit);
        }
        Err(ApiError::bad_request("limit", format_args!("write a number from 1 to {PAGE_MAX}")))
    }

    /// One of a few names.
    ///
    /// # Errors
    /// A bad request that lists the names.
    pub fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>, ApiError> {
        let Some(text) = self.query.get(name) else { return Ok(None) };
        if let Some((_, value)) = choices.iter().find(|(choice, _)| choice == text) {
            return Ok(Some(*value));
        }
        let names: Vec<&str> = choices.iter().map(|(choice, _)| *choice).collect();
        Err(ApiError::bad_request(name, format_args!("write one of {}", names.join(", "))))
    }
}

fn unknown(known: &[&str]) -> String {
    if known.is_empty() {
        return "unknown; this path takes no parameters".to_owned();
    }
    format!("unknown; this path takes {}", known.join(", "))
}

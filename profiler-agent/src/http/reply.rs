//! Answers as HTTP has them.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::answers::Refusal;

/// Plain text.
pub(super) fn text(status: StatusCode, text: String) -> Response {
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    (status, [(header::CONTENT_TYPE, kind)], text).into_response()
}

/// A document, perhaps with the name that a browser saves it by.
pub(super) fn document(kind: &'static str, bytes: Bytes, name: Option<&str>) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let name = name.map(|name| format!("attachment; filename=\"{name}\""));
    if let Some(name) = name.and_then(|name| name.parse().ok()) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    (headers, Body::from(bytes)).into_response()
}

/// JSON.
pub(super) fn json(value: &impl Serialize) -> Result<Response, Refusal> {
    let text = serde_json::to_vec(value).map_err(|error| Refusal::Failed(error.to_string()))?;
    Ok(document("application/json", text.into(), None))
}

/// Why there is no answer.
pub(super) fn refusal(why: &Refusal) -> Response {
    let status = match why {
        Refusal::Bad(_) => StatusCode::BAD_REQUEST,
        Refusal::Missing(_) => StatusCode::NOT_FOUND,
        Refusal::Conflict(_) => StatusCode::CONFLICT,
        Refusal::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::TooLong(_) => StatusCode::GATEWAY_TIMEOUT,
        Refusal::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = text(status, format!("{}\n", why.to_string().trim_end()));
    if let Refusal::Busy { after, .. } = why {
        let after = HeaderValue::from(after.as_secs().max(1));
        response.headers_mut().insert(header::RETRY_AFTER, after);
    }
    response
}

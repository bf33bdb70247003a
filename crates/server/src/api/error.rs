//! Errors as the API says them, and extractors that say them so.

use crate::tables::TablesError;
use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use edgescope_model::query::QueryError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What went wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// One sentence, with the wrong value.
    pub error: String,
    /// The parameter or field that is wrong.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub field: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub remedy: Option<String>,
}

/// An answer that is an error.
#[derive(Debug)]
pub struct ApiError {
    pub status: StatusCode,
    pub body: ErrorBody,
}

impl ApiError {
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, body: ErrorBody { error: error.into(), field: None, remedy: None } }
    }

    pub fn bad(field: &str, error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error).field(field)
    }

    pub fn missing(what: &str, id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("no {what} with id '{id}'"))
    }

    #[must_use]
    pub fn field(mut self, field: &str) -> Self {
        self.body.field = Some(field.to_owned());
        self
    }

    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.body.remedy = Some(remedy.into());
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert("retry-after", axum::http::HeaderValue::from_static("2"));
        }
        response
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        let said = error.to_string();
        match error {
            QueryError::Dim(_) => Self::bad("group_by", said),
            QueryError::Measure(_) => Self::bad("measures", said),
            QueryError::Range { .. } => Self::bad("to", said),
            QueryError::CompareHalf(field) => Self::bad(field, said),
            QueryError::CompareRange { .. } => Self::bad("compare_to", said),
            QueryError::Steps { .. } => Self::bad("step", said),
            QueryError::Count { field, .. } | QueryError::Twice { field, .. } | QueryError::Gone { field, .. } => Self::bad(field, said),
            QueryError::CompareGone { .. } => Self::bad("compare_from", said),
            QueryError::Limit(_) => Self::bad("limit", said),
            QueryError::Filter(_) => Self::bad("filter", said),
            QueryError::Sql(_) => Self::bad("sql", said),
            QueryError::Sort(_) => Self::bad("sort", said),
            QueryError::Timeout(_) => Self::new(StatusCode::GATEWAY_TIMEOUT, said),
            QueryError::Memory(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, said),
            QueryError::Store(_) => {
                tracing::warn!(error = said, "a query failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, said)
            }
        }
    }
}

impl From<TablesError> for ApiError {
    fn from(error: TablesError) -> Self {
        let said = error.to_string();
        match error {
            TablesError::Refused(_) => Self::new(StatusCode::BAD_REQUEST, said),
            TablesError::Limit(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, said),
            TablesError::Busy(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, said),
            TablesError::Write(_) => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, said).remedy("free space on the disk of store.path, or lower store.max_bytes")
            }
            TablesError::Read(_) => {
                tracing::warn!(error = said, "the store failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, said)
            }
        }
    }
}

/// Query parameters; what cannot be read is an [`ApiError`].
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(value) = Query::<T>::from_request_parts(parts, state).await.map_err(|e| unreadable(StatusCode::BAD_REQUEST, &e.body_text()))?;
        Ok(Self(value))
    }
}

/// A JSON body; what cannot be read is an [`ApiError`].
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let Json(value) = Json::<T>::from_request(request, state).await.map_err(|e| unreadable(e.status(), &e.body_text()))?;
        Ok(Self(value))
    }
}

/// What a deserializer said, with the field that it speaks of.
fn unreadable(status: StatusCode, said: &str) -> ApiError {
    let error = ApiError::new(status, said);
    match field_of(said) {
        Some(field) => error.field(field),
        None => error,
    }
}

/// The field in `…: limit: invalid digit`, or in "unknown field `limt`".
fn field_of(said: &str) -> Option<&str> {
    if let Some((_, rest)) = said.split_once(" field `") {
        return rest.split_once('`').map(|(name, _)| name);
    }
    let path = said.split(": ").nth(1)?;
    let is_path = !path.is_empty() && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.[]".contains(&b));
    (is_path && said.split(": ").nth(2).is_some()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejections_name_their_field() {
        for (said, field) in [
            ("Failed to deserialize query string: limit: invalid digit found in string", Some("limit")),
            ("Failed to deserialize query string: unknown field `fro`, expected one of `from`, `to`", Some("fro")),
            (
                "Failed to deserialize the JSON body into the target type: measures[0]: invalid type: integer `1`, expected a string at line 1",
                Some("measures[0]"),
            ),
            ("Failed to deserialize the JSON body into the target type: missing field `measures` at line 1 column 2", Some("measures")),
            ("Failed to parse the request body as JSON: expected value at line 1 column 1", None),
            ("Expected request with `Content-Type: application/json`", None),
        ] {
            assert_eq!(field_of(said), field, "{said}");
        }
    }
}

//! Refusals as problem documents (RFC 9457). What is told is for the client; the cause goes to the log.

use std::borrow::Cow;

use hyper::StatusCode;
use hyper::header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use reputation::wire::{HEADER, Wire};
use serde::Serialize;

/// One kind of refusal and what may be said of this case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    kind: Kind,
    detail: Option<Cow<'static, str>>,
    /// Into the body that was sent (JSON pointer), for faults of single values.
    pointer: Option<&'static str>,
}

/// Names are stable: programs compare `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    BadAddress,
    BadQuery,
    BadBody,
    /// Who asks speaks a version of the wire that is too far away.
    Wire,
    BodyTooLarge,
    FaultyValue,
    NoToken,
    TooManyAttempts,
    /// A form whose session is over.
    SignedOut,
    /// A form that was not sent from a page of ours.
    NotFromHere,
    /// What only filters ask came from a page of the web.
    Page,
    NotFound,
    /// With the methods that are possible here.
    WrongMethod(&'static str),
    TooWide,
    Conflict,
    NotReady,
    /// Too many wait or report already.
    Busy,
    /// Said to operators only: the detail tells what the store's server said.
    Store,
    /// None is kept, or its database does not answer.
    History,
    Internal,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<&'static str>,
    instance: &'a str,
    request_id: &'a str,
}

impl Problem {
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            detail: None,
            pointer: None,
        }
    }

    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub fn at(mut self, pointer: &'static str) -> Self {
        self.pointer = Some(pointer);
        self
    }

    pub fn status(&self) -> StatusCode {
        self.kind.parts().0
    }

    pub fn title(&self) -> &'static str {
        self.kind.parts().2
    }

    pub fn detail_text(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// The header that HTTP asks for beside this status.
    pub fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self.kind {
            Kind::WrongMethod(allowed) => Some((ALLOW, HeaderValue::from_static(allowed))),
            Kind::Busy | Kind::TooManyAttempts => {
                Some((RETRY_AFTER, HeaderValue::from_static("1")))
            }
            // For who cannot be answered in his own version.
            Kind::Wire => Some((
                HeaderName::from_static(HEADER),
                HeaderValue::from_static(Wire::OURS_TEXT),
            )),
            Kind::NoToken => Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            _ => None,
        }
    }

    /// The document; `instance` is the path that was asked for.
    pub fn document(&self, instance: &str, request_id: &str) -> Vec<u8> {
        let (status, name, title) = self.kind.parts();
        let document = Document {
            r#type: format!("urn:portcullis:problem:{name}"),
            title,
            status: status.as_u16(),
            detail: self.detail.as_deref(),
            pointer: self.pointer,
            instance,
            request_id,
        };
        serde_json::to_vec(&document).unwrap_or_default()
    }
}

impl Kind {
    /// Status, name and title.
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadAddress => (StatusCode::BAD_REQUEST, "bad-address", "Not an address"),
            Self::BadQuery => (
                StatusCode::BAD_REQUEST,
                "bad-query",
                "Faulty query parameter",
            ),
            Self::Wire => (
                StatusCode::BAD_REQUEST,
                "wire",
                "Filter and sidecar are too many versions apart",
            ),
            Self::BadBody => (StatusCode::BAD_REQUEST, "bad-body", "Body cannot be read"),
            Self::BodyTooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "body-too-large",
                "Body is too large",
            ),
            Self::FaultyValue => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "faulty-value",
                "Faulty value in the body",
            ),
            Self::NoToken => (
                StatusCode::UNAUTHORIZED,
                "no-token",
                "The admin token is missing or wrong",
            ),
            Self::SignedOut => (
                StatusCode::FORBIDDEN,
                "signed-out",
                "You are signed out, so nothing was done",
            ),
            Self::NotFromHere => (
                StatusCode::FORBIDDEN,
                "not-from-here",
                "The form did not come from a page of this session, so nothing was done",
            ),
            Self::Page => (
                StatusCode::FORBIDDEN,
                "page",
                "Filters ask here, and no web pages",
            ),
            Self::TooManyAttempts => (
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-attempts",
                "Too many wrong tokens came from this client just now",
            ),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is nothing here"),
            Self::WrongMethod(_) => (
                StatusCode::METHOD_NOT_ALLOWED,
                "wrong-method",
                "Not with this method",
            ),
            Self::TooWide => (StatusCode::CONFLICT, "too-wide", "The prefix is very wide"),
            Self::Conflict => (
                StatusCode::CONFLICT,
                "conflict",
                "Not possible in this state",
            ),
            Self::NotReady => (
                StatusCode::SERVICE_UNAVAILABLE,
                "not-ready",
                "No snapshot is published yet",
            ),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "Too much at once: try again in a second",
            ),
            Self::Store => (
                StatusCode::SERVICE_UNAVAILABLE,
                "store",
                "The store did not take it",
            ),
            Self::History => (
                StatusCode::SERVICE_UNAVAILABLE,
                "history",
                "There is no history to be read",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "The sidecar failed; its log says why",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_where_and_under_which_request_id() {
        let problem = Problem::new(Kind::FaultyValue)
            .detail("\"x\" is no prefix")
            .at("/cidr");
        let document: serde_json::Value =
            serde_json::from_slice(&problem.document("/v1/decisions", "id-7")).unwrap();
        let expected = serde_json::json!({
            "type": "urn:portcullis:problem:faulty-value",
            "title": "Faulty value in the body",
            "status": 422,
            "detail": "\"x\" is no prefix",
            "pointer": "/cidr",
            "instance": "/v1/decisions",
            "request_id": "id-7",
        });
        assert_eq!(document, expected);
    }
}

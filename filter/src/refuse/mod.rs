//! Tells a client that it is refused, in the form that its kind of request understands. Says a decision's
//! id and the request's, never a feed, a score or an internal cause.

mod body;
mod kind;

use reputation::DecisionId;

use crate::config::Deny;
use crate::headers::HeaderMap;
use crate::host::{Host, Reply};

use body::Page;
use kind::Kind;

/// What the client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A verdict.
    Denied(DecisionId),
    /// A failure of ours under `failure: closed`: no verdict, so no decision.
    Unavailable,
}

/// The operator's own pages; `{{decision_id}}` and `{{request_id}}` are replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Templates {
    pub html: Option<String>,
    pub json: Option<String>,
    pub text: Option<String>,
}

/// Answers the current request.
pub fn send<H: Host>(host: &H, deny: &Deny, refusal: Refusal) {
    let request = host.request_headers();
    let kind = Kind::of(&request);
    let request_id = request.get("x-request-id").and_then(request_id);
    let request_id = request_id.unwrap_or_default();
    let decision_id = match refusal {
        Refusal::Denied(id) => id.to_string(),
        Refusal::Unavailable => String::new(),
    };
    let mut headers = vec![("cache-control", "no-store")];
    if matches!(refusal, Refusal::Denied(_)) {
        headers.push(("x-portcullis-decision", decision_id.as_str()));
    }
    if !request_id.is_empty() {
        headers.push(("x-request-id", request_id));
    }
    let page = Page {
        refusal,
        status: match refusal {
            Refusal::Denied(_) => deny.status,
            Refusal::Unavailable => 503,
        },
        decision_id: &decision_id,
        request_id,
        path: path(&request),
    };
    deliver(host, kind, &page, &headers, &deny.templates);
}

/// The id under which Envoy and the client know a request, if the header's value is fit to be repeated.
pub fn request_id(value: &[u8]) -> Option<&str> {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let fit = (1..=128).contains(&value.len()) && value.iter().all(fits);
    std::str::from_utf8(value).ok().filter(|_| fit)
}

fn deliver<H: Host>(
    host: &H,
    kind: Kind<'_>,
    page: &Page<'_>,
    common: &[(&str, &str)],
    templates: &Templates,
) {
    let grpc = page.grpc_status();
    let grpc_text = grpc.to_string();
    let body;
    let mut headers = common.to_vec();
    let mut reply = page.reply();
    match kind {
        Kind::Grpc => {
            reply.grpc_status = Some(grpc);
            reply.body = page.message().as_bytes();
        }
        Kind::GrpcWeb { content_type } => {
            // A gRPC-Web client reads the status of a 200 only, some from the headers, all from trailers at
            // the end of the body; and Envoy lets the content type stand only where there is a body.
            reply.status = 200;
            body = page.grpc_web_trailers(content_type);
            reply.body = &body;
            headers.push(("content-type", content_type));
            headers.push(("grpc-status", &grpc_text));
            headers.push(("grpc-message", page.message()));
        }
        Kind::Html | Kind::Json | Kind::Text => {
            headers.push(("content-type", kind.content_type()));
            body = page.body(kind, templates).into_bytes();
            reply.body = &body;
        }
    }
    host.send_reply(&Reply {
        headers: &headers,
        ..reply
    });
}

/// The path without its query, where it is fit to be repeated.
fn path(request: &HeaderMap) -> Option<&str> {
    let path = request.text(":path")?;
    let path = path.split(['?', '#']).next()?;
    (path.len() <= 256).then_some(path)
}

#[cfg(test)]
mod tests;

//! The console's answers, and the headers that each of them has.

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, LOCATION, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use maud::Markup;

use super::assets::Asset;
use crate::api::server::{Reply, empty, reply};

const HTML: &str = "text/html; charset=utf-8";
/// Nothing but our own style sheet and icon; forms lead to ourselves; nobody frames us.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";
const PERMISSIONS: HeaderName = HeaderName::from_static("permissions-policy");
const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

pub fn html(status: StatusCode, page: Markup) -> Reply {
    guarded(reply(status, HTML, Bytes::from(page.into_string())))
}

/// The browser goes on with a GET of `path`, which is one of ours.
pub fn to(path: &str) -> Reply {
    let mut reply = guarded(empty(StatusCode::SEE_OTHER));
    let path = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/"));
    reply.headers_mut().insert(LOCATION, path);
    reply
}

/// Its name changes with its content, so it may be kept for ever.
pub fn asset(asset: &Asset) -> Reply {
    let body = Bytes::from_static(asset.content.as_bytes());
    let mut reply = guarded(reply(StatusCode::OK, asset.content_type, body));
    let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
    reply.headers_mut().insert(CACHE_CONTROL, kept);
    reply
}

fn guarded(mut reply: Reply) -> Reply {
    let headers = reply.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_FRAME_OPTIONS, "DENY"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (PERMISSIONS, "camera=(), geolocation=(), microphone=()"),
        (OPENER, "same-origin"),
        (RESOURCE, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    reply
}

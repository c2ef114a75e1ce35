//! The session's cookie. Over TLS, which a proxy in front of the listener ends, it is bound to the host
//! and never sent in the clear.

use hyper::HeaderMap;
use hyper::header::{COOKIE, HeaderValue};

/// Browsers take the first only over TLS, from this very host, for all paths.
const OVER_TLS: &str = "__Host-portcullis";
const PLAIN: &str = "portcullis";
const FORWARDED: &str = "x-forwarded-proto";

/// The session's id, if the request has one.
pub fn read(headers: &HeaderMap) -> Option<String> {
    let wanted = name(headers);
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let mut ids = pairs.filter(|(name, _)| *name == wanted);
    ids.next().map(|(_, id)| id.to_owned())
}

/// The header that has the browser keep `id` until it is closed. An id is hexadecimal digits.
pub fn set(headers: &HeaderMap, id: &str) -> Option<HeaderValue> {
    let secure = if is_tls(headers) { "; Secure" } else { "" };
    let text = format!(
        "{}={id}; Path=/; HttpOnly; SameSite=Strict{secure}",
        name(headers)
    );
    HeaderValue::from_str(&text).ok()
}

fn name(headers: &HeaderMap) -> &'static str {
    if is_tls(headers) { OVER_TLS } else { PLAIN }
}

/// Whoever lies about it changes his own cookie's name.
fn is_tls(headers: &HeaderMap) -> bool {
    headers.get(FORWARDED).is_some_and(|proto| proto == "https")
}

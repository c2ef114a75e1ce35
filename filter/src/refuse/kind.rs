//! What kind of request is refused, told by its headers. HEAD is no kind of its own: Envoy keeps the body
//! back and lets its type and length stand.

use crate::headers::HeaderMap;

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/problem+json";
const MAX_CONTENT_TYPE: usize = 128;
const TEXT: &str = "text/plain; charset=utf-8";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    Grpc,
    GrpcWeb {
        content_type: &'a str,
    },
    Html,
    Json,
    /// Also for upgrades: no WebSocket client shows a page.
    Text,
}

impl<'a> Kind<'a> {
    pub fn of(request: &'a HeaderMap) -> Self {
        // It is said back to a gRPC-Web client: what is longer is none.
        let content_type = request.text("content-type").unwrap_or_default();
        let content_type = match content_type.len() <= MAX_CONTENT_TYPE {
            true => content_type,
            false => "",
        };
        if let Some(rest) = content_type.strip_prefix("application/grpc") {
            if rest.starts_with("-web") {
                return Self::GrpcWeb { content_type };
            }
            if rest.is_empty() || rest.starts_with(['+', ';', ' ']) {
                return Self::Grpc;
            }
        }
        let method = request.text(":method").unwrap_or_default();
        let tunnel = method == "CONNECT";
        if tunnel || request.get("upgrade").is_some() || request.get(":protocol").is_some() {
            return Self::Text;
        }
        Self::of_accept(request.text("accept").unwrap_or_default())
    }

    /// A browser asks for HTML; whoever does not say what it reads gets the problem document.
    fn of_accept(accept: &str) -> Self {
        let accept = accept.to_ascii_lowercase();
        if accept.contains("text/html") || accept.contains("application/xhtml") {
            Self::Html
        } else if accept.contains("text/plain") && !accept.contains("json") {
            Self::Text
        } else {
            Self::Json
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Html => HTML,
            Self::Json => JSON,
            Self::Text | Self::Grpc | Self::GrpcWeb { .. } => TEXT,
        }
    }
}

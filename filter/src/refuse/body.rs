//! The words of a refusal, as page, problem document (RFC 9457) and plain text.

use serde::Serialize;

use super::kind::Kind;
use super::{Refusal, Templates};
use crate::host::Reply;

/// Everything that may stand in an answer. Ids hold only characters that need no escape anywhere.
pub struct Page<'a> {
    pub refusal: Refusal,
    pub status: u16,
    pub decision_id: &'a str,
    pub request_id: &'a str,
    pub path: Option<&'a str>,
}

#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    decision_id: &'a str,
}

impl Page<'_> {
    pub fn body(&self, kind: Kind<'_>, templates: &Templates) -> String {
        // The operator's pages speak of a denial; a failure of ours must not look like one.
        let template = match (self.refusal, kind) {
            (Refusal::Unavailable, _) => None,
            (_, Kind::Html) => templates.html.as_deref(),
            (_, Kind::Json) => templates.json.as_deref(),
            (_, _) => templates.text.as_deref(),
        };
        match (template, kind) {
            (Some(template), _) => template
                .replace("{{decision_id}}", self.decision_id)
                .replace("{{request_id}}", self.request_id),
            (None, Kind::Html) => self.html(),
            (None, Kind::Json) => self.json(),
            (None, _) => self.text(),
        }
    }

    /// One line, for gRPC clients and as the heading of the rest.
    pub fn message(&self) -> &'static str {
        match self.refusal {
            Refusal::Denied(_) => "Access denied",
            Refusal::Unavailable => "Service unavailable",
        }
    }

    pub fn grpc_status(&self) -> u8 {
        match self.refusal {
            Refusal::Denied(_) => 7,
            Refusal::Unavailable => 14,
        }
    }

    /// A frame of trailers: the flag, the length, the trailers; in Base64 for the text variant.
    pub fn grpc_web_trailers(&self, content_type: &str) -> Vec<u8> {
        let (status, message) = (self.grpc_status(), self.message());
        let trailers = format!("grpc-status: {status}\r\ngrpc-message: {message}\r\n");
        let length = u32::try_from(trailers.len()).unwrap_or_default();
        let frame = [&[0x80][..], &length.to_be_bytes(), trailers.as_bytes()].concat();
        match content_type.starts_with("application/grpc-web-text") {
            true => base64(&frame),
            false => frame,
        }
    }

    /// An answer that still lacks its body.
    pub fn reply(&self) -> Reply<'static> {
        Reply {
            status: self.status,
            details: self.details(),
            headers: &[],
            body: b"",
            grpc_status: None,
        }
    }

    /// For Envoy's access log.
    fn details(&self) -> &'static str {
        match self.refusal {
            Refusal::Denied(_) => "portcullis_denied",
            Refusal::Unavailable => "portcullis_unavailable",
        }
    }

    fn detail(&self) -> &'static str {
        match self.refusal {
            Refusal::Denied(_) => "Requests from your network address are not accepted here.",
            Refusal::Unavailable => "The request could not be checked. Please try again shortly.",
        }
    }

    fn json(&self) -> String {
        let problem = Problem {
            r#type: match self.refusal {
                Refusal::Denied(_) => "urn:portcullis:problem:denied",
                Refusal::Unavailable => "urn:portcullis:problem:unavailable",
            },
            title: self.message(),
            status: self.status,
            detail: self.detail(),
            instance: self.path,
            request_id: self.request_id,
            decision_id: self.decision_id,
        };
        serde_json::to_string(&problem).unwrap_or_default()
    }

    fn html(&self) -> String {
        let mut ids = String::new();
        for (label, id) in self.ids() {
            ids.push_str(&format!("<dt>{label}</dt><dd><code>{id}</code></dd>"));
        }
        let (title, detail) = (self.message(), self.detail());
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
             <meta name=\"viewport\" content=\"width=device-width\"></head>\n\
             <body><h1>{title}</h1><p>{detail}</p><dl>{ids}</dl></body></html>\n"
        )
    }

    fn text(&self) -> String {
        let mut text = format!("{}. {}\n", self.message(), self.detail());
        for (label, id) in self.ids() {
            text.push_str(&format!("{label}: {id}\n"));
        }
        text
    }

    fn ids(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [("Decision", self.decision_id), ("Request", self.request_id)]
            .into_iter()
            .filter(|(_, id)| !id.is_empty())
    }
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |group: u32, at: u32| {
        let index = usize::try_from(group >> (18 - 6 * at) & 63).unwrap_or_default();
        DIGITS.get(index).copied().unwrap_or(b'=')
    };
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = (0..3).fold(0_u32, |group, at| {
            group << 8 | chunk.get(at).copied().map_or(0, u32::from)
        });
        for at in 0..4_u32 {
            let filled = usize::try_from(at).is_ok_and(|at| at <= chunk.len());
            text.push(if filled { digit(group, at) } else { b'=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_what_the_standard_says() {
        for (plain, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
            assert_eq!(base64(plain.as_bytes()), encoded.as_bytes());
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), b"+//+");
    }
}

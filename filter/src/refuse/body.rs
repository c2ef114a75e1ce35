//! The words of a refusal, as page, problem document (RFC 9457) and plain text.

use serde::Serialize;

use super::kind::Kind;
use super::{Refusal, Templates};

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

    /// For Envoy's access log.
    pub fn details(&self) -> &'static str {
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

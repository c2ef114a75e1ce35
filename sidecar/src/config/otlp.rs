//! `[otlp]`: where the log is sent besides standard error, if anywhere.

use hyper::Uri;

use super::section::Section;
use super::value;

/// An OpenTelemetry collector, by OTLP over HTTP. None by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Otlp {
    /// Without `/v1/logs`, which is added.
    pub endpoint: Option<Uri>,
}

impl Otlp {
    pub(super) fn validate(mut section: Section<'_>) -> Self {
        let otlp = Self {
            endpoint: section.get("endpoint", value::url),
        };
        section.finish();
        otlp
    }
}

//! What one event says, field by field.

use std::fmt::Debug;

use serde_json::{Map, Number, Value};
use tracing::Event;
use tracing::field::{Field, Visit};
use tracing_subscriber::fmt::FormattedFields;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::registry::{LookupSpan, Scope};

/// The message, and the other fields in the order in which they were written.
#[derive(Debug, Default)]
pub struct Fields {
    pub message: String,
    pub others: Vec<(&'static str, Value)>,
}

/// What a request's span says.
const REQUEST: [&str; 2] = ["request_id", "trace_id"];

impl Fields {
    pub fn of(event: &Event<'_>) -> Self {
        let mut fields = Self::default();
        event.record(&mut fields);
        fields
    }

    /// Adds those of the request that the event belongs to, unless it has them itself.
    pub fn with_request<S>(mut self, scope: Option<Scope<'_, S>>) -> Self
    where
        S: for<'a> LookupSpan<'a>,
    {
        for span in scope.into_iter().flatten() {
            let extensions = span.extensions();
            let written = extensions.get::<FormattedFields<JsonFields>>();
            let fields = written.and_then(|text| serde_json::from_str::<Map<_, _>>(text).ok());
            for name in REQUEST {
                let value = fields.as_ref().and_then(|fields| fields.get(name));
                let own = self.others.iter().any(|(have, _)| *have == name);
                self.others
                    .extend(value.filter(|_| !own).map(|value| (name, value.clone())));
            }
        }
        self
    }

    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.others.push((field.name(), value.into()));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.add(field, text);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.add(field, value);
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Number::from_f64(value));
    }
}

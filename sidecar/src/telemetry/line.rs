//! How a log line is written: one JSON object, its fields named as in Envoy's logs (docs/logs.md).

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent};
use tracing_subscriber::registry::LookupSpan;

use super::fields::Fields;

/// Writes `time`, `level`, `logger`, `message`, the event's own fields, and those of the request that it
/// belongs to.
pub struct Line;

struct Record<'a> {
    at: Timestamp,
    level: Level,
    logger: &'a str,
    fields: &'a Fields,
}

impl<S> FormatEvent<S, JsonFields> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let record = Record {
            at: Timestamp::now(),
            level: *event.metadata().level(),
            logger: event.metadata().target(),
            fields: &Fields::of(event).with_request(context.event_scope()),
        };
        let line = serde_json::to_string(&record).map_err(|_| fmt::Error)?;
        writeln!(writer, "{line}")
    }
}

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(None)?;
        let time = self.at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        line.serialize_entry("time", &time)?;
        line.serialize_entry("level", name(self.level))?;
        line.serialize_entry("logger", self.logger)?;
        line.serialize_entry("message", &self.fields.message)?;
        for (name, value) in &self.fields.others {
            line.serialize_entry(name, value)?;
        }
        line.end()
    }
}

/// As Envoy names its levels.
pub fn name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines(work: impl FnOnce()) -> Vec<String> {
        let written = Written::default();
        let writer = written.clone();
        let layer = tracing_subscriber::fmt::layer()
            .fmt_fields(JsonFields::new())
            .event_format(Line)
            .with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, work);
        let bytes = written.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_has_its_own_fields_and_those_of_its_request_once() {
        let lines = lines(|| {
            let span = tracing::info_span!("request", request_id = "id-7", trace_id = "abc");
            let _entered = span.entered();
            tracing::warn!(status = 503, duration_ms = 1.5, request_id = "own", "slow");
        });
        let [line] = lines.as_slice() else {
            panic!("{lines:?}")
        };
        let (start, rest) = line.split_once(",\"level\"").unwrap();
        assert!(
            start.starts_with("{\"time\":\"20") && start.ends_with("Z\""),
            "{start}"
        );
        assert_eq!(
            rest,
            ":\"warning\",\"logger\":\"sidecar::telemetry::line::tests\",\"message\":\"slow\",\
             \"status\":503,\"duration_ms\":1.5,\"request_id\":\"own\",\"trace_id\":\"abc\"}"
        );
    }

    #[test]
    fn whatever_stands_in_a_value_it_stays_one_line_of_json() {
        let hostile = "a\"b\\\n\r\u{0}\u{1b}[31m\u{2028}{\"level\":\"info\"}";
        let lines = lines(|| tracing::error!(path = hostile, why = ?hostile, "{hostile}"));
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(line["path"], hostile);
        assert_eq!(line["message"], hostile);
        assert_eq!(line["level"], "error");
    }
}

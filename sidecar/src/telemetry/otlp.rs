//! Sends the log to an OpenTelemetry collector, by OTLP over HTTP (protobuf), besides writing it. Off
//! without an endpoint.
//!
//! What is sent is what the line says, field by field: a record per line, in batches, and never at the
//! cost of whoever logs. What a collector that is away does not take is lost.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::{SpanId, TraceId};
use opentelemetry_http::{Bytes, HttpClient as Way, HttpError, Request, Response};
use opentelemetry_otlp::{LogExporter, Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
use serde_json::Value;
use tokio::runtime::Handle;
use tracing::{Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::fields::Fields;
use super::line;
use crate::config;
use crate::http::{Get, HttpClient};

/// Why the log cannot be sent.
pub use opentelemetry_otlp::ExporterBuildError as OtlpError;

/// Where the log goes, if anywhere.
#[derive(Clone, Default)]
pub struct Export(Option<SdkLoggerProvider>);

/// A layer that sends what it hears.
pub struct Records(SdkLogger);

/// The SDK's way out: the sidecar's own client, on its own runtime.
struct Client {
    http: HttpClient,
    runtime: Handle,
}

const SERVICE: &str = "portcullis";
const PATH: &str = "/v1/logs";
const TIMEOUT: Duration = Duration::from_secs(5);
const FLUSH: Duration = Duration::from_secs(3);
const MAX_ANSWER_BYTES: usize = 64 * 1024;

impl Export {
    /// Must be called within the runtime.
    pub fn open(config: &config::Otlp, http: HttpClient) -> Result<Self, OtlpError> {
        let Some(endpoint) = &config.endpoint else {
            return Ok(Self(None));
        };
        let client = Client {
            http,
            runtime: Handle::current(),
        };
        let base = endpoint.to_string();
        let exporter = LogExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(format!("{}{PATH}", base.trim_end_matches('/')))
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(TIMEOUT)
            .build()?;
        let resource = Resource::builder().with_service_name(SERVICE).build();
        let provider = SdkLoggerProvider::builder()
            .with_resource(resource)
            .with_batch_exporter(exporter);
        Ok(Self(Some(provider.build())))
    }

    /// For the log, if it is sent anywhere.
    pub fn records(&self) -> Option<Records> {
        let provider = self.0.as_ref()?;
        Some(Records(provider.logger(SERVICE)))
    }

    /// Sends what is left, but not for long, and ends.
    pub async fn end(self) {
        let Some(provider) = self.0 else { return };
        // It blocks, while what it waits for runs here.
        let ending = move || provider.shutdown_with_timeout(FLUSH);
        // Nobody is left to be told if it fails.
        let _ended = tokio::task::spawn_blocking(ending).await;
    }
}

impl<S> Layer<S> for Records
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let fields = Fields::of(event).with_request(context.event_scope(event));
        let mut record = self.0.create_log_record();
        record.set_timestamp(std::time::SystemTime::now());
        record.set_target(metadata.target());
        record.set_severity_number(severity(*metadata.level()));
        record.set_severity_text(line::name(*metadata.level()));
        record.set_body(fields.message.into());
        for (name, value) in fields.others {
            if let Some(trace) = trace(name, &value) {
                record.set_trace_context(trace, SpanId::INVALID, None);
            }
            record.add_attribute(name, any(value));
        }
        self.0.emit(record);
    }
}

#[async_trait]
impl Way for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let http = self.http.clone();
        let to = Get {
            uri: head.uri,
            headers: head.headers,
            timeout: TIMEOUT,
            max_bytes: MAX_ANSWER_BYTES,
        };
        // The SDK asks from a thread of its own, which has no runtime.
        let sent = self.runtime.spawn(async move { http.post(to, body).await });
        let answer = sent.await??;
        let mut response = Response::new(answer.body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

fn trace(name: &str, value: &Value) -> Option<TraceId> {
    let id = value.as_str().filter(|_| name == "trace_id")?;
    TraceId::from_hex(id).ok()
}

fn severity(level: Level) -> Severity {
    match level {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warn,
        Level::INFO => Severity::Info,
        Level::DEBUG => Severity::Debug,
        Level::TRACE => Severity::Trace,
    }
}

fn any(value: Value) -> AnyValue {
    match value {
        Value::Bool(value) => value.into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().unwrap_or_default().into(),
        },
        Value::String(text) => text.into(),
        other => other.to_string().into(),
    }
}

//! Speaks HTTP/1.1 on a listener: connections, limits, time-outs, the access log and the shut-down.
//! What is answered is the listener's own module's.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::listener::{Connection, Listener, Peer};
use super::patience::{PATIENCE, Patient};
use super::places::Places;
use super::problem::Problem;
use super::request::RequestId;
use crate::telemetry::{Metrics, Sparing, TraceParent};

pub const JSON: &str = "application/json";

pub type Reply = Response<Full<Bytes>>;

/// What one listener answers.
pub trait Handler: Send + Sync + 'static {
    /// The listener's name in logs and metrics.
    const NAME: &'static str;
    /// When a line in the log says which of its requests it is about.
    const NAMED: Named = Named::WhenDebugging;

    /// Never fails: a problem becomes a document.
    fn handle(
        &self,
        request: Request<Incoming>,
        exchange: &mut Exchange,
    ) -> impl Future<Output = Result<Reply, Problem>> + Send;
}

/// Look-ups are many: naming each in every line costs something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    Always,
    WhenDebugging,
}

/// What is noted of one request while it is served.
pub struct Exchange {
    pub id: RequestId,
    pub trace: Option<TraceParent>,
    pub peer: Peer,
    /// A fixed word per route: the metric's label.
    pub route: &'static str,
    /// Whether somebody should see it at the usual level; look-ups and polls would drown the rest.
    pub notable: bool,
}

/// What clients may take of a listener.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub connections: usize,
    /// For an answer to be taken; a long one has more.
    pub patience: Duration,
}

/// Shared by all connections of one listener.
struct Server<H> {
    handler: H,
    metrics: Arc<Metrics>,
    places: Arc<Places>,
    patience: Duration,
    turned_away: Sparing,
}

/// The route of what is no route.
const NO_ROUTE: &str = "none";
pub const MAX_CONNECTIONS: usize = 4096;
/// It also ends idle connections, so it must outlast the `idle_timeout` of envoy.yaml's clusters (30 s):
/// otherwise a look-up may be sent into a connection that is just being closed.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(75);
const MAX_HEADERS: usize = 64;
/// For a request's head, per connection.
const MAX_BUFFER: usize = 64 * 1024;
/// How much of a path is logged and told back.
const MAX_PATH: usize = 256;
/// How long open requests may take after the shut-down began.
const DRAIN: Duration = Duration::from_secs(5);
/// After a failed accept, such as for lack of file descriptors: a busy loop would not free any.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: MAX_CONNECTIONS,
            patience: PATIENCE,
        }
    }
}

/// Serves until `shutdown`, then lets open requests finish, but not for ever.
pub async fn serve<H: Handler>(
    listener: Listener,
    handler: H,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) {
    serve_within(Limits::default(), listener, handler, metrics, shutdown).await;
}

/// As [`serve`], with limits of one's own.
pub async fn serve_within<H: Handler>(
    limits: Limits,
    listener: Listener,
    handler: H,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) {
    let server = Arc::new(Server {
        handler,
        metrics,
        places: Places::new(limits.connections),
        patience: limits.patience,
        turned_away: Sparing::once_a_minute(),
    });
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((connection, peer)) => server.admit(connection, peer, &graceful),
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                tracing::warn!(listener = H::NAME, %error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(
            listener = H::NAME,
            "some requests did not finish in time and were cut off"
        );
    }
}

/// A client that is gone before it is accepted must not delay the next.
fn is_the_clients(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionReset)
}

impl<H: Handler> Server<H> {
    /// Serves a connection, or ends it at once where there is no place for one more of this client. It is
    /// not left to wait: behind it those would wait who have none.
    fn admit(
        self: &Arc<Self>,
        connection: Box<dyn Connection>,
        peer: Peer,
        graceful: &GracefulShutdown,
    ) {
        let Some(place) = self.places.take(peer) else {
            self.metrics.connection_refused(H::NAME);
            if self.turned_away.is_due() {
                tracing::warn!(listener = H::NAME, %peer, "too many connections of one address");
            }
            return;
        };
        let served = graceful.watch(Arc::clone(self).serve_connection(connection, peer));
        tokio::spawn(async move {
            // A client that goes away or sends rubbish is its own affair.
            let _ended = served.await;
            drop(place);
        });
    }

    fn serve_connection(
        self: Arc<Self>,
        connection: Box<dyn Connection>,
        peer: Peer,
    ) -> impl GracefulConnection<Error = hyper::Error> {
        let connection = Patient::new(connection, self.patience);
        let service = service_fn(move |request| {
            let server = Arc::clone(&self);
            async move { Ok::<_, Infallible>(server.exchange(request, peer).await) }
        });
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_READ_TIMEOUT)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_BUFFER)
            .serve_connection(TokioIo::new(connection), service)
    }

    async fn exchange(&self, request: Request<Incoming>, peer: Peer) -> Reply {
        let mut exchange = Exchange {
            id: RequestId::of(request.headers()),
            trace: TraceParent::of(request.headers()),
            peer,
            route: NO_ROUTE,
            notable: false,
        };
        let span = exchange.span(H::NAMED);
        let answer = self.answer(request, &mut exchange);
        // Entering a span that nobody reads costs each poll of a look-up something.
        match span.is_disabled() {
            true => answer.await,
            false => answer.instrument(span).await,
        }
    }

    async fn answer(&self, request: Request<Incoming>, exchange: &mut Exchange) -> Reply {
        let began = Instant::now();
        // Keeping a copy is a reference count; formatting it waits until somebody wants to read it.
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let answer = self.handler.handle(request, exchange).await;
        let reply = answer.unwrap_or_else(|problem| {
            let document = problem.document(shown(uri.path()), &exchange.id.text());
            let mut reply = reply(
                problem.status(),
                "application/problem+json",
                document.into(),
            );
            reply.headers_mut().extend(problem.header());
            reply
        });
        let (took, status) = (began.elapsed(), reply.status().as_u16());
        self.metrics
            .http_request(H::NAME, exchange.route, status, took);
        log(H::NAME, exchange, &method, shown(uri.path()), status, took);
        reply
    }
}

impl Exchange {
    fn span(&self, named: Named) -> Span {
        let trace_id = self.trace.map(tracing::field::display);
        match named {
            Named::Always => {
                tracing::info_span!("request", request_id = %self.id.text(), trace_id)
            }
            Named::WhenDebugging => {
                tracing::debug_span!("request", request_id = %self.id.text(), trace_id)
            }
        }
    }
}

/// The beginning of a path, which is ASCII by then.
fn shown(path: &str) -> &str {
    path.get(..MAX_PATH).unwrap_or(path)
}

/// The access log.
fn log(
    listener: &'static str,
    exchange: &Exchange,
    method: &hyper::Method,
    path: &str,
    status: u16,
    took: Duration,
) {
    let route = exchange.route;
    let duration_ms = took.as_secs_f64() * 1000.0;
    if exchange.notable {
        let request_id = exchange.id.text();
        tracing::info!(listener, route, %request_id, %method, path, status, duration_ms, "request");
    } else if tracing::enabled!(tracing::Level::DEBUG) {
        let request_id = exchange.id.text();
        // The path of a look-up holds an address, of which its own line says as much as it may.
        let path = (route == NO_ROUTE).then_some(path);
        tracing::debug!(listener, route, %request_id, %method, path, status, duration_ms, "request");
    }
}

pub fn reply(status: StatusCode, content_type: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// `value` as JSON with status 200.
pub fn json(value: &impl serde::Serialize) -> Result<Reply, Problem> {
    json_with(StatusCode::OK, value)
}

pub fn json_with(status: StatusCode, value: &impl serde::Serialize) -> Result<Reply, Problem> {
    match serde_json::to_vec(value) {
        Ok(body) => Ok(reply(status, JSON, body.into())),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written");
            Err(Problem::new(super::problem::Kind::Internal))
        }
    }
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = status;
    reply
}

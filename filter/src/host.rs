//! The border to Envoy: everything the plugin asks of its host, as one trait.
//!
//! The real host is `abi::Envoy`; tests have one of their own. No call of this trait panics or traps,
//! whatever the host answers: a stream that is gone or a missing value is an ordinary result.

use reputation::UnixSeconds;
use thiserror::Error;

use crate::headers::HeaderMap;

/// A context of the host: a root (one per plugin configuration and VM) or a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContextId(pub u32);

/// Names a callout that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub u32);

/// The state of a shared value when it was read, for compare-and-swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cas(pub u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricId(pub u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// What Envoy does with the request after the callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    Continue,
    /// Held until `resume` or `send_reply`.
    Pause,
}

/// The properties that the plugin reads; each is one path in the host's tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Property {
    /// The client's address and port, after Envoy's hop or CIDR trust.
    SourceAddress,
    RouteName,
    PluginName,
    PluginRootId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CallError {
    /// The cluster does not exist.
    #[error("the cluster is not known to Envoy")]
    Cluster,
    /// No endpoint, no healthy host, or the circuit breaker is full.
    #[error("the cluster has no endpoint to take the call")]
    Unavailable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("another VM wrote first")]
pub struct CasMismatch;

/// The stream or root does not exist any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the context is gone")]
pub struct Gone;

/// A GET to a cluster, or with a body a POST of JSON.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub cluster: &'a str,
    pub authority: &'a str,
    pub path: &'a str,
    pub body: Option<&'a [u8]>,
    pub request_id: Option<&'a str>,
    /// The trace that the request belongs to, as W3C Trace Context writes it.
    pub traceparent: Option<&'a str>,
    pub timeout_ms: u32,
}

/// A response that the filter gives in the upstream's place.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    pub status: u16,
    /// Stands in Envoy's access log as `RESPONSE_CODE_DETAILS`.
    pub details: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
    pub grpc_status: Option<u8>,
}

/// How much of a callout's answer came. Without headers nothing of it may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerSize {
    pub headers: usize,
    pub body: usize,
}

pub trait Host {
    /// Microseconds on a clock that never jumps and that all VMs of the process share: for everything
    /// that lasts. One host call: the request path uses the tick's time instead.
    fn now_micros(&self) -> u64;
    /// The time of day, which may jump: only for points in time that came from outside.
    fn unix_now(&self) -> UnixSeconds;
    /// A number no other VM is likely to draw.
    fn random(&self) -> u64;

    fn configuration(&self) -> Vec<u8>;
    fn set_tick_period(&self, millis: u32);

    /// Makes `context` the one that the following calls are about, until the callback ends.
    fn enter(&self, context: ContextId) -> Result<(), Gone>;
    /// Reads a property in place, if it has a value. `read` must not call the host.
    fn property<R>(&self, property: Property, read: impl FnOnce(&[u8]) -> R) -> Option<R>;
    /// Sets the stream's filter state `wasm.<name>`, for the access log and other filters.
    fn set_state(&self, name: &str, value: &str);
    fn request_headers(&self) -> HeaderMap;
    /// Reads the first value of a header in place. `read` must not call the host.
    fn request_header<R>(&self, name: &str, read: impl FnOnce(&[u8]) -> R) -> Option<R>;
    fn set_request_header(&self, name: &str, value: &str);
    fn remove_request_header(&self, name: &str);
    /// Lets the held request go on. Nothing of it may be touched afterwards.
    fn resume(&self);
    fn send_reply(&self, reply: &Reply<'_>);

    fn call(&self, call: &Call<'_>) -> Result<Token, CallError>;
    fn answer_header(&self, name: &str) -> Option<Vec<u8>>;
    /// At most `max` bytes from the answer's start.
    fn answer_body(&self, max: usize) -> Vec<u8>;

    /// The value, and the state to give back for a compare-and-swap. `None` if never written.
    fn shared(&self, key: &str) -> Option<(Vec<u8>, Cas)>;
    /// Writes; with `expected` only if nobody wrote since that was read.
    fn set_shared(&self, key: &str, value: &[u8], expected: Option<Cas>)
    -> Result<(), CasMismatch>;

    fn define_metric(&self, kind: MetricKind, name: &str) -> Option<MetricId>;
    fn add(&self, counter: MetricId, by: u64);
    /// Sets a gauge or records into a histogram.
    fn record(&self, metric: MetricId, value: u64);
}

//! The binding to Envoy's Wasm host, and with `memory` the only place with `unsafe`.
//!
//! Owns our exports and the imports where the SDK would panic (any status it does not expect), allocate
//! a path per call, or keep an entry for ever (its dispatcher's table of callouts). The exports are
//! named `portcullis_*`; the finish step (`cargo xtask filter`) renames them to `proxy_*` and drops the
//! SDK's own, so that Envoy enters the VM for what we handle and for nothing else. In particular no
//! context is created, logged or deleted inside the VM: streams have no state here.
#![expect(unsafe_code, reason = "this is the foreign function interface")]

mod memory;

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, UNIX_EPOCH};

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, LogLevel, MapType, MetricType};
use reputation::UnixSeconds;
use reputation::wire::{self, Wire};

use crate::headers::HeaderMap;
use crate::host::{
    AnswerSize, Call, CallError, Cas, CasMismatch, ContextId, Flow, Gone, Host, MetricId,
    MetricKind, Property, Reply, Token,
};
use crate::vm::Vm;
use memory::{read_in_place, received};

const OK: u32 = 0;
const BAD_ARGUMENT: u32 = 2;
/// The stream type of a request, for `proxy_continue_stream`.
const HTTP_REQUEST: u32 = 0;
/// WASI's name for the clock that never jumps.
const MONOTONIC: u32 = 1;

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, nanos: *mut u64) -> u16;
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
    ) -> u32;
    fn proxy_set_property(
        path: *const u8,
        path_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, value: *mut *mut u8, value_size: *mut usize) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        max_size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
    ) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_http_call(
        cluster: *const u8,
        cluster_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout_ms: u32,
        token: *mut u32,
    ) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
}

thread_local! {
    static VM: RefCell<Vm> = RefCell::new(Vm::new(Envoy.random()));
}

/// Runs `work` on the VM's state. A host call never re-enters us (Envoy defers what it would call), so
/// the borrow is always free; were it not, the callback would be left out rather than trap the VM.
fn with_vm<R>(otherwise: R, work: impl FnOnce(&mut Vm) -> R) -> R {
    #[cfg(feature = "timed")]
    let _timed = crate::timed::Timed::begin(&Envoy);
    VM.with(|vm| match vm.try_borrow_mut() {
        Ok(mut vm) => work(&mut vm),
        Err(_) => otherwise,
    })
}

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
}}

#[unsafe(no_mangle)]
extern "C" fn portcullis_on_vm_start(_root: u32, _size: usize) -> bool {
    #[cfg(feature = "trap")]
    crate::trap::at_vm_start(&Envoy, &buffer(BufferType::VmConfiguration, usize::MAX));
    with_vm(true, |vm| vm.on_start(&Envoy))
}

#[unsafe(no_mangle)]
extern "C" fn portcullis_on_configure(root: u32, _size: usize) -> bool {
    with_vm(false, |vm| vm.on_configure(&Envoy, ContextId(root)))
}

#[unsafe(no_mangle)]
extern "C" fn portcullis_on_tick(root: u32) {
    with_vm((), |vm| vm.on_tick(&Envoy, ContextId(root)));
}

#[unsafe(no_mangle)]
extern "C" fn portcullis_on_request_headers(
    context: u32,
    _headers: usize,
    _end_of_stream: bool,
) -> u32 {
    let flow = with_vm(Flow::Continue, |vm| {
        vm.on_request(&Envoy, ContextId(context))
    });
    match flow {
        Flow::Continue => 0,
        Flow::Pause => 1,
    }
}

#[unsafe(no_mangle)]
extern "C" fn portcullis_on_http_call_response(
    _root: u32,
    token: u32,
    headers: usize,
    body: usize,
    _trailers: usize,
) {
    let size = AnswerSize { headers, body };
    with_vm((), |vm| vm.on_answer(&Envoy, Token(token), size));
}

/// The host that the VM runs in.
pub struct Envoy;

impl Host for Envoy {
    fn now_micros(&self) -> u64 {
        let mut nanos = 0;
        // SAFETY: `nanos` is a valid place for the result.
        let _status = unsafe { clock_time_get(MONOTONIC, 1, &raw mut nanos) };
        nanos / 1_000
    }

    fn unix_now(&self) -> UnixSeconds {
        let since = hostcalls::get_current_time()
            .ok()
            .and_then(|now| now.duration_since(UNIX_EPOCH).ok());
        UnixSeconds::from_secs(since.unwrap_or_default().as_secs())
    }

    fn random(&self) -> u64 {
        RandomState::new().hash_one(0_u8)
    }

    fn configuration(&self) -> Vec<u8> {
        buffer(BufferType::PluginConfiguration, usize::MAX)
    }

    fn set_tick_period(&self, millis: u32) {
        let _set = hostcalls::set_tick_period(Duration::from_millis(millis.into()));
    }

    fn enter(&self, context: ContextId) -> Result<(), Gone> {
        // SAFETY: plain numbers.
        match unsafe { proxy_set_effective_context(context.0) } {
            OK => Ok(()),
            _ => Err(Gone),
        }
    }

    fn property<R>(&self, property: Property, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let path: &[u8] = match property {
            Property::SourceAddress => b"source\0address",
            Property::RouteName => b"xds\0route_name",
            Property::PluginName => b"plugin_name",
            Property::PluginRootId => b"plugin_root_id",
        };
        // SAFETY: `path` outlives the call; `read_in_place` hands over valid places for the result.
        let call =
            |value, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), value, size) };
        read_in_place(call, read)
    }

    fn set_state(&self, name: &str, value: &str) {
        // A missing stream is the only failure, and then nobody reads the state.
        // SAFETY: both slices outlive the call.
        let _status =
            unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
    }

    fn request_headers(&self) -> HeaderMap {
        let map = MapType::HttpRequestHeaders as u32;
        // SAFETY: `received` hands over valid places for the result.
        let bytes = received(|value, size| unsafe { proxy_get_header_map_pairs(map, value, size) });
        HeaderMap::from_host(bytes.unwrap_or_default())
    }

    fn request_header<R>(&self, name: &str, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        header(MapType::HttpRequestHeaders, name, read)
    }

    fn set_request_header(&self, name: &str, value: &str) {
        // SAFETY: both slices outlive the call.
        let _status = unsafe {
            proxy_replace_header_map_value(
                MapType::HttpRequestHeaders as u32,
                name.as_ptr(),
                name.len(),
                value.as_ptr(),
                value.len(),
            )
        };
    }

    fn remove_request_header(&self, name: &str) {
        let map = MapType::HttpRequestHeaders as u32;
        // SAFETY: the slice outlives the call.
        let _status = unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) };
    }

    fn resume(&self) {
        // SAFETY: plain numbers.
        let _status = unsafe { proxy_continue_stream(HTTP_REQUEST) };
    }

    fn send_reply(&self, reply: &Reply<'_>) {
        let headers = HeaderMap::encode(reply.headers.iter().copied());
        // SAFETY: all slices outlive the call, which copies them.
        let _status = unsafe {
            proxy_send_local_response(
                reply.status.into(),
                reply.details.as_ptr(),
                reply.details.len(),
                reply.body.as_ptr(),
                reply.body.len(),
                headers.as_bytes().as_ptr(),
                headers.as_bytes().len(),
                reply.grpc_status.map_or(-1, i32::from),
            )
        };
    }

    fn call(&self, call: &Call<'_>) -> Result<Token, CallError> {
        let method = call.body.map_or("GET", |_| "POST");
        let body = call.body.unwrap_or_default();
        let mut pairs = vec![
            (":method", method),
            (":scheme", "http"),
            (":path", call.path),
            (":authority", call.authority),
            ("accept", "application/json"),
            (wire::HEADER, Wire::OURS_TEXT),
        ];
        pairs.extend(call.body.map(|_| ("content-type", "application/json")));
        pairs.extend(call.request_id.map(|id| ("x-request-id", id)));
        pairs.extend(call.traceparent.map(|trace| ("traceparent", trace)));
        let headers = HeaderMap::encode(pairs.into_iter());
        let trailers = HeaderMap::encode([].into_iter());
        let mut token = 0;
        // SAFETY: all slices outlive the call, and `token` is a valid place for its result.
        let status = unsafe {
            proxy_http_call(
                call.cluster.as_ptr(),
                call.cluster.len(),
                headers.as_bytes().as_ptr(),
                headers.as_bytes().len(),
                body.as_ptr(),
                body.len(),
                trailers.as_bytes().as_ptr(),
                trailers.as_bytes().len(),
                call.timeout_ms,
                &raw mut token,
            )
        };
        match status {
            OK => Ok(Token(token)),
            BAD_ARGUMENT => Err(CallError::Cluster),
            _ => Err(CallError::Unavailable),
        }
    }

    fn answer_header(&self, name: &str) -> Option<Vec<u8>> {
        header(MapType::HttpCallResponseHeaders, name, <[u8]>::to_vec)
    }

    fn answer_body(&self, max: usize) -> Vec<u8> {
        buffer(BufferType::HttpCallResponseBody, max)
    }

    fn shared(&self, key: &str) -> Option<(Vec<u8>, Cas)> {
        let (value, cas) = hostcalls::get_shared_data(key).ok()?;
        Some((value.unwrap_or_default(), Cas(cas?)))
    }

    fn set_shared(
        &self,
        key: &str,
        value: &[u8],
        expected: Option<Cas>,
    ) -> Result<(), CasMismatch> {
        hostcalls::set_shared_data(key, Some(value), expected.map(|cas| cas.0))
            .map_err(|_| CasMismatch)
    }

    fn define_metric(&self, kind: MetricKind, name: &str) -> Option<MetricId> {
        let kind = match kind {
            MetricKind::Counter => MetricType::Counter,
            MetricKind::Gauge => MetricType::Gauge,
            MetricKind::Histogram => MetricType::Histogram,
        };
        hostcalls::define_metric(kind, name).ok().map(MetricId)
    }

    fn add(&self, counter: MetricId, by: u64) {
        let by = i64::try_from(by).unwrap_or(i64::MAX);
        let _added = hostcalls::increment_metric(counter.0, by);
    }

    fn record(&self, metric: MetricId, value: u64) {
        let _recorded = hostcalls::record_metric(metric.0, value);
    }
}

fn header<R>(map: MapType, name: &str, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
    // SAFETY: `name` outlives the call; `read_in_place` hands over valid places for the result.
    let call = |value, size| unsafe {
        proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), value, size)
    };
    read_in_place(call, read)
}

fn buffer(buffer: BufferType, max: usize) -> Vec<u8> {
    // SAFETY: `received` hands over valid places for the result.
    received(|value, size| unsafe { proxy_get_buffer_bytes(buffer as u32, 0, max, value, size) })
        .unwrap_or_default()
}

//! The tests' host: remembers what it was asked and told, and answers as it was set up to.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};

use reputation::{Action, Band, Cidr, ClientAddress, Rank, UnixSeconds, Verdict};

use crate::config::{Checked, Config};
use crate::headers::HeaderMap;
use crate::host::{
    Call, CallError, Cas, CasMismatch, ContextId, Gone, Host, MetricId, MetricKind, Property,
    Reply, Token,
};

#[derive(Default)]
pub struct MockHost {
    pub micros: Cell<u64>,
    /// How much time goes by whenever somebody looks at the clock.
    pub micros_per_look: Cell<u64>,
    /// How far somebody has set the time of day, in seconds.
    pub set_clock: Cell<i64>,
    pub configuration: RefCell<Vec<u8>>,
    properties: RefCell<HashMap<Property, Vec<u8>>>,
    property_reads: Cell<usize>,
    headers: RefCell<Vec<(String, Vec<u8>)>>,
    state: RefCell<HashMap<String, String>>,
    sent: RefCell<Vec<Sent>>,
    resumed: RefCell<Vec<ContextId>>,
    entered: Cell<Option<ContextId>>,
    gone: RefCell<HashSet<ContextId>>,
    calls: RefCell<Vec<Made>>,
    pub call_error: Cell<Option<CallError>>,
    answer: RefCell<(Vec<u8>, Vec<u8>)>,
    /// What the sidecar's answers tell of the wire.
    pub wire: RefCell<Option<Vec<u8>>>,
    shared: RefCell<HashMap<String, (Vec<u8>, u32)>>,
    beaten: Cell<u32>,
    metrics: RefCell<Vec<(String, u64)>>,
    pub tick_ms: Cell<u32>,
    random: Cell<u64>,
}

/// A reply that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub context: Option<ContextId>,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub grpc_status: Option<u8>,
}

/// A callout that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    pub token: Token,
    pub cluster: String,
    pub path: String,
    pub body: Option<Vec<u8>>,
    pub request_id: Option<String>,
    pub traceparent: Option<String>,
    pub timeout_ms: u32,
}

impl Sent {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl MockHost {
    pub fn set_property(&self, property: Property, value: &[u8]) {
        self.properties
            .borrow_mut()
            .insert(property, value.to_vec());
    }

    pub fn clear_property(&self, property: Property) {
        self.properties.borrow_mut().remove(&property);
    }

    pub fn property_reads(&self) -> usize {
        self.property_reads.get()
    }

    pub fn put_header(&self, name: &str, value: &[u8]) {
        let mut headers = self.headers.borrow_mut();
        headers.retain(|(key, _)| key != name);
        headers.push((name.to_owned(), value.to_vec()));
    }

    pub fn header(&self, name: &str) -> Option<String> {
        self.request_header(name, |value| String::from_utf8_lossy(value).into_owned())
    }

    pub fn clear_headers(&self) {
        self.headers.borrow_mut().clear();
    }

    pub fn state(&self, name: &str) -> Option<String> {
        self.state.borrow().get(name).cloned()
    }

    pub fn sent(&self) -> Vec<Sent> {
        self.sent.take()
    }

    pub fn resumed(&self) -> Vec<ContextId> {
        self.resumed.take()
    }

    pub fn end_stream(&self, context: ContextId) {
        self.gone.borrow_mut().insert(context);
    }

    pub fn calls(&self) -> Vec<Made> {
        self.calls.take()
    }

    pub fn set_answer(&self, status: &str, body: &[u8]) {
        *self.answer.borrow_mut() = (status.as_bytes().to_vec(), body.to_vec());
    }

    /// Another VM is faster with the next `times` conditional writes.
    pub fn beat_next_writes(&self, times: u32) {
        self.beaten.set(times);
    }

    pub fn shared_keys(&self) -> Vec<String> {
        self.shared.borrow().keys().cloned().collect()
    }

    pub fn metric(&self, name: &str) -> u64 {
        let metrics = self.metrics.borrow();
        let found = metrics.iter().find(|(key, _)| key == name);
        found.map_or(0, |(_, value)| *value)
    }
}

impl Host for MockHost {
    fn now_micros(&self) -> u64 {
        let now = self.micros.get() + self.micros_per_look.get();
        self.micros.set(now);
        now
    }

    fn unix_now(&self) -> UnixSeconds {
        let seconds = self.micros.get() / 1_000_000;
        UnixSeconds::from_secs(seconds.saturating_add_signed(self.set_clock.get()))
    }

    fn random(&self) -> u64 {
        self.random.set(self.random.get() + 1);
        self.random.get()
    }

    fn configuration(&self) -> Vec<u8> {
        self.configuration.borrow().clone()
    }

    fn set_tick_period(&self, millis: u32) {
        self.tick_ms.set(millis);
    }

    fn enter(&self, context: ContextId) -> Result<(), Gone> {
        if self.gone.borrow().contains(&context) {
            return Err(Gone);
        }
        self.entered.set(Some(context));
        Ok(())
    }

    fn property<R>(&self, property: Property, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.property_reads.set(self.property_reads.get() + 1);
        let properties = self.properties.borrow();
        properties.get(&property).map(|value| read(value))
    }

    fn set_state(&self, name: &str, value: &str) {
        let mut state = self.state.borrow_mut();
        state.insert(name.to_owned(), value.to_owned());
    }

    fn request_headers(&self) -> HeaderMap {
        let headers = self.headers.borrow();
        let length = |size: usize| u32::try_from(size).unwrap().to_le_bytes();
        let mut bytes = length(headers.len()).to_vec();
        for (name, value) in headers.iter() {
            bytes.extend(length(name.len()));
            bytes.extend(length(value.len()));
        }
        for (name, value) in headers.iter() {
            bytes.extend(name.as_bytes());
            bytes.push(0);
            bytes.extend(value);
            bytes.push(0);
        }
        HeaderMap::from_host(bytes)
    }

    fn request_header<R>(&self, name: &str, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let headers = self.headers.borrow();
        let found = headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| read(value))
    }

    fn set_request_header(&self, name: &str, value: &str) {
        self.put_header(name, value.as_bytes());
    }

    fn remove_request_header(&self, name: &str) {
        self.headers.borrow_mut().retain(|(key, _)| key != name);
    }

    fn resume(&self) {
        self.resumed.borrow_mut().extend(self.entered.get());
    }

    fn send_reply(&self, reply: &Reply<'_>) {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.sent.borrow_mut().push(Sent {
            context: self.entered.get(),
            status: reply.status,
            headers: reply.headers.iter().map(owned).collect(),
            body: String::from_utf8_lossy(reply.body).into_owned(),
            grpc_status: reply.grpc_status,
        });
    }

    fn call(&self, call: &Call<'_>) -> Result<Token, CallError> {
        if let Some(error) = self.call_error.get() {
            return Err(error);
        }
        let token = Token(u32::try_from(self.random()).unwrap());
        self.calls.borrow_mut().push(Made {
            token,
            cluster: call.cluster.to_owned(),
            path: call.path.to_owned(),
            body: call.body.map(<[u8]>::to_vec),
            request_id: call.request_id.map(str::to_owned),
            traceparent: call.traceparent.map(str::to_owned),
            timeout_ms: call.timeout_ms,
        });
        Ok(token)
    }

    fn answer_header(&self, name: &str) -> Option<Vec<u8>> {
        let status = self.answer.borrow().0.clone();
        assert!(
            !status.is_empty(),
            "headers of an answer without headers trap a real VM"
        );
        match name {
            ":status" => Some(status),
            reputation::wire::HEADER => self.wire.borrow().clone(),
            _ => None,
        }
    }

    fn answer_body(&self, max: usize) -> Vec<u8> {
        let body = &self.answer.borrow().1;
        body[..body.len().min(max)].to_vec()
    }

    fn shared(&self, key: &str) -> Option<(Vec<u8>, Cas)> {
        let shared = self.shared.borrow();
        shared
            .get(key)
            .map(|(value, cas)| (value.clone(), Cas(*cas)))
    }

    fn set_shared(
        &self,
        key: &str,
        value: &[u8],
        expected: Option<Cas>,
    ) -> Result<(), CasMismatch> {
        if expected.is_some() && self.beaten.get() > 0 {
            self.beaten.set(self.beaten.get() - 1);
            return Err(CasMismatch);
        }
        let mut shared = self.shared.borrow_mut();
        let cas = shared.get(key).map_or(0, |(_, cas)| *cas);
        if expected.is_some_and(|expected| cas != 0 && expected != Cas(cas)) {
            return Err(CasMismatch);
        }
        shared.insert(key.to_owned(), (value.to_vec(), cas + 1));
        Ok(())
    }

    fn define_metric(&self, _kind: MetricKind, name: &str) -> Option<MetricId> {
        let mut metrics = self.metrics.borrow_mut();
        let at = metrics.iter().position(|(key, _)| key == name);
        let at = at.unwrap_or_else(|| {
            metrics.push((name.to_owned(), 0));
            metrics.len() - 1
        });
        u32::try_from(at).ok().map(MetricId)
    }

    fn add(&self, counter: MetricId, by: u64) {
        self.metrics.borrow_mut()[counter.0 as usize].1 += by;
    }

    fn record(&self, metric: MetricId, value: u64) {
        self.metrics.borrow_mut()[metric.0 as usize].1 = value;
    }
}

pub fn ip(text: &str) -> ClientAddress {
    text.parse().unwrap()
}

pub fn config(json: &str) -> Config {
    Checked::parse(json.as_bytes()).unwrap().config
}

pub fn clean_verdict(scope: &str) -> Verdict {
    Verdict {
        action: Action::Allow,
        band: Band::Clean,
        score: 0,
        reason: "clean".to_owned(),
        decision: None,
        ttl_s: 600,
        provisional: false,
        rank: None,
        scope: Cidr::parse(scope).unwrap(),
        shadow: None,
    }
}

pub fn deny_verdict(scope: &str) -> Verdict {
    Verdict {
        action: Action::Deny,
        band: Band::Malicious,
        score: 93,
        reason: "abuseipdb".to_owned(),
        rank: Some(Rank::Score),
        ..clean_verdict(scope)
    }
}

//! The way to Sentry: envelopes wait here and go out one by one, over the sidecar's own HTTP client.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, StatusCode, Uri};
use sentry::protocol::Event;
use sentry::transports::{RateLimiter, RateLimitingCategory};
use sentry::types::Dsn;
use sentry::{Client, ClientOptions, Envelope, Transport};
use tokio::sync::{mpsc, oneshot};

use crate::http::{Answer, Get, HttpClient};
use crate::telemetry::{Sparing, chain};

pub struct Outbox(mpsc::Sender<Job>);

enum Job {
    Send(Box<Event<'static>>),
    /// Told when everything before it is gone.
    Flush(oneshot::Sender<()>),
}

struct Postman {
    client: Client,
    ready: Arc<Ready>,
    dsn: Dsn,
    http: HttpClient,
    limits: RateLimiter,
    complaints: Sparing,
}

/// What the client has made of events.
#[derive(Default)]
struct Ready(Mutex<Vec<Envelope>>);

/// So many wait; what comes beyond is lost, because a server that is away must not cost memory.
const WAITING: usize = 64;
const TIMEOUT: Duration = Duration::from_secs(5);
const FLUSH: Duration = Duration::from_secs(3);
const MAX_ANSWER_BYTES: usize = 64 * 1024;
const AGENT: &str = concat!("portcullis/", env!("CARGO_PKG_VERSION"));

impl Outbox {
    pub fn open(dsn: Dsn, mut options: ClientOptions, http: HttpClient) -> Self {
        let ready = Arc::new(Ready::default());
        options.dsn = Some(dsn.clone());
        options.transport = Some(Arc::new(Arc::clone(&ready)));
        let (jobs, inbox) = mpsc::channel(WAITING);
        let postman = Postman {
            client: Client::with_options(options),
            ready,
            dsn,
            http,
            limits: RateLimiter::new(),
            complaints: Sparing::once_a_minute(),
        };
        tokio::spawn(postman.run(inbox));
        Self(jobs)
    }

    pub fn send(&self, event: Event<'static>) {
        // There is room, or it is lost.
        let _room = self.0.try_send(Job::Send(Box::new(event)));
    }

    /// Waits until everything so far is gone, but not for long.
    pub async fn flush(&self) {
        let (done, told) = oneshot::channel();
        let flushed = async {
            if self.0.send(Job::Flush(done)).await.is_ok() {
                // It fails if the postman has gone, and then nothing is left to wait for.
                let _told = told.await;
            }
        };
        let _in_time = tokio::time::timeout(FLUSH, flushed).await;
    }
}

impl Transport for Ready {
    fn send_envelope(&self, envelope: Envelope) {
        let mut ready = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ready.push(envelope);
    }
}

impl Ready {
    fn take(&self) -> Vec<Envelope> {
        let mut ready = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *ready)
    }
}

impl Postman {
    async fn run(mut self, mut inbox: mpsc::Receiver<Job>) {
        while let Some(job) = inbox.recv().await {
            match job {
                Job::Send(event) => {
                    // Here and not where it happened: scrubbing reads secrets, which may be files.
                    self.client.capture_event(*event, None);
                    for envelope in self.ready.take() {
                        self.send(&envelope).await;
                    }
                }
                Job::Flush(done) => {
                    let _waits = done.send(());
                }
            }
        }
    }

    async fn send(&mut self, envelope: &Envelope) {
        if !self.limits.is_enabled(RateLimitingCategory::Error) {
            return;
        }
        let Some((to, body)) = self.post(envelope) else {
            return;
        };
        match self.http.post(to, body).await {
            Ok(answer) => self.heed(&answer),
            Err(error) if self.complaints.is_due() => {
                tracing::warn!(error = chain(&error), "a fault could not be sent to Sentry");
            }
            Err(_again) => {}
        }
    }

    fn post(&self, envelope: &Envelope) -> Option<(Get, Bytes)> {
        let mut body = Vec::new();
        envelope.to_writer(&mut body).ok()?;
        let uri: Uri = self.dsn.envelope_api_url().as_str().parse().ok()?;
        let auth = self.dsn.to_auth(Some(AGENT)).to_string();
        let mut auth = HeaderValue::from_str(&auth).ok()?;
        auth.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert("x-sentry-auth", auth);
        let kind = HeaderValue::from_static("application/x-sentry-envelope");
        headers.insert(CONTENT_TYPE, kind);
        let to = Get {
            uri,
            headers,
            timeout: TIMEOUT,
            max_bytes: MAX_ANSWER_BYTES,
        };
        Some((to, Bytes::from(body)))
    }

    /// What the server asks us to leave out for a while is left out.
    fn heed(&mut self, answer: &Answer) {
        let text = |name| answer.headers.get(name)?.to_str().ok();
        if let Some(limits) = text("x-sentry-rate-limits") {
            self.limits.update_from_sentry_header(limits);
        } else if let Some(after) = text(RETRY_AFTER.as_str()) {
            self.limits.update_from_retry_after(after);
        } else if answer.status == StatusCode::TOO_MANY_REQUESTS {
            self.limits.update_from_429();
        }
        if !answer.status.is_success() && self.complaints.is_due() {
            let status = answer.status.as_u16();
            tracing::warn!(status, "Sentry did not take a fault");
        }
    }
}

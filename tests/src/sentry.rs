//! A stand-in for Sentry: takes envelopes as Sentry's developer documentation describes them, and refuses to
//! understand anything else.

use std::net::SocketAddr;

use serde_json::Value;

use crate::error::KitError;
use crate::inbox::{Inbox, Posted};

/// The public key and the project that it is for.
const KEY: &str = "c0ffee";
const PROJECT: &str = "42";

pub struct Sentry(Inbox);

impl Sentry {
    pub async fn start() -> Result<Self, KitError> {
        Ok(Self(Inbox::start().await?))
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// The DSN that leads here.
    pub fn dsn(&self) -> String {
        format!("http://{KEY}@{}/{PROJECT}", self.address())
    }

    /// Everything that came, as it came.
    pub fn raw(&self) -> String {
        let posted = self.0.posted();
        let bodies = posted.iter().map(|one| String::from_utf8_lossy(&one.body));
        bodies.collect::<Vec<_>>().concat()
    }

    /// The events of all envelopes so far, or what is wrong with one of them.
    pub fn events(&self) -> Result<Vec<Value>, KitError> {
        let mut events = Vec::new();
        for posted in self.0.posted() {
            check_head(&posted)?;
            events.extend(events_of(&posted.body)?);
        }
        Ok(events)
    }

    /// The last event with this in its message, if one came.
    pub fn event(&self, message: &str) -> Result<Option<Value>, KitError> {
        let mut events = self.events()?.into_iter();
        let says = |event: &Value| {
            let said = event.get("message").and_then(Value::as_str);
            said.is_some_and(|said| said.contains(message))
        };
        Ok(events.rfind(says))
    }
}

fn check_head(posted: &Posted) -> Result<(), KitError> {
    let auth = posted.header("x-sentry-auth").unwrap_or_default();
    let parts: Vec<_> = auth
        .strip_prefix("Sentry ")
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .collect();
    let path = format!("/api/{PROJECT}/envelope/");
    let good = posted.path == path
        && parts.contains(&format!("sentry_key={KEY}").as_str())
        && parts.contains(&"sentry_version=7");
    good.then_some(())
        .ok_or_else(|| wrong(&format!("{} with {auth:?}", posted.path)))
}

/// The envelope's header, then items: each a header with its length, and so many bytes.
fn events_of(body: &[u8]) -> Result<Vec<Value>, KitError> {
    let (header, mut rest) = line(body)?;
    let id = header.get("event_id").filter(|id| id.is_string());
    if id.is_none() {
        return Err(wrong("an envelope without event_id"));
    }
    let mut events = Vec::new();
    while !rest.is_empty() {
        let (item, after) = line(rest)?;
        let length = item.get("length").and_then(Value::as_u64);
        let length = length.and_then(|length| usize::try_from(length).ok());
        let length = length.ok_or_else(|| wrong("an item without length"))?;
        let payload = after
            .get(..length)
            .ok_or_else(|| wrong("an item that is cut off"))?;
        rest = after.get(length..).unwrap_or_default();
        rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        if item.get("type").and_then(Value::as_str) == Some("event") {
            let event: Value =
                serde_json::from_slice(payload).map_err(|error| wrong(&error.to_string()))?;
            // With and without dashes.
            let bare = |id: Option<&Value>| Some(id?.as_str()?.replace('-', ""));
            if bare(event.get("event_id")) != bare(id) {
                return Err(wrong("an event of another envelope"));
            }
            events.push(event);
        }
    }
    Ok(events)
}

fn line(bytes: &[u8]) -> Result<(Value, &[u8]), KitError> {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let end = end.ok_or_else(|| wrong("a line without an end"))?;
    let (line, rest) = bytes.split_at(end);
    let value = serde_json::from_slice(line).map_err(|error| wrong(&error.to_string()))?;
    Ok((value, rest.get(1..).unwrap_or_default()))
}

fn wrong(what: &str) -> KitError {
    KitError::Envelope(what.to_owned())
}

//! What may not leave: of an address only its network, of secrets nothing.

use std::net::IpAddr;
use std::sync::Arc;

use reputation::{Cidr, ClientAddress};
use secrecy::ExposeSecret;
use sentry::protocol::Event;
use serde_json::Value;

use crate::secrets::Secrets;

/// Takes out of events what is not Sentry's business.
pub struct Scrub(Arc<Secrets>);

const HIDDEN: &str = "[hidden]";
/// After these a value follows that is nobody's business.
const KEYS: [&str; 8] = [
    "key",
    "token",
    "password",
    "secret",
    "dsn",
    "authorization",
    "bearer",
    "signature",
];
/// A word of letters and digits that is longer is taken for a key.
const LONGEST_WORD: usize = 23;
/// A secret that is shorter would be found in ordinary words.
const SHORTEST_SECRET: usize = 4;

impl Scrub {
    pub fn new(secrets: Arc<Secrets>) -> Self {
        Self(secrets)
    }

    pub fn event(&self, mut event: Event<'static>) -> Event<'static> {
        event.message = event.message.map(|text| self.text(&text));
        event.culprit = event.culprit.map(|text| self.text(&text));
        for exception in &mut event.exception.values {
            exception.value = exception.value.as_deref().map(|text| self.text(text));
        }
        for value in event.extra.values_mut() {
            self.value(value);
        }
        for (name, tag) in &mut event.tags {
            // The ids of requests and traces look like keys, and are made by Envoy.
            let is_id = name.ends_with("_id");
            *tag = if is_id { networks(tag) } else { self.text(tag) };
        }
        event.server_name = None;
        event.user = None;
        event.request = None;
        event
    }

    fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.value(value)),
            Value::Object(fields) => fields.values_mut().for_each(|value| self.value(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.0.readable() {
            let secret = secret.expose_secret();
            if secret.len() >= SHORTEST_SECRET {
                text = text.replace(secret, HIDDEN);
            }
        }
        words(&networks(&text))
    }
}

/// The text with each address replaced by its /24 or /48.
fn networks(text: &str) -> String {
    let part = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':');
    replaced(text, part, |run| {
        let bare = run.trim_end_matches(['.', ':']);
        let rest = run.get(bare.len()..).unwrap_or_default();
        let with_port = || bare.rsplit_once(':').map(|(host, _)| host);
        let address = parsed(bare).or_else(|| parsed(with_port()?))?;
        let length = if address.is_v4() { 24 } else { 48 };
        Some(format!("{}{rest}", Cidr::new(address, length)?))
    })
}

fn parsed(text: &str) -> Option<ClientAddress> {
    let address: IpAddr = text.parse().ok()?;
    address.to_string().parse().ok()
}

/// The text without words that look like keys, and without what follows the name of one.
fn words(text: &str) -> String {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+');
    let mut follows_a_key = false;
    replaced(text, part, |word| {
        let hides = std::mem::take(&mut follows_a_key) || looks_like_a_key(word);
        let lower = word.to_ascii_lowercase();
        follows_a_key = KEYS.iter().any(|key| lower.ends_with(key));
        hides.then(|| HIDDEN.to_owned())
    })
}

fn looks_like_a_key(word: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| word.as_bytes().iter().any(kind);
    word.len() > LONGEST_WORD && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)
}

/// The text with each longest run of `part` replaced, where `replace` gives something else.
fn replaced(
    text: &str,
    part: impl Fn(char) -> bool,
    mut replace: impl FnMut(&str) -> Option<String>,
) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(&part) {
        let (before, from) = rest.split_at(start);
        let (run, after) = from.split_at(from.find(|c| !part(c)).unwrap_or(from.len()));
        out.push_str(before);
        match replace(run) {
            Some(other) => out.push_str(&other),
            None => out.push_str(run),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn of_an_address_the_network_is_left() {
        for (text, expected) in [
            ("client 203.0.113.77 is", "client 203.0.113.0/24 is"),
            ("http://198.51.100.7:8080/x", "http://198.51.100.0/24/x"),
            ("(2001:db8:1:2::5)", "(2001:db8:1::/48)"),
            ("[2001:db8:1:2::5]:443", "[2001:db8:1::/48]:443"),
            ("of ::ffff:192.0.2.9, and", "of 192.0.2.0/24, and"),
            ("seen: 192.0.2.9.", "seen: 192.0.2.0/24."),
            ("at 12:30:01, 1.5 of a::b c", "at 12:30:01, 1.5 of a::/48 c"),
            ("no address: dead beef. 10.5", "no address: dead beef. 10.5"),
        ] {
            assert_eq!(networks(text), expected);
        }
    }

    #[test]
    fn keys_are_hidden_wherever_they_stand() {
        for (text, expected) in [
            (
                "https://h/api/json/abcdEFGH1234abcdEFGH1234/x",
                "https://h/api/json/[hidden]/x",
            ),
            ("?key=hunter2&strictness=1", "?key=[hidden]&strictness=1"),
            (
                "Authorization: Bearer abc",
                "Authorization: [hidden] [hidden]",
            ),
            ("api_token = \"short\" was", "api_token = \"[hidden]\" was"),
            (
                "an ordinary sentence of words",
                "an ordinary sentence of words",
            ),
        ] {
            assert_eq!(words(text), expected);
        }
    }

    #[test]
    fn every_text_of_an_event_is_scrubbed() {
        let scrub = Scrub::new(Arc::new(Secrets::new(BTreeMap::new())));
        let mut event = Event {
            message: Some("from 192.0.2.9".to_owned()),
            server_name: Some("edge-7".into()),
            ..Event::default()
        };
        let nested = serde_json::json!({"a": ["192.0.2.9", 7]});
        event.extra.insert("nested".to_owned(), nested);
        event
            .tags
            .insert("proxy".to_owned(), "http://192.0.2.9:1/".to_owned());
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        event.tags.insert("trace_id".to_owned(), trace.to_owned());
        let event = scrub.event(event);
        let text = serde_json::to_string(&event).unwrap();
        assert!(
            !text.contains("192.0.2.9") && !text.contains("edge-7"),
            "{text}"
        );
        assert_eq!(event.extra["nested"]["a"][0], "192.0.2.0/24");
        assert_eq!(event.tags["trace_id"], trace);
    }
}

//! What is sent of a line at level error.

use sentry::protocol::{Event, Level};
use serde_json::Value;

use crate::telemetry::fields::Fields;

/// Fields by which one searches.
const TAGS: [&str; 6] = [
    "request_id",
    "trace_id",
    "feed",
    "provider",
    "proxy",
    "fault",
];

/// Where in the code a panic happened, whose line comes from one place for all.
const PLACE: &str = "place";

/// Where in the code it happened, if the line says so.
pub fn place(fields: &Fields) -> Option<String> {
    let (_, place) = fields.others.iter().find(|(name, _)| *name == PLACE)?;
    place.as_str().map(str::to_owned)
}

pub fn of_line(logger: &str, fields: Fields) -> Event<'static> {
    let place = place(&fields);
    let mut event = Event {
        level: if place.is_some() {
            Level::Fatal
        } else {
            Level::Error
        },
        culprit: place,
        logger: Some(logger.to_owned()),
        message: Some(fields.message),
        ..Event::default()
    };
    for (name, value) in fields.others {
        match value {
            Value::String(text) if TAGS.contains(&name) => {
                event.tags.insert(name.to_owned(), text);
            }
            value => {
                event.extra.insert(name.to_owned(), value);
            }
        }
    }
    event
}

/// With the number of such events that were not sent before this one.
pub fn with_left_out(mut event: Event<'static>, left_out: u64) -> Event<'static> {
    if left_out > 0 {
        event.extra.insert("left_out".to_owned(), left_out.into());
    }
    event
}

//! Reads the answers of `/v1/decisions/stream`, while they arrive, and of `/v1/decisions`, one decision at a time.
//!
//! Forgives what a single decision has wrong (it becomes unreadable) and null for an empty list; an answer that
//! ends early, or is something else, is an error. Does not know what decisions mean (`batch`).

use std::fmt;
use std::io::Read;

use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use thiserror::Error;

/// One decision as it is sent; fields that are missing or of another type are empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Row {
    pub id: Scalar,
    pub origin: Scalar,
    #[serde(rename = "type")]
    pub kind: Scalar,
    pub scope: Scalar,
    pub value: Scalar,
    pub duration: Scalar,
    pub scenario: Scalar,
    pub simulated: Scalar,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub enum Scalar {
    Text(String),
    Number(u64),
    Truth(bool),
    #[default]
    Other,
}

/// Takes decisions as they come.
pub trait Receiver {
    fn new_decision(&mut self, row: Row);
    fn deleted_decision(&mut self, row: Row);
}

#[derive(Debug, Error)]
#[error("the answer is not a list of decisions, or it ended early: {0}")]
pub struct WireError(#[from] serde_json::Error);

pub fn read(answer: impl Read, receiver: &mut impl Receiver) -> Result<(), WireError> {
    let mut json = serde_json::Deserializer::from_reader(answer);
    Answer(receiver).deserialize(&mut json)?;
    Ok(json.end()?)
}

/// The answer about one address: its decisions, or null.
pub fn read_list(answer: impl Read, receiver: &mut impl Receiver) -> Result<(), WireError> {
    let mut json = serde_json::Deserializer::from_reader(answer);
    Rows(|row| receiver.new_decision(row)).deserialize(&mut json)?;
    Ok(json.end()?)
}

impl Scalar {
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

struct Answer<'r, R>(&'r mut R);

impl<'de, R: Receiver> DeserializeSeed<'de> for Answer<'_, R> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, R: Receiver> Visitor<'de> for Answer<'_, R> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the lists new and deleted")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut lists = 0;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "new" => map.next_value_seed(Rows(|row| self.0.new_decision(row)))?,
                "deleted" => map.next_value_seed(Rows(|row| self.0.deleted_decision(row)))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            }
            lists += 1;
        }
        match lists {
            0 => Err(A::Error::custom("neither new nor deleted is in it")),
            _ => Ok(()),
        }
    }
}

/// A list, or null for an empty one; hands each item on.
struct Rows<F>(F);

impl<'de, F: FnMut(Row)> DeserializeSeed<'de> for Rows<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnMut(Row)> Visitor<'de> for Rows<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of decisions or null")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(item) = seq.next_element::<Item>()? {
            (self.0)(item.0);
        }
        Ok(())
    }
}

/// A decision, or something else in its place.
struct Item(Row);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // An item that is no object costs its list: nothing is known to send one.
        Row::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Scalar, E> {
        Ok(Scalar::Text(text))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_i64<E>(self, _negative: i64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_f64<E>(self, _fraction: f64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Scalar, E> {
        Ok(Scalar::Truth(truth))
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen {
        new: Vec<Row>,
        deleted: Vec<Row>,
    }

    impl Receiver for Seen {
        fn new_decision(&mut self, row: Row) {
            self.new.push(row);
        }

        fn deleted_decision(&mut self, row: Row) {
            self.deleted.push(row);
        }
    }

    fn counts(text: &str) -> Option<(usize, usize)> {
        let mut seen = Seen::default();
        read(text.as_bytes(), &mut seen).ok()?;
        Some((seen.new.len(), seen.deleted.len()))
    }

    #[test]
    fn null_and_a_missing_list_are_empty_lists() {
        assert_eq!(counts(r#"{"new":null,"deleted":null}"#), Some((0, 0)));
        assert_eq!(counts(r#"{"new":[],"links":{"a":[1]}}"#), Some((0, 0)));
        let one = r#"{"deleted":[{"id":7}],"new":[{"id":1},{"value":"192.0.2.1"}]}"#;
        assert_eq!(counts(one), Some((2, 1)));
    }

    #[test]
    fn what_is_cut_off_or_something_else_is_an_error() {
        for text in [
            "",
            "<html>502</html>",
            "null",
            "[]",
            "{}",
            r#"{"message":"access forbidden"}"#,
            r#"{"new":[{"id":1}],"deleted":["#,
            r#"{"new":[{"id":1}],"deleted":null"#,
            r#"{"new":"many"}"#,
            r#"{"new":[]} trailing"#,
        ] {
            assert_eq!(counts(text), None, "{text}");
        }
    }

    #[test]
    fn a_field_of_another_type_costs_the_field_only() {
        let text = r#"{"new":[{"id":"7","value":{"a":[1]},"scope":["Ip"],"type":-1,"origin":1.5,
            "duration":null,"scenario":"s","simulated":true,"unknown":[{}]}]}"#;
        let mut seen = Seen::default();
        read(text.as_bytes(), &mut seen).unwrap();
        let row = seen.new.pop().unwrap();
        assert_eq!(row.id, Scalar::Text("7".to_owned()));
        assert_eq!((row.value, row.kind), (Scalar::Other, Scalar::Other));
        assert_eq!(
            (row.scenario.text(), row.simulated),
            (Some("s"), Scalar::Truth(true))
        );
    }
}

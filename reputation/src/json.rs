//! Reads what the sidecar sends. By hand and from one parsed value: derived readers would be a fifth of
//! the plugin's module, and refuse what a newer neighbour says as a whole.
//!
//! Fields that nobody asks for are passed over. What a word means that this build does not know is for
//! whoever reads it.

use std::str::FromStr;

use serde_json::{Map, Value};
use thiserror::Error;

/// Why something is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JsonError {
    #[error("{0}")]
    Syntax(String),
    #[error("an object is expected")]
    NotAnObject,
    #[error("the field {0} is missing or not what it should be")]
    Field(&'static str),
}

/// The fields of one object.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a>(&'a Map<String, Value>);

/// The one place where text becomes a value.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    serde_json::from_slice(bytes).map_err(|error| JsonError::Syntax(error.to_string()))
}

impl<'a> Fields<'a> {
    pub fn of(value: &'a Value) -> Result<Self, JsonError> {
        value.as_object().map(Self).ok_or(JsonError::NotAnObject)
    }

    /// The value under `name`; `null` counts as absent.
    pub fn value(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub fn required(self, name: &'static str) -> Result<&'a Value, JsonError> {
        self.value(name).ok_or(JsonError::Field(name))
    }

    pub fn text(self, name: &'static str) -> Result<&'a str, JsonError> {
        let text = self.value(name).and_then(Value::as_str);
        text.ok_or(JsonError::Field(name))
    }

    pub fn number(self, name: &'static str) -> Result<u64, JsonError> {
        let number = self.value(name).and_then(Value::as_u64);
        number.ok_or(JsonError::Field(name))
    }

    pub fn small(self, name: &'static str) -> Result<u32, JsonError> {
        u32::try_from(self.number(name)?).map_err(|_| JsonError::Field(name))
    }

    pub fn flag(self, name: &'static str) -> Result<bool, JsonError> {
        let flag = self.value(name).and_then(Value::as_bool);
        flag.ok_or(JsonError::Field(name))
    }

    /// As [`Self::flag`]; absent is `false`.
    pub fn flag_if_any(self, name: &'static str) -> Result<bool, JsonError> {
        self.value(name).map_or(Ok(false), |_| self.flag(name))
    }

    /// As [`Self::text`], for what has a form of its own.
    pub fn parsed<T: FromStr>(self, name: &'static str) -> Result<T, JsonError> {
        let parsed = self.text(name)?.parse();
        parsed.map_err(|_| JsonError::Field(name))
    }

    /// The members of a list; an absent one is empty.
    pub fn list(self, name: &'static str) -> Result<&'a [Value], JsonError> {
        match self.value(name) {
            None => Ok(&[]),
            Some(Value::Array(members)) => Ok(members),
            Some(_) => Err(JsonError::Field(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_what_they_should_be_or_are_named() {
        let value =
            parse(br#"{"text":"a","number":7,"flag":true,"list":[1],"none":null}"#).unwrap();
        let fields = Fields::of(&value).unwrap();
        assert_eq!(fields.text("text"), Ok("a"));
        assert_eq!(fields.small("number"), Ok(7));
        assert_eq!(fields.flag("flag"), Ok(true));
        assert_eq!(fields.list("list").unwrap().len(), 1);
        for absent in ["none", "nowhere"] {
            assert!(fields.value(absent).is_none());
        }
        assert_eq!(fields.flag_if_any("nowhere"), Ok(false));
        assert_eq!(fields.list("nowhere"), Ok([].as_slice()));
        assert_eq!(fields.text("number"), Err(JsonError::Field("number")));
        assert_eq!(fields.number("text"), Err(JsonError::Field("text")));
        assert_eq!(fields.flag_if_any("list"), Err(JsonError::Field("list")));
        assert_eq!(fields.list("flag"), Err(JsonError::Field("flag")));
        assert_eq!(fields.parsed::<u8>("text"), Err(JsonError::Field("text")));
        assert_eq!(fields.required("none"), Err(JsonError::Field("none")));
    }

    #[test]
    fn what_is_no_object_is_told() {
        assert!(matches!(parse(b"<html>"), Err(JsonError::Syntax(_))));
        assert_eq!(
            Fields::of(&parse(b"[]").unwrap()).unwrap_err(),
            JsonError::NotAnObject
        );
    }

    #[test]
    fn a_number_beyond_its_bounds_is_no_number() {
        let value = parse(br#"{"big":4294967296,"negative":-1,"part":1.5}"#).unwrap();
        let fields = Fields::of(&value).unwrap();
        for name in ["big", "negative", "part"] {
            assert_eq!(fields.small(name), Err(JsonError::Field(name)));
        }
    }
}

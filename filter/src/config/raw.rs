//! Walks a configuration as JSON and collects what is wrong with it, each fault with its path. Knows
//! nothing of what the keys mean.

use serde_json::{Map, Value};

/// What was found wrong: faults refuse the configuration, warnings are logged.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub faults: Vec<String>,
    pub warnings: Vec<String>,
}

/// One object of the configuration and where it stands.
pub struct Section<'a> {
    path: String,
    object: Option<&'a Map<String, Value>>,
    known: Vec<&'static str>,
}

impl Findings {
    pub fn fault(&mut self, path: &str, what: impl std::fmt::Display) {
        self.faults.push(format!("{path}: {what}"));
    }
}

impl<'a> Section<'a> {
    pub fn root(object: &'a Map<String, Value>) -> Self {
        Self {
            path: String::new(),
            object: Some(object),
            known: Vec::new(),
        }
    }

    pub fn of(path: String, value: &'a Value, findings: &mut Findings) -> Self {
        let object = value.as_object();
        if object.is_none() {
            findings.fault(
                &path,
                format_args!("an object is expected, not {}", show(value)),
            );
        }
        Self {
            path,
            object,
            known: Vec::new(),
        }
    }

    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The value under `key`, which becomes a known one. `null` counts as absent.
    pub fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.object?.get(key).filter(|value| !value.is_null())
    }

    pub fn section(&mut self, key: &'static str, findings: &mut Findings) -> Self {
        match self.value(key) {
            Some(value) => Self::of(self.path(key), value, findings),
            None => Self {
                path: self.path(key),
                object: None,
                known: Vec::new(),
            },
        }
    }

    pub fn text(&mut self, key: &'static str, findings: &mut Findings) -> Option<&'a str> {
        let value = self.value(key)?;
        let text = value.as_str();
        if text.is_none() {
            findings.fault(
                &self.path(key),
                format_args!("a text is expected, not {}", show(value)),
            );
        }
        text
    }

    pub fn flag(&mut self, key: &'static str, findings: &mut Findings) -> Option<bool> {
        let value = self.value(key)?;
        let flag = value.as_bool();
        if flag.is_none() {
            findings.fault(
                &self.path(key),
                format_args!("true or false is expected, not {}", show(value)),
            );
        }
        flag
    }

    /// A whole number from `least` to `most`. A Struct carries every number as a double, so `10.0` is 10.
    pub fn number(
        &mut self,
        key: &'static str,
        least: u32,
        most: u32,
        findings: &mut Findings,
    ) -> Option<u32> {
        let value = self.value(key)?;
        let number = whole(value).filter(|number| (least..=most).contains(number));
        if number.is_none() {
            findings.fault(
                &self.path(key),
                format_args!(
                    "a whole number from {least} to {most} is expected, not {}",
                    show(value)
                ),
            );
        }
        number
    }

    /// One of `choices`, by name. YAML reads `off` without quotes as false, and whoever writes that is in
    /// a hurry.
    pub fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
        findings: &mut Findings,
    ) -> Option<T> {
        let value = self.value(key)?;
        let named = match value {
            Value::Bool(false) => Some("off"),
            value => value.as_str(),
        };
        let chosen = choices.iter().find(|(name, _)| named == Some(name));
        if chosen.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            findings.fault(
                &self.path(key),
                format_args!("{} is not one of {}", show(value), names.join(", ")),
            );
        }
        chosen.map(|(_, value)| *value)
    }

    /// Tells of keys nobody asked for.
    pub fn close(self, findings: &mut Findings) {
        let unknown = self.object.into_iter().flat_map(Map::keys);
        let unknown = unknown.filter(|key| !self.known.contains(&key.as_str()));
        for key in unknown {
            let known = self.known.join(", ");
            findings.warnings.push(format!(
                "{}: unknown key; known here: {known}",
                self.path(key)
            ));
        }
    }
}

/// A value as it may stand in a message: in full if short.
pub fn show(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn whole(value: &Value) -> Option<u32> {
    let as_integer = value.as_u64().and_then(|number| u32::try_from(number).ok());
    as_integer.or_else(|| {
        let number = value.as_f64()?;
        let fits = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole and within bounds"
        )]
        fits.then_some(number as u32)
    })
}

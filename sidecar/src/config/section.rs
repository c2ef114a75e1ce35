//! Takes keys out of one table, turns each into its type, and notes every fault; what is left at the
//! end was not a key of ours.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;

use super::fault::{Fault, Faults, Place, nearest};
use super::secret::SecretName;
use super::tree::{Node, Table, Value};
use super::value;

/// Gathers what all sections find.
#[derive(Default)]
pub(super) struct Findings {
    faults: RefCell<Vec<Fault>>,
    /// Secrets that are referred to, to be compared with those that are configured.
    references: RefCell<Vec<(SecretName, String, Place)>>,
}

/// One table on its way to a type.
pub(super) struct Section<'f> {
    path: String,
    place: Place,
    entries: Table,
    places: BTreeMap<String, Place>,
    known: Vec<&'static str>,
    findings: &'f Findings,
}

impl Findings {
    pub fn with(faults: Vec<Fault>) -> Self {
        Self {
            faults: RefCell::new(faults),
            references: RefCell::default(),
        }
    }

    pub fn add(&self, path: String, place: Place, message: String) {
        self.faults.borrow_mut().push(Fault {
            path,
            place,
            message,
        });
    }

    /// Every reference must lead to one of `configured`.
    pub fn check_references(&self, configured: &BTreeMap<SecretName, super::Secret>) {
        for (name, path, place) in self.references.take() {
            if !configured.contains_key(&name) {
                let message = format!(
                    "there is no secret {name}: add [secret.{name}] with from = \"env\" or \"file\""
                );
                self.add(path, place, message);
            }
        }
    }

    pub fn into_result(self) -> Result<(), Faults> {
        let mut faults = self.faults.into_inner();
        faults.sort_by(|a, b| a.place.cmp(&b.place));
        if faults.is_empty() {
            Ok(())
        } else {
            Err(Faults(faults))
        }
    }
}

impl<'f> Section<'f> {
    pub fn new(path: String, place: Place, entries: Table, findings: &'f Findings) -> Self {
        let place_of = |(key, node): (&String, &Node)| (key.clone(), node.place.clone());
        let places = entries.iter().map(place_of).collect();
        Self {
            path,
            place,
            entries,
            places,
            known: Vec::new(),
            findings,
        }
    }

    /// The table at `key`, empty if absent.
    pub fn table(&mut self, key: &'static str) -> Section<'f> {
        let (path, mut place) = (self.path_of(key), self.place.clone());
        let mut entries = Table::new();
        if let Some(node) = self.take(key) {
            place = node.place.clone();
            match node.value {
                Value::Table(table) => entries = table,
                _ => self.fault(key, format!("is a section: write [{path}]")),
            }
        }
        Section::new(path, place, entries, self.findings)
    }

    /// The entries of `[[key]]`.
    pub fn tables(&mut self, key: &'static str) -> Vec<Section<'f>> {
        let Some(node) = self.take(key) else {
            return Vec::new();
        };
        let Value::List(nodes) = node.value else {
            self.fault(key, format!("is a list: write [[{key}]]"));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (index, node) in nodes.into_iter().enumerate() {
            let path = format!("{}[{index}]", self.path_of(key));
            match node.value {
                Value::Table(table) => {
                    sections.push(Section::new(path, node.place, table, self.findings));
                }
                _ => self
                    .findings
                    .add(path, node.place, format!("is a section: write [[{key}]]")),
            }
        }
        sections
    }

    /// The tables in this table, by their own names.
    pub fn into_named_tables(self) -> Vec<(String, Section<'f>)> {
        let mut sections = Vec::new();
        for (name, node) in self.entries {
            let path = format!("{}.{name}", self.path);
            match node.value {
                Value::Table(table) => {
                    sections.push((name, Section::new(path, node.place, table, self.findings)));
                }
                _ => {
                    let message = format!("is a section: write [{path}]");
                    self.findings.add(path, node.place, message);
                }
            }
        }
        sections
    }

    /// What is in this table, by its own names, as `read` understands it.
    pub fn values<T>(
        &mut self,
        read: impl Fn(&str, &Node) -> Result<T, String>,
    ) -> Vec<(String, T)> {
        let mut values = Vec::new();
        for (key, node) in std::mem::take(&mut self.entries) {
            match read(&key, &node) {
                Ok(value) => values.push((key, value)),
                Err(message) => self.findings.add(self.path_of(&key), node.place, message),
            }
        }
        values
    }

    /// Notes that `key` refers to a secret, to be checked at the end.
    pub fn refer(&self, key: &str, name: SecretName) {
        let reference = (name, self.path_of(key), self.place_of(key));
        self.findings.references.borrow_mut().push(reference);
    }

    /// The value at `key` as `read` understands it; `None` if it is absent or faulty.
    pub fn get<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Node) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.take(key)?;
        match read(&node) {
            Ok(value) => Some(value),
            Err(message) => {
                self.findings.add(self.path_of(key), node.place, message);
                None
            }
        }
    }

    /// As [`Self::get`], with a fault if the key is absent; `what` says what to write.
    pub fn require<T>(
        &mut self,
        key: &'static str,
        what: impl Display,
        read: impl FnOnce(&Node) -> Result<T, String>,
    ) -> Option<T> {
        if !self.has(key) {
            self.known.push(key);
            self.fault(key, format!("is missing: write {what}"));
            return None;
        }
        self.get(key, read)
    }

    /// A reference `secret:NAME`, checked against the configured secrets at the end.
    pub fn secret(&mut self, key: &'static str) -> Option<SecretName> {
        let name = self.get(key, value::secret_reference)?;
        self.refer(key, name.clone());
        Some(name)
    }

    /// Whether `key` holds this text. Does not take it.
    pub fn says(&self, key: &str, text: &str) -> bool {
        let value = self.entries.get(key).map(|node| &node.value);
        matches!(value, Some(Value::Text(written)) if written == text)
    }

    /// Whether `key` was written, even if it is taken by now.
    pub fn has(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    pub fn fault(&self, key: &str, message: impl Into<String>) {
        self.findings
            .add(self.path_of(key), self.place_of(key), message.into());
    }

    /// A key that this version knows of but cannot serve.
    pub fn refuse(&mut self, key: &'static str, message: &str) {
        if self.take(key).is_some() {
            self.fault(key, message);
        }
    }

    /// Everything that was not taken is a fault.
    pub fn finish(mut self) {
        for (key, node) in std::mem::take(&mut self.entries) {
            let message = match nearest(&key, &self.known) {
                Some(meant) => format!("is not a key here: did you mean {meant}?"),
                None => format!("is not a key here: the keys are {}", self.known.join(", ")),
            };
            self.findings.add(self.path_of(&key), node.place, message);
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        self.entries.remove(key)
    }

    /// The section's own path for an empty key.
    fn path_of(&self, key: &str) -> String {
        match (self.path.as_str(), key) {
            ("", key) => key.to_owned(),
            (path, "") => path.to_owned(),
            (path, key) => format!("{path}.{key}"),
        }
    }

    fn place_of(&self, key: &str) -> Place {
        self.places.get(key).unwrap_or(&self.place).clone()
    }
}

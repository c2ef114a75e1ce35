//! The configuration as it was written: values with the place where each stands. First the file, then
//! the environment on top (`PORTCULLIS__FEED__0__SCORE=80` is `feed[0].score`).

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Place};

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub value: Value,
    pub place: Place,
}

pub(super) type Table = BTreeMap<String, Node>;

#[derive(Debug, Clone)]
pub(super) enum Value {
    /// A string; a date, as it is written; or anything at all from the environment.
    Text(String),
    /// As it is written: reading it says which range is expected.
    Number(String),
    Boolean(bool),
    List(Vec<Node>),
    Table(Table),
}

const PREFIX: &str = "PORTCULLIS__";
const SEPARATOR: &str = "__";

/// Reads what can be read of `text`; every syntax fault is added to `faults`.
pub(super) fn parse(text: &str, faults: &mut Vec<Fault>) -> Table {
    let (document, errors) = DeTable::parse_recoverable(text);
    faults.extend(errors.iter().map(|error| Fault {
        path: String::new(),
        place: line_of(text, error.span().unwrap_or_default()),
        message: error.message().to_owned(),
    }));
    table(text, document.into_inner())
}

/// Puts the variables that begin with `PORTCULLIS__` on top of `root`.
pub(super) fn overlay(
    root: &mut Table,
    variables: impl Iterator<Item = (String, String)>,
    faults: &mut Vec<Fault>,
) {
    let mut ours: Vec<_> = variables
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    // In order, so that `FEED__0` comes before `FEED__1`, and `FEED__2` before `FEED__10`.
    ours.sort_by_cached_key(|(name, _)| in_order(name));
    for (name, text) in ours {
        let path = name.strip_prefix(PREFIX).unwrap_or_default().to_lowercase();
        let place = Place::Environment(name.clone());
        let node = Node {
            value: Value::Text(text),
            place: place.clone(),
        };
        let mut keys = path.split(SEPARATOR);
        let first = keys.next().unwrap_or_default();
        let placed = put_in_table(root, first, &mut keys, node);
        if !placed {
            faults.push(Fault {
                path: path.replace(SEPARATOR, "."),
                place,
                message:
                    "names no key: write PORTCULLIS__SECTION__KEY, and the number of an entry \
                          (from 0, without gaps) after a list"
                        .to_owned(),
            });
        }
    }
}

/// The parts of a variable's name, numbers by their value.
fn in_order(name: &str) -> Vec<(Option<usize>, String)> {
    let part = |part: &str| (part.parse().ok(), part.to_owned());
    name.split(SEPARATOR).map(part).collect()
}

/// Whether there was a place for `node` at `key` and the keys after it.
fn put_in_table(
    table: &mut Table,
    key: &str,
    rest: &mut dyn Iterator<Item = &str>,
    node: Node,
) -> bool {
    if key.is_empty() {
        return false;
    }
    let Some(next) = rest.next() else {
        table.insert(key.to_owned(), node);
        return true;
    };
    let starts_list = next.parse::<usize>().is_ok();
    let empty = if starts_list {
        Value::List(Vec::new())
    } else {
        Value::Table(Table::new())
    };
    let entry = table.entry(key.to_owned());
    let child = entry.or_insert(Node {
        value: empty,
        place: node.place.clone(),
    });
    match &mut child.value {
        Value::Table(table) => put_in_table(table, next, rest, node),
        Value::List(list) => put_in_list(list, next, rest, node),
        Value::Text(_) | Value::Number(_) | Value::Boolean(_) => false,
    }
}

fn put_in_list(
    list: &mut Vec<Node>,
    key: &str,
    rest: &mut dyn Iterator<Item = &str>,
    node: Node,
) -> bool {
    let Some(index) = key
        .parse::<usize>()
        .ok()
        .filter(|index| *index <= list.len())
    else {
        return false;
    };
    if index == list.len() {
        let place = node.place.clone();
        list.push(Node {
            value: Value::Table(Table::new()),
            place,
        });
    }
    let Some(entry) = list.get_mut(index) else {
        return false;
    };
    match (rest.next(), &mut entry.value) {
        (None, _) => {
            *entry = node;
            true
        }
        (Some(next), Value::Table(table)) => put_in_table(table, next, rest, node),
        (Some(_), _) => false,
    }
}

fn table(text: &str, table: DeTable<'_>) -> Table {
    let entry = |(key, value): (toml::Spanned<_>, toml::Spanned<DeValue<'_>>)| {
        let place = line_of(text, key.span());
        let key: std::borrow::Cow<'_, str> = key.into_inner();
        (
            key.into_owned(),
            Node {
                value: self::value(text, value.into_inner()),
                place,
            },
        )
    };
    table.into_iter().map(entry).collect()
}

fn value(text: &str, value: DeValue<'_>) -> Value {
    match value {
        DeValue::String(string) => Value::Text(string.into_owned()),
        DeValue::Integer(number) => Value::Number(number.to_string()),
        DeValue::Float(number) => Value::Number(number.to_string()),
        DeValue::Boolean(boolean) => Value::Boolean(boolean),
        DeValue::Datetime(date) => Value::Text(date.to_string()),
        DeValue::Array(list) => {
            let node = |item: toml::Spanned<DeValue<'_>>| {
                let place = line_of(text, item.span());
                Node {
                    value: self::value(text, item.into_inner()),
                    place,
                }
            };
            Value::List(list.into_iter().map(node).collect())
        }
        DeValue::Table(inner) => Value::Table(table(text, inner)),
    }
}

fn line_of(text: &str, span: Range<usize>) -> Place {
    let before = text.as_bytes().iter().take(span.start);
    Place::Line(1 + before.filter(|byte| **byte == b'\n').count())
}

//! Single values: each reader says what it expected. What the environment gives is text and is read
//! as whatever is asked for.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use hyper::Uri;
use reputation::Cidr;
use reputation::decay::HalfLife;
use reputation::score::Weight;

use super::fault::Place;
use super::listen::ListenAddress;
use super::secret::SecretName;
use super::tree::{Node, Value};

type Read<T> = Result<T, String>;

pub(super) fn text(node: &Node) -> Read<String> {
    match &node.value {
        Value::Text(text) if !text.is_empty() => Ok(text.clone()),
        Value::Text(_) => Err("is empty".to_owned()),
        _ => Err("must be text in quotes".to_owned()),
    }
}

pub(super) fn path(node: &Node) -> Read<PathBuf> {
    text(node).map(PathBuf::from)
}

pub(super) fn boolean(node: &Node) -> Read<bool> {
    match (&node.value, &node.place) {
        (Value::Boolean(boolean), _) => Ok(*boolean),
        (Value::Text(text), Place::Environment(_)) if text == "true" => Ok(true),
        (Value::Text(text), Place::Environment(_)) if text == "false" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// A number within `range`.
pub(super) fn number<T>(range: RangeInclusive<T>) -> impl Fn(&Node) -> Read<T>
where
    T: FromStr + PartialOrd + Display,
{
    move |node| {
        let expected = || format!("must be a number from {} to {}", range.start(), range.end());
        let written = match (&node.value, &node.place) {
            (Value::Number(text), _) | (Value::Text(text), Place::Environment(_)) => text,
            _ => return Err(expected()),
        };
        let number = written.replace('_', "").parse::<T>().ok();
        let number = number.filter(|number| range.contains(number));
        number.ok_or_else(|| format!("{written} {}", expected()))
    }
}

/// One of `words`, each with what it stands for.
pub(super) fn one_of<T: Clone>(words: &[(&str, T)]) -> impl Fn(&Node) -> Read<T> {
    let words: Vec<_> = words
        .iter()
        .map(|(word, meaning)| ((*word).to_owned(), meaning.clone()))
        .collect();
    move |node| {
        let given = text(node)?;
        let found = words.iter().find(|(word, _)| *word == given);
        found.map(|(_, meaning)| meaning.clone()).ok_or_else(|| {
            let list: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            format!("{given:?} is not known: write {}", list.join(" or "))
        })
    }
}

pub(super) fn duration(range: RangeInclusive<Duration>) -> impl Fn(&Node) -> Read<Duration> {
    move |node| {
        let Value::Text(given) = &node.value else {
            return Err(
                "must be a duration in quotes, such as \"90s\", \"30m\" or \"1h\"".to_owned(),
            );
        };
        let duration = crate::duration::parse(given).map_err(|error| error.to_string())?;
        if range.contains(&duration) {
            return Ok(duration);
        }
        let (shortest, longest) = range.clone().into_inner();
        let (shortest, longest) = (
            crate::duration::show(shortest),
            crate::duration::show(longest),
        );
        Err(format!("{given:?} must be from {shortest} to {longest}"))
    }
}

/// Texts; from the environment separated by commas.
pub(super) fn texts(node: &Node) -> Read<Vec<String>> {
    match (&node.value, &node.place) {
        (Value::List(items), _) => items.iter().map(text).collect(),
        (Value::Text(list), Place::Environment(_)) => {
            Ok(list.split(',').map(|item| item.trim().to_owned()).collect())
        }
        _ => Err("must be a list of texts, such as [\"/data/tags\"]".to_owned()),
    }
}

/// Prefixes; from the environment separated by commas.
pub(super) fn cidrs(node: &Node) -> Read<Vec<Cidr>> {
    let parse = |text: &str| text.parse::<Cidr>().map_err(|error| error.to_string());
    match (&node.value, &node.place) {
        (Value::List(items), _) => items.iter().map(|item| parse(&text(item)?)).collect(),
        (Value::Text(list), Place::Environment(_)) => list
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(parse)
            .collect(),
        _ => Err("must be a list of prefixes, such as [\"203.0.113.0/24\"]".to_owned()),
    }
}

pub(super) fn listen_address(node: &Node) -> Read<ListenAddress> {
    let given = text(node)?;
    if let Some(path) = given.strip_prefix("unix:") {
        return if path.starts_with('/') {
            Ok(ListenAddress::Unix(PathBuf::from(path)))
        } else {
            Err(format!(
                "{given:?} must have an absolute path: write \"unix:/run/portcullis/edge.sock\""
            ))
        };
    }
    given.parse().map(ListenAddress::Tcp).map_err(|_| {
        format!(
            "{given:?} is not an address with a port: write \"127.0.0.1:8970\" or \"unix:/path\""
        )
    })
}

/// What can stand in a file name, a header and a metric's label.
pub(super) fn name(node: &Node) -> Read<String> {
    let given = text(node)?;
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if given.len() <= 64 && given.bytes().all(good) && !given.starts_with('.') {
        return Ok(given);
    }
    Err(format!(
        "{given:?} is not a name: use up to 64 letters, digits, -, _ and ."
    ))
}

pub(super) fn weight(node: &Node) -> Read<Weight> {
    let weight = number(0.0..=1.0)(node)?;
    Weight::new(weight).map_err(|error| error.to_string())
}

/// A duration after which a word has half its force, or "off".
pub(super) fn half_life(node: &Node) -> Read<Option<HalfLife>> {
    if matches!(&node.value, Value::Text(text) if text == "off") {
        return Ok(None);
    }
    let shortest = Duration::from_secs(3600);
    let longest = Duration::from_secs(3660 * 86_400);
    let half_life = duration(shortest..=longest)(node)
        .map_err(|message| format!("{message}; or write \"off\""))?;
    HalfLife::from_secs(half_life.as_secs())
        .map(Some)
        .map_err(|error| error.to_string())
}

/// `http://` or `https://` with a host and without a password.
pub(super) fn url(node: &Node) -> Read<Uri> {
    let given = text(node)?;
    let uri: Uri = given
        .parse()
        .map_err(|_| format!("{given:?} is not a URL"))?;
    check_url(&given, uri)
}

/// As [`url`], of what was read from `given`.
pub(super) fn check_url(given: &str, uri: Uri) -> Read<Uri> {
    let authority = uri.authority().map(|authority| authority.as_str());
    match (uri.scheme_str(), authority) {
        (Some("http" | "https"), Some(authority)) if authority.contains('@') => {
            Err("has a user or a password in it: keep it as a secret and name it in key".to_owned())
        }
        (Some("http" | "https"), Some(_)) => Ok(uri),
        _ => Err(format!(
            "{given:?} must begin with https:// or http:// and name a host"
        )),
    }
}

pub(super) fn secret_reference(node: &Node) -> Read<SecretName> {
    let name = match &node.value {
        Value::Text(text) => text.strip_prefix("secret:").and_then(SecretName::parse),
        _ => None,
    };
    // What is written here may be the secret itself: it is not repeated.
    name.ok_or_else(|| {
        "must refer to a secret: write \"secret:NAME\" and configure it in [secret.NAME]".to_owned()
    })
}

/// Whether a key sent there could be read on the way.
pub(super) fn crosses_network_in_clear(uri: &Uri) -> bool {
    let host = uri
        .host()
        .unwrap_or_default()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let is_loopback = host
        .parse::<std::net::IpAddr>()
        .map_or(host == "localhost", |ip| ip.is_loopback());
    uri.scheme_str() == Some("http") && !is_loopback
}

//! A source that the configuration describes: where it is asked, and where in its JSON stands what.
//! Knows no source by name.

use std::time::Duration;

use async_trait::async_trait;
use hyper::StatusCode;
use reputation::score::Stance;
use reputation::{ClientAddress, UnixSeconds};
use serde_json::Value;

use super::exchange::{exchange, json, unexpected};
use super::limits::Limits;
use super::{Keys, Outcome, Provider, Reply, Word, moment};
use crate::config::{HeaderText, HttpJson, Meaning, Pointer, Scale};
use crate::http::{Answer, Get, HttpClient};
use crate::strangers::plain;

/// How much of an error's text is kept.
const DETAIL: usize = 200;
/// So many categories are kept, of so many characters each.
const CATEGORIES: usize = 8;
const CATEGORY: usize = 32;

pub struct Described {
    pub shape: HttpJson,
    pub timeout: Duration,
    pub http: HttpClient,
}

impl Described {
    fn question(&self, address: ClientAddress, keys: &Keys) -> Result<Get, String> {
        let uri = self.shape.url.about(address);
        let uri = uri.map_err(|error| error.to_string())?;
        let mut get = json(uri, self.timeout, self.shape.max_bytes);
        for (name, text) in &self.shape.headers {
            let value = match text {
                HeaderText::Plain(value) => value.clone(),
                HeaderText::Secret { before, name } => keys.header(before, name)?,
            };
            get.headers.insert(name.clone(), value);
        }
        Ok(get)
    }
}

#[async_trait]
impl Provider for Described {
    fn speaks_of(&self, address: ClientAddress) -> bool {
        self.shape.ipv6 || matches!(address, ClientAddress::V4(_))
    }

    async fn check(&self, address: ClientAddress, keys: &Keys, now: UnixSeconds) -> Reply {
        let read = |answer: &Answer| self.shape.reply(answer, now);
        exchange(&self.http, self.question(address, keys), read).await
    }
}

impl HttpJson {
    fn reply(&self, answer: &Answer, now: UnixSeconds) -> Reply {
        let outcome = self.read(answer);
        let mut limits = Limits::read(&answer.headers, &self.limits, self.limit_window, now);
        if matches!(outcome, Outcome::QuotaUsed(_)) && limits.reset.is_none() {
            limits.retry_after = limits.retry_after.or(self.quota_pause);
        }
        Reply { outcome, limits }
    }

    fn read(&self, answer: &Answer) -> Outcome {
        let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let (status, body) = (answer.status, body.as_ref());
        let failed = body.is_some_and(|body| self.says_failed(body));
        let usual = match self.statuses.get(&status.as_u16()) {
            Some(meaning) => Some(*meaning),
            None => usual_meaning(status),
        };
        let meaning = match usual {
            Some(Meaning::Answer) if failed => self.meaning_of(body).or(Some(Meaning::Unavailable)),
            // The same status may mean a wrong key and a used-up quota: words say more.
            Some(Meaning::Answer) | None => usual,
            Some(_) => self.meaning_of(body).or(usual),
        };
        let detail = || self.detail(status, body);
        match meaning {
            Some(Meaning::Answer) => body.map_or_else(
                || Outcome::Malformed("the answer is not JSON".to_owned()),
                |body| self.read_word(body),
            ),
            // A lost path and a gateway have the same status, but not the source's own words.
            Some(Meaning::Unknown) if self.is_worded(body) => nothing_known(),
            Some(Meaning::BadQuestion) => Outcome::BadQuestion(detail()),
            Some(Meaning::Key) => Outcome::KeyRefused(detail()),
            Some(Meaning::Quota) => Outcome::QuotaUsed(detail()),
            Some(Meaning::Unavailable) => Outcome::Unavailable(detail()),
            Some(Meaning::Unknown) | None => unexpected(status, detail()),
        }
    }

    fn is_absent(&self, there: &Value) -> bool {
        let stands_for_nothing = |text| self.absent.iter().any(|absent| absent == text);
        there.is_null() || there.as_str().is_some_and(stands_for_nothing)
    }

    fn says_failed(&self, body: &Value) -> bool {
        self.failure.as_ref().is_some_and(|failure| {
            let there = body.pointer(failure.at.as_str());
            there.is_some_and(|there| match there {
                Value::String(text) => *text == failure.is,
                other => serde_json::from_str(&failure.is).is_ok_and(|is: Value| is == *other),
            })
        })
    }

    fn meaning_of(&self, body: Option<&Value>) -> Option<Meaning> {
        let said = self.message(body)?.to_lowercase();
        let mut named = self.messages.iter().filter(|(word, _)| said.contains(word));
        named.next().map(|(_, meaning)| *meaning)
    }

    fn message<'v>(&self, body: Option<&'v Value>) -> Option<&'v str> {
        body?.pointer(self.message.as_ref()?.as_str())?.as_str()
    }

    /// Whether it is an object, with a text at `message` if the configuration says where that stands.
    fn is_worded(&self, body: Option<&Value>) -> bool {
        let worded = self.message.is_none() || self.message(body).is_some();
        worded && body.is_some_and(Value::is_object)
    }

    fn detail(&self, status: StatusCode, body: Option<&Value>) -> String {
        let said = self.message(body).map(|said| plain(said, DETAIL));
        said.map_or_else(|| status.to_string(), |said| format!("{status}: {said}"))
    }

    /// What stands at `pointer`, if it is not one of the values that stand for nothing.
    fn at<'v>(&self, body: &'v Value, pointer: &Pointer) -> Option<&'v Value> {
        let there = body.pointer(pointer.as_str());
        there.filter(|there| !self.is_absent(there))
    }

    fn read_word(&self, body: &Value) -> Outcome {
        let at = |pointer: &Pointer| self.at(body, pointer);
        if let Some(place) = self.answered.as_ref().filter(|place| at(place).is_none()) {
            let place = place.as_str();
            return Outcome::Malformed(format!("the answer has nothing at {place}"));
        }
        let Some(score) = self.score_of(body) else {
            let place = self.score.as_str();
            return Outcome::Malformed(format!("the answer has no score at {place}"));
        };
        let any = |pointers: &[Pointer]| pointers.iter().filter_map(at).any(says_something);
        let is_trusted = any(&self.trusted);
        let is_harmless = is_trusted || any(&self.harmless);
        let mut categories = self.categories_of(body);
        if is_harmless {
            categories.insert(0, "whitelisted".to_owned());
        }
        Outcome::Said(Word {
            score: if is_harmless { 0 } else { score },
            stance: if is_trusted {
                Stance::Trusted
            } else {
                Stance::Rated
            },
            categories,
            observed: self.observed.as_ref().and_then(at).and_then(moment),
        })
    }

    fn score_of(&self, body: &Value) -> Option<u8> {
        match self.at(body, &self.score) {
            Some(there) => self.scale.score(there),
            None if self.score_optional && body.is_object() => Some(0),
            None => None,
        }
    }

    fn categories_of(&self, body: &Value) -> Vec<String> {
        let named = self.categories.iter().flat_map(|pointer| {
            let there = self.at(body, pointer);
            there.map_or_else(Vec::new, |there| names(pointer, there))
        });
        named.take(CATEGORIES).collect()
    }
}

impl Scale {
    fn score(&self, there: &Value) -> Option<u8> {
        match self {
            Self::Linear(zero, hundred) => {
                let number = there.as_f64();
                let number = number.or_else(|| there.as_str()?.trim().parse().ok());
                share(number?, *zero, *hundred)
            }
            Self::Counted(zero, hundred) => {
                let count = u32::try_from(there.as_array()?.len()).unwrap_or(u32::MAX);
                share(count.into(), *zero, *hundred)
            }
            Self::Words(words) => {
                let of = |word: &Value| words.get(&word.as_str()?.to_lowercase()).copied();
                match there {
                    // One that is not named says nothing.
                    Value::Array(list) => Some(list.iter().filter_map(of).max().unwrap_or(0)),
                    word => of(word),
                }
            }
        }
    }
}

/// The nearest whole number: also where none is exact, and none for what is not a number.
fn share(number: f64, zero: f64, hundred: f64) -> Option<u8> {
    let share = (number - zero) / (hundred - zero) * 100.0;
    let share = share.clamp(0.0, 100.0).round();
    (0..=100).find(|score| f64::from(*score) == share)
}

fn nothing_known() -> Outcome {
    Outcome::Said(Word {
        score: 0,
        stance: Stance::Rated,
        categories: Vec::new(),
        observed: None,
    })
}

fn usual_meaning(status: StatusCode) -> Option<Meaning> {
    match status.as_u16() {
        200 => Some(Meaning::Answer),
        401..=403 => Some(Meaning::Key),
        400 | 422 => Some(Meaning::BadQuestion),
        429 => Some(Meaning::Quota),
        408 | 500..=599 => Some(Meaning::Unavailable),
        _ => None,
    }
}

fn says_something(there: &Value) -> bool {
    match there {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(table) => !table.is_empty(),
    }
}

/// `true` is called as where it stands; texts are names by themselves.
fn names(pointer: &Pointer, there: &Value) -> Vec<String> {
    match there {
        Value::Bool(true) => vec![category(pointer.name())],
        Value::String(text) if !text.is_empty() => vec![category(text)],
        Value::Array(list) => {
            let texts = list.iter().filter_map(Value::as_str);
            texts
                .filter(|text| !text.is_empty())
                .map(category)
                .collect()
        }
        _ => Vec::new(),
    }
}

fn category(text: &str) -> String {
    let good = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '-'
        }
    };
    text.chars().take(CATEGORY).map(good).collect()
}

#[cfg(test)]
#[path = "http_json_tests.rs"]
mod tests;

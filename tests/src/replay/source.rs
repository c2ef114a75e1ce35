//! The fixtures: what each source may answer, and the recipe by which it is asked. What is sent is `replay`'s.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

use super::KEY;
use crate::error::KitError;
use crate::parts::in_checkout;
use crate::serve::{Answer, Asked};

/// A source, and what it may answer.
#[derive(Debug, Clone)]
pub struct Source {
    pub name: String,
    /// The block of the document, without its secrets.
    recipe: String,
    pub(super) secrets: String,
    /// Path and query, with `{ip}` in it.
    asks: String,
    key_header: Option<String>,
    base_url: Option<String>,
    pub cases: Vec<Case>,
}

/// One answer, and what is to come of it.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    pub answer: Answer,
    /// What the fixture says beside the answer: `outcome`, `score`, `categories`, `trusted`,
    /// `says`, `closed_for`.
    pub expected: Value,
}

/// What any source may answer.
const ANYBODY: &str = "anybody";
/// Longer than a busy machine takes.
const TIMEOUT: &str = "20s";

impl Source {
    /// All of them, each with its own answers and with what anybody may answer.
    pub fn all() -> Result<Vec<Self>, KitError> {
        let folder = in_checkout("tests/fixtures/providers");
        let mut fixtures = BTreeMap::<String, Value>::new();
        let entries = std::fs::read_dir(&folder).map_err(KitError::io("no fixtures"))?;
        for entry in entries {
            let path = entry.map_err(KitError::io("no fixtures"))?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let text = std::fs::read_to_string(&path).map_err(KitError::io("no fixture"))?;
            let fixture = serde_json::from_str(&text);
            let fixture = fixture.map_err(|error| KitError::Fixture(format!("{name}: {error}")))?;
            fixtures.insert(name.into_owned(), fixture);
        }
        let anybody = fixtures.remove(ANYBODY).unwrap_or_default();
        let sources = fixtures.iter();
        sources
            .map(|(name, fixture)| Self::read(name, fixture, &anybody))
            .collect()
    }

    fn read(name: &str, fixture: &Value, anybody: &Value) -> Result<Self, KitError> {
        let text = |key: &str| fixture.get(key).and_then(Value::as_str).map(str::to_owned);
        let line = text("recipe").unwrap_or_default();
        let block = recipes()?.into_iter().find(|block| block.contains(&line));
        let block = block.ok_or_else(|| KitError::Fixture(format!("no recipe has {line}")))?;
        let (recipe, secrets) = block.split_once("\n[secret.").map_or_else(
            || (block.clone(), String::new()),
            |(recipe, secrets)| (format!("{recipe}\n"), format!("[secret.{secrets}")),
        );
        Ok(Self {
            name: name.to_owned(),
            recipe,
            secrets,
            asks: text("asks").unwrap_or_default(),
            key_header: text("key_header"),
            base_url: text("base_url"),
            cases: cases(fixture).chain(cases(anybody)).collect(),
        })
    }

    /// How the provider is called that is answered in this way.
    pub fn provider(&self, case: &Case) -> String {
        format!("{}.{}", self.name, case.name)
    }

    /// What of a question's path is the same for each address.
    pub fn path(&self) -> &str {
        let (before, _) = self.asks.split_once("{ip}").unwrap_or_default();
        before
    }

    /// The recipe as it stands, but for its name and the server that is asked.
    pub(super) fn toml(&self, case: &Case, server: SocketAddr) -> String {
        let (provider, case) = (self.provider(case), &case.name);
        let server = format!("http://{server}/{}/{case}", self.name);
        let line = |line: &str| match line.split_once(" = ") {
            Some(("name" | "timeout", _)) => String::new(),
            Some(("kind", kind)) => {
                format!("kind = {kind}\nname = {provider:?}\ntimeout = {TIMEOUT:?}\n")
            }
            Some(("url", url)) => {
                let path = url.splitn(4, '/').nth(3).unwrap_or_default();
                format!("url = \"{server}/{path}\n")
            }
            _ => format!("{line}\n"),
        };
        let mut toml: String = self.recipe.lines().map(line).collect();
        if let Some(path) = &self.base_url {
            let base = format!("[[provider]]\nbase_url = \"{server}{path}\"\n");
            toml = toml.replacen("[[provider]]\n", &base, 1);
        }
        toml
    }

    /// The names of the environment variables that hold its key.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        let names = self
            .secrets
            .lines()
            .filter_map(|line| line.strip_prefix("name = "));
        names.map(|name| name.trim_matches('"'))
    }

    /// The address that was asked about, or what is wrong with the question.
    pub(super) fn read_question(&self, path: &str, asked: &Asked) -> Result<String, String> {
        let (before, after) = self.asks.split_once("{ip}").unwrap_or_default();
        let address = path
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after));
        let address = address.ok_or_else(|| format!("{path} is not {}", self.asks))?;
        if let Some(name) = &self.key_header
            && asked.header(name) != Some(KEY)
        {
            return Err(format!("{path} came without the key in {name}"));
        }
        if asked.header("accept") != Some("application/json") {
            return Err(format!("{path} did not ask for JSON"));
        }
        Ok(address.replace("%3A", ":"))
    }
}

/// The configurations in the document.
pub fn recipes() -> Result<Vec<String>, KitError> {
    let path = in_checkout("docs/providers.md");
    let text = std::fs::read_to_string(path).map_err(KitError::io("no docs/providers.md"))?;
    let blocks = text.split("```toml\n").skip(1);
    let blocks = blocks.filter_map(|text| text.split("```").next());
    Ok(blocks.map(str::to_owned).collect())
}

fn cases(fixture: &Value) -> impl Iterator<Item = Case> {
    let answers = fixture.get("answers").and_then(Value::as_array);
    answers.into_iter().flatten().map(|expected| Case {
        name: text(expected, "case").to_owned(),
        answer: recorded(expected),
        expected: expected.clone(),
    })
}

fn recorded(from: &Value) -> Answer {
    let status = from
        .get("status")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    let filled = from.get("fill").and_then(Value::as_u64);
    let body = match (from.get("body"), filled) {
        (Some(body), _) => body.to_string().replace("{key}", KEY),
        (None, Some(length)) => "x".repeat(usize::try_from(length).unwrap_or_default()),
        (None, None) => text(from, "text").to_owned(),
    };
    let is_json = from.get("body").is_some();
    let kind = if is_json {
        "application/json"
    } else {
        "text/html"
    };
    let mut answer =
        Answer::body(kind, body).with_status(u16::try_from(status).unwrap_or_default());
    for (name, value) in from
        .get("headers")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        answer = answer.with_header(name, value.as_str().unwrap_or_default());
    }
    answer
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

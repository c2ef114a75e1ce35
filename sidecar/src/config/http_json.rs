//! `[[provider]]` with `kind = "http-json"`: how a source is asked that no code knows, and where in its
//! answer stands what.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};
use reputation::ClientAddress;

use super::secret::SecretName;
use super::section::Section;
use super::tree::Node;
use super::value;

#[derive(Debug, Clone, PartialEq)]
pub struct HttpJson {
    pub url: UrlTemplate,
    /// Whether it is asked about IPv6.
    pub ipv6: bool,
    pub headers: Vec<(HeaderName, HeaderText)>,
    pub max_bytes: usize,
    pub score: Pointer,
    pub scale: Scale,
    /// That no score is there means that nothing is known.
    pub score_optional: bool,
    /// What has nothing there is no answer, whatever else is optional.
    pub answered: Option<Pointer>,
    /// Texts that stand where nothing is.
    pub absent: Vec<String>,
    /// Something at one of these takes all blame away that this source has.
    pub harmless: Vec<Pointer>,
    /// By something at one of these it vouches for the address, whatever others say.
    pub trusted: Vec<Pointer>,
    pub categories: Vec<Pointer>,
    pub observed: Option<Pointer>,
    pub failure: Option<Failure>,
    /// What went wrong, in the source's words.
    pub message: Option<Pointer>,
    /// What such a message means, by what it contains, in lower case; the longest first.
    pub messages: Vec<(String, Meaning)>,
    pub statuses: BTreeMap<u16, Meaning>,
    pub limits: LimitHeaders,
    /// For what time these count, if they are not to tell it themselves.
    pub limit_window: Option<Duration>,
    /// How long nobody is asked after "too many", if no header says it.
    pub quota_pause: Option<Duration>,
}

/// A URL in which `{ip}` stands for the address and `{version}` for 4 or 6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlTemplate(String);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderText {
    Plain(HeaderValue),
    Secret { before: String, name: SecretName },
}

/// A JSON pointer (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer(String);

/// From what stands there to 0 to 100.
#[derive(Debug, Clone, PartialEq)]
pub enum Scale {
    /// A number: the first is 0, the second is 100, what lies beyond is cut off.
    Linear(f64, f64),
    /// As that, how many things a list has.
    Counted(f64, f64),
    /// A word, or a list of words, of which the worst counts.
    Words(BTreeMap<String, u8>),
}

/// An answer with status 200 that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub at: Pointer,
    /// As JSON or as text.
    pub is: String,
}

/// What an answer means that has no score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// As 200.
    Answer,
    /// It has nothing on the address.
    Unknown,
    /// It never will.
    BadQuestion,
    Key,
    Quota,
    Unavailable,
}

/// Where a source says how many calls it permits, how many are left, and when they begin anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitHeaders {
    pub limit: Option<HeaderName>,
    pub remaining: Option<HeaderName>,
    pub reset: Option<HeaderName>,
}

impl HttpJson {
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        self.headers.iter().filter_map(|(_, text)| match text {
            HeaderText::Plain(_) => None,
            HeaderText::Secret { name, .. } => Some(name),
        })
    }
}

impl UrlTemplate {
    fn parse(text: String) -> Result<Self, String> {
        let (_, rest) = text.split_once("://").unwrap_or_default();
        let (_, path) = rest.split_once('/').unwrap_or_default();
        if path.matches("{ip}").count() != 1 {
            return Err(format!(
                "{text:?} must have {{ip}} once, behind the host: write \"https://api.example.com/v1/{{ip}}\""
            ));
        }
        let template = Self(text);
        let uri = template.about(ClientAddress::V4(0));
        let uri = uri.map_err(|_| format!("{:?} is not a URL", template.0))?;
        value::check_url(&template.0, uri).map(|_| template)
    }

    pub fn about(&self, address: ClientAddress) -> Result<Uri, hyper::http::uri::InvalidUri> {
        let version = match address {
            ClientAddress::V4(_) => "4",
            ClientAddress::V6(_) => "6",
        };
        let encoded = address.to_string().replace(':', "%3A");
        let url = self.0.replace("{version}", version);
        url.replace("{ip}", &encoded).parse()
    }
}

impl Pointer {
    fn parse(text: String) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self(text));
        }
        Err(format!(
            "{text:?} is not a JSON pointer: write \"/data/score\""
        ))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the last step is called.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

const MEANINGS: [(&str, Meaning); 6] = [
    ("answer", Meaning::Answer),
    ("unknown", Meaning::Unknown),
    ("bad-question", Meaning::BadQuestion),
    ("key", Meaning::Key),
    ("quota", Meaning::Quota),
    ("unavailable", Meaning::Unavailable),
];
const LARGEST: usize = 16 * 1024 * 1024;
const LIMIT_WINDOW: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(31 * 24 * 3600);
const PAUSE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(25 * 3600);

/// Takes every key before it gives up.
pub(super) fn validate(section: &mut Section<'_>) -> Option<HttpJson> {
    let what = "url = \"https://api.example.com/v1/{ip}\"";
    let url = section.require("url", what, |node| UrlTemplate::parse(value::text(node)?));
    let ipv6 = section.get("ipv6", value::boolean);
    let headers = headers(section.table("headers"));
    let max_bytes = section.get("max_bytes", value::number(1024..=LARGEST));
    let score = section.require("score", "score = \"/path/to/score\"", pointer);
    let scale = scale(section);
    let score_optional = section.get("score_optional", value::boolean);
    let answered = section.get("answered", pointer);
    let absent = section.get("absent", value::texts);
    let harmless = section.get("harmless", pointers);
    let trusted = section.get("trusted", pointers);
    let categories = section.get("categories", pointers);
    let observed = section.get("observed", pointer);
    let failure = failure(section);
    let message = section.get("message", pointer);
    let messages = messages(section.table("messages"));
    let statuses = statuses(section.table("statuses"));
    let limits = LimitHeaders {
        limit: section.get("limit_header", header_name),
        remaining: section.get("remaining_header", header_name),
        reset: section.get("reset_header", header_name),
    };
    let limit_window = section.get("limit_window", value::duration(LIMIT_WINDOW));
    let quota_pause = section.get("quota_pause", value::duration(PAUSE));
    let json = HttpJson {
        url: url?,
        ipv6: ipv6.unwrap_or(true),
        headers,
        max_bytes: max_bytes.unwrap_or(256 * 1024),
        score: score?,
        scale: scale?,
        score_optional: score_optional.unwrap_or(false),
        answered,
        absent: absent.unwrap_or_default(),
        harmless: harmless.unwrap_or_default(),
        trusted: trusted.unwrap_or_default(),
        categories: categories.unwrap_or_default(),
        observed,
        failure,
        message,
        messages,
        statuses,
        limits,
        limit_window,
        quota_pause,
    };
    let sent_to = json.url.about(ClientAddress::V4(0)).ok()?;
    if json.secrets().next().is_some() && value::crosses_network_in_clear(&sent_to) {
        section.fault("url", "would send the key in clear: write https://");
    }
    Some(json)
}

fn headers(mut section: Section<'_>) -> Vec<(HeaderName, HeaderText)> {
    let read = |key: &str, node: &Node| {
        let name: Result<HeaderName, _> = key.parse();
        let name = name.map_err(|_| format!("{key:?} is not the name of a header"))?;
        Ok((name, header_text(&value::text(node)?)?))
    };
    let named = section.values(read);
    for (key, (_, text)) in &named {
        if let HeaderText::Secret { name, .. } = text {
            section.refer(key, name.clone());
        }
    }
    named.into_iter().map(|(_, header)| header).collect()
}

/// `secret:NAME`, with text before it if that is wanted: `Bearer secret:NAME`.
fn header_text(text: &str) -> Result<HeaderText, String> {
    if let Some((before, name)) = text.split_once("secret:") {
        let name = SecretName::parse(name).ok_or("must end with secret:NAME")?;
        let before = before.to_owned();
        return Ok(HeaderText::Secret { before, name });
    }
    // What is written here may be the key itself: it is not repeated.
    let value = HeaderValue::from_str(text);
    value
        .map(HeaderText::Plain)
        .map_err(|_| "has characters that no header may have".to_owned())
}

fn scale(section: &mut Section<'_>) -> Option<Scale> {
    let words = section
        .table("words")
        .values(|_, node| value::number(0..=100)(node));
    let zero = section.get("zero", value::number(-1e9..=1e9));
    let hundred = section.get("hundred", value::number(-1e9..=1e9));
    let counted = section.get("counted", value::boolean).unwrap_or(false);
    let linear = section.has("zero") || section.has("hundred") || counted;
    if section.has("words") {
        if linear {
            section.fault(
                "words",
                "stands beside zero, hundred or counted: a score is a word or a number",
            );
        }
        let words = words.into_iter();
        return Some(Scale::Words(
            words
                .map(|(word, score)| (word.to_lowercase(), score))
                .collect(),
        ));
    }
    let (zero, hundred) = (zero.unwrap_or(0.0), hundred.unwrap_or(100.0));
    if zero >= hundred {
        section.fault("hundred", "must be more than zero");
        return None;
    }
    Some(if counted {
        Scale::Counted(zero, hundred)
    } else {
        Scale::Linear(zero, hundred)
    })
}

fn failure(section: &mut Section<'_>) -> Option<Failure> {
    let at = section.get("failed", pointer);
    let is = section.get("failed_is", value::text);
    if section.has("failed") != section.has("failed_is") {
        let missing = if section.has("failed") {
            "failed_is"
        } else {
            "failed"
        };
        section.fault(
            missing,
            "is missing: failed says where, failed_is what stands there",
        );
    }
    Some(Failure { at: at?, is: is? })
}

fn messages(mut section: Section<'_>) -> Vec<(String, Meaning)> {
    let read = |_: &str, node: &Node| value::one_of(&MEANINGS)(node);
    let words = section.values(read).into_iter();
    let mut words: Vec<_> = words
        .map(|(word, meaning)| (word.to_lowercase(), meaning))
        .collect();
    words.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
    words
}

fn statuses(mut section: Section<'_>) -> BTreeMap<u16, Meaning> {
    let read = |key: &str, node: &Node| {
        let status = key
            .parse()
            .ok()
            .filter(|status| (200..600).contains(status));
        let status = status.ok_or_else(|| format!("{key:?} is not a status: write 200 to 599"))?;
        Ok((status, value::one_of(&MEANINGS)(node)?))
    };
    section
        .values(read)
        .into_iter()
        .map(|(_, pair)| pair)
        .collect()
}

pub(super) fn pointer(node: &Node) -> Result<Pointer, String> {
    Pointer::parse(value::text(node)?)
}

fn pointers(node: &Node) -> Result<Vec<Pointer>, String> {
    value::texts(node)?
        .into_iter()
        .map(Pointer::parse)
        .collect()
}

fn header_name(node: &Node) -> Result<HeaderName, String> {
    let text = value::text(node)?;
    text.parse()
        .map_err(|_| format!("{text:?} is not the name of a header"))
}

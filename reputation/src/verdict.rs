//! What the filter acts on, and its JSON on the wire between sidecar and filter.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cidr::Cidr;
use crate::decision::DecisionId;
use crate::json::{self, Fields, JsonError};
use crate::policy::{Action, Band};
use crate::precedence::Rank;

/// The answer to "what about this address?".
///
/// ```json
/// {"action":"deny","band":"malicious","score":93,"reason":"ipsum","decision":"00000000000000ab",
///  "ttl_s":3600,"provisional":false,"rank":"score","scope":"203.0.113.7/32"}
/// ```
///
/// Words of a newer sidecar that this build does not know never refuse anybody by themselves: an action
/// or a rank counts as nobody's explicit word, so that the filter's own `actions` decide by the band, and
/// a band is `suspicious`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value")]
pub struct Verdict {
    pub action: Action,
    pub band: Band,
    /// 0 (nothing known against it) to 100.
    pub score: u8,
    /// The source or rule that weighed most; `clean` or `unknown` where nothing speaks against it.
    pub reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionId>,
    /// How long the answer may be kept, in seconds.
    pub ttl_s: u32,
    /// True while a provider is still being asked: keep it for two seconds at most.
    pub provisional: bool,
    /// Whose word this is; absent for a clean address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<Rank>,
    /// For which addresses it holds. A verdict on one visitor never decides for his neighbours.
    pub scope: Cidr,
    /// What it would be if every source had a say; absent where that is the same. Counted, never acted
    /// upon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
}

/// What a source without a say would lead to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value")]
pub struct Shadow {
    pub action: Action,
    pub band: Band,
    pub reason: String,
}

impl TryFrom<Value> for Verdict {
    type Error = JsonError;

    fn try_from(value: Value) -> Result<Self, JsonError> {
        Self::read(Fields::of(&value)?)
    }
}

impl Verdict {
    /// Reads what the sidecar answered.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        json::parse(bytes)?.try_into()
    }

    /// The longest life of a provisional answer, in seconds.
    pub const PROVISIONAL_TTL_S: u32 = 2;

    /// Whether the action is somebody's explicit word. Otherwise it follows from the band, and the
    /// filter's own `actions` decide.
    pub fn is_explicit(&self) -> bool {
        !matches!(self.rank, None | Some(Rank::Score | Rank::HardSource))
    }

    fn read(fields: Fields<'_>) -> Result<Self, JsonError> {
        let score = u8::try_from(fields.number("score")?);
        let decision = fields.value("decision").map(|_| fields.parsed("decision"));
        let rank = fields.value("rank").map(|_| fields.text("rank"));
        let rank = rank.transpose()?.map(Rank::of_name);
        let band = read_band(fields)?;
        let action = Action::of_name(fields.text("action")?);
        Ok(Self {
            action: action.unwrap_or(band.default_action()),
            band,
            score: score.map_err(|_| JsonError::Field("score"))?,
            reason: fields.text("reason")?.to_owned(),
            decision: decision.transpose()?,
            ttl_s: fields.small("ttl_s")?,
            provisional: fields.flag_if_any("provisional")?,
            rank: rank.map(|rank| rank.filter(|_| action.is_some()).unwrap_or(Rank::Score)),
            scope: fields.parsed("scope")?,
            shadow: fields.value("shadow").map(Shadow::read).transpose()?,
        })
    }
}

impl TryFrom<Value> for Shadow {
    type Error = JsonError;

    fn try_from(value: Value) -> Result<Self, JsonError> {
        Self::read(&value)
    }
}

impl Shadow {
    fn read(value: &Value) -> Result<Self, JsonError> {
        let fields = Fields::of(value)?;
        let band = read_band(fields)?;
        let action = Action::of_name(fields.text("action")?);
        Ok(Self {
            action: action.unwrap_or(band.default_action()),
            band,
            reason: fields.text("reason")?.to_owned(),
        })
    }
}

fn read_band(fields: Fields<'_>) -> Result<Band, JsonError> {
    Ok(Band::of_name(fields.text("band")?).unwrap_or(Band::Suspicious))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deny() -> Value {
        json!({
            "action": "deny", "band": "malicious", "score": 93, "reason": "ipsum",
            "decision": "00000000000000ab", "ttl_s": 3600, "provisional": false,
            "rank": "operator_ban", "scope": "203.0.113.7/32",
            "shadow": {"action": "deny", "band": "malicious", "reason": "b"},
        })
    }

    fn read(change: impl FnOnce(&mut Value)) -> Result<Verdict, JsonError> {
        let mut value = deny();
        change(&mut value);
        Verdict::parse(value.to_string().as_bytes())
    }

    #[test]
    fn a_verdict_survives_its_json() {
        let verdict = read(|_| ()).unwrap();
        assert!(verdict.is_explicit());
        assert_eq!(serde_json::to_value(&verdict).unwrap(), deny());
    }

    #[test]
    fn words_that_are_not_known_refuse_nobody_by_themselves() {
        let action = read(|it| it["action"] = "challenge".into()).unwrap();
        assert_eq!((action.action, action.is_explicit()), (Action::Deny, false));
        let rank = read(|it| it["rank"] = "tenant_ban".into()).unwrap();
        assert_eq!((rank.band, rank.is_explicit()), (Band::Malicious, false));
        let band = read(|it| {
            it["band"] = "dubious".into();
            it["action"] = "challenge".into();
        });
        let band = band.unwrap();
        assert_eq!((band.action, band.band), (Action::Tag, Band::Suspicious));
        let shadow = read(|it| it["shadow"]["action"] = "challenge".into()).unwrap();
        assert_eq!(shadow.shadow.unwrap().action, Action::Deny);
    }

    #[test]
    fn fields_that_are_not_known_are_passed_over_and_faulty_ones_are_not() {
        assert!(read(|it| it["country"] = "DE".into()).is_ok());
        for field in ["action", "band", "score", "reason", "ttl_s", "scope"] {
            let missing = read(|it| {
                it.as_object_mut().unwrap().remove(field);
            });
            assert_eq!(missing, Err(JsonError::Field(field)));
        }
        for (field, faulty) in [
            ("score", json!(256)),
            ("ttl_s", json!(-1)),
            ("scope", json!("203.0.113.7/33")),
            ("decision", json!("ab")),
            ("rank", json!(3)),
            ("provisional", json!("no")),
        ] {
            let refused = read(|it| it[field] = faulty.clone());
            assert_eq!(refused, Err(JsonError::Field(field)));
        }
    }
}

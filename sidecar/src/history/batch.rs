//! What is written in one go: a transaction with one statement per table, which is written once even if the
//! answer to its commit is lost and it is sent again.

use std::collections::BTreeMap;

use reputation::mode::Mode;
use reputation::{Action, ClientAddress};
use tokio_postgres::{Error, Statement};

use super::connect::Connection;
use super::entry::{DecisionEntry, Entry, RefusalEntry, VerdictEntry, network_of};

/// The statements, prepared once for each connection.
pub struct Statements {
    claim: Statement,
    verdicts: Statement,
    decisions: Statement,
    refusals: Statement,
}

/// How many of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    pub verdicts: u64,
    pub decisions: u64,
    pub refusals: u64,
}

/// Who writes: one process, and its how manieth batch this is.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    pub writer: i64,
    pub batch: i64,
}

const CLAIM: &str = "
    INSERT INTO portcullis.writer AS ours (id, batch, version, seen) VALUES ($1, $2, $3, now())
    ON CONFLICT (id) DO UPDATE
    SET batch = excluded.batch, version = excluded.version, seen = excluded.seen
    WHERE ours.batch < excluded.batch";

/// Not what another sidecar of the fleet, or this one before a restart, wrote within the last day.
const VERDICTS: &str = "
    INSERT INTO portcullis.verdict (at, address, network, scope, action, band, score, reason, decision,
                                    answered, asked, sources)
    SELECT to_timestamp(new.at), new.address::inet, new.network::cidr, new.scope::cidr, new.action, new.band,
           new.score, new.reason, new.decision, new.answered, new.asked, new.sources::jsonb
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::smallint[],
                $8::text[], $9::text[], $10::smallint[], $11::smallint[], $12::text[])
         AS new (at, address, network, scope, action, band, score, reason, decision, answered, asked, sources)
    WHERE NOT EXISTS (
        SELECT FROM (
            SELECT action, band, score, reason, decision FROM portcullis.verdict old
            WHERE old.network = new.network::cidr AND old.address = new.address::inet
              AND old.at > to_timestamp(new.at) - interval '1 day' AND old.at <= to_timestamp(new.at)
            ORDER BY old.at DESC, old.id DESC LIMIT 1
        ) AS last
        WHERE (last.action, last.band, last.score, last.reason) = (new.action, new.band, new.score, new.reason)
          AND last.decision IS NOT DISTINCT FROM new.decision)";

const DECISIONS: &str = "
    INSERT INTO portcullis.decision (at, event, decision, prefix, type, origin, reason, author, expires,
                                     operator, way)
    SELECT to_timestamp(at), event, decision, prefix::cidr, type, origin, reason, author,
           to_timestamp(expires), operator, way
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                $8::text[], $9::bigint[], $10::text[], $11::text[])
         AS new (at, event, decision, prefix, type, origin, reason, author, expires, operator, way)";

const REFUSALS: &str = "
    INSERT INTO portcullis.refusal AS old (minute, address, action, mode, reason, decision, requests)
    SELECT to_timestamp(minute), address::inet, action, mode, reason, decision, requests
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[])
         AS new (minute, address, action, mode, reason, decision, requests)
    ON CONFLICT (address, minute, action, mode) DO UPDATE
    SET requests = old.requests + excluded.requests, reason = excluded.reason, decision = excluded.decision";

impl Statements {
    pub async fn prepare(connection: &Connection) -> Result<Self, Error> {
        Ok(Self {
            claim: connection.prepare(CLAIM).await?,
            verdicts: connection.prepare(VERDICTS).await?,
            decisions: connection.prepare(DECISIONS).await?,
            refusals: connection.prepare(REFUSALS).await?,
        })
    }
}

/// Writes `entries`, all or none.
pub async fn write(
    connection: &mut Connection,
    statements: &Statements,
    turn: Turn,
    entries: &[Entry],
) -> Result<(), Error> {
    let transaction = connection.client().transaction().await?;
    let version = env!("CARGO_PKG_VERSION");
    let claim: [Parameter<'_>; 3] = [&turn.writer, &turn.batch, &version];
    if transaction.execute(&statements.claim, &claim).await? == 0 {
        // It was written the last time, and its answer was lost.
        return transaction.rollback().await;
    }
    let verdicts = Verdicts::of(entries);
    if !verdicts.at.is_empty() {
        transaction
            .execute(&statements.verdicts, &verdicts.parameters())
            .await?;
    }
    let decisions = Decisions::of(entries);
    if !decisions.at.is_empty() {
        transaction
            .execute(&statements.decisions, &decisions.parameters())
            .await?;
    }
    let refusals = Refusals::of(entries);
    if !refusals.minute.is_empty() {
        transaction
            .execute(&statements.refusals, &refusals.parameters())
            .await?;
    }
    transaction.commit().await
}

pub fn count(entries: &[Entry]) -> Written {
    let mut written = Written::default();
    for entry in entries {
        match entry {
            Entry::Verdict(_) => written.verdicts += 1,
            Entry::Decision(_) => written.decisions += 1,
            Entry::Refusal(_) => written.refusals += 1,
        }
    }
    written
}

/// A column each: one statement takes any number of rows.
#[derive(Default)]
struct Verdicts<'e> {
    at: Vec<i64>,
    address: Vec<String>,
    network: Vec<String>,
    scope: Vec<String>,
    action: Vec<&'static str>,
    band: Vec<&'static str>,
    score: Vec<i16>,
    reason: Vec<&'e str>,
    decision: Vec<Option<String>>,
    answered: Vec<i16>,
    asked: Vec<i16>,
    sources: Vec<&'e str>,
}

type Parameter<'p> = &'p (dyn tokio_postgres::types::ToSql + Sync);

impl<'e> Verdicts<'e> {
    fn of(entries: &'e [Entry]) -> Self {
        let mut columns = Self::default();
        for entry in entries {
            if let Entry::Verdict(verdict) = entry {
                columns.add(verdict);
            }
        }
        columns
    }

    fn add(&mut self, verdict: &'e VerdictEntry) {
        self.at.push(verdict.at.0.into());
        self.address.push(verdict.address.to_string());
        self.network.push(network_of(verdict.address).to_string());
        self.scope.push(verdict.scope.to_string());
        self.action.push(verdict.action.name());
        self.band.push(verdict.band.name());
        self.score.push(verdict.score.into());
        self.reason.push(&verdict.reason);
        self.decision
            .push(verdict.decision.map(|id| id.to_string()));
        self.answered.push(small(verdict.answered));
        self.asked.push(small(verdict.asked));
        self.sources.push(&verdict.sources);
    }

    fn parameters(&self) -> [Parameter<'_>; 12] {
        [
            &self.at,
            &self.address,
            &self.network,
            &self.scope,
            &self.action,
            &self.band,
            &self.score,
            &self.reason,
            &self.decision,
            &self.answered,
            &self.asked,
            &self.sources,
        ]
    }
}

#[derive(Default)]
struct Decisions<'e> {
    at: Vec<i64>,
    event: Vec<&'static str>,
    decision: Vec<String>,
    prefix: Vec<String>,
    kind: Vec<&'static str>,
    origin: Vec<String>,
    reason: Vec<&'e str>,
    author: Vec<&'e str>,
    expires: Vec<Option<i64>>,
    operator: Vec<&'e str>,
    way: Vec<&'static str>,
}

impl<'e> Decisions<'e> {
    fn of(entries: &'e [Entry]) -> Self {
        let mut columns = Self::default();
        for entry in entries {
            if let Entry::Decision(decision) = entry {
                columns.add(decision);
            }
        }
        columns
    }

    fn add(&mut self, entry: &'e DecisionEntry) {
        let decision = &entry.decision;
        self.at.push(entry.at.0.into());
        self.event.push(entry.event.name());
        self.decision.push(decision.id.to_string());
        self.prefix.push(decision.cidr.to_string());
        self.kind.push(decision.kind.name());
        self.origin.push(decision.origin.clone().into());
        self.reason.push(&decision.reason);
        self.author.push(&decision.author);
        self.expires.push(decision.expires.map(|end| end.0.into()));
        self.operator.push(&entry.operator);
        self.way.push(entry.way.name());
    }

    fn parameters(&self) -> [Parameter<'_>; 11] {
        [
            &self.at,
            &self.event,
            &self.decision,
            &self.prefix,
            &self.kind,
            &self.origin,
            &self.reason,
            &self.author,
            &self.expires,
            &self.operator,
            &self.way,
        ]
    }
}

#[derive(Default)]
struct Refusals<'e> {
    minute: Vec<i64>,
    address: Vec<String>,
    action: Vec<&'static str>,
    mode: Vec<&'static str>,
    reason: Vec<&'e str>,
    decision: Vec<String>,
    requests: Vec<i64>,
}

impl<'e> Refusals<'e> {
    /// Each row once, and all sidecars in the same order, so that none waits for another in a circle.
    fn of(entries: &'e [Entry]) -> Self {
        let mut rows = BTreeMap::<_, (&RefusalEntry, u64)>::new();
        for entry in entries {
            if let Entry::Refusal(refusal) = entry {
                let row = rows.entry(place_of(refusal)).or_insert((refusal, 0));
                *row = (refusal, row.1.saturating_add(refusal.requests));
            }
        }
        let mut columns = Self::default();
        for (refusal, requests) in rows.into_values() {
            columns.add(refusal, requests);
        }
        columns
    }

    fn add(&mut self, refusal: &'e RefusalEntry, requests: u64) {
        self.minute.push(refusal.begin().0.into());
        self.address.push(refusal.client.to_string());
        self.action.push(refusal.action.name());
        self.mode.push(refusal.mode.name());
        self.reason.push(&refusal.reason);
        self.decision.push(refusal.decision.to_string());
        self.requests
            .push(i64::try_from(requests).unwrap_or(i64::MAX));
    }

    fn parameters(&self) -> [Parameter<'_>; 7] {
        [
            &self.minute,
            &self.address,
            &self.action,
            &self.mode,
            &self.reason,
            &self.decision,
            &self.requests,
        ]
    }
}

fn place_of(refusal: &RefusalEntry) -> (u32, ClientAddress, Action, Mode) {
    let RefusalEntry {
        minute,
        client,
        action,
        mode,
        ..
    } = refusal;
    (*minute, *client, *action, *mode)
}

fn small(count: usize) -> i16 {
    i16::try_from(count).unwrap_or(i16::MAX)
}

#[cfg(test)]
mod tests {
    use reputation::DecisionId;

    use super::*;

    fn refusal(client: &str, minute: u32, reason: &str, requests: u64) -> Entry {
        Entry::Refusal(RefusalEntry {
            minute,
            client: client.parse().unwrap(),
            action: Action::Deny,
            mode: Mode::Enforce,
            reason: reason.to_owned(),
            decision: DecisionId(7),
            requests,
        })
    }

    #[test]
    fn refusals_of_one_client_and_minute_are_one_row_with_the_last_reason() {
        let entries = [
            refusal("203.0.113.9", 1, "a", 2),
            refusal("203.0.113.7", 1, "a", 1),
            refusal("203.0.113.9", 1, "b", 3),
            refusal("203.0.113.9", 2, "a", 4),
        ];
        let rows = Refusals::of(&entries);
        assert_eq!(rows.address, ["203.0.113.7", "203.0.113.9", "203.0.113.9"]);
        assert_eq!(rows.requests, [1, 5, 4]);
        assert_eq!(rows.reason, ["a", "b", "a"]);
        let written = Written {
            refusals: 4,
            ..Written::default()
        };
        assert_eq!(count(&entries), written);
    }
}

//! What was refused per client and minute. Owns the bounds: so many clients, and an hour of each.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use reputation::mode::Mode;
use reputation::{Action, ClientAddress, DecisionId, RefusalReport, Refused, UnixSeconds};

use super::{Blocked, BlockedClient, LATELY, MINUTES};

/// The most clients that are kept. When there are more, a quarter goes: those with the fewest requests.
pub const MOST: usize = 2000;
const SECONDS: u32 = 60;

#[derive(Default)]
pub struct Book {
    rows: HashMap<Key, Row>,
    left_out: Minutes,
    reported_at: Option<UnixSeconds>,
    tidied: u32,
}

/// A client is refused on one route and only counted on another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    client: ClientAddress,
    action: Action,
    mode: Mode,
}

struct Row {
    reason: String,
    decision: DecisionId,
    since: UnixSeconds,
    last: UnixSeconds,
    minutes: Minutes,
}

/// Requests by minute since 1970; those in which there were none have no entry.
#[derive(Default)]
struct Minutes(BTreeMap<u32, u64>);

impl Book {
    pub fn note(&mut self, report: &RefusalReport, now: UnixSeconds) {
        self.tidy(now);
        self.reported_at = Some(now);
        self.left_out.add(now, report.left_out);
        for refused in &report.clients {
            self.add(refused, now);
        }
        if self.rows.len() > MOST {
            self.make_room(now);
        }
    }

    pub fn blocked(&self, most: usize, now: UnixSeconds) -> Blocked {
        let rows = self.rows.iter();
        let all = rows.filter_map(|(key, row)| row.told(*key, now));
        let mut clients: Vec<_> = all.collect();
        clients.sort_by_key(|it| (Reverse((it.last_5_minutes, it.last_hour)), it.client));
        let more = clients.len().saturating_sub(most);
        clients.truncate(most);
        Blocked {
            clients,
            more,
            left_out: self.left_out.of_last(MINUTES, now),
            reported_at: self.reported_at,
        }
    }

    pub fn minutes_of(&self, client: ClientAddress, now: UnixSeconds) -> Option<Vec<u64>> {
        let rows = self.rows.iter().filter(|(key, _)| key.client == client);
        let rows: Vec<_> = rows.map(|(_, row)| &row.minutes).collect();
        let this = now.0 / SECONDS;
        let minute = |back| {
            let at = this.saturating_sub(back);
            rows.iter().map(|minutes| minutes.at(at)).sum()
        };
        let counts: Vec<u64> = (0..MINUTES).rev().map(minute).collect();
        counts.iter().any(|count| *count > 0).then_some(counts)
    }

    fn add(&mut self, refused: &Refused, now: UnixSeconds) {
        let before = |seconds: u32| UnixSeconds(now.0.saturating_sub(seconds));
        let (first, last) = (before(refused.first_s), before(refused.last_s));
        let key = Key {
            client: refused.client,
            action: refused.action,
            mode: refused.mode,
        };
        let row = self.rows.entry(key).or_insert_with(|| Row {
            reason: String::new(),
            decision: refused.decision,
            since: first,
            last,
            minutes: Minutes::default(),
        });
        row.since = row.since.min(first);
        if last >= row.last {
            row.last = last;
            row.reason.clone_from(&refused.reason);
            row.decision = refused.decision;
        }
        row.minutes.add(last, refused.count);
    }

    /// Once a minute: lets go of what is over an hour old.
    fn tidy(&mut self, now: UnixSeconds) {
        let this = now.0 / SECONDS;
        if self.tidied == this {
            return;
        }
        self.tidied = this;
        self.left_out.tidy(now);
        self.rows.retain(|_, row| {
            row.minutes.tidy(now);
            !row.minutes.0.is_empty()
        });
    }

    /// What goes is counted as left out.
    fn make_room(&mut self, now: UnixSeconds) {
        let rows = self.rows.iter();
        let total = |(key, row): (&Key, &Row)| (row.minutes.of_last(MINUTES, now), row.last, *key);
        let mut by_count: Vec<_> = rows.map(total).collect();
        by_count.sort_by_key(|(count, last, _)| (*count, *last));
        let gone = self.rows.len().saturating_sub(MOST - MOST / 4);
        for (_, _, key) in by_count.into_iter().take(gone) {
            if let Some(row) = self.rows.remove(&key) {
                row.minutes
                    .0
                    .into_iter()
                    .for_each(|(minute, count)| self.left_out.put(minute, count));
            }
        }
    }
}

impl Row {
    /// None if its last request is over an hour ago.
    fn told(&self, key: Key, now: UnixSeconds) -> Option<BlockedClient> {
        let last_hour = self.minutes.of_last(MINUTES, now);
        (last_hour > 0).then(|| BlockedClient {
            client: key.client,
            action: key.action,
            mode: key.mode,
            reason: self.reason.clone(),
            decision: self.decision,
            last_5_minutes: self.minutes.of_last(LATELY, now),
            last_hour,
            since: self.since.max(self.minutes.begin(now)),
            last: self.last,
        })
    }
}

impl Minutes {
    fn add(&mut self, at: UnixSeconds, count: u64) {
        self.put(at.0 / SECONDS, count);
    }

    fn put(&mut self, minute: u32, count: u64) {
        if count > 0 {
            let sum = self.0.entry(minute).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    fn at(&self, minute: u32) -> u64 {
        self.0.get(&minute).copied().unwrap_or(0)
    }

    /// The minute that is not over yet is one of them.
    fn of_last(&self, minutes: u32, now: UnixSeconds) -> u64 {
        let this = now.0 / SECONDS;
        let first = this.saturating_sub(minutes - 1);
        let counts = self.0.range(first..=this).map(|(_, count)| *count);
        counts.fold(0, u64::saturating_add)
    }

    /// A clock that was put back leaves minutes that are still to come: they go too.
    fn tidy(&mut self, now: UnixSeconds) {
        let this = now.0 / SECONDS;
        let oldest = this.saturating_sub(MINUTES - 1);
        self.0.retain(|minute, _| (oldest..=this).contains(minute));
    }

    /// When the oldest minute of the last hour began.
    fn begin(&self, now: UnixSeconds) -> UnixSeconds {
        let oldest = (now.0 / SECONDS).saturating_sub(MINUTES - 1);
        let first = self
            .0
            .range(oldest..)
            .next()
            .map_or(0, |(minute, _)| *minute);
        UnixSeconds(first.saturating_mul(SECONDS))
    }
}

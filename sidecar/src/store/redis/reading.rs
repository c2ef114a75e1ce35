//! Reading decisions and modes whole, as they stood at one moment. What cannot be read leaves in force
//! what was read before.

use std::collections::HashMap;
use std::sync::Arc;

use redis::Value;
use reputation::mode::ModeOverride;
use reputation::{Decision, DecisionId};

use super::codec::{self, LONGEST_MODES, NoDecision};
use super::connect::Connection;
use super::fault::Fault;
use super::shared::{Shared, Unread, Words};
use crate::store::DecisionChange;
use crate::telemetry::chain;

/// Decisions per round trip.
const PAGE: usize = 500;
/// How often to begin again when decisions change while they are read.
const TRIES: u32 = 3;

impl Shared {
    pub(super) async fn decisions(&self) -> Vec<Decision> {
        let read = self.read_decisions().await;
        let replaced_at = match &read {
            Err(Fault::Foreign(_) | Fault::WrongType) => self.count_of_changes().await.ok(),
            _ => None,
        };
        let before = self.note_read(Words::Decisions, read.as_ref().err(), replaced_at);
        match read {
            Ok(read) if read.is_empty() && self.are_cleared_away(before).await => {
                self.give_back().await
            }
            Ok(read) => {
                self.copy.set_decisions(read.clone());
                read
            }
            Err(_) => self.copy.decisions(),
        }
    }

    pub(super) async fn modes(&self) -> Vec<ModeOverride> {
        let read = self.read_modes().await;
        self.note_read(Words::Modes, read.as_ref().err(), None);
        match read {
            Ok(modes) => {
                self.copy.set_modes(modes.clone());
                modes
            }
            Err(_) => self.copy.modes(),
        }
    }

    /// Whether something could not be read although Redis answered.
    pub(super) fn is_unread(&self) -> bool {
        !self.noted().unread.is_empty()
    }

    /// Whether there are no decisions because something else stood in their place, which somebody cleared
    /// away. If decisions changed since, they may all have been taken back.
    async fn are_cleared_away(&self, before: Option<Unread>) -> bool {
        let Some(replaced_at) = before.and_then(|before| before.replaced_at) else {
            return false;
        };
        let now = self.count_of_changes().await;
        now.is_ok_and(|now| now == replaced_at)
    }

    /// What was foreign was cleared away, and with it the decisions that it had replaced.
    async fn give_back(&self) -> Vec<Decision> {
        let known = self.copy.decisions();
        let change = DecisionChange {
            put: known.clone(),
            delete: Vec::new(),
        };
        if known.is_empty() {
            return known;
        }
        match self.change_decisions(change).await {
            Ok(()) => tracing::warn!(
                decisions = known.len(),
                "what stood in Redis in place of the decisions is gone: those known here were given back"
            ),
            Err(fault) => {
                let fault = chain(&fault);
                tracing::error!(fault, "decisions are in force here alone: Redis lost them");
            }
        }
        known
    }

    /// The ids are read in one step, and what an id stands for never changes; so only decisions that
    /// are not known yet are asked for, and whatever changes meanwhile, the result was true once. It
    /// begins again if one is deleted before it is read: a ban that is replaced must not be lifted by it.
    async fn read_decisions(&self) -> Result<Vec<Decision>, Fault> {
        self.noted().unforced.clear();
        let known = self.copy.decisions().into_iter();
        let mut known: HashMap<_, _> = known.map(|known| (known.id, known)).collect();
        for _ in 0..TRIES {
            let ids = self.read_ids().await?;
            let new = ids.iter().filter(|id| !known.contains_key(id));
            let new: Vec<_> = new.copied().collect();
            let mut vanished = false;
            for page in new.chunks(PAGE) {
                vanished |= self.read_page(page, &mut known).await?;
            }
            if !vanished {
                return Ok(ids.iter().filter_map(|id| known.remove(id)).collect());
            }
        }
        let mut all = HashMap::new();
        self.read_page(&[], &mut all).await?;
        Ok(all.into_values().collect())
    }

    async fn read_ids(&self) -> Result<Vec<DecisionId>, Fault> {
        let name = self.scripts.keys().decisions();
        let listed = self.link.ask(self.scripts.list()).await;
        let listed: (usize, Vec<Vec<u8>>) = listed.map_err(|fault| fault.at(name))?;
        let (fields, names) = listed;
        let ids = names.iter().filter_map(|name| codec::read_id(name));
        let ids: Vec<_> = ids.collect();
        if ids.len() < fields {
            self.tell_foreign("a field among the decisions");
        }
        Ok(ids)
    }

    /// Adds these decisions, or all there are; tells whether one was gone.
    async fn read_page(
        &self,
        ids: &[DecisionId],
        known: &mut HashMap<DecisionId, Decision>,
    ) -> Result<bool, Fault> {
        let values: Vec<(Vec<u8>, Value)> = self.link.ask(self.scripts.read(ids)).await?;
        let mut vanished = false;
        for (name, value) in values {
            let decision = match value {
                Value::BulkString(json) => codec::read_id(&name)
                    .ok_or(NoDecision::Foreign)
                    .and_then(|id| codec::read_decision(id, &json)),
                Value::Int(0) => {
                    vanished = true;
                    continue;
                }
                _ => Err(NoDecision::Foreign),
            };
            match decision {
                Ok(decision) => drop(known.insert(decision.id, decision)),
                Err(NoDecision::Foreign) => self.tell_foreign("a decision"),
                Err(NoDecision::Unforced(cidr)) => {
                    self.noted().unforced.insert(cidr.to_string());
                }
            }
        }
        Ok(vanished)
    }

    async fn read_modes(&self) -> Result<Vec<ModeOverride>, Fault> {
        let name = self.scripts.keys().modes();
        let mut command = redis::cmd("GETRANGE");
        command.arg(&name).arg(0).arg(LONGEST_MODES);
        let read = self.link.ask::<Vec<u8>>(command).await;
        let json = read.map_err(|fault| fault.at(name.clone()))?;
        codec::read_modes(&json).ok_or(Fault::Foreign(name))
    }

    /// How many changes there were, or whatever stands there instead: it is only ever compared.
    pub(super) async fn changes(&self, connection: &Arc<Connection>) -> Result<Vec<u8>, Fault> {
        or_nothing(self.link.ask_on(connection, self.counter()).await)
    }

    async fn count_of_changes(&self) -> Result<Vec<u8>, Fault> {
        or_nothing(self.link.ask(self.counter()).await)
    }

    fn counter(&self) -> redis::Cmd {
        let mut command = redis::cmd("GETRANGE");
        command.arg(self.scripts.keys().changes()).arg(0).arg(20);
        command
    }

    /// Notes whether `words` could be read; tells why they could not be before.
    fn note_read(
        &self,
        words: Words,
        fault: Option<&Fault>,
        replaced_at: Option<Vec<u8>>,
    ) -> Option<Unread> {
        let mut noted = self.noted();
        let before = noted.unread.remove(&words);
        let now = match fault {
            None => None,
            // That the way is closed is told elsewhere, and says nothing of what stands there.
            Some(Fault::Away { .. } | Fault::TimedOut(_) | Fault::Broken(_)) => before.clone(),
            Some(fault) => Some(Unread {
                why: chain(fault),
                replaced_at: replaced_at
                    .or_else(|| before.as_ref().and_then(|it| it.replaced_at.clone())),
            }),
        };
        if let Some(now) = now {
            noted.unread.insert(words, now);
        }
        before
    }
}

/// What is of another type is no counter.
fn or_nothing(answer: Result<Vec<u8>, Fault>) -> Result<Vec<u8>, Fault> {
    match answer {
        Err(Fault::WrongType) => Ok(Vec::new()),
        answer => answer,
    }
}

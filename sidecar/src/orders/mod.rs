//! What operators order, whoever carries the order here: console, command line, another program. Every
//! order goes through [`Orders`], which notes it in the trail, so that it can be seen and undone.
//!
//! What an order does is `intelligence`'s.

mod file;
mod trail;
mod undo;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reputation::Decision;
use reputation::mode::Mode;
use serde::{Deserialize, Serialize};

pub use trail::{Act, Entry, Trail, kind_done, text_of};
pub use undo::UndoError;

use crate::api::listener::Peer;
use crate::history::DecisionEvent;
use crate::intelligence::{
    DecisionError, Given, Intelligence, ModeError, NewDecision, ReleaseError, Removal, Removed,
};

/// Who orders, as far as can be known: whoever has the token may call himself anything.
#[derive(Debug, Clone)]
pub struct Operator {
    pub name: String,
    pub by: Way,
    pub from: Peer,
    pub request_id: String,
}

/// By what an order came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    Console,
    CommandLine,
    Api,
}

/// What came of an import.
#[derive(Debug)]
pub struct Imported {
    pub count: usize,
    /// Why it ended early.
    pub fault: Option<DecisionError>,
}

/// How many decisions are written at once.
const STEP: usize = 5000;

pub struct Orders {
    intelligence: Arc<Intelligence>,
    trail: Trail,
}

impl Orders {
    pub fn new(intelligence: Arc<Intelligence>, trail: Trail) -> Self {
        Self {
            intelligence,
            trail,
        }
    }

    /// What was ordered, the newest first.
    pub fn trail(&self) -> Vec<Arc<Entry>> {
        self.trail.entries()
    }

    /// Somebody came or went.
    pub fn note(&self, operator: &Operator, act: Act) {
        self.trail.note(operator, act);
    }

    pub async fn give(
        &self,
        operator: &Operator,
        new: NewDecision,
    ) -> Result<Option<Decision>, DecisionError> {
        let Given {
            mut given,
            replaced,
        } = self.intelligence.give_decisions(vec![new]).await?;
        let Some(decision) = given.pop() else {
            return Ok(None);
        };
        self.record(operator, DecisionEvent::Replaced, &replaced);
        self.record(operator, DecisionEvent::Gave, [&decision]);
        let act = Act::Gave {
            decision: Box::new(decision.clone()),
            replaced: replaced.into(),
        };
        self.trail.note(operator, act);
        Ok(Some(decision))
    }

    /// Gives many, in steps that a store can take; what was given before a fault stays, and is one order.
    pub async fn import(&self, operator: &Operator, mut new: Vec<NewDecision>) -> Imported {
        let (mut given, mut replaced, mut fault) = (Vec::new(), Vec::new(), None);
        while !new.is_empty() {
            let rest = new.split_off(new.len().min(STEP));
            match self.intelligence.give_decisions(new).await {
                Ok(step) => {
                    self.record(operator, DecisionEvent::Replaced, &step.replaced);
                    self.record(operator, DecisionEvent::Gave, &step.given);
                    given.extend(step.given.iter().map(|decision| decision.id));
                    replaced.extend(step.replaced);
                }
                Err(error) => {
                    fault = Some(error);
                    break;
                }
            }
            new = rest;
        }
        // What an earlier step gave stood nowhere before the import.
        let own: HashSet<_> = given.iter().copied().collect();
        replaced.retain(|old: &Decision| !own.contains(&old.id));
        let count = given.len();
        if count > 0 {
            let (given, replaced) = (given.into(), replaced.into());
            self.trail.note(operator, Act::Imported { given, replaced });
        }
        Imported { count, fault }
    }

    pub async fn take_back(
        &self,
        operator: &Operator,
        what: Removal,
    ) -> Result<Removed, DecisionError> {
        let removed = self.intelligence.remove_decisions(what).await?;
        if !removed.removed.is_empty() {
            self.record(operator, DecisionEvent::TookBack, &removed.removed);
            let decisions = removed.removed.clone().into();
            self.trail.note(operator, Act::TookBack { decisions });
        }
        Ok(removed)
    }

    /// Where the store does not take it, the mode holds all the same: it is noted either way.
    pub async fn set_mode(
        &self,
        operator: &Operator,
        mode: Mode,
        route: Option<String>,
        ttl: Option<Duration>,
    ) -> Result<(), ModeError> {
        let act = Act::SetMode {
            mode,
            route: route.clone(),
            for_s: ttl.map(|ttl| ttl.as_secs()),
        };
        let set = self.intelligence.set_mode(mode, route, ttl).await;
        self.note_if_in_force(operator, act, &set);
        set
    }

    pub async fn clear_modes(
        &self,
        operator: &Operator,
        route: Option<&str>,
    ) -> Result<(), ModeError> {
        let route_text = route.map(str::to_owned);
        let cleared = self.intelligence.clear_modes(route).await;
        let act = Act::ClearedModes { route: route_text };
        self.note_if_in_force(operator, act, &cleared);
        cleared
    }

    pub async fn release(&self, operator: &Operator, feed: &str) -> Result<(), ReleaseError> {
        self.intelligence.release_feed(feed).await?;
        let feed = feed.to_owned();
        self.trail.note(operator, Act::Released { feed });
        Ok(())
    }

    /// For the history: the trail keeps the newest orders alone.
    fn record<'d>(
        &self,
        operator: &Operator,
        event: DecisionEvent,
        decisions: impl IntoIterator<Item = &'d Decision>,
    ) {
        for decision in decisions {
            let history = self.intelligence.history();
            history.note_decision(event, decision, operator);
        }
    }

    fn note_if_in_force(&self, operator: &Operator, act: Act, outcome: &Result<(), ModeError>) {
        match outcome {
            Ok(()) | Err(ModeError::NotKept(_)) => self.trail.note(operator, act),
            Err(ModeError::Route | ModeError::TooMany) => {}
        }
    }
}

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::CommandLine => "command line",
            Self::Api => "API",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;

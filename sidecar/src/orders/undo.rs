//! Undoing an order: what it gave is taken back, what it took back or replaced is given again.

use std::sync::Arc;

use thiserror::Error;

use super::{Act, Operator, Orders};
use crate::history::DecisionEvent;
use crate::intelligence::{DecisionError, Restored};

#[derive(Debug, Error)]
pub enum UndoError {
    #[error("order {0} cannot be undone: it was undone already, or is too long ago")]
    Settled(u64),
    #[error(transparent)]
    Decision(#[from] DecisionError),
}

impl Orders {
    pub async fn undo(&self, operator: &Operator, number: u64) -> Result<Restored, UndoError> {
        let settled = || UndoError::Settled(number);
        let entry = self.trail.settle(number).ok_or_else(settled)?;
        let (given, taken) = match &entry.act {
            Act::Gave { decision, replaced } => (vec![decision.id], replaced.to_vec()),
            Act::Imported { given, replaced } => (given.to_vec(), replaced.to_vec()),
            Act::TookBack { decisions } => (Vec::new(), decisions.to_vec()),
            _ => return Err(settled()),
        };
        match self.intelligence.restore_decisions(given, taken).await {
            Ok(restored) => {
                self.record(operator, DecisionEvent::TookBack, &restored.taken_back);
                self.record(operator, DecisionEvent::Restored, &restored.restored);
                self.trail.note(operator, Act::Undid { number });
                Ok(restored)
            }
            Err(error) => {
                self.trail.unsettle(Arc::clone(&entry));
                Err(error.into())
            }
        }
    }
}

//! Trying the password: on a connection of its own, which is closed again.

use std::sync::Arc;

use super::connect::{ConnectError, Endpoint};
use super::fault::Fault;
use crate::config::RedisConfig;
use crate::secrets::{Secrets, Trial, TrialResult};
use crate::telemetry::chain;

/// Tries each value of the password, if there is one.
pub async fn try_password(config: &RedisConfig, secrets: &Arc<Secrets>) -> Vec<Trial> {
    let Some(name) = &config.password else {
        return Vec::new();
    };
    let endpoint = Endpoint::new(config.clone(), Arc::clone(secrets));
    let endpoint = &endpoint;
    let knock = |value| async move { judge(endpoint.knock(&value).await) };
    secrets.try_each(name, "store.password", knock).await
}

fn judge(knocked: Result<(), ConnectError>) -> TrialResult {
    match knocked {
        Ok(()) => TrialResult::Taken,
        Err(ConnectError::Refused(fault @ Fault::Password)) => TrialResult::Refused(chain(&fault)),
        Err(error) => TrialResult::Unknown(chain(&error)),
    }
}

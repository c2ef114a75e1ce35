//! Trying a bouncer's key: HEAD of its decisions, for which the Local API looks at nothing but the key.

use std::sync::Arc;

use super::bouncer::{AccessError, Bouncer};
use super::lapi::{self, LapiError};
use crate::config::CrowdSec;
use crate::http::HttpClient;
use crate::secrets::{Secrets, Trial, TrialResult};
use crate::telemetry::chain;

/// Tries each value of the key, where there is one.
pub async fn try_key(http: &HttpClient, secrets: &Secrets, config: &CrowdSec) -> Vec<Trial> {
    let Some(name) = config.key() else {
        return Vec::new();
    };
    let used_by = format!("feed {}", config.name);
    let bouncer = &Bouncer::new(Arc::new(config.clone()));
    let knock = |key| async move {
        let knocked = match bouncer.pass_with(http, key) {
            Ok(pass) => lapi::knock(&pass, config).await,
            Err(error) => Err(error.into()),
        };
        judge(knocked)
    };
    secrets.try_each(name, &used_by, knock).await
}

fn judge(knocked: Result<(), LapiError>) -> TrialResult {
    match knocked {
        Ok(()) => TrialResult::Taken,
        Err(refused @ (LapiError::Refused(_) | LapiError::Access(AccessError::KeyText))) => {
            TrialResult::Refused(chain(&refused))
        }
        Err(error) => TrialResult::Unknown(chain(&error)),
    }
}

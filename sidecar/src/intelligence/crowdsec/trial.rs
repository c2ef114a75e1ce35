//! Trying a bouncer's key: HEAD of its decisions, for which the Local API looks at nothing but the key.

use super::lapi::{self, LapiError};
use crate::config::CrowdSec;
use crate::http::HttpClient;
use crate::secrets::{Secrets, Trial, TrialResult};
use crate::telemetry::chain;

/// Tries each value of the key.
pub async fn try_key(http: &HttpClient, secrets: &Secrets, config: &CrowdSec) -> Vec<Trial> {
    let used_by = format!("feed {}", config.name);
    let knock = |key| async move { judge(lapi::knock(http, config, &key).await) };
    secrets.try_each(&config.key, &used_by, knock).await
}

fn judge(knocked: Result<(), LapiError>) -> TrialResult {
    match knocked {
        Ok(()) => TrialResult::Taken,
        Err(refused @ (LapiError::Refused(_) | LapiError::KeyText)) => {
            TrialResult::Refused(chain(&refused))
        }
        Err(error) => TrialResult::Unknown(chain(&error)),
    }
}

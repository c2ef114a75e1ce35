//! `check-config`: every fault of a configuration, and what it will lack when it runs here.

use std::path::Path;

use serde_json::json;

use super::CliError;
use super::output::count;
use crate::api::token::AdminToken;
use crate::config::{Config, ConfigError};
use crate::secrets::Secrets;

pub fn run(file: &Path, as_json: bool) -> Result<String, CliError> {
    let config = match Config::read(file) {
        Ok(config) => config,
        Err(error) => {
            if as_json {
                super::output::say(&faults(&error));
            }
            return Err(error.into());
        }
    };
    // AWS is not asked: a check needs no network.
    let mut here = config.secrets.clone();
    here.retain(|_, secret| secret.origin.is_local());
    let secrets = Secrets::new(here);
    if let Err(error) = AdminToken::check(&config, &secrets) {
        if as_json {
            let fault = json!({ "path": "listen.admin_token", "message": error.to_string() });
            super::output::say(&json!({ "good": false, "faults": [fault] }).to_string());
        }
        return Err(error.into());
    }
    // The place where it is checked need not be the place where it runs: no fault, but worth a word.
    let missing = missing(&secrets);
    if as_json {
        return Ok(json!({ "good": true, "warnings": missing }).to_string());
    }
    let (feeds, providers) = (config.feeds.len(), config.providers.len());
    let (feeds, providers) = (count(feeds, "feed"), count(providers, "provider"));
    let mut text = format!("{} is good: {feeds}, {providers}", file.display());
    for warning in missing {
        text.push_str(&format!("\nwarning: {warning}"));
    }
    Ok(text)
}

fn missing(secrets: &Secrets) -> Vec<String> {
    let statuses = secrets.statuses().into_iter();
    statuses.filter_map(|status| status.problem).collect()
}

fn faults(error: &ConfigError) -> String {
    let faults = match error {
        ConfigError::Faulty { faults, .. } => {
            let one = |fault: &crate::config::Fault| {
                json!({
                    "path": fault.path,
                    "place": fault.place.to_string(),
                    "message": fault.message,
                })
            };
            faults.iter().map(one).collect()
        }
        ConfigError::Unreadable { .. } | ConfigError::TooLarge { .. } => {
            vec![json!({ "message": error.to_string() })]
        }
    };
    json!({ "good": false, "faults": faults }).to_string()
}

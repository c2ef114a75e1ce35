//! Tries every key with which a source is asked, on that source.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::setup::Setup;
use super::{crowdsec, feeds};
use crate::http::HttpClient;
use crate::secrets::Trial;

/// All sources at once: each takes as long as its time limit.
pub async fn try_keys(setup: &Setup, http: &HttpClient) -> Vec<Trial> {
    let mut trying = JoinSet::new();
    for gate in setup.gates.iter().map(Arc::clone) {
        trying.spawn(async move { gate.try_secrets().await });
    }
    for slot in setup.feeds.iter().map(Arc::clone) {
        let (http, secrets) = (http.clone(), Arc::clone(&setup.secrets));
        trying.spawn(async move { feeds::try_key(&http, &secrets, &slot.feed).await });
    }
    for api in &setup.crowdsec {
        let (http, secrets) = (http.clone(), Arc::clone(&setup.secrets));
        let api = api.clone();
        trying.spawn(async move { crowdsec::try_key(&http, &secrets, &api).await });
    }
    let mut trials = Vec::new();
    while let Some(tried) = trying.join_next().await {
        // One that panicked has told the log why.
        trials.extend(tried.unwrap_or_default());
    }
    trials
}

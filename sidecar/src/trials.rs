//! `POST /v1/secrets/check`: tries each secret on whomever it opens, by the cheapest question that tells.
//!
//! Who is asked how is known where each is spoken to; here it is gathered, and what nothing uses is named.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::api::token::{SHORTEST, is_short};
use crate::config::{Backend, Config};
use crate::intelligence::Intelligence;
use crate::reload::Watch;
use crate::secrets::{Secrets, Trial, TrialResult, Which};
use crate::store::redis;

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    pub trials: Vec<Trial>,
}

pub struct Trials {
    intelligence: Arc<Intelligence>,
    watch: Arc<Watch>,
    running: Mutex<()>,
}

impl Trials {
    pub fn new(intelligence: Arc<Intelligence>, watch: Arc<Watch>) -> Self {
        Self {
            intelligence,
            watch,
            running: Mutex::new(()),
        }
    }

    /// Tries all of them; `None` while that is done for somebody else, since it costs calls.
    pub async fn run(&self) -> Option<Tried> {
        let _one = self.running.try_lock().ok()?;
        let (config, started) = (self.watch.config(), self.watch.started());
        let secrets = self.intelligence.secrets();
        secrets.look_at_all().await;
        let (mut trials, of_redis) = tokio::join!(
            self.intelligence.try_keys(),
            try_password(&started, &secrets)
        );
        trials.extend(of_redis);
        trials.extend(token(&started, &secrets).await);
        let unused = unused(&config, &trials);
        trials.extend(unused);
        trials.sort_by(|a, b| order(a).cmp(&order(b)));
        Some(Tried { trials })
    }
}

fn order(trial: &Trial) -> impl Ord + '_ {
    (&trial.secret, &trial.used_by, trial.value)
}

async fn try_password(started: &Config, secrets: &Arc<Secrets>) -> Vec<Trial> {
    match &started.store.backend {
        Backend::Redis(config) => redis::try_password(config, secrets).await,
        Backend::Embedded => Vec::new(),
    }
}

/// It is compared here and nowhere else, so whatever is in its place is taken, unless the next start will
/// refuse it.
async fn token(started: &Config, secrets: &Secrets) -> Vec<Trial> {
    let Some(name) = &started.listen.admin_token else {
        return Vec::new();
    };
    let admit = |value| {
        std::future::ready(match is_short(&value) {
            false => TrialResult::Taken,
            true => TrialResult::Refused(format!("it has fewer than {SHORTEST} characters")),
        })
    };
    secrets.try_each(name, "listen.admin_token", admit).await
}

fn unused(config: &Config, trials: &[Trial]) -> Vec<Trial> {
    let names = config.secrets.keys();
    let idle = names.filter(|name| trials.iter().all(|trial| trial.secret != **name));
    let trial = |name: &_| Trial {
        secret: Clone::clone(name),
        used_by: None,
        value: Which::Current,
        result: TrialResult::NotTried("nothing in the configuration refers to it".to_owned()),
        calls: 0,
    };
    idle.map(trial).collect()
}

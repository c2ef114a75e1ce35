//! The task that keeps the way to Redis open: connects, reads what is in force, listens to siblings,
//! looks how Redis is, and begins again when the connection is of no use any more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redis::{PushInfo, PushKind, Value};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::MissedTickBehavior;

use super::concerns::{Examined, SETTINGS, read_info};
use super::connect::Connection;
use super::fault::Fault;
use super::link::Standing;
use super::shared::Shared;
use crate::store::Concern;
use crate::telemetry::chain;

/// The pause after a failed try; it doubles up to the longest. Of each, a random part up to half is
/// left out, so that many sidecars do not come back at once.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// How often Redis is asked whether it is there and whether something changed that was not announced.
const BEAT: Duration = Duration::from_secs(1);
/// Every how many beats its settings are looked at.
const EXAMINE: u32 = 5;

/// Runs for as long as it is polled.
pub async fn keep(shared: Arc<Shared>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let (pushes, heard) = unbounded_channel();
        let opened = shared.endpoint.open(pushes).await;
        let entered = match opened.map(Arc::new) {
            Ok(connection) => match enter(&shared, &connection).await {
                Ok(()) => Ok(connection),
                Err(fault) => Err(fault.to_string()),
            },
            Err(error) => Err(chain(&error)),
        };
        match entered {
            Ok(connection) => {
                pause = FIRST_PAUSE;
                shared.link.open(Arc::clone(&connection));
                shared.tried.send_replace(true);
                shared.changed.notify_one();
                attend(&shared, &connection, heard).await;
            }
            Err(why) => {
                shared.link.close(why);
                shared.tried.send_replace(true);
            }
        }
        tokio::time::sleep(jittered(pause)).await;
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}

/// What comes first on a new connection, before anybody else may use it.
async fn enter(shared: &Arc<Shared>, connection: &Arc<Connection>) -> Result<(), Fault> {
    shared.settle(connection).await?;
    let channel = shared.scripts.keys().channel();
    if let Err(fault) = shared.link.listen(connection, &channel).await {
        // Then siblings' changes are found by the counter, a second later.
        tracing::warn!(
            fault = chain(&fault),
            "siblings' changes are not announced to us"
        );
    }
    shared.note_changes(shared.changes(connection).await?);
    examine(shared, connection).await;
    Ok(())
}

/// Stays until the connection is of no use any more.
async fn attend(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    mut heard: UnboundedReceiver<PushInfo>,
) {
    let mut beats = tokio::time::interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut until_examination = EXAMINE;
    loop {
        tokio::select! {
            () = shared.link.doubted() => {
                if !reassure(shared, connection).await {
                    return;
                }
            }
            push = heard.recv() => match push {
                Some(push) if push.kind == PushKind::Disconnection => {
                    return shared.link.close("its connection broke".to_owned());
                }
                Some(push) => hear(shared, &push),
                None => return shared.link.close("its connection broke".to_owned()),
            },
            _ = beats.tick() => {
                if !beat(shared, connection).await {
                    return;
                }
                until_examination = until_examination.saturating_sub(1);
                if until_examination == 0 {
                    examine(shared, connection).await;
                    until_examination = EXAMINE;
                }
            }
        }
    }
}

/// Whether a connection that was doubted answers after all.
async fn reassure(shared: &Arc<Shared>, connection: &Arc<Connection>) -> bool {
    match shared.link.standing(connection) {
        Standing::Good => return true,
        Standing::Doubtful => {}
        Standing::Lost => return false,
    }
    let answered = shared
        .link
        .ask_on::<Value>(connection, redis::cmd("PING"))
        .await;
    match answered {
        Ok(_) => {
            shared.link.open(Arc::clone(connection));
            true
        }
        Err(fault) => {
            shared.link.close(fault.to_string());
            false
        }
    }
}

async fn beat(shared: &Arc<Shared>, connection: &Arc<Connection>) -> bool {
    let changes = match shared.changes(connection).await {
        // It was emptied under way: what is known here must go back before it is read as "nothing".
        Ok(none) if none.is_empty() && shared.copy.has_words() => {
            let settled = shared.settle(connection).await;
            settled.map(|()| none)
        }
        changes => changes,
    };
    match changes {
        Ok(count) => {
            if shared.note_changes(count) || shared.is_unread() {
                shared.changed.notify_one();
            }
            true
        }
        Err(fault) if fault.ends_connection() => {
            shared.link.close(fault.to_string());
            false
        }
        // Whoever was not answered has raised the doubt, which is looked into next.
        Err(_) => true,
    }
}

fn hear(shared: &Arc<Shared>, push: &PushInfo) {
    let sender = push.data.last();
    let is_mine = matches!(sender, Some(Value::BulkString(name)) if shared.scripts.is_mine(name));
    if push.kind == PushKind::Message && !is_mine {
        shared.changed.notify_one();
    }
}

/// Looks at Redis' settings and state. What cannot be asked is not known.
async fn examine(shared: &Arc<Shared>, connection: &Arc<Connection>) {
    let info: Result<String, _> = shared.link.ask_on(connection, redis::cmd("INFO")).await;
    let mut config = HashMap::new();
    for setting in SETTINGS {
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg(setting);
        let found: Result<HashMap<String, String>, _> =
            shared.link.ask_on(connection, command).await;
        config.extend(found.unwrap_or_default());
    }
    let concerns = match info {
        Ok(info) => Examined {
            info: read_info(&info),
            config,
            peer: connection.peer,
            by_password: connection.by_password,
        }
        .concerns(),
        Err(Fault::Permission { .. }) => vec![Concern::Unexamined],
        Err(_) => return,
    };
    shared.set_concerns(concerns);
}

fn jittered(pause: Duration) -> Duration {
    let share = getrandom::u32().map_or(0.0, |random| f64::from(random) / f64::from(u32::MAX));
    pause.mul_f64(1.0 - share / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_differ_and_are_never_longer_than_meant() {
        let pauses: Vec<_> = (0..50).map(|_| jittered(LONGEST_PAUSE)).collect();
        assert!(
            pauses
                .iter()
                .all(|it| (LONGEST_PAUSE / 2..=LONGEST_PAUSE).contains(it))
        );
        assert!(pauses.windows(2).any(|pair| pair[0] != pair[1]));
    }
}

//! What others may have left under our names: it does no harm, and nothing that was loaded is lost.

use super::server::{Server, until};
use crate::clock::Day;
use crate::store::suite::{CREATED, decision, key, next_version, verdict};
use crate::store::{Booking, Concern, Store};
use crate::telemetry::chain;

const EPOCH: u64 = CREATED.0 as u64;

struct Rig {
    server: Server,
    directory: tempfile::TempDir,
}

async fn rig() -> Rig {
    Rig {
        server: Server::start("").await,
        directory: tempfile::tempdir().unwrap(),
    }
}

impl Rig {
    async fn store(&self) -> super::super::RedisStore {
        self.server.open(self.directory.path()).await
    }

    async fn put(&self, words: &[&str]) {
        self.server.command::<redis::Value>(words).await;
    }
}

#[tokio::test]
async fn an_epoch_that_is_none_is_replaced_by_one_that_supersedes_what_was_published() {
    for bad in [
        &["SET", "pc:epoch", "abc"][..],
        &["SET", "pc:epoch", "-5"],
        &["SET", "pc:epoch", "9999999999"],
        &["SET", "pc:epoch", "99999999999999999999999999"],
        &["DEL", "pc:epoch"],
    ] {
        let rig = rig().await;
        let store = rig.store().await;
        let before = next_version(&store).await;
        rig.put(bad).await;
        let after = next_version(&store).await;
        assert!(
            after > before && after.epoch <= EPOCH + 1,
            "{bad:?}: {after}"
        );
        assert!(next_version(&store).await > after);
    }
    let rig = rig().await;
    rig.put(&["RPUSH", "pc:epoch", "x"]).await;
    rig.put(&["RPUSH", "pc:version", "x"]).await;
    let store = rig.store().await;
    assert_eq!(store.health().await.fault, None);
    assert_eq!(next_version(&store).await.epoch, EPOCH);
}

#[tokio::test]
async fn a_very_wide_decision_counts_only_if_it_is_marked_as_meant() {
    let rig = rig().await;
    let store = rig.store().await;
    let meant = decision(1, "10.0.0.0/8");
    store.put_decision(&meant).await.unwrap();
    let by_hand = decision(2, "0.0.0.0/1");
    let (id, json) = (
        by_hand.id.to_string(),
        serde_json::to_string(&by_hand).unwrap(),
    );
    rig.put(&["HSET", "pc:decisions", &id, &json]).await;
    let other = tempfile::tempdir().unwrap();
    let sibling = rig.server.open(other.path()).await;
    for store in [&store, &sibling] {
        assert_eq!(
            store.decisions().await.unwrap(),
            std::slice::from_ref(&meant)
        );
        let prefixes = "0.0.0.0/1".to_owned();
        let concerns = store.health().await.concerns;
        assert!(
            concerns.contains(&Concern::Unforced { prefixes }),
            "{concerns:?}"
        );
    }
    rig.put(&["HDEL", "pc:decisions", &id]).await;
    assert_eq!(store.decisions().await.unwrap(), [meant]);
    let concerns = store.health().await.concerns;
    assert!(
        !concerns.iter().any(|it| it.name() == "unforced"),
        "{concerns:?}"
    );
}

#[tokio::test]
async fn a_version_that_was_set_back_is_gone_beyond() {
    let rig = rig().await;
    let store = rig.store().await;
    for _ in 0..5 {
        next_version(&store).await;
    }
    for bad in ["0", "-1", "abc", "1e3", "99999999999999999999"] {
        let before = store.latest().await.unwrap();
        rig.put(&["SET", "pc:version", bad]).await;
        assert!(next_version(&store).await > before, "{bad}");
    }
}

#[tokio::test]
async fn a_redis_restored_from_an_old_backup_is_gone_beyond() {
    let rig = rig().await;
    let store = rig.store().await;
    store.raise_epoch(EPOCH + 9).await.unwrap();
    let before = next_version(&store).await;
    rig.put(&["SET", "pc:epoch", &EPOCH.to_string()]).await;
    rig.put(&["SET", "pc:version", "3"]).await;
    assert!(next_version(&store).await > before);
}

#[tokio::test]
async fn decisions_that_are_none_are_left_out_and_known_ones_stay() {
    let rig = rig().await;
    let store = rig.store().await;
    let good = decision(1, "203.0.113.7");
    let spoilt = decision(2, "203.0.113.8");
    store.put_decision(&good).await.unwrap();
    store.put_decision(&spoilt).await.unwrap();
    let huge = "x".repeat(1_000_000);
    for (field, value) in [
        ("rubbish", "{}"),
        ("0000000000000002", "not JSON"),
        ("0000000000000003", "{\"id\":\"0000000000000003\"}"),
        ("0000000000000004", huge.as_str()),
        ("0000000000000005", &serde_json::to_string(&good).unwrap()),
        ("", ""),
    ] {
        rig.put(&["HSET", "pc:decisions", field, value]).await;
    }
    let mut found = store.decisions().await.unwrap();
    found.sort_by_key(|decision| decision.id);
    assert_eq!(found, [good, spoilt]);
    assert_eq!(store.health().await.fault, None);
}

#[tokio::test]
async fn more_decisions_than_can_be_listed_leave_those_in_force_and_are_told_of() {
    let rig = rig().await;
    let store = rig.store().await;
    let ban = decision(1, "203.0.113.7");
    store.put_decision(&ban).await.unwrap();
    let fill = "for id = 0x1000, 0x1000 + 200000 do \
        redis.call('HSET', 'pc:decisions', string.format('%016x', id), '{}') end";
    rig.put(&["EVAL", fill, "0"]).await;
    assert_eq!(store.decisions().await.unwrap(), std::slice::from_ref(&ban));
    let fault = store.health().await.fault.unwrap();
    assert!(fault.contains("more than 200000 decisions"), "{fault}");
    let more = decision(2, "203.0.113.8");
    store.put_decision(&more).await.unwrap();
    assert_eq!(store.decisions().await.unwrap(), [ban, more]);
}

#[tokio::test]
async fn decisions_of_another_type_leave_those_in_force_and_are_named_until_they_are_gone() {
    let rig = rig().await;
    let store = rig.store().await;
    let ban = decision(1, "203.0.113.7");
    store.put_decision(&ban).await.unwrap();
    rig.put(&["DEL", "pc:decisions"]).await;
    rig.put(&["RPUSH", "pc:decisions", "x"]).await;
    assert_eq!(store.decisions().await.unwrap(), std::slice::from_ref(&ban));
    let fault = store.health().await.fault.unwrap();
    assert!(fault.contains("pc:decisions is not what"), "{fault}");
    let refused = store.put_decision(&decision(2, "203.0.113.8")).await;
    let refused = chain(&refused.unwrap_err());
    assert!(
        refused.contains("delete it, or choose another"),
        "{refused}"
    );

    rig.put(&["DEL", "pc:decisions"]).await;
    assert_eq!(store.decisions().await.unwrap(), [ban]);
    assert_eq!(store.health().await.fault, None);
    let given_back: u32 = rig.server.command(&["HLEN", "pc:decisions"]).await;
    assert_eq!(given_back, 1);
}

#[tokio::test]
async fn what_was_taken_back_while_it_could_not_be_read_does_not_rise_again() {
    let delete: &[&str] = &["HDEL", "pc:decisions", "0000000000000001"];
    let counted: &[&str] = &["INCR", "pc:changes"];
    for (spoil, mend) in [
        // The user lost a right, and nothing stood in the decisions' place.
        (
            vec![&["ACL", "SETUSER", "default", "-eval"][..]],
            vec![delete, counted, &["ACL", "SETUSER", "default", "+eval"]],
        ),
        // Something did, and a sibling took the ban back when it was cleared away.
        (
            vec![delete, &["RPUSH", "pc:decisions", "x"]],
            vec![&["DEL", "pc:decisions"][..], counted],
        ),
    ] {
        let rig = rig().await;
        let store = rig.store().await;
        let ban = decision(1, "203.0.113.7");
        store.put_decision(&ban).await.unwrap();
        for words in spoil {
            rig.put(words).await;
        }
        assert_eq!(store.decisions().await.unwrap(), [ban], "the copy serves");
        for words in &mend {
            rig.put(words).await;
        }
        assert_eq!(store.decisions().await.unwrap(), [], "{mend:?}");
        let left: u32 = rig.server.command(&["HLEN", "pc:decisions"]).await;
        assert_eq!(left, 0, "{mend:?}");
    }
}

#[tokio::test]
async fn modes_that_are_none_leave_those_in_force() {
    let rig = rig().await;
    let store = rig.store().await;
    let mode = reputation::mode::ModeOverride {
        mode: reputation::mode::Mode::Monitor,
        route: None,
        until: None,
    };
    store.put_modes(std::slice::from_ref(&mode)).await.unwrap();
    for bad in [
        "{}",
        "[{\"mode\":\"loud\"}]",
        "\u{0}",
        &"[".repeat(1_000_000),
    ] {
        rig.put(&["SET", "pc:modes", bad]).await;
        assert_eq!(store.modes().await.unwrap(), std::slice::from_ref(&mode));
        assert!(store.health().await.fault.is_some());
    }
    store.put_modes(&[]).await.unwrap();
    assert!(store.modes().await.unwrap().is_empty());
    assert_eq!(store.health().await.fault, None);
}

#[tokio::test]
async fn a_count_that_is_none_permits_no_call() {
    let rig = rig().await;
    let store = rig.store().await;
    for bad in ["-1000", "abc", "", "1e3", "1111111111111111111111111"] {
        rig.put(&["HSET", "pc:quota:p", "5", bad]).await;
        let fault = chain(&store.book_call("p", Day(5), u32::MAX).await.unwrap_err());
        assert!(fault.contains("the count of day 5"), "{bad}: {fault}");
        store.quota("p", Day(5)).await.unwrap_err();
    }
    rig.put(&["HSET", "pc:quota:p", "5", "4294967296"]).await;
    assert_eq!(
        store.book_call("p", Day(5), u32::MAX).await.unwrap(),
        Booking::Full(u32::MAX)
    );
    rig.put(&["SET", "pc:quota:q", "5"]).await;
    store.book_call("q", Day(5), u32::MAX).await.unwrap_err();
    assert_eq!(
        store.book_call("p", Day(6), u32::MAX).await.unwrap(),
        Booking::Made(1)
    );
}

#[tokio::test]
async fn a_verdict_that_is_none_is_a_miss_whatever_its_type_and_length() {
    let rig = rig().await;
    let store = rig.store().await;
    let keys: Vec<_> = (1..=6)
        .map(|at| key("other", &format!("203.0.113.{at}")))
        .collect();
    let names: Vec<_> = keys
        .iter()
        .map(|key| super::Keys::new("pc").verdict(key))
        .collect();
    let mut client = rig.server.client().await.unwrap();
    for (command, name, value) in [
        ("SET", &names[0], &b"rubbish"[..]),
        ("RPUSH", &names[1], b"x"),
        ("SET", &names[2], &[0xff; 12]),
        ("SET", &names[3], b""),
        ("SETRANGE", &names[4], b"5"),
    ] {
        let mut put = redis::cmd(command);
        put.arg(name);
        if command == "SETRANGE" {
            put.arg(100_000_000);
        }
        let _put: redis::Value = put.arg(value).query_async(&mut client).await.unwrap();
    }
    store
        .put_verdict(keys[5].clone(), verdict(7, 100))
        .await
        .unwrap();
    let found = store.verdicts(&keys).await.unwrap();
    assert_eq!(found[..5], [const { None }; 5]);
    assert_eq!(found[5], Some(verdict(7, 100)));
    assert_eq!(store.health().await.fault, None);
}

#[tokio::test]
async fn a_hundred_megabytes_under_one_of_our_names_are_never_read() {
    let rig = rig().await;
    let store = rig.store().await;
    let ban = decision(1, "203.0.113.7");
    store.put_decision(&ban).await.unwrap();
    for name in ["epoch", "version", "modes", "changes"] {
        let name = format!("pc:{name}");
        rig.put(&["SETRANGE", &name, "100000000", "x"]).await;
    }
    let script = "local all = redis.call('GET', KEYS[1]) \
        redis.call('HSET', KEYS[2], '0000000000000002', all) \
        redis.call('HSET', KEYS[2], all, 'x') \
        return redis.call('HSET', KEYS[3], '5', all)";
    let names = ["pc:epoch", "pc:decisions", "pc:quota:p"];
    rig.put(&[&["EVAL", script, "3"][..], &names].concat())
        .await;
    // The test itself kept Redis busy.
    until("it answers", async || store.health().await.fault.is_none()).await;
    assert_eq!(store.decisions().await.unwrap(), [ban]);
    store.modes().await.unwrap();
    store.book_call("p", Day(5), u32::MAX).await.unwrap_err();
    next_version(&store).await;
    let ours = [key("abuseipdb", "203.0.113.7")];
    until("look-ups go on", async || {
        store.verdicts(&ours).await.is_ok()
    })
    .await;
    let fault = store.health().await.fault.unwrap();
    assert!(fault.contains("pc:modes is not"), "{fault}");
    let sent: String = rig.server.command(&["INFO", "stats"]).await;
    let sent = sent
        .lines()
        .find_map(|line| line.strip_prefix("total_net_output_bytes:"));
    let sent: u64 = sent.unwrap().trim().parse().unwrap();
    assert!(sent < 3_000_000, "{sent} octets were sent");
}

#[tokio::test]
async fn a_user_that_may_not_write_is_told_what_it_lacks_and_what_it_needs() {
    let rig = rig().await;
    let rules = ["ACL", "SETUSER", "default", "-@write"];
    rig.put(&rules).await;
    let store = rig.store().await;
    let fault = store.health().await.fault.unwrap();
    assert!(fault.contains("user default may not"), "{fault}");
    assert!(fault.contains("~pc:* &pc:*"), "{fault}");
}

#[tokio::test]
async fn the_rules_of_the_document_are_enough() {
    let rig = rig().await;
    let document = include_str!("../../../../../docs/redis.md");
    let rules = document
        .lines()
        .find_map(|line| line.strip_prefix("ACL SETUSER portcullis "));
    let rules = rules.unwrap().replace("on >PASSWORD ", "");
    let reset = [
        "ACL",
        "SETUSER",
        "default",
        "resetkeys",
        "resetchannels",
        "-@all",
    ];
    let rules: Vec<_> = rules.split(' ').collect();
    let kit = ["+acl", "+hgetall"];
    rig.put(&[&reset[..], &rules, &kit].concat()).await;
    let store = rig.store().await;
    assert_eq!(store.health().await.fault, None);
    assert_eq!(store.health().await.concerns, [Concern::NoPersistence]);
    store
        .put_decision(&decision(1, "203.0.113.7"))
        .await
        .unwrap();
    assert_eq!(store.decisions().await.unwrap().len(), 1);
    store.put_modes(&[]).await.unwrap();
    store.modes().await.unwrap();
    store.book_call("p", Day(5), u32::MAX).await.unwrap();
    store.raise_epoch(EPOCH + 5).await.unwrap();
    next_version(&store).await;
    let ours = key("abuseipdb", "203.0.113.7");
    store
        .put_verdict(ours.clone(), verdict(7, 100))
        .await
        .unwrap();
    assert!(store.verdicts(&[ours]).await.unwrap()[0].is_some());
    let directory = tempfile::tempdir().unwrap();
    let sibling = rig.server.open(directory.path()).await;
    sibling.changed().await;
    store
        .put_decision(&decision(2, "203.0.113.8"))
        .await
        .unwrap();
    let heard = tokio::time::timeout(std::time::Duration::from_millis(400), sibling.changed());
    heard.await.expect("the channel is permitted");
}

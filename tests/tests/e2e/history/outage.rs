//! PostgreSQL killed, stopped and back: nobody's request fails or waits for it, decisions work, what is lost
//! is counted, and everything is written again.

use kit::child::Signal;
use kit::{Postgres, Request, eventually_async};
use serde_json::{Value, json};

use super::{BANNED, LISTED, events, sidecar_on, until_history, until_logged, until_up};
use crate::common::{Edge, LIMIT, cli, until_status};
use crate::strangers::{self, Load};

const OTHER: &str = "203.0.113.6";

#[tokio::test]
async fn postgres_killed_or_stopped_under_load_fails_and_delays_nobody_and_is_written_to_when_back()
{
    let mut postgres = Postgres::start().await.unwrap();
    let hold = strangers::held();
    let sidecar = sidecar_on(&postgres);
    let edge = Edge::start_with(sidecar, |envoy| envoy.plugin(hold).unwrap()).await;
    assert!(
        until_up(&edge.sidecar, true).await,
        "{}",
        edge.sidecar.log()
    );
    let load = Load::on(edge.envoy.edge());
    postgres.kill();
    assert!(until_up(&edge.sidecar, false).await);
    edge.cli(&["ban", BANNED]).await;
    assert!(until_status(&edge.envoy, BANNED, 403).await);
    for _ in 0..5 {
        assert_eq!(edge.envoy.status_for(LISTED).await, 403);
    }
    let ready = Request::get("/readyz").send(edge.sidecar.metrics()).await;
    assert_eq!(ready.unwrap().status, 200);
    let output = edge.sidecar.cli(&["history", BANNED]).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("does not answer") && !said.contains("127.0.0.1"),
        "{said}"
    );

    postgres.restart().await.unwrap();
    assert!(
        until_up(&edge.sidecar, true).await,
        "{}",
        edge.sidecar.log()
    );
    until_history(&edge.sidecar, BANNED, |it| {
        events(it, "decision").len() == 1
    })
    .await;
    until_history(&edge.sidecar, LISTED, |it| it["totals"]["refused"] == 5).await;

    // It takes connections, and says nothing.
    postgres.signal(Signal::Stop);
    edge.cli(&["unban", BANNED]).await;
    assert!(until_status(&edge.envoy, BANNED, 200).await);
    postgres.signal(Signal::Continue);
    let written = until_history(&edge.sidecar, BANNED, |it| {
        events(it, "decision").len() == 2
    });
    assert_eq!(events(&written.await, "decision")[0]["event"], "took_back");
    assert_eq!(dropped(&edge, "").await, 0.0);
    load.was_served().await;
}

async fn dropped(edge: &Edge, cause: &str) -> f64 {
    let cause = format!("cause=\"{cause}");
    let dropped = "portcullis_history_dropped_total";
    edge.sidecar.metric(dropped, &[&cause]).await
}

/// A report as a proxy sends it, of as many clients as one may name.
fn report(number: u32) -> Value {
    let client = |host: u32| {
        let bits = 0x0b00_0000 + number * 64 + host;
        json!({
            "client": std::net::Ipv4Addr::from(bits), "action": "deny", "mode": "enforce", "reason": "flood",
            "decision": "0d8a70cfa95060ac", "count": 1, "first_s": 0, "last_s": 0,
        })
    };
    json!({"left_out": 0, "clients": (0..64).map(client).collect::<Vec<_>>()})
}

#[tokio::test]
async fn a_flood_without_a_database_is_bounded_and_what_is_lost_is_counted() {
    let mut postgres = Postgres::start().await.unwrap();
    let sidecar = sidecar_on(&postgres);
    let edge = Edge::start(sidecar).await;
    assert!(
        until_up(&edge.sidecar, true).await,
        "{}",
        edge.sidecar.log()
    );
    postgres.kill();
    assert!(until_up(&edge.sidecar, false).await);
    let (reports, before) = (400_u32, edge.sidecar.memory());
    for number in 0..reports {
        let body = report(number).to_string().into_bytes();
        let told = Request::post("/v1/refusals", body)
            .send(edge.sidecar.edge())
            .await;
        assert_eq!(told.unwrap().status, 204);
    }
    let told = f64::from(reports * 64);
    let full = dropped(&edge, "full").await;
    assert!(full > 0.0 && full < told, "{full}");
    // With what the hour's list of the blocked takes of the same reports.
    let grown = edge.sidecar.memory().saturating_sub(before);
    assert!(grown < 32 * 1024 * 1024, "{grown}");
    assert!(until_logged(&edge.sidecar, "history is lost").await);
    // What was not lost is there when the database is, and so is what comes then.
    postgres.restart().await.unwrap();
    assert!(
        until_up(&edge.sidecar, true).await,
        "{}",
        edge.sidecar.log()
    );
    let rows = "SELECT count(*) FROM portcullis.refusal WHERE reason = 'flood'";
    let all = eventually_async(LIMIT, || async {
        let rows = f64::from(i32::try_from(postgres.number(rows).await).unwrap());
        rows.total_cmp(&(told - full)).is_eq()
    });
    assert!(
        all.await,
        "{} of {told} - {full}",
        postgres.number(rows).await
    );
    cli(&edge.sidecar, &["ban", OTHER]).await;
    until_history(&edge.sidecar, OTHER, |it| events(it, "decision").len() == 1).await;
}

#[tokio::test]
async fn what_waits_is_written_before_the_sidecar_ends_and_its_end_does_not_wait_for_a_dead_database()
 {
    let mut postgres = Postgres::start().await.unwrap();
    let mut sidecar = sidecar_on(&postgres).start().await.unwrap();
    assert!(until_up(&sidecar, true).await, "{}", sidecar.log());
    cli(&sidecar, &["ban", BANNED]).await;
    assert!(sidecar.terminate());
    let rows = "SELECT count(*) FROM portcullis.decision";
    assert_eq!(postgres.number(rows).await, 1);

    sidecar.restart().await.unwrap();
    assert!(until_up(&sidecar, true).await, "{}", sidecar.log());
    postgres.kill();
    cli(&sidecar, &["unban", BANNED]).await;
    let begun = std::time::Instant::now();
    assert!(sidecar.terminate());
    assert!(begun.elapsed() < LIMIT / 2, "{:?}", begun.elapsed());
    let log = sidecar.log();
    assert!(
        log.contains("history is lost") && log.contains("stopped"),
        "{log}"
    );
}

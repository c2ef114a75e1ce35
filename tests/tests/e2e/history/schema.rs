//! The tables: made once however many start together, dropped by the day, shared with neighbouring versions.

use kit::{Postgres, eventually_async};

use super::{BANNED, events, sidecar_on, until_history, until_logged, until_up};
use crate::common::{LIMIT, cli};

#[tokio::test]
async fn sidecars_that_start_at_once_on_an_empty_database_share_it() {
    let postgres = Postgres::start().await.unwrap();
    let sidecar = || sidecar_on(&postgres).start();
    let (one, two, three) = tokio::join!(sidecar(), sidecar(), sidecar());
    let fleet = [one.unwrap(), two.unwrap(), three.unwrap()];
    for sidecar in &fleet {
        assert!(until_up(sidecar, true).await, "{}", sidecar.log());
        assert!(!sidecar.log().contains("not written"), "{}", sidecar.log());
    }
    assert_eq!(
        postgres
            .number("SELECT count(*) FROM portcullis.migration")
            .await,
        1
    );
    cli(&fleet[0], &["ban", BANNED]).await;
    for sidecar in &fleet {
        until_history(sidecar, BANNED, |it| events(it, "decision").len() == 1).await;
    }
}

#[tokio::test]
async fn what_is_older_than_the_retention_is_dropped_by_the_day_and_the_rest_stays() {
    let postgres = Postgres::start().await.unwrap();
    let retention = "retention = \"10d\"";
    let sidecar = sidecar_on(&postgres).toml(retention).start().await.unwrap();
    cli(&sidecar, &["ban", BANNED]).await;
    until_history(&sidecar, BANNED, |it| events(it, "decision").len() == 1).await;
    drop(sidecar);
    // As if it had run for three weeks.
    postgres
        .run(
            "DO $$ BEGIN FOR ago IN 1..20 LOOP EXECUTE format(
                'CREATE TABLE portcullis.decision_%s PARTITION OF portcullis.decision
                 FOR VALUES FROM (%L) TO (%L)',
                to_char(now() AT TIME ZONE 'UTC' - ago * interval '1 day', 'YYYYMMDD'),
                date_trunc('day', now() AT TIME ZONE 'UTC') - ago * interval '1 day',
                date_trunc('day', now() AT TIME ZONE 'UTC') - (ago - 1) * interval '1 day');
            END LOOP; END $$;
            INSERT INTO portcullis.decision (at, event, decision, prefix, type, origin, reason, author, operator, way)
            SELECT now() - ago * interval '1 day', event, decision, prefix, type, origin, reason, author, operator, way
            FROM portcullis.decision, generate_series(1, 19) ago",
        )
        .await
        .unwrap();
    let rows = "SELECT count(*) FROM portcullis.decision";
    assert_eq!(postgres.number(rows).await, 20);
    let sidecar = sidecar_on(&postgres).toml(retention).start().await.unwrap();
    let dropped = eventually_async(LIMIT, || async { postgres.number(rows).await == 11 });
    assert!(
        dropped.await,
        "{}: {}",
        postgres.number(rows).await,
        sidecar.log()
    );
    // The days to come have their partitions.
    let ahead = "SELECT count(*) FROM pg_class WHERE relname = 'verdict_' || \
                 to_char(now() AT TIME ZONE 'UTC' + interval '3 days', 'YYYYMMDD')";
    assert_eq!(postgres.number(ahead).await, 1);
    let month = cli(&sidecar, &["history", BANNED, "--since", "30d", "--json"]).await;
    assert_eq!(
        events(&serde_json::from_str(&month).unwrap(), "decision").len(),
        11
    );
}

#[tokio::test]
async fn tables_of_the_next_version_are_written_to_if_it_permits_and_left_alone_if_not() {
    let postgres = Postgres::start().await.unwrap();
    let sidecar = sidecar_on(&postgres).start().await.unwrap();
    assert!(until_up(&sidecar, true).await, "{}", sidecar.log());
    // The next version adds a column, and this one may write beside it.
    let note = |number: i32, least: i32| {
        format!(
            "INSERT INTO portcullis.migration (number, name, least, version) \
             VALUES ({number}, 'next', {least}, '9.9.9')"
        )
    };
    let added = "ALTER TABLE portcullis.decision ADD COLUMN ticket text";
    postgres
        .run(&format!("{added}; {}", note(2, 1)))
        .await
        .unwrap();
    cli(&sidecar, &["ban", BANNED]).await;
    until_history(&sidecar, BANNED, |it| events(it, "decision").len() == 1).await;
    drop(sidecar);
    let sidecar = sidecar_on(&postgres).start().await.unwrap();
    assert!(
        until_logged(
            &sidecar,
            "of a newer version, beside which this one may write"
        )
        .await
    );
    cli(&sidecar, &["ban", BANNED]).await;
    until_history(&sidecar, BANNED, |it| events(it, "decision").len() == 2).await;
    drop(sidecar);

    postgres.run(&note(3, 3)).await.unwrap();
    let sidecar = sidecar_on(&postgres).start().await.unwrap();
    assert!(
        until_logged(&sidecar, "upgrade this sidecar").await,
        "{}",
        sidecar.log()
    );
    assert!(until_up(&sidecar, false).await);
    cli(&sidecar, &["ban", BANNED]).await;
    assert_eq!(
        postgres
            .number("SELECT count(*) FROM portcullis.decision")
            .await,
        2
    );
}

#[tokio::test]
async fn a_role_that_may_only_use_its_own_schema_is_enough() {
    let postgres = Postgres::start().await.unwrap();
    let rights = "ALTER DATABASE history OWNER TO kit; REVOKE ALL ON DATABASE history FROM PUBLIC;
        GRANT CONNECT ON DATABASE history TO portcullis; CREATE SCHEMA portcullis AUTHORIZATION portcullis";
    postgres.run(rights).await.unwrap();
    let sidecar = sidecar_on(&postgres).start().await.unwrap();
    assert!(until_up(&sidecar, true).await, "{}", sidecar.log());
    cli(&sidecar, &["ban", BANNED]).await;
    until_history(&sidecar, BANNED, |it| events(it, "decision").len() == 1).await;
}

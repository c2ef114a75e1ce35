//! The questions of docs/history.md are asked as they stand there.

use kit::Postgres;
use kit::pages::Page;

use super::{BANNED, events, sidecar_on, until_history, until_up};
use crate::common::cli;

#[tokio::test]
async fn every_statement_of_the_page_is_understood_by_the_database() {
    let postgres = Postgres::start().await.unwrap();
    let sidecar = sidecar_on(&postgres).start().await.unwrap();
    assert!(until_up(&sidecar, true).await, "{}", sidecar.log());
    cli(&sidecar, &["ban", BANNED]).await;
    until_history(&sidecar, BANNED, |it| events(it, "decision").len() == 1).await;
    let blocks = Page::read("docs/history.md").unwrap().blocks().unwrap();
    let asked = blocks.iter().filter(|block| block.language == "sql");
    let (set_up, asked): (Vec<_>, Vec<_>) = asked.partition(|block| block.text.contains("CREATE"));
    assert_eq!((set_up.len(), asked.len() > 5), (1, true));
    for block in asked {
        postgres.run(&block.text).await.unwrap();
    }
    // The kit has made both already, by the same names.
    let again = postgres.run(&set_up[0].text).await.unwrap_err();
    assert!(format!("{again:?}").contains("already exists"), "{again:?}");
}

//! Orders are noted and undone, by a real intelligence.

use reputation::{Cidr, DecisionKind};

use super::*;
use crate::clock::Clock;
use crate::intelligence::testing::Harness;

struct Desk {
    harness: Harness,
    orders: Orders,
    operator: Operator,
}

impl Desk {
    async fn open() -> Self {
        let harness = Harness::start("").await;
        let clock = Arc::clone(&harness.clock) as Arc<dyn Clock>;
        Self {
            orders: Orders::new(
                Arc::clone(&harness.intelligence),
                Trail::open(harness.directory.path(), clock),
            ),
            operator: Operator {
                name: "ada".to_owned(),
                by: Way::Console,
                from: Peer::Socket,
                request_id: "id-7".to_owned(),
            },
            harness,
        }
    }

    async fn ban(&self, cidr: &str, reason: &str) -> Decision {
        let given = self.orders.give(&self.operator, word(cidr, reason)).await;
        given.unwrap().unwrap()
    }

    /// As after a restart of the process.
    fn reopen(&mut self) {
        let clock = Arc::clone(&self.harness.clock) as Arc<dyn Clock>;
        let trail = Trail::open(self.harness.directory.path(), clock);
        self.orders = Orders::new(Arc::clone(&self.harness.intelligence), trail);
    }

    fn file(&self) -> std::path::PathBuf {
        self.harness.directory.path().join("trail.jsonl")
    }

    async fn undo_last(&self) -> Result<crate::intelligence::Restored, UndoError> {
        let number = self.orders.trail().first().unwrap().number;
        self.orders.undo(&self.operator, number).await
    }

    fn reasons(&self) -> Vec<String> {
        let decisions = self.harness.intelligence.decisions().into_iter();
        decisions.map(|decision| decision.reason).collect()
    }
}

fn word(cidr: &str, reason: &str) -> NewDecision {
    NewDecision {
        cidr: cidr.parse::<Cidr>().unwrap(),
        kind: DecisionKind::Ban,
        reason: reason.to_owned(),
        author: "ada".to_owned(),
        ttl: Some(Duration::from_secs(60)),
        force: false,
    }
}

#[tokio::test]
async fn a_ban_that_replaced_another_is_undone_to_that_other() {
    let desk = Desk::open().await;
    let first = desk.ban("198.51.101.7", "first").await;
    desk.ban("198.51.101.7", "second").await;
    assert_eq!(desk.reasons(), ["second"]);
    desk.undo_last().await.unwrap();
    assert_eq!(desk.harness.intelligence.decisions(), [first]);
    let again = desk.orders.undo(&desk.operator, 2).await;
    assert!(matches!(again, Err(UndoError::Settled(2))), "{again:?}");
}

#[tokio::test]
async fn what_was_taken_back_is_given_again_unless_somebody_decided_since_or_it_lapsed() {
    let desk = Desk::open().await;
    for at in 1..=3 {
        desk.ban(&format!("198.51.101.{at}"), "old").await;
    }
    let all = Removal::Bans("198.51.101.0/24".parse().unwrap());
    desk.orders.take_back(&desk.operator, all).await.unwrap();
    assert!(desk.reasons().is_empty());
    let taken = desk.orders.trail().first().unwrap().number;
    desk.ban("198.51.101.2", "new").await;
    let restored = desk.orders.undo(&desk.operator, taken).await.unwrap();
    assert_eq!((restored.restored.len(), restored.left), (2, 1));
    let mut reasons = desk.reasons();
    reasons.sort();
    assert_eq!(reasons, ["new", "old", "old"]);

    desk.orders.take_back(&desk.operator, all).await.unwrap();
    desk.harness.clock.advance(61);
    let restored = desk.undo_last().await.unwrap();
    assert_eq!((restored.restored.len(), restored.left), (0, 3));
}

#[tokio::test]
async fn an_import_is_one_order_and_undone_as_one() {
    let desk = Desk::open().await;
    desk.ban("198.51.101.1", "before").await;
    let lines = (0..100).map(|at| word(&format!("198.51.101.{at}"), "import"));
    let twice = word("198.51.101.99", "the last counts");
    let lines = lines.chain([twice]).collect();
    let imported = desk.orders.import(&desk.operator, lines).await;
    assert!(imported.fault.is_none());
    assert_eq!(imported.count, 100);
    let reasons = desk.reasons();
    assert!(reasons.contains(&"the last counts".to_owned()));
    assert!(!reasons.contains(&"before".to_owned()));
    let undone = desk.undo_last().await.unwrap();
    assert_eq!((undone.taken_back.len(), undone.restored.len()), (100, 1));
    assert_eq!(desk.reasons(), ["before"]);
}

#[tokio::test]
async fn the_trail_keeps_the_newest_and_lets_go_of_what_can_be_undone_no_more() {
    let desk = Desk::open().await;
    for _ in 0..600 {
        desk.orders.note(&desk.operator, Act::SignedIn);
    }
    for at in 0..30 {
        desk.ban(&format!("198.51.101.{at}"), "x").await;
    }
    let trail = desk.orders.trail();
    assert_eq!(trail.len(), 500);
    assert_eq!(
        trail.first().unwrap().act.sentence(),
        "banned 198.51.101.29"
    );
    let open = trail.iter().filter(|entry| !entry.settled).count();
    assert_eq!(open, 20);
    let past = trail.get(25).unwrap();
    assert_eq!(past.act.sentence(), "banned 198.51.101.4");
    assert!(matches!(past.act, Act::Past(_)));
}

#[tokio::test]
async fn a_restart_forgets_neither_who_ordered_what_nor_how_to_undo_it() {
    let mut desk = Desk::open().await;
    let first = desk.ban("198.51.101.7", "first").await;
    desk.ban("198.51.101.7", "second").await;
    desk.ban("198.51.101.8", "other").await;
    desk.undo_last().await.unwrap();
    let seen = |desk: &Desk| -> Vec<_> {
        let entries = desk.orders.trail().into_iter();
        entries
            .map(|it| {
                (
                    it.number,
                    it.at,
                    it.operator.name.clone(),
                    it.act.sentence(),
                    it.settled,
                )
            })
            .collect()
    };
    let before = seen(&desk);
    desk.reopen();
    assert_eq!(seen(&desk), before);
    assert!(
        desk.orders.undo(&desk.operator, 3).await.is_err(),
        "undone already"
    );
    desk.orders.undo(&desk.operator, 2).await.unwrap();
    assert_eq!(desk.harness.intelligence.decisions(), [first]);
    desk.reopen();
    assert!(desk.orders.undo(&desk.operator, 2).await.is_err(), "once");
    assert_eq!(desk.orders.trail().first().unwrap().number, 5);
}

#[tokio::test]
async fn a_trail_that_broke_off_or_is_nonsense_loses_its_faulty_lines_alone() {
    let mut desk = Desk::open().await;
    desk.ban("198.51.101.7", "first").await;
    let good = std::fs::read(desk.file()).unwrap();
    let broken = [b"\xff{]\n\n".as_slice(), &good, b"{\"order\":{\"number\":2"].concat();
    std::fs::write(desk.file(), broken).unwrap();
    desk.reopen();
    assert_eq!(desk.orders.trail().len(), 1);
    desk.undo_last().await.unwrap();
    desk.reopen();
    let said: Vec<_> = desk
        .orders
        .trail()
        .iter()
        .map(|it| it.act.sentence())
        .collect();
    assert_eq!(said, ["undid order 1", "banned 198.51.101.7"]);
}

#[tokio::test]
async fn the_file_of_the_trail_does_not_grow_for_ever_and_is_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;

    let mut desk = Desk::open().await;
    for _ in 0..5000 {
        desk.orders.note(&desk.operator, Act::SignedIn);
    }
    let lines = std::fs::read_to_string(desk.file())
        .unwrap()
        .lines()
        .count();
    assert!(lines <= 2001, "{lines}");
    let mode = std::fs::metadata(desk.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    desk.reopen();
    assert_eq!(desk.orders.trail().len(), 500);
    assert_eq!(desk.orders.trail().first().unwrap().number, 5000);
}

#[tokio::test]
async fn without_a_place_on_the_disk_orders_are_possible_all_the_same() {
    let mut desk = Desk::open().await;
    std::fs::remove_file(desk.file()).unwrap();
    std::fs::create_dir(desk.file()).unwrap();
    desk.reopen();
    desk.ban("198.51.101.7", "first").await;
    desk.undo_last().await.unwrap();
    assert!(desk.reasons().is_empty());
}

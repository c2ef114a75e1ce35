use std::os::unix::fs::PermissionsExt;

use reputation::score::Stance;

use super::*;
use crate::store::suite::{self, CREATED, Factory, decision, key, next_version, verdict};

struct InDirectory(tempfile::TempDir);

#[async_trait]
impl Factory for InDirectory {
    async fn open(&self) -> Arc<dyn Store> {
        // The one before may still be finishing its last write in the background.
        for _ in 0..200 {
            match EmbeddedStore::open(&self.0.path().join("store"), CREATED).await {
                Ok(store) => return Arc::new(store),
                Err(StoreError::Locked { .. }) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        panic!("the store stayed locked")
    }
}

#[tokio::test]
async fn the_embedded_store_does_what_every_store_must() {
    suite::run(|| InDirectory(tempfile::tempdir().unwrap())).await;
}

#[tokio::test]
async fn verdicts_reach_the_file_within_seconds_without_being_asked() {
    let factory = InDirectory(tempfile::tempdir().unwrap());
    let store = EmbeddedStore::open(factory.0.path(), CREATED)
        .await
        .unwrap();
    let key = VerdictKey {
        provider: "one".into(),
        address: "203.0.113.7".parse().unwrap(),
    };
    let verdict = StoredVerdict {
        score: 1,
        stance: Stance::Rated,
        categories: Vec::new(),
        observed: None,
        fetched: CREATED,
        expires: CREATED,
    };
    store.put_verdict(key.clone(), verdict).await.unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let on_disk = || {
        let file = &store.shared.file;
        file.with(|database| tables::verdicts(database, std::slice::from_ref(&key)))
    };
    while on_disk().unwrap() == [None] {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(store.shared.pending().is_empty());
}

#[tokio::test]
async fn what_expired_before_the_given_time_is_pruned() {
    let factory = InDirectory(tempfile::tempdir().unwrap());
    let store = factory.open().await;
    let keys = [key("one", "203.0.113.7"), key("one", "2001:db8::7")];
    for (key, expires) in keys.iter().zip([100, 200]) {
        let put = store.put_verdict(key.clone(), verdict(10, expires));
        put.await.unwrap();
    }
    store.flush().await.unwrap();
    assert_eq!(store.prune_verdicts(CREATED.plus(150)).await.unwrap(), 1);
    let left = store.verdicts(&keys).await.unwrap();
    assert_eq!(left, [None, Some(verdict(10, 200))]);
}

#[tokio::test]
async fn the_directory_is_the_owners_alone() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("a/b");
    let _store = EmbeddedStore::open(&directory, CREATED).await.unwrap();
    let mode = std::fs::metadata(&directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, OWNER_ONLY);
}

#[tokio::test]
async fn a_clock_that_was_years_ahead_does_not_use_up_the_days_after() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path(), CREATED)
        .await
        .unwrap();
    let (today, wrong) = (Day(20_000), Day(24_000));
    store.raise_quota("p", wrong, 900).await.unwrap();
    assert_eq!(store.quota("p", today).await.unwrap(), 0);
    assert_eq!(
        store.book_call("p", today, u32::MAX).await.unwrap(),
        Booking::Made(1)
    );
    assert_eq!(store.quota("p", Day(today.0 + 1)).await.unwrap(), 0);
    let yesterday = Day(today.0 - 1);
    assert_eq!(store.quota("p", yesterday).await.unwrap(), 1);
}

#[tokio::test]
async fn a_store_in_use_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let _first = EmbeddedStore::open(directory.path(), CREATED)
        .await
        .unwrap();
    let second = EmbeddedStore::open(directory.path(), CREATED)
        .await
        .err()
        .unwrap();
    assert!(
        second.to_string().contains("in use by another process"),
        "{second}"
    );
}

#[tokio::test]
async fn a_damaged_store_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(FILE_NAME), vec![b'x'; 8192]).unwrap();
    let error = EmbeddedStore::open(directory.path(), CREATED)
        .await
        .err()
        .unwrap();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("move it away"), "{error}");
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), b"").unwrap();
    let error = EmbeddedStore::open(&directory.path().join("file/store"), CREATED).await;
    let message = error.err().unwrap().to_string();
    assert!(message.contains("set store.path"), "{message}");
}

#[tokio::test]
async fn a_file_that_refuses_is_counted_on_without_and_gets_the_number_when_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE_NAME);
    let store = EmbeddedStore::open(directory.path(), CREATED)
        .await
        .unwrap();
    let before = next_version(&store).await;
    let number = store.next_number(Step::TakesBack).await.unwrap();
    assert_eq!(store.health().await.fault, None);

    // It has to be opened again and cannot be: nothing is read or written.
    let aside = directory.path().join("aside");
    std::fs::rename(&path, &aside).unwrap();
    store.shared.file.break_now();
    let ban = decision(1, "203.0.113.7");
    store.put_decision(&ban).await.unwrap_err();
    let added = store.next_number(Step::Adds).await.unwrap();
    assert_eq!(added.version.version, before.version + 2);
    assert_eq!(added.generation(), number.generation());
    let taken_back = store.next_number(Step::TakesBack).await.unwrap();
    assert_ne!(taken_back.generation(), number.generation());
    assert_eq!(store.latest().await.unwrap(), taken_back.version);
    assert!(store.health().await.fault.is_some());

    std::fs::rename(&aside, &path).unwrap();
    store.shared.file.break_now();
    assert_eq!(store.health().await.fault, None);
    let on_disk = store.shared.file.with(tables::latest).unwrap();
    assert_eq!(on_disk, taken_back);
    assert!(next_version(&store).await > taken_back.version);
    store.put_decision(&ban).await.unwrap();
}

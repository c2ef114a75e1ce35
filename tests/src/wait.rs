//! Waiting for something to become true, instead of sleeping and hoping.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

pub(crate) const STEP: Duration = Duration::from_millis(10);

/// Asks `condition` again and again until it is true or `deadline` has passed; says which.
pub async fn eventually(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    eventually_async(deadline, || std::future::ready(condition())).await
}

/// As [`eventually`], for a condition that itself waits, such as one that sends a request.
pub async fn eventually_async<F, C>(deadline: Duration, mut condition: C) -> bool
where
    C: FnMut() -> F,
    F: Future<Output = bool>,
{
    let end = Instant::now() + deadline;
    loop {
        if condition().await {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        sleep(STEP).await;
    }
}

//! Changes that store and memory must both see: they run to their end even if whoever asked for them
//! goes away in the midst.

/// Runs `change` as a task of its own and waits for it.
pub async fn undisturbed<T: Send + 'static>(change: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(change).await {
        Ok(result) => result,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only the end of the runtime cancels it, and that ends the one who waits as well.
            Err(_cancelled) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_change_goes_on_when_nobody_waits_any_more() {
        let (go, told) = oneshot::channel::<()>();
        let (done, result) = oneshot::channel();
        let change = undisturbed(async move {
            told.await.unwrap();
            done.send(7).unwrap();
        });
        assert!(tokio::time::timeout(Duration::ZERO, change).await.is_err());
        go.send(()).unwrap();
        assert_eq!(result.await, Ok(7));
    }
}

//! Single flight: however many ask about one key at once, its providers are asked once, and go on being
//! asked when nobody waits any more.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// How many keys are asked about at once; beyond, no new flight begins.
const MOST: usize = 1024;

pub struct Flights<K, T> {
    aloft: Arc<Mutex<Aloft<K, T>>>,
}

type Aloft<K, T> = HashMap<K, watch::Receiver<Option<T>>>;

/// What came of asking for a flight.
pub enum Boarded<T> {
    /// The result was there already.
    Landed(T),
    Aloft(Flight<T>),
    /// Too many are under way.
    Full,
}

/// A result that is on its way.
pub struct Flight<T>(watch::Receiver<Option<T>>);

impl<T: Clone> Flight<T> {
    /// The result; `None` if it was lost.
    pub async fn landed(mut self) -> Option<T> {
        let landed = self.0.wait_for(Option::is_some).await.ok()?;
        landed.clone()
    }
}

impl<K, T> Flights<K, T>
where
    K: Copy + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// Joins the flight for `key`, or begins one that runs `fly`. `landed` is asked while no flight can
    /// land: `fly` must make its result visible to it before it returns.
    pub fn board<F>(
        &self,
        key: K,
        landed: impl FnOnce() -> Option<T>,
        fly: impl FnOnce() -> F,
    ) -> Boarded<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut aloft = lock(&self.aloft);
        if let Some(flight) = aloft.get(&key) {
            return Boarded::Aloft(Flight(flight.clone()));
        }
        if let Some(result) = landed() {
            return Boarded::Landed(result);
        }
        if aloft.len() >= MOST {
            return Boarded::Full;
        }
        let (result, receiver) = watch::channel(None);
        aloft.insert(key, receiver.clone());
        let landing = Landing {
            aloft: Arc::clone(&self.aloft),
            key,
        };
        let flight = fly();
        tokio::spawn(async move {
            let _landing = landing;
            result.send_replace(Some(flight.await));
        });
        Boarded::Aloft(Flight(receiver))
    }
}

impl<K, T> Default for Flights<K, T> {
    fn default() -> Self {
        Self {
            aloft: Arc::default(),
        }
    }
}

/// Frees the key however the flight ends.
struct Landing<K: Eq + Hash, T> {
    aloft: Arc<Mutex<Aloft<K, T>>>,
    key: K,
}

impl<K: Eq + Hash, T> Drop for Landing<K, T> {
    fn drop(&mut self) {
        lock(&self.aloft).remove(&self.key);
    }
}

fn lock<K, T>(aloft: &Mutex<Aloft<K, T>>) -> MutexGuard<'_, Aloft<K, T>> {
    aloft.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn two_hundred_askers_cause_one_call() {
        let flights = Flights::<u8, usize>::default();
        let calls = Arc::new(AtomicUsize::new(0));
        let mut waiting = Vec::new();
        for _ in 0..200 {
            let calls = Arc::clone(&calls);
            let boarded = flights.board(
                7,
                || None,
                || async move {
                    tokio::task::yield_now().await;
                    calls.fetch_add(1, Ordering::SeqCst)
                },
            );
            match boarded {
                Boarded::Aloft(flight) => waiting.push(flight),
                Boarded::Landed(_) | Boarded::Full => panic!("the flight has not begun"),
            }
        }
        for flight in waiting {
            assert_eq!(flight.landed().await, Some(0));
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_flight_that_is_lost_frees_its_key() {
        let flights = Flights::<u8, u8>::default();
        let lost = flights.board(7, || None, || async { panic!("lost") });
        match lost {
            Boarded::Aloft(flight) => assert_eq!(flight.landed().await, None),
            Boarded::Landed(_) | Boarded::Full => panic!("the flight has not begun"),
        }
        let again = flights.board(7, || None, || async { 1 });
        assert!(matches!(again, Boarded::Aloft(_)));
    }
}

//! The handle on publishing: whoever changes what is known says so here, and whoever hands snapshots
//! out finds them here. The work is done by `press`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::press::Press;
use super::published::Published;
use crate::clock::Clock;
use crate::intelligence::sources::Sources;
use crate::store::Store;

/// The handle: tells the task what changed, and shows what it published.
#[derive(Clone)]
pub struct Publisher {
    orders: mpsc::UnboundedSender<Order>,
    published: watch::Receiver<Option<Arc<Published>>>,
}

/// What building needs.
pub struct Workshop {
    pub sources: Arc<Sources>,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub shutdown: CancellationToken,
}

/// How long whoever changed something waits to see it published.
const PATIENCE: Duration = Duration::from_secs(10);

/// A word to the task.
pub(super) struct Order {
    pub changed: Changed,
    /// Told when it is published.
    pub done: Option<oneshot::Sender<()>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// Feeds, or the configuration.
    Feeds,
    /// Decisions or modes.
    Words,
    /// The epoch: everything is numbered anew.
    Epoch,
}

impl Publisher {
    pub fn start(workshop: Workshop) -> Self {
        let (orders, received) = mpsc::unbounded_channel();
        let (out, published) = watch::channel(None);
        let press = Press::new(workshop, out);
        tokio::spawn(press.run(received));
        Self { orders, published }
    }

    /// Says that something changed; it is published in a moment.
    pub fn changed(&self, changed: Changed) {
        // Nobody listens any more once the process shuts down.
        let _closing = self.orders.send(Order {
            changed,
            done: None,
        });
    }

    /// As [`Self::changed`], and waits until it is published, the process shuts down, or it has taken
    /// so long that something must be wrong, which the publishing task logs.
    pub async fn publish(&self, changed: Changed) {
        let (done, published) = oneshot::channel();
        let done = Some(done);
        if self.orders.send(Order { changed, done }).is_ok() {
            let _closing_or_late = tokio::time::timeout(PATIENCE, published).await;
        }
    }

    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<Published>>> {
        self.published.clone()
    }

    pub fn current(&self) -> Option<Arc<Published>> {
        self.published.borrow().clone()
    }
}

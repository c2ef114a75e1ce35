//! A TCP relay on loopback that can be turned to another server, which is what a fail-over looks like to a client,
//! or answers late, as a server that is far away does.

use std::net::SocketAddr;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::error::KitError;

pub struct Relay {
    address: SocketAddr,
    target: watch::Sender<SocketAddr>,
    task: JoinHandle<()>,
}

impl Relay {
    pub async fn to(target: SocketAddr) -> Result<Self, KitError> {
        Self::late(target, Duration::ZERO).await
    }

    /// Whatever the server says arrives so much later.
    pub async fn late(target: SocketAddr, by: Duration) -> Result<Self, KitError> {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.map_err(KitError::io("cannot listen"))?;
        let address = listener
            .local_addr()
            .map_err(KitError::io("cannot name the port"))?;
        let (target, turned) = watch::channel(target);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(carry(stream, turned.clone(), by));
            }
        });
        Ok(Self {
            address,
            target,
            task,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads to another server from now on; connections to the one before end.
    pub fn turn_to(&self, target: SocketAddr) {
        self.target.send_replace(target);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(client: TcpStream, mut turned: watch::Receiver<SocketAddr>, by: Duration) {
    let target = *turned.borrow_and_update();
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let ((mut asking, mut asked), (mut answering, mut answered)) =
        (client.into_split(), server.into_split());
    let there = async {
        let ended = copy(&mut asking, &mut answered).await;
        let _gone = answered.shutdown().await;
        ended.map(|_| ())
    };
    let back = async {
        let mut said = Vec::with_capacity(64 * 1024);
        loop {
            said.clear();
            if answering.read_buf(&mut said).await? == 0 {
                return asked.shutdown().await;
            }
            if !by.is_zero() {
                tokio::time::sleep(by).await;
            }
            asked.write_all(&said).await?;
        }
    };
    tokio::select! {
        // How a connection ends is its sides' affair.
        _ = async { tokio::try_join!(there, back) } => {}
        _ = turned.changed() => {}
    }
}

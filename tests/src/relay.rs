//! A TCP relay on loopback that can be turned to another server: what a fail-over looks like to a client.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
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
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.map_err(KitError::io("cannot listen"))?;
        let address = listener
            .local_addr()
            .map_err(KitError::io("cannot name the port"))?;
        let (target, turned) = watch::channel(target);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(carry(stream, turned.clone()));
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

async fn carry(mut client: TcpStream, mut turned: watch::Receiver<SocketAddr>) {
    let target = *turned.borrow_and_update();
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    tokio::select! {
        // How a connection ends is its sides' affair.
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = turned.changed() => {}
    }
}

//! A server at Redis's place that answers every command with the same bytes, or without end.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::error::KitError;

/// What is sent at once by an answer without end.
const CHUNK: usize = 64 * 1024;

pub struct BadRedis {
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// What it answers to whatever it is asked.
enum Manner {
    Bytes(Vec<u8>),
    /// This, and then zeros for as long as somebody reads.
    Endless(Vec<u8>),
}

impl BadRedis {
    /// Answers everything with `bytes`.
    pub async fn that_says(bytes: &[u8]) -> Result<Self, KitError> {
        Self::start(Manner::Bytes(bytes.to_vec())).await
    }

    /// Answers everything with a string that is said to have 512 MB, the most that Redis allows, and
    /// that goes on after that.
    pub async fn without_end() -> Result<Self, KitError> {
        Self::start(Manner::Endless(b"$536870912\r\n".to_vec())).await
    }

    async fn start(manner: Manner) -> Result<Self, KitError> {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.map_err(KitError::io("cannot listen"))?;
        let address = listener
            .local_addr()
            .map_err(KitError::io("cannot name the port"))?;
        let manner = Arc::new(manner);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let manner = Arc::clone(&manner);
                // How the connection ends is the client's affair.
                connections.spawn(async move { serve(stream, &manner).await.unwrap_or_default() });
            }
        });
        Ok(Self { address, task })
    }

    pub fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }
}

impl Drop for BadRedis {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, manner: &Manner) -> std::io::Result<()> {
    let mut asked = vec![0; CHUNK];
    while stream.read(&mut asked).await? > 0 {
        match manner {
            Manner::Bytes(bytes) => stream.write_all(bytes).await?,
            Manner::Endless(head) => {
                stream.write_all(head).await?;
                let zeros = vec![0; CHUNK];
                loop {
                    stream.write_all(&zeros).await?;
                }
            }
        }
    }
    Ok(())
}

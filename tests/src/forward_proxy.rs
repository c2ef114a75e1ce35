//! A proxy for outgoing requests, as companies have them: it connects by CONNECT, passes on requests
//! with whole URLs, and shows what it was asked. Whatever host it is asked for, it goes to one place.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::error::KitError;

/// What it does with whoever asks.
#[derive(Debug, Clone)]
pub enum Manner {
    /// Connects to this address, whatever is asked for.
    PassTo(SocketAddr),
    /// Answers these bytes itself.
    Answer(&'static str),
    Silence,
}

pub struct ForwardProxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl ForwardProxy {
    pub async fn start(manner: Manner) -> Result<Self, KitError> {
        let listening = TcpListener::bind("127.0.0.1:0").await;
        let listener = listening.map_err(KitError::io("cannot listen"))?;
        let address = listener.local_addr();
        let address = address.map_err(KitError::io("cannot listen"))?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (manner, noted) = (manner.clone(), Arc::clone(&noted));
                tokio::spawn(serve(stream, manner, noted));
            }
        });
        Ok(Self {
            address,
            asked,
            serving,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The heads of the requests that came.
    pub fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }
}

impl Drop for ForwardProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(mut client: TcpStream, manner: Manner, asked: Arc<Mutex<Vec<String>>>) {
    let Some(head) = head(&mut client).await else {
        return;
    };
    let connects = head.starts_with("CONNECT ");
    asked
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(head.clone());
    // Whoever gives up in the middle is no matter of the proxy's.
    let _ended = match manner {
        Manner::Silence => client.read(&mut [0]).await.map(|_| ()),
        Manner::Answer(text) => client.write_all(text.as_bytes()).await,
        Manner::PassTo(address) => pass(client, address, connects, &head).await,
    };
}

async fn pass(
    mut client: TcpStream,
    address: SocketAddr,
    connects: bool,
    head: &str,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(address).await?;
    if connects {
        client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await?;
    } else {
        server.write_all(head.as_bytes()).await?;
    }
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

async fn head(client: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

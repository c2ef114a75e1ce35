//! A client that sends any command and shows the answer as it came: to look into a Redis, and to put
//! there what no client of ours would.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::error::KitError;

/// A user in every Redis of the kit who may do everything, whatever the test does to the others.
pub(super) const KIT_USER: &str = "kit";
pub(super) const KIT_PASSWORD: &str = "kit-password";

/// Longer than a Redis under load takes; a stopped one never answers.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct RedisClient {
    stream: BufStream<TcpStream>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A status or a string.
    Bytes(Vec<u8>),
    Integer(i64),
    Nil,
    List(Vec<Reply>),
    /// What the server says is wrong, such as `NOPERM …`.
    Error(String),
}

impl RedisClient {
    /// As the default user.
    pub async fn open(to: SocketAddr) -> Result<Self, KitError> {
        let stream = TcpStream::connect(to).await;
        let stream = stream.map_err(KitError::io(format!("cannot connect to Redis at {to}")))?;
        let _ = stream.set_nodelay(true);
        Ok(Self {
            stream: BufStream::new(stream),
        })
    }

    pub(super) async fn open_as_kit(to: SocketAddr) -> Result<Self, KitError> {
        let mut client = Self::open(to).await?;
        client.command(&["AUTH", KIT_USER, KIT_PASSWORD]).await?;
        Ok(client)
    }

    /// Sends one command and waits for its answer; words are any bytes.
    pub async fn command<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Result<Reply, KitError> {
        let mut replies = self.pipeline(&[words]).await?;
        Ok(replies.pop().unwrap_or(Reply::Nil))
    }

    /// Sends all commands at once, then reads all answers.
    pub async fn pipeline<W, C>(&mut self, commands: &[C]) -> Result<Vec<Reply>, KitError>
    where
        W: AsRef<[u8]>,
        C: AsRef<[W]>,
    {
        let exchange = async {
            let bytes: Vec<u8> = commands
                .iter()
                .flat_map(|words| encode(words.as_ref()))
                .collect();
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await?;
            let mut replies = Vec::with_capacity(commands.len());
            for _ in commands {
                replies.push(self.reply().await?);
            }
            Ok(replies)
        };
        let done = timeout(PATIENCE, exchange).await;
        done.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            .map_err(KitError::io("Redis does not answer"))
    }

    /// A list holds replies, hence the box.
    fn reply(&mut self) -> Pin<Box<dyn Future<Output = std::io::Result<Reply>> + Send + '_>> {
        Box::pin(async move {
            let mut line = String::new();
            self.stream.read_line(&mut line).await?;
            let mut rest = line.trim_end().chars();
            let (kind, rest) = (rest.next(), rest.as_str());
            let number = rest.parse::<i64>().unwrap_or_default();
            let length = usize::try_from(number).ok();
            Ok(match (kind, length) {
                (Some('+'), _) => Reply::Bytes(rest.into()),
                (Some('-'), _) => Reply::Error(rest.into()),
                (Some(':'), _) => Reply::Integer(number),
                (Some('$'), Some(length)) => {
                    let mut bytes = vec![0; length + 2];
                    self.stream.read_exact(&mut bytes).await?;
                    bytes.truncate(length);
                    Reply::Bytes(bytes)
                }
                (Some('*'), Some(length)) => {
                    let mut items = Vec::with_capacity(length);
                    for _ in 0..length {
                        items.push(self.reply().await?);
                    }
                    Reply::List(items)
                }
                (Some('$' | '*'), None) => Reply::Nil,
                _ => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            })
        })
    }
}

impl Reply {
    /// The bytes as text; empty if it is something else.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes().unwrap_or_default()).into_owned()
    }

    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The elements of a list.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }
}

fn encode<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

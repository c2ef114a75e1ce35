//! Where connections come from: TCP or a Unix socket. Owns binding and the socket file's life; what is
//! spoken on a connection is `server`'s.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use crate::config::ListenAddress;

pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    Address(IpAddr),
    /// Somebody on this machine, by the Unix socket.
    Socket,
}

#[derive(Debug, Error)]
#[error("cannot listen on {address} ({listener}): {hint}")]
pub struct BindError {
    listener: &'static str,
    address: ListenAddress,
    hint: &'static str,
    source: io::Error,
}

/// A connection of either kind.
pub trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

/// Envoy often runs as another user of the same group.
const SOCKET_MODE: u32 = 0o660;

impl Listener {
    /// `listener` is the name used in messages: edge, admin or metrics.
    pub async fn bind(listener: &'static str, address: &ListenAddress) -> Result<Self, BindError> {
        let bound = match address {
            ListenAddress::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            ListenAddress::Unix(path) => bind_unix(path),
        };
        bound.map_err(|source| {
            let (address, hint) = (address.clone(), hint(&source));
            BindError {
                listener,
                address,
                hint,
                source,
            }
        })
    }

    pub async fn accept(&self) -> io::Result<(Box<dyn Connection>, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Answers are small: waiting to fill a packet would add a delay to each. It fails
                // only for a client that is gone already.
                let _gone = stream.set_nodelay(true);
                Ok((Box::new(stream), Peer::Address(address.ip().to_canonical())))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), Peer::Socket))
            }
        }
    }
}

impl fmt::Display for Listener {
    /// The address that is really bound: `127.0.0.1:40123` or `unix:/path`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.fmt(f),
                Err(error) => write!(f, "unknown ({error})"),
            },
            Self::Unix(_, path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Socket => f.write_str("unix socket"),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // If it is gone already there is nothing left to tidy up.
            let _gone = std::fs::remove_file(path);
        }
    }
}

fn bind_unix(path: &Path) -> io::Result<Listener> {
    remove_stale(path)?;
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok(Listener::Unix(listener, path.to_owned()))
}

/// A socket on which nobody answers was left by a crash. One that answers, or a file of another kind,
/// is somebody's.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type().is_socket(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !is_socket {
        return Err(io::Error::from(io::ErrorKind::AlreadyExists));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_answered) => Err(io::Error::from(io::ErrorKind::AddrInUse)),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(error) => Err(error),
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there, stop it or choose another address"
        }
        io::ErrorKind::PermissionDenied => {
            "not permitted, choose a higher port or another directory"
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address",
        io::ErrorKind::AlreadyExists => "a file that is no socket is in the way",
        io::ErrorKind::NotFound => "the directory does not exist",
        _ => "the system refuses",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_left_by_a_crash_is_replaced_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("edge.sock");
        let address = ListenAddress::Unix(path.clone());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let listener = Listener::bind("edge", &address).await.unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, SOCKET_MODE);
        let message = Listener::bind("edge", &address)
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(
            message.contains("another process listens there"),
            "{message}"
        );
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("precious");
        std::fs::write(&path, b"data").unwrap();
        let address = ListenAddress::Unix(path.clone());
        let message = Listener::bind("edge", &address)
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(message.contains("no socket is in the way"), "{message}");
        assert_eq!(std::fs::read(&path).unwrap(), b"data");
    }
}

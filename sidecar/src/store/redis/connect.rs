//! One connection to Redis: the socket, TLS, the password as the secret has it now, and the protocol's
//! third version, in which Redis speaks up by itself when a sibling changed something.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, PushInfo, RedisConnectionInfo};
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::task::AbortOnDropHandle;

use super::bounded::Bounded;
use super::fault::{Caller, Fault};
use crate::config::store::{RedisConfig, RedisServer, Tls};
use crate::secrets::{SecretError, Secrets};
use crate::tls::{self, TlsError};

/// Where to connect, and as whom.
pub struct Endpoint {
    config: RedisConfig,
    secrets: Arc<Secrets>,
    pub caller: Caller,
}

/// Ends when the last handle is dropped.
pub struct Connection {
    pub commands: MultiplexedConnection,
    /// Whom it reached; a socket file has no address.
    pub peer: Option<IpAddr>,
    /// Whether it was let in by a password.
    pub by_password: bool,
    _driver: AbortOnDropHandle<()>,
}

#[derive(Debug, Error)]
pub enum ConnectError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("it cannot be reached")]
    Unreachable(#[source] std::io::Error),
    #[error("{0} is no name that a certificate can have")]
    Name(String),
    #[error("no TLS, or its certificate is not good")]
    Tls(#[source] std::io::Error),
    #[error("TLS cannot be set up as store.ca has it")]
    TlsSetup(#[source] TlsError),
    #[error(transparent)]
    Refused(#[from] Fault),
}

/// A server far away needs several round trips until it can be asked.
const SHORTEST_PATIENCE: Duration = Duration::from_secs(2);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Endpoint {
    pub fn new(config: RedisConfig, secrets: Arc<Secrets>) -> Self {
        let caller = Caller {
            user: config
                .username
                .clone()
                .unwrap_or_else(|| "default".to_owned()),
            namespace: config.namespace.clone(),
        };
        Self {
            config,
            secrets,
            caller,
        }
    }

    /// Connects; what Redis says by itself goes to `pushes`.
    pub async fn open(
        &self,
        pushes: UnboundedSender<PushInfo>,
    ) -> Result<Connection, ConnectError> {
        self.patiently(self.try_both(pushes)).await
    }

    /// Connects with `password` and leaves again.
    pub async fn knock(&self, password: &SecretString) -> Result<(), ConnectError> {
        let (pushes, _unheard) = unbounded_channel();
        let opening = self.open_with(pushes, Some(password));
        self.patiently(opening).await.map(drop)
    }

    async fn patiently(
        &self,
        opening: impl Future<Output = Result<Connection, ConnectError>>,
    ) -> Result<Connection, ConnectError> {
        let patience = self.config.timeout.saturating_mul(4).max(SHORTEST_PATIENCE);
        let opened = tokio::time::timeout(patience, opening).await;
        opened.map_err(|_elapsed| Fault::TimedOut(patience))?
    }

    async fn try_both(
        &self,
        pushes: UnboundedSender<PushInfo>,
    ) -> Result<Connection, ConnectError> {
        let Some(name) = &self.config.password else {
            return self.open_with(pushes, None).await;
        };
        let password = self.secrets.get(name)?;
        let opened = self.open_with(pushes.clone(), Some(&password)).await;
        if !matches!(opened, Err(ConnectError::Refused(Fault::Password))) {
            return opened;
        }
        // In a rotation the secret and Redis change at different moments: the other value may do.
        let Some(other) = self.secrets.instead_of(name, &password).await else {
            return opened;
        };
        let connection = self.open_with(pushes, Some(&other)).await?;
        self.secrets.taken(name, &other);
        Ok(connection)
    }

    async fn open_with(
        &self,
        pushes: UnboundedSender<PushInfo>,
        password: Option<&SecretString>,
    ) -> Result<Connection, ConnectError> {
        let (stream, peer) = self.stream().await?;
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(None)
            .set_push_sender(pushes);
        let info = self.info(password);
        let opened = MultiplexedConnection::new_with_config(&info, Bounded::new(stream), config);
        let (commands, driver) = opened
            .await
            .map_err(|error| Fault::of_library(&error, &self.caller))?;
        Ok(Connection {
            commands,
            peer,
            by_password: password.is_some(),
            _driver: AbortOnDropHandle::new(tokio::spawn(driver)),
        })
    }

    fn info(&self, password: Option<&SecretString>) -> RedisConnectionInfo {
        let mut info = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_db(self.config.database.into())
            .set_skip_set_lib_name();
        if let Some(username) = &self.config.username {
            info = info.set_username(username);
        }
        if let Some(password) = password {
            info = info.set_password(password.expose_secret());
        }
        info
    }

    async fn stream(&self) -> Result<(Box<dyn Stream>, Option<IpAddr>), ConnectError> {
        let (host, port, tls) = match &self.config.server {
            RedisServer::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                return Ok((Box::new(stream.map_err(ConnectError::Unreachable)?), None));
            }
            RedisServer::Tcp { host, port, tls } => (host, *port, tls),
        };
        let stream = TcpStream::connect((host.as_str(), port)).await;
        let stream = stream.map_err(ConnectError::Unreachable)?;
        stream
            .set_nodelay(true)
            .map_err(ConnectError::Unreachable)?;
        let peer = stream.peer_addr().ok().map(|peer| peer.ip());
        let Some(tls) = tls else {
            return Ok((Box::new(stream), peer));
        };
        let name = ServerName::try_from(host.clone());
        let name = name.map_err(|_| ConnectError::Name(host.clone()))?;
        let stream = connector(tls)?.connect(name, stream).await;
        Ok((Box::new(stream.map_err(ConnectError::Tls)?), peer))
    }
}

/// The authorities are read each time, so that a replaced file takes effect.
fn connector(tls: &Tls) -> Result<TlsConnector, ConnectError> {
    let config = tls::trusting(tls.ca.as_deref()).map_err(ConnectError::TlsSetup)?;
    let config = config.with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

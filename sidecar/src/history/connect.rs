//! One connection to PostgreSQL: TLS as the URL has it, the password as the secret has it now.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Connection as Driver, NoTls, Socket};
use tokio_util::task::AbortOnDropHandle;

use super::tls::Secure;
use crate::config::HistoryConfig;
use crate::secrets::{SecretError, Secrets};
use crate::tls::{self, TlsError};

/// Where to connect, and as whom.
pub struct Endpoint {
    config: HistoryConfig,
    secrets: ArcSwap<Secrets>,
}

/// Ends when it is dropped, whatever the server does.
pub struct Connection {
    client: Client,
    _driver: AbortOnDropHandle<()>,
}

#[derive(Debug, Error)]
pub enum ConnectError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("TLS cannot be set up as history.ca has it")]
    Tls(#[from] TlsError),
    #[error("the server does not speak TLS, or not with a good certificate for its name")]
    NoTls(#[source] tokio_postgres::Error),
    #[error("it took longer than {0:?} to connect")]
    TimedOut(Duration),
    #[error("it cannot be connected to")]
    Refused(#[from] tokio_postgres::Error),
}

/// To one address of one host; a host may have several.
const PATIENCE: Duration = Duration::from_secs(2);
/// To all of them, and back.
const WHOLE_PATIENCE: Duration = Duration::from_secs(6);
/// A server that is gone without a word is noticed within a minute.
const KEEPALIVE: Duration = Duration::from_secs(15);

impl Endpoint {
    pub fn new(config: HistoryConfig, secrets: Arc<Secrets>) -> Self {
        Self {
            config,
            secrets: ArcSwap::new(secrets),
        }
    }

    pub fn config(&self) -> &HistoryConfig {
        &self.config
    }

    /// Where the secrets come from now.
    pub fn follow(&self, secrets: Arc<Secrets>) {
        self.secrets.store(secrets);
    }

    /// Connects and runs `settings` before anything else.
    pub async fn open(&self, settings: &str) -> Result<Connection, ConnectError> {
        let opening = async {
            let connection = self.try_both().await?;
            connection.batch_execute(settings).await?;
            Ok(connection)
        };
        let opened = tokio::time::timeout(WHOLE_PATIENCE, opening).await;
        opened.unwrap_or(Err(ConnectError::TimedOut(WHOLE_PATIENCE)))
    }

    async fn try_both(&self) -> Result<Connection, ConnectError> {
        let Some(name) = &self.config.password else {
            return self.open_with(None).await;
        };
        let secrets = self.secrets.load_full();
        let password = secrets.get(name)?;
        let opened = self.open_with(Some(&password)).await;
        if !opened.as_ref().is_err_and(ConnectError::is_of_the_password) {
            return opened;
        }
        // In a rotation the secret and PostgreSQL change at different moments: the other value may do.
        let Some(other) = secrets.instead_of(name, &password).await else {
            return opened;
        };
        let connection = self.open_with(Some(&other)).await?;
        secrets.taken(name, &other);
        Ok(connection)
    }

    async fn open_with(&self, password: Option<&SecretString>) -> Result<Connection, ConnectError> {
        let mut server = self.config.postgres.server.clone();
        server
            .connect_timeout(PATIENCE)
            .keepalives_idle(KEEPALIVE)
            .keepalives_interval(KEEPALIVE)
            .keepalives_retries(2)
            .application_name("portcullis");
        if let Some(password) = password {
            server.password(password.expose_secret());
        }
        let Some(tls) = &self.config.postgres.tls else {
            let (client, driver) = server.connect(NoTls).await?;
            return Ok(Connection::driven(client, driver));
        };
        // Read each time, so that a replaced file takes effect.
        let trusting = tls::trusting(tls.ca.as_deref())?.with_no_client_auth();
        let connected = server.connect(Secure::new(trusting)).await;
        let (client, driver) = connected.map_err(|error| match error.code() {
            None if error.to_string().contains("TLS") => ConnectError::NoTls(error),
            _ => ConnectError::Refused(error),
        })?;
        Ok(Connection::driven(client, driver))
    }
}

impl Connection {
    fn driven<S>(client: Client, driver: Driver<Socket, S>) -> Self
    where
        Driver<Socket, S>: Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static,
    {
        // What ends it, whoever waits for an answer is told too.
        let driver = tokio::spawn(async move { drop(driver.await) });
        Self {
            client,
            _driver: AbortOnDropHandle::new(driver),
        }
    }

    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl ConnectError {
    fn is_of_the_password(&self) -> bool {
        let Self::Refused(error) = self else {
            return false;
        };
        matches!(
            error.code(),
            Some(&SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
        )
    }
}

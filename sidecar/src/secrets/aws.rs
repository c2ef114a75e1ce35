//! AWS Secrets Manager and the parameters of AWS Systems Manager, by the official SDK. Credentials and
//! region come from where AWS's own tools look for them; `AWS_ENDPOINT_URL` leads elsewhere.
//!
//! What AWS says is told by its error's code: its sentences name principals and may quote anything.

use std::error::Error;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use secrecy::SecretString;
use thiserror::Error;
use tokio::sync::OnceCell;

use crate::config::SecretOrigin;

/// Why AWS gave no value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AwsFault {
    #[error("AWS cannot be asked: {0}")]
    Away(String),
    #[error("AWS did not answer in time")]
    TimedOut,
    #[error("AWS answers {code}: {remedy}")]
    Refused { code: String, remedy: &'static str },
    #[error("it is binary: store text, or JSON with a `field`")]
    Binary,
    #[error("AWS answered without a value")]
    Nothing,
}

/// What is in a place of AWS.
pub struct Found {
    pub value: SecretString,
    pub version: Option<String>,
}

/// Which value of a secret is wanted.
#[derive(Debug, Clone)]
pub enum Stage {
    Current,
    /// The last one that was in force before the version of this name.
    Before(Option<String>),
}

/// Connects to AWS with the first question.
#[derive(Default)]
pub struct Aws {
    clients: OnceCell<Clients>,
}

struct Clients {
    secrets: aws_sdk_secretsmanager::Client,
    parameters: aws_sdk_ssm::Client,
}

const CONNECT: Duration = Duration::from_secs(2);
/// For one question with all its tries.
const PATIENCE: Duration = Duration::from_secs(8);
const TRY: Duration = Duration::from_secs(3);
const TRIES: u32 = 2;
/// How much of a foreign text is kept.
const LONGEST_QUOTE: usize = 160;

/// What the codes mean that people meet.
const REMEDIES: [(&str, &str); 15] = [
    ("ResourceNotFoundException", NOT_THERE),
    ("ParameterNotFound", NOT_THERE),
    ("ParameterVersionNotFound", NOT_THERE),
    ("AccessDeniedException", NOT_PERMITTED),
    ("AccessDenied", NOT_PERMITTED),
    ("DecryptionFailure", NO_KEY),
    ("InvalidKeyId", NO_KEY),
    ("InvalidRequestException", "it may be marked for deletion"),
    ("ThrottlingException", TOO_OFTEN),
    ("TooManyRequestsException", TOO_OFTEN),
    ("UnrecognizedClientException", NOT_US),
    ("InvalidSignatureException", NOT_US),
    ("ExpiredTokenException", NOT_US),
    ("InternalServiceError", LATER),
    ("InternalServerError", LATER),
];
const NOT_THERE: &str = "nothing of that name is in this account and region";
const NOT_PERMITTED: &str = "give our role secretsmanager:GetSecretValue or ssm:GetParameter on it";
const NO_KEY: &str = "give our role kms:Decrypt on the key that encrypts it";
const TOO_OFTEN: &str = "it is asked too often; `refresh` says how often we ask";
const NOT_US: &str = "our AWS credentials are wrong or have expired";
const LATER: &str = "it is tried again";
const UNKNOWN: &str = "see AWS's documentation of that code";

impl AwsFault {
    pub fn is_throttling(&self) -> bool {
        matches!(self, Self::Refused { remedy, .. } if *remedy == TOO_OFTEN)
    }
}

impl Aws {
    /// What is at `origin`, which must be a place of AWS.
    pub async fn read(&self, origin: &SecretOrigin, stage: Stage) -> Result<Found, AwsFault> {
        let clients = self.clients.get_or_init(Clients::connect).await;
        match origin {
            SecretOrigin::SecretsManager(id) => clients.secret(id, stage).await,
            SecretOrigin::Ssm(name) => clients.parameter(name, stage).await,
            SecretOrigin::Env(_) | SecretOrigin::File(_) => Err(AwsFault::Nothing),
        }
    }
}

impl Clients {
    async fn connect() -> Self {
        let config = settings().await;
        Self {
            secrets: aws_sdk_secretsmanager::Client::new(&config),
            parameters: aws_sdk_ssm::Client::new(&config),
        }
    }

    async fn secret(&self, id: &str, stage: Stage) -> Result<Found, AwsFault> {
        let stage = match stage {
            Stage::Current => "AWSCURRENT",
            Stage::Before(_) => "AWSPREVIOUS",
        };
        let question = self.secrets.get_secret_value();
        let answer = question.secret_id(id).version_stage(stage).send().await;
        let answer = answer.map_err(fault)?;
        match (answer.secret_string, answer.secret_binary) {
            (Some(value), _) => Ok(Found {
                value: SecretString::from(value),
                version: answer.version_id,
            }),
            (None, Some(_)) => Err(AwsFault::Binary),
            (None, None) => Err(AwsFault::Nothing),
        }
    }

    async fn parameter(&self, name: &str, stage: Stage) -> Result<Found, AwsFault> {
        let name = match stage {
            Stage::Current => name.to_owned(),
            Stage::Before(version) => {
                let version: i64 = version.and_then(|it| it.parse().ok()).unwrap_or_default();
                if version < 2 {
                    return Err(AwsFault::Nothing);
                }
                format!("{name}:{}", version.saturating_sub(1))
            }
        };
        let question = self.parameters.get_parameter().name(name);
        let answer = question.with_decryption(true).send().await;
        let parameter = answer.map_err(fault)?.parameter;
        let parameter = parameter.ok_or(AwsFault::Nothing)?;
        let version = parameter.version;
        let value = parameter.value.ok_or(AwsFault::Nothing)?;
        Ok(Found {
            value: SecretString::from(value),
            version: (version > 0).then(|| version.to_string()),
        })
    }
}

async fn settings() -> SdkConfig {
    let crypto = tls::Provider::Rustls(CryptoMode::Ring);
    let http = aws_smithy_http_client::Builder::new().tls_provider(crypto);
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(TRY)
        .operation_timeout(PATIENCE);
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http.build_https())
        .timeout_config(timeouts.build())
        .retry_config(RetryConfig::standard().with_max_attempts(TRIES))
        .load()
        .await
}

fn fault<E, R>(error: SdkError<E, R>) -> AwsFault
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug + 'static,
{
    match &error {
        SdkError::TimeoutError(_) => AwsFault::TimedOut,
        SdkError::ServiceError(refusal) => refused(refusal.err().code().unwrap_or_default()),
        _ => AwsFault::Away(innermost(&error)),
    }
}

fn refused(code: &str) -> AwsFault {
    let plain = code.chars().filter(char::is_ascii_alphanumeric);
    let code: String = plain.take(LONGEST_QUOTE).collect();
    let remedy = REMEDIES.iter().find(|(known, _)| *known == code);
    AwsFault::Refused {
        remedy: remedy.map_or(UNKNOWN, |(_, remedy)| remedy),
        code: if code.is_empty() {
            "an error without a code".to_owned()
        } else {
            code
        },
    }
}

/// The cause that all others only pass on, such as a refused connection or missing credentials.
fn innermost(error: &dyn Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    let text = inner.to_string();
    let plain = text.chars().filter(|it| !it.is_control());
    plain.take(LONGEST_QUOTE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_told_with_what_to_do() {
        let told = refused("AccessDeniedException").to_string();
        assert!(told.starts_with("AWS answers AccessDeniedException: give our role"));
        assert!(refused("NewException").to_string().contains(UNKNOWN));
        assert!(refused("").to_string().contains("without a code"));
    }

    #[test]
    fn a_code_that_is_none_is_not_quoted_at_length() {
        let told = refused(&format!("<b>{}\n", "x".repeat(1000))).to_string();
        assert!(told.len() < 300 && !told.contains('<'), "{told}");
    }
}

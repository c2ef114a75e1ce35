//! One command's conversation with the admin API.

use hyper::Method;
use hyper::body::Bytes;
use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::CliError;
use super::args::Remote;
use super::client::AdminClient;

pub struct Session {
    client: AdminClient,
    pub json: bool,
}

impl Session {
    pub fn new(remote: &Remote) -> Result<Self, CliError> {
        let token = match std::env::var("PORTCULLIS_TOKEN") {
            Ok(token) if !token.is_empty() => SecretString::from(token),
            _ => crate::api::token::read_file(&remote.token_file).map_err(|source| {
                CliError::NoToken {
                    path: remote.token_file.clone(),
                    source,
                }
            })?,
        };
        let client = AdminClient {
            url: remote.admin.clone(),
            token,
        };
        Ok(Self {
            client,
            json: remote.json,
        })
    }

    /// Asks for `path` and shows the answer: as it is for `--json`, else as `show` puts it.
    pub async fn show<T: DeserializeOwned>(
        &self,
        path: &str,
        show: impl FnOnce(T) -> String,
    ) -> Result<String, CliError> {
        let body = self.client.call(Method::GET, path, None).await?;
        self.put(body, show)
    }

    /// What the admin API answers at `path`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        let body = self.client.call(Method::GET, path, None).await?;
        serde_json::from_slice(&body).map_err(CliError::Answer)
    }

    /// What the admin API answers to an order without a body.
    pub async fn order<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Result<T, CliError> {
        let body = self.client.call(method, path, None).await?;
        serde_json::from_slice(&body).map_err(CliError::Answer)
    }

    /// As [`Self::show`], for a request that changes something.
    pub async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        show: impl FnOnce(T) -> String,
    ) -> Result<String, CliError> {
        let body = body
            .map(serde_json::to_vec)
            .transpose()
            .map_err(CliError::Answer)?;
        let answer = self.client.call(method, path, body).await?;
        self.put(answer, show)
    }

    fn put<T: DeserializeOwned>(
        &self,
        body: Bytes,
        show: impl FnOnce(T) -> String,
    ) -> Result<String, CliError> {
        if self.json {
            return Ok(String::from_utf8_lossy(&body).into_owned());
        }
        serde_json::from_slice(&body)
            .map(show)
            .map_err(CliError::Answer)
    }
}

/// Percent-encodes `text` for one segment of a path or one value of a query.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_to_the_same() {
        for text in ["2001:db8::/32", "checkout*", "a b&c=d%", "ü"] {
            assert_eq!(crate::api::request::decode(&encode(text)), text);
        }
    }
}

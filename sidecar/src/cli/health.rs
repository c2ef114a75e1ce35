//! `health`: one question to the sidecar's probe, whose answer is the exit status. It is what a container's health
//! check runs, since an image from scratch has no other program. What is examined behind it is `doctor`'s.

use serde_json::json;

use super::CliError;
use crate::plain_http::Url;

/// What says that proxies that ask now get a snapshot.
const READY: &str = "/readyz";

pub async fn run(url: &Url, as_json: bool) -> Result<String, CliError> {
    let probe = url.or_path(READY);
    probe.get().await?;
    Ok(match as_json {
        true => json!({ "healthy": true }).to_string(),
        false => format!("{probe} says it is well"),
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one question with this status; says which path was asked for.
    async fn probe(status: &'static str) -> (Url, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            request.lines().next().unwrap_or_default().to_owned()
        });
        (url.parse().unwrap(), asked)
    }

    #[tokio::test]
    async fn who_is_ready_is_well() {
        let (url, asked) = probe("200 OK").await;
        assert_eq!(run(&url, true).await.unwrap(), r#"{"healthy":true}"#);
        assert_eq!(asked.await.unwrap(), "GET /readyz HTTP/1.1");
    }

    #[tokio::test]
    async fn who_is_not_ready_or_not_there_is_not_well() {
        let (url, _asked) = probe("503 Service Unavailable").await;
        let told = run(&url, false).await.unwrap_err().to_string();
        assert!(told.contains("503"), "{told}");
        let nobody: Url = "http://127.0.0.1:1".parse().unwrap();
        let told = run(&nobody, false).await.unwrap_err().to_string();
        assert!(told.contains("nobody answers"), "{told}");
    }
}

//! Outgoing HTTP: one pooled client for feeds and providers, with the limits that keep a bad server
//! from hurting: a deadline for the whole exchange, a cap on the body, no redirects.
//!
//! Does not know what is fetched, and never logs a header: they carry keys.

use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper_rustls::builderstates::WantsSchemes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use thiserror::Error;
use tokio_rustls::rustls::ClientConfig;

/// Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// One question, a GET unless it says otherwise. Conditional requests are made by `if-none-match` and `if-modified-since` in `headers`.
#[derive(Debug, Clone)]
pub struct Get {
    pub uri: Uri,
    pub headers: HeaderMap,
    /// For the whole exchange: connect, headers and body.
    pub timeout: Duration,
    pub max_bytes: usize,
}

/// Any status that came with a complete body within the limits; 3xx are answers like others.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum HttpError {
    #[error("no complete answer within {0:?}")]
    Timeout(Duration),
    #[error("the answer is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("no connection, or it broke before an answer came")]
    Exchange(#[source] hyper_util::client::legacy::Error),
    #[error("the connection broke within the answer")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the request cannot be made")]
    Request(#[source] hyper::http::Error),
}

const USER_AGENT: &str = concat!("portcullis/", env!("CARGO_PKG_VERSION"));
const IDLE: Duration = Duration::from_secs(60);

impl HttpClient {
    /// Trusts the system's certificate authorities; where there are none (a bare container) Mozilla's.
    pub fn new() -> Self {
        let builder = match HttpsConnectorBuilder::new().with_native_roots() {
            Ok(builder) => builder,
            Err(_no_system_roots) => HttpsConnectorBuilder::new().with_webpki_roots(),
        };
        Self::over(builder)
    }

    /// Trusts and shows what `tls` says.
    pub fn with_tls(tls: ClientConfig) -> Self {
        Self::over(HttpsConnectorBuilder::new().with_tls_config(tls))
    }

    fn over(tls: HttpsConnectorBuilder<WantsSchemes>) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let https = tls.https_or_http().enable_http1().wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(https);
        Self { client }
    }

    pub async fn get(&self, get: Get) -> Result<Answer, HttpError> {
        self.within_time(get, None).await
    }

    /// The same as a POST of `json`.
    pub async fn post(&self, to: Get, json: Bytes) -> Result<Answer, HttpError> {
        self.within_time(to, Some(json)).await
    }

    async fn within_time(&self, get: Get, post: Option<Bytes>) -> Result<Answer, HttpError> {
        let timeout = get.timeout;
        match tokio::time::timeout(timeout, self.exchange(get, post)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(HttpError::Timeout(timeout)),
        }
    }

    /// Asks, and returns once the answer has begun, within the timeout. The body is the caller's to bound.
    pub async fn open(&self, get: Get) -> Result<(StatusCode, Incoming), HttpError> {
        let timeout = get.timeout;
        let begun = self.begin(Method::GET, get.uri, get.headers, None);
        let begun = tokio::time::timeout(timeout, begun).await;
        let response = begun.map_err(|_elapsed| HttpError::Timeout(timeout))??;
        Ok((response.status(), response.into_body()))
    }

    /// The status with which the same question is answered when nothing but its headers is wanted.
    pub async fn head(&self, get: Get) -> Result<StatusCode, HttpError> {
        let timeout = get.timeout;
        let begun = self.begin(Method::HEAD, get.uri, get.headers, None);
        let begun = tokio::time::timeout(timeout, begun).await;
        let response = begun.map_err(|_elapsed| HttpError::Timeout(timeout))??;
        Ok(response.status())
    }

    async fn exchange(&self, get: Get, post: Option<Bytes>) -> Result<Answer, HttpError> {
        let limit = get.max_bytes;
        let method = post.as_ref().map_or(Method::GET, |_| Method::POST);
        let response = self.begin(method, get.uri, get.headers, post).await?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, limit).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                HttpError::TooLarge { limit }
            } else {
                HttpError::Body(error)
            }
        })?;
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
        })
    }

    async fn begin(
        &self,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        post: Option<Bytes>,
    ) -> Result<Response<Incoming>, HttpError> {
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .body(Full::new(post.unwrap_or_default()))
            .map_err(HttpError::Request)?;
        *request.headers_mut() = headers;
        let agent = hyper::header::HeaderValue::from_static(USER_AGENT);
        request.headers_mut().entry("user-agent").or_insert(agent);
        let answering = self.client.request(request).await;
        answering.map_err(HttpError::Exchange)
    }
}

impl Default for HttpClient {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request with these bytes, then keeps the connection open.
    async fn answering(bytes: &'static [u8]) -> (Uri, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/list", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            // Until the client has gone: closing earlier would be an answer too.
            let _gone = stream.read(&mut [0]).await;
            String::from_utf8_lossy(request.get(..length).unwrap()).into_owned()
        });
        (uri, served)
    }

    fn get(uri: Uri) -> Get {
        let timeout = Duration::from_secs(10);
        Get {
            uri,
            headers: HeaderMap::new(),
            timeout,
            max_bytes: 8,
        }
    }

    #[tokio::test]
    async fn headers_go_out_and_not_modified_is_an_answer() {
        let (uri, served) = answering(b"HTTP/1.1 304 Not Modified\r\netag: \"v1\"\r\n\r\n").await;
        let mut get = get(uri);
        get.headers
            .insert("if-none-match", "\"v1\"".parse().unwrap());
        let client = HttpClient::new();
        let answer = client.get(get).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.body.len()), (304, 0));
        assert_eq!(answer.headers["etag"], "\"v1\"");
        drop(client);
        let request = served.await.unwrap().to_lowercase();
        assert!(request.contains("if-none-match: \"v1\"\r\n"), "{request}");
        assert!(request.contains("user-agent: portcullis/"), "{request}");
    }

    #[tokio::test]
    async fn a_post_has_its_body_and_a_get_has_none() {
        let created = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n";
        let client = HttpClient::new();
        let (uri, served) = answering(created).await;
        let answer = client.post(get(uri), Bytes::from_static(b"{\"a\":1}"));
        assert_eq!(answer.await.unwrap().status, StatusCode::CREATED);
        let (uri, served_get) = answering(created).await;
        assert_eq!(
            client.get(get(uri)).await.unwrap().status,
            StatusCode::CREATED
        );
        drop(client);
        let request = served.await.unwrap();
        assert!(request.starts_with("POST /list HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("content-length: 7\r\n") && request.ends_with("{\"a\":1}"));
        let request = served_get.await.unwrap();
        assert!(
            request.starts_with("GET ") && !request.contains("content-length"),
            "{request}"
        );
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let answer =
            b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        let (uri, _served) = answering(answer).await;
        assert_eq!(
            HttpClient::new()
                .get(get(uri))
                .await
                .unwrap()
                .status
                .as_u16(),
            302
        );
    }

    #[tokio::test]
    async fn a_body_beyond_the_limit_is_refused_with_and_without_a_length() {
        for answer in [
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n123456789".as_slice(),
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n",
        ] {
            let (uri, _served) = answering(answer).await;
            let error = HttpClient::new().get(get(uri)).await.unwrap_err();
            assert!(
                matches!(error, HttpError::TooLarge { limit: 8 }),
                "{error:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_server_that_never_finishes_is_given_up() {
        for answer in [
            b"".as_slice(),
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc",
        ] {
            let (uri, _served) = answering(answer).await;
            let get = Get {
                timeout: Duration::from_millis(50),
                ..get(uri)
            };
            let error = HttpClient::new().get(get).await.unwrap_err();
            assert!(matches!(error, HttpError::Timeout(_)), "{error:?}");
        }
    }

    #[tokio::test]
    async fn no_server_is_a_failed_exchange() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        drop(listener);
        let error = HttpClient::new().get(get(uri)).await.unwrap_err();
        assert!(matches!(error, HttpError::Exchange(_)), "{error:?}");
    }
}

//! Outgoing HTTP: one pooled client for feeds and providers, with the limits that keep a bad server
//! from hurting: a deadline for the whole exchange, a cap on the body, no redirects. Which way it leaves,
//! by which proxy or none, is `outgoing`'s.
//!
//! Does not know what is fetched, and never logs a header: they carry keys.

mod outgoing;

use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::PROXY_AUTHORIZATION;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper_rustls::builderstates::WantsSchemes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use thiserror::Error;
use tokio_rustls::rustls::ClientConfig;

pub use outgoing::{Proxies, Routes};

/// Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct HttpClient {
    client: Client<HttpsConnector<outgoing::Connector>, Full<Bytes>>,
    proxies: Proxies,
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
    /// As [`Self::by`] the environment's proxies.
    pub fn new() -> Self {
        Self::by(Proxies::from_environment())
    }

    /// Trusts the system's certificate authorities; where there are none (a bare container) Mozilla's.
    pub fn by(proxies: Proxies) -> Self {
        let builder = match HttpsConnectorBuilder::new().with_native_roots() {
            Ok(builder) => builder,
            Err(_no_system_roots) => HttpsConnectorBuilder::new().with_webpki_roots(),
        };
        Self::over(builder, proxies)
    }

    /// Trusts and shows what `tls` says, and goes by the environment's proxies.
    pub fn with_tls(tls: ClientConfig) -> Self {
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls);
        Self::over(builder, Proxies::from_environment())
    }

    fn over(tls: HttpsConnectorBuilder<WantsSchemes>, proxies: Proxies) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let connector = outgoing::Connector::new(http, proxies.clone());
        let https = tls.https_or_http().enable_http1();
        let https = https.wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(https);
        Self { client, proxies }
    }

    /// Through which proxies requests go.
    pub fn routes(&self) -> Routes {
        self.proxies.routes()
    }

    /// Says at the start what the environment has led to.
    pub fn log_routes(&self) {
        let Routes {
            http,
            https,
            unusable,
        } = self.routes();
        for variable in unusable {
            tracing::warn!(
                variable,
                "names no proxy that can be used: it counts as if it were not set"
            );
        }
        if http.is_some() || https.is_some() {
            let (http, https) = (http.unwrap_or_default(), https.unwrap_or_default());
            tracing::info!(http, https, "outgoing requests go through a proxy");
        }
    }

    pub async fn get(&self, get: Get) -> Result<Answer, HttpError> {
        self.within_time(get, None).await
    }

    /// The same as a POST of `body`.
    pub async fn post(&self, to: Get, body: Bytes) -> Result<Answer, HttpError> {
        self.within_time(to, Some(body)).await
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
        let for_proxy = self.proxies.authorization(&uri);
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .body(Full::new(post.unwrap_or_default()))
            .map_err(HttpError::Request)?;
        *request.headers_mut() = headers;
        let agent = hyper::header::HeaderValue::from_static(USER_AGENT);
        request.headers_mut().entry("user-agent").or_insert(agent);
        if let Some(authorization) = for_proxy {
            let headers = request.headers_mut();
            headers.insert(PROXY_AUTHORIZATION, authorization);
        }
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
    use kit::ForwardProxy;
    use kit::forward_proxy::Manner;
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

    const LISTS: &str = "lists.example";

    /// A client by this proxy, to whom it is let in.
    fn client_by(proxy: &ForwardProxy) -> HttpClient {
        let url = format!("http://ana:canary-word@{}", proxy.address());
        HttpClient::by(Proxies::of(&url, ""))
    }

    fn list(scheme: &str) -> Get {
        get(format!("{scheme}://{LISTS}/list").parse().unwrap())
    }

    fn has_authorization(head: &str) -> bool {
        let line = "proxy-authorization: basic yw5homnhbmfyes13b3jk\r\n";
        head.to_lowercase().contains(line)
    }

    #[tokio::test]
    async fn a_proxy_is_asked_with_the_whole_url_and_told_who_we_are() {
        let answer =
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        let proxy = ForwardProxy::start(Manner::Answer(answer)).await.unwrap();
        let answer = client_by(&proxy).get(list("http")).await.unwrap();
        assert_eq!(answer.status.as_u16(), 302, "no redirect is followed");
        let [head] = proxy.asked().try_into().unwrap();
        assert!(
            head.starts_with("GET http://lists.example/list HTTP/1.1\r\n"),
            "{head}"
        );
        assert!(has_authorization(&head), "{head}");
    }

    #[tokio::test]
    async fn of_https_a_proxy_sees_the_host_and_no_more() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let proxy = ForwardProxy::start(Manner::PassTo(address)).await.unwrap();
        let mut get = list("https");
        get.headers.insert("key", "canary-key".parse().unwrap());
        let asking = tokio::spawn(async move {
            let client = client_by(&proxy);
            (client.get(get).await, proxy.asked())
        });
        let (mut stream, _) = server.accept().await.unwrap();
        let mut hello = [0; 3];
        stream.read_exact(&mut hello).await.unwrap();
        assert_eq!(hello, [0x16, 3, 1], "TLS begins inside the tunnel");
        drop(stream);
        let (answer, asked) = asking.await.unwrap();
        assert!(matches!(answer, Err(HttpError::Exchange(_))), "{answer:?}");
        let head = &asked[0];
        assert!(
            head.starts_with("CONNECT lists.example:443 HTTP/1.1\r\n"),
            "{head}"
        );
        assert!(has_authorization(head), "{head}");
        assert!(!head.contains("canary-key"));
    }

    #[tokio::test]
    async fn a_proxy_that_refuses_is_silent_or_down_is_a_failure_that_names_no_password() {
        let refused = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
        let proxy = ForwardProxy::start(Manner::Answer(refused)).await.unwrap();
        let client = client_by(&proxy);
        let error = client.get(list("https")).await.unwrap_err();
        let told = format!("{} {error:?}", crate::telemetry::chain(&error));
        assert!(told.contains("proxy authorization required"), "{told}");
        assert!(
            !told.contains("canary-word") && !told.contains("YW5h"),
            "{told}"
        );
        assert_eq!(client.get(list("http")).await.unwrap().status.as_u16(), 407);

        let silent = ForwardProxy::start(Manner::Silence).await.unwrap();
        for scheme in ["http", "https"] {
            let timeout = Duration::from_millis(50);
            let get = Get {
                timeout,
                ..list(scheme)
            };
            let error = client_by(&silent).get(get).await.unwrap_err();
            assert!(matches!(error, HttpError::Timeout(_)), "{error:?}");
        }

        let gone = client_by(&silent);
        drop(silent);
        let down = || async { gone.get(list("https")).await };
        let failed = kit::eventually_async(Duration::from_secs(10), || async {
            matches!(down().await, Err(HttpError::Exchange(_)))
        });
        assert!(failed.await);
    }

    #[tokio::test]
    async fn what_is_not_for_the_proxy_gets_no_word_that_is() {
        let (uri, served) = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let proxy = ForwardProxy::start(Manner::Silence).await.unwrap();
        let client = client_by(&proxy);
        assert_eq!(client.get(get(uri)).await.unwrap().status.as_u16(), 200);
        drop(client);
        assert!(
            !served
                .await
                .unwrap()
                .to_lowercase()
                .contains("proxy-authorization")
        );
        assert!(proxy.asked().is_empty());
    }
}

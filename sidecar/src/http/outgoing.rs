//! Which way a request leaves: directly, or through the proxy that the environment names.
//!
//! Owns the connections; what is asked over them is `http`'s. A proxy's user and password go to that
//! proxy and nowhere else, least of all into the log.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

/// The environment's proxies. Cheap to clone.
#[derive(Clone)]
pub struct Proxies {
    matcher: Arc<Matcher>,
    unusable: Vec<&'static str>,
}

/// Connects, by a proxy where there is one for the place.
#[derive(Clone)]
pub struct Connector {
    direct: HttpConnector,
    proxies: Proxies,
}

/// A connection, and whether a proxy is at its other end that wants to see whole URLs.
pub struct Line {
    stream: TokioIo<TcpStream>,
    to_proxy: bool,
}

/// Through which proxies requests go, without what it takes to be let in there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes {
    pub http: Option<String>,
    pub https: Option<String>,
    /// The variables that name something that is no proxy of ours.
    pub unusable: Vec<&'static str>,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What stands for any host, to see which way requests go in general.
const ANY_HTTP: &str = "http://portcullis.invalid/";
const ANY_HTTPS: &str = "https://portcullis.invalid/";

impl Proxies {
    /// As curl reads `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    pub fn from_environment() -> Self {
        Self::read(|name| std::env::var(name).ok())
    }

    /// What names no proxy of ours counts as if it were not there.
    fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let mut unusable = Vec::new();
        let mut proxy = |names: [&'static str; 2]| {
            let set = names
                .into_iter()
                .find_map(|name| Some((name, variable(name)?)));
            let (name, url) = set.unwrap_or_default();
            if url.is_empty() || is_usable(&url) {
                return url;
            }
            unusable.push(name);
            String::new()
        };
        let matcher = Matcher::builder()
            .https(proxy(["HTTPS_PROXY", "https_proxy"]))
            .http(proxy(["HTTP_PROXY", "http_proxy"]))
            .all(proxy(["ALL_PROXY", "all_proxy"]));
        let direct = variable("NO_PROXY").or_else(|| variable("no_proxy"));
        Self {
            matcher: Arc::new(matcher.no(direct.unwrap_or_default()).build()),
            unusable,
        }
    }

    #[cfg(test)]
    pub fn of(proxy: &str, no_proxy: &str) -> Self {
        Self::read(|name| match name {
            "ALL_PROXY" => Some(proxy.to_owned()),
            "NO_PROXY" => Some(no_proxy.to_owned()),
            _ => None,
        })
    }

    /// The proxy for `uri`. Nobody else reaches our own loopback.
    fn for_uri(&self, uri: &Uri) -> Option<Intercept> {
        let host = uri.host()?;
        let proxy = self.matcher.intercept(uri);
        proxy.filter(|_| !is_loopback(host))
    }

    /// What `uri`'s proxy wants to know before it passes a request on that it can read.
    pub fn authorization(&self, uri: &Uri) -> Option<HeaderValue> {
        let readable = uri.scheme_str() == Some("http");
        let proxy = self.for_uri(uri).filter(|_| readable)?;
        proxy.basic_auth().cloned()
    }

    pub fn routes(&self) -> Routes {
        let via = |any: &'static str| {
            let proxy = self.matcher.intercept(&Uri::from_static(any))?;
            proxy.uri().authority().map(ToString::to_string)
        };
        Routes {
            http: via(ANY_HTTP),
            https: via(ANY_HTTPS),
            unusable: self.unusable.clone(),
        }
    }
}

impl Connector {
    pub fn new(direct: HttpConnector, proxies: Proxies) -> Self {
        Self { direct, proxies }
    }
}

impl Service<Uri> for Connector {
    type Response = Line;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Line, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.direct.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let mut direct = self.direct.clone();
        let Some(proxy) = self.proxies.for_uri(&to) else {
            return Box::pin(async move { Ok(Line::new(direct.call(to).await?, false)) });
        };
        let by = proxy.uri().clone();
        Box::pin(async move {
            if to.scheme_str() == Some("http") {
                return Ok(Line::new(direct.call(by).await?, true));
            }
            let mut tunnel = Tunnel::new(by, direct);
            if let Some(authorization) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(authorization.clone());
            }
            Ok(Line::new(tunnel.call(to).await?, false))
        })
    }
}

impl Line {
    fn new(stream: TokioIo<TcpStream>, to_proxy: bool) -> Self {
        Self { stream, to_proxy }
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut TokioIo<TcpStream>> {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl Connection for Line {
    fn connected(&self) -> Connected {
        self.stream.connected().proxy(self.to_proxy)
    }
}

impl Read for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(context, into)
    }
}

impl Write for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(context, slices)
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let bare = bare.trim_end_matches('.');
    let address = bare.parse::<std::net::IpAddr>();
    address.map_or(bare.eq_ignore_ascii_case("localhost"), |ip| {
        ip.to_canonical().is_loopback()
    })
}

/// Whether `url` names a proxy that is spoken to in plain HTTP, and nothing else. A password with a
/// sign in it that should have been encoded would otherwise be taken for the host, and shown.
fn is_usable(url: &str) -> bool {
    let proxy = Matcher::builder().all(url).build();
    let proxy = proxy.intercept(&Uri::from_static(ANY_HTTP));
    let authority = proxy.as_ref().and_then(|proxy| proxy.uri().authority());
    let is_bare = authority.is_some_and(|authority| {
        let (host, all) = (authority.host(), authority.as_str());
        let port = authority.port_u16();
        !host.is_empty()
            && (all == host || port.is_some_and(|port| all == format!("{host}:{port}")))
    });
    let is_whole = url
        .parse::<Uri>()
        .is_ok_and(|uri| matches!(uri.path(), "" | "/"));
    let is_http = proxy.is_some_and(|proxy| proxy.uri().scheme_str() == Some("http"));
    is_bare && is_whole && is_http && !url.contains(['#', '?'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes_by(proxies: &Proxies, uri: &'static str) -> Option<String> {
        let proxy = proxies.for_uri(&Uri::from_static(uri))?;
        Some(proxy.uri().to_string())
    }

    #[test]
    fn what_no_proxy_names_and_our_own_loopback_are_reached_directly() {
        let proxies = Proxies::of("http://proxy:3128", "internal.example,10.0.0.0/8");
        for direct in [
            "https://internal.example/",
            "https://lapi.internal.example/",
            "http://10.1.2.3:8080/",
            "http://127.0.0.1:8080/",
            "http://127.9.9.9/",
            "http://[::1]:8080/",
            "http://localhost:8080/",
            "http://LOCALHOST./",
            "http://[::ffff:127.0.0.1]/",
        ] {
            assert_eq!(goes_by(&proxies, direct), None, "{direct}");
        }
        for proxied in [
            "https://lists.example/",
            "http://11.0.0.1/",
            "http://localhost.example/",
        ] {
            let by = goes_by(&proxies, proxied);
            assert_eq!(by.as_deref(), Some("http://proxy:3128/"), "{proxied}");
        }
    }

    #[test]
    fn a_proxy_is_shown_without_what_lets_us_in_there() {
        let routes = Proxies::of("http://ana:canary-word@proxy:3128", "").routes();
        assert_eq!(routes.https.as_deref(), Some("proxy:3128"));
        assert!(!format!("{routes:?}").contains("canary-word"));
        assert_eq!(Proxies::of("http://proxy:1", "*").routes().http, None);
    }

    #[test]
    fn only_the_url_of_a_proxy_by_http_is_usable() {
        for usable in [
            "http://proxy:3128",
            "http://proxy:3128/",
            "proxy:3128",
            "http://a:b%40%23%2f@proxy",
            "http://[::1]:3128",
        ] {
            assert!(is_usable(usable), "{usable}");
        }
        for unusable in [
            "https://proxy",
            "socks5://proxy",
            "not a url",
            "ftp://proxy",
            "http://",
            "http://proxy:99999",
            "http://a:canary@word@proxy",
            "http://a:canary/word@proxy",
            "http://a:1/word@proxy",
            "http://a:1#word@proxy",
            "http://a:1?word@proxy",
        ] {
            let proxies = Proxies::of(unusable, "");
            let routes = proxies.routes();
            assert_eq!(routes.unusable, ["ALL_PROXY"], "{unusable}");
            assert_eq!((routes.http, routes.https), (None, None), "{unusable}");
            assert_eq!(goes_by(&proxies, "https://lists.example/"), None);
        }
    }

    #[test]
    fn each_scheme_has_its_own_variable_and_what_is_unusable_is_as_if_it_were_not_there() {
        let routes = |set: &[(&'static str, &str)]| {
            let find = |name: &str| set.iter().find(|(key, _)| *key == name);
            let proxies = Proxies::read(|name| Some(find(name)?.1.to_owned()));
            let routes = proxies.routes();
            let shown = |way: Option<String>| way.unwrap_or_default();
            (shown(routes.https), shown(routes.http), routes.unusable)
        };
        let texts = |https: &str, http: &str| (https.to_owned(), http.to_owned(), Vec::new());
        assert_eq!(routes(&[]), texts("", ""));
        assert_eq!(routes(&[("HTTPS_PROXY", "one:1")]), texts("one:1", ""));
        assert_eq!(routes(&[("http_proxy", "two:2")]), texts("", "two:2"));
        let both = [("HTTPS_PROXY", "one:1"), ("all_proxy", "all:3")];
        assert_eq!(routes(&both), texts("one:1", "all:3"));
        let empty = [("HTTPS_PROXY", ""), ("https_proxy", "one:1")];
        assert_eq!(routes(&empty), texts("", ""));
        let (https, http, unusable) =
            routes(&[("https_proxy", "socks5://one"), ("ALL_PROXY", "all:3")]);
        assert_eq!((&*https, &*http), ("all:3", "all:3"));
        assert_eq!(unusable, ["https_proxy"]);
    }
}

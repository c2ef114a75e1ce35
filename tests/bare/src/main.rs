//! The least that an HTTP server on hyper can do: one fixed answer to everything, until it is killed. The
//! benchmarks measure the sidecar against it, and let it answer Envoy's ext_authz filter.

use std::convert::Infallible;
use std::io::Write;
use std::net::Ipv4Addr;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A verdict on a clean address, so that as many bytes are sent as the sidecar sends.
const BODY: &[u8] = br#"{"action":"allow","band":"clean","score":0,"reason":"clean","ttl_s":3600,"provisional":false,"scope":"9.9.9.9/32"}"#;

fn main() -> std::io::Result<()> {
    Runtime::new()?.block_on(serve())
}

/// Says on standard output where it listens.
async fn serve() -> std::io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection = TokioIo::new(stream);
        tokio::spawn(http1::Builder::new().serve_connection(connection, service_fn(answer)));
    }
}

async fn answer(_request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(BODY)));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

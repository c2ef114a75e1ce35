//! What the sidecar's answer is compared with: a hyper server that does nothing but one GET at Redis.

use std::convert::Infallible;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use tokio::net::TcpListener;

/// Serves for ever. Each path is the key that is asked for.
pub async fn serve(
    listener: TcpListener,
    redis: MultiplexedConnection,
) -> std::io::Result<Infallible> {
    loop {
        let (stream, _) = listener.accept().await?;
        let _ = stream.set_nodelay(true);
        let redis = redis.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, redis.clone()));
            // How the connection ends is the client's affair.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    mut redis: MultiplexedConnection,
) -> Result<Response<Full<Bytes>>, redis::RedisError> {
    let key = request.uri().path().trim_start_matches('/').to_owned();
    let value: Option<Vec<u8>> = redis.get(key).await?;
    Ok(Response::new(Full::new(value.unwrap_or_default().into())))
}

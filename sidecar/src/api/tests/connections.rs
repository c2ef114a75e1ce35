//! Probes, and what becomes of connections: refused, cut off, ended by a shut-down.

use super::*;

#[tokio::test]
async fn probes_and_metrics_answer() {
    let sidecar = Running::start().await;
    sidecar.edge("/v1/verdict/198.51.101.7").await;
    assert_eq!(
        get(&format!("{}/livez", sidecar.metrics)).await.status,
        StatusCode::OK
    );
    assert_eq!(
        document(&get(&format!("{}/health", sidecar.metrics)).await)["status"],
        "ok"
    );
    let text = get(&format!("{}/metrics", sidecar.metrics)).await;
    let text = std::str::from_utf8(&text.body).unwrap();
    let line =
        "portcullis_http_requests_total{listener=\"edge\",route=\"verdict\",status=\"200\"} 1";
    assert!(text.contains(line), "{text}");
    sidecar.stop().await;
}

#[tokio::test]
async fn probes_answer_during_a_long_start_and_a_shut_down_ends_it() {
    let text =
        "[listen]\nedge = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n";
    let config = Config::parse(text, std::iter::empty()).unwrap();
    let listeners = Listeners::bind(&config.listen).await.unwrap();
    let url = format!("http://{}", listeners.metrics);
    let (never, shutdown) = (std::future::pending(), CancellationToken::new());
    let serving = listeners.serve::<StartError>(Arc::default(), never, shutdown.clone());
    let serving = tokio::spawn(serving);
    let status = async |path| get(&format!("{url}{path}")).await.status.as_u16();
    assert_eq!(
        (status("/livez").await, status("/readyz").await),
        (200, 503)
    );
    assert_eq!(
        (status("/health").await, status("/metrics").await),
        (503, 200)
    );
    shutdown.cancel();
    let ended = tokio::time::timeout(PATIENCE, serving).await.unwrap();
    ended.unwrap().unwrap();
}

#[tokio::test]
async fn a_shut_down_removes_the_socket() {
    let sidecar = Running::start().await;
    let socket = sidecar.directory.path().join("admin.sock");
    assert!(socket.exists());
    sidecar.shutdown.cancel();
    tokio::time::timeout(PATIENCE, sidecar.serving)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(!socket.exists());
}

/// Answers with more than any connection holds.
struct Much;

impl server::Handler for Much {
    const NAME: &'static str = "edge";

    async fn handle(
        &self,
        _request: hyper::Request<hyper::body::Incoming>,
        _exchange: &mut server::Exchange,
    ) -> Result<server::Reply, problem::Problem> {
        let body = vec![0; 64 * 1024 * 1024];
        Ok(server::reply(StatusCode::OK, "x/y", body.into()))
    }
}

#[tokio::test]
async fn who_takes_no_answer_loses_his_place_and_what_has_none_is_ended_at_once() {
    let address = crate::config::ListenAddress::Tcp(([127, 0, 0, 1], 0).into());
    let listener = Listener::bind("edge", &address).await.unwrap();
    let address = listener.to_string();
    let limits = server::Limits {
        connections: 1,
        patience: Duration::from_secs(1),
    };
    let (metrics, shutdown) = (Arc::new(Metrics::new()), CancellationToken::new());
    let serving = server::serve_within(
        limits,
        listener,
        Much,
        Arc::clone(&metrics),
        shutdown.clone(),
    );
    let serving = tokio::spawn(serving);
    let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut idle = TcpStream::connect(&address).await.unwrap();
    idle.write_all(request).await.unwrap();
    idle.readable().await.unwrap();
    // There is one place, and it is taken.
    let mut refused = TcpStream::connect(&address).await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, refused.read(&mut [0])).await;
    assert_eq!(ended.unwrap().unwrap(), 0);
    let line = "portcullis_connections_refused_total{listener=\"edge\"} 1";
    assert!(metrics.encode().unwrap().contains(line));
    // It is free again when its holder was waited for in vain.
    let served = async {
        loop {
            let mut next = TcpStream::connect(&address).await.unwrap();
            let _gone = next.write_all(request).await;
            if next.read(&mut [0]).await.is_ok_and(|bytes| bytes == 1) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, served).await.unwrap();
    drop(idle);
    shutdown.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn garbage_and_half_a_request_end_a_connection_and_nothing_else() {
    let sidecar = Running::start().await;
    let address = sidecar.edge.trim_start_matches("http://").to_owned();
    for garbage in [
        b"\x16\x03\x01\x00\xff\xff\r\n\r\n".as_slice(),
        b"GET /\xff HTTP/9.9\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        // The peer may reset the connection, which ends it as well.
        let _ended = tokio::time::timeout(PATIENCE, read).await.unwrap();
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    }
    let half = TcpStream::connect(&address).await.unwrap();
    assert_eq!(
        sidecar.edge("/v1/verdict/198.51.101.7").await.status,
        StatusCode::OK
    );
    drop(half);
    sidecar.stop().await;
}

//! Streams that are open when their client is banned: what docs/install-envoy.md says of time.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use kit::{Connection, Envoy, Request, Sidecar, parts};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::plain::{Filter, Plain, WEB, add_keys, page};
use crate::common::{LIMIT, cli, sidecar_that_blocks};

/// In place of the page's hour. Long enough for a ban to arrive on a busy machine.
const LONGEST: Duration = Duration::from_secs(6);
const WEBSOCKET: &str = "upgrade: websocket\r\nconnection: upgrade\r\n";

/// Sends without end, as an event stream or as a WebSocket.
async fn talkative_upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(talk(stream));
        }
    });
    address
}

/// Until the other end is gone.
async fn talk(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let is_upgrade = String::from_utf8_lossy(&head)
        .to_lowercase()
        .contains("websocket");
    let (start, piece) = match is_upgrade {
        true => (format!("HTTP/1.1 101 Switching Protocols\r\n{WEBSOCKET}\r\n"), "\u{1}"),
        false => (
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(),
            "7\r\ndata:\n\n\r\n",
        ),
    };
    stream.write_all(start.as_bytes()).await?;
    loop {
        stream.write_all(piece.as_bytes()).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// An Envoy with the five edits and the page's limits of time, but for a shorter longest stream.
async fn enforcing(sidecar: &Sidecar) -> Envoy {
    let mut time = page().yaml("Time").unwrap();
    let longest = &mut time["common_http_protocol_options"]["max_stream_duration"];
    assert!(longest.is_string());
    *longest = json!(format!("{}s", LONGEST.as_secs()));
    let mut plain = Plain::edited(Filter::InPlace);
    plain.settings()["mode"] = json!("enforce");
    let mut config = plain
        .between(&sidecar.addresses(), talkative_upstream().await)
        .config;
    let manager = config.manager(WEB).unwrap();
    add_keys(manager, time);
    add_keys(
        manager,
        json!({"upgrade_configs": [{"upgrade_type": "websocket"}]}),
    );
    // Else the route's own limit of 15 s would end an event stream too.
    manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["timeout"] = json!("0s");
    let envoy = Envoy::with(config, &parts::envoy().unwrap()).edge(WEB);
    let envoy = envoy.start().await.unwrap();
    assert!(
        envoy.until_snapshot(LIMIT).await.unwrap(),
        "{}",
        envoy.log()
    );
    envoy
}

async fn open(client: IpAddr, edge: SocketAddr, headers: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(client, 0)).unwrap();
    let mut stream = socket.connect(edge).await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nhost: shop.test\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// Waits until new requests of the client are refused.
async fn until_refused(client: IpAddr, edge: SocketAddr) {
    let begun = Instant::now();
    loop {
        let mut connection = Connection::open_from(client, edge).await.unwrap();
        connection.write(&Request::get("/").head()).await.unwrap();
        let (status, _) = connection.receive_head().await.unwrap();
        if status == 403 {
            return;
        }
        assert!(
            begun.elapsed() < LONGEST,
            "the ban did not arrive: {status}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn a_ban_leaves_it_open_until_it_has_lasted_long_enough(last: u8, headers: &str) {
    let client = IpAddr::V4(Ipv4Addr::new(127, 7, 7, last));
    let sidecar = sidecar_that_blocks(&[]).start().await.unwrap();
    let envoy = enforcing(&sidecar).await;
    let begun = Instant::now();
    let mut stream = open(client, envoy.edge(), headers).await;
    let mut bytes = vec![0; 4096];
    assert_ne!(stream.read(&mut bytes).await.unwrap(), 0);
    cli(&sidecar, &["ban", &client.to_string()]).await;
    until_refused(client, envoy.edge()).await;
    let ended = async {
        // What was sent before the ban was in force is read first.
        let mut seen = 0;
        while let Ok(read) = stream.read(&mut bytes).await {
            if read == 0 {
                break;
            }
            seen += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        seen
    };
    let seen = tokio::time::timeout(LIMIT, ended).await.unwrap();
    assert!(seen > 2, "{seen}");
    assert!(begun.elapsed() >= LONGEST, "{:?}", begun.elapsed());
    let times = envoy
        .stat("http.ingress_http.downstream_rq_max_duration_reached")
        .await;
    assert_eq!(times, 1);
}

#[tokio::test]
async fn an_event_stream_of_a_banned_client_ends_with_max_stream_duration() {
    a_ban_leaves_it_open_until_it_has_lasted_long_enough(1, "").await;
}

#[tokio::test]
async fn a_websocket_of_a_banned_client_ends_with_max_stream_duration() {
    a_ban_leaves_it_open_until_it_has_lasted_long_enough(2, WEBSOCKET).await;
}

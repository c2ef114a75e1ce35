//! Ways around a limit: other connections, protocols, spellings, addresses and kinds of request.

use std::net::Ipv6Addr;
use std::time::Instant;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kit::Request;

use super::{BURST, CLEAN, CLIENT, counted, edge, finds_it_empty, refilled, spend, spend_as};

#[tokio::test]
async fn a_client_that_changes_its_address_within_its_64_stays_one_client() {
    let edge = edge().await;
    let of_net = |net: u16, host: u16| {
        Ipv6Addr::new(0x2001, 0xdb8, 7, net, host, host, 0xffff - host, host).to_string()
    };
    let as_hosts =
        |net| (0..100).map(move |host| Request::get("/").from_client(&of_net(net, host)));
    let mut connection = edge.envoy.connect().await.unwrap();
    for net in [0, 1, 0xffff] {
        // The neighbour's bucket is full, whatever was spent next door.
        let spent = spend(&mut connection, as_hosts(net)).await;
        assert!(spent.is_limited_to(BURST), "net {net}: {spent:?}");
    }
}

#[tokio::test]
async fn each_ipv4_address_is_a_client_of_its_own() {
    let edge = edge().await;
    for client in [CLIENT, "198.51.100.8", "198.51.100.6"] {
        let spent = spend_as(&edge.envoy, client, 100).await;
        assert!(spent.is_limited_to(BURST), "{client}: {spent:?}");
    }
}

#[tokio::test]
async fn ipv4_addresses_that_a_proxy_writes_as_ipv6_are_told_apart() {
    let edge = edge().await;
    let begun = Instant::now();
    let spent = spend_as(&edge.envoy, "::ffff:198.51.100.7", 100).await;
    assert!(spent.is_limited_to(BURST), "{spent:?}");
    // The same client in another spelling, and with another address in the same /64.
    for same in ["::ffff:c633:6407", "0:0:0:0:0:FFFF:198.51.100.7"] {
        assert!(finds_it_empty(&edge.envoy, same, begun).await, "{same}");
    }
    for other in ["::ffff:198.51.100.8", "::ffff:198.51.100.9"] {
        let spent = spend_as(&edge.envoy, other, 100).await;
        assert!(spent.is_limited_to(BURST), "{other}: {spent:?}");
    }
}

#[tokio::test]
async fn addresses_that_embed_ipv4_in_another_way_have_no_more_than_their_64() {
    let edge = edge().await;
    // 198.51.100.7 by NAT64, by 6to4 and by Teredo; each lies in a /64 of its own.
    for (client, neighbour) in [
        ("64:ff9b::198.51.100.7", "64:ff9b::198.51.100.8"),
        ("2002:c633:6407::1", "2002:c633:6407::2"),
        (
            "2001:0:4136:e378:8000:63bf:39cc:9bf8",
            "2001:0:4136:e378:8000:63be:39cc:9bf8",
        ),
    ] {
        let begun = Instant::now();
        let spent = spend_as(&edge.envoy, client, 100).await;
        assert!(spent.is_limited_to(BURST), "{client}: {spent:?}");
        assert!(
            finds_it_empty(&edge.envoy, neighbour, begun).await,
            "{neighbour}"
        );
    }
}

#[tokio::test]
async fn what_a_client_puts_before_its_address_does_not_choose_its_bucket() {
    let edge = edge().await;
    let requests = (0..100).map(|number| {
        let forged = format!("192.0.2.{number}, 10.0.0.{number}, {CLIENT}");
        let request = Request::get(&format!("/{number}?n={number}")).from_client(&forged);
        let request = request.header("x-real-ip", format!("192.0.2.{number}"));
        let request = request.header("x-envoy-external-address", format!("192.0.2.{number}"));
        request.header("host", format!("host-{number}.test"))
    });
    let mut connection = edge.envoy.connect().await.unwrap();
    let spent = spend(&mut connection, requests).await;
    assert!(spent.is_limited_to(BURST), "{spent:?}");
}

#[tokio::test]
async fn kinds_of_request_share_one_bucket() {
    let edge = edge().await;
    let kinds = [
        Request::get("/"),
        Request::new("HEAD", "/"),
        Request::new("OPTIONS", "/"),
        Request::post("/upload", vec![7; 2000]),
        Request::post("/upload", vec![7; 20]).header("expect", "100-continue"),
        Request::get("/").header("accept", "text/html"),
        Request::get("//a/..//b"),
        Request::get("/").header("connection", "close, x-portcullis-throttle"),
    ];
    let begun = Instant::now();
    let mut passed = 0;
    for request in kinds.iter().cycle().take(120) {
        // A connection each: no bucket lives and dies with one.
        let request = request.clone().from_client(CLIENT);
        match edge.envoy.send(&request).await.unwrap().status {
            200 => passed += 1,
            429 => {}
            other => panic!("{other} for {request:?}"),
        }
    }
    let most = BURST + refilled(begun);
    assert!(
        (BURST..=most).contains(&passed),
        "{passed} of at most {most}"
    );
}

#[tokio::test]
async fn requests_that_are_sent_without_waiting_for_answers_count_one_by_one() {
    let edge = edge().await;
    let request = Request::get("/").from_client(CLIENT);
    let begun = Instant::now();
    let mut connection = edge.envoy.connect().await.unwrap();
    connection.write(&request.head().repeat(100)).await.unwrap();
    let mut passed = 0;
    // Envoy may end the connection behind a refusal; what was not answered was not served either.
    while let Ok(response) = connection.receive("GET").await {
        passed += usize::from(response.status == 200);
        if response.status == 429 || passed == 100 {
            break;
        }
    }
    let most = BURST + refilled(begun);
    assert!((BURST..=most).contains(&passed), "{passed}");
    assert!(edge.upstream.served() <= most as u64);
}

#[tokio::test]
async fn http2_streams_count_in_the_same_bucket_as_http1() {
    let edge = edge().await;
    let begun = Instant::now();
    let half = spend_as(&edge.envoy, CLIENT, BURST / 2).await;
    assert_eq!(half.passed, BURST / 2);
    let stream = tokio::net::TcpStream::connect(edge.envoy.edge())
        .await
        .unwrap();
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.unwrap();
    let driver = tokio::spawn(connection);
    let streams = (0..80).map(|number| {
        let mut sender = sender.clone();
        async move {
            let request = hyper::Request::get(format!("http://portcullis.test/{number}"));
            let request = request.header("x-forwarded-for", CLIENT);
            let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap());
            let response = response.await.unwrap();
            let status = response.status().as_u16();
            response.into_body().collect().await.unwrap();
            status
        }
    });
    let mut streams: tokio::task::JoinSet<u16> = streams.collect();
    let (mut passed, mut refused) = (0, 0);
    while let Some(status) = streams.join_next().await {
        match status.unwrap() {
            200 => passed += 1,
            429 => refused += 1,
            other => panic!("{other}"),
        }
    }
    driver.abort();
    assert!(
        (BURST / 2..=BURST / 2 + refilled(begun)).contains(&passed),
        "{passed} passed, {refused} refused"
    );
    assert_eq!(passed + refused, 80);
}

#[tokio::test]
async fn refused_requests_cost_their_sender_nothing_that_others_have() {
    let edge = edge().await;
    let spent = spend_as(&edge.envoy, CLIENT, 1000).await;
    assert!(spent.is_limited_to(BURST), "{spent:?}");
    assert_eq!(
        counted(&edge.envoy, "throttled", "enforced").await,
        spent.refused as u64
    );
    assert_eq!(spend_as(&edge.envoy, CLEAN, 100).await.passed, 100);
    assert_eq!(
        spend_as(&edge.envoy, "198.51.100.8", BURST).await.passed,
        BURST
    );
}

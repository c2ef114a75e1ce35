//! As many decisions as CrowdSec asks a bouncer to bear, and some more: how long they take from the answer's first
//! octet to the edge, and what they cost in memory.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kit::CrowdSec;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::common::{Edge, sidecar_that_blocks};

const DECISIONS: u32 = 120_000;
/// For an unoptimised build on a busy machine.
const MOST_TIME: Duration = Duration::from_secs(15);
const MOST_MEMORY: u64 = 150 * 1024 * 1024;

/// Between the sidecar and the Local API: closed at first, it notes when the first answer begins.
struct Tap {
    address: SocketAddr,
    open: watch::Sender<bool>,
    began: Arc<Mutex<Option<Instant>>>,
}

impl Tap {
    async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (open, gate) = watch::channel(false);
        let tap = Self {
            address: listener.local_addr().unwrap(),
            open,
            began: Arc::default(),
        };
        let began = Arc::clone(&tap.began);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *gate.borrow() {
                    tokio::spawn(carry(client, target, Arc::clone(&began)));
                }
            }
        });
        tap
    }
}

async fn carry(client: TcpStream, target: SocketAddr, began: Arc<Mutex<Option<Instant>>>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(target).await.unwrap().into_split();
    let asking = async { tokio::io::copy(&mut from_client, &mut to_server).await };
    let answering = async {
        let mut piece = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut piece).await {
            began.lock().unwrap().get_or_insert_with(Instant::now);
            if to_client.write_all(&piece[..length]).await.is_err() {
                return;
            }
        }
    };
    // Whoever ends first ends both.
    tokio::select! {
        _asked = asking => {}
        () = answering => {}
    }
}

fn address(at: u32) -> String {
    format!("198.{}.{}.{}", 18 + (at >> 16), (at >> 8) & 255, at & 255)
}

#[tokio::test]
async fn a_hundred_and_twenty_thousand_decisions_are_enforced_soon_after_the_first_octet() {
    let crowdsec = CrowdSec::start().await.unwrap();
    let key = crowdsec.bouncer("edge").unwrap();
    crowdsec.import((0..DECISIONS).map(address)).unwrap();
    let tap = Tap::before(crowdsec.address()).await;
    let toml = format!(
        "[[feed]]\nname = \"crowdsec\"\nformat = \"crowdsec\"\nurl = \"http://{}\"\n\
         key = \"secret:crowdsec\"\nrefresh = \"2s\"\n\
         [secret.crowdsec]\nfrom = \"env\"\nname = \"CROWDSEC_KEY\"\n",
        tap.address
    );
    let sidecar = sidecar_that_blocks(&[]).toml(&toml);
    let edge = Edge::start(sidecar.env("CROWDSEC_KEY", &key)).await;
    let last = address(DECISIONS - 1);
    assert_eq!(edge.envoy.status_for(&last).await, 200);
    tap.open.send_replace(true);
    let deadline = Instant::now() + Duration::from_secs(120);
    while edge.envoy.status_for(&last).await != 403 {
        assert!(Instant::now() < deadline, "{}", edge.sidecar.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let began = tap.began.lock().unwrap().expect("nothing was asked");
    let (took, memory) = (began.elapsed(), edge.sidecar.peak_memory());
    println!("{DECISIONS} decisions: {took:?} from the first octet, {memory} octets at most");
    for at in [0, DECISIONS / 2] {
        assert_eq!(edge.envoy.status_for(&address(at)).await, 403);
    }
    assert!(took < MOST_TIME, "{took:?}");
    assert!((1..MOST_MEMORY).contains(&memory), "{memory}");
}

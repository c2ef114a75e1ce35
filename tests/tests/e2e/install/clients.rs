//! The recipes of docs/install-envoy.md for the client's address: each on a listener of its own in one Envoy, asked as
//! its load balancer would ask and as somebody who claims to be another client.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use kit::config::{EdgeConfig, insert, socket};
use kit::envoy::validate;
use kit::{Connection, Envoy, Request, Upstream, parts, ports};
use serde_json::{Value, json};

use super::plain::{Filter, Plain, WEB, add_keys, page};
use crate::common::{CANARY, LIMIT, sidecar_that_blocks};

const HERE: &str = "127.0.0.1";
/// Stands on the list, as a peer.
const LISTED_PEER: &str = "127.88.88.88";
/// Plays a network of Cloudflare's.
const CLOUDFLARE: &str = "127.1.0.1";
const GOOD: &str = "203.0.113.5";

// Each recipe by its heading.
const NOTHING: &str = "Nothing in front, or an NLB without PROXY protocol";
const ALB: &str = "AWS ALB";
const NLB: &str = "AWS NLB with PROXY protocol";
const CLOUDFRONT: &str = "CloudFront, an ALB behind it";
const CLOUDFLARE_BY_PEER: &str = "Cloudflare";
const CLOUDFLARE_BY_HEADER: &str = "Cloudflare, by its own header";
const MESH: &str = "In a mesh's sidecar proxy";
const RECIPES: [&str; 7] = [
    NOTHING,
    ALB,
    NLB,
    CLOUDFRONT,
    CLOUDFLARE_BY_PEER,
    CLOUDFLARE_BY_HEADER,
    MESH,
];
/// A gateway that leads to the sidecar proxy of the last recipe.
const GATEWAY: &str = "gateway";

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    Passes,
    RefusedByUs,
    /// Also: the connection is closed.
    RefusedByEnvoy,
}

struct Recipes {
    envoy: Envoy,
}

impl Recipes {
    async fn ask(&self, recipe: &str, from: &str, request: &Request) -> Outcome {
        self.ask_behind(recipe, from, &[], request).await
    }

    async fn ask_behind(
        &self,
        recipe: &str,
        from: &str,
        first: &[u8],
        request: &Request,
    ) -> Outcome {
        let to = self.envoy.listener(recipe).await.unwrap();
        let from = from.parse().unwrap();
        let mut connection = Connection::open_from(from, to).await.unwrap();
        connection.write(first).await.unwrap();
        match connection.send(request).await {
            Ok(answer) if answer.status == 200 => Outcome::Passes,
            Ok(answer) if answer.header("x-portcullis-decision").is_some() => Outcome::RefusedByUs,
            Ok(answer) => {
                assert_eq!(answer.status, 403, "{recipe}");
                Outcome::RefusedByEnvoy
            }
            Err(_) => Outcome::RefusedByEnvoy,
        }
    }

    async fn forwarded(&self, recipe: &str, from: &str, value: &str) -> Outcome {
        let request = Request::get("/").header("x-forwarded-for", value);
        self.ask(recipe, from, &request).await
    }
}

/// The fixture's listener once for each recipe.
fn listeners(config: &mut EdgeConfig, sidecar_proxy: SocketAddr) {
    let web = config.listener(WEB).unwrap().clone();
    for recipe in RECIPES {
        let mut listener = web.clone();
        insert(&mut listener, "name", json!(recipe));
        add(config, listener);
        apply(config, recipe);
    }
    insert(
        config.listener(MESH).unwrap(),
        "address",
        socket(sidecar_proxy),
    );
    let mut gateway = web;
    insert(&mut gateway, "name", json!(GATEWAY));
    add(config, gateway);
    let manager = config.manager(GATEWAY).unwrap();
    manager["http_filters"]
        .as_array_mut()
        .unwrap()
        .retain(|filter| filter["name"] != "portcullis");
    let route = &mut manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"];
    *route = json!({"cluster": "sidecar_proxy"});
    let endpoint = json!({"endpoint": {"address": socket(sidecar_proxy)}});
    let cluster = json!({
        "name": "sidecar_proxy",
        "load_assignment": {"cluster_name": "sidecar_proxy", "endpoints": [{"lb_endpoints": [endpoint]}]},
    });
    config
        .at("/static_resources/clusters")
        .unwrap()
        .as_array_mut()
        .unwrap()
        .push(cluster);
}

fn add(config: &mut EdgeConfig, listener: Value) {
    let listeners = config.at("/static_resources/listeners").unwrap();
    listeners.as_array_mut().unwrap().push(listener);
}

fn apply(config: &mut EdgeConfig, recipe: &str) {
    let mut block = page().yaml(recipe).unwrap();
    if block.get("listener_filters").is_some() {
        return add_keys(config.listener(recipe).unwrap(), block);
    }
    let trusted = "/original_ip_detection_extensions/0/typed_config/xff_trusted_cidrs/cidrs";
    if let Some(cidrs) = block.pointer_mut(trusted).and_then(Value::as_array_mut) {
        cidrs.push(json!({"address_prefix": CLOUDFLARE, "prefix_len": 32}));
    }
    let manager = config.manager(recipe).unwrap();
    manager
        .as_object_mut()
        .unwrap()
        .remove("use_remote_address");
    add_keys(manager, block);
}

/// The second version's header for a client that connected by IPv4.
fn proxy_header(client: &str) -> Vec<u8> {
    let client: Ipv4Addr = client.parse().unwrap();
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend(client.octets());
    header.extend([127, 0, 0, 1]);
    header.extend([0xC3, 0x50, 0x27, 0x10]);
    header
}

async fn start() -> (Recipes, Upstream, kit::Sidecar) {
    let upstream = Upstream::start().await.unwrap();
    let sidecar = sidecar_that_blocks(&[]).start().await.unwrap();
    let mut plain =
        Plain::edited(Filter::InPlace).between(&sidecar.addresses(), upstream.address());
    plain.settings()["mode"] = json!("enforce");
    let sidecar_proxy = (IpAddr::V4(Ipv4Addr::LOCALHOST), ports::reserve().unwrap());
    listeners(&mut plain.config, sidecar_proxy.into());
    validate(&plain.config, &[]).unwrap();
    let builder = Envoy::with(plain.config, &parts::envoy().unwrap());
    let envoy = builder.edge(WEB).start().await.unwrap();
    assert!(
        envoy.until_snapshot(LIMIT).await.unwrap(),
        "{}",
        envoy.log()
    );
    (Recipes { envoy }, upstream, sidecar)
}

#[tokio::test]
async fn each_recipe_decides_on_the_client_and_believes_nobody_else() {
    use Outcome::{Passes, RefusedByEnvoy, RefusedByUs};
    let (recipes, _upstream, _sidecar) = start().await;
    let forwarded = [
        (NOTHING, LISTED_PEER, GOOD.to_owned(), RefusedByUs),
        (NOTHING, HERE, CANARY.to_owned(), Passes),
        (ALB, HERE, CANARY.to_owned(), RefusedByUs),
        (ALB, HERE, format!("{GOOD}, {CANARY}"), RefusedByUs),
        (ALB, HERE, format!("{CANARY}, {GOOD}"), Passes),
        (
            CLOUDFRONT,
            HERE,
            format!("{CANARY}, 198.18.0.1"),
            RefusedByUs,
        ),
        (
            CLOUDFRONT,
            HERE,
            format!("{GOOD}, {CANARY}, 198.18.0.1"),
            RefusedByUs,
        ),
        (
            CLOUDFRONT,
            HERE,
            format!("{CANARY}, {GOOD}, 198.18.0.1"),
            Passes,
        ),
        (
            CLOUDFLARE_BY_PEER,
            CLOUDFLARE,
            CANARY.to_owned(),
            RefusedByUs,
        ),
        (
            CLOUDFLARE_BY_PEER,
            CLOUDFLARE,
            format!("{CANARY}, {GOOD}"),
            Passes,
        ),
        (
            CLOUDFLARE_BY_PEER,
            LISTED_PEER,
            GOOD.to_owned(),
            RefusedByUs,
        ),
        (CLOUDFLARE_BY_PEER, HERE, CANARY.to_owned(), Passes),
        (GATEWAY, LISTED_PEER, GOOD.to_owned(), RefusedByUs),
        (GATEWAY, HERE, CANARY.to_owned(), Passes),
        (MESH, HERE, format!("{CANARY}, {GOOD}"), Passes),
        (MESH, HERE, format!("{GOOD}, {CANARY}"), RefusedByUs),
    ];
    for (recipe, from, value, outcome) in forwarded {
        let had = recipes.forwarded(recipe, from, &value).await;
        assert_eq!(had, outcome, "{recipe}: from {from}: {value}");
    }
    let claim = Request::get("/").header("x-forwarded-for", CANARY);
    for (client, request, outcome) in [
        (CANARY, Request::get("/"), RefusedByUs),
        (
            CANARY,
            Request::get("/").header("x-forwarded-for", GOOD),
            RefusedByUs,
        ),
        (GOOD, claim.clone(), Passes),
    ] {
        let header = proxy_header(client);
        let had = recipes.ask_behind(NLB, HERE, &header, &request).await;
        assert_eq!(had, outcome, "{NLB}: {client}");
    }
    assert_eq!(
        recipes.ask(NLB, HERE, &Request::get("/")).await,
        RefusedByEnvoy
    );
    let connecting = |address| Request::get("/").header("cf-connecting-ip", address);
    for (request, outcome) in [
        (connecting(CANARY), RefusedByUs),
        (
            connecting(CANARY).header("x-forwarded-for", GOOD),
            RefusedByUs,
        ),
        (connecting(GOOD).header("x-forwarded-for", CANARY), Passes),
        (connecting("nobody"), RefusedByEnvoy),
        (claim, RefusedByEnvoy),
    ] {
        let had = recipes.ask(CLOUDFLARE_BY_HEADER, HERE, &request).await;
        assert_eq!(had, outcome, "{CLOUDFLARE_BY_HEADER}: {request:?}");
    }
}

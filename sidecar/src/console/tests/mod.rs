//! The console on a real listener, in front of a real intelligence, as a browser sees it.

mod blocked;
mod orders;
mod safety;
mod speed;

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;
use crate::api::listener::Listener;
use crate::api::server::{self, Handler};
use crate::api::token::{self, AdminToken};
use crate::config::{Config, ListenAddress};
use crate::intelligence::NewDecision;
use crate::intelligence::testing::{Harness, PATIENCE};
use crate::orders::Trail;
use crate::secrets::Secrets;

/// Nothing but the console.
struct Only(Console);

impl Handler for Only {
    const NAME: &'static str = "admin";

    async fn handle(
        &self,
        request: Request<Incoming>,
        exchange: &mut Exchange,
    ) -> Result<Reply, Problem> {
        Ok(self.0.handle(request, exchange).await)
    }
}

/// The console and what it stands in front of.
struct Desk {
    harness: Harness,
    orders: Arc<Orders>,
    refusals: Arc<Refusals>,
    address: String,
    token: String,
    _shutdown: DropGuard,
}

/// Keeps a cookie, as browsers do, and reads the token out of forms.
struct Browser<'a> {
    desk: &'a Desk,
    cookie: Option<String>,
}

struct Seen {
    status: u16,
    head: String,
    body: String,
}

impl Desk {
    async fn open() -> Self {
        Self::open_on(Harness::start("").await).await
    }

    async fn open_on(harness: Harness) -> Self {
        let directory = harness.directory.path();
        let config = Config::parse(&harness.complete(""), std::iter::empty()).unwrap();
        let secrets = Arc::new(Secrets::new(config.secrets.clone()));
        let door = Door::new(AdminToken::prepare(&config, &secrets).unwrap());
        let token = token::read_file(&directory.join(token::FILE_NAME)).unwrap();
        let clock = Arc::clone(&harness.clock) as Arc<dyn Clock>;
        let intelligence = Arc::clone(&harness.intelligence);
        let orders = Arc::new(Orders::new(
            Arc::clone(&intelligence),
            Trail::in_memory(Arc::clone(&clock)),
        ));
        let refusals = Arc::new(Refusals::new(Arc::clone(&clock)));
        let console = Console::new(Needs {
            intelligence,
            orders: Arc::clone(&orders),
            door: Arc::new(door),
            proxies: Arc::new(Proxies::new(
                &crate::config::Envoy::default(),
                crate::http::HttpClient::new(),
                Arc::clone(&clock),
            )),
            refusals: Arc::clone(&refusals),
            metrics: Arc::clone(&harness.metrics),
            clock,
        });
        let anywhere = ListenAddress::Tcp(([127, 0, 0, 1], 0).into());
        let listener = Listener::bind("admin", &anywhere).await.unwrap();
        let address = listener.to_string();
        let shutdown = CancellationToken::new();
        let metrics = Arc::clone(&harness.metrics);
        tokio::spawn(server::serve(
            listener,
            Only(console),
            metrics,
            shutdown.clone(),
        ));
        Self {
            harness,
            orders,
            refusals,
            address,
            token: token.expose_secret().to_owned(),
            _shutdown: shutdown.drop_guard(),
        }
    }

    fn stranger(&self) -> Browser<'_> {
        Browser {
            desk: self,
            cookie: None,
        }
    }

    async fn signed_in(&self) -> Browser<'_> {
        let mut browser = self.stranger();
        let fields = [("token", self.token.as_str()), ("name", "ada")];
        let seen = browser.send(&post("/login", &fields)).await;
        assert_eq!((seen.status, seen.header("location")), (303, Some("/")));
        browser
    }
}

impl Browser<'_> {
    async fn get(&mut self, path: &str) -> Seen {
        self.send(&format!("GET {path} HTTP/1.1\r\n\r\n")).await
    }

    /// Fills in the form that is on `page` and sends it.
    async fn fill(&mut self, page: &str, path: &str, fields: &[(&str, &str)]) -> Seen {
        let csrf = self.get(page).await.csrf();
        let fields = [&[("csrf", csrf.as_str())], fields].concat();
        self.send(&post(path, &fields)).await
    }

    /// As [`Self::fill`], and goes where the answer leads.
    async fn order(&mut self, page: &str, path: &str, fields: &[(&str, &str)]) -> Seen {
        let seen = self.fill(page, path, fields).await;
        assert_eq!(seen.status, 303, "{}", seen.body);
        let to = seen.header("location").unwrap().to_owned();
        self.get(&to).await
    }

    async fn send(&mut self, request: &str) -> Seen {
        let cookie = self.cookie.iter().map(|it| format!("cookie: {it}\r\n"));
        let (line, rest) = request.split_once("\r\n").unwrap();
        let host = &self.desk.address;
        let cookie: String = cookie.collect();
        let text = format!("{line}\r\nhost: {host}\r\nconnection: close\r\n{cookie}{rest}");
        let mut stream = TcpStream::connect(host).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let seen = Seen {
            status,
            head: head.to_owned(),
            body: body.to_owned(),
        };
        if let Some(set) = seen.header("set-cookie") {
            self.cookie = set.split(';').next().map(str::to_owned);
        }
        seen
    }
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut named = lines.filter(|(have, _)| have.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value)
    }

    fn csrf(&self) -> String {
        let (_, rest) = self.body.split_once("name=\"csrf\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }
}

fn post(path: &str, fields: &[(&str, &str)]) -> String {
    let body: String = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    format!(
        "POST {path} HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn ban(cidr: &str, reason: &str) -> NewDecision {
    NewDecision {
        cidr: cidr.parse().unwrap(),
        kind: reputation::DecisionKind::Ban,
        reason: reason.to_owned(),
        author: "ada".to_owned(),
        ttl: None,
        force: false,
    }
}

//! The console: pages at `/` of the admin listener, for a person with a browser. Rendered here, without
//! scripts, without anything from another host.
//!
//! What it shows comes from `intelligence`, what it changes goes through `orders`. Who may enter is
//! `session`'s; which requests are let in at all is `origin`'s. One file per page.

mod address;
mod assets;
mod blocked;
mod chart;
mod cookie;
mod decisions;
mod entry;
mod form;
mod import;
mod look;
mod now;
mod origin;
mod page;
mod respond;
mod secrets;
mod session;
mod sources;
#[cfg(test)]
mod tests;
mod thresholds;
mod trail;

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request};

use crate::api::door::Door;
use crate::api::problem::{Kind, Problem};
use crate::api::server::{Exchange, Reply};
use crate::clock::Clock;
use crate::intelligence::Intelligence;
use crate::orders::{Operator, Orders, Way};
use crate::proxies::Proxies;
use crate::refusals::Refusals;
use crate::telemetry::Metrics;
use assets::Assets;
use form::Form;
use page::Notice;
use session::{Sessions, Viewer};

pub struct Needs {
    pub intelligence: Arc<Intelligence>,
    pub orders: Arc<Orders>,
    pub door: Arc<Door>,
    pub proxies: Arc<Proxies>,
    pub refusals: Arc<Refusals>,
    pub metrics: Arc<Metrics>,
    pub clock: Arc<dyn Clock>,
}

pub struct Console {
    needs: Needs,
    sessions: Sessions,
    assets: Assets,
}

/// One request of somebody who is signed in.
struct Visit<'a> {
    console: &'a Needs,
    viewer: Arc<Viewer>,
    operator: Operator,
    query: Form,
}

/// What came of an order, and where to go on.
struct Done {
    notice: Notice,
    to: String,
}

/// What a page needs besides an order: the answer to a form is another page.
enum Answer {
    Page(page::Page),
    Go(Done),
}

/// Where there is a page, an order, or (at `/import` and `/login`) both.
const PATHS: [&str; 18] = [
    "/",
    "/address",
    "/decide",
    "/decisions",
    "/import",
    "/login",
    "/logout",
    "/mode",
    "/mode/clear",
    "/release",
    "/secrets",
    "/sources",
    "/take-back",
    "/thresholds",
    "/trail",
    "/unallow",
    "/unban",
    "/undo",
];

impl Console {
    pub fn new(needs: Needs) -> Self {
        Self {
            needs,
            sessions: Sessions::default(),
            assets: Assets::new(),
        }
    }

    /// Whether the path is the console's.
    pub fn serves(path: &str) -> bool {
        PATHS.contains(&path) || path.starts_with(assets::FOLDER)
    }

    pub async fn handle(&self, request: Request<Incoming>, exchange: &Exchange) -> Reply {
        if let Some(asset) = self.assets.find(request.uri().path()) {
            return respond::asset(asset);
        }
        let id = cookie::read(request.headers());
        let viewer = id.and_then(|id| self.sessions.of(&id, &self.needs.door));
        let shown_to = viewer.clone();
        let answered = match viewer {
            Some(viewer) => self.inside(viewer, request, exchange).await,
            None => self.outside(request, exchange).await,
        };
        answered.unwrap_or_else(|problem| {
            let page = page::problem(&problem, &exchange.id.text());
            let mut reply = self.render(page, shown_to.as_deref());
            *reply.status_mut() = problem.status();
            reply.headers_mut().extend(problem.header());
            reply
        })
    }

    /// For whoever is not signed in there is one page.
    async fn outside(
        &self,
        request: Request<Incoming>,
        exchange: &Exchange,
    ) -> Result<Reply, Problem> {
        match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/login") => {
                Ok(self.render(entry::login(None, ""), None))
            }
            (&Method::POST, "/login") => self.sign_in(request, exchange).await,
            (&Method::GET | &Method::HEAD, _) => Ok(respond::to("/login")),
            (&Method::POST, _) => Err(Problem::new(Kind::SignedOut)),
            _ => Err(Problem::new(Kind::WrongMethod("GET, HEAD, POST"))),
        }
    }

    async fn inside(
        &self,
        viewer: Arc<Viewer>,
        request: Request<Incoming>,
        exchange: &Exchange,
    ) -> Result<Reply, Problem> {
        let path = request.uri().path().to_owned();
        let visit = Visit {
            console: &self.needs,
            operator: operator(&viewer, exchange),
            query: Form::of_query(request.uri().query()),
            viewer: Arc::clone(&viewer),
        };
        let answer = match (request.method(), path.as_str()) {
            (&Method::GET | &Method::HEAD, "/login") => return Ok(respond::to("/")),
            (&Method::GET | &Method::HEAD, path) => Answer::Page(visit.page(path).await?),
            (&Method::POST, "/login") => return self.sign_in(request, exchange).await,
            (&Method::POST, "/logout") => {
                self.form(&viewer, request, form::USUAL).await?;
                return Ok(self.sign_out(&visit));
            }
            (&Method::POST, "/import") => {
                let form = self.form(&viewer, request, import::LARGEST).await?;
                import::import(&visit, form).await?
            }
            (&Method::POST, order) => {
                let form = self.form(&viewer, request, form::USUAL).await?;
                visit.order(order, &form).await?
            }
            _ => return Err(Problem::new(Kind::WrongMethod("GET, HEAD, POST"))),
        };
        Ok(match answer {
            Answer::Page(page) => self.render(page, Some(&viewer)),
            Answer::Go(Done { notice, to }) => {
                self.sessions.leave(&viewer, notice);
                respond::to(&to)
            }
        })
    }

    /// A form that was sent from a page of ours to this viewer.
    async fn form(
        &self,
        viewer: &Viewer,
        request: Request<Incoming>,
        most: usize,
    ) -> Result<Form, Problem> {
        origin::check(request.headers())?;
        let form = Form::read(request, most).await?;
        if viewer.gave(form.get("csrf")) {
            Ok(form)
        } else {
            Err(Problem::new(Kind::NotFromHere))
        }
    }

    fn render(&self, page: page::Page, viewer: Option<&Viewer>) -> Reply {
        let notice = viewer.and_then(|viewer| self.sessions.take(viewer));
        let status = page.status;
        respond::html(status, page.render(&self.assets, viewer, notice))
    }
}

impl Visit<'_> {
    async fn page(&self, path: &str) -> Result<page::Page, Problem> {
        match path {
            "/" => Ok(now::page(self)),
            "/address" => address::page(self).await,
            "/decisions" => Ok(decisions::page(self, None)),
            "/import" => Ok(import::page(self)),
            "/secrets" => Ok(secrets::page(self)),
            "/sources" => Ok(sources::page(self)),
            "/thresholds" => Ok(thresholds::page(self)),
            "/trail" => Ok(trail::page(self)),
            _ => Err(Problem::new(Kind::WrongMethod("POST"))),
        }
    }

    async fn order(&self, path: &str, form: &Form) -> Result<Answer, Problem> {
        match path {
            "/decide" => decisions::decide(self, form).await,
            "/take-back" => decisions::take_back(self, form).await,
            "/unban" | "/unallow" => address::take_back(self, path, form).await,
            "/undo" => decisions::undo(self, form).await,
            "/release" => sources::release(self, form).await,
            "/mode" | "/mode/clear" => now::set_mode(self, path, form).await,
            _ => Err(Problem::new(Kind::WrongMethod("GET, HEAD"))),
        }
    }
}

fn operator(viewer: &Viewer, exchange: &Exchange) -> Operator {
    Operator {
        name: viewer.name.clone(),
        by: Way::Console,
        from: exchange.peer,
        request_id: exchange.id.text().into_owned(),
    }
}

//! Signing in and out.

use hyper::Request;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::SET_COOKIE;
use maud::html;
use secrecy::SecretString;

use super::form::{self, Form};
use super::page::{Here, Notice, Page};
use super::{Console, Visit, cookie, operator, origin, respond};
use crate::api::attempts::Refusal;
use crate::api::problem::{Kind, Problem};
use crate::api::server::{Exchange, Reply};
use crate::orders::Act;
use crate::strangers::plain;

const LONGEST_NAME: usize = 64;
const NAMELESS: &str = "console";

/// The page to sign in on, with what was wrong before and the name as it was typed.
pub fn login(wrong: Option<Notice>, name: &str) -> Page {
    let body = html! {
        div .entry {
            h1 { "Portcullis" }
            @if let Some(notice) = wrong { (notice) }
            form .card method="post" action="/login" {
                p {
                    label for="name" { "Your name" }
                    input #name type="text" name="name" maxlength=(LONGEST_NAME) value=(name)
                        autocomplete="username" aria-describedby="name-hint";
                    span #name-hint .hint { "It stands beside what you do, so that others know whom to ask." }
                }
                p {
                    label for="token" { "Admin token" }
                    input #token type="password" name="token" required autofocus
                        autocomplete="current-password" aria-describedby="token-hint";
                    span #token-hint .hint {
                        "Unless configured otherwise it is in " code { "admin.token" }
                        " in the sidecar's directory."
                    }
                }
                button .primary type="submit" { "Sign in" }
            }
        }
    };
    Page::new("Sign in", Here::Nowhere, body)
}

impl Console {
    pub(super) async fn sign_in(
        &self,
        request: Request<Incoming>,
        exchange: &Exchange,
    ) -> Result<Reply, Problem> {
        origin::check(request.headers())?;
        let headers = request.headers().clone();
        let form = Form::read(request, form::USUAL).await?;
        let name = plain(form.get("name"), LONGEST_NAME);
        let Some(token) = form.given("token") else {
            return Ok(self.turned_away(StatusCode::UNAUTHORIZED, "Type the admin token.", &name));
        };
        match self.needs.door.admit(exchange.peer, token.as_bytes()).await {
            Ok(()) => {}
            Err(Refusal::Wrong) => {
                let why = "That is not the admin token.";
                return Ok(self.turned_away(StatusCode::UNAUTHORIZED, why, &name));
            }
            Err(Refusal::TooMany) => {
                let why = "Too many wrong tokens came from your address just now. Wait a moment.";
                return Ok(self.turned_away(StatusCode::TOO_MANY_REQUESTS, why, &name));
            }
        }
        let name = Some(name).filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| NAMELESS.to_owned());
        let opened = self.sessions.open(name, SecretString::from(token));
        let (id, viewer) = opened.map_err(|error| {
            tracing::error!(%error, "no random number for a session");
            Problem::new(Kind::Internal)
        })?;
        self.needs
            .orders
            .note(&operator(&viewer, exchange), Act::SignedIn);
        let mut reply = respond::to("/");
        let cookie = cookie::set(&headers, &id);
        reply
            .headers_mut()
            .extend(cookie.map(|cookie| (SET_COOKIE, cookie)));
        Ok(reply)
    }

    pub(super) fn sign_out(&self, visit: &Visit<'_>) -> Reply {
        self.sessions.close(&visit.viewer);
        visit.console.orders.note(&visit.operator, Act::SignedOut);
        respond::to("/login")
    }

    fn turned_away(&self, status: StatusCode, why: &str, name: &str) -> Reply {
        let mut page = login(Some(Notice::bad(why)), name);
        page.status = status;
        self.render(page, None)
    }
}

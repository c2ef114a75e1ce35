//! The frame around every page, and what all pages are made of.

use hyper::StatusCode;
use maud::{DOCTYPE, Markup, Render, html};

use super::assets::Assets;
use super::session::Viewer;
use crate::api::problem::Problem;

pub struct Page {
    pub status: StatusCode,
    title: String,
    here: Here,
    body: Markup,
}

/// Which entry of the menu a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Here {
    Now,
    Decisions,
    Sources,
    Secrets,
    Thresholds,
    Trail,
    Nowhere,
}

/// What came of an order, shown once.
#[derive(Debug, Clone)]
pub struct Notice {
    kind: Kind,
    text: String,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Good,
    Bad,
}

const MENU: [(Here, &str, &str); 6] = [
    (Here::Now, "/", "Now"),
    (Here::Decisions, "/decisions", "Decisions"),
    (Here::Sources, "/sources", "Sources"),
    (Here::Secrets, "/secrets", "Secrets"),
    (Here::Thresholds, "/thresholds", "Thresholds"),
    (Here::Trail, "/trail", "Trail"),
];

impl Page {
    pub fn new(title: impl Into<String>, here: Here, body: Markup) -> Self {
        Self {
            status: StatusCode::OK,
            title: title.into(),
            here,
            body,
        }
    }

    pub fn render(
        self,
        assets: &Assets,
        viewer: Option<&Viewer>,
        notice: Option<Notice>,
    ) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · Portcullis" }
                    link rel="stylesheet" href=(assets.style.path);
                    link rel="icon" href=(assets.icon.path);
                }
                body {
                    @if let Some(viewer) = viewer {
                        a .skip href="#content" { "Skip to the content" }
                        (header(self.here, assets, viewer))
                    }
                    main #content tabindex="-1" {
                        @if let Some(notice) = notice { (notice) }
                        (self.body)
                    }
                }
            }
        }
    }
}

fn header(here: Here, assets: &Assets, viewer: &Viewer) -> Markup {
    html! {
        header .top {
            a .name href="/" {
                img src=(assets.icon.path) alt="" width="24" height="24";
                "Portcullis"
            }
            nav aria-label="Pages" {
                ul {
                    @for (place, path, name) in MENU {
                        li {
                            a href=(path) aria-current=[(place == here).then_some("page")] { (name) }
                        }
                    }
                }
            }
            form .find action="/address" role="search" {
                label .quiet for="find" { "Address" }
                input #find type="search" name="of" placeholder="Address or prefix" required
                    autocomplete="off" autocapitalize="off" spellcheck="false";
                button type="submit" { "Look up" }
            }
            form .leave method="post" action="/logout" {
                (csrf(viewer))
                button .plain type="submit" { "Sign out " span .quiet { (viewer.name) } }
            }
        }
    }
}

/// What every form has.
pub fn csrf(viewer: &Viewer) -> Markup {
    html! { input type="hidden" name="csrf" value=(viewer.csrf); }
}

/// A refusal as a page; what is told is what a program would be told.
pub fn problem(problem: &Problem, request_id: &str) -> Page {
    let body = html! {
        h1 { (problem.title()) }
        @if let Some(detail) = problem.detail_text() { p { (detail) } }
        p { a href="/" { "To the first page" } }
        p .hint { "Request " code { (request_id) } }
    };
    let mut page = Page::new(problem.title(), Here::Nowhere, body);
    page.status = problem.status();
    page
}

impl Notice {
    pub fn good(text: impl Into<String>) -> Self {
        let (kind, text) = (Kind::Good, text.into());
        Self { kind, text }
    }

    pub fn bad(text: impl Into<String>) -> Self {
        let (kind, text) = (Kind::Bad, text.into());
        Self { kind, text }
    }
}

impl Render for Notice {
    fn render(&self) -> Markup {
        match self.kind {
            Kind::Good => html! { p .notice .good role="status" { (self.text) } },
            Kind::Bad => html! { p .notice .bad role="alert" { (self.text) } },
        }
    }
}

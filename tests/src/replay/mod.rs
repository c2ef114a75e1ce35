//! Stand-ins for the sources that are asked about single addresses. Each replays the answers in
//! `tests/fixtures/providers`, which are made up of the fields that the source documents, to the recipe that
//! `docs/providers.md` gives for it, and notes every question that is not asked as documented.

mod source;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::KitError;
use crate::serve::{Answer, Asked, Server};

pub use source::{Case, Source, recipes};

/// The key that each of them is asked with.
pub const KEY: &str = "canary-key-8c1f4e";

/// Answers at `/SOURCE/CASE/…` as that case does.
pub struct Replay {
    server: Server,
    sources: Vec<Source>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    asked: Vec<String>,
    complaints: Vec<String>,
    instead: Option<Answer>,
}

impl Replay {
    /// Plays all sources in all cases that are `wanted`.
    pub async fn start(wanted: impl Fn(&Source, &Case) -> bool) -> Result<Self, KitError> {
        let mut sources = Source::all()?;
        for source in &mut sources {
            let all = std::mem::take(&mut source.cases);
            let kept = all
                .into_iter()
                .filter(|case| wanted(source, case))
                .collect();
            source.cases = kept;
        }
        sources.retain(|source| !source.cases.is_empty());
        let state = Arc::new(Mutex::new(State::default()));
        let (known, shared) = (sources.clone(), Arc::clone(&state));
        let server = Server::start(0, move |asked| {
            let answer = with(&shared, |state| state.answer(&known, &asked));
            std::future::ready(answer)
        });
        Ok(Self {
            server: server.await?,
            sources,
            state,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// A provider for each case, called as [`Source::provider`] says.
    pub fn toml(&self) -> String {
        let mut toml = String::new();
        for source in &self.sources {
            let recipes = source.cases.iter();
            toml.extend(recipes.map(|case| source.toml(case, self.server.address())));
        }
        let mut secrets: Vec<_> = self.sources.iter().map(|it| it.secrets.as_str()).collect();
        secrets.sort_unstable();
        secrets.dedup();
        toml + &secrets.join("\n")
    }

    /// The variables that hold keys.
    pub fn environment(&self) -> Vec<(String, String)> {
        let names = self.sources.iter().flat_map(Source::variables);
        names
            .map(|name| (name.to_owned(), KEY.to_owned()))
            .collect()
    }

    /// Every answer is this one from now on.
    pub fn answer_instead(&self, answer: Option<Answer>) {
        with(&self.state, |state| state.instead = answer);
    }

    /// The addresses that anybody was asked about, in order.
    pub fn asked(&self) -> Vec<String> {
        with(&self.state, |state| state.asked.clone())
    }

    /// What was not asked as the source documents it.
    pub fn complaints(&self) -> Vec<String> {
        with(&self.state, |state| state.complaints.clone())
    }
}

impl State {
    fn answer(&mut self, sources: &[Source], asked: &Asked) -> Answer {
        let mut steps = asked.target.splitn(4, '/').skip(1);
        let mut step = || steps.next().unwrap_or_default();
        let (source, case, rest) = (step(), step(), step());
        let source = sources.iter().find(|known| known.name == source);
        let found = source.and_then(|source| {
            let mut cases = source.cases.iter();
            Some((source, cases.find(|known| known.name == case)?))
        });
        let Some((source, case)) = found else {
            self.complaints
                .push(format!("nobody is at {}", asked.target));
            return Answer::status(404);
        };
        match source.read_question(&format!("/{rest}"), asked) {
            Ok(address) => {
                self.asked.push(address);
                self.instead.clone().unwrap_or_else(|| case.answer.clone())
            }
            Err(complaint) => {
                self.complaints.push(complaint);
                Answer::status(418)
            }
        }
    }
}

fn with<R>(state: &Mutex<State>, act: impl FnOnce(&mut State) -> R) -> R {
    act(&mut state.lock().unwrap_or_else(PoisonError::into_inner))
}

//! Compiles the feeds anew and decides between a changed overlay and a new base. Runs beside the
//! publisher, for as long as the lists are long.

use std::sync::{Arc, Mutex, PoisonError};

use reputation::set::Meta;

use super::compile::{Catalogue, Listed, compile};
use super::image::{self, BuildFault};
use super::overlay::{self, ListedDelta, State};
use super::press::Base;
use crate::intelligence::setup::Setup;
use crate::intelligence::sources::{Sources, View};

pub struct Preparation {
    pub sources: Arc<Sources>,
    /// What is compiled: the feeds under their configuration.
    pub view: Arc<View>,
    pub catalogue: Arc<Mutex<Catalogue>>,
    /// The base that is to stay if little changed; `None` asks for a new one.
    pub base: Option<Arc<Base>>,
    /// What was listed until now.
    pub before: Arc<Listed>,
    /// Of the new base, should there be one.
    pub meta: Meta,
}

pub struct Prepared {
    pub setup: Arc<Setup>,
    pub listed: Arc<Listed>,
    /// How `listed` differs from the base: the new one, if there is one.
    pub delta: ListedDelta,
    pub new_base: Option<Base>,
    /// Whether something is listed that has no say yet: whoever counts it has to ask.
    pub has_shadow: bool,
    /// Whether something that was listed until now is no longer, or differently.
    pub takes_back: bool,
}

pub fn prepare(preparation: Preparation) -> Result<Prepared, BuildFault> {
    let listed = Arc::new(preparation.compile());
    let takes_back = takes_back(&preparation.before, &listed);
    let setup = Arc::clone(&preparation.view.setup);
    let has_shadow = preparation.view.have_shadow();
    if let Some(base) = &preparation.base {
        let delta = ListedDelta::between(&base.state.listed, &listed);
        if delta.count() <= overlay::limit(base.state.listed.entries.len()) {
            return Ok(Prepared {
                setup,
                listed,
                delta,
                new_base: None,
                has_shadow,
                takes_back,
            });
        }
    }
    let base = preparation.new_base(&listed)?;
    Ok(Prepared {
        setup,
        listed,
        delta: ListedDelta::default(),
        new_base: Some(base),
        has_shadow,
        takes_back,
    })
}

impl Preparation {
    fn compile(&self) -> Listed {
        let View { setup, feeds } = self.view.as_ref();
        let catalogue = self.catalogue.lock();
        let mut catalogue = catalogue.unwrap_or_else(PoisonError::into_inner);
        compile(feeds, &setup.guard, setup.policy, &mut catalogue)
    }

    fn new_base(&self, listed: &Arc<Listed>) -> Result<Base, BuildFault> {
        let state = State {
            listed: Arc::clone(listed),
            decisions: self.sources.decisions(),
            words: self.sources.words(),
        };
        let built = image::base(&state, self.meta, self.meta.built_at)?;
        Ok(Base {
            state,
            built,
            valid_until: self.meta.valid_until,
        })
    }
}

fn takes_back(before: &Listed, now: &Listed) -> bool {
    ListedDelta::between(before, now).takes_back(before)
}

//! The life of a request, in the order of cost. Only an address seen for the first time leaves the worker.

use reputation::ClientAddress;
use reputation::lookup::find;
use reputation::manifest::Askable;
use reputation::mode::Mode;
use reputation::special::is_local;

use crate::act::{act, fail, pass};
use crate::cache::{Cache, Known};
use crate::client::{self, AddressKind};
use crate::config::{Config, Failure, Policy, Strip, Unknown};
use crate::host::{ContextId, Flow, Host};
use crate::lookups::{Answered, Asked, Lookups, Waiter, concerns, remember};
use crate::metrics::FailureCause;
use crate::plugin::Plugin;
use crate::ready::{self, Readiness};
use crate::tally::Tally;
use crate::turn::Turn;
use crate::verdict::{Judgement, Source};

/// How the names of our own headers begin.
const PREFIX: &str = "x-portcullis-";

/// Decides the current stream.
pub fn on_request<H: Host>(
    turn: &mut Turn<'_, H>,
    plugin: &mut Plugin,
    context: ContextId,
) -> Flow {
    plugin.catch_up(turn);
    let config = &plugin.config;
    #[cfg(feature = "trap")]
    config
        .trap
        .at(turn.host, crate::trap::Callback::RequestHeaders);
    // Before the route is read: a forged header must not choose it.
    if config.strip == Strip::Filter {
        strip(turn.host);
    }
    let address = client::address(turn.host, config.client_ip);
    let kind = AddressKind::of(address);
    let allowed = address.is_some_and(|address| config.allow.contains(address));
    let local = kind == AddressKind::Private && address.is_some_and(is_local);
    if (local || allowed)
        && let Some(flow) = probe(turn, plugin)
    {
        return flow;
    }
    let policy = plugin.modes.policy(turn.host, &plugin.config, turn.now);
    if policy.mode == Mode::Off {
        return Flow::Continue;
    }
    turn.metrics.address(kind);
    let Some(address) = address else {
        return fail_unless_exempt(turn, &plugin.config, policy, None, FailureCause::Address);
    };
    if allowed {
        return pass(turn, Source::Local, policy.mode);
    }
    decide(turn, plugin, context, address, policy)
}

/// What an answered look-up means: for those who wait, and for those who will come.
pub fn on_answered<H: Host>(turn: &mut Turn<'_, H>, plugin: &mut Plugin, answered: &Answered) {
    let prefix = plugin.config.ipv6_prefix;
    let compact = remember(turn, &mut plugin.cache, prefix, answered);
    for waiter in &answered.waiters {
        // The client may be gone; its stream then is, too.
        if turn.host.enter(waiter.context).is_err() {
            continue;
        }
        let policy = waiter.policy;
        let Plugin {
            config,
            cache,
            tally,
            ..
        } = plugin;
        let flow = match (&answered.result, compact) {
            (Ok(verdict), Some(compact)) if concerns(verdict, waiter.address) => {
                let judgement = cache.judgement(compact, &config.actions, Source::Lookup);
                act(turn, config, tally, policy.mode, waiter.address, &judgement)
            }
            (Err(cause), _) => fail(turn, config, policy, Some(waiter.address), *cause),
            // A neighbour in the same prefix, of whom this answer says nothing.
            _ => pass(turn, Source::Unknown, policy.mode),
        };
        if flow == Flow::Continue {
            turn.host.resume();
        }
    }
}

fn decide<H: Host>(
    turn: &mut Turn<'_, H>,
    plugin: &mut Plugin,
    context: ContextId,
    address: ClientAddress,
    policy: Policy,
) -> Flow {
    if plugin.snapshot.on_trial().is_some() {
        rehearse(turn, plugin, address);
    }
    let waiter = Waiter {
        context,
        address,
        policy,
    };
    if let Some(flow) = act_as_listed(turn, plugin, waiter) {
        return flow;
    }
    match plugin.snapshot.askable() {
        Askable::Sources => {}
        Askable::Shadow => return count_shadow(turn, plugin, waiter),
        Askable::Nobody => return pass(turn, Source::Unlisted, policy.mode),
    }
    let generation = plugin.snapshot.generation();
    let Plugin {
        config,
        cache,
        tally,
        ..
    } = &mut *plugin;
    match known(cache, config, address, generation, turn) {
        Some(Ok(judgement)) => act_unless_exempt(turn, config, tally, waiter, &judgement),
        Some(Err(cause)) => fail_unless_exempt(turn, config, policy, Some(address), cause),
        None if is_exempt_from_holding(turn, config, policy) => {
            pass(turn, Source::Exempt, policy.mode)
        }
        None => ask(turn, plugin, waiter),
    }
}

/// Acts on what the snapshot says of the client, if it says something. What lists alone hold to be
/// suspicious is asked about in passing, and what the sidecar made of it counts as soon as it is there.
fn act_as_listed<H: Host>(
    turn: &mut Turn<'_, H>,
    plugin: &mut Plugin,
    client: Waiter,
) -> Option<Flow> {
    let address = client.address;
    let Plugin {
        config,
        snapshot,
        cache,
        lookups,
        tally,
        ..
    } = plugin;
    let found = find(snapshot.base(), snapshot.overlay(), address, turn.now)?;
    let mut judgement = Judgement::of_entry(&found, &config.actions);
    #[cfg(feature = "trap")]
    config.trap.on_reason(judgement.reason);
    if found.is_open() && snapshot.askable() != Askable::Nobody {
        let generation = snapshot.generation();
        match cache.find(address, config.ipv6_prefix, generation, turn.uptime) {
            Some(Known::Verdict(compact)) if compact.is_ranked() => {
                judgement = cache.judgement(compact, &config.actions, Source::Cache);
            }
            // Asked about before it was listed, or in vain: the list's word stands.
            Some(_) => {}
            None => ask_in_passing(turn, config, cache, lookups, generation, client),
        }
    }
    Some(act_unless_exempt(turn, config, tally, client, &judgement))
}

/// As [`decide`] where only sources without a say can be asked: nobody waits for what they say, and
/// nobody is hindered for want of it.
fn count_shadow<H: Host>(turn: &mut Turn<'_, H>, plugin: &mut Plugin, client: Waiter) -> Flow {
    let Waiter {
        address, policy, ..
    } = client;
    let Plugin {
        config,
        snapshot,
        cache,
        lookups,
        tally,
        ..
    } = plugin;
    let generation = snapshot.generation();
    match known(cache, config, address, generation, turn) {
        Some(Ok(judgement)) => return act_unless_exempt(turn, config, tally, client, &judgement),
        Some(Err(_)) => {}
        None => ask_in_passing(turn, config, cache, lookups, generation, client),
    }
    pass(turn, Source::Unlisted, policy.mode)
}

/// Asks about a client for whom nobody waits. What cannot be asked is no failure of the request.
fn ask_in_passing<H: Host>(
    turn: &mut Turn<'_, H>,
    config: &Config,
    cache: &mut Cache,
    lookups: &mut Lookups,
    generation: u32,
    client: Waiter,
) {
    let asked = lookups.ask(turn, config, generation, client.passing());
    if let Asked::Failed(cause) = asked {
        remember_failure(turn, cache, generation, client.address, cause);
    }
}

/// As [`act`], but nobody is hindered on a path that everybody may ask for.
fn act_unless_exempt<H: Host>(
    turn: &mut Turn<'_, H>,
    config: &Config,
    tally: &mut Tally,
    client: Waiter,
    judgement: &Judgement<'_>,
) -> Flow {
    let Waiter {
        address, policy, ..
    } = client;
    if judgement.hinders() && is_exempt(turn, config, policy) {
        return pass(turn, Source::Exempt, policy.mode);
    }
    act(turn, config, tally, policy.mode, address, judgement)
}

/// As [`fail`], likewise.
fn fail_unless_exempt<H: Host>(
    turn: &mut Turn<'_, H>,
    config: &Config,
    policy: Policy,
    client: Option<ClientAddress>,
    cause: FailureCause,
) -> Flow {
    if policy.failure == Failure::Closed && is_exempt(turn, config, policy) {
        return pass(turn, Source::Exempt, policy.mode);
    }
    fail(turn, config, policy, client, cause)
}

fn is_exempt_from_holding<H: Host>(turn: &Turn<'_, H>, config: &Config, policy: Policy) -> bool {
    policy.unknown == Unknown::Hold && is_exempt(turn, config, policy)
}

#[cold]
fn is_exempt<H: Host>(turn: &Turn<'_, H>, config: &Config, policy: Policy) -> bool {
    let exempt = config.exempt(policy);
    exempt.is_some_and(|paths| paths.are_asked(turn.host))
}

/// Decides once under a note and for nothing: if that ends the VM, the VMs to come know by what.
#[cold]
fn rehearse<H: Host>(turn: &Turn<'_, H>, plugin: &mut Plugin, address: ClientAddress) {
    plugin.trial_begins(turn.host);
    let (config, snapshot) = (&plugin.config, &plugin.snapshot);
    let found = find(snapshot.base(), snapshot.overlay(), address, turn.now);
    let judgement = found.map(|found| Judgement::of_entry(&found, &config.actions));
    #[cfg(feature = "trap")]
    if let Some(judgement) = &judgement {
        config.trap.on_reason(judgement.reason);
    }
    std::hint::black_box(judgement);
    plugin.trial_ends(turn.host);
}

fn known<'a, H: Host>(
    cache: &'a Cache,
    config: &Config,
    address: ClientAddress,
    generation: u32,
    turn: &Turn<'_, H>,
) -> Option<Result<Judgement<'a>, FailureCause>> {
    let known = cache.find(address, config.ipv6_prefix, generation, turn.uptime)?;
    Some(match known {
        Known::Verdict(compact) => Ok(cache.judgement(compact, &config.actions, Source::Cache)),
        Known::Failed(cause) => Err(cause),
    })
}

fn ask<H: Host>(turn: &mut Turn<'_, H>, plugin: &mut Plugin, waiter: Waiter) -> Flow {
    let generation = plugin.snapshot.generation();
    let asked = plugin.lookups.ask(turn, &plugin.config, generation, waiter);
    match asked {
        Asked::Held => Flow::Pause,
        Asked::Passing => pass(turn, Source::Unknown, waiter.policy.mode),
        Asked::Failed(cause) => {
            remember_failure(turn, &mut plugin.cache, generation, waiter.address, cause);
            let (client, policy) = (Some(waiter.address), waiter.policy);
            fail_unless_exempt(turn, &plugin.config, policy, client, cause)
        }
    }
}

/// Remembers that this address could not be asked about, so that its next requests do not try again.
fn remember_failure<H: Host>(
    turn: &mut Turn<'_, H>,
    cache: &mut Cache,
    generation: u32,
    address: ClientAddress,
    cause: FailureCause,
) {
    // The breaker costs nothing to ask again, and may close any moment.
    if cause != FailureCause::Breaker {
        let random = turn.random.draw();
        cache.keep_failure(address, cause, generation, turn.uptime, random);
    }
}

/// Answers the readiness path. Only local and allowed clients get here: the others neither see it nor
/// pay for it.
fn probe<H: Host>(turn: &Turn<'_, H>, plugin: &Plugin) -> Option<Flow> {
    let path = plugin.config.ready_path.as_deref()?;
    if !ready::is_asked(turn.host, path) {
        return None;
    }
    let since_start = turn.host.now_micros().saturating_sub(plugin.started_micros);
    let version = plugin.snapshot.version();
    let readiness = Readiness::of(version.is_some(), plugin.config.base.failure, since_start);
    ready::answer(
        turn.host,
        readiness,
        version.map(|version| version.to_string()),
    );
    Some(Flow::Pause)
}

fn strip<H: Host>(host: &H) {
    let headers = host.request_headers();
    let forged = headers
        .iter()
        .filter_map(|(name, _)| std::str::from_utf8(name).ok())
        .filter(|name| is_ours(name));
    forged.for_each(|name| host.remove_request_header(name));
}

/// Whether an upstream may take `name` for a header of ours: CGI and its like do not tell `_` from `-`.
fn is_ours(name: &str) -> bool {
    let ours = PREFIX.bytes().zip(name.bytes());
    name.len() >= PREFIX.len()
        && ours
            .into_iter()
            .all(|(of_ours, of_name)| of_ours == of_name || (of_ours, of_name) == (b'-', b'_'))
}

#[cfg(test)]
mod tests;

//! Intelligence as a whole: against a real store, real files and a stand-in for the servers.

mod budget;
mod crowdsec;
mod decisions;
mod feeds;
mod limits;
mod live;
mod lookups;
mod reload;
mod renewal;
mod shadow;
mod slow_store;
mod sources;
mod speed;

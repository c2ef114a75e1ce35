//! What docs/install-*.md tell a reader to do, done with the blocks that stand there.

mod clients;
mod envoy;
mod plain;
mod streams;

//! What is shipped for Prometheus, Alertmanager and Grafana, and the runbook: as files, and at work on real
//! parts.

mod canary;
pub mod documents;
mod files;
mod runbook;
mod scraped;

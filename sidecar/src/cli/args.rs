//! The arguments of every command.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use reputation::mode::Mode;
use reputation::{Cidr, ClientAddress};

use super::client::AdminUrl;
use super::doctor::Url;
use crate::doctor::Check;

/// IP reputation at the Envoy edge.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub remote: Remote,
}

/// How the sidecar is reached and how it is shown.
#[derive(Debug, Args)]
pub struct Remote {
    /// The admin API: http://HOST:PORT or unix:/path
    #[arg(
        long,
        global = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:8971"
    )]
    pub admin: AdminUrl,
    /// The file with the admin token, unless PORTCULLIS_TOKEN holds it
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "/var/lib/portcullis/admin.token"
    )]
    pub token_file: PathBuf,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the sidecar
    Serve {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    #[command(flatten)]
    Task(Task),
}

/// What is done at once and then over.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Say every fault of a configuration at once
    CheckConfig { file: PathBuf },
    /// Say what a proxy is told about an address; may ask a provider
    Check { address: ClientAddress },
    /// Say why: which sources, which scores, how old, which rule
    Explain { address: ClientAddress },
    /// Refuse an address or prefix
    Ban(Ban),
    /// Take bans back; says what refuses the address all the same
    Unban {
        address: Cidr,
        /// Also let it through for 24 hours, whatever else refuses it
        #[arg(long)]
        allow: bool,
        /// Let it through even if it is wider than an IPv4 /16 or IPv6 /32
        #[arg(long, requires = "allow")]
        force: bool,
    },
    /// Let an address or prefix through, whatever is known about it
    Allow(Allow),
    /// Take allows back
    Unallow { address: Cidr },
    /// List what operators and sources decided
    Decisions,
    /// List the clients that proxies refuse or slow down, the busiest first
    Blocked {
        /// How many
        #[arg(long, value_name = "NUMBER", default_value_t = 20)]
        most: usize,
    },
    /// Say what was thought and done about an address, over the whole fleet
    History {
        address: ClientAddress,
        /// How far back, such as 12h or 30d
        #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = crate::duration::parse)]
        since: Duration,
        /// How many verdicts and decisions, at most 1000
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        limit: usize,
    },
    /// List the feeds, or release one that the guard holds
    Feeds {
        #[command(subcommand)]
        action: Option<FeedAction>,
    },
    /// List the providers and their budgets
    Providers,
    /// List the secrets, or try them: names and where they come from, never values
    Secrets {
        #[command(subcommand)]
        action: Option<SecretAction>,
    },
    /// Show, set or take back the mode of all proxies
    Mode(ModeChange),
    /// Show, set or take back how much the sidecar logs
    LogLevel(LevelChange),
    /// Check what runs, from the secrets to a refused request, and say what to do
    Doctor(Doctor),
    /// Ask the sidecar's probe: for a container's health check
    Health {
        /// Where its probes are; a path may follow, else /readyz is asked for
        #[arg(default_value = "http://127.0.0.1:8972")]
        url: Url,
    },
    /// Look into snapshots
    Snapshot {
        #[command(subcommand)]
        action: SnapshotAction,
    },
}

#[derive(Debug, Args)]
pub struct Ban {
    pub address: Cidr,
    /// Such as 24h; without it the ban stays until `unban`
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::duration::parse)]
    pub duration: Option<Duration>,
    #[arg(long)]
    pub reason: Option<String>,
    /// Also if it is wider than an IPv4 /16 or IPv6 /32
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct Allow {
    pub address: Cidr,
    /// Such as 24h; without it the allow stays until `unallow`
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::duration::parse)]
    pub duration: Option<Duration>,
    #[arg(long)]
    pub reason: Option<String>,
    /// Also if it is wider than an IPv4 /16 or IPv6 /32
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Subcommand)]
pub enum FeedAction {
    /// Put the newest version of a held feed in force
    Release { name: String },
}

#[derive(Debug, Subcommand)]
pub enum SecretAction {
    /// Try each on whomever it opens; may cost a call of each provider's quota
    Check,
}

#[derive(Debug, Args)]
pub struct ModeChange {
    /// Without it the modes in force are shown
    pub mode: Option<ModeName>,
    /// One Envoy route, or a glob such as checkout*; otherwise all routes
    #[arg(long)]
    pub route: Option<String>,
    /// Such as 1h; without it the mode stays until it is taken back
    #[arg(long = "for", value_name = "DURATION", requires = "mode", value_parser = crate::duration::parse)]
    pub duration: Option<Duration>,
    /// Take back what was set, for --route or altogether
    #[arg(long, conflicts_with = "mode")]
    pub clear: bool,
}

#[derive(Debug, Args)]
pub struct LevelChange {
    /// error, warn, info, debug or trace; without it the level in force is shown
    #[arg(value_parser = ["error", "warn", "info", "debug", "trace"])]
    pub level: Option<String>,
    /// Such as 1h; without it the level stays until it is taken back or the sidecar restarts
    #[arg(long = "for", value_name = "DURATION", requires = "level", value_parser = crate::duration::parse)]
    pub duration: Option<Duration>,
    /// Take back what was set
    #[arg(long, conflicts_with = "level")]
    pub clear: bool,
}

/// Each URL may be given several times.
#[derive(Debug, Args)]
pub struct Doctor {
    /// A proxy's statistics; a path may follow, else /stats/prometheus is asked for
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:10002")]
    pub stats: Vec<Url>,
    /// Where the canary is sent; a path may follow
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:10000")]
    pub edge: Vec<Url>,
    /// A proxy's admin, for its settings; left out where nobody answers
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9901")]
    pub envoy_admin: Vec<Url>,
    /// What this check finds is known and wanted: it does not fall short
    #[arg(long, value_name = "CHECK")]
    pub accept: Vec<Check>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ModeName {
    Off,
    Monitor,
    Enforce,
}

#[derive(Debug, Subcommand)]
pub enum SnapshotAction {
    /// Check an image file and count what it holds
    Inspect { file: PathBuf },
}

impl From<ModeName> for Mode {
    fn from(name: ModeName) -> Self {
        match name {
            ModeName::Off => Self::Off,
            ModeName::Monitor => Self::Monitor,
            ModeName::Enforce => Self::Enforce,
        }
    }
}

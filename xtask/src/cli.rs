//! What `cargo xtask` understands: each command with its options, and the module that does it.

use clap::{Parser, Subcommand};

use crate::error::Error;
use crate::workspace::Workspace;
use crate::{
    audit, bench, compose, demo, envoy, filter, load, manifests, matrix, package, pin, release,
    say, soak, tests, upgrade, workflows,
};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Builds, tests, shows and measures Portcullis."
)]
pub struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build target/portcullis.wasm, the finished plugin.
    Filter {
        /// Build target/portcullis-trap.wasm too, the build for tests that traps on demand.
        #[arg(long)]
        trap: bool,
    },
    /// Show the whole edge at work on this machine, until Ctrl-C.
    Demo {
        /// End after the proof; the exit status says whether it held.
        #[arg(long)]
        check: bool,
        /// A list to load as a hard source: ipsum, netset or plain, IPv4 or IPv6.
        #[arg(long, value_name = "FILE")]
        feed: Option<std::path::PathBuf>,
        /// Keep decisions in a Redis, which is started too, instead of a file of the sidecar's own.
        #[arg(long)]
        redis: bool,
        #[arg(long, default_value = envoy::DEFAULT_VERSION)]
        envoy: String,
    },
    /// Run every check and test; with names, only the end-to-end tests of these names.
    Test {
        #[arg(long, default_value = envoy::DEFAULT_VERSION)]
        envoy: String,
        #[arg(last = true)]
        only: Vec<String>,
    },
    /// Measure what we cost, against baselines in the same run.
    Bench {
        /// Fewer and shorter rounds.
        #[arg(long)]
        quick: bool,
        /// Instead: what each of Envoy's failure policies does to others when requests trap the VM.
        #[arg(long)]
        failure_policy: bool,
        /// Instead: how fast a verdict comes out of Redis, and how much memory it takes there.
        #[arg(long, conflicts_with = "failure_policy")]
        redis: bool,
        /// The list to load; by default one of 120,000 addresses is made.
        #[arg(long, value_name = "FILE")]
        feed: Option<std::path::PathBuf>,
        #[arg(long, default_value = envoy::DEFAULT_VERSION)]
        envoy: String,
    },
    /// Write what is made out of other files of this repository: the alerts as a PrometheusRule.
    Manifests,
    /// Look at the dependencies: licences, bans, sources, and what is known against them.
    Audit,
    /// Build, check and publish a release, a step at a time.
    #[command(subcommand)]
    Release(release::Task),
    /// End well if all jobs in NEEDS did: the one check that a merge waits for.
    Gate,
    /// Run the end-to-end tests against each supported release of Envoy; with names, only these tests.
    Matrix {
        /// Only this version; may be given several times.
        #[arg(long, value_name = "VERSION", default_values = matrix::VERSIONS)]
        envoy: Vec<String>,
        #[arg(last = true)]
        only: Vec<String>,
    },
    /// Load the whole edge in an open loop, and say whether it held. Eleven minutes.
    Load {
        /// A minute.
        #[arg(long)]
        quick: bool,
        #[arg(long, default_value = envoy::DEFAULT_VERSION)]
        envoy: String,
    },
    /// Try what takes long to show: memory, swaps of large snapshots, many proxies at once. About 25 minutes.
    Soak {
        /// Four minutes.
        #[arg(long)]
        quick: bool,
        #[arg(long, default_value = envoy::DEFAULT_VERSION)]
        envoy: String,
        /// Only these; by default all.
        parts: Vec<soak::Part>,
    },
    /// Run this build beside an earlier one, which is built first.
    Upgrade {
        /// The earlier build's revision; by default the last release.
        #[arg(long, value_name = "REV")]
        from: Option<String>,
        #[arg(long, default_value = envoy::DEFAULT_VERSION)]
        envoy: String,
    },
    /// Build what goes into the images: target/image/plugin.wasm and target/image/portcullis.
    Package { parts: Vec<package::Part> },
    /// Prove docker-compose.yml and the images on this machine's Docker, or on one that is started.
    Compose {
        /// With what `cargo xtask package` has built before.
        #[arg(long)]
        packaged: bool,
        /// Compile in containers, as `docker compose build` does where nothing is set.
        #[arg(long, conflicts_with = "packaged")]
        build: bool,
    },
    /// Write digests behind the images that docker-compose.yml and the Dockerfiles name; asks their registries.
    Pin,
    /// Fetch Envoy's release binary and print where it lies.
    Envoy {
        #[arg(long, default_value = envoy::DEFAULT_VERSION)]
        version: String,
    },
}

impl Cli {
    pub fn run(self) -> Result<(), Error> {
        self.task.run()
    }
}

impl Task {
    fn run(self) -> Result<(), Error> {
        let workspace = Workspace::locate()?;
        match self {
            Self::Filter { trap } => {
                filter::build(&workspace, filter::Variant::Shipped)?;
                if trap {
                    filter::build(&workspace, filter::Variant::Trap)?;
                }
                Ok(())
            }
            Self::Demo {
                check,
                feed,
                redis,
                envoy,
            } => {
                let options = demo::Options {
                    check,
                    feed,
                    redis,
                    envoy,
                };
                demo::run(&workspace, &options)
            }
            Self::Manifests => manifests::write(&workspace),
            Self::Test { envoy, only } => {
                let options = tests::Options {
                    envoy,
                    only,
                    plugin: None,
                };
                tests::run(&workspace, &options)
            }
            Self::Bench {
                failure_policy: true,
                envoy,
                ..
            } => bench::policy::run(&workspace, &envoy),
            Self::Bench { redis: true, .. } => bench::redis::run(&workspace),
            Self::Bench {
                quick, feed, envoy, ..
            } => {
                let length = match quick {
                    true => bench::Length::Quick,
                    false => bench::Length::Full,
                };
                let options = bench::Options {
                    length,
                    feed,
                    envoy,
                };
                bench::run(&workspace, &options)
            }
            Self::Audit => audit::run(&workspace),
            Self::Release(task) => release::run(&workspace, task),
            Self::Gate => workflows::gate::run(&std::env::var("NEEDS").unwrap_or_default()),
            Self::Matrix { envoy, only } => {
                let versions = envoy;
                matrix::run(&workspace, &matrix::Options { versions, only })
            }
            Self::Load { quick, envoy } => load::run(&workspace, &load::Options { quick, envoy }),
            Self::Soak {
                quick,
                envoy,
                parts,
            } => {
                let options = soak::Options {
                    quick,
                    envoy,
                    parts,
                };
                soak::run(&workspace, &options)
            }
            Self::Upgrade { from, envoy } => {
                upgrade::run(&workspace, &upgrade::Options { from, envoy })
            }
            Self::Package { parts } => package::run(&workspace, &parts),
            Self::Pin => pin::run(&workspace),
            Self::Compose { packaged, build } => {
                compose::run(&workspace, compose::Making::chosen(packaged, build))
            }
            Self::Envoy { version } => {
                let binary = envoy::ensure(&workspace, &version)?;
                say::line(binary.display());
                Ok(())
            }
        }
    }
}

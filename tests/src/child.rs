//! A process of ours: its output goes to files, and it ends with its handle.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process;
use tokio::time::{Instant, sleep};

use crate::client::Request;
use crate::error::KitError;
use crate::wait::STEP;

const START_LIMIT: Duration = Duration::from_secs(30);

/// How much of a log is shown when a part fails.
const TAIL_LINES: usize = 40;

pub struct Child {
    name: &'static str,
    process: Process,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// What can be sent to a process.
#[derive(Debug, Clone, Copy)]
pub enum Signal {
    Terminate,
    Kill,
    Stop,
    Continue,
    Hangup,
}

impl Child {
    /// Starts `command`; its output is appended to `<name>.out` and `<name>.err` in `folder`.
    pub fn spawn(
        name: &'static str,
        command: &mut Command,
        folder: &Path,
    ) -> Result<Self, KitError> {
        let stdout = folder.join(format!("{name}.out"));
        let stderr = folder.join(format!("{name}.err"));
        let process = command
            .stdin(Stdio::null())
            .stdout(append(&stdout)?)
            .stderr(append(&stderr)?)
            .spawn()
            .map_err(KitError::io(format!(
                "cannot start {:?}",
                command.get_program()
            )))?;
        Ok(Self {
            name,
            process,
            stdout,
            stderr,
        })
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    pub fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// The last lines of both outputs.
    pub fn log_tail(&self) -> String {
        let text = format!("{}\n{}", self.stdout(), self.stderr());
        let lines: Vec<_> = text.lines().collect();
        let from = lines.len().saturating_sub(TAIL_LINES);
        lines.get(from..).unwrap_or_default().join("\n")
    }

    pub fn signal(&self, signal: Signal) {
        let signal = match signal {
            Signal::Terminate => process::Signal::TERM,
            Signal::Kill => process::Signal::KILL,
            Signal::Stop => process::Signal::STOP,
            Signal::Continue => process::Signal::CONT,
            Signal::Hangup => process::Signal::HUP,
        };
        // The process is a child that was not waited for, so the id is still its own.
        let id = i32::try_from(self.id())
            .ok()
            .and_then(process::Pid::from_raw);
        let _sent = id.map(|id| process::kill_process(id, signal));
    }

    /// Sends `signal` and waits for the end of the process.
    pub fn end_by(&mut self, signal: Signal) -> Option<ExitStatus> {
        self.signal(signal);
        self.process.wait().ok()
    }

    /// Waits until `ready` is true; fails early if the process ends first.
    pub async fn wait_until(
        &mut self,
        wanted: &'static str,
        limit: Duration,
        mut ready: impl AsyncFnMut(&Self) -> bool,
    ) -> Result<(), KitError> {
        let end = Instant::now() + limit;
        loop {
            // First: another process may answer in its place.
            if self.has_ended() {
                return Err(KitError::Died {
                    part: self.name.to_owned(),
                    log: self.log_tail(),
                });
            }
            if ready(self).await {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(KitError::NotReady {
                    part: self.name.to_owned(),
                    seconds: limit.as_secs(),
                    wanted,
                    log: self.log_tail(),
                });
            }
            sleep(STEP).await;
        }
    }

    /// Waits until it answers a GET of `path` with 200.
    pub async fn wait_until_answers(
        &mut self,
        address: SocketAddr,
        path: &'static str,
    ) -> Result<(), KitError> {
        let ready = async |_: &Self| {
            let answer = Request::get(path).send(address).await;
            answer.is_ok_and(|response| response.status == 200)
        };
        self.wait_until("it is ready", START_LIMIT, ready).await
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SIGKILL also ends a stopped process.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn append(path: &Path) -> Result<File, KitError> {
    let file = File::options().create(true).append(true).open(path);
    file.map_err(KitError::io(format!("cannot write {}", path.display())))
}

fn read(path: &Path) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

//! Starting other programs: their output goes to the terminal, their failure becomes a sentence.

use std::ffi::OsStr;
use std::io;
use std::process::{Command, Output, Stdio};

use crate::error::Error;

/// Runs `command` with its output on the terminal.
pub fn run(command: &mut Command) -> Result<(), Error> {
    let status = command
        .status()
        .map_err(|source| not_started(command, source))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Failed {
        command: shown(command),
        status: status.to_string(),
    })
}

/// Runs `command` quietly and returns what it printed, whatever its exit status.
pub fn capture(command: &mut Command) -> Result<Output, Error> {
    command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| not_started(command, source))
}

/// Runs `command`, whose result is what it prints; its complaints go to the terminal.
pub fn printed(command: &mut Command) -> Result<String, Error> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| not_started(command, source))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Failed {
        command: shown(command),
        status: output.status.to_string(),
    })
}

/// Whether `command` can be run and ends well; its output is of no interest.
pub fn works(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The cargo that runs this task, in the workspace's toolchain.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Whether this process may install system packages.
pub fn is_root() -> bool {
    capture(Command::new("id").arg("-u")).is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Installs Debian packages if this process may; whether that worked.
pub fn apt_install(packages: &[&str]) -> bool {
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive");
        run(&mut command).is_ok()
    };
    if !is_root() || !works(Command::new("apt-get").arg("--version")) {
        return false;
    }
    let install = [&["install", "-y", "--no-install-recommends"], packages].concat();
    apt(&install) || (apt(&["update"]) && apt(&install))
}

/// The system's package of this name, which holds a program of the same name, is installed if it may be.
pub fn require_installed(tool: &'static str) -> Result<(), Error> {
    let works_now = || works(Command::new(tool).arg("--version"));
    if works_now() || (apt_install(&[tool]) && works_now()) {
        return Ok(());
    }
    Err(Error::Missing {
        tool: tool.to_owned(),
        remedy: format!("run `apt-get install {tool}`"),
    })
}

fn not_started(command: &Command, source: io::Error) -> Error {
    if source.kind() == io::ErrorKind::NotFound {
        let tool = command.get_program().to_string_lossy().into_owned();
        let remedy = format!("install {tool} and see that it is in PATH");
        return Error::Missing { tool, remedy };
    }
    Error::Start {
        command: shown(command),
        source,
    }
}

fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

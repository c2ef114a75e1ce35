//! Starting other programs: their output goes to the terminal, their failure becomes a sentence.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::process::{Command, ExitStatus, Output, Stdio};

use crate::error::Error;

/// Runs `command` with its output on the terminal.
pub fn run(command: &mut Command) -> Result<(), Error> {
    let status = command
        .status()
        .map_err(|source| not_started(command, source))?;
    ended(command, status)
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
    ended(command, output.status)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// As [`run`], with `input` on the command's standard input.
pub fn fed(command: &mut Command, input: &[u8]) -> Result<(), Error> {
    let mut child = command
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|source| not_started(command, source))?;
    if let Some(mut pipe) = child.stdin.take() {
        // Whether it read everything shows in how it ends.
        let _ = pipe.write_all(input);
    }
    let status = child
        .wait()
        .map_err(|source| not_started(command, source))?;
    ended(command, status)
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
    if !may_install() {
        return false;
    }
    let install = [&["install", "-y", "--no-install-recommends"], packages].concat();
    let install = || run(apt_get().args(&install)).is_ok();
    update_lists_for(packages);
    install() || (update_lists() && install())
}

/// A machine that never looked at its package lists knows no packages.
pub fn update_lists_for(packages: &[&str]) {
    let known = |&package: &&str| {
        let mut apt = Command::new("apt-cache");
        works(apt.args(["show", "--no-all-versions", package]))
    };
    if may_install() && !packages.iter().all(known) {
        update_lists();
    }
}

/// Whether it worked; lists that are old name packages that are gone.
pub fn update_lists() -> bool {
    run(apt_get().args(["update", "-q"])).is_ok()
}

/// Root may, and so may a runner of CI that becomes root without being asked. Nobody sits there who might
/// wonder.
pub fn may_install() -> bool {
    let automatic = std::env::var_os("CI").is_some();
    let rights =
        is_root() || (automatic && works(Command::new("sudo").args(["--non-interactive", "true"])));
    rights && works(Command::new("apt-get").arg("--version"))
}

fn apt_get() -> Command {
    let mut command = match is_root() {
        true => Command::new("env"),
        false => Command::new("sudo"),
    };
    if !is_root() {
        command.arg("--non-interactive");
    }
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    command
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

fn ended(command: &Command, status: ExitStatus) -> Result<(), Error> {
    if status.success() {
        return Ok(());
    }
    Err(Error::Failed {
        command: shown(command),
        status: status.to_string(),
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

//! A shell that stays: directory and variables carry over from command to command, as at a person's terminal. What
//! the documentation calls by its usual name (a port, a folder) is put in its place of this run, and back in what
//! is printed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::error::KitError;

/// Longer than any command of the documentation takes.
const LIMIT: Duration = Duration::from_secs(120);

/// A running `bash`; it ends with this value.
pub struct Shell {
    _process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    places: Vec<(String, String)>,
    folder: TempDir,
}

/// What a command printed, on both outputs, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub status: i32,
    pub text: String,
}

/// How a shell is furnished.
#[derive(Debug, Default, Clone)]
pub struct Desk {
    /// Where it starts.
    pub directory: PathBuf,
    /// Searched for programs before all others.
    pub programs: PathBuf,
    pub environment: Vec<(String, String)>,
    /// What the documentation calls it, and what it is here. Earlier ones are replaced first.
    pub places: Vec<(String, String)>,
}

impl Shell {
    pub fn open(desk: &Desk) -> Result<Self, KitError> {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut process = Command::new("bash")
            .args(["--noprofile", "--norc", "-o", "pipefail"])
            .current_dir(&desk.directory)
            .env("PATH", format!("{}:{path}", desk.programs.display()))
            .envs(desk.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .map_err(KitError::io("cannot start bash"))?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let (Some(input), Some(output)) = (input, output) else {
            return Err(KitError::Page("bash has no pipes".to_owned()));
        };
        let folder = tempfile::tempdir().map_err(KitError::io("cannot make a folder"))?;
        Ok(Self {
            _process: process,
            input,
            output: BufReader::new(output).lines(),
            places: desk.places.clone(),
            folder,
        })
    }

    /// Runs a command; what it does to the shell itself stays.
    pub async fn run(&mut self, command: &str) -> Result<Said, KitError> {
        self.perform(command, ". \"$0/command\"").await
    }

    /// Runs several lines in a shell of their own, which ends with the first that fails.
    pub async fn run_all(&mut self, lines: &str) -> Result<Said, KitError> {
        self.perform(lines, "( set -e; . \"$0/command\" )").await
    }

    async fn perform(&mut self, command: &str, how: &str) -> Result<Said, KitError> {
        let folder = self.folder.path().to_path_buf();
        let write = |name: &str, text: &str| {
            std::fs::write(folder.join(name), text).map_err(KitError::io("cannot write a command"))
        };
        write("command", &self.put_in(command))?;
        let how = how.replace("$0", &folder.display().to_string());
        let said = said_in(&folder);
        let line = format!("{how} </dev/null >\"{}\" 2>&1; echo $?\n", said.display());
        let failed = || KitError::io(format!("the shell ended with {command:?}"));
        self.input
            .write_all(line.as_bytes())
            .await
            .map_err(failed())?;
        let status = tokio::time::timeout(LIMIT, self.output.next_line()).await;
        let status = status.map_err(|_| KitError::Page(format!("{command:?} does not end")))?;
        let status = status.map_err(failed())?.and_then(|line| line.parse().ok());
        let text = std::fs::read(said).map_err(failed())?;
        Ok(Said {
            status: status.ok_or_else(|| KitError::Page(format!("{command:?} ended the shell")))?,
            text: self.put_back(&String::from_utf8_lossy(&text)),
        })
    }

    fn put_in(&self, text: &str) -> String {
        let replace = |text: String, (usual, here): &(String, String)| text.replace(usual, here);
        self.places.iter().fold(text.to_owned(), replace)
    }

    fn put_back(&self, text: &str) -> String {
        let replace = |text: String, (usual, here): &(String, String)| text.replace(here, usual);
        self.places.iter().fold(text.to_owned(), replace)
    }
}

fn said_in(folder: &Path) -> PathBuf {
    folder.join("said")
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a test that finds something else shall panic"
)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_command_does_to_the_shell_stays_and_places_are_put_in_and_back() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().display().to_string();
        let mut shell = Shell::open(&Desk {
            directory: PathBuf::from("/"),
            places: vec![("/etc/envoy".to_owned(), here)],
            ..Desk::default()
        })
        .unwrap();
        let said = shell.run("cd /etc/envoy; WORD=kept").await.unwrap();
        assert_eq!(said.status, 0, "{}", said.text);
        let said = shell.run("pwd; echo $WORD; false").await.unwrap();
        assert_eq!((said.status, said.text.as_str()), (1, "/etc/envoy\nkept\n"));
        let said = shell.run_all("false\necho not reached").await.unwrap();
        assert_eq!((said.status, said.text.as_str()), (1, ""));
        let said = shell.run("echo 'unfinished").await.unwrap();
        assert_ne!(said.status, 0);
    }
}

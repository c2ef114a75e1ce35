//! Secrets that are laid where people keep them while images are built, and then looked for in every layer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::run;
use crate::workspace::Workspace;

/// Where people keep secrets. Those that exist stay as they are, and cannot be watched.
const PLACES: [&str; 6] = [
    ".env",
    ".env.production",
    "filter/.env",
    "sidecar/src/.env",
    "envoy/compose/secrets/abuseipdb",
    "admin.token",
];
const VARIABLE: &str = "PORTCULLIS_BAIT";

pub struct Bait {
    laid: Vec<(PathBuf, String)>,
    variable: String,
}

impl Bait {
    pub fn lay(workspace: &Workspace) -> Result<Self, Error> {
        let mut bait = Self {
            laid: Vec::new(),
            variable: value("variable"),
        };
        for place in PLACES {
            let path = workspace.at(place);
            if path.exists() {
                continue;
            }
            let value = value(place);
            fs::write(&path, format!("KEY={value}\n"))
                .map_err(Error::file("cannot write", &path))?;
            bait.laid.push((path, value));
        }
        Ok(bait)
    }

    /// Puts the one that is a variable into a command's environment.
    pub fn offer(&self, command: &mut Command) {
        command.env(VARIABLE, &self.variable);
    }

    /// The places whose secret is in this file.
    pub fn found_in(&self, archive: &Path) -> Result<Vec<String>, Error> {
        // The second is in every archive of an image: were it not found, nothing would be proved.
        let mut grep = Command::new("grep");
        grep.args([
            "-a",
            "-o",
            "-e",
            "bait-[0-9]*-[a-zA-Z]*-taken",
            "-e",
            "\"rootfs\"",
        ]);
        let output = run::capture(grep.arg(archive))?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !text.lines().any(|line| line == "\"rootfs\"") {
            return Err(Error::Said(
                "the image's configuration is not in its archive".to_owned(),
            ));
        }
        let laid = self
            .laid
            .iter()
            .map(|(path, value)| (path.display().to_string(), value));
        let all = laid.chain([(VARIABLE.to_owned(), &self.variable)]);
        let found = all.filter(|(_, value)| text.lines().any(|line| line == value.as_str()));
        Ok(found.map(|(place, _)| place).collect())
    }
}

impl Drop for Bait {
    fn drop(&mut self) {
        for (path, _) in &self.laid {
            let _removed = fs::remove_file(path);
        }
    }
}

/// One that nobody else has, and that says where it was laid.
fn value(place: &str) -> String {
    let place: String = place.chars().filter(char::is_ascii_alphabetic).collect();
    format!("bait-{}-{place}-taken", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_an_archive_is_found_and_nothing_else() {
        let bait = Bait {
            laid: vec![(PathBuf::from(".env"), value(".env"))],
            variable: value("variable"),
        };
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("archive");
        fs::write(&archive, b"\0{\"rootfs\":1}").unwrap();
        assert!(bait.found_in(&archive).unwrap().is_empty());
        fs::write(&archive, format!("{{\"rootfs\":1}}\0{}\0", value(".env"))).unwrap();
        assert_eq!(bait.found_in(&archive).unwrap(), [".env"]);
        fs::write(&archive, format!("\"rootfs\" {}", bait.variable)).unwrap();
        assert_eq!(bait.found_in(&archive).unwrap(), [VARIABLE]);
        fs::write(&archive, b"").unwrap();
        assert!(
            bait.found_in(&archive).is_err(),
            "an empty archive proves nothing"
        );
    }
}

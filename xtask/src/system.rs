//! What a task needs of the system's packages. All that is missing is installed at once where this process may,
//! and else told at once with the one command that installs it.

use crate::error::Error;
use crate::{run, say};

/// Something that other people's packages hold.
pub struct Need {
    /// What it is, and what for.
    pub what: &'static str,
    /// Debian's names.
    pub packages: &'static [&'static str],
    pub is_there: fn() -> bool,
}

/// Has everything installed that is not there.
pub fn require(needs: &[&'static Need]) -> Result<(), Error> {
    require_by(needs, |packages| {
        if run::may_install() {
            say::step(format_args!("installing {}", packages.join(" ")));
            run::apt_install(packages);
        }
    })
}

fn require_by(needs: &[&'static Need], install: impl FnOnce(&[&str])) -> Result<(), Error> {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    install(&packages(&missing));
    let still = self::missing(&missing);
    if still.is_empty() {
        return Ok(());
    }
    let lines = still.iter().map(|need| format!("\n  {}", need.what));
    Err(Error::Lacking {
        things: lines.collect(),
        packages: packages(&still).join(" "),
    })
}

fn missing(needs: &[&'static Need]) -> Vec<&'static Need> {
    let missing = needs.iter().filter(|need| !(need.is_there)());
    missing.copied().collect()
}

fn packages(needs: &[&'static Need]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for name in needs.iter().flat_map(|need| need.packages) {
        if !names.contains(name) {
            names.push(*name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const PRESENT: Need = Need {
        what: "a clock",
        packages: &["clock"],
        is_there: || true,
    };
    const PIP: Need = Need {
        what: "pip (for wheels)",
        packages: &["python3", "python3-pip"],
        is_there: || false,
    };
    const VENV: Need = Need {
        what: "venv (for moto)",
        packages: &["python3", "python3-venv"],
        is_there: || false,
    };

    #[test]
    fn everything_that_is_missing_is_told_at_once_with_one_command() {
        let told = require_by(&[&PRESENT, &PIP, &VENV], |_| {}).unwrap_err();
        assert_eq!(
            told.to_string(),
            "this machine lacks:\n  pip (for wheels)\n  venv (for moto)\nInstall that, on Debian as root by\n  \
             apt-get install --no-install-recommends python3 python3-pip python3-venv\n\
             or run this as root, which does so itself"
        );
    }

    #[test]
    fn everything_that_is_missing_is_installed_at_once_and_nothing_else() {
        static INSTALLED: AtomicBool = AtomicBool::new(false);
        const WANTED: Need = Need {
            what: "a lamp",
            packages: &["lamp"],
            is_there: || INSTALLED.load(Ordering::SeqCst),
        };
        let mut asked = Vec::new();
        let install = |packages: &[&str]| {
            asked = packages.iter().map(|name| (*name).to_owned()).collect();
            INSTALLED.store(true, Ordering::SeqCst);
        };
        require_by(&[&PRESENT, &WANTED], install).unwrap();
        assert_eq!(asked, ["lamp"]);
        require_by(&[&PRESENT, &WANTED], |packages| panic!("{packages:?}")).unwrap();
    }
}

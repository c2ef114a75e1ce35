//! Gets PostgreSQL: the system's package, as it is tested with. Only its programs are wanted: without being
//! told otherwise the package makes a cluster of its own and starts it.

use std::path::{Path, PathBuf};

use kit::parts;

use crate::error::Error;
use crate::system::{self, Need};
use crate::{fetched, run};

pub const NEED: Need = Need {
    what: "PostgreSQL's server",
    packages: &["postgresql"],
    is_there: || parts::postgres().is_ok(),
};

/// What the package reads before it makes one, and keeps if it is there already.
const SETTINGS: &str = "/etc/postgresql-common/createcluster.conf";
const NO_CLUSTER: &str = "create_main_cluster = false";

/// Its server, beside which `initdb` lies, installed first if they are not there and this process may.
pub fn ensure() -> Result<PathBuf, Error> {
    if let Some(given) = fetched::given("PORTCULLIS_POSTGRES")? {
        return Ok(given);
    }
    want_no_cluster();
    system::require(&[&NEED])?;
    Ok(parts::postgres()?.join("postgres"))
}

/// Before it is installed. Where only apt may be root, there will be one, which nobody needs.
pub fn want_no_cluster() {
    if run::is_root() && !(NEED.is_there)() {
        let _written = write_no_cluster(Path::new(SETTINGS));
    }
}

/// The last line of its kind counts.
fn write_no_cluster(settings: &Path) -> std::io::Result<()> {
    let before = std::fs::read_to_string(settings).unwrap_or_default();
    if before.lines().any(|line| line.trim() == NO_CLUSTER) {
        return Ok(());
    }
    if let Some(folder) = settings.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let lines = format!("{}\n{NO_CLUSTER}\n", before.trim_end());
    std::fs::write(settings, lines.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cluster_is_said_once_and_what_was_said_before_stays() {
        let folder = tempfile::tempdir().unwrap();
        let settings = folder.path().join("postgresql-common/createcluster.conf");
        for _ in 0..2 {
            write_no_cluster(&settings).unwrap();
            let text = std::fs::read_to_string(&settings).unwrap();
            assert_eq!(text, format!("{NO_CLUSTER}\n"));
        }
        std::fs::write(&settings, "#create_main_cluster = true\nssl = on\n").unwrap();
        write_no_cluster(&settings).unwrap();
        let text = std::fs::read_to_string(&settings).unwrap();
        assert!(
            text.ends_with("ssl = on\ncreate_main_cluster = false\n"),
            "{text}"
        );
    }
}

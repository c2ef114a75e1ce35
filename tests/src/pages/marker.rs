//! What an invisible comment before a block says of it: why nobody runs it, who else does, how it ends.

/// Why a block may stay unrun. Whoever needs another reason adds it here, where it is seen.
pub const REASONS: [&str; 8] = [
    "needs a cluster",
    "needs a cloud account",
    "needs an account with the source",
    "needs a registry of images",
    "needs a container engine",
    "needs somebody else's machine",
    "changes the machine",
    "stays in the foreground",
];

/// A comment such as `<!-- not run: needs a cluster -->`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Marker {
    /// Nobody runs it, for one of [`REASONS`].
    NotRun(String),
    /// A file of the checkout runs it: a test that compares what it prints, or a file with these commands.
    RunBy(String),
    /// It is run, and its last command ends with this status.
    EndsWith(i32),
}

impl Marker {
    /// The marker that a line is; none if it is any other line.
    pub fn read(line: &str) -> Option<Result<Self, String>> {
        let comment = line.trim().strip_prefix("<!--")?.strip_suffix("-->")?;
        let (kind, said) = comment.trim().split_once(": ")?;
        match kind {
            "not run" if REASONS.contains(&said) => Some(Ok(Self::NotRun(said.to_owned()))),
            "not run" => Some(Err(format!("{said:?} is none of {REASONS:?}"))),
            "run by" => Some(Ok(Self::RunBy(said.to_owned()))),
            "ends with" => Some(match said.parse() {
                Ok(status) => Ok(Self::EndsWith(status)),
                Err(_) => Err(format!("{said:?} is no exit status")),
            }),
            _ => None,
        }
    }
}

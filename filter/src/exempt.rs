//! Paths that everybody may ask for, whoever he is: a certificate authority checks a name from
//! addresses that nobody knows beforehand.
//!
//! Owns which paths these are and whether a request is for one. It reads the path only of a request
//! that would be hindered otherwise, so no other pays for it.

use crate::host::Host;

/// Paths, each alone with what is below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExemptPaths(Vec<String>);

/// The shortest path that may be exempt: `/` would be everything.
const SHORTEST: usize = 4;
const LONGEST: usize = 256;
/// Headers that some applications take for the path instead of the request's own.
const OTHER_PATHS: [&str; 2] = ["x-original-url", "x-rewrite-url"];
/// As many are compared with a path at most.
const MOST: usize = 16;

impl ExemptPaths {
    /// Where ACME answers challenges.
    pub fn shipped() -> Self {
        Self(vec!["/.well-known/acme-challenge/".to_owned()])
    }

    /// `Err` says what is wrong with which of them.
    pub fn new(paths: Vec<String>) -> Result<Self, (usize, String)> {
        if paths.len() > MOST {
            return Err((MOST, format!("at most {MOST} paths can be exempt")));
        }
        match paths.iter().position(|path| !can_be_exempt(path)) {
            None => Ok(Self(paths)),
            Some(at) => {
                let shown = paths.get(at).map(String::as_str).unwrap_or_default();
                Err((
                    at,
                    format!(
                        "a path of {SHORTEST} to {LONGEST} characters such as \
                         /.well-known/acme-challenge/ is expected, of letters, digits and -._~/ and \
                         without //, /./ and /../, not {shown:?}"
                    ),
                ))
            }
        }
    }

    /// Whether the current request is for one of them, and names no other path beside it.
    pub fn are_asked<H: Host>(&self, host: &H) -> bool {
        let any = !self.0.is_empty();
        let is_there = |name: &&str| host.request_header(name, |_| ()).is_some();
        any && host.request_header(":path", |path| self.hold(path)) == Some(true)
            && !OTHER_PATHS.iter().any(is_there)
    }

    fn hold(&self, asked: &[u8]) -> bool {
        let path = asked.split(|byte| *byte == b'?').next().unwrap_or_default();
        let mut exempt = self.0.iter().map(String::as_bytes);
        exempt.any(|exempt| is_within(path, exempt)) && is_plain(path)
    }
}

/// Octet by octet, up to the end of a segment.
fn is_within(path: &[u8], exempt: &[u8]) -> bool {
    let rest = path.strip_prefix(exempt);
    rest.is_some_and(|rest| rest.is_empty() || exempt.ends_with(b"/") || rest.starts_with(b"/"))
}

/// Whether everybody reads the path alike: with an escape, a backslash or a parameter in it, or a
/// segment that is none or goes up, whoever is behind Envoy may find another one in it.
fn is_plain(path: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(byte);
    let mut segments = path.split(|byte| *byte == b'/').skip(1).peekable();
    let mut good = path.iter().all(plain);
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        good &= !matches!(segment, b"." | b"..") && (is_last || !segment.is_empty());
    }
    good
}

fn can_be_exempt(path: &str) -> bool {
    let fits = (SHORTEST..=LONGEST).contains(&path.len());
    fits && path.starts_with('/') && is_plain(path.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MockHost;

    fn are_asked(paths: &[&str], path: &str) -> bool {
        let host = MockHost::default();
        host.put_header(":path", path.as_bytes());
        let paths = paths.iter().map(|&path| path.to_owned());
        ExemptPaths::new(paths.collect()).unwrap().are_asked(&host)
    }

    #[test]
    fn a_path_holds_itself_and_what_is_below_it() {
        const ACME: &[&str] = &["/.well-known/acme-challenge/"];
        for path in [
            "/.well-known/acme-challenge/",
            "/.well-known/acme-challenge/LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0",
            "/.well-known/acme-challenge/a_b-c?x=/../",
            "/.well-known/acme-challenge/a/b/",
        ] {
            assert!(are_asked(ACME, path), "{path}");
        }
        for (exempt, path, expected) in [
            ("/hook", "/hook", true),
            ("/hook", "/hook/a", true),
            ("/hook", "/hook?a", true),
            ("/hook", "/hooks", false),
            ("/hook/", "/hook", false),
        ] {
            assert_eq!(are_asked(&[exempt], path), expected, "{exempt} {path}");
        }
    }

    #[test]
    fn no_other_spelling_leads_around_the_filter() {
        const ACME: &[&str] = &["/.well-known/acme-challenge/"];
        for path in [
            "/",
            "",
            "*",
            "/.well-known/acme-challenge",
            "/.well-known/acme-challengeX",
            "/.WELL-KNOWN/acme-challenge/a",
            "/%2ewell-known/acme-challenge/a",
            "//.well-known/acme-challenge/a",
            "/x/.well-known/acme-challenge/a",
            "/.well-known//acme-challenge/a",
            "/.well-known/acme-challenge/../../admin",
            "/.well-known/acme-challenge/..",
            "/.well-known/acme-challenge/.",
            "/.well-known/acme-challenge/./a",
            "/.well-known/acme-challenge//admin",
            "/.well-known/acme-challenge/a//b",
            "/.well-known/acme-challenge/%2e%2e/%2e%2e/admin",
            "/.well-known/acme-challenge/..%2f..%2fadmin",
            "/.well-known/acme-challenge/%2E%2E%5Cadmin",
            "/.well-known/acme-challenge/..\\..\\admin",
            "/.well-known/acme-challenge/..;/admin",
            "/.well-known/acme-challenge/a;b",
            "/.well-known/acme-challenge/a#/../b",
            "/.well-known/acme-challenge/\u{e9}",
            "/.well-known/acme-challenge/a b",
            "/admin?/.well-known/acme-challenge/",
        ] {
            assert!(!are_asked(ACME, path), "{path}");
        }
        let host = MockHost::default();
        assert!(!ExemptPaths::shipped().are_asked(&host), "no path at all");
    }

    #[test]
    fn a_request_that_names_another_path_in_a_header_is_not_exempt() {
        for header in ["x-original-url", "x-rewrite-url"] {
            let host = MockHost::default();
            host.put_header(":path", b"/.well-known/acme-challenge/a");
            assert!(ExemptPaths::shipped().are_asked(&host));
            host.put_header(header, b"/admin");
            assert!(!ExemptPaths::shipped().are_asked(&host), "{header}");
        }
    }

    #[test]
    fn what_would_exempt_everything_or_nothing_is_refused() {
        let long = format!("/{}", "a".repeat(LONGEST));
        for path in [
            "", "/", "/a", "//aa", "aaaa", "/a/../b", "/a/./b", "/a//b", "/a%20b", "/aaa?b",
            "/aaa*", "/ab\n", &long,
        ] {
            assert!(ExemptPaths::new(vec![path.to_owned()]).is_err(), "{path}");
        }
        let many = vec!["/aaa/".to_owned(); MOST + 1];
        assert!(ExemptPaths::new(many).is_err());
        assert!(ExemptPaths::new(Vec::new()).is_ok());
    }

    #[test]
    fn where_nothing_is_exempt_the_path_is_not_read() {
        let host = MockHost::default();
        host.put_header(":path", b"/.well-known/acme-challenge/a");
        let none = ExemptPaths::new(Vec::new()).unwrap();
        assert!(!none.are_asked(&host));
    }
}

//! Whether a form was sent from one of our own pages, as the browser says. A second lock beside the
//! token that each form carries.

use hyper::HeaderMap;
use hyper::header::{HOST, ORIGIN};

use crate::api::problem::{Kind, Problem};

/// Refuses what a browser says comes from elsewhere. Where it says nothing, or hides the origin as our
/// own referrer policy has it do, the form's token decides alone.
pub fn check(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let elsewhere = match (text("sec-fetch-site"), text(ORIGIN.as_str())) {
        (Some(site), _) if site != "same-origin" => true,
        (_, Some("null") | None) => false,
        (_, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_none() || host != text(HOST.as_str())
        }
    };
    if elsewhere {
        Err(Problem::new(Kind::NotFromHere))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(pairs: &[(&'static str, &'static str)]) -> bool {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        check(&HeaderMap::from_iter(pairs)).is_ok()
    }

    #[test]
    fn what_comes_from_elsewhere_is_refused() {
        for good in [
            &[
                ("host", "c:1"),
                ("sec-fetch-site", "same-origin"),
                ("origin", "null"),
            ][..],
            &[
                ("host", "c:1"),
                ("sec-fetch-site", "same-origin"),
                ("origin", "http://c:1"),
            ],
            &[("host", "c:1"), ("origin", "http://c:1")],
            &[("host", "c:1"), ("origin", "https://c:1")],
            &[("host", "c:1")],
        ] {
            assert!(checked(good), "{good:?}");
        }
        for bad in [
            &[("host", "c:1"), ("sec-fetch-site", "cross-site")][..],
            &[
                ("host", "c:1"),
                ("sec-fetch-site", "same-site"),
                ("origin", "http://c:1"),
            ],
            &[("host", "c:1"), ("sec-fetch-site", "none")],
            &[
                ("host", "c:1"),
                ("sec-fetch-site", "same-origin"),
                ("origin", "http://evil"),
            ],
            &[("host", "c:1"), ("origin", "http://c:2")],
            &[("host", "c:1"), ("origin", "c:1")],
            &[("origin", "http://c:1")],
        ] {
            assert!(!checked(bad), "{bad:?}");
        }
    }
}

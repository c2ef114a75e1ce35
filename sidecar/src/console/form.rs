//! What a browser sends: the fields of a form or of a query, bounded.

use std::fmt;

use http_body_util::{BodyDataStream, Full};
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;

use crate::api::problem::{Kind, Problem};
use crate::api::request;

#[derive(Default)]
pub struct Form(Vec<(String, String)>);

/// For a form that is typed.
pub const USUAL: usize = 64 * 1024;

impl Form {
    pub fn of_query(query: Option<&str>) -> Self {
        Self::parse(query.unwrap_or_default().as_bytes())
    }

    pub async fn read(request: Request<Incoming>, most: usize) -> Result<Self, Problem> {
        let kind = request.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok());
        let boundary = kind.and_then(|kind| multer::parse_boundary(kind).ok());
        let body = request::body(request, most).await?;
        match boundary {
            Some(boundary) => Self::of_parts(body, boundary).await,
            None => Ok(Self::parse(&body)),
        }
    }

    /// The field's text without blanks around it; empty if it was not sent.
    pub fn get(&self, name: &str) -> &str {
        let mut named = self.0.iter().filter(|(field, _)| field == name);
        named.next().map_or("", |(_, text)| text.trim())
    }

    /// As [`Self::get`]; none if it is empty.
    pub fn given(&self, name: &str) -> Option<&str> {
        Some(self.get(name)).filter(|text| !text.is_empty())
    }

    /// A form that may hold a file.
    async fn of_parts(body: Bytes, boundary: String) -> Result<Self, Problem> {
        let faulty = |error: multer::Error| Problem::new(Kind::BadBody).detail(error.to_string());
        let stream = BodyDataStream::new(Full::new(body));
        let mut parts = multer::Multipart::new(stream, boundary);
        let mut fields = Vec::new();
        while let Some(part) = parts.next_field().await.map_err(faulty)? {
            let name = part.name().unwrap_or_default().to_owned();
            let bytes = part.bytes().await.map_err(faulty)?;
            fields.push((name, String::from_utf8_lossy(&bytes).into_owned()));
        }
        Ok(Self(fields))
    }

    fn parse(bytes: &[u8]) -> Self {
        Self(form_urlencoded::parse(bytes).into_owned().collect())
    }
}

/// One of its fields may be the admin token.
impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Form({} fields)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_not_printed() {
        let form = Form::of_query(Some("token=hidden&name=ada"));
        assert_eq!(form.get("token"), "hidden");
        assert_eq!(
            format!("{form:?} {form:#?}"),
            "Form(2 fields) Form(2 fields)"
        );
    }
}

//! What a browser sends: the fields of a form or of a query, bounded.

use hyper::Request;
use hyper::body::Incoming;

use crate::api::problem::Problem;
use crate::api::request;

#[derive(Debug, Default)]
pub struct Form(Vec<(String, String)>);

/// For a form that is typed.
pub const USUAL: usize = 64 * 1024;

impl Form {
    pub fn of_query(query: Option<&str>) -> Self {
        Self::parse(query.unwrap_or_default().as_bytes())
    }

    pub async fn read(request: Request<Incoming>, most: usize) -> Result<Self, Problem> {
        Ok(Self::parse(&request::body(request, most).await?))
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

    fn parse(bytes: &[u8]) -> Self {
        Self(form_urlencoded::parse(bytes).into_owned().collect())
    }
}

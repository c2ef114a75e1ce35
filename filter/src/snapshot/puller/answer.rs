//! One callout to the sidecar that is polled, and what its answer must be to be taken up.

use crate::config::Sidecar;
use crate::host::{AnswerSize, Call, Host, Token};
use crate::metrics::Refusal;
use crate::neighbour;

/// Why a step did not succeed.
pub enum Fault {
    Sidecar(String),
    /// It has no such part: another sidecar gave the manifest, or the snapshot is none of its last ones
    /// any more. What it offers now is to be had.
    NoSuchPart(String),
    Refused(Refusal, String),
}

/// Sends a GET for `path`.
pub fn call<H: Host>(
    host: &H,
    sidecar: &Sidecar,
    path: &str,
    timeout_ms: u32,
) -> Result<Token, Fault> {
    let call = Call {
        cluster: &sidecar.poll_cluster,
        authority: &sidecar.authority,
        path,
        body: None,
        request_id: None,
        traceparent: None,
        timeout_ms,
    };
    host.call(&call)
        .map_err(|error| Fault::Sidecar(format!("the sidecar cannot be polled: {error}")))
}

/// The answer's status. Without headers there was no answer, and none may be read.
pub fn status<H: Host>(host: &H, size: AnswerSize) -> Result<String, Fault> {
    if size.headers == 0 {
        return Err(Fault::Sidecar("the sidecar's answer broke off".to_owned()));
    }
    let status = host.answer_header(":status").unwrap_or_default();
    neighbour::check(host, &status).map_err(|error| {
        let message = format!("what the sidecar says was refused: {error}");
        Fault::Refused(Refusal::Wire, message)
    })?;
    Ok(String::from_utf8_lossy(&status).into_owned())
}

/// The body of an answer with 200, of at most `most` bytes.
pub fn body<H: Host>(
    host: &H,
    size: AnswerSize,
    status: &str,
    most: usize,
) -> Result<Vec<u8>, Fault> {
    if status != "200" {
        return Err(Fault::Sidecar(format!("the sidecar answered {status}")));
    }
    if size.body > most {
        let message = format!("an answer of {} bytes was refused", size.body);
        return Err(Fault::Refused(Refusal::Parts, message));
    }
    Ok(host.answer_body(most))
}

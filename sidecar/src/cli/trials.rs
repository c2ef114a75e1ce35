//! `secrets check`: has the sidecar try each secret, and says what came of it.

use hyper::Method;

use super::args::Remote;
use super::output::{complain, count, or_dash, say, table};
use super::session::Session;
use super::{CliError, Exit};
use crate::secrets::Trial;
use crate::trials::Tried;

const PATH: &str = "/v1/secrets/check";

/// Ends badly if a secret falls short, so that a script can go by it.
pub async fn run(remote: &Remote) -> Exit {
    match tried(remote).await {
        Ok((page, exit)) => {
            say(&page);
            exit
        }
        Err(error) => {
            complain(&error);
            error.exit()
        }
    }
}

async fn tried(remote: &Remote) -> Result<(String, Exit), CliError> {
    let session = Session::new(remote)?;
    let tried: Tried = session.order(Method::POST, PATH).await?;
    let page = if session.json {
        serde_json::to_string(&tried).map_err(CliError::Answer)?
    } else {
        page(&tried.trials)
    };
    let exit = if tried.trials.iter().any(Trial::falls_short) {
        Exit::Failed
    } else {
        Exit::Good
    };
    Ok((page, exit))
}

fn page(trials: &[Trial]) -> String {
    if trials.is_empty() {
        return "no secrets are configured".to_owned();
    }
    let row = |trial: &Trial| {
        [
            trial.secret.to_string(),
            or_dash(trial.used_by.as_ref()),
            trial.value.name().to_owned(),
            trial.result.name().to_owned(),
            or_dash(trial.result.detail()),
        ]
    };
    let titles = ["SECRET", "FOR", "VALUE", "RESULT", "WHY"];
    let mut page = table(titles, trials.iter().map(row).collect());
    let calls: u32 = trials.iter().map(|trial| trial.calls).sum();
    if calls > 0 {
        let calls = count(usize::try_from(calls).unwrap_or(usize::MAX), "call");
        page.push_str(&format!("{calls} of the providers' quota used\n"));
    }
    let short = trials.iter().filter(|trial| trial.falls_short()).count();
    if short > 0 {
        page.push_str(&format!("{} fall short\n", count(short, "value")));
    }
    page
}

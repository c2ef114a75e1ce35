//! `cargo xtask gate`: the verdict over the jobs that a merge needs. A job that was skipped counts as
//! failed: GitHub itself would take a skipped job for a passed one.

use serde_json::Value;

use crate::error::Error;
use crate::say;

/// `needs` is GitHub's context of that name, as JSON.
pub fn run(needs: &str) -> Result<(), Error> {
    let missed = missed(needs)?;
    if missed.is_empty() {
        say::step("all jobs passed");
        return Ok(());
    }
    Err(Error::Said(missed.join("; ")))
}

fn missed(needs: &str) -> Result<Vec<String>, Error> {
    let needs: Value = serde_json::from_str(needs)
        .map_err(|error| Error::Said(format!("NEEDS is not the context `needs`: {error}")))?;
    let jobs = needs.as_object().filter(|jobs| !jobs.is_empty());
    let jobs = jobs.ok_or_else(|| Error::Said("NEEDS names no job".to_owned()))?;
    let result = |job: &Value| job.get("result").and_then(Value::as_str).map(str::to_owned);
    Ok(jobs
        .iter()
        .map(|(name, job)| (name, result(job).unwrap_or_default()))
        .filter(|(_, result)| result != "success")
        .map(|(name, result)| format!("the job {name} ended as {result:?}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_that_all_succeeded_open_the_gate() {
        let needs = r#"{"test":{"result":"success","outputs":{}},"audit":{"result":"success"}}"#;
        run(needs).unwrap();
    }

    #[test]
    fn one_that_failed_or_was_skipped_or_says_nothing_keeps_it_shut() {
        for result in [r#""failure""#, r#""skipped""#, r#""cancelled""#, "null"] {
            let needs =
                format!(r#"{{"audit":{{"result":"success"}},"test":{{"result":{result}}}}}"#);
            let told = run(&needs).unwrap_err().to_string();
            assert!(told.contains("the job test"), "{told}");
            assert!(!told.contains("audit"), "{told}");
        }
    }

    #[test]
    fn no_jobs_are_not_a_pass() {
        for needs in ["{}", "", "[]"] {
            assert!(run(needs).is_err(), "{needs:?}");
        }
    }
}

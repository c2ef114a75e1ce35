//! Values that nobody can mean: `docker compose up` fails and names them, and nothing has run but what checks.

use std::net::TcpListener;

use super::proof::require;
use super::stack::{Stack, said};
use crate::error::Error;
use crate::say;
use crate::workspace::Workspace;

/// A variable, a value, and what is told of it: one of these, as versions of Compose differ.
struct Wrong<'a> {
    variable: &'a str,
    value: &'a str,
    told: &'a [&'a str],
}

pub fn values(stack: &mut Stack<'_>, workspace: &Workspace) -> Result<(), Error> {
    let faulty = workspace.built("compose-faulty");
    std::fs::create_dir_all(&faulty).map_err(Error::file("cannot create", &faulty))?;
    let file = faulty.join("portcullis.toml");
    std::fs::write(&file, "[listen]\nedgee = \"0.0.0.0:8970\"\n")
        .map_err(Error::file("cannot write", &file))?;
    let faulty = faulty.display().to_string();
    let wrong = |variable, value, told| Wrong {
        variable,
        value,
        told,
    };
    for case in [
        wrong("PORTCULLIS_MODE", "maybe", &["PORTCULLIS_MODE"]),
        wrong("PORTCULLIS_UPSTREAM", "app", &["PORTCULLIS_UPSTREAM"]),
        wrong("PORTCULLIS_TRUST", "10.0.0.0/99", &["PORTCULLIS_TRUST"]),
        wrong("PORTCULLIS_BIND", "0.0.0.0", &["PORTCULLIS_TRUST"]),
        wrong("PORTCULLIS_SIDECAR", &faulty, &["listen.edgee"]),
        wrong("PORTCULLIS_LISTS", "/nowhere/at/all", &["/nowhere/at/all"]),
        wrong(
            "PORTCULLIS_API_PORT",
            "many",
            &["services.envoy.ports", "hostPort: many"],
        ),
    ] {
        refused(stack, &case)?;
    }
    say::step("wrong values are refused by name before anything starts");
    port_in_use(stack)
}

fn refused(stack: &mut Stack<'_>, wrong: &Wrong<'_>) -> Result<(), Error> {
    let kept = stack.get(wrong.variable);
    stack.set(wrong.variable, wrong.value);
    let output = stack.try_up()?;
    let told = format!("{}{}", said(&output), stack.logs());
    let Wrong {
        variable,
        value,
        told: wanted,
    } = wrong;
    require(
        !output.status.success(),
        format!("{variable}={value} is taken"),
    )?;
    require(
        wanted.iter().any(|words| told.contains(words)),
        format!("{variable}={value} is not named by {wanted:?}: {told}"),
    )?;
    match kept {
        Some(value) => stack.set(wrong.variable, &value),
        None => stack.unset(wrong.variable),
    }
    for container in stack.containers()? {
        let checks = container.text("/HostConfig/RestartPolicy/Name") == "no";
        let otherwise = format!("{} has run by {variable}={value}", container.service());
        require(checks || !container.has_run(), otherwise)?;
    }
    stack.down(&["--volumes"])
}

/// A port that somebody else has is named.
fn port_in_use(stack: &mut Stack<'_>) -> Result<(), Error> {
    let kept = stack.get("PORTCULLIS_EDGE_PORT").unwrap_or_default();
    let taken =
        TcpListener::bind("127.0.0.1:0").map_err(Error::file("cannot listen on", "127.0.0.1"))?;
    let port = taken.local_addr().map(|address| address.port().to_string());
    let port = port.map_err(Error::file("cannot name the port of", "127.0.0.1"))?;
    stack.set("PORTCULLIS_EDGE_PORT", &port);
    let output = stack.try_up()?;
    let told = said(&output);
    require(
        !output.status.success() && told.contains(&port),
        format!("a port in use is not named: {told}"),
    )?;
    stack.set("PORTCULLIS_EDGE_PORT", &kept);
    stack.down(&["--volumes"])
}

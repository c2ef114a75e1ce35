//! What must hold of the stack while it runs.

use std::net::SocketAddr;
use std::time::Duration;

use kit::{Request, eventually_async};
use serde_json::Value;

use super::container::Container;
use super::stack::{Stack, said};
use crate::demo::{CLEAN, LISTED};
use crate::error::Error;
use crate::{run, say};

/// For what follows from a command: a ban, a mode, a restart.
const LIMIT: Duration = Duration::from_secs(30);
const ADMIN_PORT: &str = "8971/tcp";

/// One clean and one listed address, as in the demo.
pub async fn sample(stack: &Stack<'_>) -> Result<(), Error> {
    let (clean, listed) = (
        stack.status_for(CLEAN).await,
        stack.status_for(LISTED).await,
    );
    say::step(format_args!(
        "{CLEAN}, which no list holds: {clean}; {LISTED}, which the sample list holds: {listed}"
    ));
    require(
        (clean, listed) == (200, 403),
        "expected 200 for the clean address and 403 for the listed one",
    )
}

/// What a container may do, as Docker says it and as it turns out.
pub fn contained(stack: &Stack<'_>) -> Result<(), Error> {
    for container in stack.containers()? {
        shut_in(&container)?;
    }
    let succeeds = |command: &str| {
        let output = stack.run_in("envoy", &["bash", "-c", command]);
        output.is_ok_and(|output| output.status.success())
    };
    let reaches = |place: &str| succeeds(&format!("exec 3<>/dev/tcp/{place}"));
    require(
        reaches("portcullis/8970"),
        "Envoy does not reach the sidecar",
    )?;
    let admin = !reaches("portcullis/8971");
    require(admin, "the admin API can be reached from other containers")?;
    require(!reaches("redis/6379"), "Redis can be reached from Envoy")?;
    require(succeeds("true"), "nothing can be run in Envoy's container")?;
    let kept = !succeeds("echo x >/usr/local/bin/x");
    require(kept, "Envoy's container can be written to")?;
    say::step("nobody runs as root, writes to a root file system or reaches the admin API");
    Ok(())
}

fn shut_in(container: &Container) -> Result<(), Error> {
    let name = container.service();
    let told = |what: &str| format!("{name} {what}");
    let user = container.text("/Config/User").split(':').next();
    let root = matches!(user, None | Some("" | "0" | "root"));
    require(!root, told("runs as root"))?;
    let read_only = *container.at("/HostConfig/ReadonlyRootfs") == true;
    require(read_only, told("may write to its root file system"))?;
    let dropped = container.holds("/HostConfig/CapDrop", "ALL");
    require(dropped, told("keeps capabilities"))?;
    let contained = container.holds("/HostConfig/SecurityOpt", "no-new-privileges:true");
    require(contained, told("may gain privileges"))?;
    for (port, addresses) in container.ports() {
        let loopback = addresses.iter().all(|address| *address == "127.0.0.1");
        require(loopback, told(&format!("publishes {port} beyond loopback")))?;
        let shown = port == ADMIN_PORT && !addresses.is_empty();
        require(!shown, "the console's port is published")?;
    }
    Ok(())
}

/// A decision is in Redis, and is still enforced after everything was taken down and brought up again.
pub async fn kept(stack: &Stack<'_>) -> Result<(), Error> {
    order(stack, &["ban", CLEAN, "--for", "1h"])?;
    until(stack, CLEAN, 403, "the ban is not enforced").await?;
    let asked =
        "REDISCLI_AUTH=$(cat /run/redis/password) redis-cli --user portcullis hlen pc:decisions";
    let counted = stack.run_in("redis", &["sh", "-c", asked])?;
    require(
        said(&counted).trim() == "1",
        format!("Redis does not hold the ban: {}", said(&counted)),
    )?;
    stack.down(&[])?;
    stack.up()?;
    stack.until_well().await?;
    until(stack, CLEAN, 403, "the ban is gone after a restart").await?;
    order(stack, &["unban", CLEAN])?;
    until(stack, CLEAN, 200, "the unban is not followed").await?;
    say::step("a ban outlives `docker compose down` and `up`");
    Ok(())
}

/// With the sidecar dead the site serves, and refuses whom it refused.
pub async fn without_sidecar(stack: &Stack<'_>) -> Result<(), Error> {
    stack.kill("portcullis")?;
    for _ in 0..20 {
        let seen = (
            stack.status_for(CLEAN).await,
            stack.status_for(LISTED).await,
        );
        require(
            seen == (200, 403),
            format!("without the sidecar: {seen:?} instead of (200, 403)"),
        )?;
    }
    stack.up()?;
    stack.until_well().await?;
    say::step("without the sidecar the clean client passes and the listed one is refused");
    Ok(())
}

/// A wrong password costs orders, not the site; nobody prints it; and once both have the same one, all is well.
pub async fn wrong_password(stack: &Stack<'_>) -> Result<(), Error> {
    let wrong = "not-what-redis-was-started-with";
    let write = format!("echo {wrong} >/data/new && mv /data/new /data/password");
    let written = stack.run_once("redis-password", &[&write])?;
    require(written.status.success(), said(&written))?;
    run::capture(stack.compose().args(["restart", "portcullis"]))?;
    // Not Redis: its health is asked with the same file.
    stack.until_is_well("portcullis").await?;
    sample(stack).await?;
    let ban = stack.run_in("portcullis", &["portcullis", "ban", CLEAN])?;
    require(
        !ban.status.success(),
        "a ban succeeds though Redis refuses the password",
    )?;
    let told = format!("{}{}", said(&ban), stack.logs());
    require(!told.contains(wrong), "the password is told")?;
    run::capture(stack.compose().args(["restart", "redis"]))?;
    stack.until_well().await?;
    let back = eventually_async(LIMIT, || async { order(stack, &["ban", CLEAN]).is_ok() });
    require(back.await, "the sidecar does not come back to Redis")?;
    order(stack, &["unban", CLEAN])?;
    until(stack, CLEAN, 200, "the unban is not followed").await?;
    say::step("a wrong password of Redis fails orders and nothing else, and is not told");
    Ok(())
}

/// Another mode takes effect in the Envoy that runs. Not by `up`, which many releases of Compose 2 have start anew whatever
/// depends on what changed.
pub async fn monitor(stack: &mut Stack<'_>) -> Result<(), Error> {
    let before = stack.started("envoy")?;
    let put_in_force = |stack: &Stack<'_>| {
        let adjusted = stack.run_once("settings", &[])?;
        require(adjusted.status.success(), said(&adjusted))
    };
    stack.set("PORTCULLIS_MODE", "monitor");
    put_in_force(stack)?;
    until(stack, LISTED, 200, "monitor is not followed").await?;
    stack.unset("PORTCULLIS_MODE");
    put_in_force(stack)?;
    until(stack, LISTED, 403, "enforce is not followed").await?;
    let same = stack.started("envoy")? == before;
    require(same, "Envoy was started anew for another mode")?;
    say::step("PORTCULLIS_MODE changes what a running Envoy does");
    Ok(())
}

/// Prometheus sees both, has our rules and knows whom to tell.
pub async fn watched(stack: &mut Stack<'_>, services: &[&str]) -> Result<(), Error> {
    stack.watched(services);
    stack.up()?;
    stack.until_well().await?;
    let prometheus = stack.port("PROMETHEUS");
    let seen = eventually_async(LIMIT, || async {
        let up = query(prometheus, "/api/v1/query?query=up").await;
        let values = up
            .pointer("/data/result")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        values.len() == 2 && values.iter().all(is_up)
    });
    require(
        seen.await,
        "Prometheus does not reach Envoy and the sidecar",
    )?;
    let rules = query(prometheus, "/api/v1/rules").await;
    let groups = rules
        .pointer("/data/groups")
        .and_then(Value::as_array)
        .map_or(0, Vec::len);
    require(groups > 1, "Prometheus has no rules")?;
    let told = query(prometheus, "/api/v1/alertmanagers").await;
    let place = told
        .pointer("/data/activeAlertmanagers/0/url")
        .cloned()
        .unwrap_or_default();
    require(
        place
            .as_str()
            .is_some_and(|url| url.contains("alertmanager:9093")),
        "Prometheus knows no Alertmanager",
    )?;
    contained(stack)?;
    sample(stack).await?;
    say::step(format_args!(
        "the profile monitoring ({}) sees Envoy and the sidecar",
        services.join(", ")
    ));
    Ok(())
}

/// Of the vector that `up` gives.
fn is_up(sample: &Value) -> bool {
    sample.pointer("/value/1").is_some_and(|value| value == "1")
}

async fn query(to: SocketAddr, path: &str) -> Value {
    let answer = Request::get(path).send(to).await;
    answer.map_or(Value::Null, |answer| {
        serde_json::from_str(&answer.text()).unwrap_or_default()
    })
}

async fn until(stack: &Stack<'_>, client: &str, status: u16, otherwise: &str) -> Result<(), Error> {
    let seen = eventually_async(LIMIT, || async { stack.status_for(client).await == status });
    require(seen.await, otherwise)
}

/// Runs the operator's command line where it lies.
fn order(stack: &Stack<'_>, arguments: &[&str]) -> Result<(), Error> {
    let output = stack.run_in("portcullis", &[&["portcullis"], arguments].concat())?;
    require(output.status.success(), said(&output))
}

pub fn require(holds: bool, otherwise: impl Into<String>) -> Result<(), Error> {
    match holds {
        true => Ok(()),
        false => Err(Error::Said(otherwise.into())),
    }
}

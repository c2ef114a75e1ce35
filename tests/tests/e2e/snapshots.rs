//! A snapshot that is broken, swapped or older never becomes active; the last good one stays.

use kit::raw_sidecar::Behaviour;
use kit::serve::Answer;
use kit::snapshot::{Built, Draft, Line};
use reputation::UnixSeconds;
use reputation::manifest::SnapshotVersion;

use crate::common::{CANARY, LIMIT, RawEdge, no_vm_died, until_metric, until_status};

const NEWCOMER: &str = "203.0.113.5";
const REFUSED: &str = "portcullis_snapshot_refused_total";

/// Enough for several parts.
const FILLER: u32 = 150_000;

fn first() -> Built {
    Draft::version(1)
        .base(Line::listed(CANARY).unwrap())
        .build()
        .unwrap()
}

/// Lists the newcomer and no longer the canary: what is active shows at once.
fn second() -> Built {
    let draft = Draft::version(2).base(Line::listed(NEWCOMER).unwrap());
    draft.with_filler(FILLER).build().unwrap()
}

/// Publishes a faulty snapshot, sees it refused, and a good one taken after it.
async fn refused_and_recovered(faulty: Built, cause: &str) {
    let edge = RawEdge::start().await;
    edge.sidecar.publish(first());
    assert!(
        until_status(&edge.envoy, CANARY, 403).await,
        "{}",
        edge.envoy.log()
    );
    edge.sidecar.publish(faulty);
    let label = format!("cause=\"{cause}\"");
    let counted = until_metric(&edge.envoy, REFUSED, &[&label], 1.0).await;
    let metrics = edge.envoy.metrics().await;
    let lines: Vec<_> = metrics
        .lines()
        .filter(|line| line.contains(REFUSED))
        .collect();
    assert!(
        counted,
        "not refused for {cause}: {lines:?} {}",
        edge.envoy.log()
    );
    assert_eq!(
        edge.envoy.status_for(CANARY).await,
        403,
        "the last good one went"
    );
    assert_eq!(
        edge.envoy.status_for(NEWCOMER).await,
        200,
        "a faulty one is active"
    );
    let mut good = Draft::version(50).base(Line::listed(NEWCOMER).unwrap());
    good = good.with_filler(FILLER + 1);
    edge.sidecar.publish(good.build().unwrap());
    assert!(
        until_status(&edge.envoy, NEWCOMER, 403).await,
        "{}",
        edge.envoy.log()
    );
    assert_eq!(edge.envoy.status_for(CANARY).await, 200);
    assert!(no_vm_died(&edge.envoy), "{}", edge.envoy.log());
}

/// The names of the base's parts, in order.
fn base_parts(built: &Built) -> Vec<String> {
    built
        .manifest
        .base
        .parts
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[tokio::test]
async fn a_corrupt_part_is_refused() {
    let mut built = second();
    let names = base_parts(&built);
    assert!(names.len() > 2, "{} parts", names.len());
    built.parts.get_mut(&names[1]).unwrap()[1000] ^= 1;
    refused_and_recovered(built, "digest").await;
}

#[tokio::test]
async fn a_truncated_part_is_refused() {
    let mut built = second();
    let names = base_parts(&built);
    built.parts.get_mut(&names[1]).unwrap().truncate(1000);
    refused_and_recovered(built, "digest").await;
}

#[tokio::test]
async fn swapped_parts_are_refused() {
    let mut built = second();
    let names = base_parts(&built);
    let (one, other) = (
        built.parts[&names[0]].clone(),
        built.parts[&names[1]].clone(),
    );
    built.parts.insert(names[0].clone(), other);
    built.parts.insert(names[1].clone(), one);
    refused_and_recovered(built, "digest").await;
}

#[tokio::test]
async fn an_image_that_is_none_is_refused_although_its_digests_are_right() {
    use reputation::digest::Digest;
    use reputation::manifest::ImageRef;
    let mut built = second();
    let noise: Vec<u8> = (0..200_000_u32)
        .map(|at| at.to_le_bytes()[0] ^ 0x5a)
        .collect();
    built.manifest.base = ImageRef::of(&noise);
    for part in noise.chunks(reputation::manifest::MAX_PART_BYTES) {
        built
            .parts
            .insert(Digest::of(part).to_string(), part.to_vec());
    }
    refused_and_recovered(built, "image").await;
}

#[tokio::test]
async fn a_snapshot_past_its_validity_is_refused() {
    let mut built = second();
    built.manifest.valid_until = UnixSeconds(1);
    refused_and_recovered(built, "expired").await;
}

#[tokio::test]
async fn an_older_snapshot_never_replaces_a_newer_one() {
    let mut built = second();
    built.manifest.version = SnapshotVersion {
        epoch: 0,
        version: 99,
    };
    refused_and_recovered(built, "older").await;
}

#[tokio::test]
async fn a_part_that_cannot_be_had_leaves_the_last_good_snapshot() {
    let edge = RawEdge::start().await;
    edge.sidecar.publish(first());
    assert!(until_status(&edge.envoy, CANARY, 403).await);
    edge.sidecar
        .on_parts(Behaviour::Always(Answer::status(404)));
    edge.sidecar.publish(second());
    let asked = kit::eventually(LIMIT, || edge.sidecar.asked("/v1/parts/").len() > 4);
    assert!(asked.await, "it gave up: {}", edge.envoy.log());
    assert_eq!(edge.envoy.status_for(CANARY).await, 403);
    edge.sidecar.on_parts(Behaviour::Good);
    assert!(
        until_status(&edge.envoy, NEWCOMER, 403).await,
        "{}",
        edge.envoy.log()
    );
}

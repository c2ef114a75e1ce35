//! Walks a file's tree before anything else does: in a tree that was made to, or came to, lead to the
//! same places over and over, every other walk would go on for years.

use maxminddb::Metadata;

/// How many steps are granted per node: IPv4 may be reached by several ways, and all other places by
/// one.
const STEPS_PER_NODE: usize = 16;
const DEEPEST: u8 = 128;

/// Whether a walk over all of the tree in `bytes` comes to its end soon.
pub fn is_bounded(bytes: &[u8], metadata: &Metadata) -> bool {
    let nodes = usize::try_from(metadata.node_count).unwrap_or(usize::MAX);
    let mut steps_left = nodes.saturating_mul(STEPS_PER_NODE);
    let mut ahead = vec![(0, 0)];
    while let Some((node, depth)) = ahead.pop() {
        if node >= nodes {
            continue;
        }
        let Some(left) = steps_left.checked_sub(1).filter(|_| depth < DEEPEST) else {
            return false;
        };
        steps_left = left;
        let Some(children) = children(bytes, node, metadata.record_size) else {
            return false;
        };
        ahead.extend(children.map(|child| (child, depth + 1)));
    }
    true
}

fn children(bytes: &[u8], node: usize, record_size: u16) -> Option<[usize; 2]> {
    let size = usize::from(record_size) / 4;
    let here = bytes.get(node.checked_mul(size)?..)?.get(..size)?;
    let [left, right] = match *here {
        [l1, l2, l3, r1, r2, r3] => [[0, l1, l2, l3], [0, r1, r2, r3]],
        [l1, l2, l3, both, r1, r2, r3] => [[both >> 4, l1, l2, l3], [both & 15, r1, r2, r3]],
        [l0, l1, l2, l3, r0, r1, r2, r3] => [[l0, l1, l2, l3], [r0, r1, r2, r3]],
        _ => return None,
    };
    let number = |octets| usize::try_from(u32::from_be_bytes(octets)).ok();
    Some([number(left)?, number(right)?])
}

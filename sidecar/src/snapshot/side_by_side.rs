//! Walks two sorted runs side by side, such as what was in force and what is. What a difference means is
//! the caller's.

use std::cmp::Ordering;

/// Pairs what has the same key; what only one run has comes alone. Both are sorted by `key`.
pub fn side_by_side<T, K: Ord>(
    before: impl Iterator<Item = T>,
    after: impl Iterator<Item = T>,
    key: impl Fn(&T) -> K,
) -> impl Iterator<Item = (Option<T>, Option<T>)> {
    let (mut before, mut after) = (before.peekable(), after.peekable());
    std::iter::from_fn(move || {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => key(old).cmp(&key(new)),
        };
        let old = order.is_le().then(|| before.next()).flatten();
        let new = order.is_ge().then(|| after.next()).flatten();
        Some((old, new))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_have_comes_together_and_the_rest_alone_and_in_order() {
        let pairs = side_by_side([1, 2, 5].into_iter(), [2, 3, 5, 6].into_iter(), |it| *it);
        let expected = [
            (Some(1), None),
            (Some(2), Some(2)),
            (None, Some(3)),
            (Some(5), Some(5)),
            (None, Some(6)),
        ];
        assert!(pairs.eq(expected));
    }
}

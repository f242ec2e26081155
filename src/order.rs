//! Sorting in few bytes of code. The standard library's sort is made anew for each type that is sorted and takes 5 KB each time, and every
//! job downloads the engine.

use std::cmp::Ordering;

/// Sorts by a merge sort: what compares as equal stays in its order, and a comparison that contradicts itself does no harm.
pub fn sort<T>(items: &mut Vec<T>, compare: &mut dyn FnMut(&T, &T) -> Ordering) {
    if items.len() < 2 {
        return;
    }
    let mut right = items.split_off(items.len() / 2);
    sort(items, compare);
    sort(&mut right, compare);
    let mut left = std::mem::take(items).into_iter().peekable();
    let mut right = right.into_iter().peekable();
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let next = if compare(a, b) == Ordering::Greater { right.next() } else { left.next() };
        items.extend(next);
    }
    items.extend(left);
    items.extend(right);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_order_is_that_of_the_standard_library(mut items in prop::collection::vec((0_u8..10, 0_u8..=255), 0..40)) {
            let mut expected = items.clone();
            expected.sort_by_key(|item| item.0);
            sort(&mut items, &mut |a, b| a.0.cmp(&b.0));
            prop_assert_eq!(items, expected);
        }
    }
}

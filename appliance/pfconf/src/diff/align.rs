//! The longest common subsequence of two lists of numbers: what stayed where it was. Knows nothing of rules. Unique items that
//! keep their order are taken first (patience), short gaps between them are solved exactly; so a ruleset of 100,000 rules with
//! a few changes is compared in linear time.

use std::collections::HashMap;

/// Largest table of the exact solution, in cells.
const CELLS_MAX: usize = 4_000_000;

/// Pairs of positions that hold the same item, rising on both sides.
pub(super) fn align(a: &[u32], b: &[u32]) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    // Gaps still to do: both ends on both sides. A gap is cut into smaller ones or solved, so this ends.
    let mut todo = vec![(0, a.len(), 0, b.len())];
    while let Some((mut a0, mut a1, mut b0, mut b1)) = todo.pop() {
        while a0 < a1 && b0 < b1 && a[a0] == b[b0] {
            pairs.push((a0, b0));
            (a0, b0) = (a0 + 1, b0 + 1);
        }
        while a0 < a1 && b0 < b1 && a[a1 - 1] == b[b1 - 1] {
            (a1, b1) = (a1 - 1, b1 - 1);
            pairs.push((a1, b1));
        }
        if a0 == a1 || b0 == b1 {
            continue;
        }
        if (a1 - a0) * (b1 - b0) <= CELLS_MAX {
            exact(&a[a0..a1], &b[b0..b1], (a0, b0), &mut pairs);
            continue;
        }
        let (mut from_a, mut from_b) = (a0, b0);
        for (x, y) in unique_in_order(&a[a0..a1], &b[b0..b1]) {
            let (x, y) = (a0 + x, b0 + y);
            pairs.push((x, y));
            todo.push((from_a, x, from_b, y));
            (from_a, from_b) = (x + 1, y + 1);
        }
        // Without a unique item this gap stays open: what is in it counts as moved.
        if from_a > a0 {
            todo.push((from_a, a1, from_b, b1));
        }
    }
    pairs.sort_unstable();
    pairs
}

/// The textbook table, for gaps it fits in.
fn exact(a: &[u32], b: &[u32], (a0, b0): (usize, usize), pairs: &mut Vec<(usize, usize)>) {
    let width = b.len() + 1;
    let mut longest = vec![0u16; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i * width + j] = if a[i] == b[j] {
                longest[(i + 1) * width + j + 1].saturating_add(1)
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        if a[i] == b[j] {
            pairs.push((a0 + i, b0 + j));
            (i, j) = (i + 1, j + 1);
        } else if longest[(i + 1) * width + j] >= longest[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
}

/// Items that are in both lists once, as far as they stand in the same order: a longest rising run.
fn unique_in_order(a: &[u32], b: &[u32]) -> Vec<(usize, usize)> {
    let places = |list: &[u32]| {
        let mut places: HashMap<u32, Option<usize>> = HashMap::new();
        for (n, item) in list.iter().enumerate() {
            let place = places.entry(*item).or_insert(Some(n));
            if *place != Some(n) {
                *place = None;
            }
        }
        places
    };
    let (in_a, in_b) = (places(a), places(b));
    let both = a.iter().enumerate().filter_map(|(n, item)| {
        let alone = in_a.get(item).copied().flatten().is_some();
        let other = in_b.get(item).copied().flatten()?;
        alone.then_some((n, other))
    });
    let candidates: Vec<(usize, usize)> = both.collect();
    // The last candidate of the best run of each length, and for every candidate the one before it.
    let mut tails: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::new();
    for (n, (_, y)) in candidates.iter().enumerate() {
        let length = tails.partition_point(|t| candidates[*t].1 < *y);
        before.push(length.checked_sub(1).map(|l| tails[l]));
        match tails.get_mut(length) {
            Some(tail) => *tail = n,
            None => tails.push(n),
        }
    }
    let mut run = Vec::new();
    let mut at = tails.last().copied();
    while let Some(n) = at {
        run.push(candidates[n]);
        at = before[n];
    }
    run.reverse();
    run
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stayed_is_found() {
        for (a, b, want) in [
            (&[1, 2, 3][..], &[1, 2, 3][..], 3),
            (&[1, 2, 3], &[3, 1, 2], 2),
            (&[1, 1, 2], &[1, 2, 2], 2),
            (&[1, 2], &[], 0),
            (&[5, 1, 2, 6], &[7, 1, 2, 8], 2),
        ] {
            let pairs = align(a, b);
            assert_eq!(pairs.len(), want, "{a:?} {b:?}");
            assert!(pairs.iter().all(|(x, y)| a[*x] == b[*y]));
        }
    }

    #[test]
    fn long_lists_are_cut_at_what_is_unique() {
        let a: Vec<u32> = (0..100_000).collect();
        let mut b = a.clone();
        b.remove(70_000);
        b.insert(10, 1_000_000);
        b.swap(50_000, 50_001);
        let pairs = align(&a, &b);
        assert_eq!(pairs.len(), 100_000 - 2);
        assert!(pairs.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1));
    }

    #[test]
    fn long_lists_with_nothing_unique_end_too() {
        let a: Vec<u32> = (0..20_000).map(|n| n % 7).collect();
        let b: Vec<u32> = (0..20_000).map(|n| n % 5).collect();
        let pairs = align(&a, &b);
        assert!(pairs.iter().all(|(x, y)| a[*x] == b[*y]));
    }
}

//! Shares a whole number out in proportion to weights, without losing or inventing a unit.

use std::cmp::Reverse;

/// Shares `total` out by the method of the largest remainder: each share is within one unit of its
/// exact proportion, and the shares add up to `total`. Weights that are all zero count as equal;
/// without weights there are no shares.
pub fn in_proportion(total: u64, weights: &[u64]) -> Vec<u64> {
    let sum: u128 = weights.iter().map(|w| u128::from(*w)).sum();
    if sum == 0 {
        return if weights.is_empty() {
            Vec::new()
        } else {
            in_proportion(total, &vec![1; weights.len()])
        };
    }
    let mut left = total;
    let mut shares = Vec::with_capacity(weights.len());
    let mut remainders = Vec::with_capacity(weights.len());
    for (index, weight) in weights.iter().enumerate() {
        let product = u128::from(total) * u128::from(*weight);
        // A share is at most `total`, so it fits.
        let share = u64::try_from(product / sum).unwrap_or(total);
        left = left.saturating_sub(share);
        shares.push(share);
        remainders.push((Reverse(product % sum), index));
    }
    // Fewer units are left than there are weights, since each share lost less than one.
    remainders.sort_unstable();
    for (_, index) in remainders {
        if left == 0 {
            break;
        }
        if let Some(share) = shares.get_mut(index) {
            *share += 1;
            left -= 1;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_are_within_one_of_the_proportion() {
        for (total, weights) in [
            (0, vec![1, 2, 3]),
            (1, vec![1, 1, 1]),
            (10, vec![1, 1, 1]),
            (100, vec![75, 25]),
            (7, vec![0, 5, 0]),
            (u64::MAX, vec![u64::MAX, u64::MAX, 3]),
            (5, vec![0, 0]),
        ] {
            let shares = in_proportion(total, &weights);
            assert_eq!(shares.iter().sum::<u64>(), total, "{total} over {weights:?}");
            let sum: u128 = weights.iter().map(|w| u128::from(*w)).sum();
            for (share, weight) in shares.iter().zip(&weights).filter(|_| sum > 0) {
                let exact = u128::from(total) * u128::from(*weight) / sum;
                assert!(u128::from(*share).abs_diff(exact) <= 1, "{shares:?} for {weights:?}");
            }
        }
    }

    #[test]
    fn the_largest_remainder_gets_the_unit_that_is_left() {
        assert_eq!(in_proportion(10, &[6, 3, 2]), [5, 3, 2]);
        assert_eq!(in_proportion(3, &[0, 0]), [2, 1]);
        assert_eq!(in_proportion(3, &[]), Vec::<u64>::new());
    }
}

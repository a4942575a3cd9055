//! When a failed query is started again.

const FIRST_MS: i64 = 1_000;
const LONGEST_MS: i64 = 60_000;

/// After so long without a failure, the failures before are forgotten.
pub(crate) const HEALTHY_MS: i64 = 60_000;

/// After the `failures`-th failure in a row: a second, doubled each time, a minute at most.
pub(crate) fn delay_ms(failures: u32) -> i64 {
    let doublings = failures.saturating_sub(1).min(16);
    (FIRST_MS << doublings).min(LONGEST_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_minute() {
        assert_eq!([1, 2, 3, 6, 7, u32::MAX].map(delay_ms), [1_000, 2_000, 4_000, 32_000, 60_000, 60_000]);
    }
}

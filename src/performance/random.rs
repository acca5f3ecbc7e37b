//! Seeded random numbers for simulations in tests.

/// Numbers that are the same for the same seed (Steele, Lea and Flood 2014: SplitMix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    /// Uniform in [0, 1).
    pub(super) fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.uniform() < share
    }

    /// Exponential with a mean.
    pub(super) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.uniform()).ln()
    }

    /// A place among shares that add up to 1.
    pub(super) fn pick(&mut self, shares: &[f64]) -> usize {
        let mut left = self.uniform();
        for (place, share) in shares.iter().enumerate() {
            left -= share;
            if left < 0.0 {
                return place;
            }
        }
        shares.len() - 1
    }
}

/// Fails unless a simulated share of intervals that hold the truth is what 95 % intervals should have.
pub(super) fn assert_covers(held: u32, runs: u32) {
    let share = f64::from(held) / f64::from(runs);
    assert!((0.93..=0.97).contains(&share), "{held} of {runs} intervals hold the truth");
}

//! What one pass over a numeric column keeps: enough to place bin edges, in constant memory.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Values kept of the whole column, evenly over its rows. With so many the rank of an interior quantile
/// is known to about 0.1 % of the rows.
const KEPT_MAX: usize = 262_144;

/// Values kept at each end, exactly: the tail bins are placed by single rows.
const TAIL_MAX: usize = 65_536;

/// Seed of the hash that chooses rows; part of what makes two builds of one file equal.
const SEED: u64 = 0x6772_6964;

/// A sample of the finite values of a column.
#[derive(Debug)]
pub(super) struct Sample {
    kept: Kept,
    low: Tail,
    high: Tail,
    n: u64,
    mean: f64,
    squares: f64,
}

/// The values of the rows with the smallest hashes: which rows they are does not depend on how the rows
/// were read.
#[derive(Debug, Default)]
struct Kept {
    values: Vec<(u64, f64)>,
    limit: Option<u64>,
}

/// The smallest values, of a column or of its negative.
#[derive(Debug, Default)]
struct Tail {
    values: Vec<f64>,
    limit: Option<f64>,
}

impl Sample {
    pub(super) fn new() -> Self {
        Self {
            kept: Kept::default(),
            low: Tail::default(),
            high: Tail::default(),
            n: 0,
            mean: 0.0,
            squares: 0.0,
        }
    }

    /// The hash by which row number `row` is chosen or not: the same for every column.
    pub(super) fn row_hash(row: u64) -> u64 {
        xxh3_64_with_seed(&row.to_le_bytes(), SEED)
    }

    /// Takes the finite value of the row with this hash.
    pub(super) fn push(&mut self, row_hash: u64, value: f64) {
        // Negative zero is zero: they are one atom.
        let value = value + 0.0;
        self.n += 1;
        let before = value - self.mean;
        self.mean += before / self.n as f64;
        self.squares += before * (value - self.mean);
        self.kept.push(row_hash, value);
        self.low.push(value);
        self.high.push(-value);
    }

    /// Number of values.
    pub(super) fn n(&self) -> u64 {
        self.n
    }

    /// Mean and standard deviation; either may be infinite where values are near the largest double.
    pub(super) fn moments(&self) -> (f64, f64) {
        let variance = if self.n > 1 { self.squares / (self.n - 1) as f64 } else { 0.0 };
        (self.mean, variance.max(0.0).sqrt())
    }

    /// Sorts what was kept: the sample, the smallest values ascending, and the largest descending.
    pub(super) fn finish(self) -> Sorted {
        let mut sample: Vec<f64> = self.kept.finish();
        sample.sort_by(f64::total_cmp);
        let high = self.high.finish().into_iter().map(|value| 0.0 - value).collect();
        Sorted { n: self.n, sample, low: self.low.finish(), high }
    }
}

/// A finished sample.
#[derive(Debug)]
pub(super) struct Sorted {
    /// Number of values in the column.
    pub(super) n: u64,
    /// All values if there are few enough, else an even sample, ascending.
    pub(super) sample: Vec<f64>,
    /// The smallest values, ascending.
    pub(super) low: Vec<f64>,
    /// The largest values, descending.
    pub(super) high: Vec<f64>,
}

impl Kept {
    fn push(&mut self, hash: u64, value: f64) {
        if self.limit.is_some_and(|limit| hash > limit) {
            return;
        }
        self.values.push((hash, value));
        if self.values.len() >= 2 * KEPT_MAX {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        if self.values.len() > KEPT_MAX {
            let (_, largest, _) = self.values.select_nth_unstable_by_key(KEPT_MAX - 1, |(hash, _)| *hash);
            self.limit = Some(largest.0);
            self.values.truncate(KEPT_MAX);
        }
    }

    fn finish(mut self) -> Vec<f64> {
        self.shrink();
        self.values.into_iter().map(|(_, value)| value).collect()
    }
}

impl Tail {
    fn push(&mut self, value: f64) {
        if self.limit.is_some_and(|limit| value > limit) {
            return;
        }
        self.values.push(value);
        if self.values.len() >= 2 * TAIL_MAX {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        if self.values.len() > TAIL_MAX {
            let (_, largest, _) = self.values.select_nth_unstable_by(TAIL_MAX - 1, f64::total_cmp);
            self.limit = Some(*largest);
            self.values.truncate(TAIL_MAX);
        }
    }

    fn finish(mut self) -> Vec<f64> {
        self.shrink();
        self.values.sort_by(f64::total_cmp);
        self.values
    }
}

//! What one pass over a numeric column keeps: enough to place bin edges, in constant memory.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Values kept of a whole column, evenly over its rows. With so many the rank of an interior quantile
/// is known to about 0.1 % of the rows.
const KEPT_MAX: usize = 262_144;

/// Values kept of each column of a very wide table: a rank is then known to about 1 %.
const KEPT_MIN: usize = 2_048;

/// At each end so many times fewer values are kept, exactly: the tail bins are placed by single rows.
const TAIL_SHARE: usize = 4;

/// What the samples of all columns of a table may take.
const BYTES_MAX: usize = 256 << 20;

/// What a kept value takes, with its hash and its share of the ends, when the lists are fullest.
const BYTES_PER_KEPT: usize = 2 * size_of::<(u64, f64)>() + 2 * 2 * size_of::<f64>() / TAIL_SHARE;

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
#[derive(Debug)]
struct Kept {
    max: usize,
    values: Vec<(u64, f64)>,
    limit: Option<u64>,
}

/// The smallest values, of a column or of its negative.
#[derive(Debug)]
struct Tail {
    max: usize,
    values: Vec<f64>,
    limit: Option<f64>,
}

impl Sample {
    /// An empty sample of a column; the samples of all `columns` of its table share what memory there is.
    pub(super) fn new(columns: usize) -> Self {
        let kept = (BYTES_MAX / BYTES_PER_KEPT / columns.max(1)).clamp(KEPT_MIN, KEPT_MAX);
        let tail = || Tail { max: kept / TAIL_SHARE, values: Vec::new(), limit: None };
        Self {
            kept: Kept { max: kept, values: Vec::new(), limit: None },
            low: tail(),
            high: tail(),
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
        if self.values.len() >= 2 * self.max {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        if self.values.len() > self.max {
            let (_, largest, _) = self.values.select_nth_unstable_by_key(self.max - 1, |(hash, _)| *hash);
            self.limit = Some(largest.0);
            self.values.truncate(self.max);
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
        if self.values.len() >= 2 * self.max {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        if self.values.len() > self.max {
            let (_, largest, _) = self.values.select_nth_unstable_by(self.max - 1, f64::total_cmp);
            self.limit = Some(*largest);
            self.values.truncate(self.max);
        }
    }

    fn finish(mut self) -> Vec<f64> {
        self.shrink();
        self.values.sort_by(f64::total_cmp);
        self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_tables_keep_less_of_each_column_but_its_ends_exactly() {
        let mut sample = Sample::new(10_000);
        (0..100_000_u32).for_each(|k| {
            sample.push(Sample::row_hash(k.into()), f64::from(k.wrapping_mul(7919) % 100_000));
        });
        let sorted = sample.finish();
        assert_eq!(
            (sorted.n, sorted.sample.len(), sorted.low.len()),
            (100_000, KEPT_MIN, KEPT_MIN / TAIL_SHARE)
        );
        assert!(sorted.low.iter().zip(0..).all(|(value, k)| *value == f64::from(k)));
        assert!(sorted.high.iter().zip(0..).all(|(value, k)| *value == 99_999.0 - f64::from(k)));
        let middle = sorted.sample[KEPT_MIN / 2];
        assert!((middle - 50_000.0).abs() < 5_000.0, "{middle}");
    }
}

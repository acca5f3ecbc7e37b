//! Running means that more than one detector needs.

/// The mean of all values so far, updated in place (Welford 1962; West 1979).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mean {
    /// Number of values.
    pub(super) n: f64,
    /// Their mean, 0 of none.
    pub(super) mean: f64,
}

impl Mean {
    /// Adds a value.
    pub(super) fn add(&mut self, value: f64) {
        self.n += 1.0;
        // The order of operations is that of the reference values, so that equal streams give equal alarms.
        self.mean += (1.0 / self.n) * (value - self.mean);
    }
}

//! A vector of counts that is small until it has to be large.

/// Counts, 32 bits each until one of them does not fit, 64 bits each from then on. Adding saturates at
/// 2^64 - 1. Two vectors with the same counts are equal whatever their width.
#[derive(Debug, Clone)]
pub struct Counts(Width);

#[derive(Debug, Clone)]
enum Width {
    Narrow(Vec<u32>),
    Wide(Vec<u64>),
}

impl Default for Counts {
    fn default() -> Self {
        Self::zeros(0)
    }
}

impl Counts {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        Self(Width::Narrow(vec![0; len]))
    }

    /// From 64-bit counts.
    pub fn from_wide(counts: Vec<u64>) -> Self {
        Self(Width::Wide(counts))
    }

    /// How many counts there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Width::Narrow(counts) => counts.len(),
            Width::Wide(counts) => counts.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Count `index`, 0 beyond the end.
    pub fn get(&self, index: usize) -> u64 {
        match &self.0 {
            Width::Narrow(counts) => counts.get(index).copied().map_or(0, u64::from),
            Width::Wide(counts) => counts.get(index).copied().unwrap_or(0),
        }
    }

    /// Every count in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Every count in order, exact up to 2^53.
    pub fn to_floats(&self) -> Vec<f64> {
        match &self.0 {
            Width::Narrow(counts) => counts.iter().map(|&count| f64::from(count)).collect(),
            Width::Wide(counts) => counts.iter().map(|&count| count as f64).collect(),
        }
    }

    /// The sum of all counts.
    pub fn total(&self) -> u64 {
        match &self.0 {
            Width::Narrow(counts) => counts.iter().map(|&count| u64::from(count)).sum(),
            Width::Wide(counts) => counts.iter().fold(0, |sum, &count| sum.saturating_add(count)),
        }
    }

    /// Adds `by` to count `index`; nothing beyond the end.
    pub fn add(&mut self, index: usize, by: u64) {
        if let Width::Narrow(counts) = &mut self.0 {
            let Some(count) = counts.get_mut(index) else { return };
            match u32::try_from(u64::from(*count).saturating_add(by)) {
                Ok(sum) => {
                    *count = sum;
                    return;
                }
                Err(_) => self.widen(),
            }
        }
        if let Width::Wide(counts) = &mut self.0
            && let Some(count) = counts.get_mut(index)
        {
            *count = count.saturating_add(by);
        }
    }

    /// Takes `less` from count `index`, down to 0: for what was added before.
    pub fn sub(&mut self, index: usize, less: u64) {
        match &mut self.0 {
            Width::Narrow(counts) => {
                if let Some(count) = counts.get_mut(index) {
                    *count = u32::try_from(less).map_or(0, |less| count.saturating_sub(less));
                }
            }
            Width::Wide(counts) => {
                if let Some(count) = counts.get_mut(index) {
                    *count = count.saturating_sub(less);
                }
            }
        }
    }

    /// Adds a slice of fresh counts of the same length.
    pub fn add_slice(&mut self, fresh: &[u32]) {
        debug_assert_eq!(fresh.len(), self.len());
        if let Width::Narrow(counts) = &mut self.0 {
            let overflow = counts.iter().zip(fresh).any(|(count, more)| count.checked_add(*more).is_none());
            if !overflow {
                counts.iter_mut().zip(fresh).for_each(|(count, more)| *count += more);
                return;
            }
            self.widen();
        }
        if let Width::Wide(counts) = &mut self.0 {
            counts
                .iter_mut()
                .zip(fresh)
                .for_each(|(count, more)| *count = count.saturating_add(u64::from(*more)));
        }
    }

    /// Adds other counts of the same length.
    pub fn merge(&mut self, other: &Self) {
        match &other.0 {
            Width::Narrow(counts) => self.add_slice(counts),
            Width::Wide(counts) => {
                self.widen();
                if let Width::Wide(mine) = &mut self.0 {
                    mine.iter_mut()
                        .zip(counts)
                        .for_each(|(count, more)| *count = count.saturating_add(*more));
                }
            }
        }
    }

    /// Takes other counts of the same length away, down to 0: for a part that was added before.
    pub fn take_away(&mut self, other: &Self) {
        debug_assert_eq!(other.len(), self.len());
        match (&mut self.0, &other.0) {
            (Width::Narrow(mine), Width::Narrow(theirs)) => {
                mine.iter_mut().zip(theirs).for_each(|(count, less)| *count = count.saturating_sub(*less));
            }
            (Width::Narrow(mine), Width::Wide(theirs)) => {
                for (count, less) in mine.iter_mut().zip(theirs) {
                    *count = u32::try_from(*less).map_or(0, |less| count.saturating_sub(less));
                }
            }
            (Width::Wide(mine), _) => {
                mine.iter_mut()
                    .zip(other.iter())
                    .for_each(|(count, less)| *count = count.saturating_sub(less));
            }
        }
    }

    /// Moves up to `times` of what count `from` holds to count `to`.
    pub fn shift(&mut self, from: usize, to: usize, times: u64) {
        let moved = self.get(from).min(times);
        match &mut self.0 {
            Width::Narrow(counts) => {
                if let (Some(count), Ok(less)) = (counts.get_mut(from), u32::try_from(moved)) {
                    *count -= less;
                }
            }
            Width::Wide(counts) => {
                if let Some(count) = counts.get_mut(from) {
                    *count -= moved;
                }
            }
        }
        self.add(to, moved);
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Width::Narrow(counts) => counts.capacity() * 4,
            Width::Wide(counts) => counts.capacity() * 8,
        }
    }

    fn widen(&mut self) {
        if let Width::Narrow(counts) = &self.0 {
            self.0 = Width::Wide(counts.iter().map(|&count| u64::from(count)).collect());
        }
    }
}

impl PartialEq for Counts {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Counts {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_widen_when_they_must_and_stay_equal() {
        let mut counts = Counts::zeros(2);
        counts.add(0, u64::from(u32::MAX));
        let before = counts.clone();
        counts.merge(&before);
        assert_eq!(counts.get(0), 2 * u64::from(u32::MAX));
        assert_eq!(counts.get(1), 0);
        counts.take_away(&before);
        assert_eq!(counts, before);
        counts.shift(0, 1, 5);
        assert_eq!((counts.get(0), counts.get(1)), (u64::from(u32::MAX) - 5, 5));
        assert_eq!(Counts::from_wide(vec![3, 0]), {
            let mut narrow = Counts::zeros(2);
            narrow.add(0, 3);
            narrow
        });
    }
}

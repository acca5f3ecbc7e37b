//! Counts of names: the baseline's commonest ones exactly, the rest of its names in hashed buckets,
//! and names that it never saw.

use std::collections::{BTreeMap, HashMap};

use arrow::array::Array;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Anomalies, Counts, ShapeMismatch};
use crate::event::{Names, WRONG_TYPE_NAME};

/// How many unseen names a summary can tell, by the smallest hashes.
pub const UNSEEN_EXAMPLES_MAX: usize = 16;

/// Unseen names are kept up to this many bytes.
const EXAMPLE_BYTES_MAX: usize = 64;

/// Salt of the hash that puts rare names into buckets; part of the file format.
const BUCKET_SEED: u64 = 0x6472_6966_746c_696e;

/// The names a categorical column is counted by.
///
/// Counts are laid out as: one for each of `top`, then `buckets` hashed buckets for the baseline's
/// other names (none if there are no others), then one for names that the baseline never saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Categories {
    /// The baseline's commonest names, commonest first; at most 200 by default.
    pub top: Vec<String>,
    /// Number of buckets for the baseline's other names; 0 if `top` has them all.
    pub buckets: usize,
    /// Hashes of the baseline's other names, ascending.
    pub rare: Vec<u64>,
    /// Whether the baseline had more names than `rare` can hold. Then a name outside `top` and `rare`
    /// counts as a bucket, and "unseen" cannot be told.
    pub open: bool,
    /// How many of the rare names the baseline saw exactly once; `None` if it was not counted. They tell
    /// how likely a name is that the baseline never saw.
    #[serde(default)]
    pub rare_singletons: Option<u64>,
}

impl Categories {
    /// Number of counts: names, buckets and the unseen.
    pub fn len(&self) -> usize {
        self.top.len() + self.buckets + 1
    }

    /// A categorical column always has at least the count of unseen names.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The count that holds names never seen in the baseline.
    pub fn unseen(&self) -> usize {
        self.top.len() + self.buckets
    }

    /// The hash by which rare names are known.
    pub fn hash(name: &str) -> u64 {
        xxh3_64_with_seed(name.as_bytes(), BUCKET_SEED)
    }

    /// What count `index` is called.
    pub fn label(&self, index: usize) -> String {
        match self.top.get(index) {
            Some(name) => name.clone(),
            None if index == self.unseen() => "(unseen)".to_owned(),
            None => format!("(other {})", index - self.top.len()),
        }
    }

    fn rare_index(&self, hash: u64) -> usize {
        let known = self.open || self.rare.binary_search(&hash).is_ok();
        match (known, u64::try_from(self.buckets)) {
            (true, Ok(buckets)) if buckets > 0 => {
                self.top.len() + usize::try_from(hash % buckets).unwrap_or(0)
            }
            _ => self.unseen(),
        }
    }
}

/// Finds the count of a name. Built once from [`Categories`], used for every batch.
#[derive(Debug, Clone)]
pub struct CategoryIndex {
    by_name: HashMap<String, usize>,
}

impl CategoryIndex {
    /// Indexes the names.
    pub fn new(categories: &Categories) -> Self {
        Self {
            by_name: categories.top.iter().enumerate().map(|(index, name)| (name.clone(), index)).collect(),
        }
    }
}

/// Counts of a categorical column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CategoricalSummary {
    /// As laid out by [`Categories`].
    pub counts: Counts,
    /// Values that are no values.
    pub anomalies: Anomalies,
    /// Some unseen names with their counts, by hash: the [`UNSEEN_EXAMPLES_MAX`] smallest hashes, so that
    /// merging in any order keeps the same ones with exact counts.
    pub unseen: BTreeMap<u64, (String, u64)>,
}

impl CategoricalSummary {
    /// All zeros.
    pub fn empty(categories: &Categories) -> Self {
        Self {
            counts: Counts::zeros(categories.len()),
            anomalies: Anomalies::default(),
            unseen: BTreeMap::new(),
        }
    }

    /// Counts one name `times` over. Slow path: a batch uses [`observe`](Self::observe).
    pub fn add(&mut self, categories: &Categories, index: &CategoryIndex, name: &str, times: u64) {
        if name == WRONG_TYPE_NAME {
            self.anomalies.wrong_type += times;
            return;
        }
        if let Some(&at) = index.by_name.get(name) {
            self.counts.add(at, times);
            return;
        }
        let hash = Categories::hash(name);
        let at = categories.rare_index(hash);
        self.counts.add(at, times);
        if at == categories.unseen() {
            self.keep_example(hash, name, times);
        }
    }

    /// Counts the names of the given rows.
    pub fn observe(
        &mut self,
        categories: &Categories,
        index: &CategoryIndex,
        names: Names<'_>,
        rows: impl Iterator<Item = usize>,
        scratch: &mut Vec<u32>,
    ) {
        scratch.clear();
        scratch.resize(names.values.len(), 0);
        let mut missing = 0;
        if names.has_nulls() {
            for row in rows {
                if names.is_null(row) {
                    missing += 1;
                } else {
                    count_key(scratch, names.keys[row]);
                }
            }
        } else {
            rows.for_each(|row| count_key(scratch, names.keys[row]));
        }
        self.anomalies.missing += missing;
        for (key, &times) in scratch.iter().enumerate() {
            if times > 0 {
                self.add(categories, index, names.values.value(key), u64::from(times));
            }
        }
    }

    /// Adds another summary on the same categories.
    ///
    /// # Errors
    /// [`ShapeMismatch`] when the numbers of counts differ.
    pub fn merge(&mut self, other: &Self) -> Result<(), ShapeMismatch> {
        if self.counts.len() != other.counts.len() {
            return Err(ShapeMismatch);
        }
        self.counts.merge(&other.counts);
        self.anomalies.merge(&other.anomalies);
        for (&hash, (name, times)) in &other.unseen {
            self.keep_example(hash, name, *times);
        }
        Ok(())
    }

    fn keep_example(&mut self, hash: u64, name: &str, times: u64) {
        if let Some((_, count)) = self.unseen.get_mut(&hash) {
            *count += times;
            return;
        }
        let full = self.unseen.len() >= UNSEEN_EXAMPLES_MAX;
        if full && self.unseen.last_key_value().is_some_and(|(&largest, _)| hash > largest) {
            return;
        }
        if full {
            self.unseen.pop_last();
        }
        let end = (0..=EXAMPLE_BYTES_MAX.min(name.len()))
            .rev()
            .find(|&end| name.is_char_boundary(end))
            .unwrap_or(0);
        self.unseen.insert(hash, (name[..end].to_owned(), times));
    }
}

fn count_key(scratch: &mut [u32], key: i32) {
    if let Some(count) = usize::try_from(key).ok().and_then(|key| scratch.get_mut(key)) {
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn categories() -> Categories {
        let mut rare: Vec<u64> = ["x", "y"].iter().map(|name| Categories::hash(name)).collect();
        rare.sort_unstable();
        Categories { top: vec!["a".into(), "b".into()], buckets: 4, rare, open: false, rare_singletons: None }
    }

    #[test]
    fn names_are_common_rare_or_unseen() {
        let categories = categories();
        let index = CategoryIndex::new(&categories);
        let mut summary = CategoricalSummary::empty(&categories);
        for name in ["a", "x", "new", "new", WRONG_TYPE_NAME] {
            summary.add(&categories, &index, name, 1);
        }
        assert_eq!(summary.counts.get(0), 1);
        assert_eq!(summary.counts.iter().skip(2).take(4).sum::<u64>(), 1);
        assert_eq!(summary.counts.get(categories.unseen()), 2);
        assert_eq!(summary.anomalies.wrong_type, 1);
        assert_eq!(summary.unseen.values().next(), Some(&("new".to_owned(), 2)));
    }

    #[test]
    fn examples_do_not_depend_on_the_order_of_merging() {
        let categories = categories();
        let index = CategoryIndex::new(&categories);
        let parts: Vec<CategoricalSummary> = (0..40)
            .map(|part| {
                let mut summary = CategoricalSummary::empty(&categories);
                (0..5)
                    .for_each(|n| summary.add(&categories, &index, &format!("n{}", (part * 3 + n) % 50), 1));
                summary
            })
            .collect();
        let merged = |order: &mut dyn Iterator<Item = &CategoricalSummary>| {
            let mut all = CategoricalSummary::empty(&categories);
            order.for_each(|part| all.merge(part).expect("same shape"));
            all
        };
        assert_eq!(merged(&mut parts.iter()), merged(&mut parts.iter().rev()));
    }
}

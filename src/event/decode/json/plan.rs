//! What to look for in a record: the mapping's pointers and the schema's columns as one tree of keys.
//!
//! Invariant: every target has exactly one place in the tree, so what is found under two different
//! branches never meets in one column.

use super::intern::Interner;
use crate::event::decode::{FeatureMapping, Field, Mapping};
use crate::event::{ColumnKind, EventSchema, Role};

/// Where a value goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Timestamp,
    Model,
    Version,
    Segment,
    Id,
    Latency,
    /// A numeric watched column, by its position among the numeric ones.
    Number(usize),
    /// A categorical watched column, by its position among the categorical ones.
    Category(usize),
}

/// A place in a record.
#[derive(Debug)]
pub(super) struct Node {
    /// What the value here feeds.
    pub targets: Vec<Target>,
    /// What is looked for below, if the value is an object.
    pub members: Vec<Member>,
    /// Positions in `members` by key.
    keys: Interner,
    /// What is looked for below, if the value is an array: element and place, by element.
    pub elements: Vec<(usize, usize)>,
    /// Where the predictions for this object begin: one for the first member, then one for the member
    /// that follows each member.
    pub predictions: usize,
}

/// A key that is looked for.
#[derive(Debug)]
pub(super) struct Member {
    /// The key as a record writes it, if no escape is needed for that.
    pub written: Option<Written>,
    /// The place it leads to.
    pub node: usize,
}

/// A key with its closing quote and colon, in a form that is quick to compare.
#[derive(Debug)]
pub(super) struct Written {
    bytes: Box<[u8]>,
    /// The first bytes, as a little-endian number, and which of its bits count.
    head: u128,
    mask: u128,
}

/// The tree; the record itself is node 0.
#[derive(Debug)]
pub(super) struct Plan {
    nodes: Vec<Node>,
    predictions: usize,
}

impl Node {
    fn new() -> Self {
        Self {
            targets: Vec::new(),
            members: Vec::new(),
            keys: Interner::new(),
            elements: Vec::new(),
            predictions: 0,
        }
    }

    /// Whether nothing is looked for below.
    #[inline]
    pub(super) fn is_leaf(&self) -> bool {
        self.members.is_empty()
    }

    /// The position of the member with this key.
    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Option<usize> {
        usize::try_from(self.keys.find(key)?).ok()
    }
}

impl Written {
    /// A key that needs escapes can be written in several ways, so there is no one form of it.
    fn new(key: &str) -> Option<Self> {
        if key.bytes().any(|byte| byte < b' ' || matches!(byte, b'"' | b'\\')) {
            return None;
        }
        let bytes = format!("{key}\":").into_bytes().into_boxed_slice();
        let (mut head, mut mask) = ([0; 16], [0; 16]);
        for ((head, mask), byte) in head.iter_mut().zip(&mut mask).zip(&bytes) {
            (*head, *mask) = (*byte, u8::MAX);
        }
        Some(Self { bytes, head: u128::from_le_bytes(head), mask: u128::from_le_bytes(mask) })
    }

    /// If `record` goes on with this key, its length with quote and colon.
    #[inline]
    pub(super) fn matches(&self, record: &[u8]) -> Option<usize> {
        if let Some(chunk) = record.first_chunk() {
            if (u128::from_le_bytes(*chunk) ^ self.head) & self.mask != 0 {
                return None;
            }
            if self.bytes.len() <= chunk.len() {
                return Some(self.bytes.len());
            }
        }
        record.starts_with(&self.bytes).then_some(self.bytes.len())
    }
}

impl Plan {
    /// Compiles a mapping for a schema. A pointer that is none (not empty and without a leading `/`) leads
    /// nowhere; the configuration refuses it.
    pub(super) fn new(mapping: &Mapping, schema: &EventSchema) -> Self {
        let mut plan = Self { nodes: vec![Node::new()], predictions: 0 };
        plan.add(&mapping.timestamp, None, Target::Timestamp);
        for (field, target) in
            [(Some(&mapping.model), Target::Model), (mapping.version.as_ref(), Target::Version)]
        {
            if let Some(Field::Pointer(pointer)) = field {
                plan.add(pointer, None, target);
            }
        }
        let optional = [
            (&mapping.segment, Target::Segment),
            (&mapping.id, Target::Id),
            (&mapping.latency_ms, Target::Latency),
        ];
        for (pointer, target) in optional {
            if let Some(pointer) = pointer {
                plan.add(pointer, None, target);
            }
        }
        plan.add_columns(mapping, schema);
        plan.number_predictions();
        plan
    }

    /// The place with this number.
    #[inline]
    pub(super) fn node(&self, node: usize) -> Option<&Node> {
        self.nodes.get(node)
    }

    /// Number of places.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Number of predictions that all objects together have.
    pub(super) fn predictions(&self) -> usize {
        self.predictions
    }

    fn add_columns(&mut self, mapping: &Mapping, schema: &EventSchema) {
        let (mut numbers, mut categories) = (0, 0);
        for column in schema.columns() {
            let (target, count) = match column.kind {
                ColumnKind::Numeric => (Target::Number(numbers), &mut numbers),
                ColumnKind::Categorical => (Target::Category(categories), &mut categories),
            };
            *count += 1;
            let name = column.name.as_ref();
            match (column.role, &mapping.features) {
                (Role::Feature, FeatureMapping::Object(object)) => self.add(object, Some(name), target),
                (Role::Feature, FeatureMapping::Listed(listed)) => self.add_if(listed.get(name), target),
                (Role::Feature, FeatureMapping::None) => {}
                (Role::Prediction, _) => self.add_if(mapping.prediction.as_ref(), target),
                (Role::Score, _) => self.add_if(mapping.scores.get(name), target),
                (Role::Label, _) => self.add_if(mapping.label.as_ref(), target),
            }
        }
    }

    fn add_if(&mut self, pointer: Option<&String>, target: Target) {
        if let Some(pointer) = pointer {
            self.add(pointer, None, target);
        }
    }

    /// Adds the place that a pointer, and then a member of the object there, leads to.
    fn add(&mut self, pointer: &str, member: Option<&str>, target: Target) {
        let Some(segments) = segments(pointer) else { return };
        let place =
            segments.iter().map(String::as_str).chain(member).try_fold(0, |node, key| self.child(node, key));
        if let Some(node) = place.and_then(|place| self.nodes.get_mut(place)) {
            node.targets.push(target);
        }
    }

    /// The place below `node` with this key, made if it is new.
    fn child(&mut self, node: usize, key: &str) -> Option<usize> {
        let new = self.nodes.len();
        let parent = self.nodes.get_mut(node)?;
        if let Some(member) = parent.find(key.as_bytes()) {
            return Some(parent.members.get(member)?.node);
        }
        parent.keys.intern(key.as_bytes())?;
        parent.members.push(Member { written: Written::new(key), node: new });
        if let Some(element) = element(key) {
            parent.elements.push((element, new));
        }
        self.nodes.push(Node::new());
        Some(new)
    }

    fn number_predictions(&mut self) {
        for node in &mut self.nodes {
            node.predictions = self.predictions;
            node.elements.sort_unstable();
            self.predictions += node.members.len() + 1;
        }
    }
}

/// The keys of a pointer (RFC 6901); `None` if it is not one.
fn segments(pointer: &str) -> Option<Vec<String>> {
    if pointer.is_empty() {
        return Some(Vec::new());
    }
    let keys = pointer.strip_prefix('/')?;
    Some(keys.split('/').map(|key| key.replace("~1", "/").replace("~0", "~")).collect())
}

/// The array element that a key names: digits without a leading zero.
fn element(key: &str) -> Option<usize> {
    let plain = key.bytes().all(|byte| byte.is_ascii_digit()) && (key == "0" || !key.starts_with('0'));
    if plain { key.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_read_by_rfc_6901() {
        assert_eq!(segments(""), Some(vec![]));
        assert_eq!(segments("/"), Some(vec![String::new()]));
        assert_eq!(segments("/a~1b/~01/0"), Some(vec!["a/b".to_owned(), "~1".to_owned(), "0".to_owned()]));
        assert_eq!(segments("a"), None);
    }

    #[test]
    fn elements_have_no_leading_zeros() {
        assert_eq!(
            ["0", "10", "01", "", "-", "+1"].map(element),
            [Some(0), Some(10), None, None, None, None]
        );
    }

    #[test]
    fn a_written_key_matches_itself_alone() {
        for key in ["", "a", "exactly 14 byt", "exactly 15 byte", "longer than the sixteen bytes"] {
            let written = Written::new(key).expect("plain");
            for tail in ["", "1", " 1,\"and what follows it\":0}"] {
                assert_eq!(written.matches(format!("{key}\":{tail}").as_bytes()), Some(key.len() + 2));
                assert_eq!(written.matches(format!("{key}\" {tail}").as_bytes()), None);
                assert_eq!(written.matches(format!("{key}x\":{tail}").as_bytes()), None);
            }
            assert_eq!(written.matches(format!("{key}\"").as_bytes()), None);
        }
        assert!(
            Written::new("a\"b").is_none() && Written::new("a\\b").is_none() && Written::new("\n").is_none()
        );
    }
}

//! One record, read once from front to back along the plan.
//!
//! Invariant: what is predicted only says where to look first. A prediction holds when the record's bytes
//! are those of the key, and otherwise the key is looked up; so predictions change the time that reading
//! takes and nothing else.

use super::columns::{Columns, Value};
use super::number::Number;
use super::plan::{Node, Plan, Target};
use super::scan::{Fault, Scanner, Step, Stop, unescape};
use crate::event::RejectReason;

/// What a decoder carries from record to record. None of it changes a result.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// For the start of each object and for each member the member that came next the last time.
    predictions: Vec<usize>,
    /// For each place when it was last filled.
    instances: Vec<Instance>,
    /// Number of readings so far.
    reading: u64,
    /// What was filled in this reading, in order; kept only when a record is read again.
    journal: Vec<Target>,
    /// Room for a string without its escapes.
    scratch: Vec<u8>,
    /// Room for the containers that are open.
    frames: Vec<Frame>,
}

/// An open container of which parts are wanted.
#[derive(Debug, Clone, Copy)]
struct Frame {
    place: usize,
    /// Whether it is an object, or else an array.
    object: bool,
    /// Whether a value of it has been read.
    started: bool,
    /// Where the next member is predicted, or the number of the next element.
    next: usize,
}

/// When a place that leads on was last filled, and with which entries of the journal.
#[derive(Debug, Clone, Copy, Default)]
struct Instance {
    reading: u64,
    start: usize,
    end: usize,
}

impl Memory {
    /// Memory for a plan.
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            predictions: vec![0; plan.predictions()],
            instances: vec![Instance::default(); plan.len()],
            ..Self::default()
        }
    }
}

/// Reads a record, which must be UTF-8, into the current row. Nesting is bounded by `depth_max`.
///
/// # Errors
/// Why the record is none; the row then holds some of its values.
pub(super) fn read(
    bytes: &[u8],
    depth_max: usize,
    plan: &Plan,
    memory: &mut Memory,
    columns: &mut Columns,
) -> Result<(), Fault> {
    let once = Reader::new(bytes, depth_max, plan, memory, columns, false).record();
    match once {
        Ok(()) => Ok(()),
        Err(Failure::Fault(fault)) => Err(fault),
        Err(Failure::Repeated) => {
            columns.drop_row();
            match Reader::new(bytes, depth_max, plan, memory, columns, true).record() {
                Ok(()) => Ok(()),
                Err(Failure::Fault(fault)) => Err(fault),
                Err(Failure::Repeated) => Err(unexplained(0)),
            }
        }
    }
}

enum Failure {
    Fault(Fault),
    /// A key that leads on came twice, and no journal tells what its first value filled.
    Repeated,
}

fn unexplained(at: usize) -> Fault {
    Fault { reason: RejectReason::Malformed, what: "the record cannot be read", at }
}

struct Reader<'a, 'm> {
    scan: Scanner<'a>,
    plan: &'m Plan,
    memory: &'m mut Memory,
    columns: &'m mut Columns,
    journaling: bool,
    repeated: bool,
}

impl<'a, 'm> Reader<'a, 'm> {
    fn new(
        bytes: &'a [u8],
        depth_max: usize,
        plan: &'m Plan,
        memory: &'m mut Memory,
        columns: &'m mut Columns,
        journaling: bool,
    ) -> Self {
        memory.reading += 1;
        memory.journal.clear();
        Self { scan: Scanner::new(bytes, depth_max), plan, memory, columns, journaling, repeated: false }
    }

    fn record(mut self) -> Result<(), Failure> {
        self.whole().map_err(|Stop| match (self.repeated, self.scan.fault()) {
            (true, _) => Failure::Repeated,
            (false, Some(fault)) => Failure::Fault(fault),
            (false, None) => Failure::Fault(unexplained(self.scan.position())),
        })
    }

    fn whole(&mut self) -> Step<()> {
        self.scan.skip_space();
        let start = self.scan.position();
        if self.scan.peek() == b'{' {
            self.tree()?;
            return self.scan.finish();
        }
        self.scan.skip_value()?;
        self.scan.finish()?;
        self.scan.not_an_object(start)
    }

    /// The record and all that is wanted of it. What is open is kept in a list and not on the stack, so
    /// that no pointer, however long, can overflow that.
    fn tree(&mut self) -> Step<()> {
        let mut frames = std::mem::take(&mut self.memory.frames);
        frames.clear();
        frames.extend(self.begin(0)?);
        while let Some(frame) = frames.last_mut() {
            match self.resume(frame)? {
                Some(place) => frames.extend(self.begin(place)?),
                None => {
                    self.end_instance(frame.place);
                    frames.pop();
                }
            }
        }
        self.memory.frames = frames;
        Ok(())
    }

    /// Begins the value of a place: a frame if it is a container with something in it, or else the value
    /// is behind.
    fn begin(&mut self, place: usize) -> Step<Option<Frame>> {
        let Some(node) = self.plan.node(place) else {
            self.scan.skip_value()?;
            return Ok(None);
        };
        self.begin_instance(place)?;
        let opening = self.scan.peek();
        if node.is_leaf() || !matches!(opening, b'{' | b'[') {
            self.leaf(node)?;
            self.end_instance(place);
            return Ok(None);
        }
        self.fill(node, Value::Container);
        self.scan.open()?;
        let object = opening == b'{';
        let (closing, next) = if object { (b'}', node.predictions) } else { (b']', 0) };
        if self.scan.peek() == closing {
            self.scan.close();
            self.end_instance(place);
            return Ok(None);
        }
        Ok(Some(Frame { place, object, started: false, next }))
    }

    /// Goes on in a container, up to its end (`None`) or to a value of a place that leads on.
    fn resume(&mut self, frame: &mut Frame) -> Step<Option<usize>> {
        let closing = if frame.object { b'}' } else { b']' };
        if frame.started && !self.scan.another(closing)? {
            return Ok(None);
        }
        frame.started = true;
        match self.plan.node(frame.place) {
            Some(node) if frame.object => self.members(node, &mut frame.next),
            Some(node) => self.elements(node, &mut frame.next),
            None => Ok(None),
        }
    }

    /// A value of which nothing but itself is wanted.
    #[inline(always)]
    fn leaf(&mut self, node: &Node) -> Step<()> {
        match self.scan.peek() {
            b'"' => {
                let text = self.scan.string()?;
                if text.escaped {
                    self.escaped_text(node, text.raw);
                } else {
                    self.fill_text(node, text.raw);
                }
            }
            b'-' | b'0'..=b'9' => {
                let number = self.scan.number()?;
                self.fill_number(node, number);
            }
            b'{' | b'[' => {
                self.fill(node, Value::Container);
                self.scan.skip_value()?;
            }
            _ => {
                let value = self.scan.literal()?.map_or(Value::Null, Value::Bool);
                self.fill(node, value);
            }
        }
        Ok(())
    }

    #[cold]
    fn escaped_text(&mut self, node: &Node, raw: &[u8]) {
        let mut text = std::mem::take(&mut self.memory.scratch);
        text.clear();
        unescape(raw, &mut text);
        self.fill(node, Value::Text(&text));
        self.memory.scratch = text;
    }

    #[inline(always)]
    fn fill_number(&mut self, node: &Node, number: Number<'_>) {
        match node.targets.as_slice() {
            [Target::Number(column)] if !self.journaling => self.columns.set_number(*column, number.to_f64()),
            _ => self.fill(node, Value::Number(number)),
        }
    }

    #[inline(always)]
    fn fill_text(&mut self, node: &Node, text: &[u8]) {
        match node.targets.as_slice() {
            [Target::Category(column)] if !self.journaling => self.columns.set_category(*column, text),
            _ => self.fill(node, Value::Text(text)),
        }
    }

    fn fill(&mut self, node: &Node, value: Value<'_>) {
        for target in &node.targets {
            self.columns.set(*target, value);
        }
        if self.journaling {
            self.memory.journal.extend_from_slice(&node.targets);
        }
    }

    /// Makes absent what an earlier value of the same place filled: of a key that comes twice the last value
    /// is the one that holds, with all below it.
    fn begin_instance(&mut self, place: usize) -> Step<()> {
        let Memory { instances, journal, reading, .. } = &mut *self.memory;
        let Some(instance) = instances.get_mut(place) else { return Ok(()) };
        if instance.reading == *reading {
            if !self.journaling {
                self.repeated = true;
                return Err(Stop);
            }
            for target in journal.get(instance.start..instance.end).unwrap_or_default() {
                self.columns.clear(*target);
            }
        }
        *instance = Instance { reading: *reading, start: journal.len(), end: journal.len() };
        Ok(())
    }

    fn end_instance(&mut self, place: usize) {
        if let Some(instance) = self.memory.instances.get_mut(place) {
            instance.end = self.memory.journal.len();
        }
    }

    /// Members of an object, from a key on; `prediction` is where the next member is predicted.
    fn members(&mut self, node: &Node, prediction: &mut usize) -> Step<Option<usize>> {
        loop {
            let member = self.key(node, *prediction)?;
            match member.and_then(|position| Some((position, node.members.get(position)?))) {
                Some((position, member)) => {
                    *prediction = node.predictions + 1 + position;
                    match self.plan.node(member.node) {
                        Some(below) if below.is_leaf() => self.leaf(below)?,
                        _ => return Ok(Some(member.node)),
                    }
                }
                None => self.scan.skip_value()?,
            }
            if !self.scan.another(b'}')? {
                return Ok(None);
            }
        }
    }

    /// A key, up to its value: the position of its member, or `None` if it is not looked for.
    #[inline(always)]
    fn key(&mut self, node: &Node, prediction: usize) -> Step<Option<usize>> {
        if self.scan.peek() != b'"' {
            return self.scan.malformed("no `\"` where a key belongs");
        }
        self.scan.bump();
        if let Some(&position) = self.memory.predictions.get(prediction)
            && let Some(written) = node.members.get(position).and_then(|member| member.written.as_ref())
            && self.scan.skip_written(written)
        {
            return Ok(Some(position));
        }
        let found = self.unpredicted_key(node)?;
        self.scan.colon()?;
        if let (Some(position), Some(slot)) = (found, self.memory.predictions.get_mut(prediction)) {
            *slot = position;
        }
        Ok(found)
    }

    fn unpredicted_key(&mut self, node: &Node) -> Step<Option<usize>> {
        let key = self.scan.rest_of_string()?;
        if !key.escaped {
            return Ok(node.find(key.raw));
        }
        self.memory.scratch.clear();
        unescape(key.raw, &mut self.memory.scratch);
        Ok(node.find(&self.memory.scratch))
    }

    /// Elements of an array, from number `element` on.
    fn elements(&mut self, node: &Node, element: &mut usize) -> Step<Option<usize>> {
        loop {
            let wanted = node.elements.binary_search_by_key(element, |(index, _)| *index);
            *element += 1;
            if let Some((_, place)) = wanted.ok().and_then(|at| node.elements.get(at)) {
                return Ok(Some(*place));
            }
            self.scan.skip_value()?;
            if !self.scan.another(b']')? {
                return Ok(None);
            }
        }
    }
}

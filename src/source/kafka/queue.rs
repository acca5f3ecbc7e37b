//! The connection: a consumer whose records come in batches from a queue of their own.
//!
//! The client's safe interface hands over one record at a time and leaves out the topic when it says
//! what is wrong with a partition. Its batch call costs a third less for each record and names the
//! partition of every error. With a queue of their own, records wait there when nobody can take them,
//! while group membership, errors and statistics go on being served from the consumer's queue. So
//! holding back needs no `pause`, which would throw away what was fetched ahead.
//!
//! All unsafe code of the crate is in this file. Why it is sound:
//! - The queue belongs to one [`Connection`]. It is made from that connection's client and destroyed by
//!   [`Connection`]'s `drop`, which runs before its field, the consumer, is dropped. The pointer never
//!   leaves this file.
//! - A record is owned by the [`Taken`] it came in and destroyed exactly once, when that is dropped.
//!   What it points at is lent out for as long as `Taken` lives, and `Taken` lives no longer than the
//!   connection.
//! - librdkafka's functions may be called from any thread.

#![expect(
    unsafe_code,
    reason = "the batch call is only bound as a C function; the module says why its use is sound"
)]

use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::bindings as c;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;

use super::rebalance::Context;

/// A consumer and the queue its records come in.
pub(super) struct Connection {
    consumer: BaseConsumer<Context>,
}

/// Where the queue is kept, so that a rebalance, which runs inside a poll, can direct new partitions to it.
#[derive(Default)]
pub(super) struct MessageQueue(Mutex<Option<Queue>>);

#[derive(Clone, Copy)]
struct Queue(NonNull<c::rd_kafka_queue_t>);

// SAFETY: librdkafka locks its queues itself; any thread may call with the pointer.
unsafe impl Send for Queue {}

/// What one call took from the queue.
pub(super) struct Taken<'connection> {
    messages: Vec<*mut c::rd_kafka_message_t>,
    connection: PhantomData<&'connection Connection>,
}

/// One entry of the queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'taken> {
    message: &'taken c::rd_kafka_message_t,
}

/// What an entry is.
#[derive(Debug)]
pub(super) enum Kind<'taken> {
    /// A record; one without a value is empty.
    Record(&'taken [u8]),
    /// The partition has a problem.
    Problem(RDKafkaErrorCode, String),
}

impl Connection {
    /// Makes the client. It connects on its own, now or when it can.
    pub(super) fn open(config: &ClientConfig, context: Context) -> KafkaResult<Self> {
        let consumer: BaseConsumer<Context> = config.create_with_context(context)?;
        // SAFETY: the client lives as long as `consumer`.
        let queue = NonNull::new(unsafe { c::rd_kafka_queue_new(consumer.client().native_ptr()) });
        let queue = queue.ok_or_else(|| KafkaError::ClientCreation("no memory for a queue".into()))?;
        consumer.context().messages.set(Some(Queue(queue)));
        Ok(Self { consumer })
    }

    /// The consumer, for all but records.
    pub(super) fn consumer(&self) -> &BaseConsumer<Context> {
        &self.consumer
    }

    /// Takes up to `max` entries. Returns as soon as it has them, or after `wait` with what there is.
    pub(super) fn take(&self, max: usize, wait: Duration) -> Taken<'_> {
        let mut taken = Taken { messages: vec![ptr::null_mut(); max], connection: PhantomData };
        let Some(queue) = self.consumer.context().messages.get() else {
            taken.messages.clear();
            return taken;
        };
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is destroyed only with `self`. The buffer has room for `max` pointers.
        let count = unsafe {
            c::rd_kafka_consume_batch_queue(queue.0.as_ptr(), wait_ms, taken.messages.as_mut_ptr(), max)
        };
        // A negative count is an error before anything was taken.
        taken.messages.truncate(usize::try_from(count).unwrap_or(0));
        taken
    }

    /// How many entries wait in the queue.
    pub(super) fn waiting(&self) -> usize {
        // SAFETY: the queue is destroyed only with `self`.
        self.consumer
            .context()
            .messages
            .get()
            .map_or(0, |queue| unsafe { c::rd_kafka_queue_length(queue.0.as_ptr()) })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(queue) = self.consumer.context().messages.set(None) {
            // SAFETY: the slot held the only pointer, so nobody can use it after this. The consumer, and
            // with it the client, is dropped after this function.
            unsafe { c::rd_kafka_queue_destroy(queue.0.as_ptr()) };
        }
    }
}

impl MessageQueue {
    /// Directs the records of a partition to the queue; to be called before the partition is assigned.
    ///
    /// Returns whether it could be done.
    pub(super) fn direct(&self, consumer: &BaseConsumer<Context>, topic: &str, partition: i32) -> bool {
        let (Some(queue), Ok(topic)) = (self.get(), CString::new(topic)) else { return false };
        // SAFETY: the client lives as long as `consumer`; the name is a C string.
        let source = unsafe {
            c::rd_kafka_queue_get_partition(consumer.client().native_ptr(), topic.as_ptr(), partition)
        };
        if source.is_null() {
            return false;
        }
        // SAFETY: both queues are alive; forwarding keeps its own reference to the target, and what we
        // destroy is our handle on the partition's queue, not the queue.
        unsafe {
            c::rd_kafka_queue_forward(source, queue.0.as_ptr());
            c::rd_kafka_queue_destroy(source);
        }
        true
    }

    fn get(&self) -> Option<Queue> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, queue: Option<Queue>) -> Option<Queue> {
        std::mem::replace(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), queue)
    }
}

impl Taken<'_> {
    /// The entries, those of a partition in the order of the log.
    pub(super) fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        // SAFETY: librdkafka filled the pointers; each is valid until it is destroyed in `drop`.
        self.messages
            .iter()
            .filter_map(|message| unsafe { message.as_ref() })
            .map(|message| Entry { message })
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for &message in &self.messages {
            // SAFETY: we own the message, and no `Entry` outlives `self`.
            unsafe { c::rd_kafka_message_destroy(message) };
        }
    }
}

impl<'taken> Entry<'taken> {
    /// Same for entries of one partition, different for entries of different ones, within one [`Taken`]:
    /// cheaper to compare than the name of the topic.
    pub(super) fn partition_key(self) -> (usize, i32) {
        (self.message.rkt as usize, self.message.partition)
    }

    /// The topic's name; `None` when the entry belongs to no topic.
    pub(super) fn topic(self) -> Option<&'taken str> {
        if self.message.rkt.is_null() {
            return None;
        }
        // SAFETY: the message holds a reference to its topic, whose name is a C string.
        unsafe { CStr::from_ptr(c::rd_kafka_topic_name(self.message.rkt)) }.to_str().ok()
    }

    /// The partition's number.
    pub(super) fn partition(self) -> i32 {
        self.message.partition
    }

    /// The record's offset, or where a problem is.
    pub(super) fn offset(self) -> i64 {
        self.message.offset
    }

    /// When the broker appended the record, in milliseconds since the epoch, if the topic keeps that time.
    pub(super) fn append_time_ms(self) -> Option<i64> {
        let mut kind = c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is valid, `kind` is ours.
        let time = unsafe { c::rd_kafka_message_timestamp(self.message, &raw mut kind) };
        (kind == c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME && time >= 0)
            .then_some(time)
    }

    /// Bytes of the payload, or of the text of a problem.
    pub(super) fn bytes(self) -> usize {
        self.message.len
    }

    /// What the entry is.
    pub(super) fn kind(self) -> Kind<'taken> {
        let bytes = if self.message.payload.is_null() {
            &[]
        } else {
            // SAFETY: payload and length are of one buffer that lives as long as the message.
            unsafe { slice::from_raw_parts(self.message.payload.cast::<u8>(), self.message.len) }
        };
        if self.message.err == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            Kind::Record(bytes)
        } else {
            Kind::Problem(self.message.err.into(), String::from_utf8_lossy(bytes).into_owned())
        }
    }
}

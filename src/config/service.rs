//! `[service]`: the process itself.

use std::time::Duration;

use super::Service;
use super::document::{Item, Section, Table, key};
use crate::event::Span;

/// The keys of `[service]`.
pub(super) static SERVICE: Section = Section {
    path: "service",
    repeated: false,
    keys: &[
        key("data_dir", "the directory of the store, made if it is not there"),
        key("listen", "address and port of the API, as in \"127.0.0.1:8080\""),
        key("commit_interval", "how often what was counted becomes durable"),
        key("workers", "threads that decode and count"),
        key("dead_letters_max", "dead letters kept, the newest"),
        key("history", "how long closed windows are kept"),
    ],
};

/// Bounds a decoding pool; more threads than this only wait for each other.
const WORKERS_MAX: u32 = 256;
/// A dead letter is at most about 1 KiB, so this is some 10 GiB of disk.
const DEAD_LETTERS_MAX: u64 = 10_000_000;

/// Reads `[service]`.
pub(super) fn read(table: &Table<'_>) -> Option<Service> {
    let data_dir = table.need("data_dir", Item::path);
    let listen = table.or("listen", std::net::SocketAddr::from(([127, 0, 0, 1], 8080)), |item| {
        item.string()?.parse().ok().or_else(|| {
            let help = "write an IP address and a port, as in \"127.0.0.1:8080\" or \"[::1]:8080\"";
            item.refuse(format!("`{}` is not an address with a port", item.path), help.to_owned())
        })
    });
    let commit_interval = table.or("commit_interval", Duration::from_secs(1), |item| {
        item.span(Span::from_micros(10_000)..=Span::from_secs(60)).map(Span::to_duration)
    });
    let workers = table.or("workers", default_workers(), |item| item.size(1..=WORKERS_MAX));
    let dead_letters_max = table.or("dead_letters_max", 10_000, |item| item.whole(0..=DEAD_LETTERS_MAX));
    let history = table.or("history", Span::from_secs(90 * 86_400), |item| {
        item.span(Span::from_secs(3600)..=Span::from_secs(3660 * 86_400))
    });
    Some(Service {
        data_dir: data_dir?,
        listen: listen?,
        commit_interval: commit_interval?,
        workers: workers?,
        dead_letters_max: dead_letters_max?,
        history: history?,
    })
}

/// One core is left for the consumer and the owner.
fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1))
}

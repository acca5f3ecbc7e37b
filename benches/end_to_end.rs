//! From a real Kafka to durable counts, against a consumer that only drops; and from an event to its alert.
//!
//! `cargo bench --bench end_to_end -- [--events N] [--repeats N] [--windows N]`, by default 2,000,000, 3
//! and 50. The broker is `DRIFTLINE_TEST_KAFKA=host:port` if that is set, else one that
//! `tests/kafka/broker.sh` starts and that is stopped at the end.
//!
//! **Throughput.** A topic of four partitions is filled once with events of 519 bytes and 20 features,
//! uncompressed, whose event time covers four hours. Then two consumers read all of it in turn, `repeats`
//! times each, each time as a new group in a process of its own (this program again):
//!
//! - *drop*: rdkafka's `BaseConsumer::poll` with the client's default settings, one record at a time; one
//!   byte of each 64 of the payload is read.
//! - *serve*: the whole service, started from a configuration file as `driftline run` does it, with the
//!   default windows, on an empty store; done when `/metrics`, where events appear after their commit, has
//!   counted every one.
//!
//! Each process reports its CPU time (user and system, all its threads, `/proc/self/stat`; the broker is
//! another process and not in it), its wall time from before the client is made to the last event (for
//! *serve* that includes up to a commit interval), and its largest resident set (`VmHWM`). What is
//! compared is events per CPU-second: of the two in one run, so that the machine cancels out.
//!
//! **Latency.** A service in this process watches windows of one second without lateness, one partition,
//! otherwise idle. Every second window has drifted, so each window opens or resolves an incident. All
//! events of a window are sent, and a while later the one event that completes it; the time is from that
//! event's `send` to the arrival of the webhook at a receiver on this machine.

#[path = "events/mod.rs"]
mod events;
#[path = "../tests/support/kafka.rs"]
mod kafka;
#[allow(dead_code, reason = "of a receiver, only the time of arrival is looked at")]
#[path = "../tests/support/receiver.rs"]
mod receiver;

use std::fs;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use driftline::app::SystemClock;
use driftline::app::service::Service;
use driftline::config;
use driftline::event::{Clock, Span};
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use self::events::{EVENT_BYTES, Random};
use self::receiver::Receiver;

const BROKER: &str = "DRIFTLINE_TEST_KAFKA";

const PARTITIONS: i32 = 4;

/// Event time of the throughput topic.
const HOURS: i64 = 4;

/// Longest wait for one consumer.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often the service is asked how far it is.
const ASK_INTERVAL: Duration = Duration::from_millis(50);

/// Events of a window of the latency run, and what lies between them and the one that completes it.
const WINDOW_EVENTS: i64 = 400;
const PAUSE: Duration = Duration::from_millis(150);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["drop", topic, events] => drop_all(topic, number(events)),
        ["serve", configuration, events] => serve_all(Path::new(configuration), number(events)),
        _ if std::env::var_os(BROKER).is_none() => return with_broker(&arguments),
        _ => Run::from_arguments(&words).report(),
    }
    ExitCode::SUCCESS
}

fn number(text: &str) -> u64 {
    text.replace('_', "").parse().unwrap_or_else(|_| panic!("not a number: {text}"))
}

/// Starts a broker, runs this program again on it, and stops it.
fn with_broker(arguments: &[String]) -> ExitCode {
    let directory = tempfile::tempdir().expect("a directory");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/broker.sh");
    let broker = |command: &str| {
        let mut broker = Command::new(&script);
        broker.arg(command).arg(directory.path().join("kafka")).stderr(Stdio::inherit());
        broker.output().expect("tests/kafka/broker.sh runs")
    };
    // Ctrl-C ends the run; this process lives on to stop the broker.
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        while runtime.block_on(tokio::signal::ctrl_c()).is_ok() {}
    });
    let started = broker("start");
    assert!(started.status.success(), "no broker: set {BROKER}=host:port, or install Maven and Java 17");
    let address = String::from_utf8_lossy(&started.stdout).trim().to_owned();
    let program = std::env::current_exe().expect("this program");
    let status = Command::new(program).args(arguments).env(BROKER, address).status();
    broker("stop");
    if status.is_ok_and(|status| status.success()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

// === what a process used ===

/// CPU time, wall time and memory of one consumer.
#[derive(Debug, Clone, Copy)]
struct Used {
    cpu_seconds: f64,
    wall_seconds: f64,
    peak_mib: f64,
    end_mib: f64,
}

/// When measuring began.
struct Meter {
    cpu_seconds: f64,
    begun: Instant,
}

impl Meter {
    fn start() -> Self {
        Self { cpu_seconds: cpu_seconds(), begun: Instant::now() }
    }

    /// Tells the parent what was used.
    fn report(&self) {
        let cpu = cpu_seconds() - self.cpu_seconds;
        let wall = self.begun.elapsed().as_secs_f64();
        println!("used {cpu} {wall} {} {}", memory_mib("VmHWM:"), memory_mib("VmRSS:"));
    }
}

/// User and system time of this process. The kernel counts in units of 10 ms here (`USER_HZ`).
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    // The name, in brackets, may hold spaces. After it `utime` and `stime` are the 12th and 13th.
    let (_, rest) = stat.rsplit_once(')').expect("a name");
    rest.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>().expect("ticks") / 100.0).sum()
}

fn memory_mib(what: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(what)).expect("the line");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("KiB") / 1_024.0
}

// === the two consumers, each in a process of its own ===

fn drop_all(topic: &str, events: u64) {
    let meter = Meter::start();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka::broker())
        .set("group.id", kafka::unique("drop"))
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    consumer.subscribe(&[topic]).expect("subscribed");
    let (mut seen, mut sum) = (0, 0u64);
    while seen < events {
        assert!(meter.begun.elapsed() < PATIENCE, "{seen} of {events} events came");
        let Some(Ok(message)) = consumer.poll(Duration::from_secs(1)) else { continue };
        let payload = message.payload().unwrap_or_default();
        sum = payload.iter().step_by(64).fold(sum, |sum, byte| sum.wrapping_add(u64::from(*byte)));
        seen += 1;
    }
    black_box(sum);
    meter.report();
}

fn serve_all(configuration: &Path, events: u64) {
    let meter = Meter::start();
    let config = config::load(configuration).expect("a configuration");
    let service = Service::start(&config).expect("a service");
    let mut counted = 0;
    while counted < events {
        assert!(meter.begun.elapsed() < PATIENCE, "{counted} of {events} events are durable");
        std::thread::sleep(ASK_INTERVAL);
        let page = metrics(service.address());
        let (all, others) = events_of(&page);
        assert_eq!(others, 0, "{page}");
        counted = all;
    }
    meter.report();
    service.stop().expect("a clean end");
}

fn metrics(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("the API listens");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n").expect("sent");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("an answer");
    page
}

/// Events that were counted in a window, and events that were not.
fn events_of(page: &str) -> (u64, u64) {
    let lines = page.lines().filter(|line| line.starts_with("driftline_events_total{"));
    lines.fold((0, 0), |(counted, others), line| {
        let value: u64 = line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a count");
        if line.contains("outcome=\"counted\"") {
            (counted + value, others)
        } else {
            (counted, others + value)
        }
    })
}

// === the run ===

struct Run {
    events: u64,
    repeats: u64,
    windows: u64,
}

impl Run {
    fn from_arguments(words: &[&str]) -> Self {
        let mut run = Self { events: 2_000_000, repeats: 3, windows: 50 };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || number(words.next().unwrap_or_else(|| panic!("{word} needs a number")));
            match *word {
                "--events" => run.events = value(),
                "--repeats" => run.repeats = value().max(1),
                "--windows" => run.windows = value(),
                // What `cargo bench` adds.
                "--bench" => {}
                other => panic!("unknown argument {other}; known are --events, --repeats and --windows"),
            }
        }
        run
    }

    fn report(&self) {
        let directory = tempfile::tempdir().expect("a directory");
        events::write_baseline(directory.path());
        let (dropped, served) = self.throughput(directory.path());
        let latencies = self.latency(directory.path());

        let events = self.events as f64;
        let rate = |used: &Used| events / used.cpu_seconds / 1e3;
        let ratios = served.iter().zip(&dropped).map(|(serve, drop)| rate(serve) / rate(drop));
        println!("\n{:<46}{:>10}{:>10}{:>10}   {:>8}{:>8}", "", "median", "min", "max", "must", "goal");
        row("drop: thousand events per CPU-second", dropped.iter().map(rate), "", "");
        row(
            "drop: thousand events per second",
            dropped.iter().map(|used| events / used.wall_seconds / 1e3),
            "",
            "",
        );
        row("serve: thousand events per CPU-second", served.iter().map(rate), ">= 300", "600");
        row(
            "serve: thousand events per second",
            served.iter().map(|used| events / used.wall_seconds / 1e3),
            "",
            "",
        );
        row("serve / drop, events per CPU-second", ratios, ">= 0.22", "0.45");
        row("serve: largest resident set, MiB", served.iter().map(|used| used.peak_mib), "<= 150", "64");
        row("serve: resident set at the end, MiB", served.iter().map(|used| used.end_mib), "", "");
        if !latencies.is_empty() {
            println!();
            let millis =
                |share: f64| latencies[(share * (latencies.len() - 1) as f64).round() as usize] * 1e3;
            println!(
                "event to alert, ms, {} windows: p50 {:.1}, p99 {:.1} (must 1000, goal 100), largest {:.1}",
                latencies.len(),
                millis(0.5),
                millis(0.99),
                millis(1.0)
            );
        }
    }

    /// Fills the topic, and lets the two consumers read it in turn.
    fn throughput(&self, directory: &Path) -> (Vec<Used>, Vec<Used>) {
        let topic = kafka::unique("throughput");
        kafka::create_topic(&topic, PARTITIONS);
        let begun = Instant::now();
        self.fill(&topic);
        println!(
            "{} events of {EVENT_BYTES} bytes in {PARTITIONS} partitions, written in {:.1} s",
            self.events,
            begun.elapsed().as_secs_f64()
        );
        let (mut dropped, mut served) = (Vec::new(), Vec::new());
        let events = self.events.to_string();
        for repeat in 0..self.repeats {
            dropped.push(child(&["drop", &topic, &events]));
            let name = format!("serve-{repeat}");
            let text = events::configuration(&topic, &name, &kafka_section(), "", "");
            let file = directory.join(format!("{name}.toml"));
            fs::write(&file, text).expect("a configuration file");
            served.push(child(&["serve", &file.to_string_lossy(), &events]));
            println!("drop {:?}\nserve {:?}", dropped[dropped.len() - 1], served[served.len() - 1]);
        }
        kafka::delete_topic(&topic);
        (dropped, served)
    }

    fn fill(&self, topic: &str) {
        let producer = producer("50");
        let (mut random, mut text) = (Random(3), String::new());
        let span = HOURS * 3_600_000;
        let begin = SystemClock.now().as_micros() / 1_000 - span;
        let all = i64::try_from(self.events).expect("a number of events");
        for event in 0..all {
            events::write_event(&mut random, begin + span * event / all, false, &mut text);
            let partition = i32::try_from(event % i64::from(PARTITIONS)).expect("small");
            send(&producer, topic, partition, &text);
        }
        producer.flush(PATIENCE).expect("everything is written");
    }

    /// Event-to-alert times in seconds, ascending.
    fn latency(&self, directory: &Path) -> Vec<f64> {
        if self.windows == 0 {
            return Vec::new();
        }
        let topic = kafka::unique("latency");
        kafka::create_topic(&topic, 1);
        let receiver = Receiver::start([]);
        let model = "windows = [\"1s\"]\nallowed_lateness = \"0s\"\nopen_after = 1\nresolve_after = 1\n\
                     channels = [\"hook\"]";
        let hook =
            format!("[[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"", receiver.url("/"));
        let file = directory.join("latency.toml");
        let text = events::configuration(&topic, "latency", &kafka_section(), model, &hook);
        fs::write(&file, text).expect("a configuration file");
        let service = Service::start(&config::load(&file).expect("a configuration")).expect("a service");

        let producer = producer("0");
        let (mut random, mut text) = (Random(5), String::new());
        let hour = Span::from_secs(3_600);
        let begin = (SystemClock.now() - hour).floor_to(Span::from_secs(1), Span::ZERO);
        let mut latencies = Vec::new();
        for window in 0..i64::try_from(self.windows).expect("a number of windows") {
            // The first window is a drifted one: each one after it changes the incident.
            let has_drifted = window % 2 == 0;
            let start = (begin + Span::from_secs(window)).as_micros() / 1_000;
            for event in 0..WINDOW_EVENTS {
                events::write_event(
                    &mut random,
                    start + event * 1_000 / WINDOW_EVENTS,
                    has_drifted,
                    &mut text,
                );
                send(&producer, &topic, 0, &text);
            }
            producer.flush(PATIENCE).expect("everything is written");
            std::thread::sleep(PAUSE);
            let before = receiver.requests().len();
            events::write_event(&mut random, start + 1_000, !has_drifted, &mut text);
            let sent = Instant::now();
            send(&producer, &topic, 0, &text);
            let arrived = receiver.wait_for(before + 1, kafka::PATIENCE)[before].at;
            latencies.push((arrived - sent).as_secs_f64());
        }
        service.stop().expect("a clean end");
        kafka::delete_topic(&topic);
        latencies.sort_by(f64::total_cmp);
        latencies
    }
}

fn kafka_section() -> String {
    format!("[kafka]\nbrokers = \"{}\"\ngroup = \"{}\"", kafka::broker(), kafka::unique("serve"))
}

/// Runs this program as one of the consumers.
fn child(arguments: &[&str]) -> Used {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program).args(arguments).stderr(Stdio::inherit()).output().expect("started");
    assert!(output.status.success(), "{arguments:?} failed");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("used ")).expect("a report");
    let numbers: Vec<f64> = line.split(' ').map(|number| number.parse().expect("a number")).collect();
    let [cpu_seconds, wall_seconds, peak_mib, end_mib] = numbers[..] else { panic!("{line}") };
    Used { cpu_seconds, wall_seconds, peak_mib, end_mib }
}

fn producer(linger_ms: &str) -> ThreadedProducer<DefaultProducerContext> {
    ClientConfig::new()
        .set("bootstrap.servers", kafka::broker())
        .set("linger.ms", linger_ms)
        .create()
        .expect("a producer")
}

fn send(producer: &ThreadedProducer<DefaultProducerContext>, topic: &str, partition: i32, text: &str) {
    let mut record = BaseRecord::<(), str>::to(topic).partition(partition).payload(text);
    while let Err((error, back)) = producer.send(record) {
        assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
        std::thread::sleep(Duration::from_millis(5));
        record = back;
    }
}

/// Prints the median, smallest and largest of a figure.
fn row(name: &str, figures: impl Iterator<Item = f64>, must: &str, goal: &str) {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (figures.first(), figures.last()) else { return };
    let median = (figures[(figures.len() - 1) / 2] + figures[figures.len() / 2]) / 2.0;
    println!("{name:<46}{median:>10.2}{least:>10.2}{most:>10.2}   {must:>8}{goal:>8}");
}

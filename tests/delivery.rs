//! Delivery: what is promised when receivers fail, hang, slow down, redirect or refuse.
//!
//! Rules about time run in paused time over a simulated network, so hours pass at once; what only a real
//! network can show runs over HTTP on loopback.

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use driftline::cli::test_alert::{self, TestAlertError};
use driftline::config::{Config, Service};
use driftline::event::{Clock, Timestamp};
use driftline::incident::Notification;
use driftline::incident::NotificationKind::{Opened, Resolved, Retrain, Updated};
use driftline::notify::deliver::{self, Observer, Outcome, Ports, Signals};
use driftline::notify::transport::{ANSWER_BYTES_MAX, HttpTransport, Outgoing, Transport, TransportError};
use driftline::notify::{ChannelSettings, Outbox};
use support::incidents::{at, notification, secs, settings};
use support::outbox::{MemoryOutbox, State, TokioClock};
use support::receiver::{Answer, Receiver};
use support::transport::{Reply, ScriptedTransport, Sent};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(20);
const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// What the observer heard: channel, outcome, attempts, seconds since it was put in.
type Heard = Vec<(String, Outcome, u32, f64)>;

/// An outbox, a clock, and workers.
struct World {
    outbox: Arc<MemoryOutbox>,
    clock: Arc<TokioClock>,
    wake: watch::Sender<u64>,
    shutdown: watch::Sender<bool>,
    heard: Arc<Mutex<Heard>>,
}

impl World {
    fn new() -> Self {
        Self {
            outbox: Arc::default(),
            clock: Arc::new(TokioClock::starting_at(at("2026-11-23T10:00:00Z"))),
            wake: watch::Sender::new(0),
            shutdown: watch::Sender::new(false),
            heard: Arc::default(),
        }
    }

    fn put(&self, notification: Notification) -> String {
        let id = notification.id.clone();
        self.outbox.put(notification, self.clock.now());
        id
    }

    fn wake(&self) {
        self.wake.send_modify(|turn| *turn += 1);
    }

    fn start(&self, settings: ChannelSettings, transport: Arc<dyn Transport>) -> JoinHandle<()> {
        let heard = Arc::clone(&self.heard);
        let observer: Observer = Arc::new(move |attempted| {
            heard.lock().expect("not poisoned").push((
                attempted.channel.to_owned(),
                attempted.outcome,
                attempted.attempts,
                attempted.since_created.as_secs_f64(),
            ));
        });
        let outbox: Arc<dyn Outbox> = self.outbox.clone();
        let ports = Ports { outbox, transport, clock: self.clock.clone(), observer };
        let signals = Signals { wake: self.wake.subscribe(), shutdown: self.shutdown.subscribe() };
        deliver::spawn(settings, ports, signals).expect("a known kind")
    }

    /// Waits until nothing waits any more.
    async fn settle(&self, patience: Duration) {
        let settled = async {
            while !self.outbox.is_settled() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(patience, settled).await.expect("everything ends in time");
    }

    fn state(&self, id: &str) -> State {
        self.outbox.row(id).state
    }
}

/// Paused time is patient.
const DAY: Duration = Duration::from_secs(86_400);

fn scripted(script: impl Fn(usize, &Sent) -> Reply + Send + Sync + 'static) -> Arc<ScriptedTransport> {
    Arc::new(ScriptedTransport::new(script))
}

fn http() -> Arc<HttpTransport> {
    Arc::new(HttpTransport::new().expect("a client"))
}

fn webhook() -> ChannelSettings {
    let mut settings = settings("team", "webhook", "https://receiver.example/hook");
    settings.secrets = vec![SECRET.into()];
    settings
}

fn ids(sent: &[Sent]) -> Vec<String> {
    sent.iter().map(|sent| sent.id().to_owned()).collect()
}

// === rules about time ===

#[tokio::test(start_paused = true)]
async fn an_incident_stays_in_order_while_others_go_on() {
    let world = World::new();
    for (incident, kind) in [("a", Opened), ("a", Updated), ("a", Resolved), ("b", Opened), ("b", Resolved)] {
        world.put(notification("team", incident, kind));
    }
    // The first message of incident a fails as long as fewer than six requests came.
    let transport =
        scripted(|number, sent| Reply::Status(if sent.id() == "team-a-1" && number < 6 { 503 } else { 200 }));
    world.start(webhook(), transport.clone());
    world.settle(DAY).await;
    let order = ids(&transport.sent());
    let place = |id: &str| order.iter().rposition(|sent| sent == id).expect("sent");
    assert!(order.iter().filter(|id| *id == "team-a-1").count() > 2, "{order:?}");
    assert!(place("team-a-1") < place("team-a-2") && place("team-a-2") < place("team-a-3"), "{order:?}");
    assert!(place("team-b-3") < place("team-a-1"), "b is not held up by a: {order:?}");
    assert_eq!(order.iter().filter(|id| *id == "team-a-2").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_poisonous_message_is_set_aside_and_the_next_goes() {
    let world = World::new();
    let poison = world.put(notification("team", "a", Opened));
    let next = world.put(notification("team", "a", Resolved));
    let transport = scripted(|_, sent| Reply::Status(if sent.id() == "team-a-1" { 400 } else { 204 }));
    world.start(webhook(), transport.clone());
    world.settle(DAY).await;
    assert_eq!(world.state(&poison), State::Dead("answered 400".to_owned()));
    assert_eq!(world.state(&next), State::Delivered);
    assert_eq!(transport.sent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_stays_down_leads_to_a_dead_letter_after_hours() {
    let world = World::new();
    let id = world.put(notification("team", "a", Opened));
    let transport = scripted(|number, _| if number % 2 == 0 { Reply::Refused } else { Reply::Hang });
    world.start(webhook(), transport.clone());
    let begun = Instant::now();
    world.settle(DAY).await;
    assert_eq!(transport.sent().len(), 12);
    let hours = begun.elapsed().as_secs_f64() / 3600.0;
    assert!((2.0..4.0).contains(&hours), "{hours}");
    let State::Dead(reason) = world.state(&id) else { panic!("must be dead") };
    assert_eq!(reason, "given up after 12 attempts, the last: no answer within 15s");
    let heard = world.heard.lock().expect("not poisoned").clone();
    assert_eq!(heard.iter().filter(|heard| heard.1 == Outcome::Retried).count(), 11);
    assert!(matches!(heard.last(), Some((_, Outcome::Dead, 12, seconds)) if *seconds > 7_000.0), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn retry_after_holds_the_whole_destination() {
    let world = World::new();
    world.put(notification("team", "a", Opened));
    world.put(notification("team", "b", Opened));
    let transport = scripted(|number, _| if number == 0 { Reply::SlowDown(120) } else { Reply::Status(200) });
    world.start(webhook(), transport.clone());
    world.settle(DAY).await;
    let sent = transport.sent();
    assert_eq!(sent.len(), 3);
    assert!(sent[1].at - sent[0].at >= Duration::from_secs(120), "{:?}", sent[1].at - sent[0].at);
    assert!(sent[2].at - sent[0].at < Duration::from_secs(125), "{:?}", sent[2].at - sent[0].at);
}

#[tokio::test(start_paused = true)]
async fn an_absurd_retry_after_is_cut_to_an_hour() {
    let world = World::new();
    world.put(notification("team", "a", Opened));
    let transport =
        scripted(|number, _| if number == 0 { Reply::SlowDown(u64::MAX) } else { Reply::Status(200) });
    world.start(webhook(), transport.clone());
    world.settle(DAY).await;
    let sent = transport.sent();
    let wait = sent[1].at - sent[0].at;
    assert!(wait >= Duration::from_secs(3600) && wait < Duration::from_secs(3640), "{wait:?}");
}

#[tokio::test(start_paused = true)]
async fn every_attempt_has_the_same_id_key_and_body() {
    let world = World::new();
    let id = world.put(notification("trainer", "a", Retrain));
    let mut settings = settings("trainer", "retrain", "https://trainer.example/runs");
    settings.secrets = vec![SECRET.into()];
    let transport = scripted(|number, _| Reply::Status(if number < 4 { 502 } else { 409 }));
    world.start(settings, transport.clone());
    world.settle(DAY).await;
    assert_eq!(world.state(&id), State::Delivered, "409 means that it was done already");
    let sent = transport.sent();
    assert_eq!(sent.len(), 5);
    for attempt in &sent {
        assert_eq!(attempt.headers["idempotency-key"], id);
        assert_eq!(attempt.headers["webhook-id"], id);
        assert_eq!(attempt.body["idempotency_key"], id.as_str());
        assert_eq!(attempt.body, sent[0].body);
    }
    assert_ne!(sent[0].headers["webhook-timestamp"], sent[4].headers["webhook-timestamp"]);
}

#[tokio::test(start_paused = true)]
async fn slack_gets_at_most_one_message_a_second() {
    let world = World::new();
    for incident in ["a", "b", "c", "d"] {
        world.put(notification("team", incident, Opened));
    }
    let transport = scripted(|_, _| Reply::Status(200));
    world.start(settings("team", "slack", "https://hooks.slack.example/x"), transport.clone());
    world.settle(DAY).await;
    let sent = transport.sent();
    assert_eq!(sent.len(), 4);
    assert!(sent.windows(2).all(|pair| pair[1].at - pair[0].at >= Duration::from_secs(1)));
}

#[tokio::test(start_paused = true)]
async fn a_wake_up_sends_at_once_and_a_lost_one_delays_by_half_a_minute() {
    let world = World::new();
    let transport = scripted(|_, _| Reply::Status(200));
    world.start(webhook(), transport.clone());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let begun = Instant::now();
    world.put(notification("team", "a", Opened));
    world.wake();
    world.settle(DAY).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let begun = Instant::now();
    world.put(notification("team", "b", Opened));
    world.settle(DAY).await;
    assert!(begun.elapsed() <= Duration::from_secs(31), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_failing_outbox_does_not_repeat_messages() {
    let world = World::new();
    world.put(notification("team", "a", Opened));
    let outbox = Arc::clone(&world.outbox);
    // The answer is there, and then the outbox cannot write it down three times.
    let transport = scripted(move |_, _| {
        outbox.fail_next(3);
        Reply::Status(200)
    });
    world.start(webhook(), transport.clone());
    world.settle(DAY).await;
    assert_eq!(transport.sent().len(), 1);
    world.outbox.fail_next(2);
    world.put(notification("team", "b", Opened));
    world.wake();
    world.settle(DAY).await;
    assert_eq!(transport.sent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_an_attempt_after_a_grace_and_the_row_stays() {
    let world = World::new();
    let id = world.put(notification("team", "a", Opened));
    let worker = world.start(webhook(), scripted(|_, _| Reply::Hang));
    let idle = world.start(settings("idle", "webhook", "https://idle.example"), scripted(|_, _| Reply::Hang));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    world.shutdown.send(true).expect("workers listen");
    idle.await.expect("ends");
    assert!(begun.elapsed() < Duration::from_secs(1));
    worker.await.expect("ends");
    assert!(begun.elapsed() <= Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!((world.state(&id), world.outbox.row(&id).attempts), (State::Waiting, 0));
}

#[tokio::test(start_paused = true)]
async fn a_worker_ends_with_the_application_that_started_it() {
    let world = World::new();
    let worker = world.start(webhook(), scripted(|_, _| Reply::Status(200)));
    drop(world);
    worker.await.expect("ends");
}

#[tokio::test]
async fn a_kind_that_does_not_exist_is_refused() {
    let world = World::new();
    let ports = Ports {
        outbox: world.outbox.clone(),
        transport: scripted(|_, _| Reply::Status(200)),
        clock: world.clock.clone(),
        observer: Arc::new(|_| {}),
    };
    let signals = Signals { wake: world.wake.subscribe(), shutdown: world.shutdown.subscribe() };
    let error = deliver::spawn(settings("team", "pager", "https://x.example"), ports, signals);
    let text = error.expect_err("refused").to_string();
    assert_eq!(
        text,
        "channel `team`: there is no kind `pager`, use one of slack, pagerduty, webhook, retrain"
    );
}

// === over HTTP ===

#[tokio::test(flavor = "multi_thread")]
async fn a_message_arrives_after_an_error_of_the_receiver() {
    let receiver = Receiver::start([Answer::status(500).body("starting\nup")]);
    let world = World::new();
    let id = world.put(notification("team", "a", Opened));
    let mut settings = settings("team", "webhook", &receiver.url("/hook"));
    settings.secrets = vec![SECRET.into()];
    settings.headers = BTreeMap::from([
        ("Authorization".to_owned(), "Bearer token-of-ours".into()),
        ("Webhook-Id".to_owned(), "forged".into()),
    ]);
    world.start(settings, http());
    world.settle(PATIENCE).await;
    assert_eq!(world.state(&id), State::Delivered);
    assert_eq!(world.outbox.row(&id).reasons, ["answered 500: starting up"]);
    let requests = receiver.stop();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/hook"));
        assert_eq!(request.header("webhook-id"), id);
        assert_eq!(request.header("authorization"), "Bearer token-of-ours");
        assert_eq!(request.header("content-type"), "application/json");
        assert_eq!(request.header("user-agent"), concat!("driftline/", env!("CARGO_PKG_VERSION")));
        verify(request);
    }
    assert_eq!(requests[0].body, requests[1].body);
}

/// As a receiver would verify it, but for the age.
fn verify(request: &support::receiver::Received) {
    let oracle = standardwebhooks::Webhook::new(SECRET).expect("a secret");
    let seconds = request.header("webhook-timestamp").parse().expect("seconds");
    let expected = oracle.sign(request.header("webhook-id"), seconds, &request.body).expect("signs");
    assert_eq!(request.header("webhook-signature"), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_read_from_a_real_answer() {
    let receiver = Receiver::start([Answer::status(429).header("Retry-After", "2")]);
    let world = World::new();
    world.put(notification("team", "a", Opened));
    world.start(settings("team", "slack", &receiver.url("/services/x")), http());
    world.settle(PATIENCE).await;
    let requests = receiver.stop();
    assert_eq!(requests.len(), 2);
    assert!(requests[1].at - requests[0].at >= Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let elsewhere = Receiver::start([]);
    let redirect = |status| Answer::status(status).header("Location", &elsewhere.url("/metadata"));
    let receiver = Receiver::start([redirect(302), redirect(307)]);
    let world = World::new();
    let first = world.put(notification("team", "a", Opened));
    let second = world.put(notification("team", "a", Resolved));
    world.start(settings("team", "webhook", &receiver.url("/hook")), http());
    world.settle(PATIENCE).await;
    for id in [first, second] {
        let State::Dead(reason) = world.state(&id) else { panic!("must be dead") };
        assert!(reason.contains("redirects are not followed"), "{reason}");
        assert!(!reason.contains("metadata"), "{reason}");
    }
    assert_eq!((receiver.stop().len(), elsewhere.stop().len()), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_receiver_delays_no_other_channel() {
    let hanging = Receiver::start([Answer::hanging(), Answer::hanging()]);
    let healthy = Receiver::start([]);
    let world = World::new();
    let transport = http();
    let stuck = world.put(notification("stuck", "a", Opened));
    let fine: Vec<String> =
        [Opened, Updated, Resolved].map(|kind| world.put(notification("fine", "a", kind))).to_vec();
    let worker = world.start(settings("stuck", "slack", &hanging.url("/")), transport.clone());
    world.start(settings("fine", "webhook", &healthy.url("/")), transport);
    let requests = tokio::task::spawn_blocking(move || {
        let requests = healthy.wait_for(3, Duration::from_secs(5));
        hanging.wait_for(1, Duration::from_secs(5));
        (requests.len(), hanging, healthy)
    });
    let (arrived, _hanging, _healthy) = requests.await.expect("arrive");
    assert_eq!(arrived, 3);
    assert_eq!(world.state(&stuck), State::Waiting);
    // The last answer may still be on its way into the outbox.
    let begun = Instant::now();
    while fine.iter().any(|id| world.state(id) != State::Delivered) {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.shutdown.send(true).expect("workers listen");
    tokio::time::timeout(Duration::from_secs(8), worker).await.expect("ends in time").expect("ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_credential_reaches_the_outbox() {
    let key = "0123456789abcdef0123456789abcdef";
    let echo = format!(r#"{{"errors":["routing_key {key} is wrong"],"path":"\/secret-path\/v2"}}"#);
    let receiver = Receiver::start([Answer::status(400).body(echo)]);
    let world = World::new();
    let mut settings = settings("page", "pagerduty", &receiver.url("/secret-path/v2"));
    settings.secrets = vec![key.into()];
    let id = world.put(notification("page", "a", Opened));
    world.start(settings, http());
    world.settle(PATIENCE).await;
    let State::Dead(reason) = world.state(&id) else { panic!("must be dead") };
    assert!(reason.starts_with("answered 400: ") && reason.contains("[redacted]"), "{reason}");
    assert!(!reason.contains(key) && !reason.contains("secret-path"), "{reason}");
    assert_eq!(receiver.stop()[0].json()["routing_key"], key);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_way_name_no_url() {
    let receiver = Receiver::start([Answer::hanging()]);
    let port_of_nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address").port()
    };
    let tls_to_plain = receiver.url("/secret-path").replace("http:", "https:");
    let transport = http();
    for url in [
        format!("http://user:secret-word@127.0.0.1:{port_of_nobody}/secret-path?sig=secret"),
        "http://no-such-host.invalid/secret-path".to_owned(),
        tls_to_plain,
        "ftp://127.0.0.1/secret-path".to_owned(),
        "secret-path".to_owned(),
        receiver.url("/secret-path"),
    ] {
        let outgoing = Outgoing {
            url: url.as_str().into(),
            headers: Vec::new(),
            body: b"{}".to_vec(),
            timeout: Duration::from_millis(700),
        };
        let error = transport.send(outgoing).await.expect_err(&url);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("secret") && !shown.contains("http://"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_ends_at_its_time_and_a_long_one_at_its_size() {
    let long = "x".repeat(1024 * 1024);
    let receiver = Receiver::start([Answer::hanging(), Answer::ok().body(long)]);
    let transport = http();
    let outgoing = || Outgoing {
        url: receiver.url("/").as_str().into(),
        headers: vec![("bad\nname".to_owned(), "x".into())],
        body: b"{}".to_vec(),
        timeout: Duration::from_millis(500),
    };
    let plain = || Outgoing { headers: Vec::new(), ..outgoing() };
    let refused = transport.send(outgoing()).await;
    assert_eq!(refused, Err(TransportError::BadHeader("bad name".to_owned())));
    assert_eq!(transport.send(plain()).await, Err(TransportError::TimedOut(Duration::from_millis(500))));
    let answer = transport.send(Outgoing { timeout: PATIENCE, ..plain() }).await.expect("an answer");
    assert_eq!((answer.status, answer.body.len()), (200, ANSWER_BYTES_MAX));
}

// === test-alert ===

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        at("2026-11-23T10:20:00Z")
    }
}

fn config(channels: Vec<ChannelSettings>) -> Config {
    Config {
        id: "config".to_owned(),
        directory: Default::default(),
        warnings: Vec::new(),
        references: Default::default(),
        service: Service {
            data_dir: "data".into(),
            listen: ([127, 0, 0, 1], 0).into(),
            commit_interval: Duration::from_secs(1),
            workers: 1,
            dead_letters_max: 1,
            history: secs(3600),
        },
        kafka: None,
        streams: Vec::new(),
        models: Vec::new(),
        channels,
    }
}

#[test]
fn test_alert_pages_and_closes_the_page_and_shows_no_key() {
    let accepted = r#"{"status":"success","message":"Event processed"}"#;
    let receiver = Receiver::start([Answer::status(202).body(accepted), Answer::status(202)]);
    let mut page = settings("page", "pagerduty", &receiver.url("/v2/enqueue"));
    page.secrets = vec!["0123456789abcdef0123456789abcdef".into()];
    let mut out = Vec::new();
    test_alert::run(&config(vec![page]), "page", &FixedClock, &mut out).expect("delivered");
    let shown = String::from_utf8(out).expect("UTF-8");
    assert!(shown.contains("answered: 202") && shown.contains("Event processed"), "{shown}");
    assert!(
        shown.contains(r#""routing_key": "[redacted]""#) && !shown.contains("0123456789abcdef"),
        "{shown}"
    );
    let requests = receiver.stop();
    let actions: Vec<_> = requests.iter().map(|request| request.json()["event_action"].clone()).collect();
    assert_eq!(actions, ["trigger", "resolve"]);
    assert_eq!(requests[0].json()["dedup_key"], requests[1].json()["dedup_key"]);
    assert_eq!(requests[0].json()["payload"]["severity"], "info");
}

#[test]
fn test_alert_says_what_went_wrong() {
    let receiver = Receiver::start([Answer::status(404).body("no_service")]);
    let config = config(vec![settings("team-slack", "slack", &receiver.url("/services/T0/B0/secret"))]);
    let mut out = Vec::new();
    let error = test_alert::run(&config, "team-slak", &FixedClock, &mut out).expect_err("unknown");
    assert_eq!(
        error.to_string(),
        "there is no channel `team-slak` in the configuration: it has `team-slack`; did you mean `team-slack`?"
    );
    let error = test_alert::run(&config, "team-slack", &FixedClock, &mut out).expect_err("refused");
    assert!(matches!(error, TestAlertError::NotDelivered { .. }));
    assert!(error.to_string().contains("no_service (the webhook was removed"), "{error}");
    let shown = String::from_utf8(out).expect("UTF-8");
    assert!(shown.contains("POST http://127.0.0.1:") && !shown.contains("secret"), "{shown}");
}

//! The API over a store that commits filled, asked over real connections.

mod sample;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use driftline::event::{RejectReason, Span};
use driftline::incident::Status;
use driftline::monitor::{BudgetView, Commit, JoinView};
use driftline::notify::Outbox;
use driftline::serve::metrics::{Attempt, Labels};
use driftline::serve::{
    self, ApiState, BlindSpots, ENDPOINTS, Health, Metrics, ModelView, Models, VersionView, WindowsOf,
};
use driftline::store::{Options, Store};
use driftline::verdict::blind_spots::{BlindSpot, RateChange};
use driftline::verdict::{Budget, Entry, Ledger, Lowest};
use driftline::window::WindowSettings;
use sample::{HOUR, at, dead_letter, full_commit, incident, notification, window};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A served store.
struct Service {
    state: ApiState,
    address: SocketAddr,
    client: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<std::io::Result<()>>,
    _dir: TempDir,
}

impl Service {
    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().expect("scratch directory");
        let store = Store::open(dir.path(), Options::default()).expect("opens");
        let state = state(store);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            let _ = stopped.await;
        };
        let server = tokio::spawn(serve::run(listener, state.clone(), shutdown));
        let client = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().expect("client");
        Self { state, address, client, stop: Some(stop), server, _dir: dir }
    }

    /// With a store in which something of everything happened.
    async fn filled() -> Self {
        let service = Self::start().await;
        service.apply(&full_commit());
        service
    }

    fn apply(&self, commit: &Commit) {
        self.state.store.apply(commit, at(0)).expect("applies");
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(format!("http://{}{path}", self.address)).send().await.expect("an answer")
    }

    /// Status and JSON of an answer.
    async fn json(&self, path: &str) -> (u16, Value) {
        let response = self.get(path).await;
        let status = response.status().as_u16();
        assert_eq!(response.headers()["content-type"], "application/json", "{path}");
        let body = response.text().await.expect("a body");
        (status, serde_json::from_str(&body).expect("JSON"))
    }

    /// The JSON of an answer that must be 200.
    async fn ok(&self, path: &str) -> Value {
        let (status, body) = self.json(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Status, code and message of an error.
    async fn error(&self, path: &str) -> (u16, String, String) {
        let (status, body) = self.json(path).await;
        let text = |name: &str| body["error"][name].as_str().expect(name).to_owned();
        (status, text("code"), text("message"))
    }
}

fn state(store: Store) -> ApiState {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let labels = Labels {
        topics: names(&["predictions"]),
        models: names(&["churn", "fraud"]),
        channels: names(&["slack"]),
    };
    let model = |name: &str| ModelView {
        name: name.to_owned(),
        versions: vec![VersionView { version: Some("7".to_owned()), baseline: "ab".repeat(32) }],
        windows: vec![WindowSettings { length: Span::from_secs(HOUR), slide: Span::from_secs(HOUR) }],
        allowed_lateness: Span::from_secs(600),
        false_alarms: Budget { alarms: 1.0, period: Span::from_secs(30 * 86_400) },
        calibration: "uncalibrated".to_owned(),
    };
    let models = vec![model("churn"), model("fraud")];
    ApiState {
        store: Arc::new(store),
        metrics: Arc::new(Metrics::new(labels)),
        health: Arc::new(Health::new(Duration::from_secs(60))),
        models: Models(Arc::new(move || models.clone())),
        blind_spots: BlindSpots(Arc::new(blind_spots)),
        config: "cd".repeat(32).into(),
        now: || at(90),
    }
}

fn budget() -> BudgetView {
    let budget = Budget { alarms: 1.0, period: Span::from_secs(30 * 86_400) };
    let mut ledger = Ledger::default();
    let entry = Entry {
        end: at(5),
        length: Span::from_secs(HOUR),
        share: 0.01,
        lowest: &[Lowest { baseline: "ab", p_value: 0.4, effective: 30.0 }],
        opened: false,
        in_incident: false,
    };
    ledger.enter(&entry, budget);
    BudgetView {
        model: "fraud".to_owned(),
        account: ledger.account(budget, Some(at(5))),
        calibrations: Vec::new(),
    }
}

/// Version 7 has a baseline of three columns; what they show shrinks with the rows.
fn join_view() -> JoinView {
    JoinView {
        model: "fraud".to_owned(),
        waiting: 320,
        waiting_labels: 4,
        journal_bytes: 91_000,
        index_bytes: 9_600,
    }
}

fn blind_spots(asked: WindowsOf<'_>) -> Option<Vec<BlindSpot>> {
    let column = |name: &str, shift: f64| BlindSpot {
        column: name.into(),
        mean_shift_sd: Some(shift),
        mean_shift: Some(10.0 * shift),
        missing_rate: Some(RateChange { training: 0.0, seen_at: 20.0 / asked.rows }),
        share_shift: None,
        reason: None,
    };
    let size = 10.0 / asked.rows.sqrt();
    (asked.version == Some("7"))
        .then(|| vec![column("amount", 2.0 * size), column("age", size), column("tenure", size / 2.0)])
}

// === the process ===

#[tokio::test]
async fn a_budget_says_what_is_spent_and_left() {
    let service = Service::filled().await;
    let (status, code, _) = service.error("/api/v1/models/fraud/budget").await;
    assert_eq!((status, code.as_str()), (503, "not_ready"));
    service.state.health.set_budgets(vec![budget()]);
    let budget = service.ok("/api/v1/models/fraud/budget").await;
    assert_eq!(
        (&budget["allowed"], &budget["spent"], &budget["alarms"]),
        (&json!(1.0), &json!(0.01), &json!(0))
    );
    assert_eq!(budget["audits"][0]["void"], json!(false));
    assert_eq!(service.error("/api/v1/models/nobody/budget").await.0, 404);
}

#[tokio::test]
async fn the_index_lists_every_path_and_each_answers() {
    let service = Service::filled().await;
    let index = service.ok("/").await;
    assert_eq!(index["endpoints"].as_array().expect("endpoints").len(), ENDPOINTS.len());
    service.state.health.source_reading();
    service.state.health.set_budgets(vec![budget()]);
    let parts = [
        ("{model}", "fraud"),
        ("{start}", "2026-01-01T01:00:00Z"),
        ("{length}", "1h"),
        ("{id}", "inc-1"),
        ("{sequence}", "1"),
    ];
    for endpoint in ENDPOINTS {
        let path = parts.iter().fold(endpoint.path.to_owned(), |path, (name, part)| path.replace(name, part));
        let response = service.get(&path).await;
        assert_eq!(response.status(), 200, "{path}");
        let header = |name: &str| response.headers()[name].to_str().expect(name).to_owned();
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("content-security-policy"), "default-src 'none'", "{path}");
        assert_eq!(header("cache-control"), "no-store", "{path}");
    }
}

#[tokio::test]
async fn health_follows_the_loop_and_readiness_the_source() {
    let service = Service::start().await;
    assert_eq!(service.ok("/healthz").await, json!({"status": "ok"}));
    let (status, body) = service.json("/readyz").await;
    assert_eq!(status, 503);
    assert_eq!(body["error"]["code"], "not_ready");
    assert_eq!(body["error"]["reasons"], json!(["the source has not been given its partitions yet"]));
    service.state.health.source_reading();
    assert_eq!(service.ok("/readyz").await, json!({"status": "ready"}));
    service.state.health.source_unavailable("all brokers are down");
    let (status, _, message) = service.error("/readyz").await;
    assert_eq!((status, message.as_str()), (503, "the source cannot be read: all brokers are down"));
    assert_eq!(service.get("/healthz").await.status(), 200, "a restart would not help");
}

#[tokio::test]
async fn a_store_that_stopped_makes_the_process_sick() {
    let service = Service::start().await;
    let other = rusqlite::Connection::open(service.state.store.path()).expect("opens");
    let trigger = "CREATE TRIGGER fault BEFORE INSERT ON windows BEGIN SELECT RAISE(ABORT, 'fault'); END";
    other.execute_batch(trigger).expect("trigger");
    service.state.store.apply(&full_commit(), at(0)).expect_err("fails");
    let (status, code, message) = service.error("/healthz").await;
    assert_eq!((status, code.as_str()), (503, "unhealthy"));
    assert!(message.contains("the store takes no more writes"), "{message}");
    assert_eq!(service.ok("/api/v1/incidents").await["incidents"], json!([]), "it still answers");
}

#[tokio::test]
async fn status_tells_where_the_process_stands() {
    let service = Service::filled().await;
    service.state.health.watermark("fraud", at(2 * HOUR));
    service.state.metrics.event_to_alert(Duration::from_millis(250));
    let status = service.ok("/api/v1/status").await;
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["config"], "cd".repeat(32));
    assert_eq!(status["positions"][1], json!({"topic": "predictions", "partition": 1, "next_offset": 3_500}));
    assert_eq!(status["watermarks"], json!({"fraud": "2026-01-01T02:00:00Z"}));
    assert_eq!(status["event_to_alert_seconds"]["p99"], 0.25);
    assert_eq!(status["events"][0]["events"], 7_499);
    assert_eq!(status["store"]["id"], service.state.store.id());
    assert_eq!(status["ready"], false);
}

#[tokio::test]
async fn metrics_are_open_metrics() {
    let service = Service::filled().await;
    let metrics = &service.state.metrics;
    for counter in service.state.store.counters().expect("counters") {
        metrics.events(&counter.topic, &counter.model, &counter.outcome, counter.events);
    }
    metrics.delivery("slack", Attempt::Retried, Duration::from_millis(30));
    metrics.windows_closed("fraud", 3, 1);
    metrics.joins(&[join_view()]);
    let response = service.get("/metrics").await;
    let content_type = response.headers()["content-type"].to_str().expect("text").to_owned();
    assert_eq!(content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let page = response.text().await.expect("a page");
    for line in [
        r#"driftline_events_total{topic="predictions",model="fraud",outcome="counted"} 7499"#,
        r#"driftline_incidents_open{model="fraud"} 1"#,
        r#"driftline_incidents_open{model="churn"} 0"#,
        r#"driftline_outbox_waiting{channel="slack"} 1"#,
        r#"driftline_outbox_waiting{channel="other"} 1"#,
        r#"driftline_outbox_oldest_seconds{channel="slack"} 90.0"#,
        r#"driftline_deliveries_total{channel="slack",outcome="retried"} 1"#,
        r#"driftline_alarms_total{model="fraud"} 1"#,
        r#"driftline_dead_letters 1"#,
        r#"driftline_performance{model="fraud",metric="roc_auc",kind="realised"} 0.912"#,
        r#"driftline_performance{model="fraud",metric="roc_auc",kind="estimated"} 0.921"#,
        r#"driftline_performance{model="fraud",metric="roc_auc",kind="reference"} 0.971"#,
        r#"driftline_performance_delay_seconds{model="fraud",kind="estimated"} -7110.0"#,
        r#"driftline_performance_delay_seconds{model="fraud",kind="realised"} -3510.0"#,
        r#"driftline_label_coverage{model="fraud"} 0.92"#,
        r#"driftline_loss_per_day{model="fraud",currency="EUR",kind="realised"} 12300.0"#,
        r#"driftline_loss_per_day{model="fraud",currency="EUR",kind="estimated"} 9600.0"#,
        r#"driftline_labels_joined_total{model="fraud",outcome="joined"} 3680"#,
        r#"driftline_predictions_waiting{model="fraud"} 320"#,
        r#"driftline_join_journal_bytes{model="fraud"} 91000"#,
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
    }
    assert!(page.ends_with("# EOF\n"));
}

// === models and windows ===

#[tokio::test]
async fn models_show_what_is_configured_and_how_they_stand() {
    let service = Service::filled().await;
    let models = service.ok("/api/v1/models").await;
    let names: Vec<_> = models["models"].as_array().expect("models").iter().map(|m| &m["name"]).collect();
    assert_eq!(names, ["churn", "fraud"]);
    let fraud = service.ok("/api/v1/models/fraud").await;
    assert_eq!(fraud, models["models"][1]);
    assert_eq!(fraud["windows"], json!([{"length": "1h", "slide": "1h"}]));
    assert_eq!(fraud["false_alarms"], json!({"alarms": 1.0, "period": "30d"}));
    assert_eq!(fraud["versions"][0]["baseline"], "ab".repeat(32));
    assert_eq!(fraud["activity"]["open_incident"], "inc-1");
    assert_eq!(fraud["activity"]["newest_window_end"], "2026-01-01T02:00:00Z");
    assert_eq!(fraud["activity"]["versions"][0]["version"], "7");
    assert_eq!(models["models"][0]["activity"]["open_incident"], Value::Null);
}

#[tokio::test]
async fn windows_are_filtered_and_paged() {
    let service = Service::filled().await;
    let windows = (3..=40).map(|hour| window("fraud", None, hour, false)).collect();
    service.apply(&Commit { windows, ..Commit::default() });
    let path = "/api/v1/models/fraud/windows";
    let rows = |body: &Value| body["windows"].as_array().expect("windows").len();
    assert_eq!(rows(&service.ok(path).await), 41);
    assert_eq!(rows(&service.ok(&format!("{path}?segment=eu")).await), 1);
    assert_eq!(rows(&service.ok(&format!("{path}?segment=")).await), 40);
    let alarms = service.ok(&format!("{path}?alarm=true&version=7&length=60m")).await;
    assert_eq!(rows(&alarms), 1);
    assert_eq!(alarms["windows"][0]["window_end"], "2026-01-01T02:00:00Z");
    assert_eq!(alarms["windows"][0]["features"][0]["name"], "feature_0");
    let between = "after=2026-01-01T10:00:00Z&before=2026-01-01T16:00:00%2B03:00";
    assert_eq!(rows(&service.ok(&format!("{path}?{between}")).await), 2);
    let first = service.ok(&format!("{path}?limit=30")).await;
    let cursor = first["next"].as_str().expect("a next page");
    let second = service.ok(&format!("{path}?limit=30&cursor={cursor}")).await;
    assert_eq!((rows(&first), rows(&second), &second["next"]), (30, 11, &Value::Null));
}

#[tokio::test]
async fn one_window_is_shown_whole() {
    let service = Service::filled().await;
    let path = "/api/v1/models/fraud/windows/2026-01-01T01:00:00Z/1h";
    let whole = service.ok(path).await;
    assert_eq!(whole, serde_json::to_value(window("fraud", None, 2, true)).expect("JSON"));
    assert_eq!(whole["verdict"]["features"].as_array().expect("features").len(), 12);
    let segment = service.ok(&format!("{path}?segment=eu&version=7")).await;
    assert_eq!(segment["key"]["segment"], "eu");
    let (status, code, message) = service.error(&format!("{path}?version=8")).await;
    assert_eq!((status, code.as_str()), (404, "not_found"));
    assert_eq!(message, "model `fraud` has no such window of 1h from 2026-01-01T01:00:00Z");
}

// === incidents and what is sent ===

#[tokio::test]
async fn performance_is_a_timeline_of_realised_and_estimated_values() {
    let service = Service::filled().await;
    let before = service.ok("/api/v1/models/fraud/performance?segment=").await;
    assert_eq!(
        before["joins"],
        json!({"counts": {"duplicate": 12, "joined": 3_680, "unknown": 3}, "waiting": null})
    );
    service.state.health.set_joins(vec![join_view()]);
    let page = service.ok("/api/v1/models/fraud/performance?segment=").await;
    assert_eq!(page["joins"]["waiting"]["waiting"], 320);
    let rows = page["performance"].as_array().expect("rows");
    let revisions: Vec<_> = rows.iter().map(|row| (&row["window_end"], &row["revision"])).collect();
    assert_eq!(
        revisions,
        [(&json!("2026-01-01T02:00:00Z"), &json!(1)), (&json!("2026-01-01T01:00:00Z"), &json!(2))]
    );
    assert_eq!(rows[0]["reading"]["maturity"], "waiting");
    assert_eq!(rows[0]["reading"]["metrics"][0]["estimate"]["value"], 0.921);
    assert_eq!(rows[0]["verdict"], Value::Null);
    insta::assert_json_snapshot!("performance_row", rows[1]);

    let first = service.ok("/api/v1/models/fraud/performance?limit=1").await;
    let cursor = first["next"].as_str().expect("a next page");
    let second = service.ok(&format!("/api/v1/models/fraud/performance?limit=2&cursor={cursor}")).await;
    assert_eq!(second["performance"].as_array().expect("rows").len(), 2);
    assert_eq!(second["next"], Value::Null);
    let none = service.ok("/api/v1/models/churn/performance").await;
    assert_eq!(none, json!({"performance": [], "next": null, "joins": {"counts": {}, "waiting": null}}));
    let alarming = service.ok("/api/v1/models/fraud/performance?alarm=true&length=1h&version=7").await;
    assert_eq!(alarming["performance"].as_array().expect("rows").len(), 2);
}

#[tokio::test]
async fn every_revision_of_a_windows_performance_is_shown() {
    let service = Service::filled().await;
    let window = service.ok("/api/v1/models/fraud/performance/2026-01-01T00:00:00Z/1h").await;
    let revisions = window["revisions"].as_array().expect("revisions");
    let labels: Vec<_> = revisions.iter().map(|row| &row["reading"]["labels"]).collect();
    assert_eq!(labels, [0, 3_680]);
    assert!(revisions[1]["verdict"]["features"][0]["tests"].is_array(), "the verdict is whole");
    assert_eq!(window["joins"]["counts"]["joined"], 3_680);
    let (status, code, message) =
        service.error("/api/v1/models/fraud/performance/2026-01-01T07:00:00Z/1h?version=7").await;
    assert_eq!((status, code.as_str()), (404, "not_found"));
    assert_eq!(message, "model `fraud` has no performance of a window of 1h from 2026-01-01T07:00:00Z");
}

#[tokio::test]
async fn an_incident_is_shown_with_its_transitions_and_deliveries() {
    let service = Service::filled().await;
    service.state.store.delivered("n-1", at(3)).expect("delivered");
    let over = incident("inc-1", "fraud", 2, 2, Status::Resolved);
    let outbox = vec![notification("n-3", "slack", &over)];
    service.apply(&Commit { transitions: vec![over.clone()], outbox, ..Commit::default() });
    let other = incident("inc-2", "churn", 8, 1, Status::Open);
    service.apply(&Commit { transitions: vec![other], ..Commit::default() });

    let ids = |body: Value| -> Vec<String> {
        let rows = body["incidents"].as_array().expect("incidents").iter();
        rows.map(|row| row["id"].as_str().expect("id").to_owned()).collect()
    };
    assert_eq!(ids(service.ok("/api/v1/incidents").await), ["inc-2", "inc-1"]);
    assert_eq!(ids(service.ok("/api/v1/incidents?status=open").await), ["inc-2"]);
    assert_eq!(ids(service.ok("/api/v1/incidents?status=resolved&model=fraud").await), ["inc-1"]);
    let detail = service.ok("/api/v1/incidents/inc-1").await;
    assert_eq!(detail["incident"], serde_json::to_value(&over).expect("JSON"));
    assert_eq!(detail["transitions_total"], 2);
    assert_eq!(detail["transitions"][0]["status"], "open");
    let deliveries = detail["deliveries"].as_array().expect("deliveries");
    let seen: Vec<_> = deliveries.iter().map(|row| (&row["id"], &row["kind"], &row["status"])).collect();
    assert_eq!(
        json!(seen),
        json!([["n-1", "opened", "delivered"], ["n-2", "opened", "waiting"], ["n-3", "resolved", "waiting"]])
    );
    let first = service.ok("/api/v1/incidents/inc-1/transitions/1").await;
    assert_eq!(first["features"][0]["tests"][0]["test"], "ks");
    assert_eq!(service.error("/api/v1/incidents/none").await.0, 404);
}

#[tokio::test]
async fn dead_letters_and_outbox_are_listed() {
    let service = Service::filled().await;
    let late = dead_letter(18, RejectReason::Late, b"{}");
    service.apply(&Commit { dead_letters: vec![late], ..Commit::default() });
    let letters = service.ok("/api/v1/dead-letters").await;
    assert_eq!(letters["dead_letters"][1]["payload"], "{\"a\":\u{fffd}");
    assert_eq!(letters["dead_letters"][1]["reason"], "malformed");
    let late = service.ok("/api/v1/dead-letters?reason=late&topic=predictions").await;
    assert_eq!(late["dead_letters"].as_array().expect("rows").len(), 1);

    service.state.store.dead("n-2", at(9), "400: invalid routing key").expect("dead");
    let outbox = service.ok("/api/v1/outbox").await;
    assert_eq!(outbox["channels"][0]["channel"], "pagerduty");
    assert_eq!(outbox["channels"][0]["dead"], 1);
    assert_eq!(outbox["channels"][1]["oldest_waiting"], "2026-01-01T00:00:00Z");
    let dead = service.ok("/api/v1/outbox?status=dead&channel=pagerduty").await;
    assert_eq!(dead["notifications"][0]["last_error"], "400: invalid routing key");
}

// === what is refused ===

#[tokio::test]
async fn a_wrong_request_is_told_what_is_wrong() {
    let service = Service::filled().await;
    let windows = "/api/v1/models/fraud/windows";
    for (path, status, message) in [
        ("/nothing".to_owned(), 404, "nothing is at /nothing: GET / lists what there is"),
        ("/api/v1/models/none".to_owned(), 404, "no model is called `none`: GET /api/v1/models lists them"),
        (
            "/api/v1/models/none/windows".to_owned(),
            404,
            "no model is called `none`: GET /api/v1/models lists them",
        ),
        (format!("{windows}?limit=501"), 400, "parameter `limit`: write a number from 1 to 500"),
        (format!("{windows}?limit=-1"), 400, "parameter `limit`: write a number from 1 to 500"),
        (format!("{windows}?alarm=yes"), 400, "parameter `alarm`: write one of true, false"),
        (format!("{windows}?limit=1&limit=2"), 400, "parameter `limit`: given twice"),
        (
            format!("{windows}?cursor=x"),
            400,
            "parameter `cursor`: not a cursor: give `next` of the page before",
        ),
        (
            format!("{windows}?after=2026-01-01T10:00:00+03:00"),
            400,
            "parameter `after`: write a time as in `2026-01-31T06:00:00Z`; a `+` must be written `%2B`",
        ),
        (
            format!("{windows}?length=1"),
            400,
            "parameter `length`: `1` is not a duration: write a number and a unit, as in `90s`, `10m`, `6h`, `7d` or `1h30m`",
        ),
        (
            "/api/v1/incidents?state=open".to_owned(),
            400,
            "parameter `state`: unknown; this path takes status, model, limit, cursor",
        ),
        ("/healthz?verbose".to_owned(), 400, "parameter `verbose`: unknown; this path takes no parameters"),
        (
            "/api/v1/incidents?status=closed".to_owned(),
            400,
            "parameter `status`: write one of open, updated, resolved",
        ),
    ] {
        let (found, _, said) = service.error(&path).await;
        assert_eq!((found, said.as_str()), (status, message), "{path}");
    }
    assert_eq!(service.error("/api/v1/models/%ff").await.0, 400);
}

#[tokio::test]
async fn nothing_can_be_changed() {
    let service = Service::filled().await;
    let url = format!("http://{}/api/v1/incidents", service.address);
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let method: reqwest::Method = method.parse().expect("a method");
        let response = service.client.request(method.clone(), &url).send().await.expect("an answer");
        assert_eq!(response.status(), 405, "{method}");
        assert_eq!(response.headers()["content-type"], "application/json");
        assert!(!response.headers().contains_key("access-control-allow-origin"));
    }
    let with_body = service.client.get(&url).body("{}").send().await.expect("an answer");
    assert_eq!(with_body.status(), 413);
    let head = service.client.head(&url).send().await.expect("an answer");
    assert_eq!(head.status(), 200);
}

#[tokio::test]
async fn hostile_names_come_back_as_text() {
    let service = Service::filled().await;
    let (status, _, message) = service.error("/api/v1/incidents/%3C%2Fscript%3E'%20OR%201=1--").await;
    assert_eq!(status, 404);
    assert!(message.contains("</script>' OR 1=1--"), "{message}");
    let rows = service.ok("/api/v1/incidents?model='%20OR%20''='").await;
    assert_eq!(rows["incidents"], json!([]));
}

#[tokio::test]
async fn many_readers_at_once_are_all_answered() {
    let service = Arc::new(Service::filled().await);
    let asking = (0..64).map(|_| {
        let service = Arc::clone(&service);
        tokio::spawn(async move { service.get("/api/v1/models/fraud/windows").await.status().as_u16() })
    });
    for answer in asking.collect::<Vec<_>>() {
        assert_eq!(answer.await.expect("an answer"), 200);
    }
}

#[tokio::test]
async fn the_server_ends_when_it_is_told_even_if_a_connection_stays_open() {
    let mut service = Service::start().await;
    let address = service.address;
    let lingering = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).expect("connect");
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n").expect("half a request");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    });
    assert_eq!(service.get("/healthz").await.status(), 200);
    service.stop.take().expect("once").send(()).expect("told");
    let ended = tokio::time::timeout(serve::DRAIN_TIMEOUT + Duration::from_secs(5), service.server);
    ended.await.expect("in time").expect("no panic").expect("no error");
    lingering.abort();
}

// === blind spots ===

#[tokio::test]
async fn blind_spots_are_those_of_the_traffic_of_the_last_windows() {
    let service = Service::filled().await;
    let body = service.ok("/api/v1/models/fraud/blind-spots?limit=2").await;
    assert_eq!((&body["model"], &body["version"]), (&json!("fraud"), &json!("7")));
    let spots = &body["blind_spots"][0];
    assert_eq!(
        (&spots["length"], &spots["rows"], &spots["windows"]),
        (&json!("1h"), &json!(4_000.0), &json!(2))
    );
    assert_eq!((&spots["columns_total"], spots["columns"].as_array().map(Vec::len)), (&json!(3), Some(2)));
    assert_eq!(spots["columns"][0]["column"], "amount");
    assert_eq!(spots["columns"][0]["missing_rate"], json!({"training": 0.0, "seen_at": 0.005}));
}

#[tokio::test]
async fn blind_spots_that_cannot_be_told_say_why() {
    let service = Service::filled().await;
    let of = async |path: &str| service.ok(path).await["blind_spots"][0].clone();
    let idle = of("/api/v1/models/churn/blind-spots").await;
    assert_eq!(
        (&idle["rows"], &idle["reason"]),
        (&json!(null), &json!("no window of this length has closed yet"))
    );
    let unknown = of("/api/v1/models/fraud/blind-spots?version=6").await;
    assert_eq!(unknown["columns"], json!([]));
    let path = "/api/v1/models/fraud/blind-spots?length=2h";
    let (status, _, message) = service.error(path).await;
    assert_eq!((status, message.as_str()), (404, "model `fraud` has no windows of that length"));
}

//! The configuration from outside: the files that are shipped, what mistakes look like, and that secrets
//! stay secret.

use std::path::{Path, PathBuf};

use driftline::cli::check;
use driftline::config::{self, Config, ConfigErrors, Purpose};
use driftline::performance::{Bound, Limit};
use driftline::summary::outcome::Task;
use proptest::prelude::*;
use secrecy::ExposeSecret;
use serde_json::Value;

/// A signing secret that is one.
const SIGNING_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDhunter2AAA==";

/// The least that is a configuration.
const SMALLEST: &str = r#"
[service]
data_dir = "state"
[[model]]
name = "credit"
baseline = "credit.baseline"
"#;

/// An environment in which every variable but `UNSET` has a value that fits its use. Each value holds
/// `hunter2`, which must never be seen.
fn environment(name: &str) -> Option<String> {
    Some(match name {
        "UNSET" => return None,
        name if name.contains("URL") => "https://hooks.example.com/services/hunter2".to_owned(),
        name if name.contains("ROUTING") => "hunter289abcdef0123456789abcdef0".to_owned(),
        name if name.contains("SECRET") => SIGNING_SECRET.to_owned(),
        _ => "hunter2".to_owned(),
    })
}

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    config::parse_for("driftline.toml", text, &environment, Purpose::Send)
}

/// The configuration of the smallest text with this added.
fn with(addition: &str) -> Result<Config, ConfigErrors> {
    parse(&format!("{SMALLEST}{addition}"))
}

fn messages(result: Result<Config, ConfigErrors>) -> Vec<String> {
    match result {
        Ok(_) => Vec::new(),
        Err(errors) => errors.mistakes().iter().map(|mistake| mistake.message.clone()).collect(),
    }
}

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text_of(path: &str) -> String {
    std::fs::read_to_string(in_repository(path)).expect(path)
}

fn reference() -> String {
    text_of("config/driftline.toml")
}

// === what is shipped ===

#[test]
fn every_shipped_file_is_right() {
    let mut seen = 0;
    for entry in std::fs::read_dir(in_repository("config")).expect("config") {
        let path = entry.expect("entry").path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(&path).expect(&name);
            let read = config::parse_for(&name, &text, &environment, Purpose::Send);
            let config = read.unwrap_or_else(|errors| panic!("{}", errors.render(false)));
            // Inside the network of docker-compose.yml nothing is encrypted and the API listens to all.
            if !name.ends_with("compose.toml") {
                assert_eq!(config.warnings, Vec::<String>::new(), "{name}");
            }
            seen += 1;
        }
    }
    assert!(seen > 0);
}

#[test]
fn the_reference_names_every_key() {
    let text = reference();
    let mut named: Vec<String> = Vec::new();
    let mut header = String::new();
    for line in text.lines() {
        if let Some(path) = line.trim_start_matches('#').strip_prefix('[') {
            header = path.trim_matches(['[', ']']).to_owned();
            named.push(header.clone());
        } else if let Some((key, _)) = line.trim_start_matches('#').split_once(" = ") {
            named.push(format!("{header}.{key}"));
        }
    }
    for section in config::sections() {
        for key in section.keys {
            let path = if section.path.is_empty() {
                key.name.to_owned()
            } else {
                format!("{}.{}", section.path, key.name)
            };
            let inline = section.path == "model.windows" && text.contains(&format!("{} = \"", key.name));
            assert!(named.contains(&path) || inline, "config/driftline.toml does not name {path}");
        }
    }
}

#[test]
fn the_training_section_names_the_segment_and_the_unit_of_time() {
    let training = |keys: &str| with(&format!("[model.training]\ntimestamp = \"at\"\n{keys}\n"));
    let config = training("timestamp_unit = \"ms\"\nsegment = \"country\"\nfeatures = [\"country\"]");
    let shown = config::describe(&config.expect("a segment may be a feature"));
    let training_shown = &shown["models"][0]["training"];
    assert_eq!(
        (&training_shown["timestamp_unit"], &training_shown["segment"]),
        (&"ms".into(), &"country".into())
    );
    let found = messages(training("segment = \"at\""));
    assert_eq!(found, ["the column \"at\" is in `timestamp` and in `segment`"]);
    let found = messages(training("timestamp_unit = \"ns\""));
    assert_eq!(found, ["`model.training.timestamp_unit` must be one of \"s\", \"ms\", \"us\""]);
}

#[test]
fn defaults_are_what_the_reference_says() {
    let stream = "[[stream]]\ntopic = \"t\"\nfields = { timestamp = \"/t\", timestamp_unit = \"s\" }\n";
    let channel = "[[channel]]\nname = \"a\"\nkind = \"pagerduty\"\nrouting_key = \"env:ROUTING\"\n";
    let retrain = "[model.retrain]\nchannel = \"r\"\n[[channel]]\nname = \"r\"\nkind = \"retrain\"\nurl = \"https://a/\"\n";
    let performance = "[model.performance]\ntask = \"binary\"\n[model.value]\ncosts = [[0, 1], [1, 0]]\ncurrency = \"EUR\"\n";
    let least = with(&format!("{performance}{retrain}{channel}{stream}[kafka]\nbrokers = \"k:9092\"\n"))
        .expect("least");
    let written = parse(&reference()).expect("reference");
    let (least, written) = (config::describe(&least), config::describe(&written));
    for key in [
        "/service/listen",
        "/service/commit_interval",
        "/service/dead_letters_max",
        "/service/history",
        "/kafka/group",
        "/kafka/offset_reset",
        "/streams/0/format",
        "/streams/0/record_bytes_max",
        "/streams/0/depth_max",
        "/models/0/window_offset",
        "/models/0/allowed_lateness",
        "/models/0/future_skew",
        "/models/0/idle_after",
        "/models/0/false_alarms",
        "/models/0/rows_min",
        "/models/0/floors",
        "/models/0/early",
        "/models/0/rejected_share_expected",
        "/models/0/open_after",
        "/models/0/resolve_after",
        "/models/0/critical_effect",
        "/models/0/segments_max",
        "/models/0/versions_max",
        "/models/0/retrain",
        "/models/0/performance/positive",
        "/models/0/performance/threshold",
        "/models/0/performance/metric",
        "/models/0/performance/windows",
        "/models/0/performance/label_delay_max",
        "/models/0/performance/labels_min",
        "/models/0/performance/mature_at",
        "/models/0/performance/waiting_max",
        "/models/0/performance/waiting_bytes_max",
        "/models/0/value/horizon",
        "/channels/1/url",
        "/channels/1/timeout",
        "/channels/1/attempts_max",
    ] {
        let (mut default, said) = (least.pointer(key).cloned(), written.pointer(key).cloned());
        if let Some(channel) = default.as_mut().and_then(|value| value.get_mut("channel")) {
            *channel = Value::from("retrain");
        }
        assert!(default.is_some(), "{key}");
        assert_eq!(default, said, "{key}");
    }
}

// === performance ===

#[test]
fn performance_and_value_become_the_settings_of_the_model() {
    let text = reference();
    let config = parse(&text).expect("reference");
    let settings = config.models[0].performance.as_ref().expect("settings");
    assert_eq!((settings.task, settings.metric.as_str()), (Task::Binary, "roc_auc"));
    assert_eq!(
        settings.limits,
        [
            Limit { metric: "roc_auc".into(), bound: Bound::Below(0.65) },
            Limit { metric: "log_loss".into(), bound: Bound::Above(0.9) },
        ]
    );
    let value = settings.value.as_ref().expect("value");
    assert_eq!(value.costs, [[0.0, 0.6], [0.05, 0.0]]);
    assert_eq!((value.amount.as_deref(), value.retrain_cost), (Some("loan_amount"), 12_000.0));
    assert_eq!(settings.outcomes().amount.as_deref(), Some("loan_amount"));
    let retrain = config.models[0].incident.retrain.as_ref().expect("retrain");
    assert!(!retrain.only_if_it_pays);
    let shown = config::describe(&config);
    assert_eq!(shown["models"][0]["performance"]["task"], "binary");
    assert_eq!(shown["models"][0]["value"]["currency"], "EUR");
    assert_ne!(config.id, parse(&text.replace("below = 0.65", "below = 0.66")).expect("right").id);
    let bare = with("").expect("right");
    assert!(bare.models[0].performance.is_none());
    assert!(config::describe(&bare)["models"][0].get("performance").is_none());
}

#[test]
fn what_does_not_fit_the_task_is_refused_with_what_to_do() {
    let value = "[model.value]\ncurrency = \"EUR\"";
    for (addition, expected) in [
        ("[model.performance]", "`task` is missing in `[model.performance]`"),
        (
            "[model.performance]\ntask = \"binery\"",
            "`model.performance.task` must be one of \"binary\", \"multiclass\", \"regression\", \"ranking\"",
        ),
        (
            "performance = { task = \"binary\", metric = \"roc-auc\" }",
            "\"roc-auc\" is no metric of a binary model",
        ),
        (
            "performance = { task = \"regression\", metric = \"f1\" }",
            "\"f1\" is no metric of a regression model",
        ),
        (
            "performance = { task = \"ranking\", metric = \"ndcg@0\" }",
            "\"ndcg@0\" is no metric of a ranking model",
        ),
        (
            "performance = { task = \"regression\", positive = [\"1\"] }",
            "`model.performance.positive` means nothing to a regression model",
        ),
        (
            "performance = { task = \"multiclass\", classes = [\"a\"] }",
            "`model.performance.classes` must name 2 to 50 classes",
        ),
        ("performance = { task = \"multiclass\", classes = [\"a\", \"a\"] }", "\"a\" is named twice"),
        (
            "performance = { task = \"binary\", labels_mim = 3 }",
            "unknown key `labels_mim` in `[model.performance]`",
        ),
        (
            "performance = { task = \"binary\", label_delay_max = \"1s\" }",
            "`model.performance.label_delay_max` must be between 1m and 1098d",
        ),
        (
            "performance = { task = \"binary\", mature_at = 2 }",
            "`model.performance.mature_at` must be between 0 and 1",
        ),
        (
            "windows = [\"7h\"]\nperformance = { task = \"binary\" }",
            "performance windows of 1d every 1d are not made of the model's panes of 7h",
        ),
        (
            "performance = { task = \"binary\", limits = [{ metric = \"f1\" }] }",
            "a limit has either `below` or `above`",
        ),
        (
            "performance = { task = \"binary\", limits = [{ metric = \"mae\", below = 1 }] }",
            "\"mae\" is no metric of a binary model",
        ),
        (value, "`model.value` needs `model.performance`"),
        (
            "performance = { task = \"binary\" }\nvalue = { costs = [[0, 1], [1, 0]] }",
            "`currency` is missing in `[model.value]`",
        ),
        (
            "performance = { task = \"binary\" }\nvalue = { currency = \"EUR\", costs = [[0, 1]] }",
            "`model.value.costs` must be 2 rows of 2 numbers",
        ),
        (
            "performance = { task = \"binary\" }\nvalue = { currency = \"EUR\", costs = [[1, 1], [2, 2]] }",
            "by `model.value` no mistake of the model costs anything",
        ),
        (
            "performance = { task = \"multiclass\" }\nvalue = { currency = \"EUR\", costs = [[0, 1], [1, 0]] }",
            "costs of several classes need the classes' names",
        ),
        (
            "performance = { task = \"regression\" }\nvalue = { currency = \"EUR\" }",
            "by `model.value` no mistake of the model costs anything",
        ),
        (
            "performance = { task = \"regression\" }\nvalue = { currency = \"EUR\", over = -1 }",
            "`model.value.over` must be between 0 and 1000000000000",
        ),
    ] {
        assert_eq!(messages(with(addition)), [expected], "{addition}");
    }
    let help = with("performance = { task = \"binary\", metric = \"roc-auc\" }").expect_err("refused");
    assert_eq!(help.mistakes()[0].help.as_deref(), Some("did you mean \"roc_auc\"?"));
    let help = with("performance = { task = \"binary\", labels_mim = 3 }").expect_err("refused");
    assert_eq!(help.mistakes()[0].help.as_deref(), Some("did you mean `labels_min`?"));
}

#[test]
fn a_retraining_that_must_pay_needs_costs() {
    let channel = "[[channel]]\nname = \"r\"\nkind = \"retrain\"\nurl = \"https://a/\"\n";
    let retrain = "retrain = { channel = \"r\", only_if_it_pays = true }\n";
    let found = messages(with(&format!("{retrain}{channel}")));
    assert_eq!(found, ["nothing says what a retraining would save"]);
    let priced = "performance = { task = \"regression\" }\nvalue = { currency = \"EUR\", over = 1 }\n";
    let config = with(&format!("{retrain}{priced}{channel}")).expect("right");
    assert!(config.models[0].incident.retrain.as_ref().is_some_and(|retrain| retrain.only_if_it_pays));
}

#[test]
fn what_keeps_performance_from_being_measured_is_a_warning() {
    let performance = |keys: &str| format!("[model.performance]\ntask = \"binary\"\n{keys}\n");
    let stream = |topic: &str, fields: &str| {
        format!(
            "[[stream]]\ntopic = \"{topic}\"\n[stream.fields]\ntimestamp = \"/t\"\ntimestamp_unit = \"s\"\n{fields}\n"
        )
    };
    let warnings = |text: String| {
        let mut warnings = with(&text).unwrap_or_else(|errors| panic!("{}", errors.render(false))).warnings;
        warnings.retain(|warning| warning.contains("label") || warning.contains("scores"));
        warnings
    };
    let score = stream("events", "score = \"/s\"");
    assert_eq!(
        warnings(performance("") + &score),
        [
            "no stream of the model \"credit\" maps `label`, so its performance is estimated and never measured"
        ]
    );
    let labels = stream("labels", "id = \"/id\"\nlabel = \"/y\"");
    assert_eq!(
        warnings(performance("") + &score + &labels),
        [
            "labels of the model \"credit\" meet their predictions by id, and the stream \"events\" maps no `id`"
        ]
    );
    let short = performance("label_delay_max = \"2d\"") + &stream("both", "score = \"/s\"\nlabel = \"/y\"");
    assert_eq!(
        warnings(short),
        ["labels of the model \"credit\" are waited for 2d, less than its performance window of 7d lasts"]
    );
    let several = "[model.performance]\ntask = \"multiclass\"\nclasses = [\"a\", \"b\", \"c\"]\n";
    let scores = stream("both", "scores = { a = \"/a\", b = \"/b\" }\nlabel = \"/y\"");
    assert_eq!(
        warnings(several.to_owned() + &scores),
        ["the 2 scores of the stream \"both\" are not one for each of the 3 classes of the model \"credit\""]
    );
}

// === what mistakes look like ===

#[test]
fn every_mistake_is_reported_at_once() {
    let errors = parse(&text_of("tests/fixtures/config/mistakes.toml")).expect_err("mistakes");
    insta::assert_snapshot!("mistakes", errors.render(false));
}

#[test]
fn syntax_errors_are_reported_with_what_is_still_true() {
    let errors = parse(&text_of("tests/fixtures/config/broken.toml")).expect_err("broken");
    insta::assert_snapshot!("broken", errors.render(false));
}

#[test]
fn an_empty_file_lacks_its_sections() {
    let found = messages(parse(""));
    assert_eq!(found, ["the section `service` is missing", "the section `model` is missing"]);
}

#[test]
fn names_between_sections_are_checked_even_if_a_section_has_other_mistakes() {
    let stream = "[[stream]]\ntopic = \"t\"\nmodel = \"credit\"\nfields = { timestamp = \"/t\", timestamp_unit = \"s\" }\n";
    let found = messages(with(&format!("rows_min = -1\n{stream}")));
    assert_eq!(found, ["`model.rows_min` must be between 1 and 1000000000"]);
}

#[test]
fn values_out_of_range_are_refused() {
    for (addition, expected) in [
        ("windows = []", "`model.windows` must name 1 to 16 windows"),
        (
            "windows = [\"1s\", \"60d\"]",
            "these windows need panes of 1s: 5184000 for 60d, over the limit of 10000",
        ),
        (
            "windows = [\"1s\", \"1500ms\"]",
            "these windows have no common part longer than 500ms, and a pane must last 1s",
        ),
        ("windows = [\"500ms\"]", "`model.windows` must be between 1s and 366d"),
        ("false_alarms = \"0 per 30d\"", "`model.false_alarms` is not a false-alarm budget"),
        ("false_alarms = \"nan per 30d\"", "`model.false_alarms` is not a false-alarm budget"),
        ("false_alarms = \"9000 per 30d\"", "this budget lets every window of 1h alarm"),
        ("floors = { rate = nan }", "`model.floors.rate` must be between 0 and 1"),
        ("floors = { rate = inf }", "`model.floors.rate` must be between 0 and 1"),
        ("rows_min = 99999999999999999999999", "`model.rows_min` must be between 1 and 1000000000"),
        ("early = 1", "`model.early` must be true or false, this is a whole number"),
        ("rejected_share_expected = 1.5", "`model.rejected_share_expected` must be between 0 and 1"),
        ("segments_max = 0", "`model.segments_max` must be between 1 and 10000"),
        ("[kafka]\nbrokers = \"a:0\"", "`kafka.brokers` is not a list of brokers"),
        ("[kafka]\nbrokers = \"\"", "`kafka.brokers` is not a list of brokers"),
        ("[kafka]\nbrokers = \"[::x]:1\"", "`kafka.brokers` is not a list of brokers"),
        ("[[kafka]]\nbrokers = \"a:1\"", "`kafka` is one table, not a list"),
        ("[channel]\nname = \"a\"\nkind = \"slack\"\nurl = \"env:URL\"", "`channel` is a list of tables"),
    ] {
        assert_eq!(messages(with(addition)), [expected], "{addition}");
    }
}

#[test]
fn a_baseline_that_is_not_there_is_a_mistake_for_those_who_need_it() {
    for (purpose, mistakes) in
        [(Purpose::Run, 1), (Purpose::Replay, 1), (Purpose::Send, 0), (Purpose::Build, 0)]
    {
        let found = messages(config::parse_for("driftline.toml", SMALLEST, &environment, purpose));
        assert_eq!(found.len(), mistakes, "{purpose:?}: {found:?}");
    }
}

#[test]
fn a_baseline_for_each_version_needs_a_stream_that_carries_one() {
    let text = SMALLEST.replace("credit.baseline", "credit-{version}.baseline");
    let stream = "[[stream]]\ntopic = \"t\"\nfields = { timestamp = \"/t\", timestamp_unit = \"s\" }\n";
    let found = messages(parse(&format!("{text}{stream}")));
    assert_eq!(found, ["no stream of \"credit\" carries a version to put for `{version}`"]);
    let fixed = format!("{text}{}", stream.replace("fields", "version = \"7\"\nfields"));
    let config = parse(&fixed).expect("a version");
    let expected = config.models[0].baselines_expected(&config.streams);
    assert_eq!(expected.into_iter().collect::<Vec<_>>(), [PathBuf::from("credit-7.baseline")]);
}

#[test]
fn a_version_from_outside_cannot_leave_the_directory_of_the_baselines() {
    let text = SMALLEST.replace("credit.baseline", "b/credit-{version}.baseline");
    let config = parse(&text).expect("right");
    let model = &config.models[0];
    assert_eq!(model.baseline_of(Some("7.1")), Some(PathBuf::from("b/credit-7.1.baseline")));
    for version in ["", ".", "..", "../../etc/passwd", "a/b", "a\\b", "a\0", "C:x"] {
        assert_eq!(model.baseline_of(Some(version)), None, "{version}");
    }
    assert_eq!(model.baseline_of(None), None);
}

// === Kafka's options ===

#[test]
fn options_may_be_dotted_or_quoted_and_of_any_plain_type() {
    let config = with(
        "[kafka]\nbrokers = \" a:1, [::1]:2 \"\n[kafka.options]\nsecurity.protocol = \"ssl\"\n\
         \"session.timeout.ms\" = 6000\nsocket.keepalive.enable = true\nssl.key.pem = \"env:PEM\"\n",
    )
    .expect("right");
    let kafka = config.kafka.expect("kafka");
    assert_eq!(kafka.brokers, "a:1,[::1]:2");
    let values: Vec<_> =
        kafka.options.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
    assert_eq!(
        values,
        [
            ("security.protocol", "ssl"),
            ("session.timeout.ms", "6000"),
            ("socket.keepalive.enable", "true"),
            ("ssl.key.pem", "hunter2"),
        ]
    );
}

#[test]
fn options_that_driftline_owns_are_refused_in_both_spellings() {
    let found = messages(with(
        "[kafka]\nbrokers = \"a:1\"\n[kafka.options]\ngroup.id = \"g\"\n\"bootstrap.servers\" = \"b:1\"\n",
    ));
    assert_eq!(found, ["Driftline sets `group.id` itself", "Driftline sets `bootstrap.servers` itself"]);
}

// === secrets ===

#[test]
fn a_secret_that_is_not_there_names_its_key_and_place() {
    let text = format!("{SMALLEST}[[channel]]\nname = \"a\"\nkind = \"slack\"\nurl = \"env:UNSET\"\n");
    let errors = parse(&text).expect_err("unset");
    let mistake = &errors.mistakes()[0];
    assert_eq!(
        mistake.message,
        "the secret of `channel.url` is not there: the environment variable `UNSET` is not set"
    );
    assert_eq!((mistake.line, mistake.column), (10, 7));
    let unread =
        config::parse_for("driftline.toml", &text, &environment, Purpose::Build).expect("not needed");
    assert_eq!(unread.channels[0].url.expose_secret(), "");
}

#[test]
fn secret_files_begin_at_the_configuration_and_lose_one_line_feed() {
    let directory = tempfile::tempdir().expect("directory");
    let write = |name: &str, bytes: &[u8]| std::fs::write(directory.path().join(name), bytes).expect(name);
    write("key", b"hunter289abcdef0123456789abcdef0\r\n");
    write("large", &vec![b'a'; 64 * 1024 + 1]);
    write("empty", b"\n");
    write("bytes", &[0xff, 0xfe]);
    write("credit.baseline", b"");
    let load = |reference: &str| {
        let channel =
            format!("[[channel]]\nname = \"p\"\nkind = \"pagerduty\"\nrouting_key = \"{reference}\"\n");
        write("driftline.toml", format!("{SMALLEST}{channel}").as_bytes());
        config::load(&directory.path().join("driftline.toml"))
    };
    let config = load("file:key").expect("right");
    assert_eq!(config.channels[0].secrets[0].expose_secret(), "hunter289abcdef0123456789abcdef0");
    assert_eq!(config.service.data_dir, directory.path().join("state"));
    for (reference, reason) in [
        ("file:large", "larger than 64 KiB"),
        ("file:empty", "is empty"),
        ("file:bytes", "is not UTF-8"),
        ("file:absent", "cannot be read"),
    ] {
        let found = messages(load(reference));
        assert!(found.len() == 1 && found[0].contains(reason), "{reference}: {found:?}");
    }
}

#[test]
fn secrets_are_in_no_output() {
    let config = parse(&reference()).expect("right");
    assert!(config.channels[0].url.expose_secret().contains("hunter2"));
    for output in [format!("{config:?}"), format!("{config:#?}"), config::describe(&config).to_string()] {
        assert!(!output.contains("hunter2") && !output.contains("whsec_"), "{output}");
    }
    for fixture in ["tests/fixtures/config/mistakes.toml", "tests/fixtures/config/broken.toml"] {
        let errors = parse(&text_of(fixture)).expect_err(fixture);
        for output in [errors.render(false), errors.render(true), format!("{errors:?}")] {
            assert!(!output.contains("hunter2"), "{output}");
        }
    }
}

#[test]
fn secrets_under_misspelt_or_misplaced_keys_are_in_no_error() {
    for addition in [
        "[kafka]\nbrokers = \"a:1\"\n[kafka.options]\nsasl.pasword = \"hunter2\"\n",
        "[kafka]\nbrokers = \"a:1\"\nsasl.pwd = \"hunter2\"\n",
        "[kafka]\nbrokers = \"a:1\"\n[kafka.options]\nsasl.password = 42\n\"ssl.key.pem\" = \"\"\"\nhunter2\n\"\"\"\n",
        "[[channels]]\nname = \"a\"\nurk = \"hunter2\"\n",
        "[[channel]]\nname = \"a\"\nkind = \"slack\"\nurl = \"env:xoxb-hunter2\"\n",
        "[[channel]]\nname = \"a\"\nkind = \"webhook\"\nurl = \"ftp://hunter2\"\nheaders = { \"x y\" = \"hunter2\" }\n",
        "[[channel]]\nname = \"a\"\nkind = \"webhook\"\nurl = \"https://a/?t=hunter2\"\nsigning_secret = [\"whsec_hunter2\"]\n",
        "channels = [\"https://hooks.slack.com/hunter2\"]\n",
    ] {
        let errors = with(addition).expect_err(addition);
        let output = format!("{}{errors:?}", errors.render(false));
        assert!(!output.contains("hunter2"), "{output}");
    }
}

// === the id ===

#[test]
fn the_id_is_the_configuration_and_not_its_text() {
    let id = |text: &str| parse(text).expect("right").id;
    let smallest = id(SMALLEST);
    let written_out = "# a comment\nmodel = [{ baseline = \"credit.baseline\", rows_min = 50, name = 'credit', \
                       allowed_lateness = \"600s\" }]\nservice.workers = 3\nservice.data_dir = \"state\"\n";
    assert_eq!(smallest, id(written_out));
    let elsewhere = config::parse_for("/etc/driftline/driftline.toml", SMALLEST, &environment, Purpose::Send);
    assert_eq!(smallest, elsewhere.expect("right").id);
    let changed = SMALLEST.replace("credit.baseline", "other.baseline");
    assert_ne!(smallest, id(&changed));
    assert_ne!(smallest, id(&format!("{SMALLEST}rows_min = 51\n")));
    assert_eq!(smallest.len(), 64);
}

#[test]
fn the_id_holds_references_and_plain_urls_but_no_secrets() {
    let text =
        |url: &str| format!("{SMALLEST}[[channel]]\nname = \"a\"\nkind = \"webhook\"\nurl = \"{url}\"\n");
    let id = |url: &str| parse(&text(url)).expect("right").id;
    let other = |_: &str| Some("https://other.example.com/".to_owned());
    let same = config::parse_for("driftline.toml", &text("env:URL"), &other, Purpose::Send);
    assert_eq!(id("env:URL"), same.expect("right").id);
    assert_ne!(id("env:URL"), id("env:URL_2"));
    assert_ne!(id("https://a/b"), id("https://a/c"));
}

// === check ===

#[test]
fn check_says_what_would_run() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("driftline.toml");
    let baseline = directory.path().join("credit.baseline");
    std::fs::copy(in_repository("tests/fixtures/format-1.baseline"), &baseline).expect("baseline");
    std::fs::write(&path, SMALLEST).expect("file");
    let (code, out, err) = run_check(&path, false);
    assert_eq!((code, err.as_str()), (0, ""));
    for expected in [
        "no mistakes (1 model, 0 streams, 0 channels)",
        "kafka: none",
        "2.78e-4 of the budget",
        "not calibrated",
        "blind_spots",
    ] {
        assert!(out.contains(expected), "{expected} in {out}");
    }
    let (code, out, _) = run_check(&path, true);
    let value: Value = serde_json::from_str(&out).expect("one object");
    assert_eq!((code, &value["ok"]), (0, &Value::Bool(true)));
    assert_eq!(value["models"][0]["pane"], "1h");
    assert_eq!(value["models"][0]["baselines_found"].as_array().map(Vec::len), Some(1));
    assert_eq!(value["config"].as_str().map(str::len), Some(64));
    assert_eq!(value["warnings"].as_array().map(Vec::len), Some(2));
    let spots = &value["models"][0]["blind_spots"];
    assert!(spots.as_array().is_some_and(|tables| !tables.is_empty()), "{spots}");
    assert!(spots[0]["columns"].as_array().is_some_and(|columns| !columns.is_empty()), "{spots}");
}

#[test]
fn check_opens_the_baselines() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("driftline.toml");
    std::fs::write(directory.path().join("credit.baseline"), b"a,b\n1,2\n").expect("no baseline");
    std::fs::write(&path, SMALLEST).expect("file");
    let (code, out, err) = run_check(&path, false);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("is no baseline file") && err.contains("1 mistake in"), "{err}");
    let (code, out, _) = run_check(&path, true);
    let value: Value = serde_json::from_str(&out).expect("one object");
    assert_eq!((code, &value["ok"]), (2, &Value::Bool(false)));
}

#[test]
fn check_reports_mistakes_with_exit_code_two() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("driftline.toml");
    std::fs::write(&path, format!("{SMALLEST}row_min = 1\n")).expect("file");
    let (code, out, err) = run_check(&path, false);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("did you mean `rows_min`?") && err.contains("2 mistakes in"), "{err}");
    let (code, out, err) = run_check(&path, true);
    assert_eq!((code, err.as_str()), (2, ""));
    let value: Value = serde_json::from_str(&out).expect("one object");
    assert_eq!(value["ok"], false);
    assert_eq!(value["errors"][1]["message"], "unknown key `row_min` in `[[model]]`");
    assert_eq!((&value["errors"][1]["line"], &value["errors"][1]["column"]), (&7.into(), &1.into()));
    let (code, _, err) = run_check(&directory.path().join("absent.toml"), false);
    assert!(code == 2 && err.contains("the configuration cannot be read"), "{err}");
}

fn run_check(path: &Path, json: bool) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = check::run(path, json, &mut out, &mut err).expect("in memory");
    (code, String::from_utf8(out).expect("text"), String::from_utf8(err).expect("text"))
}

// === whatever the text ===

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A damaged file is refused or read, never a panic; errors draw, and hold no secret's value.
    #[test]
    fn no_text_is_too_odd(at in 0.0..1.0f64, length in 0usize..40, insertion in "[\\PC\n\"'\\[\\]{}=#,.\\\\]{0,12}") {
        let text = reference();
        let floor = |index: usize| (0..=index.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        let start = floor((at * text.len() as f64) as usize);
        let end = floor(start + length).max(start);
        let damaged = format!("{}{insertion}{}", &text[..start], &text[end..]);
        let output = match parse(&damaged) {
            Ok(config) => format!("{config:?}"),
            Err(errors) => {
                prop_assert!(!errors.mistakes().is_empty());
                errors.render(false)
            }
        };
        prop_assert!(!output.contains("hunter2"));
    }
}

//! What came true of the training rows: counted with the baseline, by pane and segment, kept in its file, and
//! told by the commands.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use driftline::baseline::{
    Baseline, BuildError, BuildOptions, OutcomeError, OutcomeOptions, Outcomes, Roles, build,
};
use driftline::cli::check;
use driftline::event::Span;
use driftline::performance::Settings;
use driftline::summary::outcome::{ErrorSum, OutcomeShape, OutcomeSummary, Predicted, Sum, Task, Truth};
use serde_json::Value;
use tempfile::TempDir;

const HOUR: Span = Span::from_secs(3600);

fn write(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).expect("written");
    path
}

fn options(task: Task) -> OutcomeOptions {
    Settings::new(task).outcomes()
}

fn try_build(csv: &str, roles: &Roles, outcomes: &OutcomeOptions) -> Result<Baseline, BuildError> {
    let dir = tempfile::tempdir().expect("directory");
    let options =
        BuildOptions { panes: Some((HOUR, Span::ZERO)), outcomes: Some(outcomes), ..BuildOptions::default() };
    build(&write(&dir, "rows.csv", csv), roles, &options)
}

fn built(csv: &str, roles: &Roles, outcomes: &OutcomeOptions) -> Baseline {
    try_build(csv, roles, outcomes).expect("a baseline")
}

fn outcomes(csv: &str, roles: &Roles, options: &OutcomeOptions) -> Outcomes {
    built(csv, roles, options).outcomes.expect("outcomes")
}

fn refused(csv: &str, roles: &Roles, options: &OutcomeOptions) -> OutcomeError {
    match try_build(csv, roles, options) {
        Err(BuildError::Outcomes(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn credit() -> Roles {
    Roles {
        timestamp: Some("at".into()),
        prediction: Some("granted".into()),
        scores: names(&["p"]),
        label: Some("repaid".into()),
        segment: Some("country".into()),
        ..Roles::default()
    }
}

/// A row of the credit table.
struct Loan {
    minute: usize,
    country: &'static str,
    sum: f64,
    score: f64,
    granted: u16,
    repaid: u16,
}

fn loans(number: usize) -> Vec<Loan> {
    let loan = |row: usize| {
        let score = (row * 7919 % 1000) as f64 / 1000.0;
        let repaid = u16::from((row * 104_729 % 1009) as f64 / 1009.0 < score);
        Loan {
            minute: row,
            country: ["de", "fr", "it"][row % 3],
            sum: (row % 17) as f64 * 100.0,
            score,
            granted: u16::from(score >= 0.4),
            repaid,
        }
    };
    (0..number).map(loan).collect()
}

fn as_csv(loans: &[&Loan]) -> String {
    let mut text = "at,country,sum,p,granted,repaid\n".to_owned();
    for Loan { minute, country, sum, score, granted, repaid } in loans {
        let (day, hour, minute) = (1 + minute / 1440, minute / 60 % 24, minute % 60);
        let _ = writeln!(
            text,
            "2026-01-{day:02}T{hour:02}:{minute:02}:00Z,{country},{sum},{score},{granted},{repaid}"
        );
    }
    text
}

fn credit_csv(number: usize) -> String {
    as_csv(&loans(number).iter().collect::<Vec<_>>())
}

/// The loans counted one by one.
fn counted<'a>(shape: &OutcomeShape, loans: impl Iterator<Item = &'a Loan>) -> OutcomeSummary {
    let mut summary = shape.empty();
    for loan in loans {
        let values = [loan.score].into();
        let predicted = Predicted { values, class: Some(loan.granted), amount: Some(loan.sum), query: None };
        shape.predict(&mut summary, &predicted).expect("fits");
        shape.add(&mut summary, &predicted, Truth::Class(loan.repaid), 0).expect("fits");
    }
    summary.delays.clear();
    summary
}

fn merged<'a>(
    shape: &OutcomeShape,
    parts: impl Iterator<Item = std::borrow::Cow<'a, OutcomeSummary>>,
) -> OutcomeSummary {
    parts.fold(shape.empty(), |mut sum, part| {
        sum.merge(&part).expect("one shape");
        sum
    })
}

// === counting ===

#[test]
fn each_row_counts_in_the_whole_in_its_pane_and_in_its_segment() {
    let loans = loans(1_500);
    let asked = OutcomeOptions { amount: Some("sum".into()), ..options(Task::Binary) };
    let baseline = built(&credit_csv(1_500), &credit(), &asked);
    let outcomes = baseline.outcomes.as_ref().expect("outcomes");
    let shape = &outcomes.shape;
    assert_eq!(outcomes.total, counted(shape, loans.iter()));
    assert_eq!((outcomes.total.predictions, outcomes.total.labels), (1_500, 1_500));
    assert_eq!(outcomes.left_out, 0);
    assert!(outcomes.has_prediction && outcomes.amount.as_deref() == Some("sum"));
    assert_eq!(outcomes.scores, ["score".into()]);
    let reference = baseline.reference.as_ref().expect("panes");
    let starts: Vec<_> = outcomes.panes().map(|(start, _)| start).collect();
    assert_eq!(starts, reference.panes.iter().map(|(start, _)| *start).collect::<Vec<_>>());
    let second = outcomes.panes().nth(1).expect("a pane").1;
    assert_eq!(second, counted(shape, loans.iter().filter(|loan| loan.minute / 60 == 1)));
    let panes = outcomes.panes().map(|(_, pane)| std::borrow::Cow::Owned(pane));
    assert_eq!(merged(shape, panes), outcomes.total);
    assert_eq!(outcomes.segments.keys().collect::<Vec<_>>(), ["de", "fr", "it"]);
    assert_eq!(outcomes.segments["fr"], counted(shape, loans.iter().filter(|loan| loan.country == "fr")));
    let segments = outcomes.segments.values().map(std::borrow::Cow::Borrowed);
    assert_eq!(merged(shape, segments), outcomes.total);
}

#[test]
fn the_order_of_rows_changes_nothing() {
    // More rows than wait for their panes at once.
    let number = 70_000;
    let loans: Vec<Loan> =
        loans(number).into_iter().map(|loan| Loan { minute: loan.minute / 10, ..loan }).collect();
    let sorted: Vec<&Loan> = loans.iter().collect();
    let shuffled: Vec<&Loan> = (0..number).map(|row| &loans[row * 7_919 % number]).collect();
    let all = |loans: &[&Loan]| {
        let outcomes = outcomes(&as_csv(loans), &credit(), &options(Task::Binary));
        let panes: Vec<_> = outcomes.panes().collect();
        (outcomes.total, outcomes.segments, panes)
    };
    let (sorted, shuffled) = (all(&sorted), all(&shuffled));
    assert_eq!(sorted.2.len(), 117);
    assert!(sorted == shuffled);
}

#[test]
fn rows_without_a_usable_prediction_or_label_are_left_out_and_noted() {
    let csv = "p,granted,repaid,x\n0.1,0,0,1\n0.9,1,,2\n,1,1,3\n0.7,,1,4\nnan,1,1,5\n0.6,1,1,6\n";
    let roles = Roles { timestamp: None, segment: None, ..credit() };
    let baseline = built(csv, &roles, &options(Task::Binary));
    let outcomes = baseline.outcomes.as_ref().expect("outcomes");
    assert_eq!((outcomes.total.labels, outcomes.left_out), (3, 3), "a score is decided on by the threshold");
    assert!(outcomes.total.delays.is_empty() && outcomes.panes_len() == 0 && outcomes.segments.is_empty());
    assert!(
        baseline.notes.iter().any(|note| note.starts_with("3 rows have no usable prediction or label")),
        "{:?}",
        baseline.notes
    );
}

#[test]
fn labels_of_one_class_only_are_noted_with_the_names_of_class_one() {
    let csv = "p,y\n0.1,good\n0.9,bad\n0.4,good\n";
    let roles = Roles { scores: names(&["p"]), label: Some("y".into()), ..Roles::default() };
    let note = "none of the training labels is of class 1, which is `1`, `true`";
    let baseline = built(csv, &roles, &options(Task::Binary));
    assert!(baseline.notes.iter().any(|found| found.starts_with(note)), "{:?}", baseline.notes);
    let named = OutcomeOptions { positive: names(&["bad"]), ..options(Task::Binary) };
    let baseline = built(csv, &roles, &named);
    assert!(!baseline.notes.iter().any(|found| found.contains("of class 1")), "{:?}", baseline.notes);
}

#[test]
fn a_table_that_holds_no_outcomes_is_built_without_them_and_says_why() {
    for (csv, roles, task, why) in [
        (
            "p\n0.1\n0.2\n",
            Roles { scores: names(&["p"]), ..Roles::default() },
            Task::Binary,
            "no label column",
        ),
        (
            "y,x\n0,1\n1,2\n",
            Roles { label: Some("y".into()), ..Roles::default() },
            Task::Binary,
            "neither a prediction nor a score column",
        ),
        (
            "p,y\n0.5,1\n0.4,0\n",
            Roles { scores: names(&["p"]), label: Some("y".into()), ..Roles::default() },
            Task::Ranking,
            "orders of queries have no reference",
        ),
    ] {
        let baseline = built(csv, &roles, &options(task));
        assert!(baseline.outcomes.is_none(), "{why}");
        assert!(baseline.notes.iter().any(|note| note.contains(why)), "{:?}", baseline.notes);
    }
}

// === several classes ===

const ANIMALS: &str = "cat,dog,eel,said,is\n0.8,0.1,0.1,cat,cat\n0.2,0.7,0.1,dog,cat\n0.1,0.2,0.7,eel,eel\n0.1,0.6,0.3,dog,dog\n";

fn animals(scores: &[&str], prediction: Option<&str>) -> Roles {
    Roles {
        scores: names(scores),
        prediction: prediction.map(str::to_owned),
        label: Some("is".into()),
        ignore: names(&["cat", "dog", "eel", "said"])
            .into_iter()
            .filter(|name| !scores.contains(&name.as_str()) && prediction != Some(name.as_str()))
            .collect(),
        ..Roles::default()
    }
}

#[test]
fn classes_find_their_scores_by_name_or_by_the_order_that_was_said() {
    let by_name = outcomes(ANIMALS, &animals(&["eel", "dog", "cat"], None), &options(Task::Multiclass));
    assert_eq!(by_name.classes.names(), ["cat", "dog", "eel"]);
    assert_eq!(by_name.scores, ["cat".into(), "dog".into(), "eel".into()]);
    let OutcomeShape::Multiclass(shape) = &by_name.shape else { panic!("{:?}", by_name.shape) };
    assert!(shape.scored);
    assert_eq!(by_name.total.outcomes.get(shape.confusion_at(0, 1)), 1, "a cat was taken for a dog");
    let renamed = ANIMALS.replacen("cat,dog,eel", "p0,p1,p2", 1);
    let said = OutcomeOptions { classes: names(&["cat", "dog", "eel"]), ..options(Task::Multiclass) };
    let by_place = outcomes(&renamed, &animals(&["p0", "p1", "p2"], Some("said")), &said);
    assert_eq!(by_place.scores, ["p0".into(), "p1".into(), "p2".into()]);
    assert!(by_place.has_prediction);
    assert_eq!(by_place.total, by_name.total, "decisions are those of the highest scores");
}

#[test]
fn decisions_without_a_score_for_each_class_are_measured_alone() {
    let alone = outcomes(ANIMALS, &animals(&[], Some("said")), &options(Task::Multiclass));
    let OutcomeShape::Multiclass(shape) = &alone.shape else { panic!("{:?}", alone.shape) };
    assert!(!shape.scored && alone.scores.is_empty());
    assert_eq!(alone.total.labels, 4);
    let baseline = built(ANIMALS, &animals(&["cat", "dog"], Some("said")), &options(Task::Multiclass));
    assert!(baseline.outcomes.is_some_and(|outcomes| outcomes.total == alone.total));
    assert!(baseline.notes.iter().any(|note| note.contains("cat, dog are not one for each class")));
    let error = refused(ANIMALS, &animals(&["cat", "dog"], None), &options(Task::Multiclass));
    assert!(matches!(error, OutcomeError::ScoresOfClasses { .. }), "{error}");
}

// === numbers ===

#[test]
fn whole_numbers_are_quantities_where_numbers_are_predicted() {
    let mut csv = "guess,stars\n".to_owned();
    (0..200).for_each(|row| {
        let _ = writeln!(csv, "{},{}", row % 5, row % 4);
    });
    let roles = Roles { prediction: Some("guess".into()), label: Some("stars".into()), ..Roles::default() };
    let found = outcomes(&csv, &roles, &options(Task::Regression));
    assert_eq!(found.scores, ["prediction".into()]);
    assert!(!found.has_prediction);
    let OutcomeShape::Regression(shape) = &found.shape else { panic!("{:?}", found.shape) };
    let sums = (0..10).map(|stratum| found.total.sums[shape.sum_at(stratum, ErrorSum::Absolute)]);
    let mae = Sum::decode(sums.sum()) * shape.scale / 200.0;
    let exact = (0..200).map(|row| f64::from((row % 5 - row % 4_i32).abs())).sum::<f64>() / 200.0;
    assert!((mae - exact).abs() < 1e-9, "{mae} for {exact}");
    let scored = Roles { prediction: None, scores: names(&["guess"]), ..roles };
    assert_eq!(outcomes(&csv, &scored, &options(Task::Regression)).scores, ["score".into()]);
}

// === what does not fit ===

#[test]
fn options_that_do_not_fit_the_table_are_refused() {
    let mut csv = "p,q,name,y\n".to_owned();
    (0..60).for_each(|row| {
        let _ = writeln!(csv, "0.{row},{row},n{},{}", row % 3, row % 2);
    });
    let roles = |scores: &[&str], label: &str| Roles {
        scores: names(scores),
        label: Some(label.into()),
        ..Roles::default()
    };
    let binary = options(Task::Binary);
    let score = |name: &str| OutcomeOptions { score: Some(name.into()), ..options(Task::Binary) };
    let amount = |name: &str| OutcomeOptions { amount: Some(name.into()), ..options(Task::Binary) };
    for (roles, options, text) in [
        (roles(&["p", "q"], "y"), &binary, "several score columns: say which of p, q"),
        (roles(&["p", "q"], "y"), &score("r"), "`r` is no score column; the score columns are p, q"),
        (roles(&["name"], "y"), &binary, "the column `score` holds names, and a binary model needs numbers"),
        (roles(&["p"], "q"), &binary, "the column `label` holds many different numbers"),
        (roles(&["p"], "name"), &self::options(Task::Regression), "the column `label` holds names"),
        (roles(&["p"], "y"), &amount("name"), "`name` is no numeric feature"),
        (roles(&["p"], "y"), &amount("quantity"), "`quantity` is no numeric feature"),
    ] {
        let found = refused(&csv, &roles, options).to_string();
        assert!(found.contains(text), "{found}");
    }
    assert_eq!(outcomes(&csv, &roles(&["p", "q"], "y"), &score("q")).scores, ["q".into()]);
    assert_eq!(outcomes(&csv, &roles(&["p"], "y"), &score("p")).scores, ["score".into()]);
}

// === the file ===

#[test]
fn outcomes_are_read_back_as_they_were_written() {
    let dir = tempfile::tempdir().expect("directory");
    let asked = OutcomeOptions { amount: Some("sum".into()), ..options(Task::Binary) };
    for baseline in [
        built(&credit_csv(700), &credit(), &asked),
        built(ANIMALS, &animals(&["cat", "dog", "eel"], None), &options(Task::Multiclass)),
    ] {
        let path = dir.path().join("a.baseline");
        baseline.write(&path).expect("written");
        let read = Baseline::read(&path).expect("read");
        assert!(read.outcomes.is_some() && read.outcomes == baseline.outcomes);
        assert_eq!((read.id, read.sealed().id), (baseline.id, baseline.id));
        let light = Baseline::read(&path).expect("read").without_panes();
        let panes = light.outcomes.as_ref().map(Outcomes::panes_len);
        assert_eq!((panes, light.id), (Some(0), baseline.id));
    }
}

#[test]
fn outcomes_are_part_of_the_id_and_only_where_there_are_any() {
    let dir = tempfile::tempdir().expect("directory");
    let with = built(&credit_csv(300), &credit(), &options(Task::Binary));
    let without = Baseline { outcomes: None, ..with.clone() }.sealed();
    assert_ne!(with.id, without.id);
    let plain = BuildOptions { panes: Some((HOUR, Span::ZERO)), ..BuildOptions::default() };
    let never = build(&write(&dir, "rows.csv", &credit_csv(300)), &credit(), &plain).expect("a baseline");
    assert_eq!(without.id, never.id);
}

/// Makes outcomes into those of no baseline.
type Spoil<'a> = dyn Fn(&mut Outcomes) + 'a;

#[test]
fn outcomes_that_cannot_be_those_of_the_baseline_are_refused() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("a.baseline");
    let sound = built(&credit_csv(300), &credit(), &options(Task::Binary));
    let other = outcomes(ANIMALS, &animals(&["cat", "dog", "eel"], None), &options(Task::Multiclass));
    let spoil: [(&str, &Spoil<'_>); 5] = [
        ("not those of its rows", &|outcomes| outcomes.left_out = 1),
        ("no column is `margin`", &|outcomes| outcomes.scores = vec!["margin".into()]),
        ("do not belong to their shape", &|outcomes| outcomes.total = other.total.clone()),
        ("do not belong to their shape", &|outcomes| {
            outcomes.segments.insert("zz".to_owned(), OutcomeSummary::default());
        }),
        ("have no shape", &|outcomes| outcomes.shape = OutcomeShape::Ranking),
    ];
    for (why, spoil) in spoil {
        let mut spoilt = sound.clone();
        spoil(spoilt.outcomes.as_mut().expect("outcomes"));
        spoilt.sealed().write(&path).expect("written");
        let text = Baseline::read(&path).expect_err(why).to_string();
        assert!(text.contains(why) && text.contains("build it anew"), "{text}");
    }
}

// === the commands ===

fn driftline(dir: &Path, arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_driftline");
    Command::new(program).args(arguments).current_dir(dir).output().expect("it runs")
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const BUILD: [&str; 12] = [
    "baseline",
    "build",
    "rows.csv",
    "-o",
    "a.baseline",
    "--score",
    "p",
    "--label",
    "repaid",
    "--prediction",
    "granted",
    "--ignore=at",
];

#[test]
fn flags_say_the_task_and_show_tells_the_outcomes() {
    let dir = tempfile::tempdir().expect("directory");
    write(&dir, "rows.csv", &credit_csv(500));
    let text = stdout(&driftline(dir.path(), &[&BUILD[..], &["--task", "binary"]].concat()));
    assert!(text.contains("outcomes binary of 500 training rows: roc_auc 0."), "{text}");
    let text = stdout(&driftline(dir.path(), &["baseline", "show", "a.baseline"]));
    assert!(text.contains("outcomes binary of 500 training rows"), "{text}");
    assert!(text.contains("share of class 1 0.") && text.contains("low and high are the 95 %"), "{text}");
    let text = stdout(&driftline(dir.path(), &["baseline", "show", "a.baseline", "--json"]));
    let shown: Value = serde_json::from_str(&text).expect("one object");
    assert_eq!((&shown["outcomes"]["task"], &shown["outcomes"]["labels"]), (&"binary".into(), &500.into()));
    let headline = &shown["outcomes"]["metrics"][0];
    assert_eq!((&headline["metric"], &headline["status"]), (&"roc_auc".into(), &"ok".into()));
    assert!(headline["low"].as_f64() < headline["value"].as_f64(), "{headline}");
    for (flags, why) in [
        (&["--positive", "x"][..], "--positive says how outcomes are read: add --task"),
        (&["--task", "binary", "--classes", "a,b"], "--classes is for multiclass models: this one is binary"),
        (&["--task", "binery"], "expected binary, multiclass, regression or ranking"),
    ] {
        let output = driftline(dir.path(), &[&BUILD[..], flags].concat());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && text.contains(why), "{text}");
    }
}

const CONFIG: &str = r#"
[service]
data_dir = "state"
[[stream]]
topic = "loans"
[stream.fields]
timestamp = "/at"
timestamp_unit = "s"
id = "/id"
prediction = "/granted"
score = "/p"
label = "/repaid"
[[model]]
name = "credit"
baseline = "credit.baseline"
windows = ["1h", "1d"]
[model.training]
timestamp = "at"
prediction = "granted"
scores = ["p"]
label = "repaid"
[model.performance]
task = "binary"
limits = [{ metric = "roc_auc", below = 0.7 }]
[model.value]
costs = [[0, 5], [1, 0]]
currency = "EUR"
retrain_cost = 900
"#;

fn run_check(path: &Path, json: bool) -> String {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = check::run(path, json, &mut out, &mut err).expect("in memory");
    assert_eq!((code, String::from_utf8_lossy(&err).as_ref()), (0, ""));
    String::from_utf8(out).expect("text")
}

#[test]
fn check_says_what_is_measured_and_warns_of_a_baseline_without_outcomes() {
    let dir = tempfile::tempdir().expect("directory");
    write(&dir, "rows.csv", &credit_csv(500));
    let path = write(&dir, "driftline.toml", CONFIG);
    let build = ["baseline", "build", "rows.csv", "-o", "credit.baseline", "--config", "driftline.toml"];
    stdout(&driftline(dir.path(), &build));
    let text = run_check(&path, false);
    for expected in [
        "performance        binary; alarms are about roc_auc",
        "reference binary of 500 training rows: roc_auc 0.",
        "7d     not calibrated: the training rows make 0 windows of 7d with 200 labels or more",
        "alarms when roc_auc is below 0.7",
        "in EUR: [0.0, 5.0] [1.0, 0.0] by truth and decision; a retraining costs 900, against 30d ahead",
        "0.167 for each length",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert!(!text.contains("build it anew"), "{text}");
    let value: Value = serde_json::from_str(&run_check(&path, true)).expect("one object");
    let performance = &value["models"][0]["performance"];
    assert_eq!(performance["reference"][0]["outcomes"]["labels"], 500);
    assert_eq!(performance["reference"][0]["calibrations"][0]["calibrated"], false);
    assert!(performance["windows"][0]["alpha"].is_f64(), "{performance}");
    write(
        &dir,
        "driftline.toml",
        &CONFIG.replace("task = \"binary\"", "task = \"binary\"\npositive = [\"yes\"]"),
    );
    let text = run_check(&path, false);
    assert!(text.contains("was built with the classes 1, true: build it anew"), "{text}");
    write(&dir, "driftline.toml", &CONFIG.replace("score = \"/p\"\n", ""));
    let text = run_check(&path, false);
    assert!(text.contains("no stream of \"credit\" maps the score \"score\""), "{text}");
    let ranking = CONFIG.split_once("limits").expect("limits").0.replace("binary", "ranking");
    write(&dir, "driftline.toml", &ranking);
    assert!(run_check(&path, false).contains("rankings are not measured while they happen"));
    write(&dir, "bare.toml", &CONFIG[..CONFIG.find("[model.performance]").expect("there")]);
    stdout(&driftline(dir.path(), &[&build[..6], &["bare.toml"]].concat()));
    write(&dir, "driftline.toml", CONFIG);
    let text = run_check(&path, true);
    assert!(text.contains("holds no outcomes of its training rows"), "{text}");
}

/// The credit configuration with labels on a stream of their own.
fn two_streams() -> String {
    let labels = "[[stream]]\ntopic = \"truths\"\n[stream.fields]\ntimestamp = \"/at\"\ntimestamp_unit = \"s\"\n\
                  id = \"/id\"\nlabel = \"/repaid\"\n[[model]]";
    let windows = "windows = [\"1d\"]\nlabels_min = 50\nlabel_delay_max = \"6d\"\nlimits";
    CONFIG
        .replace("label = \"/repaid\"\n[[model]]", labels)
        .replace("score = \"/p\"\n", "score = \"/p\"\nfeatures = \"\"\n")
        .replace("limits", windows)
}

#[test]
fn predictions_and_labels_in_files_of_their_own_are_replayed_by_event_time() {
    let dir = tempfile::tempdir().expect("directory");
    write(&dir, "rows.csv", &credit_csv(2_000));
    write(&dir, "driftline.toml", &two_streams());
    let build = ["baseline", "build", "rows.csv", "-o", "credit.baseline", "--config", "driftline.toml"];
    stdout(&driftline(dir.path(), &build));
    let (mut predictions, mut labels) = (String::new(), String::new());
    // Six days, a case every ten minutes, whose truth is known two days later; the last day has none yet.
    for (number, loan) in loans(864).iter().enumerate() {
        let at = 1_768_000_000 / 86_400 * 86_400 + number * 600;
        let Loan { country, sum, score, granted, repaid, .. } = loan;
        let _ = writeln!(
            predictions,
            r#"{{"at":{at},"id":"{number}","country":"{country}","sum":{sum},"p":{score},"granted":"{granted}"}}"#
        );
        if number < 720 {
            let _ = writeln!(labels, r#"{{"at":{},"id":"{number}","repaid":"{repaid}"}}"#, at + 2 * 86_400);
        }
    }
    write(&dir, "predictions.jsonl", &predictions);
    write(&dir, "labels.jsonl", &labels);
    let replay = |files: [&str; 2]| {
        let command = ["replay", "--config", "driftline.toml", "--json", files[0], files[1]];
        let text = stdout(&driftline(dir.path(), &command));
        text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect::<Vec<Value>>()
    };
    let lines = replay(["loans=predictions.jsonl", "truths=labels.jsonl"]);
    let summary = lines.last().expect("a summary");
    assert_eq!(summary["joined"]["matched"], 720, "{summary}");
    let revisions: Vec<&Value> = lines
        .iter()
        .filter(|line| line["type"] == "performance" && line["key"]["segment"].is_null())
        .collect();
    let first: Vec<&&Value> = revisions.iter().filter(|line| line["revision"] == 1).collect();
    assert_eq!(first.len(), 6, "{summary}");
    // The first labels are read to learn where their file begins.
    let labels = first.iter().map(|line| line["reading"]["labels"].as_u64().unwrap_or(u64::MAX));
    assert!(labels.clone().sum::<u64>() <= 2, "labels were there too soon: {:?}", labels.collect::<Vec<_>>());
    let judged: Vec<(&Value, &Value)> = revisions
        .iter()
        .filter(|line| !line["verdict"].is_null())
        .map(|line| (&line["key"]["start"], &line["reading"]["labels"]))
        .collect();
    assert_eq!(judged.len(), 5, "{judged:?}");
    assert!(judged.iter().all(|(_, labels)| labels.as_u64() >= Some(137)), "{judged:?}");
    let other = replay(["truths=labels.jsonl", "loans=predictions.jsonl"]);
    let told = |lines: &[Value]| {
        let summary = lines.last().expect("a summary");
        ["events", "windows", "performance_judged", "performance_alarms"].map(|name| summary[name].clone())
    };
    assert_eq!(told(&other), told(&lines), "the order of the files changes no verdict");
    assert_eq!(other.last().map(|summary| &summary["joined"]["matched"]), Some(&720.into()));
    let text = stdout(&driftline(
        dir.path(),
        &["replay", "--config", "driftline.toml", "loans=predictions.jsonl", "truths=labels.jsonl"],
    ));
    assert!(text.contains("joined: 720 matched") && text.contains(" roc_auc 0."), "{text}");
    let output = driftline(dir.path(), &["replay", "--config", "driftline.toml", "labels.jsonl"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("say which stream labels.jsonl is of: TOPIC=FILE"), "{text}");
}

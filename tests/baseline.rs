//! Baselines from outside: every kind of training file, what is wrong with a file and how it is told, the
//! baseline file, and the two commands.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, DictionaryArray, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use driftline::baseline::read::MemoryTable;
use driftline::baseline::{Baseline, BuildError, BuildOptions, Column, Roles, build, build_table};
use driftline::event::decode::TimestampUnit;
use driftline::event::{ColumnKind, Role, Span};
use driftline::summary::{ColumnSummary, Shape};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use serde_json::Value;
use tempfile::TempDir;

const HOUR: Span = Span::from_secs(3600);

fn scratch() -> TempDir {
    TempDir::new().expect("a directory")
}

fn write(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, text).expect("written");
    path
}

fn write_gzip(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    let mut packed = GzEncoder::new(fs::File::create(&path).expect("a file"), Compression::fast());
    packed.write_all(text.as_bytes()).expect("written");
    packed.finish().expect("finished");
    path
}

fn plain(path: &Path) -> Baseline {
    build(path, &Roles::default(), &BuildOptions::default()).expect("a baseline")
}

fn refused(path: &Path, roles: &Roles) -> String {
    build(path, roles, &BuildOptions::default()).expect_err("refused").to_string()
}

fn column<'a>(baseline: &'a Baseline, name: &str) -> &'a Column {
    baseline.columns.iter().find(|column| &*column.spec.name == name).expect("the column")
}

fn counts(column: &Column) -> Vec<(String, u64)> {
    let Shape::Categorical(categories) = &column.shape else { panic!("{:?} has no names", column.spec) };
    let named = categories.top.iter().enumerate();
    named.map(|(index, name)| (name.clone(), column.summary.counts().get(index))).collect()
}

fn kind(baseline: &Baseline, name: &str) -> ColumnKind {
    column(baseline, name).spec.kind
}

fn mean(column: &Column) -> Option<f64> {
    match (&column.shape, &column.summary) {
        (Shape::Numeric(grid), ColumnSummary::Numeric(numeric)) => numeric.mean(grid),
        _ => None,
    }
}

/// 600 rows of a number, a name and a sometimes missing number, as CSV and as JSON lines.
fn rows_as(csv: bool) -> String {
    let mut text = if csv { "amount,country,age\n".to_owned() } else { String::new() };
    for row in 0..600 {
        let (amount, country) = (f64::from(row * 7919 % 601) / 4.0, ["de", "fr", "it"][row as usize % 3]);
        let age = (row % 5 != 0).then(|| 20 + row % 40);
        let shown = age.map(|age| age.to_string()).unwrap_or_default();
        let member = age.map_or("null".to_owned(), |age| age.to_string());
        text.push_str(&match csv {
            true => format!("{amount},{country},{shown}\n"),
            false => format!("{{\"amount\":{amount},\"country\":\"{country}\",\"age\":{member}}}\n"),
        });
    }
    text
}

// === kinds of input ===

#[test]
fn each_kind_of_file_gives_the_same_baseline() {
    let dir = scratch();
    let (csv, json) = (rows_as(true), rows_as(false));
    let first = plain(&write(&dir, "a.csv", &csv));
    assert_eq!(first.rows, 600);
    assert_eq!(column(&first, "age").summary.anomalies().missing, 120);
    assert_eq!(counts(column(&first, "country"))[0], ("de".to_owned(), 200));
    let others = [
        write_gzip(&dir, "a.csv.gz", &csv),
        write(&dir, "a.jsonl", &json),
        write(&dir, "a.ndjson", &json),
        write_gzip(&dir, "a.ndjson.gz", &json),
        write_gzip(&dir, "A.JSONL.GZ", &json),
        write(&dir, "dos.csv", &csv.replace('\n', "\r\n")),
        write(&dir, "blank.jsonl", &json.replace("}\n", "}\n\n")),
    ];
    for path in others {
        assert_eq!(plain(&path).id, first.id, "{}", path.display());
    }
}

#[test]
fn parquet_columns_of_many_types_are_read() {
    let dir = scratch();
    let decimals = Decimal128Array::from(vec![Some(150), Some(250), None, Some(250)]);
    let names: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("b"), Some("a")].into_iter().collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("whole", Arc::new(Int64Array::from(vec![Some(1), Some(2), Some(3), None]))),
        ("decimal", Arc::new(decimals.with_precision_and_scale(9, 2).expect("precision"))),
        ("flag", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true)]))),
        ("name", Arc::new(names)),
        ("at", Arc::new(TimestampMillisecondArray::from(vec![0, 1_000, 3_600_000, 7_200_000]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let path = dir.path().join("t.parquet");
    let file = fs::File::create(&path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");

    let roles = Roles { timestamp: Some("at".into()), ..Roles::default() };
    let options = BuildOptions { panes: Some((HOUR, Span::ZERO)), ..BuildOptions::default() };
    let baseline = build(&path, &roles, &options).expect("a baseline");
    assert_eq!(mean(column(&baseline, "whole")), Some(2.0));
    assert_eq!(column(&baseline, "whole").summary.anomalies().missing, 1);
    assert!((mean(column(&baseline, "decimal")).expect("a mean") - 6.5 / 3.0).abs() < 1e-9);
    assert_eq!(counts(column(&baseline, "flag")), [("true".to_owned(), 2), ("false".to_owned(), 1)]);
    assert_eq!(counts(column(&baseline, "name")), [("a".to_owned(), 2), ("b".to_owned(), 1)]);
    let reference = baseline.reference.expect("panes");
    let rows: Vec<u64> = reference.panes.iter().map(|(_, pane)| pane.rows.events).collect();
    assert_eq!((rows, reference.rows_left_out), (vec![2, 1, 1], 0));
}

#[test]
fn the_baseline_does_not_depend_on_how_rows_are_batched() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("x", DataType::Float64, true),
        Field::new("name", DataType::Utf8, true),
    ]));
    let of = |size: usize| {
        let batches = {
            let schema = schema.clone();
            move || {
                let starts: Vec<usize> = (0..30_000).step_by(size).collect();
                let schema = schema.clone();
                starts.into_iter().map(move |start| {
                    let rows = start..(start + size).min(30_000);
                    let x: Float64Array = rows
                        .clone()
                        .map(|row| (row % 11 > 0).then(|| ((row * 7919) % 30_011) as f64))
                        .collect();
                    let names: StringArray =
                        rows.map(|row| Some(format!("name {}", row * row % 701))).collect();
                    RecordBatch::try_new(schema.clone(), vec![Arc::new(x), Arc::new(names)]).expect("a batch")
                })
            }
        };
        let table = MemoryTable::new(&schema, batches);
        build_table(&table, &Roles::default(), &BuildOptions::default()).expect("a baseline")
    };
    let whole = of(30_000);
    assert_eq!(whole.rows, 30_000);
    assert_eq!(of(1_000).id, whole.id);
    assert_eq!(of(17).id, whole.id);
}

// === awkward tables ===

#[test]
fn tables_without_rows_are_refused() {
    let dir = scratch();
    assert!(refused(&write(&dir, "empty.csv", ""), &Roles::default()).contains("empty.csv"));
    assert!(refused(&write(&dir, "header.csv", "a,b\n"), &Roles::default()).contains("no rows"));
    assert!(refused(&write(&dir, "empty.jsonl", ""), &Roles::default()).contains("no rows"));
    assert!(refused(&write(&dir, "blank.jsonl", "\n\n"), &Roles::default()).contains("no rows"));
    assert!(build(&dir.path().join("absent.csv"), &Roles::default(), &BuildOptions::default()).is_err());
}

#[test]
fn a_missing_column_is_told_with_the_nearest_name() {
    let dir = scratch();
    for path in
        [write(&dir, "a.csv", "income,age\n1,2\n"), write(&dir, "a.jsonl", "{\"income\":1,\"age\":2}\n")]
    {
        let roles = Roles { prediction: Some("incme".into()), ..Roles::default() };
        let text = refused(&path, &roles);
        assert!(text.contains("no column `incme`, did you mean `income`?"), "{text}");
        assert!(text.contains("income, age"), "{text}");
    }
}

#[test]
fn a_column_to_ignore_that_is_not_there_is_noted() {
    let dir = scratch();
    let roles = Roles { ignore: vec!["agee".into()], ..Roles::default() };
    let path = write(&dir, "a.csv", "income,age\n1,2\n");
    let baseline = build(&path, &roles, &BuildOptions::default()).expect("a baseline");
    let note = "there is no column `agee` to ignore, did you mean `age`?";
    assert!(baseline.notes.iter().any(|found| found == note), "{:?}", baseline.notes);
    assert_eq!(baseline.columns.len(), 2);
}

#[test]
fn degenerate_columns_are_built_and_noted() {
    let dir = scratch();
    let csv = "one,none,name,x\n5,,a,1\n5,,a,2\n5,,a,3\n";
    let baseline = plain(&write(&dir, "a.csv", csv));
    let notes = baseline.notes.join("\n");
    assert!(notes.contains("`one` has one value only"), "{notes}");
    assert!(notes.contains("`none` has no values at all"), "{notes}");
    assert!(notes.contains("`name` has one value only"), "{notes}");
    assert_eq!(column(&baseline, "none").summary.anomalies().missing, 3);
    let ColumnSummary::Numeric(one) = &column(&baseline, "one").summary else { panic!("numeric") };
    assert_eq!(one.counts.total(), 3);
}

#[test]
fn a_column_with_two_roles_or_the_name_of_a_role_is_refused() {
    let dir = scratch();
    let path = write(&dir, "a.csv", "prediction,y,x\n1,2,3\n");
    let text = refused(&path, &Roles::default());
    assert!(text.contains("`prediction` is the name of a role"), "{text}");
    let both = Roles { prediction: Some("y".into()), label: Some("y".into()), ..Roles::default() };
    let text = refused(&path, &both);
    assert!(text.contains("`y` is named as the prediction and as the label"), "{text}");
    let scores = Roles { scores: vec!["prediction".into(), "x".into()], ..Roles::default() };
    assert!(matches!(build(&path, &scores, &BuildOptions::default()), Err(BuildError::Clash { .. })));
    let ignored = Roles { ignore: ["prediction", "y", "x"].map(String::from).to_vec(), ..Roles::default() };
    assert!(matches!(build(&path, &ignored, &BuildOptions::default()), Err(BuildError::NoColumns)));
}

#[test]
fn roles_decide_names_and_order() {
    let dir = scratch();
    let path = write(&dir, "a.csv", "p,y,x,unused,decision\n0.5,1,3,a,yes\n0.25,0,4,b,no\n");
    let roles = Roles {
        prediction: Some("decision".into()),
        scores: vec!["p".into()],
        label: Some("y".into()),
        features: vec!["x".into()],
        ..Roles::default()
    };
    let baseline = build(&path, &roles, &BuildOptions::default()).expect("a baseline");
    let specs: Vec<(&str, Role)> = baseline.specs().map(|spec| (&*spec.name, spec.role)).collect();
    let expected = [
        ("x", Role::Feature),
        ("prediction", Role::Prediction),
        ("score", Role::Score),
        ("label", Role::Label),
    ];
    assert_eq!(specs, expected);
    assert_eq!(kind(&baseline, "label"), ColumnKind::Categorical, "few whole numbers are classes");
}

#[test]
fn values_of_other_types_in_json_are_counted_as_such() {
    let dir = scratch();
    let mut text = String::new();
    for row in 0..100 {
        let mixed = if row < 3 { "\"oops\"".to_owned() } else { row.to_string() };
        let names = if row % 2 == 0 { "\"a\"".to_owned() } else { row.to_string() };
        text.push_str(&format!("{{\"mixed\":{mixed},\"names\":{names},\"list\":[1],\"flag\":true}}\n"));
    }
    let baseline = plain(&write(&dir, "a.jsonl", &text));
    assert_eq!(kind(&baseline, "mixed"), ColumnKind::Numeric);
    assert_eq!(column(&baseline, "mixed").summary.anomalies().wrong_type, 3);
    assert_eq!(kind(&baseline, "names"), ColumnKind::Categorical);
    assert_eq!(counts(column(&baseline, "names"))[0], ("a".to_owned(), 50));
    assert!(baseline.specs().all(|spec| &*spec.name != "list"));
    assert!(
        baseline.notes.iter().any(|note| note.contains("`list` holds only arrays")),
        "{:?}",
        baseline.notes
    );
}

#[test]
fn many_names_are_counted_in_buckets_and_still_known() {
    let dir = scratch();
    let mut text = "city\n".to_owned();
    (0..1_000).for_each(|row| text.push_str(&format!("city {}\n", if row < 500 { row % 100 } else { row })));
    let baseline = plain(&write(&dir, "a.csv", &text));
    let city = column(&baseline, "city");
    let Shape::Categorical(categories) = &city.shape else { panic!("names") };
    assert_eq!((categories.top.len(), categories.rare.len(), categories.open), (200, 400, false));
    assert_eq!(categories.rare_singletons, Some(400));
    assert_eq!(city.summary.counts().get(categories.unseen()), 0);
    assert_eq!(city.summary.values(), 1_000);
}

#[test]
fn codes_and_numbers_that_are_names_keep_their_writing() {
    let dir = scratch();
    let path = write(&dir, "a.csv", "code,zip,x\n007,1e3,1\n7,1000,2\nA1,1000.0,3\n");
    let roles = Roles { categorical: vec!["zip".into()], ..Roles::default() };
    let baseline = build(&path, &roles, &BuildOptions::default()).expect("a baseline");
    let names: Vec<String> = counts(column(&baseline, "code")).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["007", "7", "A1"]);
    assert_eq!(counts(column(&baseline, "zip")), [("1000".to_owned(), 3)]);
}

#[test]
fn text_among_other_text_is_a_name_letter_by_letter() {
    let dir = scratch();
    let rows =
        [("1.10", "True", "NA", "male "), ("1.2", "False", "nan", "male"), ("1.2.3", "maybe", "x", "f")];
    let (mut csv, mut json) = ("version,flag,region,sex\n".to_owned(), String::new());
    for (version, flag, region, sex) in rows.into_iter().cycle().take(30) {
        csv.push_str(&format!("{version},{flag},{region},{sex}\n"));
        json.push_str(&format!(
            "{{\"version\":\"{version}\",\"flag\":\"{flag}\",\"region\":\"{region}\",\"sex\":\"{sex}\"}}\n"
        ));
    }
    let (csv, json) = (plain(&write(&dir, "a.csv", &csv)), plain(&write(&dir, "a.jsonl", &json)));
    let names: Vec<String> = counts(column(&csv, "version")).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["1.10", "1.2", "1.2.3"]);
    assert_eq!(csv.id, json.id, "events bring these values as the same strings");
}

#[test]
fn text_that_is_all_numbers_or_booleans_is_named_as_json_writes_it() {
    let dir = scratch();
    let csv = write(&dir, "a.csv", "class,flag\n1.0,True\n0.0,False\nNA,\n1.0,TRUE\n");
    let json = "{\"class\":1,\"flag\":true}\n{\"class\":0,\"flag\":false}\n{}\n{\"class\":1,\"flag\":true}\n";
    let json = write(&dir, "a.jsonl", json);
    for roles in [
        Roles { categorical: vec!["class".into()], ..Roles::default() },
        Roles { label: Some("class".into()), ..Roles::default() },
    ] {
        let of = |path| build(path, &roles, &BuildOptions::default()).expect("a baseline");
        let (csv, json) = (of(&csv), of(&json));
        let class = csv.columns.iter().find(|column| &*column.spec.name != "flag").expect("the class");
        assert_eq!(counts(class), [("1".to_owned(), 2), ("0".to_owned(), 1)]);
        assert_eq!(class.summary.anomalies().missing, 1);
        assert_eq!(csv.id, json.id);
    }
}

#[test]
fn an_index_column_without_a_name_is_left_out() {
    let dir = scratch();
    let baseline = plain(&write(&dir, "a.csv", ",x\n0,1\n1,2\n"));
    assert_eq!(baseline.specs().map(|spec| spec.name.to_string()).collect::<Vec<_>>(), ["x"]);
}

// === event time ===

fn panes_of(path: &Path, unit: Option<TimestampUnit>, pane: Span) -> Result<Vec<u64>, BuildError> {
    let roles = Roles { timestamp: Some("at".into()), ..Roles::default() };
    let options =
        BuildOptions { panes: Some((pane, Span::ZERO)), timestamp_unit: unit, ..BuildOptions::default() };
    let reference = build(path, &roles, &options)?.reference.expect("panes");
    Ok(reference.panes.iter().map(|(_, pane)| pane.rows.events).collect())
}

#[test]
fn times_are_read_in_each_form() {
    let dir = scratch();
    let file = |name, values: [&str; 3]| {
        let rows: Vec<String> = values.iter().map(|at| format!("{at},1\n")).collect();
        write(&dir, name, &format!("at,x\n{}", rows.concat()))
    };
    let seconds = file("s.csv", ["1767225600", "1767225601.5", "1767229200"]);
    let millis = file("ms.csv", ["1767225600000", "1767225601500", "1767229200000"]);
    let micros = file("us.csv", ["1767225600000000", "1767225601500000", "1767229200000000"]);
    let texts = file("t.csv", ["2026-01-01T00:00:00Z", "2026-01-01T01:00:01.5+01:00", "2026-01-01 01:00:00"]);
    for (path, unit) in [
        (&seconds, Some(TimestampUnit::Seconds)),
        (&millis, Some(TimestampUnit::Milliseconds)),
        (&micros, Some(TimestampUnit::Microseconds)),
        (&texts, None),
    ] {
        assert_eq!(panes_of(path, unit, HOUR).expect("panes"), [2, 1], "{}", path.display());
    }
    let text = panes_of(&seconds, None, HOUR).expect_err("no unit").to_string();
    assert!(text.contains("say their unit with --timestamp-unit s, ms or us"), "{text}");
}

#[test]
fn rows_without_time_and_panes_over_the_limit_are_left_out_and_noted() {
    let dir = scratch();
    let mut text = "at,x\n".to_owned();
    (0..8_196).for_each(|row| text.push_str(&format!("{row},{row}\n")));
    text.push_str("soon,1\n,2\n");
    let path = write(&dir, "a.csv", &text);
    let roles = Roles { timestamp: Some("at".into()), ..Roles::default() };
    let options = BuildOptions {
        panes: Some((Span::from_secs(1), Span::ZERO)),
        timestamp_unit: Some(TimestampUnit::Seconds),
        ..BuildOptions::default()
    };
    let baseline = build(&path, &roles, &options).expect("a baseline");
    let reference = baseline.reference.as_ref().expect("panes");
    assert_eq!((reference.panes.len(), reference.rows_left_out), (8_192, 6));
    let notes = baseline.notes.join("\n");
    assert!(notes.contains("2 rows have no time in `at`"), "{notes}");
    assert!(notes.contains("4 rows are older than the newest 8192 panes"), "{notes}");
    assert_eq!(column(&baseline, "x").summary.values(), 8_198, "the whole still has every row");
}

// === the file ===

fn with_time(dir: &TempDir) -> Baseline {
    let mut text = "at,x,name\n".to_owned();
    for row in 0..500 {
        let (hour, minute) = (row / 60, row % 60);
        text.push_str(&format!("2026-01-01T{hour:02}:{minute:02}:00Z,{},{}\n", row * row % 97, row % 4));
    }
    let path = write(dir, "timed.csv", &text);
    let roles = Roles { timestamp: Some("at".into()), ..Roles::default() };
    let options = BuildOptions { panes: Some((HOUR, Span::ZERO)), ..BuildOptions::default() };
    let built = build(&path, &roles, &options).expect("a baseline");
    Baseline { model: Some("fraud".into()), version: Some("7".into()), ..built }.sealed()
}

#[test]
fn a_file_is_read_back_as_it_was_written_and_twice_the_same() {
    let dir = scratch();
    let baseline = with_time(&dir);
    let (first, second) = (dir.path().join("a.baseline"), dir.path().join("b.baseline"));
    baseline.write(&first).expect("written");
    with_time(&dir).write(&second).expect("written");
    assert_eq!(fs::read(&first).expect("read"), fs::read(&second).expect("read"));
    let read = Baseline::read(&first).expect("read");
    assert_eq!(format!("{read:?}"), format!("{baseline:?}"));
    assert_eq!(read.sealed().id, baseline.id);
    let left: Vec<_> = fs::read_dir(dir.path()).expect("listed").filter_map(Result::ok).collect();
    assert_eq!(left.len(), 3, "no draft is left behind: {left:?}");
}

#[test]
fn every_cut_and_every_flipped_bit_is_refused() {
    let dir = scratch();
    let path = dir.path().join("a.baseline");
    with_time(&dir).write(&path).expect("written");
    let bytes = fs::read(&path).expect("read");
    for end in (0..bytes.len()).step_by(bytes.len() / 50) {
        fs::write(&path, &bytes[..end]).expect("written");
        assert!(Baseline::read(&path).is_err(), "cut at {end}");
    }
    for at in (0..bytes.len()).step_by(bytes.len() / 200) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, &damaged).expect("written");
        // A few bytes of the gzip header say nothing: time, system.
        assert!(Baseline::read(&path).is_err() || at < 10, "bit flipped at {at}");
    }
    fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
    let text = Baseline::read(&path).expect_err("cut").to_string();
    assert!(text.contains("is damaged (it ends early): restore it from a copy"), "{text}");
}

#[test]
fn newer_and_foreign_files_are_refused_with_what_to_do() {
    let dir = scratch();
    let newer = "{\"format\":\"driftline-baseline\",\"version\":4,\"sha256\":\"\"}\n{}";
    let text = Baseline::read(&write_gzip(&dir, "newer", newer)).expect_err("newer").to_string();
    assert!(text.contains("format 4") && text.contains("upgrade driftline"), "{text}");
    let altered = "{\"format\":\"driftline-baseline\",\"version\":1,\"sha256\":\"ab\"}\n{}";
    let text = Baseline::read(&write_gzip(&dir, "altered", altered)).expect_err("altered").to_string();
    assert!(text.contains("its hash does not match"), "{text}");
    for path in
        [write(&dir, "a.csv", "x\n1\n"), write(&dir, "none", ""), write_gzip(&dir, "x.csv.gz", "x\n1\n")]
    {
        let text = Baseline::read(&path).expect_err("foreign").to_string();
        assert!(text.contains("is no baseline file: make one with `driftline baseline build`"), "{text}");
    }
}

#[test]
fn a_file_of_format_1_is_still_read() {
    let baseline = Baseline::read(Path::new("tests/fixtures/format-1.baseline")).expect("read");
    assert_eq!(
        baseline.id.to_string(),
        fs::read_to_string("tests/fixtures/format-1.id").expect("read").trim()
    );
    assert_eq!((baseline.model.as_deref(), baseline.version.as_deref()), (Some("fraud"), Some("7")));
    assert_eq!((baseline.rows, baseline.columns.len()), (500, 2));
    assert_eq!(baseline.reference.as_ref().map(|reference| reference.panes.len()), Some(9));
    assert!(baseline.segments.is_empty() && baseline.columns.iter().all(|column| column.extremes.is_none()));
    let id = baseline.id;
    assert_eq!(baseline.sealed().id, id, "what is not there alters no id");
}

#[test]
fn a_file_of_format_2_is_still_read_and_written_byte_by_byte() {
    let path = Path::new("tests/fixtures/format-2.baseline");
    let baseline = Baseline::read(path).expect("read");
    let id = fs::read_to_string("tests/fixtures/format-2.id").expect("read");
    assert_eq!(baseline.id.to_string(), id.trim());
    assert_eq!((baseline.rows, baseline.columns.len(), baseline.segments.len()), (300, 4, 3));
    assert!(baseline.outcomes.is_none());
    let dir = scratch();
    let again = dir.path().join("again.baseline");
    baseline.write(&again).expect("written");
    let content = |path: &Path| {
        let mut text = String::new();
        let file = fs::File::open(path).expect("a file");
        GzDecoder::new(file).read_to_string(&mut text).expect("text");
        text
    };
    assert_eq!(content(&again), content(path));
}

// === the commands ===

fn driftline(dir: &TempDir, arguments: &[&str], input: &str) -> Output {
    let program = env!("CARGO_BIN_EXE_driftline");
    let mut child = Command::new(program)
        .arg("baseline")
        .args(arguments)
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    // A command that stops before it has read everything is right to close the pipe.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr_of_mistake(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    text
}

#[test]
fn standard_input_is_built_and_its_copy_removed() {
    let dir = scratch();
    let csv = rows_as(true);
    let output = driftline(&dir, &["build", "-", "--format", "csv", "-o", "a.baseline"], &csv);
    let text = stdout(&output);
    let id = plain(&write(&dir, "a.csv", &csv)).id.to_string();
    assert!(text.contains(&id) && text.contains("rows     600"), "{text}");
    let names: Vec<_> = fs::read_dir(dir.path()).expect("listed").filter_map(Result::ok).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let text = stderr_of_mistake(&driftline(&dir, &["build", "-", "-o", "b.baseline"], &csv));
    assert!(text.contains("add --format"), "{text}");
    let output =
        driftline(&dir, &["build", "-", "--format", "jsonl", "-o", "b.baseline"], "{\"x\":1}\n{oops\n");
    let text = stderr_of_mistake(&output);
    assert!(text.contains("standard input, line 2"), "{text}");
    assert!(!dir.path().join("b.baseline").exists());
}

#[test]
fn roles_and_panes_come_from_the_configuration_and_flags_win() {
    let dir = scratch();
    let config = r#"
[service]
data_dir = "data"
[kafka]
brokers = "localhost:9092"
[[stream]]
topic = "t"
[stream.fields]
model = "/model"
timestamp = "/ts"
timestamp_unit = "ms"
features = "/features"
[[channel]]
name = "chat"
kind = "slack"
url = "env:DRIFTLINE_TEST_VARIABLE_THAT_NOBODY_SETS"
[[model]]
name = "fraud"
baseline = "not-there-yet.baseline"
windows = ["6h", "1d"]
channels = ["chat"]
[model.training]
timestamp = "at"
label = "y"
"#;
    write(&dir, "driftline.toml", config);
    write(
        &dir,
        "t.csv",
        "at,x,y\n2026-01-01T00:00:00Z,1,a\n2026-01-01T05:00:00Z,2,b\n2026-01-01T06:00:00Z,3,b\n",
    );
    let from_config = ["build", "t.csv", "-o", "f.baseline", "--config", "driftline.toml"];
    let text = stdout(&driftline(&dir, &from_config, ""));
    assert!(text.contains("panes    2 of 6h"), "{text}");
    let built = Baseline::read(&dir.path().join("f.baseline")).expect("read");
    assert_eq!(built.model.as_deref(), Some("fraud"));
    assert_eq!(column(&built, "label").spec.role, Role::Label);
    let with_flag = [&from_config[..], &["--pane", "1h", "--model-version", "7"]].concat();
    assert!(stdout(&driftline(&dir, &with_flag, "")).contains("panes    3 of 1h"));
    let wrong = [&from_config[..], &["--model", "fruad"]].concat();
    let text = stderr_of_mistake(&driftline(&dir, &wrong, ""));
    assert!(text.contains("no model `fruad`, only fraud"), "{text}");
    let text = stderr_of_mistake(&driftline(&dir, &["build", "t.csv", "-o", "f", "--pane", "1h"], ""));
    assert!(text.contains("--timestamp"), "{text}");
}

#[test]
fn show_tells_columns_and_reference_windows() {
    let dir = scratch();
    let baseline = with_time(&dir);
    baseline.write(&dir.path().join("a.baseline")).expect("written");
    let text = stdout(&driftline(&dir, &["show", "a.baseline"], ""));
    assert!(text.contains(&baseline.id.to_string()) && text.contains("fraud, version 7"), "{text}");
    assert!(text.contains("9 panes of 1h") && text.contains("its own included"), "{text}");
    let text = stdout(&driftline(&dir, &["show", "a.baseline", "--json", "--windows", "1h,3h"], ""));
    let object: Value = serde_json::from_str(&text).expect("one object");
    assert_eq!(object["id"], baseline.id.to_string());
    assert_eq!((&object["rows"], &object["model"]), (&500.into(), &"fraud".into()));
    assert_eq!(object["columns"][0]["name"], "x");
    let windows = object["reference"]["windows"].as_array().expect("windows");
    assert_eq!((&windows[0]["windows"], &windows[1]["windows"]), (&9.into(), &3.into()));
    let largest = windows[0]["columns"][0]["largest"].as_f64().expect("a distance");
    let longer = windows[1]["columns"][0]["largest"].as_f64().expect("a distance");
    assert!(largest > longer && longer > 0.0, "longer windows lie nearer: {largest} {longer}");
    let text = stderr_of_mistake(&driftline(&dir, &["show", "a.baseline", "--windows", "90m"], ""));
    assert!(text.contains("windows of 1h30m are not made of the baseline's panes of 1h"), "{text}");
    let text = stderr_of_mistake(&driftline(&dir, &["show", "timed.csv"], ""));
    assert!(text.contains("is no baseline file"), "{text}");
}

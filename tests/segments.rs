//! Segments of the training rows, from outside: what is counted, the limits, the file, and the commands.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use driftline::baseline::read::MemoryTable;
use driftline::baseline::{
    Baseline, BuildOptions, CELLS_MAX, Roles, Segment, build, build_table, count_table, plan_table,
};
use driftline::event::decode::TimestampUnit;
use driftline::event::{OTHER_SEGMENT, Span, Timestamp};
use driftline::summary::{ColumnSummary, ModelSummary};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A row: its second, if that is known, a number, and its segment.
type Row = (Option<i64>, f64, Option<String>);

const MINUTE: Span = Span::from_secs(60);

fn roles() -> Roles {
    Roles { timestamp: Some("at".into()), segment: Some("country".into()), ..Roles::default() }
}

fn options() -> BuildOptions<'static> {
    BuildOptions {
        panes: Some((MINUTE, Span::ZERO)),
        timestamp_unit: Some(TimestampUnit::Seconds),
        ..BuildOptions::default()
    }
}

/// The rows as a table that gives `size` of them at a time.
fn table(rows: &[Row], size: usize) -> MemoryTable<impl Fn() -> std::vec::IntoIter<RecordBatch> + use<>> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("at", DataType::Int64, true),
        Field::new("x", DataType::Float64, true),
        Field::new("country", DataType::Utf8, true),
    ]));
    let batches: Vec<RecordBatch> = rows
        .chunks(size)
        .map(|rows| {
            let columns: Vec<ArrayRef> = vec![
                Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
                Arc::new(rows.iter().map(|row| Some(row.1)).collect::<Float64Array>()),
                Arc::new(rows.iter().map(|row| row.2.as_deref()).collect::<StringArray>()),
            ];
            RecordBatch::try_new(schema.clone(), columns).expect("a batch")
        })
        .collect();
    MemoryTable::new(&schema, move || batches.clone().into_iter())
}

/// 6,000 rows of seven countries of very different sizes; some have no time, some no country.
fn sample() -> Vec<Row> {
    (0..6_000_i64)
        .map(|k| {
            let country = match k % 64 {
                0..=31 => "DE",
                32..=47 => "FR",
                48..=55 => "IT",
                56..=59 => "ES",
                60 => "PT",
                61 => "AT",
                62 => "CH",
                _ => return (Some(k), 0.0, None),
            };
            let time = (k % 97 > 0).then_some(k);
            (time, (k * 7919 % 6_007) as f64 + country.len() as f64, Some(country.to_owned()))
        })
        .collect()
}

fn build_sample(size: usize) -> Baseline {
    build_table(&table(&sample(), size), &roles(), &options()).expect("a baseline")
}

fn counts_by_hand(all: &[Row], kept: impl Fn(&Row) -> bool) -> Vec<ColumnSummary> {
    let shapes = plan_table(&table(all, 1_000), &roles(), &options()).expect("a plan").columns;
    let rows: Vec<Row> = all.iter().filter(|row| kept(row)).cloned().collect();
    count_table(&table(&rows, 1_000), shapes).expect("counts").columns
}

fn names(baseline: &Baseline) -> Vec<(&str, u64)> {
    baseline.segments.iter().map(|segment| (segment.name.as_str(), segment.rows())).collect()
}

fn same_counts(summary: &ModelSummary, columns: &[ColumnSummary]) {
    assert_eq!(summary.columns, columns);
}

// === counts ===

#[test]
fn a_segment_counts_what_the_filtered_table_holds() {
    let (rows, baseline) = (sample(), build_sample(1_000));
    assert_eq!(baseline.segments.len(), 7);
    for segment in &baseline.segments {
        let is_its = |row: &Row| row.2.as_ref() == Some(&segment.name);
        same_counts(&segment.total, &counts_by_hand(&rows, is_its));
        assert_eq!(segment.rows(), rows.iter().filter(|row| is_its(row)).count() as u64);
        let panes: Vec<(Timestamp, ModelSummary)> = segment.panes().collect();
        assert_eq!(panes.len(), segment.panes_len());
        assert!(panes.is_sorted_by(|a, b| a.0 < b.0));
        let timed: u64 = panes.iter().map(|(_, pane)| pane.rows.events).sum();
        assert_eq!(timed, rows.iter().filter(|row| is_its(row) && row.0.is_some()).count() as u64);
        let (start, pane) = panes.get(1).expect("some panes");
        let second = start.as_micros() / 1_000_000;
        let in_pane = |row: &Row| row.0.is_some_and(|at| (second..second + 60).contains(&at));
        same_counts(pane, &counts_by_hand(&rows, |row| is_its(row) && in_pane(row)));
    }
}

#[test]
fn segments_and_rows_without_one_are_all_rows() {
    let (rows, baseline) = (sample(), build_sample(1_000));
    let missing = rows.iter().filter(|row| row.2.is_none()).count() as u64;
    let in_segments: u64 = baseline.segments.iter().map(Segment::rows).sum();
    assert_eq!(in_segments + missing, baseline.rows);
    assert!(missing > 0);
    let reference = baseline.reference.as_ref().expect("panes");
    assert!(baseline.segments.iter().flat_map(Segment::panes).all(|(start, pane)| {
        let whole = reference.panes.iter().find(|(known, _)| *known == start).expect("a pane of the whole");
        whole.1.rows.events >= pane.rows.events
    }));
}

#[test]
fn a_segment_is_found_by_its_name() {
    let baseline = build_sample(1_000);
    assert_eq!(baseline.segment("FR").map(|segment| segment.name.as_str()), Some("FR"));
    assert!(baseline.segment("fr").is_none() && baseline.segment(OTHER_SEGMENT).is_none());
    assert!(baseline.specs().any(|spec| &*spec.name == "country"), "it stays a feature");
}

#[test]
fn an_ignored_column_can_be_the_segment_and_the_timestamp_cannot() {
    let ignored = Roles { ignore: vec!["country".into()], ..roles() };
    let baseline = build_table(&table(&sample(), 1_000), &ignored, &options()).expect("a baseline");
    assert_eq!(names(&baseline), names(&build_sample(1_000)));
    assert_eq!(baseline.columns.len(), 1);
    let refused = |segment: &str| {
        let roles = Roles { segment: Some(segment.into()), ..roles() };
        build_table(&table(&sample(), 1_000), &roles, &options()).expect_err("refused").to_string()
    };
    assert_eq!(
        refused("at"),
        "the column `at` is named as the timestamp and as the segment: a column has one role"
    );
    assert!(refused("contry").contains("no column `contry`, did you mean `country`?"));
}

#[test]
fn without_a_segment_column_there_are_none_and_without_times_no_panes() {
    let rows = table(&sample(), 1_000);
    let plain = Roles { segment: None, ..roles() };
    assert!(build_table(&rows, &plain, &options()).expect("a baseline").segments.is_empty());
    let untimed = Roles { timestamp: None, ..roles() };
    let baseline = build_table(&rows, &untimed, &options()).expect("a baseline");
    assert_eq!(baseline.segments.len(), 7);
    assert!(baseline.segments.iter().all(|segment| segment.panes_len() == 0));
    assert!(baseline.columns.iter().all(|column| column.extremes.is_none()));
}

#[test]
fn the_baseline_does_not_depend_on_the_size_of_chunks() {
    let whole = build_sample(6_000);
    for size in [1_000, 333, 17] {
        let other = build_sample(size);
        assert_eq!((other.id, names(&other)), (whole.id, names(&whole)), "{size}");
    }
    let extremes = whole.columns.first().and_then(|column| column.extremes.clone()).expect("extremes");
    assert_eq!((extremes.low.len(), extremes.high.len()), (64, 64));
}

// === names ===

fn segments_of(dir: &TempDir, file: &str, text: &str) -> Vec<String> {
    let path = write(dir, file, text);
    let roles = Roles { segment: Some("s".into()), ..Roles::default() };
    let baseline = build(&path, &roles, &BuildOptions::default()).expect("a baseline");
    baseline.segments.into_iter().map(|segment| segment.name).collect()
}

fn write(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, text).expect("written");
    path
}

#[test]
fn a_segment_is_named_as_events_name_it() {
    let dir = TempDir::new().expect("a directory");
    let text = "s,x\n3.0,1\n3,2\n10,3\nNA,4\n,5\n";
    assert_eq!(segments_of(&dir, "numbers.csv", text), ["10", "3"]);
    assert_eq!(segments_of(&dir, "flags.csv", "s,x\nTrue,1\nFALSE,2\n"), ["false", "true"]);
    assert_eq!(segments_of(&dir, "codes.csv", "s,x\n1.10,1\nv2,2\nTrue,3\n"), ["1.10", "True", "v2"]);
    let long = "é".repeat(200);
    let json = format!(
        "{{\"s\":2.0,\"x\":1}}\n{{\"s\":true,\"x\":2}}\n{{\"s\":[1],\"x\":3}}\n{{\"s\":null,\"x\":4}}\n\
         {{\"x\":5}}\n{{\"s\":\"2.0\",\"x\":6}}\n{{\"s\":\"{long}\",\"x\":7}}\n{{\"s\":{{}},\"x\":8}}\n"
    );
    assert_eq!(segments_of(&dir, "mixed.jsonl", &json), ["2", "2.0", "true", &"é".repeat(128)]);
}

// === limits ===

#[test]
fn values_over_the_limit_are_counted_together() {
    let limited = BuildOptions { segments_max: Some(3), ..options() };
    let rows = sample();
    let baseline = build_table(&table(&rows, 500), &roles(), &limited).expect("a baseline");
    let found: Vec<&str> = names(&baseline).into_iter().map(|(name, _)| name).collect();
    assert_eq!(found, ["(other)", "DE", "FR", "IT"]);
    let other = baseline.segment(OTHER_SEGMENT).expect("the others");
    let is_other =
        |row: &Row| row.2.as_ref().is_some_and(|name| !["DE", "FR", "IT"].contains(&name.as_str()));
    same_counts(&other.total, &counts_by_hand(&rows, is_other));
    let notes = baseline.notes.join("\n");
    assert!(notes.contains("`country` has 7 values: the 3 commonest are told apart"), "{notes}");
}

#[test]
fn equal_segments_are_kept_in_the_order_of_their_names() {
    let rows: Vec<Row> = (0..90).map(|k| (Some(k), k as f64, Some(format!("s{}", 9 - k % 9)))).collect();
    let limited = BuildOptions { segments_max: Some(2), ..options() };
    let baseline = build_table(&table(&rows, 7), &roles(), &limited).expect("a baseline");
    assert_eq!(names(&baseline), [("(other)", 70), ("s1", 10), ("s2", 10)]);
}

#[test]
fn a_value_called_like_the_others_is_one_of_them() {
    let rows: Vec<Row> = (0..30)
        .map(|k| (Some(k), k as f64, Some(if k % 3 == 0 { "a" } else { OTHER_SEGMENT }.to_owned())))
        .collect();
    let baseline = build_table(&table(&rows, 7), &roles(), &options()).expect("a baseline");
    assert_eq!(names(&baseline), [(OTHER_SEGMENT, 20), ("a", 10)]);
}

#[test]
fn too_many_panes_leave_the_smallest_segments_their_totals() {
    // Six segments with a row in each of 3,500 panes: four of them fit, one of which has more rows.
    let panes = 3_500_i64;
    assert_eq!(CELLS_MAX as i64 / panes, 4);
    let mut rows: Vec<Row> = (0..panes)
        .flat_map(|pane| (0..6).map(move |s| (Some(pane * 60), (pane + s) as f64, Some(format!("s{s}")))))
        .collect();
    rows.push((Some(0), 1.0, Some("s5".into())));
    let of = |rows: &[Row], size| build_table(&table(rows, size), &roles(), &options()).expect("a baseline");
    let baseline = of(&rows, 4_096);
    let panes_of =
        |baseline: &Baseline| -> Vec<usize> { baseline.segments.iter().map(Segment::panes_len).collect() };
    assert_eq!(panes_of(&baseline), [3_500, 3_500, 3_500, 0, 0, 3_500]);
    assert!(baseline.segments.iter().all(|segment| segment.rows() >= 3_500));
    let notes = baseline.notes.join("\n");
    assert!(
        notes.contains("more than 16384 panes together: the 2 smallest keep their totals only"),
        "{notes}"
    );
    rows.reverse();
    let reversed = of(&rows, 1_111);
    assert_eq!(panes_of(&reversed), panes_of(&baseline));
    assert_eq!(reversed.segments, baseline.segments);
}

// === the file ===

fn content_of(path: &Path) -> Value {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut GzDecoder::new(fs::File::open(path).expect("a file")), &mut text)
        .expect("read");
    serde_json::from_str(text.split_once('\n').expect("two lines").1).expect("content")
}

/// Writes a file whose hash is right, whatever its content is.
fn forge(path: &Path, content: &Value) {
    let content = content.to_string();
    let hash: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    let header = json!({ "format": "driftline-baseline", "version": 2, "sha256": hash });
    let mut packed = GzEncoder::new(fs::File::create(path).expect("a file"), Compression::fast());
    packed.write_all(format!("{header}\n{content}").as_bytes()).expect("written");
    packed.finish().expect("finished");
}

#[test]
fn segments_and_extremes_are_read_back_and_belong_to_the_id() {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("a.baseline");
    let baseline = build_sample(1_000);
    baseline.write(&path).expect("written");
    let read = Baseline::read(&path).expect("read");
    assert_eq!((read.id, &read.segments), (baseline.id, &baseline.segments));
    assert_eq!(format!("{:?}", read.columns), format!("{:?}", baseline.columns));
    let id = |change: &dyn Fn(&mut Baseline)| {
        let mut changed = baseline.clone();
        change(&mut changed);
        changed.sealed().id
    };
    assert_eq!(id(&|_| {}), baseline.id);
    assert_ne!(id(&|changed| drop(changed.segments.pop())), baseline.id);
    assert_ne!(id(&|changed| changed.columns[0].extremes = None), baseline.id);
}

#[test]
fn a_file_whose_segments_or_extremes_cannot_be_is_refused() {
    let dir = TempDir::new().expect("a directory");
    let (good, bad) = (dir.path().join("good.baseline"), dir.path().join("bad.baseline"));
    build_sample(1_000).write(&good).expect("written");
    let content = content_of(&good);
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut changed = content.clone();
        change(&mut changed);
        forge(&bad, &changed);
        Baseline::read(&bad).map(|_| ()).expect_err("refused").to_string()
    };
    forge(&bad, &content);
    assert!(Baseline::read(&bad).is_ok());
    let foreign =
        build_table(&table(&sample(), 999), &Roles { ignore: vec!["x".into()], ..roles() }, &options());
    foreign.expect("a baseline").write(&bad).expect("written");
    let foreign = content_of(&bad);
    let fewer_columns = refused(&|c| c["segments"][0]["total"] = foreign["segments"][0]["total"].clone());
    assert!(fewer_columns.contains("do not belong to its columns"), "{fewer_columns}");
    let pane = refused(&|c| c["segments"][0]["panes"][0][1] = foreign["segments"][0]["panes"][0][1].clone());
    assert!(pane.contains("do not belong to its columns"), "{pane}");
    let start = refused(&|c| c["segments"][0]["panes"][0][0] = json!("1969-01-01T00:00:00Z"));
    assert!(start.contains("are not those of the reference"), "{start}");
    let twice = refused(&|c| c["segments"][1] = c["segments"][0].clone());
    assert!(twice.contains("not sorted by name"), "{twice}");
    let rows = refused(&|c| c["rows"] = json!(10));
    assert!(rows.contains("more rows than all of it"), "{rows}");
    let more = refused(&|c| c["segments"][1]["total"] = c["segments"][0]["panes"][0][1].clone());
    assert!(more.contains("fewer rows than its panes"), "{more}");
    let damaged = refused(&|c| c["segments"][0]["panes"][0][1] = json!("AAAA"));
    assert!(damaged.contains("is damaged"), "{damaged}");
    for (key, value) in [
        ("rows", json!(0)),
        ("value", json!(1e300)),
        ("times", json!(["2020-01-01T00:00:00Z", "1960-01-01T00:00:00Z"])),
    ] {
        let text = refused(&|c| c["columns"][0]["extremes"]["low"][3][key] = value.clone());
        assert!(text.contains("the extremes of `x`"), "{key}: {text}");
    }
    let names = refused(&|c| c["columns"][1]["extremes"] = json!({ "low": [], "high": [] }));
    assert!(names.contains("the extremes of `country`"), "{names}");
}

// === the commands ===

fn driftline(dir: &TempDir, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_driftline"))
        .arg("baseline")
        .args(arguments)
        .current_dir(dir.path())
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_commands_build_and_show_segments() {
    let dir = TempDir::new().expect("a directory");
    let mut text = "at,x,country\n".to_owned();
    (0..120).for_each(|row| {
        let country = ["DE", "DE", "FR", ""][row % 4];
        text.push_str(&format!("{},{row},{country}\n", row * 60));
    });
    write(&dir, "t.csv", &text);
    let timed = ["build", "t.csv", "-o", "a.baseline", "--timestamp", "at", "--timestamp-unit", "s"];
    let text = driftline(&dir, &[&timed[..], &["--segment", "country"]].concat());
    assert!(text.contains("segments 2, with 90 rows"), "{text}");
    let text = driftline(&dir, &["show", "a.baseline"]);
    assert!(text.contains("30 rows in no segment"), "{text}");
    let line = text.lines().find(|line| line.starts_with("DE ")).expect("a line");
    assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["DE", "60", "50.0", "%", "2"], "{line}");
    let object: Value =
        serde_json::from_str(&driftline(&dir, &["show", "a.baseline", "--json"])).expect("JSON");
    let expected = json!([
        { "name": "DE", "rows": 60, "share": 0.5, "panes": 2 },
        { "name": "FR", "rows": 30, "share": 0.25, "panes": 2 },
    ]);
    assert_eq!(object["segments"], expected);
    driftline(&dir, &timed);
    assert!(driftline(&dir, &["show", "a.baseline"]).contains("no segments"));
}

#[test]
fn the_configuration_names_the_segment_its_limit_and_the_unit_of_time() {
    let dir = TempDir::new().expect("a directory");
    let config = "[service]\ndata_dir = \"data\"\n[[model]]\nname = \"m\"\nbaseline = \"m.baseline\"\n\
                  segments_max = 1\n[model.training]\ntimestamp = \"at\"\ntimestamp_unit = \"ms\"\n\
                  segment = \"country\"\n";
    write(&dir, "driftline.toml", config);
    write(&dir, "t.csv", "at,x,country\n0,1,DE\n1000,2,DE\n7200000,3,FR\n");
    driftline(&dir, &["build", "t.csv", "-o", "m.baseline", "--config", "driftline.toml"]);
    let baseline = Baseline::read(&dir.path().join("m.baseline")).expect("read");
    assert_eq!(names(&baseline), [("(other)", 1), ("DE", 2)]);
    assert_eq!(baseline.reference.map(|reference| reference.panes.len()), Some(2));
}

#[test]
fn no_value_at_all_is_noted() {
    let rows: Vec<Row> = (0..30).map(|k| (Some(k), k as f64, None)).collect();
    let baseline = build_table(&table(&rows, 7), &roles(), &options()).expect("a baseline");
    assert!(baseline.segments.is_empty());
    assert!(baseline.notes.iter().any(|note| note.contains("no row has a value in `country`")));
}

//! What becomes of records and values, by example and against `serde_json` as a second opinion.

use std::collections::BTreeMap;
use std::fmt::Write;

use arrow::array::Array;
use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;
use crate::event::decode::FeatureMapping;
use crate::event::{
    ColumnKind, ColumnSpec, NAME_BYTES_MAX, Origin, Role, Timestamp, WRONG_TYPE_NAME, canonical_number,
    cut_name, is_wrong_type,
};

// === a stream to decode ===

fn column(name: &str, role: Role, kind: ColumnKind) -> ColumnSpec {
    ColumnSpec { name: name.into(), role, kind }
}

fn schema() -> EventSchema {
    use ColumnKind::{Categorical, Numeric};
    EventSchema::new(vec![
        column("n", Role::Feature, Numeric),
        column("c", Role::Feature, Categorical),
        column("in", Role::Feature, Numeric),
        column("el", Role::Feature, Numeric),
        column("c as number", Role::Feature, Numeric),
        column("prediction", Role::Prediction, Categorical),
        column("score", Role::Score, Numeric),
        column("label", Role::Label, Numeric),
        column("unmapped", Role::Feature, Numeric),
    ])
}

const N: usize = EventSchema::FIRST;
const C: usize = N + 1;
const IN: usize = N + 2;
const EL: usize = N + 3;
const C_AS_NUMBER: usize = N + 4;

fn pointers(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, pointer)| ((*name).to_owned(), (*pointer).to_owned())).collect()
}

fn mapping() -> Mapping {
    Mapping {
        model: Field::Pointer("/m".into()),
        version: Some(Field::Pointer("/v".into())),
        timestamp: "/t".into(),
        timestamp_unit: TimestampUnit::Milliseconds,
        id: Some("/id".into()),
        features: FeatureMapping::Listed(pointers(&[
            ("n", "/f/n"),
            ("c", "/f/c"),
            ("in", "/f/o/in"),
            ("el", "/f/a/1"),
            ("c as number", "/f/c"),
        ])),
        prediction: Some("/p".into()),
        scores: pointers(&[("score", "/s")]),
        label: Some("/l".into()),
        latency_ms: Some("/ms".into()),
        segment: Some("/f/c".into()),
    }
}

fn decoder_of(mapping: &Mapping) -> JsonDecoder {
    JsonDecoder::new(mapping, &schema(), RecordLimits::default())
}

fn raw<T: AsRef<[u8]>>(records: &[T]) -> RawBatch {
    let mut raw = RawBatch::new(0, Origin { topic: "topic".into(), partition: 3 });
    for (offset, record) in (0..).zip(records) {
        raw.push(offset, Timestamp::default(), record.as_ref());
    }
    raw
}

fn decode<T: AsRef<[u8]>>(records: &[T]) -> Decoded {
    let decoded = decoder_of(&mapping()).decode(&raw(records));
    assert_eq!(decoded.batch.len() + decoded.rejected.len(), records.len());
    decoded
}

/// A record with these members beside the model and the timestamp.
fn record(members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    format!(r#"{{"m":"fraud","t":1000{comma}{members}}}"#)
}

fn one(members: &str) -> EventBatch {
    let decoded = decode(&[record(members)]);
    assert_eq!(decoded.rejected, vec![], "{members}");
    decoded.batch
}

fn reject(bytes: impl AsRef<[u8]>) -> (RejectReason, String) {
    let decoded = decode(&[bytes]);
    let rejected = decoded.rejected.into_iter().next().expect("a reject");
    (rejected.reason, rejected.detail)
}

fn number(batch: &EventBatch, column: usize) -> Option<f64> {
    let numbers = batch.numbers(column);
    (!numbers.is_null(0)).then(|| numbers.value(0))
}

fn name(batch: &EventBatch, column: usize) -> Option<String> {
    batch.names(column).get(0).map(str::to_owned)
}

fn id(batch: &EventBatch) -> Option<String> {
    (!batch.ids().is_null(0)).then(|| batch.ids().value(0).to_owned())
}

// === records ===

#[test]
fn an_event_fills_every_column() {
    let members = r#""v":7,"id":"e-1","f":{"n":1.5,"c":"red","o":{"in":-2},"a":[0,9,8]},
        "p":true,"s":0.25,"l":1,"ms":12.5,"unknown":{"deep":[1,{"x":null}]}"#;
    let batch = one(members);
    assert_eq!((batch.rows(), batch.timestamps()), ([0].as_slice(), [1_000_000].as_slice()));
    assert_eq!(name(&batch, EventSchema::MODEL).as_deref(), Some("fraud"));
    assert_eq!(name(&batch, EventSchema::VERSION).as_deref(), Some("7"));
    assert_eq!(name(&batch, EventSchema::SEGMENT).as_deref(), Some("red"));
    assert_eq!(id(&batch).as_deref(), Some("e-1"));
    assert_eq!(number(&batch, EventSchema::LATENCY), Some(12.5));
    assert_eq!(number(&batch, N), Some(1.5));
    assert_eq!(name(&batch, C).as_deref(), Some("red"));
    assert_eq!(number(&batch, IN), Some(-2.0));
    assert_eq!(number(&batch, EL), Some(9.0));
    assert!(number(&batch, C_AS_NUMBER).is_some_and(is_wrong_type));
    assert_eq!(name(&batch, C_AS_NUMBER + 1).as_deref(), Some("true"));
    assert_eq!(number(&batch, C_AS_NUMBER + 2), Some(0.25));
    assert_eq!(number(&batch, C_AS_NUMBER + 3), Some(1.0));
    assert_eq!(number(&batch, C_AS_NUMBER + 4), None);
}

#[test]
fn a_tombstone_and_white_space_are_empty() {
    for bytes in ["", " ", "\n\t\r "] {
        assert_eq!(reject(bytes).0, RejectReason::Empty);
    }
}

#[test]
fn a_record_over_the_limit_is_too_large() {
    let limits = RecordLimits { bytes_max: 20, ..RecordLimits::default() };
    let mut decoder = JsonDecoder::new(&mapping(), &schema(), limits);
    let decoded = decoder.decode(&raw(&[r#"{"m":"fraud","t":10}"#, r#"{"m":"fraud","t":100}"#]));
    assert_eq!(decoded.batch.rows(), [0]);
    assert_eq!(decoded.rejected[0].reason, RejectReason::TooLarge);
}

#[test]
fn malformed_records_are_refused_with_their_position() {
    for (bytes, at) in [
        (r#"{"m":"fraud","t":1000"#, 21),
        (r#"{"m":"fraud","t":1000}}"#, 22),
        (r#"{"m":"fraud","t":1000}{"m":"fraud","t":1000}"#, 22),
        (r#"{"m":"fraud" "t":1000}"#, 13),
        (r#"{"m":"fraud","t":01000}"#, 17),
        (r#"{"m":"fraud","t":1000,}"#, 22),
        (r#"{"m":"fraud","x":tru}"#, 17),
        (r#"{"m":"fraud","x":[1,]}"#, 20),
        (r#"{"m":"fraud","x":{"y"}}"#, 21),
        (r#"{"m":"fraud","x":NaN}"#, 17),
        (r#"{"m":"\x"}"#, 7),
        ("{\"m\":\"a\u{1}\"}", 7),
        (r#"{'m':1}"#, 1),
        ("\u{feff}{}", 0),
    ] {
        let (reason, detail) = reject(bytes);
        assert_eq!(reason, RejectReason::Malformed, "{bytes}");
        assert!(detail.ends_with(&format!("at byte {at}")), "{bytes}: {detail}");
    }
}

#[test]
fn half_of_a_surrogate_pair_is_malformed() {
    for text in [r"\ud83d", r"\ude00", r"\ud83d\n", r"\ud83d\u0041", r"\u12"] {
        assert_eq!(reject(record(&format!(r#""x":"{text}""#))).0, RejectReason::Malformed, "{text}");
    }
}

#[test]
fn a_value_that_is_no_object_is_refused() {
    for bytes in ["1", "[]", r#""text""#, "null", " true ", r#"[{"m":"fraud","t":1}]"#] {
        assert_eq!(reject(bytes).0, RejectReason::NotAnObject, "{bytes}");
    }
    for bytes in ["1 1", "[", "nul", "1,"] {
        assert_eq!(reject(bytes).0, RejectReason::Malformed, "{bytes}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused_wherever_they_are() {
    for bad in [b"\xff".as_slice(), b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82"] {
        let mut bytes = br#"{"m":"fraud","t":1,"x":""#.to_vec();
        bytes.extend_from_slice(bad);
        bytes.extend_from_slice(b"\"}");
        let (reason, detail) = reject(&bytes);
        assert_eq!((reason, detail.ends_with("at byte 24")), (RejectReason::InvalidUtf8, true), "{detail}");
    }
}

#[test]
fn nesting_beyond_the_limit_is_too_deep() {
    let nested = |depth: usize| record(&format!(r#""x":{}{}"#, "[".repeat(depth), "]".repeat(depth)));
    assert_eq!(decode(&[nested(63)]).rejected, vec![]);
    for depth in [64, 10_000, 400_000] {
        assert_eq!(reject(nested(depth)).0, RejectReason::TooDeep);
    }
    assert_eq!(reject(r#"{"m":"#.repeat(10_000)).0, RejectReason::TooDeep);
}

#[test]
fn wanted_containers_count_as_depth_as_well() {
    let limits = RecordLimits { depth_max: 2, ..RecordLimits::default() };
    let mut decoder = JsonDecoder::new(&mapping(), &schema(), limits);
    let decoded = decoder.decode(&raw(&[record(r#""f":{"o":1}"#), record(r#""f":{"o":{"in":1}}"#)]));
    assert_eq!(decoded.batch.rows(), [0]);
    assert_eq!(decoded.rejected[0].reason, RejectReason::TooDeep);
}

#[test]
fn a_depth_limit_beyond_1024_is_held_there() {
    let limits = RecordLimits { depth_max: usize::MAX, ..RecordLimits::default() };
    let mut decoder = JsonDecoder::new(&mapping(), &schema(), limits);
    let nested = |depth: usize| record(&format!(r#""f":{}{}"#, "[".repeat(depth), "]".repeat(depth)));
    let decoded = decoder.decode(&raw(&[nested(1023), nested(1024)]));
    assert_eq!(decoded.batch.rows(), [0]);
    assert_eq!(decoded.rejected[0].reason, RejectReason::TooDeep);
}

#[test]
fn long_pointers_are_followed_without_overflowing_the_stack() {
    let limits = RecordLimits { depth_max: 1024, ..RecordLimits::default() };
    let timestamp = "/a".repeat(1023);
    let mapping = Mapping { timestamp, model: Field::Constant("m".into()), ..mapping() };
    let mut decoder = JsonDecoder::new(&mapping, &schema(), limits);
    let deep = |depth: usize| format!("{}5{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let decoded = decoder.decode(&raw(&[deep(1023), deep(1022), deep(1025)]));
    assert_eq!(decoded.batch.rows(), [0]);
    let reasons: Vec<_> = decoded.rejected.iter().map(|rejected| rejected.reason).collect();
    assert_eq!(reasons, [RejectReason::MissingTimestamp, RejectReason::TooDeep]);
}

#[test]
fn a_bad_record_leaves_its_batch_mates_unharmed() {
    let good = |n: usize| record(&format!(r#""id":"i{n}","v":"v{n}","f":{{"n":{n},"c":"c{n}"}},"ms":{n}"#));
    let bad = [
        r#"{"m":"fraud","t":1,"id":"bad","v":"bad","f":{"n":77,"c":"bad"},"ms":77"#.to_owned(),
        r#"{"m":"fraud","id":"bad","v":"bad","f":{"n":77,"c":"bad"},"ms":77}"#.to_owned(),
        r#"{"t":1,"id":"bad","v":"bad","f":{"n":77,"c":"bad"},"ms":77}"#.to_owned(),
        String::new(),
    ];
    let mut records = Vec::new();
    for (n, bad) in bad.iter().enumerate() {
        records.extend([good(n), bad.clone(), record("")]);
    }
    let decoded = decode(&records);
    let alone = decode(&(0..bad.len()).flat_map(|n| [good(n), record("")]).collect::<Vec<_>>());
    assert_eq!(decoded.batch.rows(), [0, 2, 3, 5, 6, 8, 9, 11]);
    assert_eq!(decoded.rejected.iter().map(|rejected| rejected.row).collect::<Vec<_>>(), [1, 4, 7, 10]);
    for column in [EventSchema::ID, EventSchema::LATENCY, N] {
        assert_eq!(decoded.batch.arrow().column(column), alone.batch.arrow().column(column));
    }
    for column in [EventSchema::MODEL, EventSchema::VERSION, EventSchema::SEGMENT, C] {
        for row in 0..alone.batch.len() {
            assert_eq!(decoded.batch.names(column).get(row), alone.batch.names(column).get(row));
        }
    }
}

#[test]
fn details_hold_no_value_of_the_record() {
    for bytes in [
        r#"{"m":"secret","t":"secret"}"#,
        r#"{"m":["secret"],"t":1}"#,
        r#"{"m":"secret","secret":1}"#,
        r#"{"m":"secret","secret":secret}"#,
        r#"{"m":"secret\q"}"#,
        r#""secret""#,
    ] {
        let (_, detail) = reject(bytes);
        assert!(!detail.contains("secret"), "{detail}");
    }
}

// === keys ===

#[test]
fn of_a_key_that_comes_twice_the_last_value_holds() {
    let batch = one(r#""f":{"n":1,"c":"a","n":2,"c":"b"},"id":"long identifier","id":"x","ms":1,"ms":2"#);
    assert_eq!((number(&batch, N), name(&batch, C).as_deref()), (Some(2.0), Some("b")));
    assert_eq!((id(&batch).as_deref(), number(&batch, EventSchema::LATENCY)), (Some("x"), Some(2.0)));
    let batch = one(r#""f":{"n":1,"c":"a","n":null,"c":null},"id":"x","id":null,"ms":1,"ms":"2""#);
    assert_eq!((number(&batch, N), name(&batch, C), id(&batch)), (None, None, None));
    assert_eq!((number(&batch, EventSchema::LATENCY), name(&batch, EventSchema::SEGMENT)), (None, None));
}

#[test]
fn of_an_object_that_comes_twice_nothing_of_the_first_remains() {
    let batch = one(r#""f":{"n":1,"c":"a","o":{"in":1}},"f":{"n":2}"#);
    assert_eq!((number(&batch, N), name(&batch, C), number(&batch, IN)), (Some(2.0), None, None));
    for second in ["null", "3", "[]", r#""x""#, "{}", r#"{"o":{}}"#] {
        let batch = one(&format!(r#""f":{{"n":1,"c":"a","o":{{"in":1}}}},"f":{second}"#));
        assert_eq!((number(&batch, N), name(&batch, C), number(&batch, IN)), (None, None, None), "{second}");
    }
    let batch = one(r#""f":{"o":{"in":1},"n":5,"o":{"x":1}}"#);
    assert_eq!((number(&batch, N), number(&batch, IN)), (Some(5.0), None));
}

#[test]
fn a_timestamp_or_model_that_comes_twice_can_go_missing() {
    assert_eq!(reject(record(r#""t":null"#)).0, RejectReason::MissingTimestamp);
    assert_eq!(reject(record(r#""m":null"#)).0, RejectReason::MissingModel);
    let mapping = Mapping { timestamp: "/meta/t".into(), ..mapping() };
    let decoded = decoder_of(&mapping).decode(&raw(&[r#"{"m":"a","meta":{"t":1},"meta":{}}"#]));
    assert_eq!(decoded.rejected[0].reason, RejectReason::MissingTimestamp);
}

#[test]
fn keys_written_with_escapes_are_the_same_keys() {
    let batch = one(r#""\u0066":{"\u006e":1,"c":"\u00e4\ud83d\ude00\"\\\/\b\f\n\r\t"}"#);
    assert_eq!(number(&batch, N), Some(1.0));
    assert_eq!(name(&batch, C).as_deref(), Some("ä😀\"\\/\u{8}\u{c}\n\r\t"));
}

#[test]
fn keys_that_need_escapes_are_found() {
    let mapping =
        Mapping { timestamp: "/a\"b~1c\\d".into(), model: Field::Constant("m".into()), ..mapping() };
    let decoded = decoder_of(&mapping).decode(&raw(&[r#"{"a\"b/c\\d":5}"#, r#"{"a"b/c\\d":5}"#]));
    assert_eq!(decoded.batch.timestamps(), [5_000]);
    assert_eq!(decoded.rejected[0].reason, RejectReason::Malformed);
}

#[test]
fn features_of_an_object_are_its_members_by_name() {
    let mapping = Mapping { features: FeatureMapping::Object("/f/o".into()), ..mapping() };
    let record = record(r#""f":{"o":{"in":3,"c":"x","n":4},"n":9,"c":"y"}"#);
    let batch = decoder_of(&mapping).decode(&raw(&[record])).batch;
    assert_eq!((number(&batch, N), number(&batch, IN), number(&batch, EL)), (Some(4.0), Some(3.0), None));
    assert_eq!(name(&batch, C).as_deref(), Some("x"));
    assert_eq!(name(&batch, EventSchema::SEGMENT).as_deref(), Some("y"));
}

#[test]
fn a_key_of_digits_is_an_element_of_an_array_and_a_member_of_an_object() {
    assert_eq!(number(&one(r#""f":{"a":[5,6]}"#), EL), Some(6.0));
    assert_eq!(number(&one(r#""f":{"a":{"1":7}}"#), EL), Some(7.0));
    assert_eq!(number(&one(r#""f":{"a":[5]}"#), EL), None);
    assert_eq!(number(&one(r#""f":{"a":[]}"#), EL), None);
}

// === values ===

#[test]
fn numeric_columns_tell_numbers_from_what_is_none() {
    let value = |text: &str| number(&one(&format!(r#""f":{{"n":{text}}}"#)), N);
    assert_eq!(value("9007199254740993"), Some(9_007_199_254_740_992.0));
    assert_eq!(value("123456789012345678901234567890"), Some(1.234_567_890_123_456_8e29));
    assert_eq!(value("2.7"), Some(2.7));
    assert_eq!(value("1e999"), Some(f64::INFINITY));
    assert_eq!(value("-1e999"), Some(f64::NEG_INFINITY));
    for text in [r#""Infinity""#, r#""inf""#, r#""+Infinity""#] {
        assert_eq!(value(text), Some(f64::INFINITY), "{text}");
    }
    for text in [r#""-Infinity""#, r#""-inf""#] {
        assert_eq!(value(text), Some(f64::NEG_INFINITY), "{text}");
    }
    for text in [r#""NaN""#, r#""nan""#] {
        assert!(value(text).is_some_and(|value| value.is_nan() && !is_wrong_type(value)), "{text}");
    }
    for text in [r#""1""#, r#""""#, r#""null""#, "true", "[1]", "{}"] {
        assert!(value(text).is_some_and(is_wrong_type), "{text}");
    }
    assert_eq!(value("null"), None);
    assert_eq!(number(&one(""), N), None);
}

#[test]
fn categorical_columns_name_what_they_can() {
    let value = |text: &str| name(&one(&format!(r#""f":{{"c":{text}}}"#)), C);
    for (text, expected) in [
        (r#""""#, ""),
        (r#""red""#, "red"),
        ("true", "true"),
        ("false", "false"),
        ("3", "3"),
        ("3.0", "3"),
        ("30e-1", "3"),
        ("-0", "0"),
        ("0.10", "0.1"),
        ("100000000000000000000", "100000000000000000000"),
        ("12345678901234567890", "12345678901234567000"),
        ("[]", WRONG_TYPE_NAME),
        (r#"{"a":1}"#, WRONG_TYPE_NAME),
    ] {
        assert_eq!(value(text).as_deref(), Some(expected), "{text}");
    }
    assert_eq!(value("null"), None);
}

#[test]
fn long_names_are_cut_at_a_character_and_long_identifiers_are_null() {
    let long = format!("x{}", "ä".repeat(600));
    let batch = one(&format!(r#""f":{{"c":"{long}"}},"id":"{long}""#));
    let cut = name(&batch, C).expect("a name");
    assert_eq!((cut.len(), long.starts_with(&cut)), (NAME_BYTES_MAX - 1, true));
    assert_eq!(id(&batch), None);
    let id_length = 1_024;
    assert_eq!(id(&one(&format!(r#""id":"{}""#, "x".repeat(id_length)))).map(|id| id.len()), Some(id_length));
}

#[test]
fn segments_versions_and_identifiers_take_what_they_can_name() {
    let segment = |text: &str| name(&one(&format!(r#""f":{{"c":{text}}}"#)), EventSchema::SEGMENT);
    assert_eq!(segment("true").as_deref(), Some("true"));
    assert_eq!(segment("2.0").as_deref(), Some("2"));
    assert_eq!([segment("[]"), segment("{}"), segment("null")], [None, None, None]);
    let version = |text: &str| name(&one(&format!(r#""v":{text}"#)), EventSchema::VERSION);
    assert_eq!((version("7").as_deref(), version(r#""7b""#).as_deref()), (Some("7"), Some("7b")));
    assert_eq!([version("true"), version("[]"), version("null")], [None, None, None]);
    assert_eq!(name(&one(""), EventSchema::VERSION), None);
    let identifier = |text: &str| id(&one(&format!(r#""id":{text}"#)));
    assert_eq!(identifier("123456789012345678901").as_deref(), Some("123456789012345678901"));
    assert_eq!(identifier(r#""\u0061""#).as_deref(), Some("a"));
    assert_eq!(
        [identifier("1.0"), identifier("1e3"), identifier("true"), identifier("[]")],
        [None, None, None, None]
    );
}

#[test]
fn latency_is_a_number_or_null() {
    let latency = |text: &str| number(&one(&format!(r#""ms":{text}"#)), EventSchema::LATENCY);
    assert_eq!(latency("3.5"), Some(3.5));
    assert_eq!([latency(r#""3""#), latency("true"), latency("null"), latency("{}")], [None; 4]);
}

#[test]
fn models_are_pointed_at_or_constant() {
    let model = |text: &str| decode(&[format!(r#"{{"t":1,"m":{text}}}"#)]);
    assert_eq!(name(&model("12").batch, EventSchema::MODEL).as_deref(), Some("12"));
    for text in ["null", "true", "[]", "{}"] {
        assert_eq!(model(text).rejected[0].reason, RejectReason::MissingModel, "{text}");
    }
    assert_eq!(
        reject(r#"{"t":1}"#),
        (RejectReason::MissingModel, "no string or number that names the model at `/m`".into())
    );
    let constant = |name: &str| Field::Constant(name.to_owned());
    let mapping = Mapping { model: constant("churn"), version: Some(constant("2")), ..mapping() };
    let decoded = decoder_of(&mapping).decode(&raw(&[r#"{"t":"#, r#"{"t":1,"m":null}"#, r#"{"t":2}"#]));
    assert_eq!(decoded.batch.rows(), [1, 2]);
    for row in 0..2 {
        assert_eq!(decoded.batch.names(EventSchema::MODEL).get(row), Some("churn"));
        assert_eq!(decoded.batch.names(EventSchema::VERSION).get(row), Some("2"));
    }
}

#[test]
fn timestamps_are_read_in_their_unit() {
    let micros = |unit: TimestampUnit, text: &str| -> Result<i64, RejectReason> {
        let mapping = Mapping { timestamp_unit: unit, ..mapping() };
        let decoded = decoder_of(&mapping).decode(&raw(&[format!(r#"{{"m":"a","t":{text}}}"#)]));
        match decoded.rejected.first() {
            Some(rejected) => Err(rejected.reason),
            None => Ok(decoded.batch.timestamps()[0]),
        }
    };
    use TimestampUnit::{Microseconds, Milliseconds, Rfc3339, Seconds};
    assert_eq!(micros(Seconds, "1700000000.123456"), Ok(1_700_000_000_123_456));
    assert_eq!(micros(Seconds, r#""1700000000.5""#), Ok(1_700_000_000_500_000));
    assert_eq!(micros(Milliseconds, "1700000000123"), Ok(1_700_000_000_123_000));
    assert_eq!(micros(Milliseconds, r#""1700000000123""#), Ok(1_700_000_000_123_000));
    assert_eq!(micros(Microseconds, "-1"), Ok(-1));
    assert_eq!(micros(Rfc3339, r#""2018-10-30T18:00:00.25+01:00""#), Ok(1_540_918_800_250_000));
    assert_eq!(micros(Rfc3339, r#""2018-10-30 17:00:00""#), Ok(1_540_918_800_000_000));
    assert_eq!(micros(Rfc3339, r#""2018-10-30T17:00:00\u005a""#), Ok(1_540_918_800_000_000));
    for (unit, text) in [
        (Seconds, r#""soon""#),
        (Seconds, "true"),
        (Seconds, "[]"),
        (Seconds, "{}"),
        (Seconds, "1e999"),
        (Seconds, "253402300800"),
        (Rfc3339, "1700000000"),
        (Rfc3339, r#""soon""#),
    ] {
        assert_eq!(micros(unit, text), Err(RejectReason::BadTimestamp), "{text}");
    }
    assert_eq!(micros(Seconds, "null"), Err(RejectReason::MissingTimestamp));
    let (reason, detail) = reject(r#"{"m":"a","t":"soon"}"#);
    assert_eq!(reason, RejectReason::BadTimestamp);
    assert!(detail.contains("`/t`") && detail.contains("milliseconds"), "{detail}");
}

#[test]
fn hostile_cardinality_keeps_every_name() {
    let records: Vec<String> = (0..5_000).map(|n| record(&format!(r#""f":{{"c":"name {n}"}}"#))).collect();
    let batch = decode(&records).batch;
    for (row, expected) in (0..5_000).map(|n| format!("name {n}")).enumerate() {
        assert_eq!(batch.names(C).get(row), Some(expected.as_str()));
    }
}

#[test]
fn an_empty_batch_is_an_empty_batch() {
    let decoded = decode::<&str>(&[]);
    assert!(decoded.batch.is_empty() && decoded.rejected.is_empty());
    assert_eq!(decoded.batch.arrow().schema(), *schema().arrow());
    let empty = EventBatch::empty(Origin::default(), schema());
    assert_eq!(empty.arrow().schema(), *schema().arrow());
}

// === a second opinion ===

/// The row that `serde_json` gives for a record, as text.
fn expected_row(record: &Json) -> Result<String, RejectReason> {
    if !record.is_object() {
        return Err(RejectReason::NotAnObject);
    }
    let at = |pointer: &str| record.pointer(pointer).filter(|value| !value.is_null());
    let timestamp = match at("/t") {
        None => return Err(RejectReason::MissingTimestamp),
        Some(value) => {
            let millis = value.as_i64().or_else(|| value.as_str().and_then(plain_integer));
            let micros = millis.and_then(|millis| millis.checked_mul(1_000)).and_then(Timestamp::from_micros);
            micros.ok_or(RejectReason::BadTimestamp)?.as_micros()
        }
    };
    let plain = |pointer| at(pointer).filter(|value| value.is_string() || value.is_number()).map(json_name);
    let model = plain("/m").ok_or(RejectReason::MissingModel)?;
    let segment = at("/f/c").filter(|value| !value.is_array() && !value.is_object()).map(json_name);
    let mut row = format!("{timestamp} {model:?} {:?} {segment:?}", plain("/v"));
    for pointer in ["/f/n", "/f/o/in", "/f/a/1", "/f/c", "/s", "/l"] {
        let _ = write!(row, " {:?}", at(pointer).map(|value| json_number(value).to_bits()));
    }
    for pointer in ["/f/c", "/p"] {
        let _ = write!(row, " {:?}", at(pointer).map(json_name));
    }
    Ok(row)
}

fn plain_integer(text: &str) -> Option<i64> {
    serde_json::from_str::<i64>(text).ok().filter(|_| text.trim() == text)
}

fn json_number(value: &Json) -> f64 {
    match value {
        Json::String(text) if text == "NaN" => f64::NAN,
        Json::String(text) if text == "-inf" => f64::NEG_INFINITY,
        value => value.as_f64().unwrap_or_else(crate::event::wrong_type),
    }
}

fn json_name(value: &Json) -> String {
    match value {
        Json::String(text) => cut_name(text).to_owned(),
        Json::Bool(flag) => flag.to_string(),
        Json::Number(number) => canonical_number(number.as_f64().expect("a double")),
        _ => WRONG_TYPE_NAME.to_owned(),
    }
}

fn decoded_row(batch: &EventBatch, row: usize) -> String {
    let name = |column| batch.names(column).get(row).map(str::to_owned);
    let mut text = format!(
        "{} {:?} {:?} {:?}",
        batch.timestamps()[row],
        name(EventSchema::MODEL).expect("a model"),
        name(EventSchema::VERSION),
        name(EventSchema::SEGMENT),
    );
    for column in [N, IN, EL, C_AS_NUMBER, C_AS_NUMBER + 2, C_AS_NUMBER + 3] {
        let numbers = batch.numbers(column);
        let _ = write!(text, " {:?}", (!numbers.is_null(row)).then(|| numbers.value(row).to_bits()));
    }
    for column in [C, C_AS_NUMBER + 1] {
        let _ = write!(text, " {:?}", name(column));
    }
    text
}

/// What the decoder makes of each record: its row as text, or the reason.
fn outcomes(decoder: &mut JsonDecoder, records: &[Vec<u8>]) -> Vec<Result<String, RejectReason>> {
    let decoded = decoder.decode(&raw(records));
    assert_eq!(decoded.batch.len() + decoded.rejected.len(), records.len());
    let rows = decoded.batch.rows().iter().enumerate().map(|(row, &record)| {
        (usize::try_from(record).expect("small"), Ok(decoded_row(&decoded.batch, row)))
    });
    let rejects = decoded.rejected.iter().map(|rejected| (rejected.row, Err(rejected.reason)));
    rows.chain(rejects).collect::<BTreeMap<_, _>>().into_values().collect()
}

/// The same by `serde_json`; `None` where the two are meant to differ (numbers beyond the doubles, depth,
/// timestamps with fractions).
fn expected_outcome(bytes: &[u8]) -> Option<Result<String, RejectReason>> {
    if bytes.iter().all(|byte| b" \t\r\n".contains(byte)) {
        return Some(Err(RejectReason::Empty));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return Some(Err(RejectReason::InvalidUtf8)) };
    match serde_json::from_str::<Json>(text) {
        Ok(value) if value.pointer("/t").is_some_and(needs_exact_decimals) => None,
        Ok(value) => Some(expected_row(&value)),
        Err(error) if ["out of range", "recursion"].iter().any(|known| error.to_string().contains(known)) => {
            None
        }
        Err(_) => Some(Err(RejectReason::Malformed)),
    }
}

fn needs_exact_decimals(timestamp: &Json) -> bool {
    match timestamp {
        Json::Number(number) => number.is_f64(),
        Json::String(text) => serde_json::from_str::<f64>(text).is_ok() && plain_integer(text).is_none(),
        _ => false,
    }
}

/// A JSON value as text, written in many ways.
fn json_text(depth: u32) -> impl Strategy<Value = String> {
    let space = "[ \n\t\r]{0,2}";
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|flag| flag.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(|number| format!("{number:e}")),
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?",
        (-2_000_000_000_000_i64..2_000_000_000_000).prop_map(|number| number.to_string()),
        string_text(),
    ];
    leaf.prop_recursive(depth, 40, 8, move |inner| {
        let element = (space, inner.clone(), space).prop_map(|(a, value, b)| format!("{a}{value}{b}"));
        let member = (space, key_text(), space, inner, space)
            .prop_map(|(a, key, b, value, c)| format!("{a}{key}{b}:{value}{c}"));
        prop_oneof![
            (space, proptest::collection::vec(element, 0..5)).prop_map(|(empty, list)| format!(
                "[{}{}]",
                if list.is_empty() { &empty } else { "" },
                list.join(",")
            )),
            object_text(member),
        ]
    })
}

fn object_text(member: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    proptest::collection::vec(member, 0..9).prop_map(|members| format!("{{{}}}", members.join(",")))
}

fn key_text() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => prop::sample::select(vec!["m", "t", "v", "id", "f", "n", "c", "o", "in", "a", "1", "p", "s", "l", "ms"])
            .prop_map(|key| format!("\"{key}\"")),
        1 => Just(r#""\u0066""#.to_owned()),
        1 => string_text(),
    ]
}

fn string_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z0-9 ]{1,12}",
        1 => "\\PC{0,6}".prop_map(|text| text.replace(['"', '\\'], "")),
        1 => prop::sample::select(vec!["-inf", "\\n", "\\\"", "\\\\", "\\/", "\\u00e4", "\\ud83d\\ude00", "\\b", "NaN"])
            .prop_map(str::to_owned),
    ];
    proptest::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

/// A record that is usually an event.
fn record_text() -> impl Strategy<Value = String> {
    let member = |name: &'static str, value| {
        (Just(name), value).prop_map(|(name, value)| format!("\"{name}\":{value}"))
    };
    let features = object_text((key_text(), json_text(2)).prop_map(|(key, value)| format!("{key}: {value}")));
    let members = (
        prop_oneof![8 => member("m", string_text().boxed()), 1 => member("m", json_text(1).boxed())],
        prop_oneof![
            8 => member("t", (0..9_999_999_999_999_i64).prop_map(|millis| millis.to_string()).boxed()),
            1 => member("t", json_text(1).boxed()),
        ],
        member("f", features.boxed()),
        member("s", json_text(1).boxed()),
        (key_text(), json_text(3)).prop_map(|(key, value)| format!("{key} :{value}")),
        (key_text(), json_text(2)).prop_map(|(key, value)| format!("{key}:\n{value}")),
    );
    members
        .prop_map(|(m, t, f, s, x, y)| vec![m, t, f, s, x, y])
        .prop_shuffle()
        .prop_map(|members| format!("{{{}}}", members.join(" , ")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn rows_are_those_that_serde_json_gives(records in proptest::collection::vec(record_text(), 1..12)) {
        let records: Vec<Vec<u8>> = records.into_iter().map(String::into_bytes).collect();
        let found = outcomes(&mut decoder_of(&mapping()), &records);
        for (record, found) in records.iter().zip(found) {
            if let Some(expected) = expected_outcome(record) {
                prop_assert_eq!(found, expected, "{}", String::from_utf8_lossy(record));
            }
        }
    }

    #[test]
    fn arbitrary_values_are_accepted_as_serde_json_accepts_them(text in json_text(6)) {
        let found = outcomes(&mut decoder_of(&mapping()), &[text.clone().into_bytes()]);
        if let Some(expected) = expected_outcome(text.as_bytes()) {
            prop_assert_eq!(&found[0], &expected, "{}", text);
        }
    }

    #[test]
    fn damaged_records_are_accepted_as_serde_json_accepts_them(
        record in record_text(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..4),
        printable in any::<bool>(),
    ) {
        let mut bytes = record.into_bytes();
        for (index, byte, how) in edits {
            let likely = b"{}[]\",:\\019-.eEtfnu \x00\x1f\x7f\xc3";
            let byte = if printable { likely[usize::from(byte) % likely.len()] } else { byte };
            let at = index.index(bytes.len().max(1));
            match how {
                0 => bytes.truncate(at),
                1 => bytes.insert(at.min(bytes.len()), byte),
                2 if at < bytes.len() => { bytes.remove(at); }
                _ => if let Some(cell) = bytes.get_mut(at) { *cell = byte },
            }
        }
        let found = outcomes(&mut decoder_of(&mapping()), &[bytes.clone()]);
        if let Some(expected) = expected_outcome(&bytes) {
            prop_assert_eq!(&found[0], &expected, "{}", String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn a_result_does_not_depend_on_what_was_decoded_before(
        batches in proptest::collection::vec(proptest::collection::vec(record_text(), 0..6), 1..5),
    ) {
        let mut shared = decoder_of(&mapping());
        for batch in batches {
            let raw = raw(&batch);
            let (before, fresh) = (shared.decode(&raw), decoder_of(&mapping()).decode(&raw));
            prop_assert_eq!(before.batch.arrow(), fresh.batch.arrow());
            prop_assert_eq!(before.rejected, fresh.rejected);
            let alone: Vec<_> = batch
                .iter()
                .flat_map(|record| outcomes(&mut decoder_of(&mapping()), &[record.clone().into_bytes()]))
                .collect();
            let records: Vec<Vec<u8>> = batch.into_iter().map(String::into_bytes).collect();
            prop_assert_eq!(outcomes(&mut shared, &records), alone);
        }
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(records in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
        outcomes(&mut decoder_of(&mapping()), &records);
    }
}

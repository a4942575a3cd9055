//! The rules of dialect §15, one table per format.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Float64Array, Int32Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use arrow::util::display::array_value_to_string;
use millpond_formats::{Decoder, Encoder, Format, Options};

const DELIMITED: Format = Format::Delimited { delimiter: ',' };

fn field(name: &str, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(name, data_type, true))
}

/// The single column read from `bytes`, as text; `None` is NULL.
fn read(format: &Format, data_type: &DataType, bytes: &[u8], options: Options) -> Result<Option<String>, String> {
    let decoder = Decoder::new(format, vec![field("a", data_type.clone())], vec![0], options).unwrap();
    let decoded = decoder.decode(&BinaryArray::from_vec(vec![bytes]));
    match decoded.errors.as_slice() {
        [] if decoded.columns[0].is_null(0) => Ok(None),
        [] => Ok(Some(array_value_to_string(&decoded.columns[0], 0).unwrap())),
        [(0, reason)] => {
            assert!(decoded.columns[0].is_null(0));
            Err(reason.clone())
        }
        errors => panic!("{errors:?}"),
    }
}

fn written(format: &Format, fields: Vec<FieldRef>, columns: &[ArrayRef], options: Options) -> Vec<Option<String>> {
    let (bytes, errors) = Encoder::new(format, fields, options).unwrap().encode(columns);
    assert_eq!(errors, []);
    bytes.iter().map(|bytes| bytes.map(|bytes| String::from_utf8_lossy(bytes).to_string())).collect()
}

#[test]
fn json_values_are_coerced() {
    let list = |item: DataType| DataType::List(field("item", item));
    let entries = Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int32, true)]);
    let map = DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false);
    let decimal = DataType::Decimal128(4, 2);
    for (data_type, json, text) in [
        (DataType::Int32, "1", Some("1")),
        (DataType::Int32, "\"12\"", Some("12")),
        (DataType::Int32, "1.9", Some("1")),
        (DataType::Int32, "-1.9e1", Some("-19")),
        (DataType::Int32, "4294967297", Some("1")),
        (DataType::Int32, "null", None),
        (DataType::Int64, "9223372036854775807", Some("9223372036854775807")),
        (DataType::Float64, "1e2", Some("100.0")),
        (DataType::Float64, "\"NaN\"", Some("NaN")),
        (DataType::Boolean, "true", Some("true")),
        (decimal.clone(), "1.5", Some("1.50")),
        (decimal.clone(), "\"10.25\"", Some("10.25")),
        (decimal.clone(), "1.500", Some("1.50")),
        (DataType::Utf8, "\"a\\u00e9\\ud83d\\ude00\\n\"", Some("aé😀\n")),
        (DataType::Utf8, "1.50", Some("1.50")),
        (DataType::Utf8, "true", Some("true")),
        (DataType::Utf8, "{ \"b\" : [1, \"x y\\\" \"] }", Some("{\"b\":[1,\"x y\\\" \"]}")),
        (DataType::Utf8, "[1, \"b\", [null]]", Some("[1, b, [null]]")),
        (DataType::Binary, "\"AQI=\"", Some("0102")),
        (DataType::Date32, "1", Some("1970-01-02")),
        (DataType::Time32(TimeUnit::Millisecond), "1500", Some("00:00:01.500")),
        (DataType::Timestamp(TimeUnit::Millisecond, None), "1500", Some("1970-01-01T00:00:01.500")),
        (list(DataType::Int32), "[1, null, \"3\"]", Some("[1, , 3]")),
        (map.clone(), "{\"x\": 1, \"y\": 2, \"x\": 3}", Some("{x: 3, y: 2}")),
    ] {
        let text = text.map(str::to_string);
        assert_eq!(read(&Format::Json, &data_type, json.as_bytes(), Options::KEY), Ok(text.clone()), "{json}");
        let object = format!(" {{\"z\": [{{}}, \"]\"], \"a\" : {json} }} ");
        assert_eq!(read(&Format::Json, &data_type, object.as_bytes(), Options::VALUE), Ok(text), "{object}");
    }
    for (data_type, json, reason) in [
        (DataType::Int32, "\"1.5\"", "column \"a\": '1.5' is no integer in range"),
        (DataType::Int32, "true", "column \"a\": expected a number, found a boolean"),
        (DataType::Int32, "01", "column \"a\": invalid JSON at byte 0: a number begins with 0"),
        (DataType::Boolean, "\"true\"", "column \"a\": expected a boolean, found a text"),
        (decimal.clone(), "1.555", "column \"a\": '1.555' does not fit DECIMAL(4, 2)"),
        (decimal, "100", "column \"a\": '100' does not fit DECIMAL(4, 2)"),
        (DataType::Utf8, "\"\\ud83d\"", "column \"a\": invalid JSON at byte 7: half a surrogate pair"),
        (DataType::Utf8, "\"a", "column \"a\": invalid JSON: a text does not end"),
        (DataType::Date32, "\"1970-01-02\"", "column \"a\": expected days since 1970-01-01 as an integer, found a text"),
        (DataType::Time32(TimeUnit::Millisecond), "86400000", "column \"a\": 86400000 is no time of day"),
        (
            DataType::Timestamp(TimeUnit::Millisecond, None),
            "\"1970-01-01T00:00:01.5Z\"",
            "column \"a\": expected milliseconds since 1970-01-01 as an integer, found a text",
        ),
        (
            DataType::Timestamp(TimeUnit::Millisecond, None),
            "1.5",
            "column \"a\": expected milliseconds since 1970-01-01 as an integer, found 1.5",
        ),
        (list(DataType::Int32), "{}", "column \"a\": expected an array, found an object"),
        (map, "[]", "column \"a\": expected an object, found an array"),
        (DataType::Int32, "1 2", "invalid JSON at byte 2: expected the end, found '2'"),
        (DataType::Int32, "", "invalid JSON: expected a value, but it ends"),
    ] {
        let read = read(&Format::Json, &data_type, json.as_bytes(), Options::KEY).unwrap_err();
        assert_eq!(read.trim_start_matches("column \"a\": "), reason.trim_start_matches("column \"a\": "), "{json}");
    }
}

#[test]
fn json_fields_are_found_exactly_then_in_any_case() {
    let fields = vec![field("a", DataType::Int32), field("A", DataType::Int32), field("Größe", DataType::Int32)];
    let decoder = Decoder::new(&Format::Json, fields, vec![0, 1, 2], Options::VALUE).unwrap();
    let records =
        [r#"{"A": 1, "a": 2}"#, r#"{"GRÖSSE": 1, "gröSSe": 3, "GRÖßE": 4}"#, r#"{"größe": 1, "größe": 2}"#, "null", r#"{"b": 1}"#];
    let decoded = decoder.decode(&BinaryArray::from_iter_values(records));
    assert_eq!(decoded.errors, []);
    let rows: Vec<Vec<Option<i32>>> = (0..5)
        .map(|row| {
            decoded
                .columns
                .iter()
                .map(|column| column.as_primitive::<arrow::datatypes::Int32Type>())
                .map(|c| c.is_valid(row).then(|| c.value(row)))
                .collect()
        })
        .collect();
    assert_eq!(
        rows,
        [
            vec![Some(2), Some(1), None],
            vec![None, None, Some(4)],
            vec![None, None, Some(2)],
            vec![None, None, None],
            vec![None, None, None]
        ]
    );
}

#[test]
fn one_bad_field_fails_its_record_only() {
    let fields = vec![field("a", DataType::Utf8), field("b", DataType::List(field("item", DataType::Int32)))];
    let decoder = Decoder::new(&Format::Json, fields, vec![0, 1], Options::VALUE).unwrap();
    let records = [
        Some(r#"{"a": "x", "b": [1, 2]}"#.as_bytes()),
        Some(br#"{"a": "lost", "b": [1, {}]}"#),
        None,
        Some(br#"{"b": [3], "a": "y"}"#),
        Some(b"[1]"),
        Some(b"\xff"),
    ];
    let decoded = decoder.decode(&BinaryArray::from_opt_vec(records.to_vec()));
    assert_eq!(decoded.errors.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [1, 4, 5]);
    assert_eq!(decoded.errors[0].1, "column \"b\": expected a number, found an object");
    assert_eq!(decoded.errors[1].1, "expected an object, found an array");
    let texts: Vec<Option<&str>> = decoded.columns[0].as_string::<i32>().iter().collect();
    assert_eq!(texts, [Some("x"), None, None, Some("y"), None, None]);
    assert_eq!(array_value_to_string(&decoded.columns[1], 3).unwrap(), "[3]");
    assert!(decoded.columns[1].is_null(1));
}

#[test]
fn what_is_not_read_is_checked_all_the_same() {
    let types = [
        DataType::Int32,
        DataType::Boolean,
        DataType::Utf8,
        DataType::Binary,
        DataType::Struct(Fields::from(vec![Field::new("x", DataType::Int32, true)])),
    ];
    let fields: Vec<FieldRef> = ["a", "bb", "t", "d", "s"].into_iter().zip(types).map(|(name, data_type)| field(name, data_type)).collect();
    let json = [
        r#"{"a": 1, "bb": "x"}"#,
        r#"{"a": 2, "bb": true, "t": {"any": ["\u00e9"]}, "d": "AQI=", "s": {"x": 1}, "s": {"x": 2}}"#,
        r#"{"a": 3, "d": "AQI"}"#,
        r#"{"a": 4, "s": {"x": [1]}}"#,
        r#"{"a": 5, "t": 1, "s": {}, "s": null}"#,
        r#"{"a": 6, "undeclared": {"x": "y"}}"#,
    ];
    let delimited = ["1,x,,", "2,true,any,AQI=", "3,,,AQI", "4,,,*", "5,false,\"\",", "6,,,"];
    let cases = [(Format::Json, fields.clone(), json, Options::VALUE), (DELIMITED, fields[..4].to_vec(), delimited, Options::VALUE)];
    for (format, fields, records, options) in cases {
        let bytes = BinaryArray::from_iter_values(records);
        let whole = Decoder::new(&format, fields.clone(), (0..fields.len()).collect(), options).unwrap().decode(&bytes);
        assert_eq!(whole.errors.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [0, 2, 3]);
        for wanted in [vec![], vec![0], vec![2, 0], vec![3]] {
            let decoded = Decoder::new(&format, fields.clone(), wanted.clone(), options).unwrap().decode(&bytes);
            assert_eq!(decoded.errors, whole.errors, "{format:?} {wanted:?}");
            for (column, index) in decoded.columns.iter().zip(&wanted) {
                assert_eq!(column, &whole.columns[*index], "{format:?} {wanted:?}");
            }
        }
    }
    for (format, record) in [(Format::Json, "x"), (Format::Kafka, "123")] {
        let decoder = Decoder::new(&format, vec![field("a", DataType::Int32)], vec![], Options::KEY).unwrap();
        assert_eq!(decoder.decode(&BinaryArray::from_iter_values([record])).errors.len(), 1, "{format:?}");
    }
}

#[test]
fn json_is_written_whole_and_in_order() {
    let fields = vec![field("ID", DataType::Int32), field("d\"q", DataType::Float64), field("t", DataType::Utf8)];
    let columns: [ArrayRef; 3] = [
        Arc::new(Int32Array::from(vec![Some(1), None, Some(2)])),
        Arc::new(Float64Array::from(vec![1e10, f64::NAN, 0.1])),
        Arc::new(StringArray::from(vec![Some("a\"\n"), None, Some("é")])),
    ];
    assert_eq!(
        written(&Format::Json, fields, &columns, Options::VALUE),
        [
            Some("{\"ID\":1,\"d\\\"q\":1.0E10,\"t\":\"a\\\"\\n\"}".to_string()),
            Some("{\"ID\":null,\"d\\\"q\":\"NaN\",\"t\":null}".to_string()),
            Some("{\"ID\":2,\"d\\\"q\":0.1,\"t\":\"é\"}".to_string()),
        ]
    );
    let one = vec![field("a", DataType::Int32)];
    assert_eq!(written(&Format::Json, one.clone(), &columns[..1], Options::KEY), [Some("1".to_string()), None, Some("2".to_string())]);
    assert_eq!(written(&Format::Json, one, &columns[..1], Options::VALUE)[1].as_deref(), Some("{\"a\":null}"));
}

#[test]
fn delimited_reads_strictly() {
    for (data_type, bytes, text) in [
        (DataType::Int32, "12", Some("12")),
        (DataType::Int32, "12\r\n", Some("12")),
        (DataType::Int32, "\"-12\"", Some("-12")),
        (DataType::Boolean, "True", Some("true")),
        (DataType::Decimal128(4, 2), "1.5", Some("1.50")),
        (DataType::Utf8, " a ", Some(" a ")),
        (DataType::Utf8, "\"a,b\"", Some("a,b")),
        (DataType::Utf8, "", None),
        (DataType::Utf8, "\"\"", Some("")),
        (DataType::Int32, "", None),
        (DataType::Binary, "AQI=", Some("0102")),
        (DataType::Timestamp(TimeUnit::Millisecond, None), "1500", Some("1970-01-01T00:00:01.500")),
    ] {
        assert_eq!(read(&DELIMITED, &data_type, bytes.as_bytes(), Options::VALUE), Ok(text.map(str::to_string)), "{bytes}");
    }
    for (data_type, bytes, reason) in [
        (DataType::Int32, "1,2", "expected 1 fields, found 2"),
        (DataType::Int32, "x", "column \"a\": 'x' is no INT"),
        (DataType::Int32, "2147483648", "column \"a\": '2147483648' is no INT"),
        (DataType::Decimal128(4, 2), "1.555", "column \"a\": '1.555' is no DECIMAL(4, 2)"),
        (DataType::Boolean, "yes", "column \"a\": 'yes' is no BOOLEAN"),
    ] {
        assert_eq!(read(&DELIMITED, &data_type, bytes.as_bytes(), Options::VALUE), Err(reason.to_string()), "{bytes}");
    }
}

#[test]
fn delimited_is_written_with_as_few_quotes_as_commons_csv() {
    let fields = vec![field("n", DataType::Int64), field("t", DataType::Utf8)];
    let columns: [ArrayRef; 2] =
        [Arc::new(Int64Array::from(vec![Some(-1), Some(1), None])), Arc::new(StringArray::from(vec![Some("a b"), Some("a,\"b"), None]))];
    let texts = [Some("\"-1\",a b".to_string()), Some("1,\"a,\"\"b\"".to_string()), Some(",".to_string())];
    assert_eq!(written(&DELIMITED, fields, &columns, Options::VALUE), texts);
    assert_eq!(written(&DELIMITED, vec![field("n", DataType::Int64)], &columns[..1], Options::VALUE)[2], None);
}

#[test]
fn kafka_wants_exact_lengths() {
    assert_eq!(read(&Format::Kafka, &DataType::Int32, &[0, 0, 1, 2], Options::KEY), Ok(Some("258".to_string())));
    assert_eq!(read(&Format::Kafka, &DataType::Int64, &[1], Options::KEY), Err("column \"a\": expected 8 bytes, found 1".to_string()));
    assert!(read(&Format::Kafka, &DataType::Utf8, &[0xff], Options::KEY).is_err());
    assert_eq!(read(&Format::Kafka, &DataType::Utf8, b"", Options::KEY), Ok(Some(String::new())));
}

#[test]
fn unfit_columns_are_refused_at_construction() {
    let two = vec![field("a", DataType::Int32), field("b", DataType::Int32)];
    let refused = |format: &Format, fields: Vec<FieldRef>| Encoder::new(format, fields, Options::VALUE).unwrap_err().to_string();
    assert_eq!(refused(&Format::Kafka, two.clone()), "format kafka holds one column, not 2");
    assert_eq!(
        refused(&Format::Kafka, vec![field("a", DataType::Boolean)]),
        "format kafka cannot hold column \"a\" of type Boolean: it holds INT, BIGINT, DOUBLE, VARCHAR and BYTES"
    );
    assert!(refused(&DELIMITED, vec![field("a", DataType::List(field("item", DataType::Int32)))]).contains("every type but ARRAY"));
    assert_eq!(refused(&Format::Native, two.clone()), "format native has no byte form");
    assert!(refused(&Format::None, two.clone()).contains("no columns"));
    assert!(Decoder::new(&Format::Json, two, vec![2], Options::VALUE).is_err());
    let none = Encoder::new(&Format::None, vec![], Options::KEY).unwrap();
    assert_eq!(none.encode(&[]).0.len(), 0);
}

#[test]
fn columns_of_another_width_are_cast() {
    let views: ArrayRef = Arc::new(arrow::array::StringViewArray::from(vec![Some("a"), None]));
    let texts = written(&Format::Json, vec![field("a", DataType::Utf8)], &[views], Options::VALUE);
    assert_eq!(texts, [Some("{\"a\":\"a\"}".to_string()), Some("{\"a\":null}".to_string())]);
}

//! decode(encode(x)) = x, for each format and type; and reading only some columns gives the same columns.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use millpond_formats::{Decoder, Encoder, Format, Options, text};
use proptest::prelude::*;

const DELIMITED: Format = Format::Delimited { delimiter: ',' };

/// A column as texts that PostgreSQL would take.
type Texts = Vec<Option<String>>;

fn scalar_types() -> Vec<DataType> {
    vec![
        DataType::Boolean,
        DataType::Int32,
        DataType::Int64,
        DataType::Float64,
        DataType::Decimal128(12, 3),
        DataType::Utf8,
        DataType::Binary,
        DataType::Date32,
        DataType::Time32(TimeUnit::Millisecond),
        DataType::Timestamp(TimeUnit::Millisecond, None),
    ]
}

fn nested_types() -> Vec<DataType> {
    let field = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    let list = |item: DataType| DataType::List(Arc::new(field("item", item)));
    let entries = Fields::from(vec![Field::new("key", DataType::Utf8, false), field("value", DataType::Int64)]);
    let map = DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false);
    let record =
        DataType::Struct(Fields::from(vec![field("a", DataType::Int32), field("m", map.clone()), field("l", list(DataType::Utf8))]));
    vec![list(DataType::Utf8), list(list(DataType::Int64)), map, record.clone(), list(record)]
}

/// JSON text of a value; nested values are read by the text module, scalars as PostgreSQL writes them.
fn json(data_type: &DataType) -> BoxedStrategy<String> {
    match data_type {
        DataType::Utf8 => ".*".prop_map(|value| quote(&value)).boxed(),
        DataType::Int32 => any::<i32>().prop_map(|value| value.to_string()).boxed(),
        DataType::Int64 => any::<i64>().prop_map(|value| value.to_string()).boxed(),
        DataType::List(item) => {
            proptest::collection::vec(nullable(json(item.data_type())), 0..4).prop_map(|items| format!("[{}]", items.join(","))).boxed()
        }
        DataType::Map(_, _) => proptest::collection::btree_map(".{0,5}", nullable(json(&DataType::Int64)), 0..4)
            .prop_map(|entries| {
                let entries: Vec<String> = entries.iter().map(|(key, value)| format!("{}:{value}", quote(key))).collect();
                format!("{{{}}}", entries.join(","))
            })
            .boxed(),
        DataType::Struct(fields) => {
            let parts: Vec<_> = fields.iter().map(|field| nullable(json(field.data_type()))).collect();
            let names: Vec<String> = fields.iter().map(|field| quote(field.name())).collect();
            parts
                .prop_map(move |values| {
                    let fields: Vec<String> = names.iter().zip(values).map(|(name, value)| format!("{name}: {value}")).collect();
                    format!("{{{}}}", fields.join(", "))
                })
                .boxed()
        }
        other => panic!("no JSON strategy for {other}"),
    }
}

fn nullable(strategy: BoxedStrategy<String>) -> BoxedStrategy<String> {
    prop_oneof![1 => Just("null".to_string()), 3 => strategy].boxed()
}

fn quote(value: &str) -> String {
    serde_json::to_string(value).unwrap()
}

fn cell(data_type: &DataType) -> BoxedStrategy<String> {
    match data_type {
        DataType::Boolean => any::<bool>().prop_map(|value| value.to_string()).boxed(),
        DataType::Int32 => any::<i32>().prop_map(|value| value.to_string()).boxed(),
        DataType::Int64 => any::<i64>().prop_map(|value| value.to_string()).boxed(),
        DataType::Float64 => prop_oneof![any::<f64>(), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0), Just(1e7), Just(0.1)]
            .prop_map(|value| value.to_string())
            .boxed(),
        DataType::Decimal128(_, _) => {
            (-999_999_999_999i64..=999_999_999_999).prop_map(|value| millpond_formats::decimal::to_text(i128::from(value), 3)).boxed()
        }
        DataType::Utf8 => prop_oneof![".*", Just(String::new()), Just("a,\"b\"\r\n".to_string()), Just(" null ".to_string())].boxed(),
        DataType::Binary => proptest::collection::vec(any::<u8>(), 0..20)
            .prop_map(|bytes| format!("\\x{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
            .boxed(),
        DataType::Date32 => {
            (1u32..=12, 1u32..=28, 0u32..=9999).prop_map(|(month, day, year)| format!("{year:04}-{month:02}-{day:02}")).boxed()
        }
        DataType::Time32(_) => {
            (0u32..24, 0u32..60, 0u32..60, 0u32..1000).prop_map(|(h, m, s, ms)| format!("{h:02}:{m:02}:{s:02}.{ms:03}")).boxed()
        }
        DataType::Timestamp(_, _) => (0u32..=9999, 1u32..=12, 0u32..24, 0u32..1000)
            .prop_map(|(year, month, hour, ms)| format!("{year:04}-{month:02}-09T{hour:02}:30:15.{ms:03}"))
            .boxed(),
        // The text module wants arrays in braces at the top: they come inside a struct here.
        DataType::Struct(_) | DataType::Map(_, _) => json(data_type),
        other => panic!("no strategy for {other}"),
    }
}

/// Lists are wrapped into a struct and taken out again, so that JSON text gives them.
fn column(data_type: DataType, rows: usize) -> BoxedStrategy<ArrayRef> {
    let read = if matches!(data_type, DataType::List(_)) {
        DataType::Struct(Fields::from(vec![Field::new("wrapped", data_type.clone(), true)]))
    } else {
        data_type.clone()
    };
    proptest::collection::vec(proptest::option::weighted(0.8, cell(&read)), rows)
        .prop_map(move |texts: Texts| {
            let array = text::parse_column(texts.iter().map(|text| text.as_deref()), &read).unwrap();
            match data_type {
                DataType::List(_) => Arc::clone(arrow::array::AsArray::as_struct(&array).column(0)),
                _ => array,
            }
        })
        .boxed()
}

fn fields_of(types: &[DataType]) -> Vec<FieldRef> {
    types.iter().enumerate().map(|(index, data_type)| Arc::new(Field::new(format!("Col \"{index}\""), data_type.clone(), true))).collect()
}

fn round_trip(format: &Format, columns: &[ArrayRef], options: Options) {
    let types: Vec<DataType> = columns.iter().map(|column| column.data_type().clone()).collect();
    let fields = fields_of(&types);
    let (bytes, failed) = Encoder::new(format, fields.clone(), options).unwrap().encode(columns);
    assert_eq!(failed, []);
    let all: Vec<usize> = (0..columns.len()).collect();
    let decoded = Decoder::new(format, fields.clone(), all, options).unwrap().decode(&bytes);
    assert_eq!(decoded.errors, []);
    assert_eq!(decoded.columns.len(), columns.len());
    for (decoded, column) in decoded.columns.iter().zip(columns) {
        same(decoded, column);
    }
    // Backwards, every other, and the first twice.
    let wanted: Vec<usize> = (0..columns.len()).rev().step_by(2).chain([0]).collect();
    let decoded = Decoder::new(format, fields, wanted.clone(), options).unwrap().decode(&bytes);
    for (decoded, wanted) in decoded.columns.iter().zip(wanted) {
        same(decoded, &columns[wanted]);
    }
}

fn same(a: &ArrayRef, b: &ArrayRef) {
    assert_eq!(a.data_type(), b.data_type());
    assert_eq!(a, b);
}

fn rows_of(types: Vec<DataType>) -> BoxedStrategy<Vec<ArrayRef>> {
    (0usize..6).prop_flat_map(move |rows| types.iter().map(|data_type| column(data_type.clone(), rows)).collect::<Vec<_>>()).boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn json_objects(columns in rows_of([scalar_types(), nested_types()].concat())) {
        round_trip(&Format::Json, &columns, Options::VALUE);
    }

    #[test]
    fn json_documents(columns in prop::sample::select([scalar_types(), nested_types()].concat()).prop_flat_map(|one| rows_of(vec![one]))) {
        round_trip(&Format::Json, &columns, Options::KEY);
    }

    #[test]
    fn delimited(columns in rows_of(scalar_types())) {
        round_trip(&DELIMITED, &columns, Options::VALUE);
        round_trip(&Format::Delimited { delimiter: '\t' }, &columns, Options::VALUE);
    }

    #[test]
    fn delimited_single(columns in prop::sample::select(scalar_types()).prop_flat_map(|one| rows_of(vec![one]))) {
        round_trip(&DELIMITED, &columns, Options::KEY);
    }

    #[test]
    fn kafka(columns in prop::sample::select(vec![DataType::Int32, DataType::Int64, DataType::Float64, DataType::Utf8, DataType::Binary])
        .prop_flat_map(|one| rows_of(vec![one])))
    {
        round_trip(&Format::Kafka, &columns, Options::KEY);
    }

    /// Whatever the bytes are, there is a row or an error, and rows beside it are not touched.
    #[test]
    fn no_bytes_panic(bytes in prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        "[\\[\\]{}\",:\\\\0-9a-e.+ unltrfsx-]{0,40}".prop_map(String::into_bytes),
    ]) {
        let types = [scalar_types(), nested_types()].concat();
        let good = br#"{"Col \"0\"": true}"#.as_slice();
        let records = arrow::array::BinaryArray::from_vec(vec![good, &bytes, good]);
        let fields = fields_of(&types);
        let all: Vec<usize> = (0..fields.len()).collect();
        let decoded = Decoder::new(&Format::Json, fields, all, Options::VALUE).unwrap().decode(&records);
        prop_assert!(decoded.errors.iter().all(|(row, _)| *row == 1));
        prop_assert!(decoded.columns.iter().all(|column| column.len() == 3));
        prop_assert!(decoded.columns[0].is_valid(0) && decoded.columns[0].is_valid(2));
        for data_type in scalar_types() {
            for format in [Format::Json, DELIMITED] {
                let decoder = Decoder::new(&format, fields_of(std::slice::from_ref(&data_type)), vec![0], Options::KEY).unwrap();
                prop_assert_eq!(decoder.decode(&records).columns[0].len(), 3);
            }
        }
        if let Ok(text) = std::str::from_utf8(&bytes) {
            for data_type in types {
                let _ = text::parse_column([Some(text)].into_iter(), &data_type);
            }
        }
    }
}

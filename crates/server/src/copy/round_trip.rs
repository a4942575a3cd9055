//! What COPY TO writes COPY FROM reads: columns of any type, nested at will, in both formats.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, ListArray, MapArray,
    RecordBatch, StringArray, StructArray, Time32MillisecondArray, TimestampMillisecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, TimeUnit};
use millpond_formats::text::parse_column;
use millpond_sql::ast::{Copy, CopyDirection, CopyFormat};

use super::records::{Fields as Record, Records};
use crate::statement::copy_out;

/// Texts that a careless reader takes for something else.
const PIECES: &[&str] =
    &["\"", "\\", ",", "{", "}", "(", ")", "[", "]", ":", " ", "\t", "\n", "\r", "N", "null", "é", "\u{1}", "\\.", "'", "x"];

/// SplitMix64: one seed gives one test.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn text(&mut self) -> String {
        (0..self.below(5)).map(|_| PIECES[self.below(PIECES.len())]).collect()
    }

    fn data_type(&mut self, depth: usize) -> DataType {
        let field = |name: &str, data_type: DataType| Arc::new(Field::new(name, data_type, true));
        match self.below(if depth == 0 { 10 } else { 16 }) {
            0 => DataType::Boolean,
            1 => DataType::Int32,
            2 => DataType::Int64,
            3 => DataType::Float64,
            4 => DataType::Decimal128(12, 3),
            5 => DataType::Binary,
            6 => DataType::Date32,
            7 => DataType::Time32(TimeUnit::Millisecond),
            8 => DataType::Timestamp(TimeUnit::Millisecond, None),
            9 => DataType::Utf8,
            10 | 11 => DataType::List(field("item", self.data_type(depth - 1))),
            12 | 13 => {
                let fields = (0..1 + self.below(3)).map(|index| field(["a", "B c", "\"d\""][index], self.data_type(depth - 1)));
                DataType::Struct(fields.collect())
            }
            _ => {
                let entries = vec![Field::new("key", DataType::Utf8, false), Field::new("value", self.data_type(depth - 1), true)];
                DataType::Map(Arc::new(Field::new("entries", DataType::Struct(Fields::from(entries)), false)), false)
            }
        }
    }

    fn nulls(&mut self, rows: usize) -> NullBuffer {
        (0..rows).map(|_| self.below(4) > 0).collect()
    }

    fn lengths(&mut self, rows: usize) -> Vec<usize> {
        (0..rows).map(|_| self.below(4)).collect()
    }

    fn array(&mut self, data_type: &DataType, rows: usize) -> ArrayRef {
        let nulls = Some(self.nulls(rows));
        let mut below = |end: usize| (0..rows).map(|_| self.below(end) as i64 - end as i64 / 2).collect::<Vec<i64>>();
        match data_type {
            DataType::Boolean => Arc::new(BooleanArray::new(below(2).iter().map(|value| *value == 0).collect(), nulls)),
            DataType::Int32 => Arc::new(Int32Array::new(below(1 << 32).iter().map(|value| *value as i32).collect(), nulls)),
            DataType::Int64 => Arc::new(Int64Array::new(below(usize::MAX).into(), nulls)),
            DataType::Float64 => {
                let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e300, f64::MIN_POSITIVE];
                let value = |value: &i64| special.get(value.unsigned_abs() as usize % 12).copied().unwrap_or(*value as f64 / 1024.0);
                Arc::new(Float64Array::new(below(1 << 40).iter().map(value).collect(), nulls))
            }
            DataType::Decimal128(..) => {
                let values = below(1_000_000_000_000).into_iter().map(i128::from).collect();
                Arc::new(Decimal128Array::new(values, nulls).with_data_type(data_type.clone()))
            }
            DataType::Date32 => Arc::new(Date32Array::new(below(100_000).iter().map(|value| *value as i32).collect(), nulls)),
            DataType::Time32(_) => {
                let values = below(86_400_000).iter().map(|value| *value as i32 + 43_200_000).collect();
                Arc::new(Time32MillisecondArray::new(values, nulls))
            }
            DataType::Timestamp(..) => Arc::new(TimestampMillisecondArray::new(below(1 << 42).into(), nulls)),
            DataType::Utf8 => {
                let values: Vec<Option<String>> = (0..rows).map(|_| (self.below(4) > 0).then(|| self.text())).collect();
                Arc::new(StringArray::from(values))
            }
            DataType::Binary => {
                let values: Vec<Option<Vec<u8>>> = (0..rows).map(|_| (self.below(4) > 0).then(|| self.text().into_bytes())).collect();
                Arc::new(BinaryArray::from_iter(values))
            }
            DataType::List(item) => {
                let lengths = self.lengths(rows);
                let items = self.array(item.data_type(), lengths.iter().sum());
                Arc::new(ListArray::new(Arc::clone(item), OffsetBuffer::from_lengths(lengths), items, nulls))
            }
            DataType::Struct(fields) => {
                let columns = fields.iter().map(|field| self.array(field.data_type(), rows)).collect();
                Arc::new(StructArray::new(fields.clone(), columns, nulls))
            }
            DataType::Map(entries, _) => self.map(entries, rows, nulls),
            other => unreachable!("{other} is not generated"),
        }
    }

    fn map(&mut self, entries: &FieldRef, rows: usize, nulls: Option<NullBuffer>) -> ArrayRef {
        let DataType::Struct(fields) = entries.data_type() else { unreachable!("entries are pairs") };
        let lengths = self.lengths(rows);
        // Each key once in a map.
        let keys = lengths.iter().flat_map(|length| 0..*length).map(|number| Some(format!("{number}{}", self.text())));
        let keys: StringArray = keys.collect();
        let values = self.array(fields[1].data_type(), keys.len());
        let pairs = StructArray::new(fields.clone(), vec![Arc::new(keys) as ArrayRef, values], None);
        Arc::new(MapArray::new(Arc::clone(entries), OffsetBuffer::from_lengths(lengths), pairs, nulls, false))
    }
}

fn copy(format: CopyFormat, delimiter: char, null: &str, escape: char) -> Copy {
    let direction = CopyDirection::From { target: String::new(), columns: Vec::new() };
    Copy { direction, format, delimiter, null: null.to_string(), header: false, quote: '"', escape }
}

/// The columns of `data`, which comes in pieces.
fn read(copy: &Copy, data: &[u8], schema: &Schema) -> Vec<ArrayRef> {
    let mut records = Records::new(copy).unwrap();
    let mut record = Record::default();
    let mut texts: Vec<Vec<Option<String>>> = vec![Vec::new(); schema.fields().len()];
    for piece in data.chunks(13).map(Some).chain([None]) {
        match piece {
            Some(piece) => records.push(piece),
            None => records.end(),
        }
        while records.next(&mut record).unwrap() {
            assert_eq!(record.len(), texts.len());
            for (column, text) in texts.iter_mut().zip(record.iter()) {
                column.push(text.map(str::to_string));
            }
        }
    }
    let parse = |(field, texts): (&FieldRef, &Vec<Option<String>>)| {
        parse_column(texts.iter().map(Option::as_deref), field.data_type()).unwrap_or_else(|(row, reason)| panic!("row {row}: {reason}"))
    };
    schema.fields().iter().zip(&texts).map(parse).collect()
}

#[test]
fn what_is_written_is_read_back() {
    let copies = [
        copy(CopyFormat::Text, '\t', "\\N", '"'),
        copy(CopyFormat::Text, '|', "\\N", '"'),
        copy(CopyFormat::Csv, ',', "", '"'),
        copy(CopyFormat::Csv, ';', "null", '\\'),
    ];
    for seed in 0..800 {
        let mut random = Random(seed);
        let types: Vec<DataType> = (0..1 + random.below(3)).map(|_| random.data_type(3)).collect();
        let fields: Vec<Field> = types.iter().map(|data_type| Field::new("c", data_type.clone(), true)).collect();
        let columns = types.iter().map(|data_type| random.array(data_type, 6)).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        for copy in &copies {
            let data = copy_out::lines(copy, &batch).concat();
            for (column, array) in read(copy, &data, batch.schema_ref()).iter().enumerate() {
                assert_eq!(array, batch.column(column), "seed {seed}, {}:\n{}", types[column], String::from_utf8_lossy(&data));
            }
        }
    }
}

//! A column while it is filled, cell by cell. Unlike Arrow's builders it can be cut back, which is how a record with one bad field
//! leaves nothing behind.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
    ListArray, MapArray, NullBufferBuilder, StringArray, StructArray, Time32MillisecondArray, TimestampMillisecondArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, FieldRef, TimeUnit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hashbrown::HashMap;

/// Why a record cannot be read, for the processing log.
pub(crate) type Reason = String;

pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, Reason> {
    simdutf8::compat::from_utf8(bytes).map_err(|error| format!("not UTF-8: {error}"))
}

pub(crate) struct Column {
    data_type: DataType,
    /// Inside a nested type a null may be forbidden; at the top a bad record is always null.
    nullable: bool,
    nulls: NullBufferBuilder,
    pub(crate) values: Values,
}

pub(crate) enum Values {
    Boolean(BooleanBufferBuilder),
    Int(Vec<i32>),
    Bigint(Vec<i64>),
    Double(Vec<f64>),
    Decimal { values: Vec<i128>, precision: u8, scale: i8 },
    Varchar { offsets: Vec<i32>, bytes: Vec<u8> },
    Bytes { offsets: Vec<i32>, bytes: Vec<u8> },
    Date(Vec<i32>),
    Time(Vec<i32>),
    Timestamp(Vec<i64>),
    List { offsets: Vec<i32>, item: Box<Column> },
    Map { offsets: Vec<i32>, key: Box<Column>, value: Box<Column> },
    Struct { names: Arc<Names>, fields: Vec<Column> },
}

impl Column {
    /// `None` when no SQL type is held by `data_type`.
    pub(crate) fn new(data_type: &DataType, nullable: bool, capacity: usize) -> Option<Column> {
        let values = match data_type {
            DataType::Boolean => Values::Boolean(BooleanBufferBuilder::new(capacity)),
            DataType::Int32 => Values::Int(Vec::with_capacity(capacity)),
            DataType::Int64 => Values::Bigint(Vec::with_capacity(capacity)),
            DataType::Float64 => Values::Double(Vec::with_capacity(capacity)),
            DataType::Decimal128(precision, scale) => {
                Values::Decimal { values: Vec::with_capacity(capacity), precision: *precision, scale: *scale }
            }
            DataType::Utf8 => Values::Varchar { offsets: offsets(capacity), bytes: Vec::new() },
            DataType::Binary => Values::Bytes { offsets: offsets(capacity), bytes: Vec::new() },
            DataType::Date32 => Values::Date(Vec::with_capacity(capacity)),
            DataType::Time32(TimeUnit::Millisecond) => Values::Time(Vec::with_capacity(capacity)),
            DataType::Timestamp(TimeUnit::Millisecond, None) => Values::Timestamp(Vec::with_capacity(capacity)),
            DataType::List(item) => Values::List { offsets: offsets(capacity), item: Box::new(Column::of(item)?) },
            DataType::Map(entries, _) => {
                let (key, value) = map_fields(entries)?;
                let mut key = Column::of(key)?;
                key.nullable = false;
                Values::Map { offsets: offsets(capacity), key: Box::new(key), value: Box::new(Column::of(value)?) }
            }
            DataType::Struct(fields) => Values::Struct {
                names: Arc::new(Names::new(fields.iter().map(|field| field.name().as_str()))),
                fields: fields.iter().map(Column::of).collect::<Option<_>>()?,
            },
            _ => return None,
        };
        Some(Column { data_type: data_type.clone(), nullable, nulls: NullBufferBuilder::new(capacity), values })
    }

    fn of(field: &FieldRef) -> Option<Column> {
        Column::new(field.data_type(), field.is_nullable(), 0)
    }

    /// An empty column of the same type.
    pub(crate) fn fresh(&self, capacity: usize) -> Column {
        let values = match &self.values {
            Values::List { item, .. } => Values::List { offsets: offsets(capacity), item: Box::new(item.fresh(0)) },
            Values::Map { key, value, .. } => {
                Values::Map { offsets: offsets(capacity), key: Box::new(key.fresh(0)), value: Box::new(value.fresh(0)) }
            }
            Values::Struct { names, fields } => {
                Values::Struct { names: Arc::clone(names), fields: fields.iter().map(|field| field.fresh(capacity)).collect() }
            }
            _ => return Column::new(&self.data_type, self.nullable, capacity).expect("its type was accepted before"),
        };
        Column { data_type: self.data_type.clone(), nullable: self.nullable, nulls: NullBufferBuilder::new(capacity), values }
    }

    pub(crate) fn len(&self) -> usize {
        self.nulls.len()
    }

    /// A value has been pushed to `values`.
    pub(crate) fn pushed(&mut self) {
        self.nulls.append_non_null();
    }

    /// A null of a nested value, if its type has them.
    pub(crate) fn put_null(&mut self) -> Result<(), Reason> {
        if !self.nullable {
            return Err("null where none may be".to_string());
        }
        self.append_null();
        Ok(())
    }

    pub(crate) fn append_null(&mut self) {
        match &mut self.values {
            Values::Boolean(values) => values.append(false),
            Values::Int(values) | Values::Date(values) | Values::Time(values) => values.push(0),
            Values::Bigint(values) | Values::Timestamp(values) => values.push(0),
            Values::Double(values) => values.push(0.0),
            Values::Decimal { values, .. } => values.push(0),
            Values::Varchar { offsets, .. }
            | Values::Bytes { offsets, .. }
            | Values::List { offsets, .. }
            | Values::Map { offsets, .. } => offsets.push(*offsets.last().expect("offsets begin with 0")),
            Values::Struct { fields, .. } => fields.iter_mut().for_each(Column::append_null),
        }
        self.nulls.append_null();
    }

    /// A VARCHAR or BYTES value.
    pub(crate) fn append_bytes(&mut self, value: &[u8]) -> Result<(), Reason> {
        let (Values::Varchar { offsets, bytes } | Values::Bytes { offsets, bytes }) = &mut self.values else {
            return Err(format!("{} does not hold bytes", self.data_type));
        };
        bytes.extend_from_slice(value);
        push_offset(offsets, bytes.len())?;
        self.nulls.append_non_null();
        Ok(())
    }

    /// A BYTES value from its base64. What a bad one leaves behind goes with the record, by [`Column::truncate`].
    pub(crate) fn append_base64(&mut self, text: &str) -> Result<(), Reason> {
        let Values::Bytes { offsets, bytes } = &mut self.values else {
            return Err(format!("{} does not hold bytes", self.data_type));
        };
        STANDARD.decode_vec(text, bytes).map_err(|error| format!("not base64: {error}"))?;
        push_offset(offsets, bytes.len())?;
        self.nulls.append_non_null();
        Ok(())
    }

    /// Ends a list or map whose elements have been appended.
    pub(crate) fn close(&mut self) -> Result<(), Reason> {
        match &mut self.values {
            Values::List { offsets, item } => push_offset(offsets, item.len())?,
            Values::Map { offsets, key, .. } => push_offset(offsets, key.len())?,
            _ => {}
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// Back to `len` cells, whatever was begun after them.
    pub(crate) fn truncate(&mut self, len: usize) {
        match &mut self.values {
            Values::Boolean(values) => values.truncate(len),
            Values::Int(values) | Values::Date(values) | Values::Time(values) => values.truncate(len),
            Values::Bigint(values) | Values::Timestamp(values) => values.truncate(len),
            Values::Double(values) => values.truncate(len),
            Values::Decimal { values, .. } => values.truncate(len),
            Values::Varchar { offsets, bytes } | Values::Bytes { offsets, bytes } => bytes.truncate(cut(offsets, len)),
            Values::List { offsets, item } => item.truncate(cut(offsets, len)),
            Values::Map { offsets, key, value } => {
                let entries = cut(offsets, len);
                key.truncate(entries);
                value.truncate(entries);
            }
            Values::Struct { fields, .. } => fields.iter_mut().for_each(|field| field.truncate(len)),
        }
        if self.nulls.len() > len {
            self.nulls.truncate(len);
        }
    }

    pub(crate) fn finish(mut self) -> ArrayRef {
        const SOUND: &str = "a column is filled cell by cell";
        let len = self.len();
        let nulls = self.nulls.finish().filter(|nulls| nulls.null_count() > 0);
        match self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.build(), nulls)),
            Values::Int(values) => Arc::new(Int32Array::new(values.into(), nulls)),
            Values::Bigint(values) => Arc::new(Int64Array::new(values.into(), nulls)),
            Values::Double(values) => Arc::new(Float64Array::new(values.into(), nulls)),
            Values::Decimal { values, .. } => {
                Arc::new(Decimal128Array::new(values.into(), nulls).with_data_type(self.data_type)) as ArrayRef
            }
            Values::Varchar { offsets, bytes } => {
                Arc::new(StringArray::try_new(buffer(offsets), Buffer::from_vec(bytes), nulls).expect("only text was appended"))
            }
            Values::Bytes { offsets, bytes } => {
                Arc::new(BinaryArray::try_new(buffer(offsets), Buffer::from_vec(bytes), nulls).expect(SOUND))
            }
            Values::Date(values) => Arc::new(Date32Array::new(values.into(), nulls)),
            Values::Time(values) => Arc::new(Time32MillisecondArray::new(values.into(), nulls)),
            Values::Timestamp(values) => Arc::new(TimestampMillisecondArray::new(values.into(), nulls)),
            Values::List { offsets, item } => {
                let DataType::List(field) = self.data_type else { unreachable!("made of a list type") };
                Arc::new(ListArray::try_new(field, buffer(offsets), item.finish(), nulls).expect(SOUND))
            }
            Values::Map { offsets, key, value } => {
                let DataType::Map(field, sorted) = self.data_type else { unreachable!("made of a map type") };
                let DataType::Struct(fields) = field.data_type().clone() else { unreachable!("made of a map type") };
                let entries = StructArray::try_new(fields, vec![key.finish(), value.finish()], None).expect(SOUND);
                Arc::new(MapArray::try_new(field, buffer(offsets), entries, nulls, sorted).expect(SOUND))
            }
            Values::Struct { fields, .. } => {
                let DataType::Struct(types) = self.data_type else { unreachable!("made of a struct type") };
                Arc::new(struct_array(types, fields, nulls, len))
            }
        }
    }
}

/// A struct without fields has a length all the same.
fn struct_array(types: arrow::datatypes::Fields, fields: Vec<Column>, nulls: Option<NullBuffer>, len: usize) -> StructArray {
    if fields.is_empty() {
        return StructArray::new_empty_fields(len, nulls);
    }
    StructArray::try_new(types, fields.into_iter().map(Column::finish).collect(), nulls).expect("a column is filled cell by cell")
}

/// The names of an object's fields: found exactly, else without regard to case.
#[derive(Debug)]
pub(crate) struct Names {
    in_order: Vec<String>,
    exact: HashMap<String, usize>,
    folded: HashMap<String, usize>,
}

impl Names {
    pub(crate) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Names {
        let in_order: Vec<String> = names.map(str::to_string).collect();
        let mut exact = HashMap::new();
        let mut folded = HashMap::new();
        for (index, name) in in_order.iter().enumerate() {
            exact.entry(name.clone()).or_insert(index);
            folded.entry(name.to_lowercase()).or_insert(index);
        }
        Names { in_order, exact, folded }
    }

    /// Finds the fields of one object, asked for one after the other: they mostly come in order.
    pub(crate) fn in_turn(&self) -> impl FnMut(&str) -> Option<usize> + '_ {
        let mut expected = 0;
        move |name| {
            let found = if self.in_order.get(expected).is_some_and(|next| next == name) { Some(expected) } else { self.find(name) };
            expected = found.map_or(expected, |index| index + 1);
            found
        }
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.exact.get(name).or_else(|| self.folded.get(&name.to_lowercase())).copied()
    }
}

/// The names in the first object of a batch, in their order, and what each of them is: the objects behind it mostly have the same.
#[derive(Default)]
pub(crate) struct Shape(Vec<(String, Option<usize>)>);

/// So many are remembered.
const SHAPE_MAX: usize = 1_024;

impl Shape {
    /// As [`Names::in_turn`].
    pub(crate) fn in_turn(&mut self, names: &Names) -> impl FnMut(&str) -> Option<usize> {
        let mut place = 0;
        let first = self.0.is_empty();
        move |name| {
            let known = self.0.get(place).filter(|(known, _)| known == name).map(|(_, index)| *index);
            place += 1;
            known.unwrap_or_else(|| {
                let index = names.find(name);
                if first && self.0.len() < SHAPE_MAX {
                    self.0.push((name.to_owned(), index));
                }
                index
            })
        }
    }
}

pub(crate) fn is_scalar(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Boolean
            | DataType::Int32
            | DataType::Int64
            | DataType::Float64
            | DataType::Decimal128(_, _)
            | DataType::Utf8
            | DataType::Binary
            | DataType::Date32
            | DataType::Time32(TimeUnit::Millisecond)
            | DataType::Timestamp(TimeUnit::Millisecond, None)
    )
}

/// Key and value of a map's entries.
pub(crate) fn map_fields(entries: &FieldRef) -> Option<(&FieldRef, &FieldRef)> {
    match entries.data_type() {
        DataType::Struct(fields) if fields.len() == 2 => Some((&fields[0], &fields[1])),
        _ => None,
    }
}

fn offsets(capacity: usize) -> Vec<i32> {
    let mut offsets = Vec::with_capacity(capacity + 1);
    offsets.push(0);
    offsets
}

fn push_offset(offsets: &mut Vec<i32>, end: usize) -> Result<(), Reason> {
    offsets.push(i32::try_from(end).map_err(|_| "the batch is larger than 2 GiB".to_string())?);
    Ok(())
}

/// Keeps `len` cells; where their elements end.
fn cut(offsets: &mut Vec<i32>, len: usize) -> usize {
    offsets.truncate(len + 1);
    *offsets.last().expect("offsets begin with 0") as usize
}

fn buffer(offsets: Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(offsets))
}

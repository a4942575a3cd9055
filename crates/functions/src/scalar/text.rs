//! LEN, INSTR, SPLIT. Positions and lengths of texts count characters, as SUBSTRING does.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, Int32Array, ListBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field, Int64Type};
use datafusion::error::Result;

use super::{Function, is_bytes, is_integer, is_null, is_text};

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "len",
        usage: "len(text) or len(bytes)",
        arguments: |types| match types {
            [one] if is_text(one) => Some(vec![DataType::Utf8]),
            [one] if is_bytes(one) => Some(vec![DataType::Binary]),
            _ => None,
        },
        returns: |_| DataType::Int32,
        invoke: len,
    },
    Function {
        name: "instr",
        usage: "instr(text, part [, position [, occurrence]])",
        arguments: |types| match types {
            [text, part, numbers @ ..] if is_text(text) && is_text(part) && numbers.len() <= 2 && numbers.iter().all(is_integer) => {
                Some([DataType::Utf8, DataType::Utf8, DataType::Int64, DataType::Int64][..types.len()].to_vec())
            }
            _ => None,
        },
        returns: |_| DataType::Int32,
        invoke: instr,
    },
    Function {
        name: "split",
        usage: "split(text, delimiter) or split(bytes, delimiter)",
        arguments: |types| match types {
            [value, delimiter] if is_text(value) && is_text(delimiter) => Some(vec![DataType::Utf8; 2]),
            [value, delimiter] if is_bytes(value) && is_bytes(delimiter) => Some(vec![DataType::Binary; 2]),
            _ => None,
        },
        returns: |types| DataType::List(Arc::new(Field::new("item", types[0].clone(), true))),
        invoke: split,
    },
];

fn len(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let lengths: Int32Array = match arrays[0].as_string_opt::<i32>() {
        Some(texts) => texts.iter().map(|text| text.map(|text| text.chars().count() as i32)).collect(),
        None => arrays[0].as_binary::<i32>().iter().map(|bytes| bytes.map(|bytes| bytes.len() as i32)).collect(),
    };
    Ok(Arc::new(lengths))
}

fn instr(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let (texts, parts) = (arrays[0].as_string::<i32>(), arrays[1].as_string::<i32>());
    let number = |index: usize, row: usize| arrays.get(index).map_or(1, |numbers| numbers.as_primitive::<Int64Type>().value(row));
    let found = (0..texts.len()).map(|row| {
        if is_null(&arrays[..2], row) {
            return Some(0);
        }
        // A number that is NULL fails in ksqlDB, which makes the call NULL.
        (!is_null(&arrays[2..], row)).then(|| position(texts.value(row), parts.value(row), number(2, row), number(3, row)))
    });
    Ok(Arc::new(found.collect::<Int32Array>()))
}

/// Where the `occurrence`-th `part` begins, from 1, counted from `from` on; backwards from there, and `from` from the end, when it is
/// negative. 0 if there is none.
fn position(text: &str, part: &str, from: i64, occurrence: i64) -> i32 {
    let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let length = starts.len() as i64;
    if from == 0 || from.unsigned_abs() > length.unsigned_abs() || occurrence < 1 {
        return 0;
    }
    let is_at = |index: &i64| text[starts[*index as usize]..].starts_with(part);
    let skipped = usize::try_from(occurrence - 1).unwrap_or(usize::MAX);
    let found = if from > 0 { (from - 1..length).filter(is_at).nth(skipped) } else { (0..=length + from).rev().filter(is_at).nth(skipped) };
    found.map_or(0, |index| index as i32 + 1)
}

/// At each delimiter, keeping empty parts; into characters or bytes when it is empty.
fn split(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let Some(texts) = arrays[0].as_string_opt::<i32>() else { return Ok(split_bytes(arrays)) };
    let delimiters = arrays[1].as_string::<i32>();
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in 0..texts.len() {
        if is_null(arrays, row) {
            lists.append_null();
            continue;
        }
        match (texts.value(row), delimiters.value(row)) {
            ("", _) => lists.values().append_value(""),
            (text, "") => text.chars().for_each(|character| lists.values().append_value(character.encode_utf8(&mut [0; 4]))),
            (text, delimiter) => text.split(delimiter).for_each(|part| lists.values().append_value(part)),
        }
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}

fn split_bytes(arrays: &[ArrayRef]) -> ArrayRef {
    let (values, delimiters) = (arrays[0].as_binary::<i32>(), arrays[1].as_binary::<i32>());
    let mut lists = ListBuilder::new(BinaryBuilder::new());
    for row in 0..values.len() {
        if is_null(arrays, row) {
            lists.append_null();
            continue;
        }
        let (mut rest, delimiter) = (values.value(row), delimiters.value(row));
        if delimiter.is_empty() {
            rest.chunks(1).for_each(|byte| lists.values().append_value(byte));
        } else {
            while let Some(at) = rest.windows(delimiter.len()).position(|window| window == delimiter) {
                lists.values().append_value(&rest[..at]);
                rest = &rest[at + delimiter.len()..];
            }
            lists.values().append_value(rest);
        }
        lists.append(true);
    }
    Arc::new(lists.finish())
}

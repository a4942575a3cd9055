//! Dates and times as text (Java's patterns) and as numbers.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, PrimitiveArray, StringArray, Time32MillisecondArray, TimestampMillisecondArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Int32Type, Int64Type, Time32MillisecondType, TimeUnit, TimestampMillisecondType,
};
use datafusion::error::Result;
use millpond_formats::timestamp::{Pattern, Zone};

use super::{Function, Memo, failed, is_integer, is_null, is_text};

const DAY_MS: i64 = 86_400_000;
const TIME: DataType = DataType::Time32(TimeUnit::Millisecond);
const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "format_timestamp",
        usage: "format_timestamp(timestamp, pattern [, zone])",
        arguments: |types| match types {
            [timestamp, texts @ ..] if is_timestamp(timestamp) => with_texts(TIMESTAMP, texts, 1, 2),
            _ => None,
        },
        returns: |_| DataType::Utf8,
        invoke: format_timestamp,
    },
    Function {
        name: "format_date",
        usage: "format_date(date, pattern)",
        arguments: |types| match types {
            [DataType::Date32 | DataType::Date64 | DataType::Null, texts @ ..] => with_texts(DataType::Date32, texts, 1, 1),
            _ => None,
        },
        returns: |_| DataType::Utf8,
        invoke: format_date,
    },
    Function {
        name: "format_time",
        usage: "format_time(time, pattern)",
        arguments: |types| match types {
            [DataType::Time32(_) | DataType::Time64(_) | DataType::Null, texts @ ..] => with_texts(TIME, texts, 1, 1),
            _ => None,
        },
        returns: |_| DataType::Utf8,
        invoke: format_time,
    },
    Function {
        name: "parse_timestamp",
        usage: "parse_timestamp(text, pattern [, zone])",
        arguments: |types| match types {
            [text, texts @ ..] if is_text(text) => with_texts(DataType::Utf8, texts, 1, 2),
            _ => None,
        },
        returns: |_| TIMESTAMP,
        invoke: parse_timestamp,
    },
    Function {
        name: "parse_date",
        usage: "parse_date(text, pattern)",
        arguments: two_texts,
        returns: |_| DataType::Date32,
        invoke: parse_date,
    },
    Function { name: "parse_time", usage: "parse_time(text, pattern)", arguments: two_texts, returns: |_| TIME, invoke: parse_time },
    Function {
        name: "from_unixtime",
        usage: "from_unixtime(milliseconds)",
        arguments: |types| matches!(types, [ms] if is_integer(ms)).then(|| vec![DataType::Int64]),
        returns: |_| TIMESTAMP,
        invoke: |arrays| Ok(Arc::new(arrays[0].as_primitive::<Int64Type>().reinterpret_cast::<TimestampMillisecondType>())),
    },
    Function {
        name: "unix_timestamp",
        usage: "unix_timestamp(timestamp)",
        arguments: |types| matches!(types, [timestamp] if is_timestamp(timestamp)).then(|| vec![TIMESTAMP]),
        returns: |_| DataType::Int64,
        invoke: |arrays| Ok(Arc::new(arrays[0].as_primitive::<TimestampMillisecondType>().reinterpret_cast::<Int64Type>())),
    },
    Function {
        name: "from_days",
        usage: "from_days(days)",
        arguments: |types| matches!(types, [days] if is_integer(days)).then(|| vec![DataType::Int32]),
        returns: |_| DataType::Date32,
        invoke: |arrays| Ok(Arc::new(arrays[0].as_primitive::<Int32Type>().reinterpret_cast::<Date32Type>())),
    },
    Function {
        name: "unix_date",
        usage: "unix_date(date)",
        arguments: |types| matches!(types, [DataType::Date32 | DataType::Date64 | DataType::Null]).then(|| vec![DataType::Date32]),
        returns: |_| DataType::Int32,
        invoke: |arrays| Ok(Arc::new(arrays[0].as_primitive::<Date32Type>().reinterpret_cast::<Int32Type>())),
    },
];

fn is_timestamp(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_, _) | DataType::Null)
}

/// `first`, then `min` to `max` texts.
fn with_texts(first: DataType, texts: &[DataType], min: usize, max: usize) -> Option<Vec<DataType>> {
    ((min..=max).contains(&texts.len()) && texts.iter().all(is_text))
        .then(|| std::iter::once(first).chain(texts.iter().map(|_| DataType::Utf8)).collect())
}

fn two_texts(types: &[DataType]) -> Option<Vec<DataType>> {
    match types {
        [text, texts @ ..] if is_text(text) => with_texts(DataType::Utf8, texts, 1, 1),
        _ => None,
    }
}

/// Patterns and zones that the rows of a batch share.
struct Compiled {
    name: &'static str,
    patterns: Memo<Pattern>,
    zones: Memo<Zone>,
}

impl Compiled {
    fn new(name: &'static str) -> Compiled {
        Compiled { name, patterns: Memo::new(), zones: Memo::new() }
    }

    /// The pattern and zone of `row`, second and third argument.
    fn at(&mut self, arrays: &[ArrayRef], row: usize) -> Result<(&Pattern, Zone)> {
        let name = self.name;
        let zone = match arrays.get(2) {
            Some(zones) => {
                *self.zones.get(zones.as_string::<i32>().value(row), |zone| Zone::parse(zone).map_err(|error| failed(name, error)))?
            }
            None => Zone::UTC,
        };
        let pattern = arrays[1].as_string::<i32>().value(row);
        Ok((self.patterns.get(pattern, |pattern| Pattern::new(pattern).map_err(|error| failed(name, error)))?, zone))
    }

    /// The pattern of `row`, which must not have fields of the kind that `forbidden` finds.
    fn only(&mut self, arrays: &[ArrayRef], row: usize, forbidden: fn(&Pattern) -> bool, what: &str) -> Result<&Pattern> {
        let name = self.name;
        let (pattern, _) = self.at(arrays, row)?;
        if forbidden(pattern) {
            return Err(failed(name, format!("'{}' has {what}", arrays[1].as_string::<i32>().value(row))));
        }
        Ok(pattern)
    }
}

fn format_timestamp(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let mut compiled = Compiled::new("format_timestamp");
    texts::<TimestampMillisecondType>(arrays, |row, ms| {
        let (pattern, zone) = compiled.at(arrays, row)?;
        Ok(pattern.format_in(ms, &zone))
    })
}

fn format_date(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let mut compiled = Compiled::new("format_date");
    texts::<Date32Type>(arrays, |row, days| {
        Ok(compiled.only(arrays, row, Pattern::has_time, "fields of a time")?.format(i64::from(days) * DAY_MS))
    })
}

fn format_time(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let mut compiled = Compiled::new("format_time");
    texts::<Time32MillisecondType>(arrays, |row, ms| {
        Ok(compiled.only(arrays, row, Pattern::has_date, "fields of a date")?.format(i64::from(ms)))
    })
}

fn texts<T: ArrowPrimitiveType>(arrays: &[ArrayRef], mut format: impl FnMut(usize, T::Native) -> Result<String>) -> Result<ArrayRef> {
    let values: &PrimitiveArray<T> = arrays[0].as_primitive();
    let one = |row: usize| if is_null(arrays, row) { Ok(None) } else { format(row, values.value(row)).map(Some) };
    Ok(Arc::new((0..values.len()).map(one).collect::<Result<StringArray>>()?))
}

fn parse_timestamp(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let mut compiled = Compiled::new("parse_timestamp");
    let parse = |row: usize, text: &str| {
        let (pattern, zone) = compiled.at(arrays, row)?;
        pattern.parse_in(text, &zone).map_err(|error| failed("parse_timestamp", error))
    };
    Ok(Arc::new(parsed(arrays, parse)?.into_iter().collect::<TimestampMillisecondArray>()))
}

/// Text behind what the pattern covers does not matter; a time other than midnight does.
fn parse_date(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let mut compiled = Compiled::new("parse_date");
    let parse = |row: usize, text: &str| {
        let (pattern, _) = compiled.at(arrays, row)?;
        let ms = pattern.parse_prefix(text).map_err(|error| failed("parse_date", error))?;
        if ms % DAY_MS != 0 {
            return Err(failed("parse_date", format!("'{text}' has a time of day")));
        }
        i32::try_from(ms / DAY_MS).map_err(|_| failed("parse_date", format!("'{text}' is out of range")))
    };
    Ok(Arc::new(parsed(arrays, parse)?.into_iter().collect::<Date32Array>()))
}

fn parse_time(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let mut compiled = Compiled::new("parse_time");
    let parse = |row: usize, text: &str| {
        let pattern = compiled.only(arrays, row, Pattern::has_date, "fields of a date")?;
        let ms = pattern.parse(text).map_err(|error| failed("parse_time", error))?;
        Ok(ms.rem_euclid(DAY_MS) as i32)
    };
    Ok(Arc::new(parsed(arrays, parse)?.into_iter().collect::<Time32MillisecondArray>()))
}

fn parsed<T>(arrays: &[ArrayRef], mut parse: impl FnMut(usize, &str) -> Result<T>) -> Result<Vec<Option<T>>> {
    let texts = arrays[0].as_string::<i32>();
    (0..texts.len()).map(|row| if is_null(arrays, row) { Ok(None) } else { parse(row, texts.value(row)).map(Some) }).collect()
}

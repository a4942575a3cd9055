//! `to_char(time, format)`: PostgreSQL's templates, beside the patterns with `%` that DataFusion's function of the name has.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, IntervalMonthDayNanoArray, StringArray, StringBuilder};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{cast, is_not_null};
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions::datetime;
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;
use millpond_formats::timestamp::Zone;

use super::template::{Moment, Template};
use super::{failed, is_text};

const NAME: &str = "to_char";
const USAGE: &str = "to_char(timestamp, format), to_char(date, format), to_char(time, format) or to_char(interval, format)";
const DAY_MICROS: i64 = 86_400_000_000;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ToChar {
    signature: Signature,
    /// Takes the formats with `%`.
    strftime: Arc<ScalarUDF>,
}

impl ToChar {
    pub(super) fn new() -> ToChar {
        ToChar { signature: Signature::user_defined(Volatility::Immutable), strftime: datetime::to_char() }
    }
}

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let value = match types {
            [value, format] if is_text(format) => match value {
                DataType::Interval(_) => Some(DataType::Interval(IntervalUnit::MonthDayNano)),
                text if is_text(text) => Some(DataType::Timestamp(TimeUnit::Nanosecond, None)),
                // Why there are no numbers is told with the type of the result.
                other if is_time(other) || other.is_numeric() => Some(other.clone()),
                _ => None,
            },
            _ => None,
        };
        let value = value.ok_or_else(|| DataFusionError::Plan(format!("it is called as {USAGE}")))?;
        Ok(vec![value, DataType::Utf8])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        if types.first().is_some_and(DataType::is_numeric) {
            let instead = "write CAST(number AS VARCHAR), or round(number, 2)";
            return Err(DataFusionError::NotImplemented(format!("to_char of a number is not supported: {instead}")));
        }
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value, format] = args.args.as_slice() else {
            return Err(failed(NAME, format!("it is called as {USAGE}")));
        };
        let formats = match format {
            ColumnarValue::Scalar(format) => match format.try_as_str().flatten() {
                None | Some("") => return Ok(ColumnarValue::Scalar(ScalarValue::Utf8(None))),
                Some(format) if is_strftime(format, &value.data_type()) => return self.strftime.invoke_with_args(args),
                Some(format) => {
                    let template = Template::new(format);
                    let written = written(&value.to_array(1)?, |_| Some(&template))?;
                    return Ok(match value {
                        ColumnarValue::Scalar(_) => ColumnarValue::Scalar(ScalarValue::try_from_array(&written, 0)?),
                        ColumnarValue::Array(_) => ColumnarValue::Array(Arc::new(written)),
                    });
                }
            },
            ColumnarValue::Array(formats) => formats.as_string::<i32>().clone(),
        };
        let value = value.to_array(args.number_rows)?;
        self.each_by_its_own(value, &formats, args).map(ColumnarValue::Array)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.strftime.documentation()
    }
}

impl ToChar {
    /// A column of formats, of both kinds.
    fn each_by_its_own(&self, values: ArrayRef, formats: &StringArray, args: ScalarFunctionArgs) -> Result<ArrayRef> {
        let is_other = |format: &str| is_strftime(format, values.data_type());
        let templates: HashMap<&str, Template> = formats
            .iter()
            .flatten()
            .filter(|format| !format.is_empty() && !is_other(format))
            .map(|format| (format, Template::new(format)))
            .collect();
        let written = written(&values, |row| formats.is_valid(row).then(|| templates.get(formats.value(row))).flatten())?;
        let others: StringArray = formats.iter().map(|format| format.filter(|format| is_other(format))).collect();
        if others.null_count() == others.len() {
            return Ok(Arc::new(written));
        }
        let theirs = is_not_null(&others)?;
        let rows = args.number_rows;
        let others = vec![ColumnarValue::Array(values), ColumnarValue::Array(Arc::new(others))];
        let printed = self.strftime.invoke_with_args(ScalarFunctionArgs { args: others, ..args })?.into_array(rows)?;
        Ok(zip(&theirs, &printed, &written)?)
    }
}

/// Whether DataFusion's function takes the format: one for `strftime`, or a name that it has for spans of time.
fn is_strftime(format: &str, data_type: &DataType) -> bool {
    let names = ["iso8601", "pretty"];
    format.contains('%') || (matches!(data_type, DataType::Duration(_)) && names.iter().any(|name| format.eq_ignore_ascii_case(name)))
}

/// Each value by the template of its row; without one it is null.
fn written<'t>(values: &ArrayRef, template: impl Fn(usize) -> Option<&'t Template>) -> Result<StringArray> {
    let moments = Moments::of(values)?;
    let mut texts = StringBuilder::new();
    let mut text = String::new();
    for row in 0..values.len() {
        match template(row).filter(|_| values.is_valid(row)) {
            Some(template) => {
                text.clear();
                template.write(&moments.at(row)?, &mut text).map_err(|reason| failed(NAME, reason))?;
                texts.append_value(&text);
            }
            None => texts.append_null(),
        }
    }
    Ok(texts.finish())
}

/// A column of times.
enum Moments<'a> {
    Instants {
        counts: Int64Array,
        unit: Unit,
        zone: Option<Zone>,
    },
    /// A time of day counts as the span from midnight.
    Spans {
        counts: Int64Array,
        unit: Unit,
        in_days: bool,
    },
    Intervals(&'a IntervalMonthDayNanoArray),
}

/// How many microseconds a count stands for, as a fraction.
#[derive(Clone, Copy)]
struct Unit(i64, i64);

impl Unit {
    fn of(unit: TimeUnit) -> Unit {
        match unit {
            TimeUnit::Second => Unit(1_000_000, 1),
            TimeUnit::Millisecond => Unit(1_000, 1),
            TimeUnit::Microsecond => Unit(1, 1),
            TimeUnit::Nanosecond => Unit(1, 1_000),
        }
    }

    fn micros(self, count: i64) -> Option<i64> {
        Some(count.checked_mul(self.0)?.div_euclid(self.1))
    }
}

impl Moments<'_> {
    fn of(values: &ArrayRef) -> Result<Moments<'_>> {
        let counts = || -> Result<Int64Array> { Ok(cast(values, &DataType::Int64)?.as_primitive::<Int64Type>().clone()) };
        Ok(match values.data_type() {
            DataType::Date32 => Moments::Instants { counts: counts()?, unit: Unit(DAY_MICROS, 1), zone: None },
            DataType::Date64 => Moments::Instants { counts: counts()?, unit: Unit(1_000, 1), zone: None },
            DataType::Timestamp(unit, zone) => {
                let zone = zone.as_deref().map(|zone| Zone::parse(zone).map_err(|error| failed(NAME, error))).transpose()?;
                Moments::Instants { counts: counts()?, unit: Unit::of(*unit), zone }
            }
            DataType::Time32(unit) | DataType::Time64(unit) => Moments::Spans { counts: counts()?, unit: Unit::of(*unit), in_days: false },
            DataType::Duration(unit) => Moments::Spans { counts: counts()?, unit: Unit::of(*unit), in_days: true },
            DataType::Interval(IntervalUnit::MonthDayNano) => Moments::Intervals(values.as_primitive::<IntervalMonthDayNanoType>()),
            other => return Err(failed(NAME, format!("{other} is no time"))),
        })
    }

    fn at(&self, row: usize) -> Result<Moment> {
        let out_of_range = || failed(NAME, "the time is out of range");
        match self {
            Moments::Instants { counts, unit, zone } => {
                let micros = unit.micros(counts.value(row)).ok_or_else(out_of_range)?;
                let ms = micros.div_euclid(1_000);
                let zone = zone.as_ref().map(|zone| (zone.offset_seconds(ms), zone.name(ms)));
                let offset_micros = zone.as_ref().map_or(0, |(seconds, _)| i64::from(*seconds) * 1_000_000);
                micros.checked_add(offset_micros).and_then(|local| Moment::at(local, zone)).ok_or_else(out_of_range)
            }
            Moments::Spans { counts, unit, in_days } => {
                let micros = unit.micros(counts.value(row)).ok_or_else(out_of_range)?;
                let days = if *in_days { micros / DAY_MICROS } else { 0 };
                Ok(Moment::span(0, days, micros - days * DAY_MICROS))
            }
            Moments::Intervals(intervals) => {
                let interval = intervals.value(row);
                Ok(Moment::span(i64::from(interval.months), i64::from(interval.days), interval.nanoseconds / 1_000))
            }
        }
    }
}

fn is_time(data_type: &DataType) -> bool {
    use DataType::{Date32, Date64, Duration, Time32, Time64, Timestamp};
    matches!(data_type, Date32 | Date64 | Time32(_) | Time64(_) | Timestamp(_, _) | Duration(_))
}

//! Values that are written in a statement: literals are read as text, parameters taken as they are, and DataFusion evaluates the rest.

use arrow::array::{Array, ArrayRef, AsArray, new_empty_array};
use arrow::compute::concat;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, SelectItem, SetExpr, Spanned, Statement, UnaryOperator, Value, ValueWithSpan};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use futures::TryStreamExt;
use millpond_formats::text::parse_column;
use millpond_serving::Run;
use millpond_sql::ast;

use super::assign::assign;
use super::write::Slot;
use super::{Given, number};
use crate::error::{Error, Result, invalid_text};
use crate::interrupt::Interrupt;
use crate::session::Session;

/// Expressions that are planned together; plans of many are slow to make.
const EXPRESSIONS_MAX: usize = 256;

enum Cell {
    Text(Option<String>),
    /// One row.
    Value(ArrayRef),
    /// Index into the expressions that are to be evaluated.
    Expression(usize),
}

/// A column for each slot, a row for each of `rows`.
pub async fn evaluate(
    session: &Session,
    interrupt: &mut Interrupt<'_>,
    slots: &[Slot],
    rows: &[Vec<Expr>],
    given: &Given<'_>,
) -> Result<Vec<ArrayRef>> {
    let mut expressions: Vec<&Expr> = Vec::new();
    let mut columns: Vec<Vec<Cell>> = Vec::with_capacity(slots.len());
    for (index, slot) in slots.iter().enumerate() {
        let mut cells = Vec::with_capacity(rows.len());
        for row in rows {
            let expression = &row[index];
            cells.push(match literal(expression, &slot.data_type) {
                Some(text) => Cell::Text(text),
                None => match given_value(expression, &slot.data_type, given)? {
                    Some(value) => Cell::Value(value),
                    None => {
                        expressions.push(expression);
                        Cell::Expression(expressions.len() - 1)
                    }
                },
            });
        }
        columns.push(cells);
    }
    let mut evaluated = Vec::with_capacity(expressions.len());
    for chunk in expressions.chunks(EXPRESSIONS_MAX) {
        evaluated.extend(compute(session, interrupt, chunk, given).await?);
    }
    let column = |(index, (cells, slot)): (usize, (Vec<Cell>, &Slot))| {
        finish(cells, slot, &evaluated).map_err(|(row, error)| place(error, &rows[row][index], given.message))
    };
    columns.into_iter().zip(slots).enumerate().map(column).collect()
}

/// The values of a key column that DELETE's conditions name. What the column's type cannot hold is the key of no row.
pub async fn keys(
    session: &Session,
    interrupt: &mut Interrupt<'_>,
    slot: &Slot,
    expressions: &[Expr],
    given: &Given<'_>,
) -> Result<ArrayRef> {
    let mut found: Vec<ArrayRef> = Vec::with_capacity(expressions.len());
    let mut left: Vec<&Expr> = Vec::new();
    for expression in expressions {
        let placed = |error| place(error, expression, given.message);
        if let Some(value) = exact_number(expression, &slot.data_type)? {
            found.extend(key(&value, slot).map_err(placed)?);
        } else if let Some(text) = literal(expression, &slot.data_type) {
            found.extend(text.map(|text| read(&text, slot)).transpose().map_err(placed)?);
        } else if let Some(value) = parameter(expression, given)? {
            found.extend(each_key(&value.to_array()?, slot).map_err(placed)?);
        } else {
            left.push(expression);
        }
    }
    for chunk in left.chunks(EXPRESSIONS_MAX) {
        let values = compute(session, interrupt, chunk, given).await?;
        for (value, expression) in values.iter().zip(chunk) {
            found.extend(each_key(value, slot).map_err(|error| place(error, expression, given.message))?);
        }
    }
    let found: Vec<&dyn Array> = found.iter().map(AsRef::as_ref).collect();
    if found.is_empty() { Ok(new_empty_array(&slot.data_type)) } else { Ok(concat(&found)?) }
}

/// One value, or the items of an array.
fn each_key(value: &ArrayRef, slot: &Slot) -> Result<Vec<ArrayRef>> {
    match value.data_type() {
        DataType::List(_) if value.is_valid(0) => {
            let items = value.as_list::<i32>().value(0);
            (0..items.len()).filter_map(|item| key(&items.slice(item, 1), slot).transpose()).collect()
        }
        _ => Ok(key(value, slot)?.into_iter().collect()),
    }
}

/// One value as a key; `None` when no key is equal to it.
fn key(value: &ArrayRef, slot: &Slot) -> Result<Option<ArrayRef>> {
    if value.logical_null_count() > 0 {
        return Ok(None);
    }
    if value.data_type().is_numeric() && slot.data_type.is_numeric() {
        return number::exact(value, &slot.data_type);
    }
    assign(value, &slot.data_type, &slot.name).map(Some)
}

fn read(text: &str, slot: &Slot) -> Result<ArrayRef> {
    parse_column([Some(text)].into_iter(), &slot.data_type).map_err(|(_, reason)| Error::new(invalid_text(&reason), reason))
}

fn place(error: Error, expression: &Expr, message: &str) -> Error {
    let start = expression.span().start;
    error.spanned(message, start.line, start.column)
}

/// A literal's text, when reading that as `data_type` means what the literal means.
fn literal(expression: &Expr, data_type: &DataType) -> Option<Option<String>> {
    let number = matches!(data_type, DataType::Float64 | DataType::Decimal128(..) | DataType::Utf8);
    let integer = number || matches!(data_type, DataType::Int32 | DataType::Int64);
    match expression {
        Expr::Value(ValueWithSpan { value, .. }) => match value {
            Value::Null => Some(None),
            Value::SingleQuotedString(text) => Some(Some(text.clone())),
            Value::Boolean(truth) if matches!(data_type, DataType::Boolean | DataType::Utf8) => Some(Some(truth.to_string())),
            Value::Number(text, _) if number || integer && text.bytes().all(|byte| byte.is_ascii_digit()) => Some(Some(text.to_string())),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(ValueWithSpan { value: Value::Number(..), .. }) => literal(expr, data_type)?.map(|text| Some(format!("-{text}"))),
            _ => None,
        },
        _ => None,
    }
}

/// The number that is written, when it is compared with whole numbers or DECIMALs: as it stands there.
fn exact_number(expression: &Expr, data_type: &DataType) -> Result<Option<ArrayRef>> {
    let exact = matches!(data_type, DataType::Int32 | DataType::Int64 | DataType::Decimal128(..));
    let number = number_text(expression).filter(|_| exact).and_then(|text| number::decimal(&text));
    Ok(number.map(|number| number.to_array()).transpose()?)
}

fn number_text(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. }) => Some(text.to_string()),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(_) => number_text(expr).map(|text| format!("-{text}")),
            _ => None,
        },
        _ => None,
    }
}

/// A parameter, or a number for a column of another type, which is rounded as what is written rather than as a DOUBLE.
fn given_value(expression: &Expr, data_type: &DataType, given: &Given<'_>) -> Result<Option<ArrayRef>> {
    match parameter(expression, given)? {
        Some(value) => Ok(Some(value.to_array()?)),
        None => exact_number(expression, data_type),
    }
}

fn parameter<'a>(expression: &Expr, given: &'a Given<'_>) -> Result<Option<&'a ScalarValue>> {
    let Expr::Value(ValueWithSpan { value: Value::Placeholder(name), .. }) = expression else { return Ok(None) };
    let number = name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok()).and_then(|number| number.checked_sub(1));
    match number.and_then(|index| given.parameters.get(index)) {
        Some(value) => Ok(Some(value)),
        None => Err(place(Error::new("42P02", format!("there is no parameter {name}")), expression, given.message)),
    }
}

/// One row of each expression.
async fn compute(session: &Session, interrupt: &mut Interrupt<'_>, expressions: &[&Expr], given: &Given<'_>) -> Result<Vec<ArrayRef>> {
    let query = ast::Query { body: Box::new(select(expressions)?), window: None, partition_by: None, emit: None, within: Vec::new() };
    let serving = &session.shared.serving;
    let settings = session.plan_settings();
    let work = async {
        let pull = serving.prepare(&query, &settings).await.map_err(|error| Error::bound(error, given.message))?;
        let used = given.parameters.iter().take(pull.parameters().len()).cloned().collect();
        let rows = serving.run(&pull, Run { parameters: used, ..Run::default() }).await?;
        rows.try_collect::<Vec<_>>().await.map_err(Error::from)
    };
    let batches = interrupt.guard(work).await?;
    match batches.iter().find(|batch| batch.num_rows() == 1) {
        Some(batch) => Ok(batch.columns().to_vec()),
        None => Err(Error::internal("values gave no row")),
    }
}

/// `SELECT e AS "0", …`.
fn select(expressions: &[&Expr]) -> Result<Query> {
    let mut parsed = Parser::parse_sql(&PostgreSqlDialect {}, "SELECT 1").map_err(Error::internal)?;
    let Some(Statement::Query(mut query)) = parsed.pop() else { return Err(Error::internal("a query is no query")) };
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = expressions
            .iter()
            .enumerate()
            .map(|(index, expression)| SelectItem::ExprWithAlias {
                expr: (*expression).clone(),
                alias: Ident::with_quote('"', index.to_string()),
            })
            .collect();
    }
    Ok(*query)
}

fn finish(cells: Vec<Cell>, slot: &Slot, evaluated: &[ArrayRef]) -> std::result::Result<ArrayRef, (usize, Error)> {
    let invalid = |(row, reason): (usize, String)| (row, Error::new(invalid_text(&reason), reason));
    let texts: Option<Vec<Option<&str>>> = cells
        .iter()
        .map(|cell| match cell {
            Cell::Text(text) => Some(text.as_deref()),
            _ => None,
        })
        .collect();
    if let Some(texts) = texts {
        return parse_column(texts.into_iter(), &slot.data_type).map_err(invalid);
    }
    let mut values: Vec<ArrayRef> = Vec::with_capacity(cells.len());
    for (row, cell) in cells.iter().enumerate() {
        values.push(match cell {
            Cell::Text(text) => {
                parse_column([text.as_deref()].into_iter(), &slot.data_type).map_err(|(_, reason)| invalid((row, reason)))?
            }
            Cell::Value(value) => assign(value, &slot.data_type, &slot.name).map_err(|error| (row, error))?,
            Cell::Expression(index) => assign(&evaluated[*index], &slot.data_type, &slot.name).map_err(|error| (row, error))?,
        });
    }
    let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
    concat(&values).map_err(|error| (0, error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expression(text: &str) -> Expr {
        Parser::new(&PostgreSqlDialect {}).try_with_sql(text).unwrap().parse_expr().unwrap()
    }

    #[test]
    fn literals_are_read_as_their_column_reads_text() {
        assert_eq!(literal(&expression("-7"), &DataType::Int32), Some(Some("-7".to_string())));
        assert_eq!(literal(&expression("NULL"), &DataType::Int32), Some(None));
        assert_eq!(literal(&expression("'a'"), &DataType::Boolean), Some(Some("a".to_string())));
        // Rounding, times in milliseconds and functions are for others.
        assert_eq!(literal(&expression("1.5"), &DataType::Int32), None);
        assert_eq!(literal(&expression("1000"), &DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, None)), None);
        assert_eq!(literal(&expression("1 + 1"), &DataType::Int32), None);
    }

    fn slot(data_type: DataType) -> Slot {
        Slot { name: "k".to_string(), data_type, place: super::super::write::Place::Column(0) }
    }

    #[test]
    fn a_number_that_its_column_cannot_hold_is_no_key() {
        let named = |text: &str, data_type: DataType| {
            let value = exact_number(&expression(text), &data_type).unwrap().unwrap();
            key(&value, &slot(data_type)).unwrap().map(|found| ScalarValue::try_from_array(&found, 0).unwrap())
        };
        assert_eq!(named("2.0", DataType::Int32), Some(ScalarValue::from(2i32)));
        assert_eq!(named("-7", DataType::Int32), Some(ScalarValue::from(-7i32)));
        assert_eq!(named("1.9", DataType::Int32), None);
        assert_eq!(named("99999999999", DataType::Int32), None);
        assert_eq!(named("1.505", DataType::Decimal128(10, 2)), None);
        for value in [ScalarValue::Int32(None), ScalarValue::Null, ScalarValue::from(1.9f64)] {
            assert!(key(&value.to_array().unwrap(), &slot(DataType::Int32)).unwrap().is_none(), "{value}");
        }
    }
}

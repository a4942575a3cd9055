//! DELETE FROM table WHERE key = value: tombstones.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt32Array};
use arrow::compute::take;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Spanned};
use millpond_catalog::{Source, SourceKind};
use millpond_sql::ast::Delete;

use super::write::{self, Place, Slot};
use super::{Answer, Given, values};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::session::Session;

/// A DELETE names at most so many keys.
const KEYS_MAX: usize = 100_000;

pub async fn delete(session: &mut Session, interrupt: &mut Interrupt<'_>, delete: &Delete, given: &Given<'_>) -> Result<Answer> {
    session.may_write("DELETE")?;
    let source = write::writable(session, &delete.target)?;
    if source.kind == SourceKind::Stream {
        return Err(
            Error::new("42809", format!("cannot delete from stream \"{}\"", delete.target)).hint("Rows of a stream go by retention only.")
        );
    }
    let Some(predicate) = &delete.predicate else {
        return Err(which_keys(&source));
    };
    let mut conditions = BTreeMap::new();
    collect(predicate, &source, given, &mut conditions)?;
    let slots: Vec<Slot> = write::slots(&source, &[], session.dialect())?.into_iter().filter(|slot| is_key(&source, slot)).collect();
    let mut columns = Vec::with_capacity(slots.len());
    for slot in &slots {
        let expressions = conditions.get(slot.name.as_str()).ok_or_else(|| which_keys(&source))?;
        columns.push(values::keys(session, interrupt, slot, expressions, given).await?);
    }
    let keys = product(&columns)?;
    let rows = keys.first().map_or(0, |column| column.len());
    if rows == 0 {
        return Ok(Answer::Done("DELETE 0".to_string()));
    }
    let count = count_existing(session, interrupt, &source, keys.clone()).await?;
    let mut tombstones = write::source_write(&source, &slots, keys, rows)?;
    tombstones.tombstones = Some(BooleanArray::from(vec![true; rows]));
    write::write(session, interrupt, vec![tombstones]).await?;
    Ok(Answer::Done(format!("DELETE {count}")))
}

fn is_key(source: &Source, slot: &Slot) -> bool {
    matches!(slot.place, Place::Column(index) if source.columns[index].key)
}

/// `key = value AND key IN (…)`: the values of each column.
fn collect<'a>(predicate: &'a Expr, source: &Source, given: &Given<'_>, conditions: &mut BTreeMap<&'a str, Vec<Expr>>) -> Result<()> {
    let (column, values) = match predicate {
        Expr::Nested(inner) => return collect(inner, source, given, conditions),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            collect(left, source, given, conditions)?;
            return collect(right, source, given, conditions);
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => match (name(left), name(right)) {
            (Some(column), None) => (column, vec![right.as_ref().clone()]),
            (None, Some(column)) => (column, vec![left.as_ref().clone()]),
            _ => return Err(placed(which_keys(source), predicate, given)),
        },
        Expr::InList { expr, list, negated: false } => match name(expr) {
            Some(column) => (column, list.clone()),
            None => return Err(placed(which_keys(source), predicate, given)),
        },
        // The array's items are the values.
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => match name(left) {
            Some(column) => (column, vec![right.as_ref().clone()]),
            None => return Err(placed(which_keys(source), predicate, given)),
        },
        _ => return Err(placed(which_keys(source), predicate, given)),
    };
    match source.column(column) {
        Some(known) if known.key => {}
        Some(_) => return Err(placed(which_keys(source), predicate, given)),
        None => return Err(placed(write::unknown_column(source, column), predicate, given)),
    }
    if conditions.insert(column, values).is_some() {
        return Err(placed(Error::unsupported(format!("column \"{column}\" is compared more than once")), predicate, given));
    }
    Ok(())
}

fn name(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Identifier(name) => Some(&name.value),
        Expr::CompoundIdentifier(names) => names.last().map(|name| name.value.as_str()),
        Expr::Nested(inner) => name(inner),
        _ => None,
    }
}

fn placed(error: Error, expression: &Expr, given: &Given<'_>) -> Error {
    let start = expression.span().start;
    error.spanned(given.message, start.line, start.column)
}

fn which_keys(source: &Source) -> Error {
    let keys: Vec<&str> = source.key_columns().map(|column| column.name.as_str()).collect();
    let example: Vec<String> = keys.iter().map(|key| format!("{key} = …")).collect();
    Error::unsupported("DELETE needs the whole primary key").hint(format!(
        "Write DELETE FROM {} WHERE {}, or with IN (…).",
        source.name,
        example.join(" AND ")
    ))
}

/// Every combination of the columns' values.
fn product(columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    let total = columns.iter().try_fold(1usize, |total, column| total.checked_mul(column.len())).unwrap_or(usize::MAX);
    if total > KEYS_MAX {
        return Err(Error::new("54000", format!("a DELETE can name {KEYS_MAX} keys, not {total}")).hint("Write several."));
    }
    let mut repeat = total;
    columns
        .iter()
        .map(|column| {
            repeat /= column.len().max(1);
            let indices: UInt32Array = (0..total).map(|row| ((row / repeat.max(1)) % column.len().max(1)) as u32).collect();
            Ok(take(column, &indices, None)?)
        })
        .collect()
}

async fn count_existing(session: &Session, interrupt: &mut Interrupt<'_>, source: &Arc<Source>, keys: Vec<ArrayRef>) -> Result<usize> {
    let found = interrupt.guard(session.shared.serving.existing(source, &keys)).await?;
    Ok(found.into_iter().filter(|found| *found).count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int32Array, StringArray};
    use arrow::datatypes::Int32Type;

    #[test]
    fn keys_are_combined() {
        let a: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
        let b: ArrayRef = Arc::new(StringArray::from(vec!["x", "y", "z"]));
        let keys = product(&[a, b]).unwrap();
        assert_eq!(keys[0].as_primitive::<Int32Type>().values(), &[1, 1, 1, 2, 2, 2]);
        let names: Vec<_> = keys[1].as_string::<i32>().iter().flatten().collect();
        assert_eq!(names, ["x", "y", "z", "x", "y", "z"]);
    }
}

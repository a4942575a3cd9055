//! What INSERT, COPY and DELETE have in common: which columns are written, and when.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use millpond_catalog::{Source, SourceKind, types};
use millpond_executor::SourceWrite;
use millpond_planner::schema;
use millpond_sql::ast::Kind;
use millpond_sql::{Dialect, Statement};

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::session::{Session, Transaction};

/// A column that is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    pub name: String,
    pub data_type: DataType,
    pub place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Index into the source's columns.
    Column(usize),
    Rowtime,
}

/// The source, when users may write to it.
pub fn writable(session: &Session, name: &str) -> Result<Arc<Source>> {
    let catalog = session.engine().catalog();
    let source = catalog.source(name)?;
    let refuse = |message: String, hint: &str| Err(Error::new("42809", message).hint(hint));
    if source.read_only {
        return refuse(format!("cannot write to SOURCE {} \"{name}\"", source.kind), "Declare it without SOURCE to write to it.");
    }
    if source.window.is_some() {
        return refuse(format!("cannot write to windowed {} \"{name}\"", source.kind), "Only queries write windows.");
    }
    let writers = catalog.writers(name);
    if source.kind == SourceKind::Table && !writers.is_empty() {
        return refuse(
            format!("cannot write to table \"{name}\": query {} fills it", writers.join(", ")),
            "Write to the stream that the query reads, or declare a table of your own.",
        );
    }
    Ok(Arc::clone(source))
}

/// The columns named, or all that can be written.
pub fn slots(source: &Source, columns: &[String], dialect: Dialect) -> Result<Vec<Slot>> {
    let declared = |index: usize| {
        let column = &source.columns[index];
        Slot { name: column.name.clone(), data_type: types::to_arrow(&column.sql_type), place: Place::Column(index) }
    };
    if columns.is_empty() {
        return Ok((0..source.columns.len()).filter(|index| source.columns[*index].header.is_none()).map(declared).collect());
    }
    let mut slots: Vec<Slot> = Vec::with_capacity(columns.len());
    for name in columns {
        if slots.iter().any(|slot| slot.name == *name) {
            return Err(Error::new("42701", format!("column \"{name}\" specified more than once")));
        }
        let slot = match source.columns.iter().position(|column| column.name == *name) {
            Some(index) if source.columns[index].header.is_some() => return Err(header_column(source, name)),
            Some(index) => declared(index),
            None if *name == dialect.fold(schema::ROWTIME) => {
                Slot { name: name.clone(), data_type: schema::pseudo_time_type(dialect), place: Place::Rowtime }
            }
            None => return Err(unknown_column(source, name)),
        };
        slots.push(slot);
    }
    Ok(slots)
}

fn header_column(source: &Source, name: &str) -> Error {
    Error::new("428C9", format!("cannot write to header column \"{name}\" of {} \"{}\"", source.kind, source.name))
        .hint("Leave it out: headers come from whoever writes to the topic.")
}

pub fn unknown_column(source: &Source, name: &str) -> Error {
    let error = Error::new("42703", format!("column \"{name}\" of relation \"{}\" does not exist", source.name));
    let names: Vec<String> = source.columns.iter().map(|column| column.name.clone()).collect();
    match millpond_catalog::snapshot::similar(name, names.iter()) {
        Some(similar) => error.hint(format!("Perhaps you meant \"{similar}\".")),
        None => error.hint(format!("Its columns are {}.", names.join(", "))),
    }
}

/// `arrays` are the values of `slots`; columns that are not written are NULL.
pub fn source_write(source: &Arc<Source>, slots: &[Slot], arrays: Vec<ArrayRef>, rows: usize) -> Result<SourceWrite> {
    let mut columns: Vec<Option<ArrayRef>> = vec![None; source.columns.len()];
    let mut rowtime = None;
    for (slot, array) in slots.iter().zip(arrays) {
        match slot.place {
            Place::Column(index) => columns[index] = Some(array),
            Place::Rowtime => rowtime = Some(cast(&array, &DataType::Int64)?.as_primitive::<Int64Type>().clone()),
        }
    }
    let mut fields = Vec::with_capacity(columns.len());
    let mut filled = Vec::with_capacity(columns.len());
    for (column, array) in source.columns.iter().zip(columns) {
        let data_type = types::to_arrow(&column.sql_type);
        let array = array.unwrap_or_else(|| new_null_array(&data_type, rows));
        if column.key && source.kind == SourceKind::Table && array.null_count() > 0 {
            return Err(Error::new("23502", format!("null value in key column \"{}\" of table \"{}\"", column.name, source.name))
                .hint("Every row of a table needs its whole primary key."));
        }
        fields.push(Field::new(&column.name, data_type, true));
        filled.push(array);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let rows = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), filled, &options)?;
    Ok(SourceWrite { source: Arc::clone(source), rows, rowtime, tombstones: None })
}

/// Into the open transaction, to the other writes of the message, or into the log.
pub async fn write(session: &mut Session, interrupt: &mut Interrupt<'_>, writes: Vec<SourceWrite>) -> Result<()> {
    match (&mut session.transaction, &mut session.implicit) {
        (Transaction::Open(held), _) | (_, Some(held)) => {
            held.extend(writes);
            Ok(())
        }
        _ => append(session, interrupt, writes).await,
    }
}

/// Appends what the statements of the message, or of the pipeline, have written so far.
pub async fn commit_implicit(session: &mut Session, interrupt: &mut Interrupt<'_>) -> Result<()> {
    match session.implicit.as_mut().map(std::mem::take) {
        Some(writes) => append(session, interrupt, writes).await,
        None => Ok(()),
    }
}

/// The same before `statement`, unless that only writes, too.
pub async fn commit_before(session: &mut Session, interrupt: &mut Interrupt<'_>, statement: &Statement) -> Result<()> {
    match statement.kind {
        Kind::InsertValues(_) | Kind::Delete(_) => Ok(()),
        _ => commit_implicit(session, interrupt).await,
    }
}

/// One atomic append. It is not interrupted: whether it was done must be known.
pub async fn append(session: &Session, _: &mut Interrupt<'_>, writes: Vec<SourceWrite>) -> Result<()> {
    if writes.is_empty() {
        return Ok(());
    }
    let engine = session.engine().clone();
    let appended = tokio::task::spawn_blocking(move || engine.append(writes)).await.map_err(Error::internal)?;
    appended.map_err(Error::from)
}

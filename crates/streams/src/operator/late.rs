//! Rows that came too late for their windows: all are counted, some are explained one by one.

use arrow::array::{Array, ArrayRef, TimestampMillisecondArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{Context, Incident, IncidentKind};
use crate::{Batch, Result};

/// So many late rows of a batch are explained each; of the others it is said how many they are.
pub(crate) const EXPLAINED_MAX: usize = 10;

/// The late rows of a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Late {
    pub(crate) count: usize,
    /// The first [`EXPLAINED_MAX`].
    pub(crate) explained: Vec<LateRow>,
}

/// A row of a batch, and the window that it came too late for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LateRow {
    pub(crate) row: usize,
    /// Where the first window begins that takes the row no more.
    pub(crate) start: i64,
    /// The window was closed before its time, because the input was idle: the row's stream time does not tell why it is late.
    pub(crate) closed: bool,
}

/// What a late row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Row,
    /// Rows that were combined before a repartition. How many is not known.
    Combined,
}

impl Late {
    pub(crate) fn push(&mut self, row: LateRow) {
        self.count += 1;
        if self.explained.len() < EXPLAINED_MAX {
            self.explained.push(row);
        }
    }

    /// Counts them and writes to the processing log. `groups` are the columns of the group, for each row of `batch`.
    pub(crate) fn report(self, of: Of, batch: &Batch, groups: &[ArrayRef], context: &mut Context<'_>) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        context.counters.late += self.count as u64;
        for late in &self.explained {
            let message = message(late, of, batch.stream_times.value(late.row), groups)?;
            let rowtime_ms = Some(batch.timestamps.value(late.row));
            let partition = Some(context.partition);
            context.incidents.push(Incident { rowtime_ms, partition, ..Incident::new(IncidentKind::Late, context.node, message) });
        }
        let others = self.count - self.explained.len();
        if others > 0 {
            let partition = Some(context.partition);
            let message = format!("… and {others} more");
            context.incidents.push(Incident { partition, ..Incident::new(IncidentKind::Late, context.node, message) });
        }
        Ok(())
    }
}

fn message(late: &LateRow, of: Of, stream_time_ms: i64, groups: &[ArrayRef]) -> Result<String> {
    let what = match of {
        Of::Row => "the row is",
        Of::Combined => "rows that were combined before the repartition are",
    };
    let why =
        if late.closed { "it was closed while the input was idle".to_owned() } else { format!("stream time is {}", time(stream_time_ms)?) };
    let group = group(groups, late.row)?;
    Ok(format!("group {group}: {what} too late for the window from {}: {why}", time(late.start)?))
}

/// The values of a row's group.
fn group(columns: &[ArrayRef], row: usize) -> Result<String> {
    let options = FormatOptions::default().with_null("NULL");
    let mut values = Vec::with_capacity(columns.len());
    for column in columns {
        values.push(ArrayFormatter::try_new(column.as_ref(), &options)?.value(row).to_string());
    }
    Ok(values.join(", "))
}

/// `2020-01-01 10:00:00`, with a fraction where there is one; a time that no calendar has as its milliseconds.
fn time(time_ms: i64) -> Result<String> {
    let options = FormatOptions::default().with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"));
    let times = TimestampMillisecondArray::from(vec![time_ms]);
    let text = ArrayFormatter::try_new(&times as &dyn Array, &options)?.value(0).try_to_string();
    Ok(text.unwrap_or_else(|_| format!("{time_ms} ms")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, StringArray};

    use super::*;
    use crate::operator::fixture::{Row, stream};

    const TEN_O_CLOCK: i64 = 1_577_872_800_000;

    fn report(late: Late, of: Of, rows: &[Row<'_>]) -> (u64, Vec<(Option<i64>, String)>) {
        let mut context = Context { node: "node", partition: 3, ..Context::default() };
        let batch = stream(rows, TEN_O_CLOCK + 4_200_500);
        let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..rows.len() as i32));
        let keys: ArrayRef = Arc::new(rows.iter().map(|row| row.0).collect::<StringArray>());
        late.report(of, &batch, &[keys, numbers], &mut context).unwrap();
        assert!(context.incidents.iter().all(|incident| incident.partition == Some(3) && incident.kind == IncidentKind::Late));
        (context.counters.late, context.incidents.into_iter().map(|incident| (incident.rowtime_ms, incident.message)).collect())
    }

    #[test]
    fn a_late_row_is_told_with_its_group_and_window() {
        let rows = [(Some("a"), Some(1), TEN_O_CLOCK), (Some("b"), Some(1), TEN_O_CLOCK + 1)];
        let late = |row, closed| LateRow { row, start: TEN_O_CLOCK, closed };
        let both = Late { count: 2, explained: vec![late(0, false), late(1, true)] };
        let of_a = "group a, 0: the row is too late for the window from 2020-01-01 10:00:00: stream time is 2020-01-01 11:10:00.500";
        let of_b = "group b, 1: the row is too late for the window from 2020-01-01 10:00:00: it was closed while the input was idle";
        let told = vec![(Some(TEN_O_CLOCK), of_a.to_owned()), (Some(TEN_O_CLOCK + 1), of_b.to_owned())];
        assert_eq!(report(both, Of::Row, &rows), (2, told));
        let combined = report(Late { count: 1, explained: vec![late(0, false)] }, Of::Combined, &rows).1.remove(0).1;
        assert!(combined.starts_with("group a, 0: rows that were combined before the repartition are too late for"), "{combined}");
        assert_eq!(report(Late::default(), Of::Row, &rows), (0, vec![]));
    }

    #[test]
    fn of_many_it_is_told_how_many_more_there_are() {
        let rows: Vec<Row<'_>> = (0..47).map(|at| (Some("a"), Some(at), TEN_O_CLOCK + at)).collect();
        let mut late = Late::default();
        (0..47).for_each(|row| late.push(LateRow { row, start: TEN_O_CLOCK, closed: false }));
        let (count, told) = report(late, Of::Row, &rows);
        assert_eq!((count, told.len()), (47, EXPLAINED_MAX + 1));
        assert_eq!(told[9].0, Some(TEN_O_CLOCK + 9));
        assert_eq!(told[10], (None, "… and 37 more".to_owned()));
    }
}

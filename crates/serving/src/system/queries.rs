//! `millpond.queries` and `millpond.tasks`: what the service's work is doing.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use datafusion::error::Result;
use millpond_executor::{QueryState, QueryStatus};

use super::columns::Columns;
use super::{Sources, millis};

const COUNTS: usize = 8;
/// The column of the first of them.
const FIRST_COUNT: usize = 4;

/// A row of `millpond.queries`.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub id: String,
    pub state: String,
    /// Why it failed.
    pub reason: Option<String>,
    pub sink: String,
    /// `rows_in`, `rows_out`, `late`, `undecodable`, `null_key`, `bad_timestamp`, `failed_expressions`, `lost`.
    counts: [i64; COUNTS],
    /// In a row.
    failures: i64,
    pub progress_percent: f64,
    pub rows_per_second: f64,
    pub lag: i64,
    pub tasks: i64,
    pub statement: String,
}

impl Query {
    pub fn rows_in(&self) -> i64 {
        self.counts[0]
    }

    /// Here or at another member.
    pub fn has_failed(&self) -> bool {
        self.state == state(QueryState::Failed)
    }

    fn of(query: QueryStatus) -> Query {
        let counts = [
            query.rows_in,
            query.rows_out,
            query.late,
            query.undecodable,
            query.null_key,
            query.bad_timestamp,
            query.failed_expressions,
            query.lost,
        ];
        Query {
            id: query.id,
            state: state(query.state),
            reason: query.reason,
            sink: query.sink,
            counts: counts.map(|count| count as i64),
            failures: i64::from(query.failures),
            progress_percent: query.progress_percent,
            rows_per_second: query.rows_per_second,
            lag: query.lag as i64,
            tasks: query.tasks.len() as i64,
            statement: query.sql,
        }
    }

    /// The same query at another member. It is as bad as where it is worst, and as far as where it has the longest way to go.
    fn absorb(&mut self, other: Query) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.failures = self.failures.max(other.failures);
        self.progress_percent = match (self.tasks, other.tasks) {
            (_, 0) => self.progress_percent,
            (0, _) => other.progress_percent,
            _ => self.progress_percent.min(other.progress_percent),
        };
        self.rows_per_second += other.rows_per_second;
        self.lag += other.lag;
        self.tasks += other.tasks;
        if badness(&other.state) > badness(&self.state) {
            self.state = other.state;
            self.reason = other.reason.or_else(|| self.reason.take());
        } else if self.reason.is_none() {
            self.reason = other.reason;
        }
    }
}

fn state(state: QueryState) -> String {
    format!("{state:?}").to_lowercase()
}

fn badness(state: &str) -> usize {
    let order = [QueryState::Running, QueryState::Paused, QueryState::Starting, QueryState::Failed];
    order.iter().position(|known| format!("{known:?}").eq_ignore_ascii_case(state)).unwrap_or(0)
}

/// Each query once, by id.
pub fn merged(queries: impl IntoIterator<Item = Query>) -> Vec<Query> {
    let mut merged: BTreeMap<String, Query> = BTreeMap::new();
    for query in queries {
        match merged.get_mut(&query.id) {
            Some(known) => known.absorb(query),
            None => {
                merged.insert(query.id.clone(), query);
            }
        }
    }
    merged.into_values().collect()
}

pub fn here(sources: &Sources) -> Vec<Query> {
    sources.moment.engine.queries().into_iter().map(Query::of).collect()
}

pub fn fill(sources: &Sources) -> Result<Columns> {
    Ok(columns(&here(sources)))
}

pub fn columns(queries: &[Query]) -> Columns {
    let mut columns = Columns::new(queries.len());
    columns.text(queries.iter().map(|query| Some(query.id.clone())));
    columns.text(queries.iter().map(|query| Some(query.state.clone())));
    columns.text(queries.iter().map(|query| query.reason.clone()));
    columns.text(queries.iter().map(|query| Some(query.sink.clone())));
    for count in 0..COUNTS {
        columns.number(queries.iter().map(|query| Some(query.counts[count])));
    }
    columns.number(queries.iter().map(|query| Some(query.failures)));
    columns.double(queries.iter().map(|query| Some(query.progress_percent)));
    columns.double(queries.iter().map(|query| Some(query.rows_per_second)));
    columns.number(queries.iter().map(|query| Some(query.lag)));
    columns.number(queries.iter().map(|query| Some(query.tasks)));
    columns.text(queries.iter().map(|query| Some(query.statement.clone())));
    columns
}

/// The rows of a batch that [`columns`] have made.
pub fn read(batch: &RecordBatch) -> Vec<Query> {
    let text = |column: usize, row: usize| {
        let texts = batch.column(column).as_string::<i32>();
        texts.is_valid(row).then(|| texts.value(row).to_string())
    };
    let number = |column: usize, row: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
    let double = |column: usize, row: usize| batch.column(column).as_primitive::<Float64Type>().value(row);
    let behind = FIRST_COUNT + COUNTS;
    let query = |row| Query {
        id: text(0, row).unwrap_or_default(),
        state: text(1, row).unwrap_or_default(),
        reason: text(2, row),
        sink: text(3, row).unwrap_or_default(),
        counts: std::array::from_fn(|count| number(FIRST_COUNT + count, row)),
        failures: number(behind, row),
        progress_percent: double(behind + 1, row),
        rows_per_second: double(behind + 2, row),
        lag: number(behind + 3, row),
        tasks: number(behind + 4, row),
        statement: text(behind + 5, row).unwrap_or_default(),
    };
    (0..batch.num_rows()).map(query).collect()
}

pub fn fill_tasks(sources: &Sources) -> Result<Columns> {
    let tasks: Vec<_> = sources.moment.engine.queries().into_iter().flat_map(|query| query.tasks).collect();
    let member = sources.remote.as_ref().map(|remote| Arc::clone(&remote.peers.this().instance));
    let mut columns = Columns::new(tasks.len());
    columns.text(tasks.iter().map(|task| Some(task.id.clone())));
    columns.text(tasks.iter().map(|task| Some(task.query.clone())));
    columns.number(tasks.iter().map(|task| Some(i64::from(task.sub_topology))));
    columns.number(tasks.iter().map(|task| Some(i64::from(task.partition))));
    columns.number(tasks.iter().map(|task| Some(task.worker as i64)));
    columns.number(tasks.iter().map(|task| Some(task.rows_in as i64)));
    columns.number(tasks.iter().map(|task| Some(task.rows_out as i64)));
    columns.number(tasks.iter().map(|task| Some(task.lag as i64)));
    columns.double(tasks.iter().map(|task| Some(task.progress_percent)));
    columns.double(tasks.iter().map(|task| task.restored_percent));
    columns.double(tasks.iter().map(|task| Some(task.rows_per_second)));
    columns.time(tasks.iter().map(|task| task.stream_time_ms));
    columns.time(tasks.iter().map(|task| task.last_commit.map(millis)));
    columns.text(tasks.iter().map(|_| member.as_deref().map(str::to_string)));
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use millpond_sql::Dialect;

    use super::*;

    fn query(id: &str, state: &str, tasks: i64, progress_percent: f64) -> Query {
        Query {
            id: id.to_string(),
            state: state.to_string(),
            reason: (state == "failed").then(|| "broken".to_string()),
            sink: "t".to_string(),
            counts: [10, 9, 1, 0, 0, 0, 2, 0],
            failures: 1,
            progress_percent,
            rows_per_second: 1.5,
            lag: 4,
            tasks,
            statement: "SELECT 1".to_string(),
        }
    }

    #[test]
    fn a_query_is_the_sum_of_its_parts_and_as_bad_as_the_worst() {
        let parts = [
            query("a", "running", 2, 90.0),
            query("b", "running", 0, 100.0),
            query("a", "failed", 1, 40.0),
            query("a", "starting", 0, 0.0),
        ];
        let merged = merged(parts);
        let ids: Vec<&str> = merged.iter().map(|query| query.id.as_str()).collect();
        assert_eq!(ids, ["a", "b"]);
        let expected = Query { counts: [30, 27, 3, 0, 0, 0, 6, 0], rows_per_second: 4.5, lag: 12, ..query("a", "failed", 3, 40.0) };
        assert_eq!(merged[0], expected);
        assert_eq!(merged[1], query("b", "running", 0, 100.0));
    }

    #[test]
    fn a_member_reads_what_another_has_written() {
        let queries = [query("a", "failed", 2, 90.0), query("b", "paused", 0, 100.0)];
        let batch = columns(&queries).finish(super::super::columns::schema("queries", Dialect::Millpond)).unwrap();
        assert_eq!(read(&batch), queries);
    }
}

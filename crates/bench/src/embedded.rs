//! An engine over the embedded log in a temporary directory.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use arrow::array::RecordBatch;
use millpond_executor::{Config, Engine, SourceWrite, Storage};
use millpond_log_embedded::Options;
use millpond_planner::Settings;
use millpond_sql::ast::Kind;
use tempfile::TempDir;

/// So many batches are appended in one transaction.
const APPEND_BATCHES: usize = 32;

/// What a timed query took, and gave.
pub struct Outcome {
    pub elapsed: Duration,
    /// Rows of the table's topic: one for each group and commit that changed it.
    pub changes: u64,
}

pub struct Embedded {
    engine: Engine,
    settings: Settings,
    // Dropped last: the engine's files are in it.
    _directory: TempDir,
}

impl Embedded {
    pub fn open(workers: usize, commit_interval: Duration) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let embedded = millpond_log_embedded::Embedded::open(&directory.path().join("data"), &Options::default())?;
        let storage = Storage { log: embedded.clone(), state: embedded };
        let config = Config { workers, gather: false, commit_interval, service_id: "bench".to_string(), member: None };
        Ok(Embedded { engine: Engine::open(config, storage)?, settings: Settings::default(), _directory: directory })
    }

    /// `CREATE STREAM` and `CREATE TABLE … AS SELECT`.
    pub fn execute(&self, sql: &str) -> Result<()> {
        let catalog = self.engine.catalog();
        for statement in millpond_sql::parse(sql, self.settings.dialect)? {
            match &statement.kind {
                Kind::CreateSource(create) => {
                    let command = millpond_planner::create_source(create, &statement.text, &catalog, &self.settings)?;
                    self.engine.execute(command, None)?;
                }
                Kind::CreateAs(create) => {
                    let planned = millpond_planner::create_as(create, &statement.text, &catalog, &self.settings)?;
                    self.engine.execute(planned.command, Some(planned.topology))?;
                }
                _ => bail!("not a statement of a benchmark: {sql}"),
            }
        }
        Ok(())
    }

    pub fn append(&self, stream: &str, batches: &[RecordBatch]) -> Result<()> {
        let source = self.engine.catalog().source(stream)?.clone();
        for chunk in batches.chunks(APPEND_BATCHES) {
            let write = |rows: &RecordBatch| SourceWrite { source: source.clone(), rows: rows.clone(), rowtime: None, tombstones: None };
            self.engine.append(chunk.iter().map(write).collect())?;
        }
        Ok(())
    }

    /// From the statement until every row that is in the log is committed in the table; then the query is ended.
    pub fn timed_query(&self, table: &str, select: &str) -> Result<Outcome> {
        let started = Instant::now();
        self.execute(&format!("CREATE TABLE {table} AS {select}"))?;
        self.engine.flush()?;
        let elapsed = started.elapsed();
        let id = format!("ctas_{table}");
        let status = self.engine.queries().into_iter().find(|query| query.id == id).with_context(|| format!("query {id} is gone"))?;
        ensure!(status.late == 0, "{} rows were late: the result is not the batch query's", status.late);
        self.engine.execute(millpond_catalog::Command::Drop { name: table.to_string(), delete_topic: true }, None)?;
        Ok(Outcome { elapsed, changes: status.rows_out })
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.engine.shutdown();
    }
}

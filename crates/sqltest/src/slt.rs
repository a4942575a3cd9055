//! Runs one `.slt` file in one variant.

use std::fmt::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use sqllogictest::{DefaultColumnType, Record, Runner};

use crate::{Connection, Kafka, Server, Variant};

/// So many failures of one file are shown; what comes after them is mostly their consequence.
const FAILURES_MAX: usize = 5;

/// Every record of the file against a server of its own. With `update`, what the server says becomes what the file expects.
pub fn run_file(path: &Path, variant: Variant, update: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let kafka = if variant.kafka { Some(Kafka::acquire()?) } else { None };
    let mut arguments = vec!["--workers".to_string(), variant.workers.to_string()];
    if let Some(kafka) = &kafka {
        arguments.extend(kafka.arguments());
    }
    let server = Arc::new(Mutex::new(Server::start(&arguments)?));
    let outcome = runtime.block_on(run(path, variant, update, &server));
    outcome.map_err(|error| {
        let log = server.lock().unwrap_or_else(PoisonError::into_inner).log_tail();
        anyhow::anyhow!("{error:#}\n{log}")
    })
}

/// That the file parses, and begins with the rule that it checks.
pub fn check_form(path: &Path) -> Result<()> {
    let text = std::fs::read_to_string(path)?;
    ensure!(text.lines().next().is_some_and(|line| line.starts_with("# ")), "{} does not begin with its rule", path.display());
    let records = sqllogictest::parse_file::<DefaultColumnType>(path).with_context(|| path.display().to_string())?;
    let sleeps = |record: &Record<DefaultColumnType>| matches!(record, Record::Sleep { .. });
    ensure!(!records.iter().any(sleeps), "{} sleeps: FLUSH waits for what has been written", path.display());
    Ok(())
}

async fn run(path: &Path, variant: Variant, update: bool, server: &Arc<Mutex<Server>>) -> Result<()> {
    let connect = || {
        let connection = Connection::new(Arc::clone(server), variant);
        async move { Ok(connection) }
    };
    let mut runner = Runner::new(connect);
    runner.with_column_validator(same_width);
    if variant.restart {
        runner.add_label("restart");
    }
    if variant.kafka {
        runner.add_label("kafka");
    }
    if update {
        runner
            .update_test_file(path, " ", sqllogictest::default_validator, sqllogictest::default_normalizer, same_width)
            .await
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        return Ok(());
    }
    let records = sqllogictest::parse_file::<DefaultColumnType>(path).with_context(|| path.display().to_string())?;
    let mut failures = Vec::new();
    for record in records {
        if matches!(record, Record::Halt { .. }) || failures.len() == FAILURES_MAX {
            break;
        }
        if let Err(error) = runner.run_async(record).await {
            failures.push(error.display(false).to_string());
        }
    }
    runner.shutdown_async().await;
    if failures.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    for failure in &failures {
        writeln!(text, "{failure}\n")?;
    }
    bail!("{} ({variant}):\n{text}", path.display());
}

/// The simple protocol carries no types, so the letters of a `query` record hold how many columns there are.
#[allow(clippy::ptr_arg)] // the signature is the library's
fn same_width(actual: &Vec<DefaultColumnType>, expected: &Vec<DefaultColumnType>) -> bool {
    actual.len() == expected.len()
}

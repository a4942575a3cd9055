//! The engine's metrics. Labels are bounded: once so many queries or stores have been seen, the others go by `other`.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use millpond_streams::operator::Counters;
use parking_lot::Mutex;

/// Distinct values of one label.
const LABELS_MAX: usize = 1_000;

static QUERIES: LazyLock<Mutex<BTreeSet<String>>> = LazyLock::new(Mutex::default);
static STORES: LazyLock<Mutex<BTreeSet<String>>> = LazyLock::new(Mutex::default);

fn label(known: &Mutex<BTreeSet<String>>, name: &str) -> String {
    let mut known = known.lock();
    if known.contains(name) {
        return name.to_owned();
    }
    if known.len() < LABELS_MAX {
        known.insert(name.to_owned());
        return name.to_owned();
    }
    "other".to_owned()
}

/// Rows of one commit of one task.
pub(crate) fn rows(query: &str, counters: &Counters) {
    let query = label(&QUERIES, query);
    let count = |name: &'static str, rows: u64| {
        if rows > 0 {
            metrics::counter!(name, "query" => query.clone()).increment(rows);
        }
    };
    count("millpond_rows_in_total", counters.rows_in);
    count("millpond_rows_out_total", counters.rows_out);
    count("millpond_rows_late_total", counters.late);
    count("millpond_failed_expressions_total", counters.failed_expressions);
    let dropped = |reason: &'static str, rows: u64| {
        if rows > 0 {
            metrics::counter!("millpond_rows_dropped_total", "query" => query.clone(), "reason" => reason).increment(rows);
        }
    };
    dropped("late", counters.late);
    dropped("undecodable", counters.undecodable);
    dropped("null_key", counters.null_key);
    dropped("bad_timestamp", counters.bad_timestamp);
    dropped("lost", counters.lost);
}

pub(crate) fn failure(query: &str) {
    metrics::counter!("millpond_query_failures_total", "query" => label(&QUERIES, query)).increment(1);
}

pub(crate) fn lag(query: &str, records: u64) {
    metrics::gauge!("millpond_query_lag_records", "query" => label(&QUERIES, query)).set(records as f64);
}

pub(crate) fn commit(took: Duration, tasks: usize) {
    metrics::histogram!("millpond_commit_seconds").record(took.as_secs_f64());
    metrics::counter!("millpond_committed_tasks_total").increment(tasks as u64);
}

pub(crate) fn failed_commit() {
    metrics::counter!("millpond_failed_commits_total").increment(1);
}

pub(crate) fn store_size(store: &str, bytes: u64) {
    metrics::gauge!("millpond_store_bytes", "store" => label(&STORES, store)).set(bytes as f64);
}

/// The query has ended: another may have its place among the labels.
pub(crate) fn forget(query: &str) {
    if QUERIES.lock().remove(query) {
        metrics::gauge!("millpond_query_lag_records", "query" => query.to_owned()).set(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded() {
        let known = Mutex::default();
        let labels: BTreeSet<String> = (0..2 * LABELS_MAX).map(|n| label(&known, &n.to_string())).collect();
        assert_eq!(labels.len(), LABELS_MAX + 1);
        assert_eq!(label(&known, "0"), "0");
        assert_eq!(label(&known, "x"), "other");
    }
}

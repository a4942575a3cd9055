//! What went wrong with rows and queries, for `millpond.processing_log`: the most recent lines.

use std::collections::VecDeque;
use std::fmt;

use millpond_streams::operator::{Incident, IncidentKind};
use parking_lot::Mutex;

/// Older lines go.
const LINES_MAX: usize = 10_000;

#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    pub time_ms: i64,
    pub query: String,
    /// `query/sub-topology/partition`; empty when it is about the whole query.
    pub task: String,
    pub kind: LineKind,
    pub message: String,
    pub topic: Option<String>,
    pub partition: Option<u32>,
    pub offset: Option<u64>,
    pub rowtime_ms: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineKind {
    Deserialization,
    Expression,
    Serialization,
    Late,
    /// The query stopped.
    Failure,
    /// Records went, by retention, before they were read.
    Skipped,
}

impl fmt::Display for LineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LineKind::Deserialization => "deserialization",
            LineKind::Expression => "expression",
            LineKind::Serialization => "serialization",
            LineKind::Late => "late",
            LineKind::Failure => "failure",
            LineKind::Skipped => "skipped",
        })
    }
}

impl LogLine {
    pub(crate) fn of_query(time_ms: i64, query: &str, kind: LineKind, message: String) -> LogLine {
        LogLine {
            time_ms,
            query: query.to_owned(),
            task: String::new(),
            kind,
            message,
            topic: None,
            partition: None,
            offset: None,
            rowtime_ms: None,
        }
    }

    pub(crate) fn of_incident(time_ms: i64, query: &str, task: &str, incident: &Incident) -> LogLine {
        LogLine {
            time_ms,
            query: query.to_owned(),
            task: task.to_owned(),
            kind: match incident.kind {
                IncidentKind::Deserialization => LineKind::Deserialization,
                IncidentKind::Expression => LineKind::Expression,
                IncidentKind::Serialization => LineKind::Serialization,
                IncidentKind::Late => LineKind::Late,
            },
            message: incident.message.clone(),
            topic: incident.topic.clone(),
            partition: incident.partition,
            offset: incident.offset,
            rowtime_ms: incident.rowtime_ms,
        }
    }
}

/// The last [`LINES_MAX`] lines, oldest first.
#[derive(Debug, Default)]
pub(crate) struct ProcessingLog {
    lines: Mutex<VecDeque<LogLine>>,
}

impl ProcessingLog {
    pub fn write(&self, lines: impl IntoIterator<Item = LogLine>) {
        let mut kept = self.lines.lock();
        for line in lines {
            if kept.len() == LINES_MAX {
                kept.pop_front();
            }
            kept.push_back(line);
        }
    }

    pub fn lines(&self) -> Vec<LogLine> {
        self.lines.lock().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_lines_go() {
        let log = ProcessingLog::default();
        log.write((0..LINES_MAX as i64 + 2).map(|time_ms| LogLine::of_query(time_ms, "q", LineKind::Failure, String::new())));
        let lines = log.lines();
        assert_eq!((lines.len(), lines[0].time_ms), (LINES_MAX, 2));
    }
}

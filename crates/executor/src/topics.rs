//! The topics that statements need, and how their records are kept.

use millpond_catalog::{Format, Source, SourceKind};
use millpond_log::{Cleanup, Log, TopicConfig};
use millpond_streams::Topology;
use millpond_streams::topology::OperatorSpec;

use crate::{Error, Result};

/// Where `ON ERROR dead_letter` keeps raw records.
pub(crate) use millpond_catalog::dead_letters::topic as dead_letters;

/// Of dead letters, ten days remain.
const DEAD_LETTERS_RETENTION_MS: i64 = 10 * 86_400_000;

pub(crate) fn create_dead_letters(log: &dyn Log, service_id: &str) -> Result<()> {
    let cleanup = Cleanup::Delete { retention_ms: Some(DEAD_LETTERS_RETENTION_MS), retention_bytes: None };
    ensure(log, &dead_letters(service_id), &TopicConfig { partitions: 1, cleanup, key_columns: Vec::new() })
}

/// What queries read that nobody declared.
pub(crate) fn create_built_in(log: &dyn Log, topology: &Topology, service_id: &str) -> Result<()> {
    let letters = dead_letters(service_id);
    let mut nodes = topology.sub_topologies.iter().flat_map(|sub| &sub.nodes);
    let reads = nodes.any(|node| matches!(&node.operator, OperatorSpec::StreamSource(spec) if *spec.topic == *letters));
    if reads { create_dead_letters(log, service_id) } else { Ok(()) }
}

/// How many partitions a topic has; `None` when there is none of that name.
pub(crate) fn partitions(log: &dyn Log, topic: &str) -> Result<Option<u32>> {
    match log.partitions(topic) {
        Ok(partitions) => Ok(Some(partitions)),
        Err(millpond_log::Error::UnknownTopic(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A source's topic, unless it is there already.
pub(crate) fn create_for_source(log: &dyn Log, source: &Source) -> Result<()> {
    ensure(log, &source.topic, &config_of(source))
}

fn config_of(source: &Source) -> TopicConfig {
    match source.kind {
        SourceKind::Stream => {
            let cleanup = Cleanup::Delete { retention_ms: source.retention_ms, retention_bytes: None };
            TopicConfig { partitions: source.partitions, cleanup, key_columns: Vec::new() }
        }
        SourceKind::Table if source.value_format == Format::Native => {
            let mut key: Vec<String> = source.key_columns().map(|column| column.name.clone()).collect();
            if source.window.is_some() {
                key.extend(["windowstart".to_owned(), "windowend".to_owned()]);
            }
            TopicConfig::compact(source.partitions, key)
        }
        SourceKind::Table => TopicConfig::compact(source.partitions, Vec::new()),
    }
}

/// The repartition topics a topology writes: name and partitions.
pub(crate) fn repartitions(topology: &Topology) -> Vec<(String, u32)> {
    let nodes = topology.sub_topologies.iter().flat_map(|sub| &sub.nodes);
    let mut topics: Vec<(String, u32)> = nodes
        .filter_map(|node| match &node.operator {
            OperatorSpec::RepartitionSink(spec) => Some((spec.topic.to_string(), spec.partitions)),
            _ => None,
        })
        .collect();
    topics.sort_unstable();
    topics.dedup();
    topics
}

/// Their only reader trims them as it commits.
pub(crate) fn create_repartitions(log: &dyn Log, topology: &Topology) -> Result<()> {
    repartitions(topology).iter().try_for_each(|(topic, partitions)| ensure(log, topic, &TopicConfig::keep(*partitions)))
}

/// Fails where the topic of a source is gone, or has other partitions than tasks read: of a topic that was expanded nobody reads the new ones, and
/// what is written by key goes to others than before. `partitions` says how many a topic has.
pub(crate) fn check_sources(topology: &Topology, mut partitions: impl FnMut(&str) -> Result<u32>) -> Result<()> {
    for sub in &topology.sub_topologies {
        for node in &sub.nodes {
            let (OperatorSpec::StreamSource(spec) | OperatorSpec::TableSource(spec)) = &node.operator else { continue };
            let (existing, read) = (partitions(&spec.topic)?, sub.partitions);
            if existing != read {
                return Err(Error::Partitions { topic: spec.topic.to_string(), existing, read });
            }
        }
    }
    Ok(())
}

fn ensure(log: &dyn Log, topic: &str, config: &TopicConfig) -> Result<()> {
    match log.create_topic(topic, config) {
        Ok(()) => Ok(()),
        Err(millpond_log::Error::TopicExists(_)) => {
            let existing = log.partitions(topic)?;
            if existing == config.partitions {
                return Ok(());
            }
            Err(millpond_catalog::Error::Partitions { topic: topic.to_owned(), existing, wanted: config.partitions }.into())
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use millpond_log::MemoryLog;

    use super::*;

    #[test]
    fn a_topic_with_other_partitions_is_refused() {
        let log = MemoryLog::default();
        ensure(&log, "t", &TopicConfig::keep(2)).unwrap();
        ensure(&log, "t", &TopicConfig::keep(2)).unwrap();
        let error = ensure(&log, "t", &TopicConfig::keep(3)).unwrap_err();
        assert_eq!(error.to_string(), "topic \"t\" has 2 partitions already, not 3");
    }
}

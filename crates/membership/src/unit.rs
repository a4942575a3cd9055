//! What is placed: partitions of input topics.

use std::fmt;
use std::sync::Arc;

use millpond_log::TopicPartition;
use serde::{Deserialize, Serialize};

/// A partition of an input topic; all tasks that read it move together. Its text, in JSON too, is `topic/partition`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Unit {
    pub topic: Arc<str>,
    pub partition: u32,
}

impl Unit {
    pub fn new(topic: impl Into<Arc<str>>, partition: u32) -> Unit {
        Unit { topic: topic.into(), partition }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

impl From<Unit> for String {
    fn from(unit: Unit) -> String {
        unit.to_string()
    }
}

impl From<&TopicPartition> for Unit {
    fn from(partition: &TopicPartition) -> Unit {
        Unit { topic: Arc::clone(&partition.topic), partition: partition.partition }
    }
}

impl TryFrom<String> for Unit {
    type Error = String;

    fn try_from(text: String) -> Result<Unit, String> {
        let wrong = || format!("\"{text}\" is not topic/partition");
        let (topic, partition) = text.rsplit_once('/').ok_or_else(wrong)?;
        Ok(Unit::new(topic, partition.parse().map_err(|_| wrong())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_comes_back_from_its_text() {
        let unit = Unit::new("a/b.c", 7);
        assert_eq!(serde_json::to_string(&unit).unwrap(), r#""a/b.c/7""#);
        assert_eq!(Unit::try_from(unit.to_string()), Ok(unit));
        for text in ["", "a", "a/", "a/-1", "a/x"] {
            assert!(Unit::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}

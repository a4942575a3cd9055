//! What Kafka's errors mean for who wrote or read.

use millpond_log::Error;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// What is to be done about an error of a transaction.
///
/// ```text
///   Retriable   the same call again: nothing is lost, nothing has happened yet
///   Abortable   abort; the producer goes on with the next transaction, the tasks from their committed offsets
///   Fenced      another producer has taken this one's place: throw it away
///   Fatal       the producer is of no use any more: throw it away, a new one may go on
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Retriable,
    Abortable,
    Fenced,
    Fatal,
}

impl Class {
    pub fn of(error: &KafkaError) -> Class {
        if code_of(error).is_some_and(is_producer_fenced) {
            return Class::Fenced;
        }
        match error {
            KafkaError::Transaction(error) if error.is_fatal() => Class::Fatal,
            KafkaError::Transaction(error) if error.txn_requires_abort() => Class::Abortable,
            KafkaError::Transaction(error) if error.is_retriable() => Class::Retriable,
            KafkaError::Transaction(_) => Class::Fatal,
            KafkaError::MessageProduction(Code::QueueFull) => Class::Retriable,
            _ => Class::Abortable,
        }
    }
}

/// The brokers' code, of admin operations, too.
pub(crate) fn code_of(error: &KafkaError) -> Option<Code> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

/// Another producer has come under the transactional id, or the coordinator has ended a transaction that took too long.
fn is_producer_fenced(code: Code) -> bool {
    matches!(code, Code::ProducerFenced | Code::InvalidProducerEpoch | Code::Fenced)
}

/// The group does not take the transaction's offset: the transaction has to be aborted, and the producer goes on.
fn is_member_fenced(code: Code) -> bool {
    matches!(code, Code::IllegalGeneration | Code::UnknownMemberId | Code::FencedInstanceId | Code::RebalanceInProgress)
}

/// What the log's users are told. `topic`: the one it was about, where that is known.
pub(crate) fn told(error: &KafkaError, topic: Option<&str>) -> Error {
    let Some(code) = code_of(error) else { return Error::Storage(error.to_string()) };
    if is_producer_fenced(code) || is_member_fenced(code) {
        return Error::Fenced(error.to_string());
    }
    let reason = code.to_string();
    let name = topic.unwrap_or("?").to_owned();
    match (code, topic) {
        (Code::UnknownTopic | Code::UnknownTopicOrPartition, Some(_)) => Error::UnknownTopic(name),
        (Code::TopicAlreadyExists, Some(_)) => Error::TopicExists(name),
        (
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::Authentication,
            topic,
        ) => Error::Refused { topic: topic.map(str::to_owned), reason },
        (
            Code::MessageSizeTooLarge
            | Code::InvalidTimestamp
            | Code::InvalidRecord
            | Code::PolicyViolation
            | Code::InvalidMessage
            | Code::InvalidTopic,
            _,
        ) => Error::Unfit { topic: name, reason },
        (Code::InvalidSessionTimeout, _) => Error::Setting(format!("the session's timeout is not one that the brokers allow: {reason}")),
        (_, Some(_)) => Error::Storage(format!("Kafka, topic \"{name}\": {error}")),
        (_, None) => Error::Storage(format!("Kafka: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_a_class() {
        let produced = |code| KafkaError::MessageProduction(code);
        assert_eq!(Class::of(&produced(Code::QueueFull)), Class::Retriable);
        assert_eq!(Class::of(&produced(Code::MessageSizeTooLarge)), Class::Abortable);
        assert_eq!(Class::of(&produced(Code::ProducerFenced)), Class::Fenced);
        assert_eq!(Class::of(&produced(Code::InvalidProducerEpoch)), Class::Fenced);
        for code in [Code::IllegalGeneration, Code::UnknownMemberId, Code::FencedInstanceId, Code::RebalanceInProgress] {
            assert_eq!(Class::of(&KafkaError::Global(code)), Class::Abortable);
            assert!(matches!(told(&KafkaError::Global(code), None), Error::Fenced(_)));
        }
    }

    #[test]
    fn errors_name_their_topic() {
        let told = |code, topic| told(&KafkaError::Global(code), topic);
        assert!(matches!(told(Code::UnknownTopicOrPartition, Some("t")), Error::UnknownTopic(topic) if topic == "t"));
        assert!(matches!(told(Code::TopicAuthorizationFailed, Some("t")), Error::Refused { topic: Some(topic), .. } if topic == "t"));
        assert!(matches!(told(Code::AllBrokersDown, None), Error::Storage(_)));
    }
}

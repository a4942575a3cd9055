//! Against a real broker: see `millpond_sqltest::Kafka`.

mod broker;
mod conformance;
mod records;
mod secure;
mod transactions;

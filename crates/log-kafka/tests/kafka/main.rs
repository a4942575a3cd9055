//! Against a real broker: see `millpond_sqltest::Kafka`.

mod broker;
mod by_hand;
mod conformance;
mod coordinator;
mod group;
mod process;
mod rebalance;
mod records;
mod secure;
mod transactions;

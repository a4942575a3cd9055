//! Membership over the real group and log.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millpond_log::Log;
use millpond_log_kafka::{KafkaLog, Options};
use millpond_membership::{Config, Coordinator, Holding, Host, Unit};
use parking_lot::Mutex;

use crate::group::{service, time};

#[derive(Default)]
struct Units(Mutex<BTreeSet<Unit>>);

impl Host for Units {
    fn units(&self) -> BTreeSet<Unit> {
        self.0.lock().clone()
    }

    fn take(&self, _: Holding) {}
}

#[test]
fn what_is_new_is_assigned() {
    let (kafka, service) = service();
    let options = Options { instance: "a".into(), ..Options::new(&kafka.bootstrap, &service) };
    let (log, group) = KafkaLog::join(options).unwrap();
    let log: Arc<dyn Log> = Arc::new(log);
    let host = Arc::new(Units::default());
    let config = Config { service_id: service, instance: "a".into(), address: "a:1".into() };
    let begun = Instant::now();
    let coordinator = Coordinator::start(config, Arc::clone(&log), group, Arc::clone(&host) as Arc<dyn Host>).unwrap();
    let wait = |count: usize| coordinator.wait_until(Duration::from_secs(30), |assignment| assignment.units.len() == count).unwrap();
    coordinator.wait_until(Duration::from_secs(30), |assignment| assignment.members.contains_key("a")).unwrap();
    time("seated", begun.elapsed());
    for count in 1..=3 {
        let begun = Instant::now();
        host.0.lock().insert(Unit { topic: "t".into(), partition: count });
        coordinator.replan();
        wait(count as usize);
        time(&format!("unit {count}"), begun.elapsed());
    }
}

//! What a rebalance does: a member that stays goes on committing, whatever state the group is in, and a leader assigns nothing more once another
//! one does. The rebalances are made by a member by hand, which assigns the partition.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use millpond_log::Error;
use millpond_log_kafka::KafkaLog;
use millpond_membership::Group;

use crate::broker::{append, until, values, write};
use crate::by_hand::ByHand;
use crate::group::{id, instances, join, own, service, time};

/// Longer than a heartbeat, so that the member has joined again by then.
const HOLD: Duration = Duration::from_secs(5);
/// Less than that: the state is not what is waited for. (On a machine with nothing else to do it is a tenth of a second.)
const PAUSE_MAX: Duration = Duration::from_secs(4);

const REFUSED_PAUSE: Duration = Duration::from_millis(1);

/// Has threads that go on until they are told stop when a test fails, too.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How a transaction ended, and when: `Some` is why it was refused.
type Ends = Vec<(Instant, Option<String>)>;

/// Commits to the service's own topics, one transaction after the other.
fn go_on(log: &KafkaLog, service: &str, stop: &AtomicBool) -> Ends {
    let mut ends = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let refused = match write(log, [append(&own(service), "k", "v")]) {
            Ok(_) => None,
            Err(Error::Fenced(reason)) => Some(reason),
            Err(error) => panic!("{error}"),
        };
        ends.push((Instant::now(), refused));
    }
    ends
}

/// Looks at those that ended while the state was held.
fn check(state: &str, ends: &Ends, (from, to): (Instant, Instant)) {
    let within = || ends.iter().filter(|(when, _)| (from..to).contains(when));
    let done: Vec<Instant> = within().filter(|(_, refused)| refused.is_none()).map(|(when, _)| *when).collect();
    let refused: Vec<&String> = within().filter_map(|(_, refused)| refused.as_ref()).collect();
    let bounds = [&[from], &*done, &[to]].concat();
    let pause = bounds.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    time(&format!("{state}: {} committed, refused {refused:?}, longest pause", done.len()), pause);
    assert!(pause < PAUSE_MAX, "{state}: nothing is committed for {pause:?}");
    assert!(refused.len() <= 3, "{state}: {refused:?}");
}

/// Until so many are in. Who they are; the group waits for what they are assigned.
fn gather(leader: &mut ByHand, count: usize, owner: &str) -> Vec<String> {
    loop {
        let members = leader.join();
        if members.len() == count {
            return members;
        }
        leader.try_assign(&members, owner);
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn other_than(members: &[String], known: &[&str]) -> String {
    members.iter().find(|member| !known.contains(&&***member)).unwrap().clone()
}

#[test]
fn a_rebalance_does_not_hold_up_who_stays() {
    let (kafka, service) = service();
    let mut leader = ByHand::new(&kafka.bootstrap, &service);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        let joins = |instance: &'static str| {
            let (kafka, service) = (&kafka, &service);
            scope.spawn(move || join(kafka, service, instance))
        };
        let a = joins("a");
        let both = gather(&mut leader, 2, "");
        let stays = other_than(&both, &[&leader.id]);
        leader.assign(&both, &stays);
        let (log, a) = a.join().unwrap();
        assert!(a.membership().leads && id(&a) == stays);

        let (service, stop) = (&service, &stop);
        let going_on = scope.spawn(move || go_on(&log, service, stop));
        // The group waits for the one by hand to join, and then for what it assigns.
        let preparing = Instant::now();
        let b = joins("b");
        std::thread::sleep(HOLD);
        assert_eq!(instances(&a), ["a", "b", "by-hand"]);
        let completing = Instant::now();
        let all = leader.join();
        assert_eq!(all.len(), 3);
        std::thread::sleep(HOLD);
        assert_eq!(instances(&a), ["a", "b", "by-hand"]);
        assert!(!b.is_finished());
        let stable = Instant::now();
        leader.assign(&all, &stays);
        let (_log_b, b) = b.join().unwrap();
        std::thread::sleep(Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
        let end = Instant::now();
        let ends = going_on.join().unwrap();
        for (state, held) in
            [("PreparingRebalance", (preparing, completing)), ("CompletingRebalance", (completing, stable)), ("Stable", (stable, end))]
        {
            check(state, &ends, held);
        }
        assert!(a.membership().leads && id(&a) == stays && !b.membership().leads);
    });
}

#[test]
fn who_leads_no_more_assigns_nothing_more() {
    let (kafka, service) = service();
    let topic = millpond_membership::topic(&service);
    let mut leader = ByHand::new(&kafka.bootstrap, &service);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        let joins = |instance: &'static str| {
            let (kafka, service) = (&kafka, &service);
            scope.spawn(move || join(kafka, service, instance))
        };
        let a = joins("a");
        let both = gather(&mut leader, 2, "");
        let id_a = other_than(&both, &[&leader.id]);
        leader.assign(&both, &id_a);
        let (log_a, a) = a.join().unwrap();
        let b = joins("b");
        let all = gather(&mut leader, 3, &id_a);
        leader.assign(&all, &id_a);
        let (log_b, b) = b.join().unwrap();
        assert!(a.membership().leads && !b.membership().leads);

        let log_b = Arc::new(log_b);
        let assigning = [(Arc::new(log_a), "a"), (Arc::clone(&log_b), "b")].map(|(log, who)| {
            let (topic, stop) = (&topic, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    match write(&log, [append(topic, "assignment", who)]) {
                        Ok(_) => {}
                        // Two that ask without a pause keep two cores from the broker, and it throws members out that it has not come to hear.
                        Err(Error::Fenced(_)) => std::thread::sleep(REFUSED_PAUSE),
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        });
        std::thread::sleep(Duration::from_millis(500));
        // It has to let go before another one is given it, and joins again by itself then.
        let all = leader.join();
        leader.assign(&all, "");
        until("nobody leads", || !a.membership().leads);
        let all = leader.join();
        leader.assign(&all, &other_than(&all, &[&leader.id, &id_a]));
        until("the other one leads", || b.membership().leads);
        assert!(!a.membership().leads && a.membership().member.is_some());
        std::thread::sleep(Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
        assigning.into_iter().for_each(|thread| thread.join().unwrap());
        let assigned = values(&log_b, &topic);
        eprintln!("{} assigned", assigned.len());
        let first_of_b = assigned.iter().position(|who| who == "b").unwrap();
        assert!(first_of_b > 0 && assigned[first_of_b..].iter().all(|who| who == "b"), "{assigned:?}");
    });
}

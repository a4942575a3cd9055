//! Several processes of a service: who is in the group, who leads, and what the fence lets through.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use millpond_log::{Append, Error, Log, TopicConfig, TopicPartition};
use millpond_log_kafka::{KafkaGroup, KafkaLog, Options};
use millpond_membership::{Group, Hello, Membership};
use millpond_sqltest::Kafka;

use crate::broker::{append, options, until, values, write};
use crate::by_hand::ByHand;
use crate::process::Process;

const SESSION: Duration = Duration::from_secs(4);
/// The next heartbeat comes after a third of it: nobody hears of anything before.
const LONG_SESSION: Duration = Duration::from_secs(30);

/// A topic of the service itself.
pub fn own(service: &str) -> String {
    format!("_millpond-{service}-offsets")
}

pub fn hello(service: &str, instance: &str, member: &str) -> Append {
    let hello = Hello { member: member.to_owned(), address: String::new(), acked: 0, gone: false };
    append(&millpond_membership::topic(service), &format!("member/{instance}"), &serde_json::to_string(&hello).unwrap())
}

fn assignment(service: &str) -> Append {
    append(&millpond_membership::topic(service), "assignment", "{}")
}

/// A broker with topic "t" and one of a service's own.
pub fn service() -> (Kafka, String) {
    let kafka = Kafka::acquire().unwrap();
    let options = options(&kafka);
    let service = options.service_id.clone();
    let log = KafkaLog::connect(Options { instance: "tools".into(), ..options }).unwrap();
    for topic in ["t", &own(&service)] {
        log.create_topic(topic, &TopicConfig::keep(1)).unwrap();
    }
    (kafka, service)
}

pub fn join(kafka: &Kafka, service: &str, instance: &str) -> (KafkaLog, Arc<KafkaGroup>) {
    join_with(kafka, service, instance, SESSION, 2)
}

fn join_with(kafka: &Kafka, service: &str, instance: &str, session_timeout: Duration, producers: usize) -> (KafkaLog, Arc<KafkaGroup>) {
    let begun = Instant::now();
    let options = Options { instance: instance.into(), session_timeout, producers, ..Options::new(&kafka.bootstrap, service) };
    let joined = KafkaLog::join(options).unwrap();
    time(&format!("{instance} joins"), begun.elapsed());
    joined
}

/// For whoever wants to know: `--no-capture` shows it.
pub fn time(what: &str, took: Duration) {
    eprintln!("{what}: {} ms", took.as_millis());
}

fn is_fenced(result: millpond_log::Result<Vec<millpond_log::Appended>>) -> String {
    match result {
        Err(Error::Fenced(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

pub fn id(group: &KafkaGroup) -> String {
    group.membership().member.unwrap()
}

pub fn instances(group: &KafkaGroup) -> Vec<String> {
    let mut instances: Vec<String> = group.members().unwrap().into_iter().map(|member| member.instance).collect();
    instances.sort();
    instances
}

#[test]
fn the_next_one_leads_when_the_leader_is_gone() {
    let (kafka, service) = service();
    let (log_a, a) = join(&kafka, &service, "a");
    assert!(a.membership().leads, "{a:?}");
    let (log_b, b) = join(&kafka, &service, "b");
    assert!(!b.membership().leads && b.membership().member.is_some(), "{b:?}");
    for group in [&a, &b] {
        assert_eq!(instances(group), ["a", "b"]);
        let me = group.members().unwrap().into_iter().find(|member| Some(&member.id) == group.membership().member.as_ref()).unwrap();
        assert_eq!(me.instance, if Arc::ptr_eq(group, &a) { "a" } else { "b" });
    }

    write(&log_a, [assignment(&service)]).unwrap();
    assert!(is_fenced(write(&log_b, [assignment(&service)])).contains("does not lead"));
    for log in [&log_a, &log_b] {
        write(log, [append(&own(&service), "k", "v"), append("t", "k", "v")]).unwrap();
        write(log, [append("t", "k", "v")]).unwrap();
    }

    for (topic, what) in [("t", "a user's topic"), (&own(&service), "a topic of the service")] {
        let took = (0..10).map(|_| {
            std::thread::sleep(Duration::from_millis(100));
            let begun = Instant::now();
            write(&log_a, [append(topic, "k", "v")]).unwrap();
            begun.elapsed()
        });
        time(&format!("10 transactions to {what}"), took.sum());
    }

    let begun = Instant::now();
    drop((log_a, a));
    time("it ends", begun.elapsed());
    until("the other one leads", || b.membership().leads);
    time("it leads after the leader is gone", begun.elapsed());
    assert!(begun.elapsed() > SESSION / 2, "it has not left: {:?}", begun.elapsed());
    assert_eq!(instances(&b), ["b"]);
    write(&log_b, [assignment(&service)]).unwrap();
}

#[test]
fn a_process_that_is_killed_and_comes_again_has_its_place_back() {
    let (kafka, service) = service();
    let mut a = Process::start(&kafka.bootstrap, &service, "a", LONG_SESSION);
    let (log_b, b) = join_with(&kafka, &service, "b", LONG_SESSION, 2);
    let (former, other) = (a.ask("id"), b.membership());
    let heard = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&heard);
    b.subscribe(Box::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    assert_eq!(a.ask("own"), "ok");
    a.kill();
    let begun = Instant::now();
    let mut a = Process::start(&kafka.bootstrap, &service, "a", LONG_SESSION);
    time("killed and started again", begun.elapsed());
    assert!(begun.elapsed() < LONG_SESSION / 3, "nobody is waited for: {:?}", begun.elapsed());
    assert_eq!((a.ask("own"), a.ask("assign")), ("ok".into(), "ok".into()));
    assert_ne!(a.ask("id"), former);
    write(&log_b, [append(&own(&service), "k", "b")]).unwrap();
    assert_eq!((heard.load(Ordering::Relaxed), b.membership()), (0, other), "the other one has not heard of it");
    assert_eq!(instances(&b), ["a", "b"]);
    assert_eq!(values(&log_b, &own(&service)), ["a", "a", "b"]);
}

/// What the broker says, to a process that has not heard of anything yet.
#[test]
fn the_broker_refuses_who_is_out() {
    let (kafka, service) = service();
    let (log, group) = join_with(&kafka, &service, "a", LONG_SESSION, 2);
    ByHand::new(&kafka.bootstrap, &service).throw_out("a");
    let refused = is_fenced(write(&log, [append("t", "k", "late"), append(&own(&service), "k", "late")]));
    eprintln!("thrown out: {refused}");
    assert!(refused.contains("Broker: Unknown member"), "{refused}");
    write(&log, [append("t", "k", "user")]).unwrap();
    let former = id(&group);
    let begun = Instant::now();
    until("it is in again", || group.membership().member.is_some_and(|member| member != former));
    time("thrown out and in again", begun.elapsed());
    // What its threads had begun as the former member.
    for late in [append(&own(&service), "k", "late"), hello(&service, "a", &former)] {
        is_fenced(write(&log, [late]));
    }
    write(&log, [hello(&service, "a", &id(&group))]).unwrap();
    write(&log, [append(&own(&service), "k", "v")]).unwrap();
    assert_eq!((values(&log, "t"), values(&log, &own(&service))), (vec!["user".to_owned()], vec!["v".to_owned()]));
}

/// The coordinator has let it in under another id, and has died before it could say so: it asks again, and is fenced.
#[test]
fn who_has_not_heard_that_it_was_let_in_comes_again() {
    let (kafka, service) = service();
    let (log, group) = join_with(&kafka, &service, "a", LONG_SESSION, 2);
    let (log_b, b) = join_with(&kafka, &service, "b", LONG_SESSION, 2);
    for _ in 0..2 {
        let former = id(&group);
        ByHand::new(&kafka.bootstrap, &service).join_unheard("a");
        let refused = is_fenced(write(&log, [append("t", "k", "late"), append(&own(&service), "k", "late")]));
        assert!(refused.contains("Broker: Static consumer fenced"), "{refused}");
        let begun = Instant::now();
        until("it is in again", || group.membership().member.is_some_and(|member| member != former));
        time("fenced and in again", begun.elapsed());
        for late in [append(&own(&service), "k", "late"), hello(&service, "a", &former)] {
            is_fenced(write(&log, [late]));
        }
        write(&log, [hello(&service, "a", &id(&group))]).unwrap();
        write(&log, [append(&own(&service), "k", "v"), append("t", "k", "v")]).unwrap();
    }
    assert!(group.membership().replaced.is_none());
    until("one of them leads", || group.membership().leads != b.membership().leads);
    write(if b.membership().leads { &log_b } else { &log }, [assignment(&service)]).unwrap();
    assert_eq!((values(&log, "t"), values(&log, &own(&service))), (vec!["v".to_owned(); 2], vec!["v".to_owned(); 2]));
}

/// Its producers that the second process does not have are not fenced by that one.
#[test]
fn the_broker_refuses_who_is_replaced() {
    let (kafka, service) = service();
    let (first, _first_group) = join_with(&kafka, &service, "a", LONG_SESSION, 2);
    let (second, _group) = join_with(&kafka, &service, "a", LONG_SESSION, 1);
    let refused = is_fenced(write(&first, [append(&own(&service), "k", "late")]));
    eprintln!("replaced: {refused}");
    assert!(refused.contains("Broker: Static consumer fenced"), "{refused}");
    write(&first, [append("t", "k", "user")]).unwrap();
    write(&second, [append(&own(&service), "k", "v")]).unwrap();
    until("it writes nothing more", || write(&first, [append("t", "k", "user")]).is_err());
    is_fenced(write(&first, [append("t", "k", "user")]));
    assert_eq!(values(&second, &own(&service)), ["v"]);
}

#[test]
fn a_session_that_the_brokers_do_not_allow_is_refused() {
    let kafka = Kafka::acquire().unwrap();
    let refused = KafkaLog::join(Options { session_timeout: Duration::from_millis(100), ..options(&kafka) }).unwrap_err();
    assert!(matches!(&refused, Error::Setting(reason) if reason.contains("session")), "{refused}");
}

#[test]
fn a_process_that_is_replaced_writes_nothing_more() {
    let (kafka, service) = service();
    let (first_log, first) = join(&kafka, &service, "a");
    write(&first_log, [append("t", "k", "1")]).unwrap();
    let (second_log, second) = join(&kafka, &service, "a");
    // Topics of users, too: the fence does not know of them, but its producers are the second one's, and it does not take them back.
    for late in [append("t", "k", "late"), append(&own(&service), "k", "late"), append("t", "k", "late")] {
        is_fenced(write(&first_log, [late]));
    }
    assert!(is_fenced(first_log.settle(&TopicPartition::new("t", 0)).map(|()| Vec::new())).contains("another process"));
    for _ in 0..5 {
        write(&second_log, [append("t", "k", "2"), append(&own(&service), "k", "2")]).unwrap();
    }
    assert!(first.membership().replaced.is_some() && first.membership().member.is_none());
    assert!(second.membership().replaced.is_none() && second.membership().leads);
    assert_eq!(values(&second_log, "t"), ["1", "2", "2", "2", "2", "2"]);
    assert_eq!(values(&second_log, &own(&service)), ["2"; 5]);
}

#[test]
fn a_process_hears_that_it_is_replaced() {
    let (kafka, service) = service();
    let (_first_log, first) = join(&kafka, &service, "a");
    let (tell, told) = std::sync::mpsc::channel();
    let weak = Arc::downgrade(&first);
    first.subscribe(Box::new(move || {
        let Some(group) = weak.upgrade() else { return };
        let _ = tell.send(group.membership());
    }));
    let (_second_log, second) = join(&kafka, &service, "a");
    let begun = Instant::now();
    // That it was let in may be told a moment late. That it is out may be known before why.
    let heard = std::iter::repeat_with(|| told.recv_timeout(Duration::from_secs(60)).unwrap()).skip_while(|heard| heard.leads);
    let heard =
        heard.inspect(|heard| assert!(heard.member.is_none() && !heard.leads, "{heard:?}")).find(|heard| heard.replaced.is_some()).unwrap();
    time("it hears that it is replaced", begun.elapsed());
    assert_eq!(first.membership(), Membership { member: None, leads: false, replaced: heard.replaced });
    assert!(second.membership().leads);
}

#[test]
fn a_process_that_was_frozen_is_out_and_has_to_say_hello() {
    let (kafka, service) = service();
    let mut frozen = Process::start(&kafka.bootstrap, &service, "frozen", SESSION);
    let (log, group) = join(&kafka, &service, "b");
    for what in ["own", "user", "assign", "hello"] {
        assert_eq!(frozen.ask(what), "ok", "{what}");
    }
    let former = frozen.ask("id");
    frozen.freeze();
    let begun = Instant::now();
    until("the other one leads", || group.membership().leads);
    time("it leads after the leader is frozen", begun.elapsed());
    write(&log, [assignment(&service), append(&own(&service), "k", "b")]).unwrap();

    // It has these before it can hear anything.
    for what in ["own", "assign", "user", "own"] {
        frozen.say(what);
    }
    frozen.thaw();
    for (what, outcome) in [("own", "fenced"), ("assign", "fenced"), ("user", "ok"), ("own", "fenced")] {
        let said = frozen.hear();
        assert!(said.starts_with(outcome), "{what}: {said}");
        eprintln!("thawed, {what}: {said}");
    }
    let begun = Instant::now();
    let member = loop {
        match frozen.ask("id") {
            id if id.is_empty() || id == former => std::thread::sleep(Duration::from_millis(10)),
            id => break id,
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", frozen.ask("who"));
    };
    time("let in again", begun.elapsed());
    assert!(frozen.ask("own").contains("has not said hello"), "{member}");
    assert_eq!(frozen.ask("user"), "ok");
    until("its hello is taken", || frozen.ask("hello") == "ok");
    assert_eq!(frozen.ask("own"), "ok");
    assert!(frozen.ask("assign").contains("does not lead"));
    assert!(group.membership().leads);
    assert_eq!(values(&log, &own(&service)), ["frozen", "b", "frozen"]);
    assert_eq!(values(&log, "t"), ["frozen"; 3]);
}

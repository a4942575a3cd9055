//! A member in a process of its own, which can be frozen: this test program, started once more.

use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use millpond_log::Error;
use millpond_log_kafka::{KafkaGroup, KafkaLog, Options};
use millpond_membership::Group;

use crate::broker::{append, write};
use crate::group::{hello, own};

const WHO: &str = "MILLPOND_TEST_MEMBER";
/// What the program says is between lines of its test harness.
const SAYS: &str = "» ";

pub struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    /// Returns when it is let in.
    pub fn start(bootstrap: &str, service: &str, instance: &str, session: Duration) -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "process::is_a_member", "--nocapture"])
            .env(WHO, format!("{bootstrap} {service} {instance} {}", session.as_secs()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut process = Process { child, input, output };
        assert_eq!(process.hear(), "in");
        process
    }

    pub fn say(&mut self, what: &str) {
        writeln!(self.input, "{what}").unwrap();
    }

    pub fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "it has ended");
            if let Some((_, said)) = line.split_once(SAYS) {
                return said.trim_end().to_owned();
            }
        }
    }

    pub fn ask(&mut self, what: &str) -> String {
        self.say(what);
        self.hear()
    }

    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    pub fn kill(&self) {
        self.signal("KILL");
    }

    fn signal(&self, signal: &str) {
        let done = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the other process does; a test of its own it is not.
#[test]
fn is_a_member() {
    let Ok(who) = std::env::var(WHO) else { return };
    let [bootstrap, service, instance, session] = who.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let session_timeout = Duration::from_secs(session.parse().unwrap());
    let options = Options { instance: instance.to_owned(), session_timeout, producers: 1, ..Options::new(bootstrap, service) };
    let (log, group) = KafkaLog::join(options).unwrap();
    say("in");
    for line in stdin().lock().lines() {
        say(&answer(&log, &group, service, instance, &line.unwrap()));
    }
}

fn answer(log: &KafkaLog, group: &KafkaGroup, service: &str, instance: &str, what: &str) -> String {
    let written = match what {
        "who" => return format!("{:?}", group.membership()),
        "id" => return group.membership().member.unwrap_or_default(),
        "own" => write(log, [append(&own(service), "k", instance)]),
        "user" => write(log, [append("t", "k", instance)]),
        "assign" => write(log, [append(&millpond_membership::topic(service), "assignment", instance)]),
        "hello" => write(log, [hello(service, instance, &group.membership().member.unwrap_or_default())]),
        other => panic!("{other}"),
    };
    match written {
        Ok(_) => "ok".to_owned(),
        Err(Error::Fenced(reason)) => format!("fenced: {reason}"),
        Err(Error::Unresolved(reason)) => format!("unresolved: {reason}"),
        Err(error) => format!("failed: {error}"),
    }
}

fn say(what: &str) {
    let mut out = stdout().lock();
    writeln!(out, "{SAYS}{what}").unwrap();
    out.flush().unwrap();
}

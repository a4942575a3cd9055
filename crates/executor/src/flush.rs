//! FLUSH: waits until everything written before it is committed in every table.
//!
//! Stages (a query's sub-topologies) are waited for in the order data passes them. What a stage must have committed is where its inputs
//! end once the stages that write them are through; topics that only users write count as they were when the flush began. Failed queries,
//! and stages that read what those write, are not waited for: the error says so once all others are through.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use millpond_log::{Log, TopicPartition};
use millpond_streams::SubTopology;

use crate::elsewhere::LOOK_AGAIN;
use crate::progress::TaskProgress;
use crate::query::{Purpose, RunningQuery, State, input_topic, output_topic};
use crate::runtime::Runtime;
use crate::{Error, FailedQuery, Result, topics};

/// Who waits for a FLUSH.
pub struct Waiting<'a> {
    /// Whether it still does. Without it the FLUSH is given up.
    pub goes_on: &'a dyn Fn() -> bool,
    /// Asks the service's other processes which queries have failed there: their ids, and why. Those that do not answer are left out.
    pub failed_elsewhere: &'a dyn Fn() -> Vec<(String, String)>,
}

/// Whoever waits is asked so often, and so are other processes while something of theirs is waited for.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Workers commit at once while it is held.
struct Hurry<'a>(&'a Runtime);

impl<'a> Hurry<'a> {
    fn new(runtime: &'a Runtime) -> Hurry<'a> {
        runtime.flushes.fetch_add(1, Ordering::AcqRel);
        runtime.wake_workers();
        Hurry(runtime)
    }
}

impl Drop for Hurry<'_> {
    fn drop(&mut self) {
        self.0.flushes.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(Debug)]
struct Stage {
    query: Arc<RunningQuery>,
    tasks: Vec<Arc<TaskProgress>>,
    inputs: Vec<String>,
    outputs: Vec<String>,
}

pub(crate) fn flush(runtime: &Runtime, waiting: &Waiting<'_>) -> Result<()> {
    let queries: Vec<_> = runtime.all_queries().into_iter().filter(|query| query.push_queue().is_none()).collect();
    let mut left_out = LeftOut::default();
    for query in &queries {
        left_out.take_failed(query);
    }
    let letters = topics::dead_letters(&runtime.config.service_id);
    // Their topics may be gone: that may be why they failed.
    let stages: Vec<Stage> = in_order(queries.iter().flat_map(|query| stages_of(query, &letters)).collect())
        .into_iter()
        .filter(|stage| !left_out.takes(stage))
        .collect();
    let mut goals = Goals::at_start(&*runtime.storage.log, &stages)?;
    let _hurry = Hurry::new(runtime);
    let mut others = Others { waiting, asked: Instant::now() };
    for stage in &stages {
        while !left_out.takes(stage) {
            match wait_for(runtime, stage, &mut goals, &mut others)? {
                Waited::Through => break,
                // A query that is started again before it is looked at is waited for again.
                Waited::Failed => left_out.take_failed(&stage.query),
                Waited::FailedElsewhere(reason) => left_out.take(&stage.query, reason),
            }
        }
    }
    left_out.into_result()
}

struct Others<'a> {
    waiting: &'a Waiting<'a>,
    asked: Instant,
}

impl Others<'_> {
    /// Why the query has failed at one of them, if they were not asked a moment ago.
    fn failure(&mut self, query: &str) -> Option<String> {
        if self.asked.elapsed() < ASK_AGAIN {
            return None;
        }
        let failed = (self.waiting.failed_elsewhere)();
        self.asked = Instant::now();
        failed.into_iter().find(|(id, _)| id == query).map(|(_, reason)| reason)
    }
}

/// How waiting for a stage has ended.
enum Waited {
    /// It has committed what it was to commit, or its query is paused.
    Through,
    Failed,
    FailedElsewhere(String),
}

fn wait_for(runtime: &Runtime, stage: &Stage, goals: &mut Goals<'_>, others: &mut Others<'_>) -> Result<Waited> {
    loop {
        if runtime.is_stopping() {
            return Err(Error::ShuttingDown);
        }
        if !(others.waiting.goes_on)() {
            return Err(Error::GivenUp);
        }
        let seen = runtime.changed.current();
        match stage.query.state() {
            State::Failed => return Ok(Waited::Failed),
            State::Paused | State::Terminated => return Ok(Waited::Through),
            State::Created | State::Starting | State::Running => {}
        }
        if goals.reached_by(runtime, stage)? {
            return Ok(Waited::Through);
        }
        let elsewhere = stage.tasks.iter().any(|task| !runtime.runs(&stage.query, task));
        if elsewhere && let Some(reason) = others.failure(&stage.query.id) {
            return Ok(Waited::FailedElsewhere(reason));
        }
        runtime.changed.wait(seen, Some(if elsewhere { LOOK_AGAIN } else { ASK_AGAIN }));
    }
}

/// What is not waited for.
#[derive(Debug, Default)]
struct LeftOut {
    failed: Vec<FailedQuery>,
    /// Topics that do not get all that is due to them.
    topics: HashSet<String>,
}

impl LeftOut {
    /// Takes the query if it has failed. One that is tried again in the meantime stays taken.
    fn take_failed(&mut self, query: &RunningQuery) {
        let Some(reason) = query.with_lifecycle(|lifecycle| match lifecycle.state {
            State::Failed => Some(lifecycle.reason.clone().unwrap_or_default()),
            _ => None,
        }) else {
            return;
        };
        self.take(query, reason);
    }

    fn take(&mut self, query: &RunningQuery, reason: String) {
        let table = match &query.purpose {
            Purpose::Materialize(table) => Some(table.clone()),
            Purpose::Persistent | Purpose::Push(_) => None,
        };
        self.failed.push(FailedQuery { query: query.id.clone(), table, reason });
    }

    /// Whether the stage is left out: it belongs to a failed query, or it reads what another such stage writes.
    fn takes(&mut self, stage: &Stage) -> bool {
        let takes =
            self.failed.iter().any(|failed| failed.query == stage.query.id) || stage.inputs.iter().any(|topic| self.topics.contains(topic));
        if takes {
            self.topics.extend(stage.outputs.iter().cloned());
        }
        takes
    }

    fn into_result(self) -> Result<()> {
        if self.failed.is_empty() { Ok(()) } else { Err(Error::NotRunning { failed: self.failed }) }
    }
}

/// Where each partition must have been read to.
struct Goals<'a> {
    log: &'a dyn Log,
    ends: HashMap<TopicPartition, u64>,
}

impl<'a> Goals<'a> {
    fn at_start(log: &'a dyn Log, stages: &[Stage]) -> Result<Goals<'a>> {
        let mut ends = HashMap::new();
        let written = |topic: &String| stages.iter().any(|stage| stage.outputs.contains(topic));
        let mut topics: Vec<&String> = stages.iter().flat_map(|stage| &stage.inputs).collect();
        topics.sort_unstable();
        topics.dedup();
        for topic in topics.into_iter().filter(|topic| !written(topic)) {
            let name: Arc<str> = topic.as_str().into();
            for partition in 0..log.topic(topic)?.config.partitions {
                let partition = TopicPartition { topic: Arc::clone(&name), partition };
                let end = log.offsets(&partition)?.end;
                ends.insert(partition, end);
            }
        }
        Ok(Goals { log, ends })
    }

    /// Topics that queries write are looked at when their first reader is, which is after all of their writers.
    fn reached_by(&mut self, runtime: &Runtime, stage: &Stage) -> Result<bool> {
        let mut reached = true;
        for task in &stage.tasks {
            let Some(inputs) = runtime.inputs(&stage.query, task)? else {
                reached = false;
                continue;
            };
            for input in inputs {
                let end = match self.ends.get(&input.partition) {
                    Some(end) => *end,
                    None => {
                        let end = self.log.offsets(&input.partition)?.end;
                        self.ends.insert(input.partition.clone(), end);
                        end
                    }
                };
                reached &= input.committed >= end;
            }
        }
        Ok(reached)
    }
}

/// `letters` is the topic of dead letters.
fn stages_of(query: &Arc<RunningQuery>, letters: &str) -> Vec<Stage> {
    let Some(plan) = &query.plan else { return Vec::new() };
    let outputs = |sub: &SubTopology| {
        let outputs = sub.nodes.iter().filter_map(|node| output_topic(&node.operator));
        outputs.chain(sub.keeps_dead_letters().then_some(letters)).map(str::to_owned).collect()
    };
    let stage = |sub: &SubTopology| Stage {
        query: Arc::clone(query),
        tasks: query.tasks.iter().filter(|task| task.sub_topology == sub.id).cloned().collect(),
        inputs: sub.nodes.iter().filter_map(|node| input_topic(&node.operator)).map(str::to_owned).collect(),
        outputs: outputs(sub),
    };
    plan.topology.sub_topologies.iter().map(stage).collect()
}

/// Writers before readers. Where queries feed each other in a circle there is no such order, and the first of them goes first.
fn in_order(stages: Vec<Stage>) -> Vec<Stage> {
    let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, stage) in stages.iter().enumerate() {
        for topic in &stage.inputs {
            readers.entry(topic).or_default().push(index);
        }
    }
    let after = |index: usize| stages[index].outputs.iter().filter_map(|topic| readers.get(topic.as_str())).flatten().copied();
    let mut awaited = vec![0_usize; stages.len()];
    for index in 0..stages.len() {
        for reader in after(index) {
            awaited[reader] += 1;
        }
    }
    let mut placed = vec![false; stages.len()];
    let mut ready: VecDeque<usize> = (0..stages.len()).filter(|index| awaited[*index] == 0).collect();
    let mut order = Vec::with_capacity(stages.len());
    while order.len() < stages.len() {
        let next = ready.pop_front().or_else(|| placed.iter().position(|placed| !placed)).expect("a stage is not placed");
        if std::mem::replace(&mut placed[next], true) {
            continue;
        }
        order.push(next);
        for reader in after(next) {
            awaited[reader] = awaited[reader].saturating_sub(1);
            if awaited[reader] == 0 {
                ready.push_back(reader);
            }
        }
    }
    let mut stages: BTreeMap<usize, Stage> = stages.into_iter().enumerate().collect();
    order.into_iter().filter_map(|index| stages.remove(&index)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(name: &str, inputs: &[&str], outputs: &[&str]) -> Stage {
        let owned = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        Stage {
            query: Arc::new(RunningQuery::unplannable(name, Purpose::Persistent, "", "", String::new())),
            tasks: Vec::new(),
            inputs: owned(inputs),
            outputs: owned(outputs),
        }
    }

    fn names(stages: Vec<Stage>) -> Vec<String> {
        in_order(stages).into_iter().map(|stage| stage.query.id.clone()).collect()
    }

    #[test]
    fn writers_come_before_readers() {
        let stages = vec![stage("c", &["b"], &["c"]), stage("join", &["a", "c"], &["j"]), stage("b", &["a"], &["b"])];
        assert_eq!(names(stages), ["b", "c", "join"]);
    }

    #[test]
    fn what_failed_queries_feed_is_left_out_and_nothing_else() {
        let stages =
            [stage("bad", &["a"], &["b"]), stage("good", &["a"], &["c"]), stage("fed", &["b", "c"], &["d"]), stage("last", &["d"], &[])];
        let mut left_out = LeftOut::default();
        left_out.take_failed(&stages[0].query);
        let taken: Vec<bool> = stages.iter().map(|stage| left_out.takes(stage)).collect();
        assert_eq!(taken, [true, false, true, true]);
        let Err(Error::NotRunning { failed }) = left_out.into_result() else { panic!("a failed query is an error") };
        assert_eq!(failed.iter().map(|failed| failed.query.as_str()).collect::<Vec<_>>(), ["bad"]);
    }

    #[test]
    fn a_circle_has_an_order_too() {
        let stages = vec![stage("x", &["a"], &["b"]), stage("y", &["b"], &["a"]), stage("z", &["b"], &["c"])];
        assert_eq!(names(stages), ["x", "y", "z"]);
    }
}

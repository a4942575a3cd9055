//! How far tasks have come that other processes run: what the offsets topic says.
//!
//! A commit writes where its rows end. What lies behind them and shows no reader a row, the end of a transaction for one, is not worth a commit,
//! so a position that stays where it is is looked beyond.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use millpond_log::{FetchLimit, Log, OffsetRange, TopicPartition};
use millpond_streams::task::{committed_position, positions_store};
use parking_lot::Mutex;

use crate::Result;
use crate::progress::{InputProgress, TaskProgress};
use crate::query::{RunningQuery, input_topic};
use crate::runtime::Runtime;

/// Whoever waits for other processes looks so often.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(50);
const ONE: FetchLimit = FetchLimit::of(1, 1);

#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    looked: Mutex<Option<Instant>>,
    /// By task and partition.
    seen: Mutex<HashMap<(String, TopicPartition), Seen>>,
}

/// Where a task had committed an input to when it was last looked, and how much further there is nothing to see.
#[derive(Debug, Clone, Copy)]
struct Seen {
    committed: u64,
    passed: u64,
}

impl Elsewhere {
    /// Brings in what others have committed, unless that was done a moment ago, or somebody is at it.
    pub fn look(&self, runtime: &Runtime) -> Result<()> {
        let Some(mut looked) = self.looked.try_lock() else { return Ok(()) };
        if looked.is_none_or(|when| when.elapsed() >= LOOK_AGAIN) {
            runtime.storage.state.look()?;
            *looked = Some(Instant::now());
        }
        Ok(())
    }

    /// The inputs of a task that does not run here, as of the last look.
    pub fn inputs(&self, query: &RunningQuery, task: &TaskProgress) -> Result<Vec<InputProgress>> {
        let (Some(plan), Some(sub)) = (&query.plan, query.sub_topology(task.sub_topology)) else { return Ok(Vec::new()) };
        let store = positions_store(&query.id, sub.id);
        let mut inputs = Vec::new();
        for node in &sub.nodes {
            let Some(topic) = input_topic(&node.operator) else { continue };
            let partition = TopicPartition::new(topic, task.partition);
            let log = &plan.storage.log;
            let committed = match committed_position(&*plan.storage.state, &store, task.partition, &node.id, topic)? {
                Some(committed) => committed,
                None => log.offsets(&partition)?.start,
            };
            let committed = self.pass(&**log, task, &partition, committed)?;
            inputs.push(InputProgress { partition, log: Arc::clone(log), repartition: false, first: 0, goal: 0, committed });
        }
        Ok(inputs)
    }

    /// How far there is nothing to see behind `committed`.
    fn pass(&self, log: &dyn Log, task: &TaskProgress, partition: &TopicPartition, committed: u64) -> Result<u64> {
        let key = (task.id(), partition.clone());
        let seen = self.seen.lock().get(&key).copied();
        let passed = match seen {
            Some(seen) if seen.committed == committed => {
                let OffsetRange { start, end } = log.offsets(partition)?;
                // What retention has removed shows nobody a row any more.
                let mut passed = seen.passed.max(committed).max(start);
                while passed < end {
                    let fetch = log.fetch(partition, passed, ONE)?;
                    if !fetch.entries.is_empty() || fetch.next_offset == passed {
                        break;
                    }
                    passed = fetch.next_offset;
                }
                passed
            }
            _ => committed,
        };
        self.seen.lock().insert(key, Seen { committed, passed });
        Ok(passed)
    }
}

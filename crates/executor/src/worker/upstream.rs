//! What is on its way to a repartition topic: a join asks, before it takes the topic's end for the end of its rows.
//!
//! ```text
//!   source ─► task ─► repartition ─► task ─► repartition ─► join ◄─ table
//!   └──── stage 0 ───┘              └ stage 1 ┘
//! ```
//! A stage is through when it has committed what its inputs had when the stages before it were through. What comes later was not there when it
//! was asked, and is not waited for.

use std::sync::Arc;

use millpond_streams::topology::OperatorSpec;
use millpond_streams::{SubTopology, Topology};

use crate::progress::{InputProgress, TaskProgress};
use crate::query::{RunningQuery, input_topic, output_topic};
use crate::runtime::Runtime;

#[derive(Debug, Default)]
pub(crate) struct Upstream {
    /// In the order data passes them.
    stages: Vec<Vec<Arc<TaskProgress>>>,
    through: usize,
    /// Where the inputs of the current stage's tasks ended when it was first asked.
    goals: Option<Vec<Vec<u64>>>,
}

impl Upstream {
    /// The tasks whose rows come by way of `topic`.
    pub fn of(topic: &str, topology: &Topology, tasks: &[Arc<TaskProgress>]) -> Upstream {
        let mut subs = Vec::new();
        writers(topic, topology, &mut subs);
        let of_sub = |sub: u32| tasks.iter().filter(|task| task.sub_topology == sub).cloned().collect();
        Upstream { stages: subs.into_iter().map(of_sub).collect(), through: 0, goals: None }
    }

    /// Whether everything has arrived that was on its way when it was first asked since [`Upstream::begin_again`].
    pub fn is_through(&mut self, runtime: &Runtime, query: &RunningQuery) -> crate::Result<bool> {
        while let Some(stage) = self.stages.get(self.through) {
            // A task that is not built yet has everything before it.
            let inputs = stage.iter().map(|task| runtime.inputs(query, task)).collect::<crate::Result<Option<Vec<_>>>>()?;
            let Some(inputs) = inputs else { return Ok(false) };
            let goals = self.goals.get_or_insert_with(|| inputs.iter().map(|inputs| inputs.iter().map(end).collect()).collect());
            let reached = |(input, goal): (&InputProgress, &u64)| input.committed >= *goal;
            if !inputs.iter().zip(goals).all(|(inputs, goals)| inputs.iter().zip(goals.iter()).all(reached)) {
                return Ok(false);
            }
            self.through += 1;
            self.goals = None;
        }
        Ok(true)
    }

    /// The next question is about what is on its way by then.
    pub fn begin_again(&mut self) {
        (self.through, self.goals) = (0, None);
    }
}

fn end(input: &InputProgress) -> u64 {
    input.log.offsets(&input.partition).map_or(input.committed, |range| range.end)
}

/// The sub-topologies that write to `topic`, behind those that write to what they read.
fn writers(topic: &str, topology: &Topology, found: &mut Vec<u32>) {
    let writes = |sub: &&SubTopology| {
        let sinks = sub.nodes.iter().filter(|node| matches!(node.operator, OperatorSpec::RepartitionSink(_)));
        sinks.into_iter().any(|node| output_topic(&node.operator) == Some(topic))
    };
    for sub in topology.sub_topologies.iter().filter(writes) {
        if found.contains(&sub.id) {
            continue;
        }
        let inputs = sub.nodes.iter().filter(|node| matches!(node.operator, OperatorSpec::RepartitionSource { .. }));
        inputs.filter_map(|node| input_topic(&node.operator)).for_each(|topic| writers(topic, topology, found));
        found.push(sub.id);
    }
}

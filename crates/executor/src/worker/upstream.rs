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
use crate::query::RunningQuery;
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

/// How many commits a row passes on the longest way through the topology: one, and one more for each repartition.
pub(crate) fn stages(topology: &Topology) -> usize {
    topology.sub_topologies.iter().map(|sub| stage(sub, topology)).max().unwrap_or(1)
}

/// The same for the way to, and through, one of its sub-topologies.
pub(crate) fn stage(sub: &SubTopology, topology: &Topology) -> usize {
    let before = repartitions_of(sub).flat_map(|topic| writers_of(topic, topology)).map(|writer| stage(writer, topology));
    1 + before.max().unwrap_or(0)
}

/// The sub-topologies by way of which `topic` is written, those before the ones that read what they write.
fn writers(topic: &str, topology: &Topology, found: &mut Vec<u32>) {
    for sub in writers_of(topic, topology) {
        if found.contains(&sub.id) {
            continue;
        }
        repartitions_of(sub).for_each(|topic| writers(topic, topology, found));
        found.push(sub.id);
    }
}

fn writers_of<'a>(topic: &'a str, topology: &'a Topology) -> impl Iterator<Item = &'a SubTopology> {
    let writes = move |operator: &OperatorSpec| matches!(operator, OperatorSpec::RepartitionSink(spec) if *spec.topic == *topic);
    topology.sub_topologies.iter().filter(move |sub| sub.nodes.iter().any(|node| writes(&node.operator)))
}

/// The repartition topics that it reads.
fn repartitions_of(sub: &SubTopology) -> impl Iterator<Item = &str> {
    sub.nodes.iter().filter_map(|node| match &node.operator {
        OperatorSpec::RepartitionSource { topic, .. } => Some(&**topic),
        _ => None,
    })
}

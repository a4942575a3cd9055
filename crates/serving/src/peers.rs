//! Where the state of a service's tables is when several processes share it, and who these are.
//!
//! [`Serving`](crate::Serving) without [`Peers`] takes everything to be here.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;

use millpond_catalog::Source;

use crate::Result;

/// How another process of the service is known and reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer {
    /// Stays the same when its process is started again.
    pub instance: Arc<str>,
    /// `host:port`, where it takes the Postgres protocol.
    pub address: Arc<str>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member \"{}\" at {}", self.instance, self.address)
    }
}

/// Who has the current rows of a partition of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// This process: what its state has committed is all there is.
    Here,
    At(Peer),
    /// Nobody yet: it is being placed, moved or restored.
    Nobody,
}

/// A process of the service, as the group of its processes has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    pub peer: Peer,
    /// The id under which the group has let it in; another one each time.
    pub id: Option<String>,
    /// Whether it is the one that places.
    pub leads: bool,
}

/// What the service's processes do, as this one knows it.
///
/// PEER-1  an owner and the version change in one step: who reads the version, then state, then owners, and then the same version again, has
///         read state as those owners had it.
/// PEER-2  a partition is `Here` only while its committed state here is the current one: restored before, not yet let go.
pub trait Peers: Debug + Send + Sync {
    /// Another number after each change of an owner.
    fn version(&self) -> u64;

    /// For each partition of the table, who has it. Those that are missing at the end are nobody's: the table is not known yet.
    fn owners(&self, table: &Source) -> Vec<Owner>;

    /// This process, as the others know it.
    fn this(&self) -> Peer;

    /// All of the service's processes, this one included. May block.
    fn members(&self) -> Result<Vec<GroupMember>>;
}

/// `partitions` by their owners: those that are read together. Those here are one group, those of nobody are a group each.
pub(crate) fn groups(owners: &[Owner], partitions: &[u32]) -> Vec<Vec<u32>> {
    let (mut here, mut nobody) = (Vec::new(), Vec::new());
    let mut peers: BTreeMap<&Peer, Vec<u32>> = BTreeMap::new();
    for partition in partitions {
        match owner(owners, *partition) {
            Owner::Here => here.push(*partition),
            Owner::At(peer) => peers.entry(peer).or_default().push(*partition),
            Owner::Nobody => nobody.push(vec![*partition]),
        }
    }
    let here = (!here.is_empty()).then_some(here);
    here.into_iter().chain(peers.into_values()).chain(nobody).collect()
}

/// What partition `index` of a scan of a whole table reads: each reads its own, but the first of a peer reads all of that peer.
pub(crate) fn share(owners: &[Owner], index: u32) -> Vec<u32> {
    let Owner::At(peer) = owner(owners, index) else { return vec![index] };
    let theirs = owners.iter().zip(0..).filter(|(owner, _)| matches!(owner, Owner::At(at) if at == peer)).map(|(_, partition)| partition);
    let theirs: Vec<u32> = theirs.collect();
    if theirs.first() == Some(&index) { theirs } else { Vec::new() }
}

pub(crate) fn owner(owners: &[Owner], partition: u32) -> &Owner {
    owners.get(partition as usize).unwrap_or(&Owner::Nobody)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: &str) -> Owner {
        Owner::At(Peer { instance: name.into(), address: format!("{name}:6455").into() })
    }

    #[test]
    fn each_partition_is_read_once() {
        let owners = [Owner::Here, at("b"), Owner::Here, at("c"), at("b"), Owner::Nobody];
        let shares: Vec<Vec<u32>> = (0..7).map(|index| share(&owners, index)).collect();
        assert_eq!(shares, [vec![0], vec![1, 4], vec![2], vec![3], vec![], vec![5], vec![6]]);
        let groups = groups(&owners, &[6, 5, 4, 3, 2, 1, 0]);
        assert_eq!(groups, [vec![2, 0], vec![4, 1], vec![3], vec![6], vec![5]]);
    }
}

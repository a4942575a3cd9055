//! The service's other processes, as pull queries see them.

use std::sync::Arc;

use millpond_catalog::Source;
use millpond_executor::{Engine, MemberConfig, Place};
use millpond_membership::{Coordinator, Instance, Seat};
use millpond_serving::{GroupMember, Owner, Peer, Peers, Result};

#[derive(Debug)]
pub struct Others {
    engine: Engine,
    member: MemberConfig,
    coordinator: Arc<Coordinator>,
}

impl Others {
    /// `None` where there cannot be any.
    pub fn of(engine: &Engine) -> Option<Others> {
        let member = engine.config().member.clone()?;
        Some(Others { engine: engine.clone(), member, coordinator: Arc::clone(engine.coordinator()?) })
    }
}

impl Peers for Others {
    fn version(&self) -> u64 {
        self.engine.places_version()
    }

    fn owners(&self, table: &Source) -> Vec<Owner> {
        let owner = |place: Place| match place {
            Place::Here => Owner::Here,
            Place::At(instance, seat) => Owner::At(peer(&instance, &seat)),
            Place::Nowhere => Owner::Nobody,
        };
        self.engine.places(table).into_iter().map(owner).collect()
    }

    fn this(&self) -> Peer {
        Peer { instance: self.member.instance.as_str().into(), address: self.member.address.as_str().into() }
    }

    fn members(&self) -> Result<Vec<GroupMember>> {
        let this = self.member.group.membership();
        let member = |(instance, seat): (&Instance, &Seat)| GroupMember {
            peer: peer(instance, seat),
            leads: this.leads && this.member.as_ref() == Some(&seat.member),
            id: Some(seat.member.clone()),
        };
        Ok(self.coordinator.assignment().members.iter().map(member).collect())
    }
}

fn peer(instance: &Instance, seat: &Seat) -> Peer {
    Peer { instance: instance.as_str().into(), address: seat.address.as_str().into() }
}

//! `millpond.members`: the processes of the service, those that do not answer included.

use datafusion::error::Result;

use super::columns::Columns;
use super::{Sources, millis};
use crate::peers::GroupMember;

/// This process.
pub fn fill(sources: &Sources) -> Result<Columns> {
    let member = &sources.member;
    let this = match &sources.remote {
        Some(remote) => {
            let this = remote.peers.this();
            let found = remote.peers.members()?.into_iter().find(|member| member.peer.instance == this.instance);
            Some(found.unwrap_or(GroupMember { peer: this, id: None, leads: false }))
        }
        None => None,
    };
    let tasks: usize = sources.moment.engine.queries().iter().map(|query| query.tasks.len()).sum();
    let text = |value: &str| std::iter::once(Some(value.to_string()));
    let mut columns = Columns::new(1);
    columns.text(std::iter::once(this.as_ref().map(|this| this.peer.instance.to_string())));
    columns.text(text(&member.service));
    columns.text(text(this.as_ref().map_or(member.address.as_str(), |this| &this.peer.address)));
    columns.text(text(&member.http));
    columns.text(text(member.version));
    columns.time(std::iter::once(Some(millis(member.started))));
    columns.number(std::iter::once(Some(member.workers as i64)));
    columns.number(std::iter::once(Some(tasks as i64)));
    columns.text(std::iter::once(this.as_ref().and_then(|this| this.id.clone())));
    // Who is alone leads itself.
    columns.truth(std::iter::once(Some(this.as_ref().is_none_or(|this| this.leads))));
    columns.truth(std::iter::once(Some(true)));
    Ok(columns)
}

/// Those that do not answer: what the group knows of them.
pub fn silent(members: &[&GroupMember]) -> Columns {
    let mut columns = Columns::new(members.len());
    columns.text(members.iter().map(|member| Some(member.peer.instance.to_string())));
    columns.text(members.iter().map(|_| None));
    columns.text(members.iter().map(|member| Some(member.peer.address.to_string())));
    columns.text(members.iter().map(|_| None));
    columns.text(members.iter().map(|_| None));
    columns.time(members.iter().map(|_| None));
    columns.number(members.iter().map(|_| None));
    columns.number(members.iter().map(|_| None));
    columns.text(members.iter().map(|member| member.id.clone()));
    columns.truth(members.iter().map(|member| Some(member.leads)));
    columns.truth(members.iter().map(|_| Some(false)));
    columns
}

//! The members of a group, from its coordinator.
//!
//! rdkafka's safe call (`fetch_group_list`) asks every broker, and waits for those that are away; so this asks as [`crate::coordinators`] does.
//! Sound, because what the answer points to is copied while it lives.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char};
use std::time::{Duration, Instant};

use millpond_log::Result;
use millpond_membership::Member;
use rdkafka::bindings as rd;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::coordinators::{Coordinators, group_name};
use crate::error::told;

/// A coordinator that is being moved is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// By id. A group that nobody has joined yet has none.
pub(super) fn members(coordinators: &Coordinators, group: &str, timeout: Duration) -> Result<Vec<Member>> {
    let name = group_name(group)?;
    let deadline = Instant::now() + timeout;
    loop {
        match ask(coordinators, &name, deadline.saturating_duration_since(Instant::now()))? {
            Ok(mut members) => {
                members.sort_unstable();
                return Ok(members);
            }
            Err(Code::CoordinatorLoadInProgress | Code::CoordinatorNotAvailable | Code::NotCoordinator) if Instant::now() < deadline => {
                std::thread::sleep(PAUSE);
            }
            Err(code) => return Err(told(&KafkaError::AdminOp(code), None)),
        }
    }
}

fn ask(coordinators: &Coordinators, name: &CString, timeout: Duration) -> Result<std::result::Result<Vec<Member>, Code>> {
    let mut names = [name.as_ptr()];
    let answer = coordinators.ask(
        rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS,
        timeout,
        // SAFETY: the name lives until the request has copied it.
        |client, options, queue| unsafe { rd::rd_kafka_DescribeConsumerGroups(client, names.as_mut_ptr(), names.len(), options, queue) },
        // SAFETY: it is the answer to that.
        |event| unsafe { read(event) },
    )?;
    Ok(answer.unwrap_or(Err(Code::OperationTimedOut)))
}

/// # Safety
/// `event` is the answer to a request for one group.
unsafe fn read(event: *mut rd::rd_kafka_event_t) -> std::result::Result<Vec<Member>, Code> {
    // SAFETY: the event lives until the caller destroys it, and so do the result, its groups and their members.
    unsafe {
        let failed = Code::from(rd::rd_kafka_event_error(event));
        let result = rd::rd_kafka_event_DescribeConsumerGroups_result(event);
        if failed != Code::NoError || result.is_null() {
            return Err(failed);
        }
        let mut count = 0;
        let groups = rd::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
        if count == 0 {
            return Ok(Vec::new());
        }
        let group = *groups;
        let error = rd::rd_kafka_ConsumerGroupDescription_error(group);
        match if error.is_null() { Code::NoError } else { Code::from(rd::rd_kafka_error_code(error)) } {
            Code::NoError => {}
            Code::GroupIdNotFound => return Ok(Vec::new()),
            code => return Err(code),
        }
        let read = |index| {
            let member = rd::rd_kafka_ConsumerGroupDescription_member(group, index);
            let id = text(rd::rd_kafka_MemberDescription_consumer_id(member));
            Member { id, instance: text(rd::rd_kafka_MemberDescription_group_instance_id(member)) }
        };
        Ok((0..rd::rd_kafka_ConsumerGroupDescription_member_count(group)).map(read).collect())
    }
}

/// # Safety
/// `text` is a C string or null.
unsafe fn text(text: *const c_char) -> String {
    // SAFETY: as the caller promises.
    if text.is_null() { String::new() } else { unsafe { CStr::from_ptr(text).to_string_lossy().into_owned() } }
}

//! Distinct values in the order of their first arrival.

use std::collections::HashSet;

use datafusion::scalar::ScalarValue;

#[derive(Debug, Default)]
pub(super) struct ArrivalSet {
    in_order: Vec<ScalarValue>,
    members: HashSet<ScalarValue>,
}

impl ArrivalSet {
    pub(super) fn insert(&mut self, value: ScalarValue) {
        if !self.members.contains(&value) {
            self.members.insert(value.clone());
            self.in_order.push(value);
        }
    }

    pub(super) fn values(&self) -> &[ScalarValue] {
        &self.in_order
    }

    pub(super) fn size(&self) -> usize {
        ScalarValue::size_of_vec(&self.in_order) + ScalarValue::size_of_hashset(&self.members)
    }
}

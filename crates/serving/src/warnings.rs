//! What a user is to be told besides the rows, as it turns up while they are read.

use std::sync::Arc;

use parking_lot::Mutex;

/// Clones are the same list.
#[derive(Debug, Clone, Default)]
pub struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    pub fn add(&self, message: impl Into<String>) {
        self.0.lock().push(message.into());
    }

    /// Those that were added since it was last asked.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

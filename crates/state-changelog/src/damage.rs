//! Who is to know when the files of the database turn out to be damaged: it is of no use any more, and can be made anew from the log.

use millpond_state::{Error, Result};
use parking_lot::Mutex;

type Tell = Box<dyn FnOnce(String) + Send>;

#[derive(Default)]
pub(crate) struct Damage {
    tell: Mutex<Option<Tell>>,
}

impl Damage {
    pub fn on(&self, tell: Tell) {
        *self.tell.lock() = Some(tell);
    }

    /// Looks at what came of a call to the database. The first damage is told.
    pub fn look<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(Error::Damaged(reason)) = &result
            && let Some(tell) = self.tell.lock().take()
        {
            tell(reason.clone());
        }
        result
    }
}

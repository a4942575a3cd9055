//! A node's store.

use std::sync::Arc;

use millpond_state::{Backend, Overlay, StoreId, Writes};

use crate::Result;

/// One partition of a store, and the backend that holds it.
#[derive(Clone)]
pub struct StoreHandle {
    pub id: StoreId,
    pub partition: u32,
    pub backend: Arc<dyn Backend>,
}

impl StoreHandle {
    pub fn open(backend: &Arc<dyn Backend>, name: &str, partition: u32) -> Result<StoreHandle> {
        Ok(StoreHandle { id: backend.open_store(name)?, partition, backend: backend.clone() })
    }

    /// Nothing changed yet, over what is committed.
    pub fn overlay(&self) -> Overlay {
        Overlay::new(self.id, self.partition, self.backend.clone())
    }

    /// Nothing written yet.
    pub fn writes(&self) -> Writes {
        Writes::new(self.id, self.partition)
    }
}

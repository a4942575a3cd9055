//! A node's store.

use std::sync::Arc;

use millpond_state::{Backend, Overlay, StoreConfig, StoreId, Writes};

use crate::Result;

/// One partition of a store, and the backend that holds it.
#[derive(Clone)]
pub struct StoreHandle {
    pub id: StoreId,
    pub partition: u32,
    pub backend: Arc<dyn Backend>,
}

impl StoreHandle {
    /// `partition` of the store, to be written by the caller alone.
    pub fn open(backend: &Arc<dyn Backend>, name: &str, partition: u32, config: StoreConfig) -> Result<StoreHandle> {
        let id = backend.open_store(name, config)?;
        backend.take_over(id, partition)?;
        Ok(StoreHandle { id, partition, backend: backend.clone() })
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

//! The schemas of all entries, each kept once.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::convert::try_schema_from_flatbuffer_bytes;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use hashbrown::{DefaultHashBuilder, HashMap};
use millpond_log::{Error, Result};
use millpond_state_rocksdb::rocksdb::WriteBatch;
use millpond_state_rocksdb::{Database, Family};
use parking_lot::RwLock;

use crate::embedded::log_error;

const PREFIX: &[u8] = b"schema/";

/// Ids are given in the order schemas are met, and kept for ever.
#[derive(Debug)]
pub struct Schemas {
    database: Arc<Database>,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_id: Vec<SchemaRef>,
    /// By the hash of the fields: few share one.
    by_hash: HashMap<u64, Vec<u32>>,
    hasher: DefaultHashBuilder,
}

/// Their values are not in the batch itself, so such a batch is written with all that it needs.
pub fn has_dictionaries(schema: &Schema) -> bool {
    fn within(field: &Field) -> bool {
        match field.data_type() {
            DataType::Dictionary(..) => true,
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) | DataType::Map(item, _) => within(item),
            DataType::ListView(item) | DataType::LargeListView(item) => within(item),
            DataType::Struct(fields) => fields.iter().any(|field| within(field)),
            DataType::Union(fields, _) => fields.iter().any(|(_, field)| within(field)),
            DataType::RunEndEncoded(ends, values) => within(ends) || within(values),
            _ => false,
        }
    }
    schema.fields().iter().any(|field| within(field))
}

impl Known {
    fn hash(&self, schema: &Schema) -> u64 {
        self.hasher.hash_one(schema.fields())
    }

    fn find(&self, schema: &SchemaRef) -> Option<(u32, SchemaRef)> {
        let same = |id: &&u32| {
            let known = &self.by_id[**id as usize];
            Arc::ptr_eq(known, schema) || known == schema
        };
        let id = *self.by_hash.get(&self.hash(schema))?.iter().find(same)?;
        Some((id, self.by_id[id as usize].clone()))
    }

    fn insert(&mut self, schema: SchemaRef) {
        let hash = self.hash(&schema);
        self.by_hash.entry(hash).or_default().push(self.by_id.len() as u32);
        self.by_id.push(schema);
    }
}

fn key(id: u32) -> Vec<u8> {
    [PREFIX, &id.to_be_bytes()].concat()
}

impl Schemas {
    pub fn load(database: Arc<Database>) -> Result<Schemas> {
        let mut known = Known::default();
        for (found, bytes) in database.metas(PREFIX).map_err(log_error)? {
            if found != key(known.by_id.len() as u32) {
                return Err(Error::Corrupt(format!("schema {} is missing", known.by_id.len())));
            }
            known.insert(Arc::new(try_schema_from_flatbuffer_bytes(&bytes)?));
        }
        Ok(Schemas { database, known: RwLock::new(known) })
    }

    /// The schema's id, and the schema as it is shared; a new one is saved before any entry can use it.
    pub fn id(&self, schema: &SchemaRef) -> Result<(u32, SchemaRef)> {
        if let Some(found) = self.known.read().find(schema) {
            return Ok(found);
        }
        let mut known = self.known.write();
        if let Some(found) = known.find(schema) {
            return Ok(found);
        }
        let id = known.by_id.len() as u32;
        let mut batch = WriteBatch::default();
        batch.put_cf(self.database.family(Family::Meta), key(id), message(schema));
        self.database.write(batch).map_err(log_error)?;
        known.insert(schema.clone());
        Ok((id, schema.clone()))
    }

    pub fn schema(&self, id: u32) -> Result<SchemaRef> {
        self.known.read().by_id.get(id as usize).cloned().ok_or_else(|| Error::Corrupt(format!("schema {id} is not known")))
    }
}

fn message(schema: &Schema) -> Vec<u8> {
    IpcDataGenerator::default()
        .schema_to_bytes_with_dictionary_tracker(schema, &mut DictionaryTracker::new(false), &IpcWriteOptions::default())
        .ipc_message
}

//! The catalog at one moment, and what each command makes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Command, Error, Query, Result, Source};

/// Immutable; [`Snapshot::apply`] gives the next.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// How many commands made it.
    pub version: u64,
    pub sources: BTreeMap<String, Arc<Source>>,
    pub queries: BTreeMap<String, Arc<Query>>,
}

impl Snapshot {
    pub fn source(&self, name: &str) -> Result<&Arc<Source>> {
        self.sources.get(name).ok_or_else(|| Error::UnknownSource { name: name.to_string(), similar: similar(name, self.sources.keys()) })
    }

    pub fn query(&self, id: &str) -> Result<&Arc<Query>> {
        self.queries.get(id).ok_or_else(|| Error::UnknownQuery { id: id.to_string(), similar: similar(id, self.queries.keys()) })
    }

    /// Ids of the queries that read `source`.
    pub fn readers(&self, source: &str) -> Vec<String> {
        self.queries.values().filter(|query| query.reads.iter().any(|read| read == source)).map(|query| query.id.clone()).collect()
    }

    /// Ids of the queries that write to `source`.
    pub fn writers(&self, source: &str) -> Vec<String> {
        self.queries.values().filter(|query| query.sink == source).map(|query| query.id.clone()).collect()
    }

    /// Names of the other sources over the topic of `source`.
    pub fn sharing_topic(&self, source: &Source) -> Vec<String> {
        let shares = |other: &&Arc<Source>| other.topic == source.topic && other.name != source.name;
        self.sources.values().filter(shares).map(|other| other.name.clone()).collect()
    }

    /// The id the next INSERT INTO `target` SELECT gets.
    pub fn next_insert_id(&self, target: &str) -> String {
        (1..).map(|n| format!("insert_{n}_{target}")).find(|id| !self.queries.contains_key(id)).expect("numbers do not end")
    }

    /// The catalog after `command`, or why it cannot be.
    pub fn apply(&self, command: &Command) -> Result<Snapshot> {
        let mut next = self.clone();
        next.version += 1;
        match command {
            Command::Create { source, or_replace } => next.put_source(source, *or_replace)?,
            Command::CreateAs { source, query, or_replace } => {
                next.put_source(source, *or_replace)?;
                next.put_query(query, *or_replace)?;
            }
            Command::Insert { query } => {
                next.source(&query.sink)?;
                next.put_query(query, false)?;
            }
            Command::Drop { name, .. } => next.drop_source(name)?,
            Command::Terminate { query } => {
                next.query(query)?;
                next.queries.remove(query);
            }
            Command::Query { query, state } => {
                let mut changed = Query::clone(next.query(query)?);
                changed.state = *state;
                next.queries.insert(query.clone(), Arc::new(changed));
            }
        }
        Ok(next)
    }

    fn put_source(&mut self, source: &Source, or_replace: bool) -> Result<()> {
        if let Some(existing) = self.sources.get(&source.name) {
            if !or_replace || existing.kind != source.kind {
                return Err(Error::SourceExists { kind: existing.kind, name: source.name.clone() });
            }
            check_replacement(existing, source)?;
        }
        self.sources.insert(source.name.clone(), Arc::new(source.clone()));
        Ok(())
    }

    fn put_query(&mut self, query: &Query, or_replace: bool) -> Result<()> {
        if self.queries.contains_key(&query.id) && !or_replace {
            return Err(Error::QueryExists { id: query.id.clone() });
        }
        for read in &query.reads {
            self.source(read)?;
        }
        self.queries.insert(query.id.clone(), Arc::new(query.clone()));
        Ok(())
    }

    fn drop_source(&mut self, name: &str) -> Result<()> {
        let source = Arc::clone(self.source(name)?);
        let own = [format!("ctas_{name}"), format!("csas_{name}")];
        let mut using = self.readers(name);
        using.extend(self.writers(name).into_iter().filter(|id| !own.contains(id)));
        if !using.is_empty() {
            return Err(Error::InUse { kind: source.kind, name: name.to_string(), queries: using });
        }
        for id in own {
            self.queries.remove(&id);
        }
        self.sources.remove(name);
        Ok(())
    }
}

/// CREATE OR REPLACE may add value columns at the end; everything else must stay.
fn check_replacement(existing: &Source, new: &Source) -> Result<()> {
    let refuse = |reason: String| Err(Error::Incompatible { name: new.name.clone(), reason });
    if existing.read_only || new.read_only {
        return refuse("a SOURCE cannot be replaced".to_string());
    }
    if existing.topic != new.topic {
        return refuse(format!("its topic is \"{}\" and cannot become \"{}\"", existing.topic, new.topic));
    }
    if existing.key_format != new.key_format || existing.value_format != new.value_format {
        return refuse("its formats cannot change".to_string());
    }
    if existing.window != new.window {
        return refuse("its window cannot change".to_string());
    }
    if let Some((old, _)) =
        existing.columns.iter().enumerate().map(|(i, old)| (old, new.columns.get(i))).find(|(old, new)| Some(*old) != *new)
    {
        return refuse(format!("column \"{}\" must stay as and where it is", old.name));
    }
    if let Some(added) = new.columns[existing.columns.len()..].iter().find(|column| column.key) {
        return refuse(format!("column \"{}\" cannot be added to the key", added.name));
    }
    Ok(())
}

/// The name most like `name`, if one is like it at all.
pub fn similar<'a>(name: &str, candidates: impl Iterator<Item = &'a String>) -> Option<String> {
    candidates
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(name.len()) / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate.clone())
}

/// Levenshtein distance, in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substitution = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

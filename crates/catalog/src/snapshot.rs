//! The catalog at one moment, and what each command makes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use millpond_sql::Dialect;

use crate::{Column, Command, Error, Query, Result, Source, dead_letters};

/// Immutable; [`Snapshot::apply`] gives the next.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// How many commands made it.
    pub version: u64,
    pub sources: BTreeMap<String, Arc<Source>>,
    pub queries: BTreeMap<String, Arc<Query>>,
    /// Sources that are simply there, by their names in each dialect.
    built_in: Arc<BTreeMap<String, Arc<Source>>>,
}

impl Snapshot {
    /// Of a service without commands.
    pub fn new(service_id: &str) -> Snapshot {
        let letters = [Dialect::Millpond, Dialect::Ksqldb].map(|dialect| Arc::new(dead_letters::source(service_id, dialect)));
        let built_in = letters.into_iter().map(|source| (source.name.clone(), source)).collect();
        Snapshot { built_in: Arc::new(built_in), ..Snapshot::default() }
    }

    /// Of those that are declared, made by queries, or simply there.
    pub fn find(&self, name: &str) -> Option<&Arc<Source>> {
        self.sources.get(name).or_else(|| self.built_in(name))
    }

    pub fn source(&self, name: &str) -> Result<&Arc<Source>> {
        self.find(name).ok_or_else(|| Error::UnknownSource { name: name.to_string(), similar: similar(name, self.sources.keys()) })
    }

    /// One that is simply there.
    pub fn built_in(&self, name: &str) -> Option<&Arc<Source>> {
        self.built_in.get(name)
    }

    /// [`dead_letters`] as a query in `dialect` sees them.
    pub fn dead_letters(&self, dialect: Dialect) -> Option<&Arc<Source>> {
        self.built_in.values().find(|source| source.dialect == dialect)
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
        self.sources.values().chain(self.dead_letters(source.dialect)).filter(shares).map(|other| other.name.clone()).collect()
    }

    /// Whether what the query fills has rows of before it, or has if it is made now.
    pub fn has_rows_before(&self, query: &str, sink: &str) -> bool {
        self.queries.get(query).map_or_else(|| self.sources.contains_key(sink), |query| query.rows_before)
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
                let rows_before = self.has_rows_before(&query.id, &source.name);
                next.put_query(&Query { rows_before, ..query.clone() }, *or_replace)?;
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
            Command::Query { query, state } => next.change_query(query, |query| query.state = *state)?,
            Command::Reset { query, reset } => next.change_query(query, |query| query.reset = Some(reset.clone()))?,
        }
        Ok(next)
    }

    fn put_source(&mut self, source: &Source, or_replace: bool) -> Result<()> {
        self.check_changeable(&source.name)?;
        if let Some(existing) = self.sources.get(&source.name) {
            if !or_replace || existing.kind != source.kind {
                return Err(Error::SourceExists { kind: existing.kind, name: source.name.clone() });
            }
            check_replacement(existing, source)?;
        }
        self.sources.insert(source.name.clone(), Arc::new(source.clone()));
        Ok(())
    }

    fn check_changeable(&self, name: &str) -> Result<()> {
        match self.built_in(name) {
            Some(source) => Err(Error::BuiltIn { kind: source.kind, name: name.to_string() }),
            None => Ok(()),
        }
    }

    fn put_query(&mut self, query: &Query, or_replace: bool) -> Result<()> {
        if self.queries.contains_key(&query.id) && !or_replace {
            return Err(Error::QueryExists { id: query.id.clone() });
        }
        for read in &query.reads {
            self.source(read)?;
        }
        // What takes the place of a query goes on from its state.
        let reset = self.queries.get(&query.id).and_then(|replaced| replaced.reset.clone());
        self.queries.insert(query.id.clone(), Arc::new(Query { reset, ..query.clone() }));
        Ok(())
    }

    fn change_query(&mut self, id: &str, change: impl FnOnce(&mut Query)) -> Result<()> {
        let mut changed = Query::clone(self.query(id)?);
        change(&mut changed);
        self.queries.insert(id.to_string(), Arc::new(changed));
        Ok(())
    }

    fn drop_source(&mut self, name: &str) -> Result<()> {
        self.check_changeable(name)?;
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

/// CREATE OR REPLACE may add value columns, and header columns, behind those that are there; everything else must stay.
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
    if let Some(moved) = moved(&existing.columns, &new.columns, false).or_else(|| moved(&existing.columns, &new.columns, true)) {
        return refuse(format!("column \"{}\" must stay as and where it is", moved.name));
    }
    let keys = existing.key_columns().count();
    if let Some(added) = new.key_columns().nth(keys) {
        return refuse(format!("column \"{}\" cannot be added to the key", added.name));
    }
    Ok(())
}

/// The first column, of headers or of the others, that is not in its place in `new`.
fn moved<'a>(old: &'a [Column], new: &[Column], header: bool) -> Option<&'a Column> {
    let mut new = new.iter().filter(|column| column.header.is_some() == header);
    old.iter().filter(|column| column.header.is_some() == header).find(|old| new.next() != Some(*old))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Reset, Start};

    /// As command logs have it since before there were resets.
    const CREATED: &str = r#"{"command": "create_as", "or_replace": true,
        "source": {"kind": "table", "name": "t", "columns": [], "topic": "t", "partitions": 1, "key_format": "native", "value_format": "native",
            "timestamp": null, "window": null, "on_error": "skip", "retention_ms": null, "read_only": false, "wrap_single_value": null,
            "dialect": "millpond", "sql": "CREATE TABLE t AS …"},
        "query": {"id": "ctas_t", "sql": "CREATE TABLE t AS …", "dialect": "millpond", "settings": [], "reads": [], "sink": "t",
            "state": "running"}}"#;

    #[test]
    fn what_is_built_in_can_be_read_and_nothing_else() {
        let catalog = Snapshot::new("s");
        for name in ["millpond.dead_letters", "MILLPOND.DEAD_LETTERS"] {
            let source = catalog.source(name).unwrap();
            assert_eq!(source.topic, "_millpond-s-dead-letters");
            let drop = Command::Drop { name: name.to_string(), delete_topic: false };
            assert!(matches!(catalog.apply(&drop), Err(Error::BuiltIn { .. })));
            let create = Command::Create { source: Source::clone(source), or_replace: true };
            assert!(matches!(catalog.apply(&create), Err(Error::BuiltIn { .. })));
            let over = Source { name: "over".to_string(), ..Source::clone(source) };
            assert_eq!(catalog.sharing_topic(&over), [name]);
        }
    }

    #[test]
    fn a_query_remembers_its_last_reset() {
        let created: Command = serde_json::from_str(CREATED).unwrap();
        assert!(!serde_json::to_string(&created).unwrap().contains("reset"));
        let catalog = Snapshot::default().apply(&created).unwrap();
        assert_eq!(catalog.query("ctas_t").unwrap().reset, None);

        let reset = |number, offset| Reset { number, start_at: vec![Start { topic: "s".to_string(), partition: 0, offset }] };
        let command = |number| Command::Reset { query: "ctas_t".to_string(), reset: reset(number, 5) };
        let written = serde_json::to_string(&command(2)).unwrap();
        assert_eq!(
            written,
            r#"{"command":"reset","query":"ctas_t","reset":{"number":2,"start_at":[{"topic":"s","partition":0,"offset":5}]}}"#
        );
        assert_eq!(serde_json::from_str::<Command>(&written).unwrap(), command(2));

        let paused = Command::Query { query: "ctas_t".to_string(), state: crate::QueryState::Paused };
        let catalog = catalog.apply(&paused).unwrap().apply(&command(2)).unwrap().apply(&command(3)).unwrap();
        let query = catalog.query("ctas_t").unwrap();
        assert_eq!((query.state, query.reset.as_ref()), (crate::QueryState::Paused, Some(&reset(3, 5))), "it is not started");
        let replaced = catalog.apply(&created).unwrap();
        assert_eq!(replaced.query("ctas_t").unwrap().reset, Some(reset(3, 5)), "the state stays, and so does what is said of it");
        let terminated = replaced.apply(&Command::Terminate { query: "ctas_t".to_string() }).unwrap();
        assert!(matches!(terminated.apply(&command(4)), Err(Error::UnknownQuery { .. })));
        assert_eq!(terminated.apply(&created).unwrap().query("ctas_t").unwrap().reset, None, "what is made anew was never reset");
    }
}

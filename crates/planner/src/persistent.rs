//! `CREATE … AS SELECT`, `INSERT INTO … SELECT` → the source, the query and its topology.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use millpond_catalog::properties::{Place, Properties};
use millpond_catalog::{Column, Command, Format, Query, QueryState, Snapshot, Source, SourceKind, WindowType, types};
use millpond_sql::ast::{self, CreateAs, InsertSelect, Kind, WindowKind};
use millpond_streams::topology::{self, Emit, OperatorSpec, SinkSpec, Topology, WindowSpec};

use crate::bind::{Bound, bind};
use crate::create::{formats, properties, source_kind, topic_partitions, validate};
use crate::dead_letters::check_feedback;
use crate::lower::{Flow, Lowering, canonical, check_shape};
use crate::replace::{check_query, check_readers};
use crate::rewrite::{self, Rewritten};
use crate::schema::{layout, timestamp_column};
use crate::table_store::table_store;
use crate::{Error, Result, Settings};

const DAY_MS: i64 = 86_400_000;

/// A persistent query, planned.
#[derive(Debug)]
pub struct Persistent {
    pub command: Command,
    pub topology: Topology,
}

/// Plans `CREATE STREAM|TABLE name AS SELECT …`; `text` is the statement's text.
pub fn create_as(statement: &CreateAs, text: &str, snapshot: &Snapshot, settings: &Settings) -> Result<Persistent> {
    let kind = source_kind(statement.kind);
    let properties = properties(&statement.properties, Place::CreateAs, settings.dialect)?;
    let settings = with_properties(settings, &properties);
    let plan = Plan::of(&statement.query, snapshot, &settings)?;
    let id = query_id(kind, &statement.name);
    let source = sink_source(statement, text, kind, &properties, &plan, snapshot, &settings)?;
    let query = catalog_query(id, text, &plan.rewritten, &source.name, &settings);
    let apart = check_apart(&query.reads, &source, snapshot);
    let topology = plan.into_topology(&query.id, &source, snapshot, &settings, None)?;
    if statement.or_replace {
        check_query(&source, &query.id, &topology, snapshot)?;
    }
    let command = Command::CreateAs { source, query, or_replace: statement.or_replace };
    let after = snapshot.apply(&command)?;
    apart?;
    check_readers(&statement.name, snapshot, &after)?;
    check_feedback(snapshot, &after, &[])?;
    Ok(Persistent { command, topology })
}

/// Plans `INSERT INTO name SELECT …`.
pub fn insert_select(statement: &InsertSelect, text: &str, snapshot: &Snapshot, settings: &Settings) -> Result<Persistent> {
    let properties = properties(&statement.properties, Place::Insert, settings.dialect)?;
    let id = properties.query_id.clone().unwrap_or_else(|| snapshot.next_insert_id(&statement.target));
    let settings = with_properties(settings, &properties);
    let (query, topology) = plan_insert(statement, id, text, snapshot, &settings)?;
    let command = Command::Insert { query };
    check_feedback(snapshot, &snapshot.apply(&command)?, &[])?;
    Ok(Persistent { command, topology })
}

/// Plans a query of the catalog once more, as it was planned when it was made: at a restart.
pub fn topology_of(query: &Query, snapshot: &Snapshot) -> Result<Topology> {
    let statement = millpond_sql::parse(&query.sql, query.dialect)?
        .into_iter()
        .next()
        .ok_or_else(|| Error::new("XX000", format!("query \"{}\" has no statement", query.id)))?;
    let settings = Settings::from_pairs(query.dialect, &query.settings);
    match &statement.kind {
        Kind::CreateAs(create) => {
            let properties = properties(&create.properties, Place::CreateAs, settings.dialect)?;
            let settings = with_properties(&settings, &properties);
            let plan = Plan::of(&create.query, snapshot, &settings)?;
            let source = Arc::clone(snapshot.source(&query.sink)?);
            plan.into_topology(&query.id, &source, snapshot, &settings, None)
        }
        Kind::InsertSelect(insert) => {
            let properties = properties(&insert.properties, Place::Insert, settings.dialect)?;
            let settings = with_properties(&settings, &properties);
            Ok(plan_insert(insert, query.id.clone(), &query.sql, snapshot, &settings)?.1)
        }
        _ => Err(Error::new("XX000", format!("query \"{}\" is made of a statement that makes none", query.id))),
    }
}

/// The id of the query that fills a source.
pub(crate) fn query_id(kind: SourceKind, name: &str) -> String {
    match kind {
        SourceKind::Stream => format!("csas_{name}"),
        SourceKind::Table => format!("ctas_{name}"),
    }
}

fn with_properties(settings: &Settings, properties: &Properties) -> Settings {
    Settings {
        emit_every_update: properties.emit_every_update.unwrap_or(settings.emit_every_update),
        idle_timeout_ms: properties.idle_timeout_ms.unwrap_or(settings.idle_timeout_ms),
        ..settings.clone()
    }
}

fn catalog_query(id: String, text: &str, rewritten: &Rewritten, sink: &str, settings: &Settings) -> Query {
    Query {
        id,
        sql: text.to_string(),
        dialect: settings.dialect,
        settings: settings.to_pairs(),
        reads: rewritten.reads.clone(),
        sink: sink.to_string(),
        state: QueryState::Running,
        reset: None,
        rows_before: false,
    }
}

/// A bound query and what its clauses mean.
struct Plan {
    rewritten: Rewritten,
    bound: Bound,
    window: Option<WindowSpec>,
    /// RETENTION, when it is given: how long the result's windows are kept.
    retention_ms: Option<i64>,
    emit: Option<ast::Emit>,
    partition_by: bool,
}

impl Plan {
    fn of(query: &ast::Query, snapshot: &Snapshot, settings: &Settings) -> Result<Plan> {
        let rewritten = rewrite::streaming(query, snapshot, settings)?;
        if rewritten.limit.is_some() {
            return Err(Error::unsupported("a persistent query cannot have a LIMIT").hint("Leave it out; limit where you read the result."));
        }
        let bound = bind(&rewritten, snapshot, settings, query.window.is_some())?;
        if rewritten.reads.is_empty() {
            return Err(Error::unsupported("a persistent query needs a stream or table in FROM"));
        }
        check_shape(&bound.plan)?;
        let window = query.window.as_ref().map(|window| window_spec(window, query.emit)).transpose()?;
        if query.emit == Some(ast::Emit::Final) && window.is_none() {
            return Err(Error::new("42601", "EMIT FINAL needs a WINDOW").hint("Use EMIT CHANGES, or add a WINDOW clause."));
        }
        let retention_ms = query.window.as_ref().and_then(|window| window.retention_ms);
        Ok(Plan { rewritten, bound, window, retention_ms, emit: query.emit, partition_by: query.partition_by.is_some() })
    }

    /// The visible columns: name and type as they are stored.
    fn columns(&self) -> Result<Vec<(String, DataType)>> {
        let schema = self.bound.plan.schema();
        let mut columns: Vec<(String, DataType)> = Vec::with_capacity(self.bound.visible);
        for field in schema.fields().iter().take(self.bound.visible) {
            let name = field.name().clone();
            if columns.iter().any(|(other, _)| *other == name) {
                return Err(
                    Error::new("42701", format!("column name \"{name}\" is given twice")).hint("Give one of them another name with AS.")
                );
            }
            let data_type = canonical(&name, field.data_type())?;
            columns.push((name, data_type));
        }
        Ok(columns)
    }

    /// Positions of the key columns among the visible ones, in key order.
    fn keys(&self) -> Result<Vec<usize>> {
        let Some(keys) = &self.bound.keys else { return Ok(Vec::new()) };
        keys.iter()
            .zip(&self.rewritten.key_texts)
            .map(|(key, text)| {
                key.ok_or_else(|| {
                    Error::new("42P16", format!("the key of the result, {text}, is not in the SELECT list"))
                        .hint(format!("Add {text} to the SELECT list; key columns are selected once."))
                })
            })
            .collect()
    }

    /// The topology that computes the query and writes to `sink`, whose first columns are the query's in `order` (all of them by default).
    fn into_topology(
        self,
        query: &str,
        sink: &Source,
        snapshot: &Snapshot,
        settings: &Settings,
        order: Option<Vec<Option<usize>>>,
    ) -> Result<Topology> {
        let mut lowering = Lowering::new(query, snapshot, settings, &self.bound.state);
        lowering.window = self.window;
        lowering.partitions = Some(sink.partitions);
        lowering.key_format = sink.key_format.clone();
        if self.emit == Some(ast::Emit::Final) {
            lowering.emit = Emit::Final;
        }
        let flow = lowering.lower(&self.bound.plan)?;
        check_kind(&flow, sink)?;
        if self.partition_by && flow.kind == SourceKind::Table {
            return Err(Error::unsupported("PARTITION BY cannot give a table another key")
                .hint("Use GROUP BY: it gives a table that has what is grouped as its key."));
        }
        let layout = layout(sink);
        let order = match order {
            Some(order) => order,
            None => self.order(sink)?,
        };
        let mut columns: Vec<Option<usize>> = order;
        let mut fields: Vec<FieldRef> = layout.columns.clone();
        let window = match (&layout.windowed, self.bound.window) {
            (Some(_), Some((start, end))) => {
                columns.extend([Some(start), Some(end)]);
                fields.extend([time_field("windowstart"), time_field("windowend")]);
                Some((fields.len() - 2, fields.len() - 1))
            }
            (Some(_), None) => {
                return Err(Error::new("42P16", format!("\"{}\" is windowed, and the query is not", sink.name)));
            }
            (None, _) => None,
        };
        let flow = lowering.select(flow, &columns, fields)?;
        let retention_ms = self.window.and(self.retention_ms.or(sink.retention_ms));
        let table = match sink.kind {
            SourceKind::Table => Some(table_store(query, &flow, sink, &layout, retention_ms.is_some(), snapshot)?),
            SourceKind::Stream => None,
        };
        let spec = SinkSpec {
            sink: sink.name.clone(),
            topic: sink.topic.as_str().into(),
            partitions: sink.partitions,
            columns: (0..layout.columns.len()).collect(),
            layout,
            window,
            table,
            retention_ms,
            timestamp: timestamp_column(sink),
            emit_every_update: settings.emit_every_update,
            store_only: false,
        };
        let sub_topologies = lowering.finish(flow, "sink", OperatorSpec::Sink(spec));
        Ok(Topology { query: query.to_string(), sub_topologies })
    }

    /// Which visible column each of the sink's is: key columns first, then the others as they were selected.
    fn order(&self, sink: &Source) -> Result<Vec<Option<usize>>> {
        let names: Vec<String> = self.columns()?.into_iter().map(|(name, _)| name).collect();
        Ok(sink.columns.iter().map(|column| names.iter().position(|name| *name == column.name)).collect())
    }
}

/// The source that CREATE … AS makes.
fn sink_source(
    statement: &CreateAs,
    text: &str,
    kind: SourceKind,
    properties: &Properties,
    plan: &Plan,
    snapshot: &Snapshot,
    settings: &Settings,
) -> Result<Source> {
    let columns = plan.columns()?;
    let keys = plan.keys()?;
    let first = snapshot.source(&plan.rewritten.reads[0])?;
    let (key_format, value_format) = match (&properties.key_format, &properties.value_format) {
        // Its own hold no columns.
        _ if first.is_dead_letters() => formats(properties, keys.len(), settings.columnar),
        (None, None) => (default_key_format(first, keys.len()), first.value_format.clone()),
        (Some(key), None) => (key.clone(), if *key == Format::Native { Format::Native } else { first.value_format.clone() }),
        (None, Some(Format::Native)) => (Format::Native, Format::Native),
        (None, Some(value)) => (default_key_format(first, keys.len()), value.clone()),
        (Some(key), Some(value)) => (key.clone(), value.clone()),
    };
    let key_format = match (&key_format, &value_format) {
        (Format::Native, Format::Native) => Format::Native,
        (Format::Native, _) => {
            if keys.len() > 1 {
                Format::Json
            } else {
                Format::Kafka
            }
        }
        _ => key_format,
    };
    let mut made: Vec<Column> = Vec::with_capacity(columns.len());
    let ordered = keys.iter().copied().chain((0..columns.len()).filter(|i| !keys.contains(i)));
    for (position, index) in ordered.enumerate() {
        let (name, data_type) = &columns[index];
        let sql_type = types::from_arrow(data_type).expect("canonical types have SQL types");
        if ["rowtime", "rowpartition", "rowoffset", "windowstart", "windowend"].contains(&name.to_lowercase().as_str()) {
            return Err(Error::new("42939", format!("column name \"{name}\" is reserved")).hint("Give it another name with AS."));
        }
        made.push(Column { name: name.clone(), sql_type, key: position < keys.len(), header: None });
    }
    if made.len() == keys.len() {
        return Err(Error::new("42P16", "the result has no value columns").hint("Select something besides the key."));
    }
    if kind == SourceKind::Table && keys.is_empty() {
        return Err(Error::new("42P16", "a table needs a key").hint("Add GROUP BY, or use CREATE STREAM."));
    }
    let topic = properties.topic.clone().unwrap_or_else(|| statement.name.clone());
    let source = Source {
        kind,
        name: statement.name.clone(),
        columns: made,
        partitions: properties.partitions.or_else(|| topic_partitions(snapshot, &topic)).unwrap_or(first.partitions),
        topic,
        key_format: if keys.is_empty() && value_format != Format::Native { Format::None } else { key_format },
        value_format,
        timestamp: properties.timestamp.clone(),
        window: plan.bound.window.map(|_| plan.window_type(first)),
        on_error: Default::default(),
        on_data_loss: Default::default(),
        retention_ms: properties.retention_ms.or(plan.retention_ms),
        read_only: false,
        wrap_single_value: properties.wrap_single_value,
        dialect: settings.dialect,
        sql: text.to_string(),
    };
    validate(&source, settings)?;
    Ok(source)
}

impl Plan {
    fn window_type(&self, first: &Source) -> WindowType {
        match self.window.map(|window| window.kind) {
            Some(topology::WindowKind::Time { size_ms, .. }) => WindowType::Time { size_ms },
            Some(topology::WindowKind::Session { .. }) => WindowType::Session,
            None => first.window.expect("hidden window columns come from a window or a windowed source"),
        }
    }
}

fn default_key_format(first: &Source, keys: usize) -> Format {
    match &first.key_format {
        Format::Kafka | Format::None if keys > 1 => Format::Json,
        Format::None => Format::Kafka,
        other => other.clone(),
    }
}

fn check_kind(flow: &Flow, sink: &Source) -> Result<()> {
    match (flow.kind, sink.kind) {
        (SourceKind::Stream, SourceKind::Table) => {
            return Err(Error::new("42809", "the query gives a stream, not a table").hint("Use CREATE STREAM, or add GROUP BY."));
        }
        (SourceKind::Table, SourceKind::Stream) => {
            return Err(Error::new("42809", "the query gives a table, not a stream").hint("Use CREATE TABLE."));
        }
        _ => {}
    }
    let reads_table = flow.nodes.iter().any(|node| matches!(node.operator, OperatorSpec::TableSource(_)));
    if sink.kind == SourceKind::Table && reads_table {
        if flow.partitions != sink.partitions {
            return Err(Error::unsupported(format!("a table of {} partitions cannot become one of {}", flow.partitions, sink.partitions))
                .hint("Leave PARTITIONS out."));
        }
        if let Some((columns, format)) = &flow.partitioned_by
            && !crate::schema::partition_alike(format, &sink.key_format, columns.len())
        {
            return Err(Error::unsupported("a table's key cannot be written in another format without an aggregation")
                .hint("Leave KEY_FORMAT out."));
        }
    }
    Ok(())
}

fn plan_insert(statement: &InsertSelect, id: String, text: &str, snapshot: &Snapshot, settings: &Settings) -> Result<(Query, Topology)> {
    let target = Arc::clone(snapshot.source(&statement.target)?);
    if target.kind == SourceKind::Table {
        return Err(Error::unsupported(format!("\"{}\" is a table", target.name)).hint("INSERT INTO … SELECT writes to streams."));
    }
    if target.read_only {
        return Err(Error::new("42809", format!("\"{}\" is read-only", target.name)));
    }
    if let Some(header) = target.header_columns().next() {
        return Err(Error::new("42809", format!("cannot insert into \"{}\": it has header column \"{}\"", target.name, header.name))
            .hint("A query writes no headers: declare a stream without header columns over the topic, and insert into that."));
    }
    let plan = Plan::of(&statement.query, snapshot, settings)?;
    check_apart(&plan.rewritten.reads, &target, snapshot)?;
    let order = plan.insert_order(statement, &target)?;
    let query = catalog_query(id, text, &plan.rewritten, &target.name, settings);
    let topology = plan.into_topology(&query.id, &target, snapshot, settings, Some(order))?;
    Ok((query, topology))
}

/// A query that reads the topic that it writes to takes each of its rows for another one to read, for ever.
fn check_apart(reads: &[String], sink: &Source, snapshot: &Snapshot) -> Result<()> {
    for name in reads {
        let read = snapshot.source(name)?;
        if read.topic == sink.topic {
            let message = if read.name == sink.name {
                format!("the query reads \"{}\" and writes to it: it would feed itself for ever", sink.name)
            } else {
                format!("the query reads \"{}\", whose topic is that of \"{}\": it would feed itself for ever", read.name, sink.name)
            };
            return Err(Error::new("42P19", message).hint("Write to another stream, over a topic of its own."));
        }
    }
    Ok(())
}

impl Plan {
    /// Which visible column each of the target's is: by the column list if there is one, by name if all names are the target's, else by position.
    fn insert_order(&self, statement: &InsertSelect, target: &Source) -> Result<Vec<Option<usize>>> {
        let columns = self.columns()?;
        let names: Vec<&String> = if !statement.columns.is_empty() {
            statement.columns.iter().collect()
        } else if columns.iter().all(|(name, _)| target.column(name).is_some()) {
            columns.iter().map(|(name, _)| name).collect()
        } else {
            target.columns.iter().map(|column| &column.name).collect()
        };
        if names.len() != columns.len() {
            return Err(Error::new("42601", format!("INSERT has {} target columns but the query gives {}", names.len(), columns.len()))
                .hint(format!("\"{}\" has the columns {}.", target.name, column_list(target))));
        }
        for (name, (_, data_type)) in names.iter().zip(&columns) {
            let Some(column) = target.column(name) else {
                return Err(Error::new("42703", format!("column \"{name}\" of \"{}\" does not exist", target.name)));
            };
            let wanted = types::to_arrow(&column.sql_type);
            if !assignable(data_type, &wanted) {
                let given = types::from_arrow(data_type).map_or_else(|| data_type.to_string(), |given| given.to_string());
                return Err(Error::new("42804", format!("column \"{name}\" is of type {} but the query gives {given}", column.sql_type))
                    .hint("Cast it in the SELECT list."));
            }
        }
        Ok(target.columns.iter().map(|column| names.iter().position(|name| **name == column.name)).collect())
    }
}

fn column_list(source: &Source) -> String {
    source.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// INSERT … SELECT widens numbers and nothing else.
fn assignable(from: &DataType, to: &DataType) -> bool {
    let rank = |data_type: &DataType| match data_type {
        DataType::Int32 => Some(0),
        DataType::Int64 => Some(1),
        DataType::Decimal128(..) => Some(2),
        DataType::Float64 => Some(3),
        _ => None,
    };
    from == to || matches!((rank(from), rank(to)), (Some(from), Some(to)) if from <= to)
}

pub(crate) fn window_spec(window: &ast::Window, emit: Option<ast::Emit>) -> Result<WindowSpec> {
    let invalid = |message: &str| Err(Error::new("22023", message).at(window.position));
    let (kind, size_ms) = match window.kind {
        WindowKind::Tumbling { size_ms } => (topology::WindowKind::Time { size_ms, advance_ms: size_ms }, size_ms),
        WindowKind::Hopping { size_ms, advance_ms } => (topology::WindowKind::Time { size_ms, advance_ms }, size_ms),
        WindowKind::Session { gap_ms } => (topology::WindowKind::Session { gap_ms }, gap_ms),
    };
    if size_ms <= 0 {
        return invalid("a window needs a size");
    }
    if let topology::WindowKind::Time { advance_ms, .. } = kind
        && (advance_ms <= 0 || advance_ms > size_ms)
    {
        return invalid("a window advances by more than nothing and at most its size");
    }
    let default_grace_ms = if emit == Some(ast::Emit::Final) { 0 } else { (DAY_MS - size_ms).max(0) };
    let grace_ms = window.grace_ms.unwrap_or(default_grace_ms);
    let least_ms = size_ms.saturating_add(grace_ms);
    if window.retention_ms.is_some_and(|retention_ms| retention_ms < least_ms) {
        return invalid("RETENTION must be at least the window's size and its GRACE PERIOD together");
    }
    Ok(WindowSpec { kind, grace_ms, retention_ms: window.retention_ms.unwrap_or(least_ms) })
}

pub(crate) fn time_field(name: &str) -> FieldRef {
    Arc::new(Field::new(name, DataType::Timestamp(TimeUnit::Millisecond, None), true))
}

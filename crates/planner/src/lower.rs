//! Logical plan → topology.
//!
//! Each plan node becomes operators of the sub-topology that is being built; where rows must move to another partition, that one is
//! closed with a repartition sink and the next begins with its source.

mod aggregate;
mod join;
pub mod scan;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use millpond_catalog::{Format, Snapshot, SourceKind, types};
use millpond_streams::topology::{Emit, Node, OperatorSpec, RepartitionSpec, SubTopology, WindowSpec};

use crate::{Error, Result, Settings};

/// What is being lowered.
pub struct Lowering<'a> {
    pub query: &'a str,
    pub snapshot: &'a Snapshot,
    pub settings: &'a Settings,
    pub state: &'a SessionState,
    pub window: Option<WindowSpec>,
    pub emit: Emit,
    /// Partitions behind a repartition, when the statement says.
    pub partitions: Option<u32>,
    /// How the sink writes keys: rows behind a repartition are placed as the sink places them.
    pub key_format: Format,
    finished: Vec<SubTopology>,
    names: Vec<String>,
}

/// A part of a topology under construction: rows come out of `output`.
#[derive(Debug)]
pub struct Flow {
    pub nodes: Vec<Node>,
    pub output: usize,
    pub partitions: u32,
    pub kind: SourceKind,
    /// The columns whose hash says in which partition a row is, and how they are written to be hashed.
    pub partitioned_by: Option<(Vec<usize>, Format)>,
    pub schema: Arc<DFSchema>,
}

impl<'a> Lowering<'a> {
    pub fn new(query: &'a str, snapshot: &'a Snapshot, settings: &'a Settings, state: &'a SessionState) -> Lowering<'a> {
        let emit = if settings.emit_every_update { Emit::EveryUpdate } else { Emit::Changes };
        Lowering {
            query,
            snapshot,
            settings,
            state,
            window: None,
            emit,
            partitions: None,
            key_format: Format::Native,
            finished: Vec::new(),
            names: Vec::new(),
        }
    }

    pub fn lower(&mut self, plan: &LogicalPlan) -> Result<Flow> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => {
                let mut flow = self.lower(&alias.input)?;
                flow.schema = Arc::clone(&alias.schema);
                Ok(flow)
            }
            LogicalPlan::Projection(projection) => {
                let flow = self.lower(&projection.input)?;
                self.project(flow, &projection.expr, Arc::clone(&projection.schema))
            }
            LogicalPlan::Filter(filter) => {
                let flow = self.lower(&filter.input)?;
                let predicate = self.physical(&filter.predicate, &flow.schema)?;
                Ok(self.push("filter", flow, OperatorSpec::Filter { predicate }))
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(union) => self.union(union),
            other => Err(unsupported(other)),
        }
    }

    /// Ends the topology: `last` takes the flow's rows.
    pub fn finish(mut self, flow: Flow, id: &str, last: OperatorSpec) -> Vec<SubTopology> {
        let schema = Arc::clone(&flow.nodes[flow.output].schema);
        let partitions = flow.partitions;
        let mut nodes = flow.nodes;
        nodes.push(Node { id: id.to_string(), operator: last, inputs: vec![flow.output], schema });
        self.close(nodes, partitions);
        self.finished
    }

    fn close(&mut self, nodes: Vec<Node>, partitions: u32) {
        let id = self.finished.len() as u32;
        self.finished.push(SubTopology { id, partitions, nodes });
    }

    /// A node id that is not taken: made of `stem`, so that the same query gives the same ids.
    fn name(&mut self, stem: &str) -> String {
        let taken = self.names.iter().filter(|name| *name == stem).count();
        self.names.push(stem.to_string());
        if taken == 0 { stem.to_string() } else { format!("{stem}-{}", taken + 1) }
    }

    /// An operator behind the flow's output that leaves its columns as they are.
    fn push(&mut self, stem: &str, mut flow: Flow, operator: OperatorSpec) -> Flow {
        let schema = Arc::clone(&flow.nodes[flow.output].schema);
        let id = self.name(stem);
        flow.nodes.push(Node { id, operator, inputs: vec![flow.output], schema });
        flow.output = flow.nodes.len() - 1;
        flow
    }

    fn project(&mut self, flow: Flow, expressions: &[Expr], schema: Arc<DFSchema>) -> Result<Flow> {
        let physical = expressions.iter().map(|expression| self.physical(expression, &flow.schema)).collect::<Result<Vec<_>>>()?;
        let arrow = nullable(schema.as_arrow());
        Ok(self.project_physical(flow, physical, arrow, schema))
    }

    /// The partitioning columns are followed through plain column references.
    fn project_physical(
        &mut self,
        mut flow: Flow,
        expressions: Vec<Arc<dyn PhysicalExpr>>,
        arrow: SchemaRef,
        schema: Arc<DFSchema>,
    ) -> Flow {
        flow.partitioned_by = flow.partitioned_by.and_then(|(columns, format)| {
            let moved = columns
                .iter()
                .map(|column| expressions.iter().position(|expression| column_index(expression) == Some(*column)))
                .collect::<Option<Vec<_>>>()?;
            Some((moved, format))
        });
        let id = self.name("project");
        flow.nodes.push(Node { id, operator: OperatorSpec::Project { expressions }, inputs: vec![flow.output], schema: arrow });
        flow.output = flow.nodes.len() - 1;
        flow.schema = schema;
        flow
    }

    /// Selects columns by position (`None`: NULL) and casts them to `fields`' types: the last step before a sink.
    pub fn select(&mut self, flow: Flow, columns: &[Option<usize>], fields: Vec<FieldRef>) -> Result<Flow> {
        let input = Arc::clone(&flow.nodes[flow.output].schema);
        let same = columns.len() == input.fields().len()
            && columns.iter().enumerate().all(|(i, column)| *column == Some(i) && input.field(i).data_type() == fields[i].data_type());
        let schema = Arc::new(Schema::new(fields));
        let df_schema = Arc::new(DFSchema::try_from(Arc::clone(&schema))?);
        if same {
            return Ok(Flow { schema: df_schema, ..flow });
        }
        let expressions = columns
            .iter()
            .zip(schema.fields())
            .map(|(column, field)| -> Result<Arc<dyn PhysicalExpr>> {
                Ok(match column {
                    Some(column) => cast(column_expression(&input, *column), input.field(*column).data_type(), field.data_type()),
                    None => Arc::new(Literal::new(ScalarValue::try_from(field.data_type())?)),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(self.project_physical(flow, expressions, schema, df_schema))
    }

    /// Closes the sub-topology and goes on in the next, where rows are placed by `key`.
    fn repartition(&mut self, flow: Flow, key: Vec<usize>, key_format: Format, partitions: u32) -> Flow {
        let id = self.name("repartition");
        let topic: Arc<str> = format!("_millpond-{}-{}-{id}", self.settings.service_id, self.query).into();
        let schema = Arc::clone(&flow.nodes[flow.output].schema);
        let mut nodes = flow.nodes;
        let spec = RepartitionSpec {
            topic: Arc::clone(&topic),
            partitions,
            key: key.clone(),
            key_format: crate::schema::format(&key_format),
            idle_timeout_ms: self.settings.idle_timeout_ms,
        };
        nodes.push(Node {
            id: format!("{id}-sink"),
            operator: OperatorSpec::RepartitionSink(spec),
            inputs: vec![flow.output],
            schema: Arc::clone(&schema),
        });
        self.close(nodes, flow.partitions);
        let table = flow.kind == SourceKind::Table;
        let source = OperatorSpec::RepartitionSource { topic, upstream_partitions: flow.partitions, table };
        Flow {
            nodes: vec![Node { id: format!("{id}-source"), operator: source, inputs: vec![], schema }],
            output: 0,
            partitions,
            kind: flow.kind,
            partitioned_by: Some((key, key_format)),
            schema: flow.schema,
        }
    }

    fn union(&mut self, union: &datafusion::logical_expr::Union) -> Result<Flow> {
        let mut merged: Option<Flow> = None;
        let mut outputs = Vec::new();
        for input in &union.inputs {
            let flow = self.lower(input)?;
            if flow.kind == SourceKind::Table {
                return Err(Error::unsupported("UNION of tables cannot stream").hint("UNION ALL merges streams."));
            }
            if flow.nodes.iter().any(|node| matches!(node.operator, OperatorSpec::RepartitionSource { .. })) {
                return Err(
                    Error::unsupported("UNION of grouped queries cannot stream").hint("Make each part a stream or table of its own.")
                );
            }
            match &mut merged {
                None => {
                    outputs.push(flow.output);
                    merged = Some(flow);
                }
                Some(first) => {
                    if first.partitions != flow.partitions {
                        return Err(Error::unsupported(format!(
                            "UNION of streams with {} and {} partitions",
                            first.partitions, flow.partitions
                        ))
                        .hint("Use INSERT INTO … SELECT for each part."));
                    }
                    outputs.push(absorb(first, flow));
                }
            }
        }
        let mut flow = merged.ok_or_else(|| Error::unsupported("an empty UNION"))?;
        let schema = nullable(union.schema.as_arrow());
        let id = self.name("merge");
        flow.nodes.push(Node { id, operator: OperatorSpec::Merge, inputs: outputs, schema });
        flow.output = flow.nodes.len() - 1;
        flow.partitioned_by = None;
        flow.schema = Arc::clone(&union.schema);
        Ok(flow)
    }

    fn physical(&self, expression: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
        refuse_clock(expression)?;
        refuse_subquery(expression)?;
        let planning = datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext::default();
        Ok(create_physical_expr(expression, schema, self.state.execution_props(), &planning)?)
    }
}

/// What the time is when a row is processed is another thing after a restart, and DataFusion knows it for a whole query only.
fn refuse_clock(expression: &Expr) -> Result<()> {
    let mut found = None;
    expression.apply(|expression| {
        if let Expr::ScalarFunction(call) = expression
            && CLOCK.contains(&call.func.name())
        {
            found = Some(call.func.name().to_string());
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    match found {
        None => Ok(()),
        Some(name) => Err(Error::unsupported(format!("{name}() cannot stream"))
            .hint("Use rowtime, the time of the row; or call it where you read the result.")),
    }
}

/// A subquery in an expression would have to be asked again for each row, and its changes would change what has gone out.
fn refuse_subquery(expression: &Expr) -> Result<()> {
    let mut found = None;
    expression.apply(|expression| {
        found = match expression {
            Expr::InSubquery(subquery) if subquery.negated => Some(("NOT IN (SELECT …)", ANTI_JOIN)),
            Expr::InSubquery(_) => Some(("IN (SELECT …)", JOIN)),
            Expr::Exists(exists) if exists.negated => Some(("NOT EXISTS (SELECT …)", ANTI_JOIN)),
            Expr::Exists(_) => Some(("EXISTS (SELECT …)", JOIN)),
            Expr::SetComparison(_) => Some(("a comparison with ANY or ALL (SELECT …)", JOIN)),
            Expr::ScalarSubquery(_) => Some(("a subquery in an expression", JOIN)),
            _ => None,
        };
        Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    match found {
        None => Ok(()),
        Some((clause, instead)) => Err(Error::unsupported(format!("{clause} cannot stream")).hint(instead)),
    }
}

const JOIN: &str = "Join a table that has the values as its key: FROM s JOIN t ON s.column = t.key.";
const ANTI_JOIN: &str = "Join a table that has the values as its key: FROM s LEFT JOIN t ON s.column = t.key WHERE t.key IS NULL.";

/// Functions that read the clock; others are names for them.
const CLOCK: [&str; 3] = ["now", "current_date", "current_time"];

/// Takes `other`'s nodes into `flow`; returns where its output is now. The flow's own output stays.
fn absorb(flow: &mut Flow, other: Flow) -> usize {
    let offset = flow.nodes.len();
    flow.nodes.extend(other.nodes.into_iter().map(|mut node| {
        for input in &mut node.inputs {
            *input += offset;
        }
        node
    }));
    other.output + offset
}

/// The same fields, each of which may be null: a failing expression gives NULL anywhere.
pub fn nullable(schema: &Schema) -> SchemaRef {
    let fields: Vec<FieldRef> =
        schema.fields().iter().map(|field| Arc::new(Field::new(field.name(), field.data_type().clone(), true))).collect();
    Arc::new(Schema::new(fields))
}

/// The Arrow type that a column of this type is stored with; an error where SQL has no such type.
pub fn canonical(name: &str, data_type: &DataType) -> Result<DataType> {
    match types::from_arrow(data_type) {
        Some(sql_type) => Ok(types::to_arrow(&sql_type)),
        None if data_type.is_null() => {
            Err(Error::new("42P18", format!("column \"{name}\" is only NULL and has no type")).hint("Cast it: CAST(NULL AS VARCHAR)."))
        }
        None => Err(Error::new("42704", format!("column \"{name}\" has type {data_type}, which cannot be stored"))
            .hint("Cast it to a type that streams and tables have.")),
    }
}

fn column_expression(schema: &Schema, index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(schema.field(index).name(), index))
}

pub(crate) fn column_index(expression: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    expression.downcast_ref::<Column>().map(Column::index)
}

fn cast(expression: Arc<dyn PhysicalExpr>, from: &DataType, to: &DataType) -> Arc<dyn PhysicalExpr> {
    if from == to { expression } else { Arc::new(CastExpr::new(expression, to.clone(), None)) }
}

/// Refuses a plan with a part that no operator computes. This comes before anything is said of its columns and keys, which would be about
/// what the library has made of such a part.
pub fn check_shape(plan: &LogicalPlan) -> Result<()> {
    let mut refused = None;
    plan.apply(|part| {
        refused = match part {
            LogicalPlan::TableScan(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Projection(_) => None,
            LogicalPlan::Filter(_) | LogicalPlan::Join(_) | LogicalPlan::Union(_) => None,
            LogicalPlan::Aggregate(aggregate) if !aggregate.group_expr.is_empty() => None,
            other => Some(unsupported(other)),
        };
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    refused.map_or(Ok(()), Err)
}

fn unsupported(plan: &LogicalPlan) -> Error {
    match plan {
        LogicalPlan::Aggregate(_) => Error::unsupported("an aggregate without GROUP BY cannot stream")
            .hint("Group by what there is to be a result for; a constant gives one: SELECT 'all' AS k, … GROUP BY k."),
        LogicalPlan::Window(_) => Error::unsupported("OVER (…) cannot stream").hint("Use a WINDOW clause with GROUP BY."),
        LogicalPlan::Sort(_) => Error::unsupported("ORDER BY cannot stream").hint("Order the rows where you read them."),
        LogicalPlan::Limit(_) => Error::unsupported("LIMIT in a subquery cannot stream").hint("Leave it out."),
        LogicalPlan::Distinct(_) => {
            Error::unsupported("DISTINCT and UNION without ALL cannot stream").hint("GROUP BY the columns, or UNION ALL.")
        }
        LogicalPlan::Subquery(_) => {
            Error::unsupported("LATERAL cannot stream").hint("Join a table by its key: FROM s JOIN t ON s.column = t.key.")
        }
        LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => {
            Error::unsupported("a query without a stream or table cannot stream").hint("Select FROM a stream or a table.")
        }
        LogicalPlan::RecursiveQuery(_) => Error::unsupported("WITH RECURSIVE cannot stream"),
        other => Error::unsupported(format!("{} cannot stream", other.display()).to_lowercase()),
    }
}

//! GROUP BY → one aggregate where the rows are placed by the group already, else pre-combined, repartitioned and combined.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Aggregate, Expr};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{AggregateFunctionExpr, LoweredAggregateBuilder};
use datafusion::physical_expr::expressions::Literal;
use millpond_catalog::SourceKind;
use millpond_streams::topology::{AggregateCall, AggregateSpec, Node, OperatorSpec, Phase, WindowKind};

use super::{Flow, Lowering, cast, column_expression, column_index, nullable, refuse_subquery};
use crate::schema::{WINDOWEND, WINDOWSTART, partition_alike};
use crate::{Error, Result};

impl Lowering<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Flow> {
        let flow = self.lower(&aggregate.input)?;
        if flow.nodes.iter().any(|node| is_aggregate(&node.operator)) {
            return Err(Error::unsupported("an aggregate of an aggregate in one query")
                .hint("Make the inner one a table of its own and aggregate over that."));
        }
        let groups = self.group_columns(aggregate)?;
        let group = groups.iter().map(|group| self.physical(group, &flow.schema)).collect::<Result<Vec<_>>>()?;
        let calls = aggregate.aggr_expr.iter().map(|call| self.call(call, &flow)).collect::<Result<Vec<_>>>()?;
        let output = Arc::clone(&aggregate.schema);
        let spec = AggregateSpec { phase: Phase::Single, group, aggregates: calls, window: self.window, emit: self.emit };
        let placed = self.is_placed(&flow, &spec.group);
        let session = matches!(spec.window, Some(window) if matches!(window.kind, WindowKind::Session { .. }));
        let flow = match (placed, flow.kind) {
            (true, _) => self.single(flow, spec, &output),
            (false, SourceKind::Stream) if !session => self.partial_and_final(flow, spec, &output)?,
            (false, _) => {
                let (flow, spec) = self.rows_by_group(flow, spec)?;
                self.single(flow, spec, &output)
            }
        };
        Ok(self.window_types(flow, output))
    }

    /// The GROUP BY without the window's bounds, which the operator makes.
    fn group_columns(&self, aggregate: &Aggregate) -> Result<Vec<Expr>> {
        let mut groups = aggregate.group_expr.clone();
        if self.window.is_some() {
            let bounds = [self.settings.dialect.fold(WINDOWSTART), self.settings.dialect.fold(WINDOWEND)];
            for bound in bounds.iter().rev() {
                match groups.pop() {
                    Some(Expr::Column(column)) if column.name == *bound => {}
                    _ => return Err(Error::new("XX000", "the window's bounds are not last in the GROUP BY")),
                }
            }
        }
        if groups.iter().any(|group| matches!(group, Expr::GroupingSet(_))) {
            return Err(Error::unsupported("GROUPING SETS cannot stream").hint("Start a query for each set."));
        }
        Ok(groups)
    }

    fn call(&self, call: &Expr, flow: &Flow) -> Result<AggregateCall> {
        refuse_subquery(call)?;
        let planning = PhysicalPlanningContext::default();
        let arrow = &flow.nodes[flow.output].schema;
        let name = call.schema_name().to_string();
        let lowered =
            LoweredAggregateBuilder::new(call, &flow.schema, arrow, self.state.execution_props(), &planning).with_name(name).build()?;
        if !lowered.order_bys.is_empty() {
            return Err(Error::unsupported("ORDER BY inside an aggregate cannot stream").hint("Sort the array where you read it."));
        }
        check_runs(&lowered.aggregate)?;
        Ok(AggregateCall { function: lowered.aggregate, filter: lowered.filter })
    }

    /// Whether rows of one group are in one partition already, and in the one the sink will put them.
    fn is_placed(&self, flow: &Flow, group: &[Arc<dyn PhysicalExpr>]) -> bool {
        let Some((columns, format)) = &flow.partitioned_by else { return false };
        let grouped: Option<Vec<usize>> = group.iter().map(column_index).collect();
        grouped.as_ref() == Some(columns)
            && partition_alike(format, &self.key_format, columns.len())
            && self.partitions.is_none_or(|partitions| partitions == flow.partitions)
    }

    fn single(&mut self, flow: Flow, spec: AggregateSpec, output: &Arc<DFSchema>) -> Flow {
        let key: Option<Vec<usize>> = flow.partitioned_by.is_some().then(|| (0..spec.group.len()).collect());
        let schema = output_schema(output, &spec);
        let operator = match flow.kind {
            SourceKind::Stream => OperatorSpec::Aggregate(spec),
            SourceKind::Table => OperatorSpec::TableAggregate(spec),
        };
        self.place("aggregate", flow, operator, schema, Arc::clone(output), key)
    }

    fn partial_and_final(&mut self, flow: Flow, spec: AggregateSpec, output: &Arc<DFSchema>) -> Result<Flow> {
        let partitions = self.partitions.unwrap_or(flow.partitions);
        let groups = spec.group.len();
        let partial = AggregateSpec { phase: Phase::Partial, ..spec.clone() };
        let schema = partial_schema(output, &partial)?;
        let df_schema = Arc::new(DFSchema::try_from(Arc::clone(&schema))?);
        let flow = self.place("combine", flow, OperatorSpec::Aggregate(partial), Arc::clone(&schema), df_schema, None);
        let key: Vec<usize> = (0..groups).collect();
        let flow = self.repartition(flow, key, self.key_format.clone(), partitions);
        let group = (0..groups).map(|i| column_expression(&schema, i)).collect();
        let last = AggregateSpec { phase: Phase::Final, group, ..spec };
        Ok(self.single(flow, last, output))
    }

    /// Sends the rows themselves to their group's partition: what the aggregates need of them, and no more.
    fn rows_by_group(&mut self, flow: Flow, spec: AggregateSpec) -> Result<(Flow, AggregateSpec)> {
        let input = Arc::clone(&flow.nodes[flow.output].schema);
        let mut columns = Columns { input: &input, expressions: Vec::new(), fields: Vec::new() };
        let group: Vec<Arc<dyn PhysicalExpr>> = spec.group.iter().map(|group| columns.add(group)).collect::<Result<_>>()?;
        let mut aggregates = Vec::with_capacity(spec.aggregates.len());
        for call in &spec.aggregates {
            let arguments = call.function.expressions().iter().map(|argument| columns.add(argument)).collect::<Result<Vec<_>>>()?;
            let function = call
                .function
                .with_new_expressions(arguments, vec![])
                .ok_or_else(|| Error::unsupported(format!("{} cannot stream", call.function.name())))?;
            check_runs(&function)?;
            let filter = call.filter.as_ref().map(|filter| columns.add(filter)).transpose()?;
            aggregates.push(AggregateCall { function: Arc::new(function), filter });
        }
        let schema = Arc::new(Schema::new(columns.fields));
        let df_schema = Arc::new(DFSchema::try_from(Arc::clone(&schema))?);
        let partitions = self.partitions.unwrap_or(flow.partitions);
        let flow = self.project_physical(flow, columns.expressions, schema, df_schema);
        let key = (0..group.len()).collect();
        let flow = self.repartition(flow, key, self.key_format.clone(), partitions);
        Ok((flow, AggregateSpec { group, aggregates, ..spec }))
    }

    /// Adds a node that gives other columns.
    fn place(
        &mut self,
        stem: &str,
        mut flow: Flow,
        operator: OperatorSpec,
        arrow: SchemaRef,
        schema: Arc<DFSchema>,
        key: Option<Vec<usize>>,
    ) -> Flow {
        let id = self.name(stem);
        let partial = stem == "combine";
        flow.nodes.push(Node { id, operator, inputs: vec![flow.output], schema: arrow });
        flow.output = flow.nodes.len() - 1;
        flow.partitioned_by = key.zip(flow.partitioned_by.map(|(_, format)| format));
        if !partial {
            flow.kind = SourceKind::Table;
        }
        flow.schema = schema;
        flow
    }

    /// In the `ksqldb` dialect the window's bounds are milliseconds.
    fn window_types(&mut self, flow: Flow, output: Arc<DFSchema>) -> Flow {
        let input = Arc::clone(&flow.nodes[flow.output].schema);
        let wanted = nullable(output.as_arrow());
        if input.fields().iter().zip(wanted.fields()).all(|(a, b)| a.data_type() == b.data_type()) {
            return flow;
        }
        let expressions = (0..input.fields().len())
            .map(|i| cast(column_expression(&input, i), input.field(i).data_type(), wanted.field(i).data_type()))
            .collect();
        self.project_physical(flow, expressions, wanted, output)
    }
}

/// Some functions tell only when an accumulator is made that they do not take their arguments: the operators must not be the first to ask.
fn check_runs(function: &AggregateFunctionExpr) -> Result<()> {
    let made = if function.groups_accumulator_supported() {
        function.create_groups_accumulator().map(drop)
    } else {
        function.create_accumulator().map(drop)
    };
    made.map_err(|error| cannot_run(function, error))
}

fn cannot_run(function: &AggregateFunctionExpr, error: DataFusionError) -> Error {
    let name = function.fun().name();
    let unsupported = matches!(error.find_root(), DataFusionError::NotImplemented(_));
    if unsupported && function.is_distinct() {
        if name == "count" && function.expressions().len() > 1 {
            return Error::unsupported("count with DISTINCT takes one argument")
                .hint("Make one expression of them: count(DISTINCT a || ',' || b).");
        }
        return Error::unsupported(format!("{name} does not take DISTINCT")).hint(match name {
            "collect_list" => "Use collect_set: it takes each value once.",
            "topk" => "Use topkdistinct: it takes each value once.",
            _ => "Leave DISTINCT out.",
        });
    }
    let reason = Error::from(error).message;
    if unsupported {
        return Error::unsupported(format!("function {name} cannot stream: {reason}"));
    }
    Error::new("22023", format!("function {name} does not take these arguments: {reason}"))
}

fn is_aggregate(operator: &OperatorSpec) -> bool {
    matches!(operator, OperatorSpec::Aggregate(_) | OperatorSpec::TableAggregate(_))
}

/// Columns to be sent on: each expression once; literals stay where they are.
struct Columns<'a> {
    input: &'a Schema,
    expressions: Vec<Arc<dyn PhysicalExpr>>,
    fields: Vec<FieldRef>,
}

impl Columns<'_> {
    fn add(&mut self, expression: &Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        if expression.downcast_ref::<Literal>().is_some() {
            return Ok(Arc::clone(expression));
        }
        let index = match self.expressions.iter().position(|other| other == expression) {
            Some(index) => index,
            None => {
                let name = format!("c{}", self.expressions.len());
                self.fields.push(Arc::new(Field::new(name, expression.data_type(self.input)?, true)));
                self.expressions.push(Arc::clone(expression));
                self.expressions.len() - 1
            }
        };
        Ok(Arc::new(datafusion::physical_expr::expressions::Column::new(self.fields[index].name(), index)))
    }
}

/// What an aggregate gives: groups, windows as timestamps, values.
fn output_schema(output: &DFSchema, spec: &AggregateSpec) -> SchemaRef {
    let mut fields: Vec<FieldRef> = nullable(output.as_arrow()).fields().iter().cloned().collect();
    if spec.window.is_some() {
        for field in &mut fields[spec.group.len()..spec.group.len() + 2] {
            *field = Arc::new(Field::new(field.name(), DataType::Timestamp(TimeUnit::Millisecond, None), true));
        }
    }
    Arc::new(Schema::new(fields))
}

/// What a pre-combining aggregate gives: groups, windows, the aggregates' states.
fn partial_schema(output: &DFSchema, spec: &AggregateSpec) -> Result<SchemaRef> {
    let head = spec.group.len() + if spec.window.is_some() { 2 } else { 0 };
    let complete = output_schema(output, spec);
    let mut fields: Vec<FieldRef> = complete.fields().iter().take(head).cloned().collect();
    for (i, call) in spec.aggregates.iter().enumerate() {
        for (j, field) in state_fields(&call.function)?.iter().enumerate() {
            fields.push(Arc::new(Field::new(format!("state{i}_{j}"), field.data_type().clone(), true)));
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn state_fields(function: &AggregateFunctionExpr) -> Result<Vec<FieldRef>> {
    Ok(function.state_fields()?)
}

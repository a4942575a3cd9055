//! JOIN of a stream with a table → the stream, placed as the table is, looking up the table's rows.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema};
use datafusion::common::JoinType;
use datafusion::logical_expr::{Expr, Join};
use datafusion::physical_expr::PhysicalExpr;
use millpond_catalog::SourceKind;
use millpond_streams::topology::{Node, OperatorSpec, StreamTableJoinSpec};

use super::{Flow, Lowering, absorb, column_expression, column_index, nullable};
use crate::schema::partition_alike;
use crate::{Error, Result};

impl Lowering<'_> {
    pub(super) fn join(&mut self, join: &Join) -> Result<Flow> {
        let left_join = match join.join_type {
            JoinType::Inner => false,
            JoinType::Left => true,
            other => {
                return Err(Error::unsupported(format!("{other} joins cannot stream yet"))
                    .hint("A stream joins a table with JOIN or LEFT JOIN, the stream on the left."));
            }
        };
        let stream = self.lower(&join.left)?;
        let table = self.lower(&join.right)?;
        check_kinds(&stream, &table)?;
        let table_name = source_name(&table);
        let key = self.table_key(join, &stream, &table)?;
        let own = stream.nodes[stream.output].schema.fields().len();
        let (mut flow, stream_key) = self.place_stream(stream, &table, key.stream)?;
        let stream_output = flow.output;
        let placed = Arc::clone(&flow.nodes[stream_output].schema);
        let added = placed.fields().len() - own;
        let filter = match &join.filter {
            Some(_) if added > 0 => {
                return Err(Error::unsupported("ON with a computed key and further conditions cannot stream yet")
                    .hint("Put the further conditions into WHERE, or compute the key in a stream of its own."));
            }
            filter => filter.as_ref().map(|filter| self.physical(filter, &join.schema)).transpose()?,
        };
        let spec = StreamTableJoinSpec { stream_key, table_key: key.table, left: left_join, filter };
        let mut joined: Vec<FieldRef> = placed.fields().iter().cloned().collect();
        joined.extend(nullable(join.schema.as_arrow()).fields().iter().skip(own).cloned());
        let table_output = absorb(&mut flow, table);
        let id = self.name(&format!("join-{table_name}"));
        flow.nodes.push(Node {
            id,
            operator: OperatorSpec::StreamTableJoin(spec),
            inputs: vec![stream_output, table_output],
            schema: Arc::new(Schema::new(joined)),
        });
        flow.output = flow.nodes.len() - 1;
        flow.schema = Arc::clone(&join.schema);
        Ok(if added > 0 { self.without_key_columns(flow, own, added, join) } else { flow })
    }

    /// The ON condition's equalities, in the order of the table's primary key.
    fn table_key(&self, join: &Join, stream: &Flow, table: &Flow) -> Result<Key> {
        let refuse = || {
            Error::unsupported("a join must compare the table's primary key, each column of it once")
                .hint("Write ON stream.column = table.key; cast the stream's side if the types differ.")
        };
        let (primary, _) = table.partitioned_by.as_ref().ok_or_else(refuse)?;
        let mut sides: Vec<Option<Arc<dyn PhysicalExpr>>> = vec![None; primary.len()];
        for (left, right) in &join.on {
            let column = column_index(&self.physical(right, &table.schema)?).ok_or_else(refuse)?;
            let position = primary.iter().position(|key| *key == column).ok_or_else(refuse)?;
            if sides[position].replace(self.stream_side(left, stream)?).is_some() {
                return Err(refuse());
            }
        }
        let stream = sides.into_iter().collect::<Option<Vec<_>>>().ok_or_else(refuse)?;
        Ok(Key { stream, table: primary.clone() })
    }

    fn stream_side(&self, side: &Expr, stream: &Flow) -> Result<Arc<dyn PhysicalExpr>> {
        self.physical(side, &stream.schema)
    }

    /// The stream, each row in the partition where the table keeps its partner.
    fn place_stream(&mut self, stream: Flow, table: &Flow, key: Vec<Arc<dyn PhysicalExpr>>) -> Result<(Flow, Vec<Arc<dyn PhysicalExpr>>)> {
        let (_, table_format) = table.partitioned_by.as_ref().expect("checked in table_key");
        let columns: Option<Vec<usize>> = key.iter().map(column_index).collect();
        let placed = match (&stream.partitioned_by, &columns) {
            (Some((by, format)), Some(columns)) => {
                by == columns && partition_alike(format, table_format, by.len()) && stream.partitions == table.partitions
            }
            _ => false,
        };
        if placed {
            return Ok((stream, key));
        }
        let (stream, columns) = match columns {
            Some(columns) => (stream, columns),
            None => self.with_key_columns(stream, &key)?,
        };
        let flow = self.repartition(stream, columns.clone(), table_format.clone(), table.partitions);
        let schema = Arc::clone(&flow.nodes[flow.output].schema);
        let key = columns.iter().map(|column| column_expression(&schema, *column)).collect();
        Ok((flow, key))
    }

    /// A computed join key becomes columns behind the stream's own, so that it can be hashed.
    fn with_key_columns(&mut self, stream: Flow, key: &[Arc<dyn PhysicalExpr>]) -> Result<(Flow, Vec<usize>)> {
        let input = Arc::clone(&stream.nodes[stream.output].schema);
        let own = input.fields().len();
        let mut expressions: Vec<Arc<dyn PhysicalExpr>> = (0..own).map(|i| column_expression(&input, i)).collect();
        let mut fields: Vec<FieldRef> = input.fields().iter().cloned().collect();
        for (i, expression) in key.iter().enumerate() {
            fields.push(Arc::new(Field::new(format!("$join{i}"), expression.data_type(&input)?, true)));
            expressions.push(Arc::clone(expression));
        }
        let schema = Arc::new(Schema::new(fields));
        let df_schema = Arc::clone(&stream.schema);
        let flow = self.project_physical(stream, expressions, schema, df_schema);
        Ok((flow, (own..own + key.len()).collect()))
    }

    /// Takes the columns of [`Lowering::with_key_columns`] out again, behind the join.
    fn without_key_columns(&mut self, flow: Flow, own: usize, added: usize, join: &Join) -> Flow {
        let input = Arc::clone(&flow.nodes[flow.output].schema);
        let expressions =
            (0..input.fields().len()).filter(|i| *i < own || *i >= own + added).map(|i| column_expression(&input, i)).collect();
        self.project_physical(flow, expressions, nullable(join.schema.as_arrow()), Arc::clone(&join.schema))
    }
}

struct Key {
    stream: Vec<Arc<dyn PhysicalExpr>>,
    table: Vec<usize>,
}

fn check_kinds(stream: &Flow, table: &Flow) -> Result<()> {
    match (stream.kind, table.kind) {
        (SourceKind::Stream, SourceKind::Table) => Ok(()),
        (SourceKind::Stream, SourceKind::Stream) => {
            Err(Error::unsupported("joins of two streams are not supported yet").hint("Join a stream with a table."))
        }
        (SourceKind::Table, SourceKind::Stream) => {
            Err(Error::unsupported("a table cannot be joined with a stream").hint("Put the stream on the left: stream JOIN table."))
        }
        (SourceKind::Table, SourceKind::Table) => {
            Err(Error::unsupported("joins of two tables are not supported yet").hint("Join them where you read them: a pull query can."))
        }
    }?;
    let source = table
        .nodes
        .iter()
        .all(|node| matches!(node.operator, OperatorSpec::TableSource(_) | OperatorSpec::Filter { .. } | OperatorSpec::Project { .. }));
    if !source {
        return Err(Error::unsupported("the table of a join must be a table by name").hint("CREATE TABLE … AS SELECT … first."));
    }
    // The stream's rows have no window to look up by, and the key alone stands for a row of each window.
    let windowed = table.nodes.iter().find_map(|node| match &node.operator {
        OperatorSpec::TableSource(spec) if spec.layout.windowed.is_some() => Some(&spec.source),
        _ => None,
    });
    if let Some(name) = windowed {
        return Err(Error::unsupported(format!("a stream cannot join \"{name}\": it is a windowed table"))
            .hint("Join a table without windows, or join the rows where you read them: a pull query can."));
    }
    Ok(())
}

/// The table's name: part of the join's stable id.
fn source_name(flow: &Flow) -> String {
    flow.nodes
        .iter()
        .find_map(|node| match &node.operator {
            OperatorSpec::TableSource(spec) => Some(spec.source.clone()),
            _ => None,
        })
        .expect("check_kinds lets tables by name through only")
}

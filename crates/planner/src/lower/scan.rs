//! A source of the FROM clause → a source node.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema};
use datafusion::logical_expr::TableScan;
use millpond_catalog::{OnDataLoss, OnError, Source, SourceKind};
use millpond_sql::Dialect;
use millpond_streams::topology::{self, Node, OperatorSpec, SourceColumn, SourceSpec};

use super::{Flow, Lowering, cast, column_expression, nullable};
use crate::schema::{layout, source_columns, timestamp_column};
use crate::session::SCHEMA;
use crate::{Error, Result};

impl Lowering<'_> {
    pub(super) fn scan(&mut self, scan: &TableScan) -> Result<Flow> {
        let name = match scan.table_name.schema() {
            Some(schema) if schema != SCHEMA => format!("{schema}.{}", scan.table_name.table()),
            _ => scan.table_name.table().to_owned(),
        };
        let source = Arc::clone(
            self.snapshot.find(&name).ok_or_else(|| Error::unsupported(format!("\"{name}\" is no stream or table and cannot stream")))?,
        );
        let provided =
            source_columns(&source, self.settings.dialect, scan.source.schema().column_with_name(&self.window_start()).is_some());
        let wanted: Vec<usize> = match &scan.projection {
            Some(projection) => projection.clone(),
            None => (0..provided.len()).collect(),
        };
        let columns: Vec<(FieldRef, SourceColumn)> = wanted.iter().map(|i| provided[*i].clone()).collect();
        Ok(self.source(&source, columns, Arc::clone(&scan.projected_schema)))
    }

    fn window_start(&self) -> String {
        self.settings.dialect.fold(crate::schema::WINDOWSTART)
    }

    /// `columns`: as the query sees them, and what each is.
    fn source(&mut self, source: &Source, columns: Vec<(FieldRef, SourceColumn)>, schema: Arc<datafusion::common::DFSchema>) -> Flow {
        let spec = source_spec(source, columns.iter().map(|(_, column)| *column).collect(), self.settings.idle_timeout_ms);
        let read: Vec<FieldRef> = columns.iter().map(|(field, column)| read_field(field, *column)).collect();
        let read = Arc::new(Schema::new(read));
        let partitioned_by = columns_of_key(source, &columns).map(|key| (key, source.key_format.clone()));
        let operator = match source.kind {
            SourceKind::Stream => OperatorSpec::StreamSource(spec),
            SourceKind::Table => OperatorSpec::TableSource(spec),
        };
        let id = self.name(&format!("source-{}", source.name));
        let flow = Flow {
            nodes: vec![Node { id, operator, inputs: vec![], schema: Arc::clone(&read) }],
            output: 0,
            partitions: source.partitions,
            kind: source.kind,
            partitioned_by,
            schema: Arc::clone(&schema),
        };
        if self.settings.dialect == Dialect::Millpond {
            return flow;
        }
        let wanted = nullable(schema.as_arrow());
        if wanted.fields().iter().zip(read.fields()).all(|(a, b)| a.data_type() == b.data_type()) {
            return flow;
        }
        let expressions = (0..read.fields().len())
            .map(|i| cast(column_expression(&read, i), read.field(i).data_type(), wanted.field(i).data_type()))
            .collect();
        self.project_physical_cast(flow, expressions, wanted, schema)
    }

    /// A cast of pseudo columns keeps the partitioning: key columns are never among them.
    fn project_physical_cast(
        &mut self,
        flow: Flow,
        expressions: Vec<Arc<dyn datafusion::physical_expr::PhysicalExpr>>,
        arrow: arrow::datatypes::SchemaRef,
        schema: Arc<datafusion::common::DFSchema>,
    ) -> Flow {
        self.project_physical(flow, expressions, arrow, schema)
    }
}

/// How a source's topic is read.
pub fn source_spec(source: &Source, columns: Vec<SourceColumn>, idle_timeout_ms: Option<i64>) -> SourceSpec {
    SourceSpec {
        source: source.name.clone(),
        topic: source.topic.as_str().into(),
        layout: layout(source),
        columns,
        timestamp: timestamp_column(source),
        on_error: match source.on_error {
            OnError::Skip => topology::OnError::Skip,
            OnError::DeadLetter => topology::OnError::DeadLetter,
            OnError::Stop => topology::OnError::Stop,
        },
        on_data_loss: match source.on_data_loss {
            OnDataLoss::Earliest => topology::OnDataLoss::Earliest,
            OnDataLoss::Latest => topology::OnDataLoss::Latest,
            OnDataLoss::Stop => topology::OnDataLoss::Stop,
        },
        idle_timeout_ms,
    }
}

/// The field as the source operator gives it: pseudo times are timestamps there in every dialect.
fn read_field(field: &FieldRef, column: SourceColumn) -> FieldRef {
    match column {
        SourceColumn::Rowtime | SourceColumn::WindowStart | SourceColumn::WindowEnd => {
            Arc::new(Field::new(field.name(), crate::schema::pseudo_time_type(Dialect::Millpond), true))
        }
        _ => Arc::new(Field::new(field.name(), field.data_type().clone(), true)),
    }
}

/// Where the source's key columns are among `columns`; `None` if it has none or one is not read.
fn columns_of_key(source: &Source, columns: &[(FieldRef, SourceColumn)]) -> Option<Vec<usize>> {
    let keys = source.key_columns().count();
    if keys == 0 {
        return None;
    }
    (0..keys).map(|key| columns.iter().position(|(_, column)| *column == SourceColumn::Declared(key))).collect()
}

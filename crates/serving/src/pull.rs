//! Pull queries: any SELECT over streams, tables and system tables, at one moment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Fields, Schema, SchemaRef};
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::execution::context::SessionState;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, displayable, execute_stream};
use datafusion::sql::parser::Statement;
use futures::StreamExt;
use millpond_catalog::{Snapshot, Source, SourceKind, dead_letters};
use millpond_executor::Engine;
use millpond_planner::{Settings, session};
use millpond_sql::{Dialect, ast};
use parking_lot::Mutex;
use tokio::time::sleep;

use crate::remote::Remote;
use crate::stream_table::StreamTable;
use crate::system::{self, Query, Setting, Sources};
use crate::table_table::TableTable;
use crate::{Member, Moment, Peers, Result, Scope, Warnings, existing, placeholders};

/// A commit that takes longer is stuck: what was committed before is shown.
const COMMIT_PATIENCE: Duration = Duration::from_secs(2);
const COMMIT_PAUSE: Duration = Duration::from_millis(1);

/// Plans and runs pull queries. Cheap to clone; one for all sessions.
#[derive(Clone)]
pub struct Serving {
    engine: Engine,
    member: Arc<Member>,
    /// `None`: this process is all of the service.
    remote: Option<Arc<Remote>>,
    /// The sessions of the newest catalog, one for each dialect that was asked for.
    contexts: Arc<Mutex<Vec<Context>>>,
}

#[derive(Clone)]
struct Context {
    version: u64,
    dialect: Dialect,
    state: Arc<SessionState>,
}

/// What a run of a query is given besides its plan.
#[derive(Debug, Default)]
pub struct Run {
    /// `$1`, `$2`, …
    pub parameters: Vec<ScalarValue>,
    /// What `millpond.settings` shows.
    pub settings: Vec<Setting>,
    pub scope: Scope,
    /// Gets what turns up while rows are read.
    pub warnings: Warnings,
}

/// A planned query. It can be run as long as the catalog is the one it was planned against.
pub struct Pull {
    version: u64,
    state: Arc<SessionState>,
    /// Analyzed already when there are no parameters.
    logical: LogicalPlan,
    schema: SchemaRef,
    /// The names of the columns, where the plan has others.
    shown: Option<Vec<String>>,
    parameters: Vec<Option<DataType>>,
    /// It asks what the time is, so each run has constants of its own.
    asks_time: bool,
    /// Kept when it does not ask the time, and its parameters, if it has any, are keys to look up ([`crate::table_table`]) or bounds of
    /// windows: making it takes ten times as long as running it.
    physical: Mutex<Option<Arc<dyn ExecutionPlan>>>,
}

impl std::fmt::Debug for Pull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pull").field("version", &self.version).field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Pull {
    /// The columns of its rows.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The types of `$1`, `$2`, …, as far as they can be inferred.
    pub fn parameters(&self) -> &[Option<DataType>] {
        &self.parameters
    }

    /// Whether the catalog it was planned against is still the one there is.
    pub fn is_current(&self, catalog: &Snapshot) -> bool {
        self.version == catalog.version
    }
}

impl Serving {
    /// Everything is here.
    pub fn new(engine: Engine, member: Member) -> Serving {
        Serving { engine, member: Arc::new(member), remote: None, contexts: Arc::new(Mutex::new(Vec::new())) }
    }

    /// What `peers` say is at another member is read from there.
    pub fn with_peers(self, peers: Arc<dyn Peers>) -> Serving {
        // Plans depend on it.
        Serving { remote: Some(Arc::new(Remote::new(peers))), contexts: Arc::new(Mutex::new(Vec::new())), ..self }
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub async fn prepare(&self, query: &ast::Query, settings: &Settings) -> Result<Pull> {
        let catalog = self.engine.catalog();
        let state = self.context(&catalog, settings.dialect)?;
        let (query, shown) = millpond_planner::pull_query(query, &catalog, settings.dialect)?;
        let statement = Statement::Statement(Box::new(datafusion::sql::sqlparser::ast::Statement::Query(Box::new(query))));
        let logical = placeholders::infer(state.statement_to_plan(statement).await?)?;
        let parameters = placeholders::types(&logical)?;
        let asks_time = asks_time(&logical)?;
        // What types are coerced to, only the analysis tells: a CASE's, a UNION's.
        let mut physical = None;
        let (schema, logical) = match analyze(&state, logical.clone()) {
            Ok(analyzed) if parameters.is_empty() => (Arc::clone(analyzed.schema()), analyzed),
            Ok(analyzed) => {
                let schema = Arc::clone(analyzed.schema());
                if !asks_time && parameters.iter().all(Option::is_some) {
                    physical = plan_without_values(&state, analyzed).await;
                }
                (schema, logical)
            }
            // A parameter whose type nothing says may fit nothing until its value is there.
            Err(_) if !parameters.is_empty() => (Arc::clone(logical.schema()), logical),
            Err(error) => return Err(error),
        };
        let schema = renamed(schema.as_arrow(), shown.as_deref());
        Ok(Pull { version: catalog.version, state, logical, schema, shown, parameters, asks_time, physical: Mutex::new(physical) })
    }

    /// Runs `pull` over what is committed now.
    pub async fn run(&self, pull: &Pull, run: Run) -> Result<SendableRecordBatchStream> {
        let plan = self.physical(pull, &run.parameters).await?;
        let config = pull.state.config().clone().with_extension(Arc::new(self.sources(run).await?));
        // Functions are in the plan already.
        let (scalar, higher_order, aggregate, window) = Default::default();
        let (id, runtime) = (pull.state.session_id().to_string(), Arc::clone(pull.state.runtime_env()));
        let context = TaskContext::new(None, id, config, scalar, higher_order, aggregate, window, runtime);
        let rows = execute_stream(plan, Arc::new(context))?;
        let Some(shown) = &pull.shown else { return Ok(rows) };
        let schema = renamed(&rows.schema(), Some(shown));
        let described = Arc::clone(&schema);
        let rows = rows.map(move |batch| Ok(RecordBatch::try_new(Arc::clone(&described), batch?.columns().to_vec())?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    /// The persistent queries as all members together see them, and of the internal ones those that have failed.
    pub async fn queries(&self, run: Run) -> Result<Vec<Query>> {
        Ok(system::all_queries(&Arc::new(self.sources(run).await?)).await?)
    }

    /// Which of `keys` (one array for each key column) the table has a row for.
    pub async fn existing(&self, source: &Arc<Source>, keys: &[ArrayRef]) -> Result<Vec<bool>> {
        Ok(existing::existing(source, keys, &Arc::new(self.sources(Run::default()).await?)).await?)
    }

    async fn sources(&self, run: Run) -> Result<Sources> {
        let Run { parameters, settings, scope, warnings } = run;
        if matches!(scope, Scope::Partitions(_)) {
            self.finish_commits().await;
        }
        let remote = self.remote.clone();
        let moment = Arc::new(Moment::now(&self.engine, remote.as_ref().map(|remote| &*remote.peers))?);
        Ok(Sources { moment, member: Arc::clone(&self.member), settings, parameters, remote, scope, warnings })
    }

    /// What another member asks for is to have what it knows to be committed: the log may show it before it is in the stores here.
    async fn finish_commits(&self) {
        let (state, since) = (&self.engine.storage().state, Instant::now());
        let begun = state.commits_begun();
        while !state.commits_finished(begun) && since.elapsed() < COMMIT_PATIENCE {
            sleep(COMMIT_PAUSE).await;
        }
    }

    /// The plan as EXPLAIN shows it, a line each.
    pub async fn explain(&self, pull: &Pull) -> Result<Vec<String>> {
        let plan = self.physical(pull, &[]).await?;
        Ok(displayable(plan.as_ref()).indent(false).to_string().lines().map(str::to_string).collect())
    }

    async fn physical(&self, pull: &Pull, parameters: &[ScalarValue]) -> Result<Arc<dyn ExecutionPlan>> {
        let of_type = |(value, data_type): (&ScalarValue, &Option<DataType>)| data_type.as_ref() == Some(&value.data_type());
        let is_kept = parameters.len() == pull.parameters.len() && parameters.iter().zip(&pull.parameters).all(of_type);
        if let Some(plan) = pull.physical.lock().clone().filter(|_| is_kept) {
            return Ok(reset_plan_states(plan)?);
        }
        let logical = if parameters.is_empty() {
            pull.logical.clone()
        } else {
            pull.logical.clone().replace_params_with_values(&ParamValues::from(parameters.to_vec()))?
        };
        let analyzed = if pull.parameters.is_empty() { logical } else { analyze(&pull.state, logical)? };
        if pull.asks_time {
            let mut state = SessionState::clone(&pull.state);
            state.mark_start_execution();
            return plan_physical(&state, analyzed).await;
        }
        let plan = plan_physical(&pull.state, analyzed).await?;
        if pull.parameters.is_empty() {
            *pull.physical.lock() = Some(Arc::clone(&plan));
        }
        Ok(plan)
    }

    fn context(&self, catalog: &Arc<Snapshot>, dialect: Dialect) -> Result<Arc<SessionState>> {
        let mut contexts = self.contexts.lock();
        contexts.retain(|context| context.version >= catalog.version);
        if let Some(context) = contexts.iter().find(|context| context.version == catalog.version && context.dialect == dialect) {
            return Ok(Arc::clone(&context.state));
        }
        let tables = catalog.sources.values().map(|source| {
            let table: Arc<dyn TableProvider> = match source.kind {
                SourceKind::Stream => Arc::new(StreamTable::new(Arc::clone(source), dialect)),
                SourceKind::Table => Arc::new(TableTable::new(Arc::clone(source), dialect, self.remote.is_some())),
            };
            (source.name.clone(), table)
        });
        let state = session::session_state(tables.collect())?;
        let schema = system::schema_provider(dialect)?;
        if let Some(letters) = catalog.dead_letters(dialect) {
            schema.register_table(dialect.fold(dead_letters::NAME), Arc::new(StreamTable::new(Arc::clone(letters), dialect)))?;
        }
        session::register_schema(&state, &dialect.fold(system::SCHEMA), schema)?;
        let state = Arc::new(state);
        contexts.push(Context { version: catalog.version, dialect, state: Arc::clone(&state) });
        Ok(state)
    }
}

fn analyze(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?)
}

/// `analyzed` as it is run.
async fn plan_physical(state: &SessionState, analyzed: LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
    let optimized = state.optimizer().optimize(analyzed, state, |_, _| {})?;
    Ok(state.query_planner().create_physical_plan(&optimized, state).await?)
}

/// The plan with its parameters open, where it needs their values for nothing but its scans.
async fn plan_without_values(state: &SessionState, analyzed: LogicalPlan) -> Option<Arc<dyn ExecutionPlan>> {
    let optimized = state.optimizer().optimize(analyzed, state, |_, _| {}).ok()?;
    if !placeholders::only_in_scans(&optimized).ok()? {
        return None;
    }
    state.query_planner().create_physical_plan(&optimized, state).await.ok()
}

/// Whether `now()` or its like is in the plan.
fn asks_time(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|plan| {
        plan.apply_expressions(|expression| {
            expression.apply(|expression| {
                if let Expr::ScalarFunction(call) = expression
                    && call.func.signature().volatility == Volatility::Stable
                {
                    found = true;
                    return Ok(TreeNodeRecursion::Stop);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

fn renamed(schema: &Schema, names: Option<&[String]>) -> SchemaRef {
    let Some(names) = names else { return Arc::new(schema.clone()) };
    let fields = schema.fields().iter().zip(names).map(|(field, name)| Arc::new(field.as_ref().clone().with_name(name)));
    Arc::new(Schema::new(fields.collect::<Fields>()))
}

//! What a connection has between its messages.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use datafusion::common::ScalarValue;
use millpond_executor::{Engine, SourceWrite};
use millpond_planner::Settings as PlanSettings;
use millpond_serving::{Run, Serving, Warnings};
use millpond_sql::{Dialect, Statement};
use pgwire::api::ConnectionManager;
use pgwire::messages::response::TransactionStatus;
use tokio::sync::watch;

use crate::copy::CopyIn;
use crate::error::{Error, Result};
use crate::pg_catalog::PgCatalog;
use crate::settings::Settings;
use crate::statement::cursor::Cursor;

/// What all sessions share.
pub struct Shared {
    pub engine: Engine,
    pub serving: Serving,
    pub service_id: String,
    /// Topics can hold columns: not in Kafka.
    pub columnar: bool,
    pub pg_catalog: PgCatalog,
    /// For cancel requests.
    pub connections: Arc<ConnectionManager>,
    /// Changes with every commit to the log.
    pub committed: watch::Receiver<u64>,
    /// True once the server stops.
    pub stopping: watch::Receiver<bool>,
}

/// ```text
///   None ──BEGIN──► Open ──error──► Failed
///     ▲ COMMIT, ROLLBACK │             │
///     └──────────────────┴─────────────┘
/// ```
#[derive(Debug, Default)]
pub enum Transaction {
    #[default]
    None,
    /// The writes since BEGIN: one append at COMMIT.
    Open(Vec<SourceWrite>),
    /// Only its end is waited for.
    Failed,
}

/// Something to be told besides the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// `NOTICE` or `WARNING`.
    pub severity: &'static str,
    pub sqlstate: &'static str,
    pub message: String,
    pub hint: Option<String>,
}

pub struct Session {
    pub shared: Arc<Shared>,
    pub settings: Settings,
    pub transaction: Transaction,
    /// Whether the transaction was begun READ ONLY.
    pub read_only: bool,
    /// What ROLLBACK goes back to: the settings at BEGIN.
    pub settings_before: Option<Settings>,
    /// What COMMIT goes back to: the settings without what was SET LOCAL; `None` when nothing was.
    pub settings_kept: Option<Settings>,
    /// The writes of a message of several statements, or of a pipeline up to its Sync, outside of a transaction: one append before what must
    /// see them, and at the end.
    pub implicit: Option<Vec<SourceWrite>>,
    /// The names of prepared statements.
    pub prepared: BTreeSet<String>,
    pub cursors: BTreeMap<String, Cursor>,
    /// A COPY FROM STDIN that is being read, and the statements of its message behind it.
    pub copy: Option<(CopyIn, Pending)>,
    pub notices: Vec<Notice>,
    /// What turns up while rows are read.
    pub warnings: Warnings,
    /// Settings that the client is to be told of.
    pub reports: Vec<&'static str>,
}

/// What is left of a message.
#[derive(Debug, Default)]
pub struct Pending {
    pub message: Arc<str>,
    pub statements: VecDeque<Statement>,
}

impl Session {
    pub fn new(shared: Arc<Shared>) -> Session {
        Session {
            shared,
            settings: Settings::default(),
            transaction: Transaction::None,
            read_only: false,
            settings_before: None,
            settings_kept: None,
            implicit: None,
            prepared: BTreeSet::new(),
            cursors: BTreeMap::new(),
            copy: None,
            notices: Vec::new(),
            warnings: Warnings::default(),
            reports: Vec::new(),
        }
    }

    pub fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    pub fn plan_settings(&self) -> PlanSettings {
        self.settings.plan(&self.shared.service_id, self.shared.columnar)
    }

    /// For a pull query.
    pub fn run_with(&self, parameters: Vec<ScalarValue>) -> Run {
        let warnings = self.warnings.clone();
        Run { parameters, settings: self.settings.all(), scope: self.settings.scope(), warnings }
    }

    pub fn dialect(&self) -> Dialect {
        self.settings.dialect()
    }

    pub fn notice(&mut self, message: impl Into<String>) {
        self.notices.push(Notice { severity: "NOTICE", sqlstate: "00000", message: message.into(), hint: None });
    }

    pub fn warning(&mut self, sqlstate: &'static str, message: impl Into<String>) {
        self.notices.push(Notice { severity: "WARNING", sqlstate, message: message.into(), hint: None });
    }

    /// A statement has failed: nothing of its message is kept, and a transaction that is open can only be ended.
    pub fn failed(&mut self) {
        self.implicit = None;
        if matches!(self.transaction, Transaction::Open(_)) {
            self.transaction = Transaction::Failed;
            self.cursors.clear();
        }
    }

    pub fn transaction_status(&self) -> TransactionStatus {
        match self.transaction {
            Transaction::None => TransactionStatus::Idle,
            Transaction::Open(_) => TransactionStatus::Transaction,
            Transaction::Failed => TransactionStatus::Error,
        }
    }

    pub fn may_write(&self, statement: &str) -> Result<()> {
        if self.read_only {
            return Err(Error::new("25006", format!("cannot execute {statement} in a read-only transaction")));
        }
        Ok(())
    }

    /// The transaction is no more; `kept` is whether what it SET stays.
    pub fn ended(&mut self, kept: bool) {
        self.cursors.clear();
        self.read_only = false;
        let (before, without_local) = (self.settings_before.take(), self.settings_kept.take());
        if let Some(restored) = if kept { without_local } else { before } {
            let reports = self.settings.changed(&restored);
            self.settings = restored;
            self.reports.extend(reports);
        }
    }

    /// DDL takes effect at once, so it cannot be part of a transaction.
    pub fn outside_transaction(&self, statement: &str) -> Result<()> {
        match self.transaction {
            Transaction::None => Ok(()),
            _ => Err(Error::new("25001", format!("{statement} cannot run inside a transaction block"))
                .hint("A transaction holds INSERT, COPY and DELETE only: COMMIT first.")),
        }
    }
}

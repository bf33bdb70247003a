//! Read-only SQL over the tables, with limits of time, memory, rows and bytes.
//!
//! One `SELECT` a call. It sees the tables as they are stored, `dims` (each edge once), and the views `edges` and `edges_minutes`: facts with the names
//! of their edges and values in shown units, columns named as the catalogue names them (`"tcp.bytes"`). Nothing can be changed, and no file, address or
//! setting reached.

mod allowed;
mod cooperative;
mod functions;
mod json;

use self::allowed::Forbidden;
use self::cooperative::CooperativeJoins;
use crate::error::StoreError;
use crate::spec::{EDGE, WINDOW, stored_dims};
use crate::store::Store;
use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{Statement as SqlStatement, Visit};
use deltalake::delta_datafusion::TableProviderBuilder;
use edgescope_model::dims::Dim;
use edgescope_model::query::QueryError;
use edgescope_model::signal::{self, Kind};
use futures::StreamExt as _;
use serde::Serialize;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

/// Longest statement, in bytes.
const LENGTH_MAX: usize = 64 << 10;
/// Most bytes of an answer's cells as JSON, about.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// An answer to SQL.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SqlTable {
    pub columns: Vec<String>,
    /// Cells by row: numbers, text, booleans, null; moments as RFC 3339, bytes as hexadecimal digits, integers that JavaScript cannot hold as text.
    pub rows: Vec<Vec<serde_json::Value>>,
    /// Whether there were more rows or bytes than an answer may have.
    pub truncated: bool,
    pub elapsed_ms: u64,
}

impl Store {
    /// Answers one `SELECT`.
    pub async fn sql(&self, text: &str) -> Result<SqlTable, QueryError> {
        check(text)?;
        self.limited(self.run_sql(text)).await
    }

    async fn run_sql(&self, text: &str) -> Result<SqlTable, QueryError> {
        let started = Instant::now();
        let context = self.sql_context().await?;
        let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let fail = |e: DataFusionError| match e.find_root() {
            DataFusionError::ResourcesExhausted(_) => QueryError::Memory(self.config.query.memory_mib),
            root if is_the_statements(root) => QueryError::Sql(e.strip_backtrace()),
            _ => QueryError::Store(format!("sql: {}", e.strip_backtrace())),
        };
        let frame = context.sql_with_options(text, options).await.map_err(fail)?;
        let columns = frame.schema().fields().iter().map(|field| field.name().clone()).collect();
        let mut stream = frame.execute_stream().await.map_err(fail)?;
        let mut answer = SqlTable { columns, rows: Vec::new(), truncated: false, elapsed_ms: 0 };
        let mut bytes = 0;
        'all: while let Some(batch) = stream.next().await {
            let batch = batch.map_err(fail)?;
            for row in json::rows(&batch).map_err(|e| QueryError::Store(format!("sql: {e}")))? {
                bytes += row.iter().map(json::size).sum::<usize>();
                if answer.rows.len() == self.config.query.rows_max || bytes > ANSWER_BYTES_MAX {
                    answer.truncated = true;
                    break 'all;
                }
                answer.rows.push(row);
            }
        }
        answer.elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(answer)
    }

    /// A session that knows the tables as they are now, and nothing else.
    async fn sql_context(&self) -> Result<SessionContext, QueryError> {
        let fail = |e: DataFusionError| QueryError::Store(e.strip_backtrace());
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(self.config.query.memory_bytes())))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled));
        let config = SessionConfig::new().with_information_schema(false).with_collect_statistics(false);
        // Cells as the functions over histograms take them.
        let config = config.set_bool("datafusion.execution.parquet.schema_force_view_types", false);
        // Rows out of nothing.
        let config = config.set_bool("datafusion.execution.enable_recursive_ctes", false);
        let state = SessionStateBuilder::new().with_config(config).with_runtime_env(runtime.build_arc().map_err(fail)?).with_default_features();
        let state = state.with_scalar_functions(allowed::functions()).with_higher_order_functions(Vec::new());
        let context = SessionContext::new_with_state(state.with_physical_optimizer_rule(Arc::new(CooperativeJoins)).build());
        let session = Arc::new(context.state());
        functions::register(&context);
        // Facts before names: whatever edge a fact names has a name then.
        for table in self.tables() {
            let head = table.refresh().await?;
            let delta = table.delta(&head);
            delta.update_datafusion_session(&context.state()).map_err(|e| StoreError::delta(table.name(), e))?;
            let provider = TableProviderBuilder::default().with_log_store(delta.log_store()).with_eager_snapshot(head.state.snapshot().clone());
            context.register_table(table.name(), provider.with_session(Arc::clone(&session)).await.map_err(fail)?).map_err(fail)?;
        }
        for view in [dims_view(), facts_view("edges", "edges_10s"), facts_view("edges_minutes", "edges_1m")] {
            context.sql(&view).await.map_err(fail)?;
        }
        Ok(context)
    }
}

/// Whether an error comes from what was asked, and not from the disk or a defect.
fn is_the_statements(error: &DataFusionError) -> bool {
    match error {
        DataFusionError::SQL(..)
        | DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Execution(_)
        | DataFusionError::Configuration(_) => true,
        DataFusionError::ArrowError(error, _) => {
            !matches!(**error, ArrowError::IoError(..) | ArrowError::ExternalError(_) | ArrowError::ParquetError(_) | ArrowError::IpcError(_))
        }
        DataFusionError::Diagnostic(_, error) => is_the_statements(error),
        _ => false,
    }
}

/// Refuses what is not one plain `SELECT` over the tables.
fn check(text: &str) -> Result<(), QueryError> {
    let refuse = |reason: String| Err(QueryError::Sql(reason));
    if text.len() > LENGTH_MAX {
        return refuse(format!("{} bytes long, at most {LENGTH_MAX}", text.len()));
    }
    let parsed = DFParserBuilder::new(text).build().and_then(|mut parser| parser.parse_statements());
    let statements = match parsed {
        Ok(statements) => statements,
        Err(e) => return refuse(e.strip_backtrace()),
    };
    match (statements.len(), statements.front()) {
        (1, Some(Statement::Statement(statement))) => match statement.as_ref() {
            SqlStatement::Query(query) => match query.visit(&mut Forbidden::default()) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(reason) => refuse(reason),
            },
            _ => refuse("only SELECT is allowed".to_owned()),
        },
        (1, _) => refuse("only SELECT is allowed".to_owned()),
        (count, _) => refuse(format!("one statement a call, not {count}")),
    }
}

fn dims_view() -> String {
    let dims: Vec<String> = stored_dims().map(Dim::column).collect();
    format!("CREATE VIEW dims AS SELECT DISTINCT {EDGE}, rolled, {} FROM edge_dims", dims.join(", "))
}

fn facts_view(name: &str, table: &str) -> String {
    let dims = stored_dims().map(|dim| format!("d.{} AS \"{dim}\"", dim.column()));
    let cells = signal::columns().map(|(signal, side)| {
        let (column, shown) = (signal::column(&signal, side), shown_name(&signal, side));
        match signal.kind {
            Kind::Histogram => format!("f.{column} AS \"{shown}\""),
            _ if signal.unit.scale() == 1.0 => format!("f.{column} AS \"{shown}\""),
            _ => format!("f.{column} * {:e} AS \"{shown}\"", signal.unit.scale()),
        }
    });
    let columns: Vec<String> = dims.chain(cells).collect();
    format!("CREATE VIEW {name} AS SELECT f.{WINDOW}, f.{EDGE}, {} FROM {table} f LEFT JOIN dims d ON f.{EDGE} = d.{EDGE}", columns.join(", "))
}

fn shown_name(signal: &signal::Signal, side: signal::Side) -> String {
    match side {
        signal::Side::Merged => signal.name.to_owned(),
        signal::Side::Sent => format!("{}.sent", signal.name),
        signal::Side::Received => format!("{}.received", signal.name),
    }
}

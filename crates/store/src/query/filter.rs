//! Filters: SQL conditions over dimension and measure names, checked against the catalogue. Conditions on dimensions choose edges before they are
//! grouped; conditions on measures choose groups after.

use datafusion::arrow::array::{AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{BinaryOperator as Op, Expr, Ident, UnaryOperator, Value};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use edgescope_model::dims::Dim;
use edgescope_model::query::QueryError;
use edgescope_model::signal::Measure;
use std::sync::LazyLock;

/// Longest filter, in bytes.
const LENGTH_MAX: usize = 4096;
/// Deepest nesting of a filter.
const DEPTH_MAX: usize = 64;

/// Turns SQL text into something that can be evaluated; it knows no table.
static PLANNER: LazyLock<SessionContext> = LazyLock::new(SessionContext::new);

/// A checked filter.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub dims: Condition<Dim>,
    pub measures: Condition<Measure>,
}

/// One SQL condition and what it reads, by name.
#[derive(Debug, Clone)]
pub(crate) struct Condition<T> {
    /// `None`: always true.
    sql: Option<String>,
    pub reads: Vec<(String, T)>,
}

impl<T> Default for Condition<T> {
    fn default() -> Self {
        Self { sql: None, reads: Vec::new() }
    }
}

/// What one `AND` part reads.
#[derive(Default)]
struct Reads {
    dims: Vec<(String, Dim)>,
    measures: Vec<(String, Measure)>,
}

impl Filter {
    /// Reads a filter; errors name what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, QueryError> {
        if text.len() > LENGTH_MAX {
            return Err(wrong(format!("{} bytes long, at most {LENGTH_MAX}", text.len())));
        }
        let syntax = |e: datafusion::sql::sqlparser::parser::ParserError| wrong(e.to_string().trim_start_matches("sql parser error: "));
        let mut parser = Parser::new(&GenericDialect {}).try_with_sql(text).map_err(syntax)?;
        let whole = parser.parse_expr().map_err(syntax)?;
        if parser.peek_token().token != Token::EOF {
            return Err(wrong(format!("does not end at '{}'", parser.peek_token())));
        }
        let mut parts = Vec::new();
        conjuncts(whole, &mut parts);
        let mut filter = Self::default();
        for mut part in parts {
            let mut reads = Reads::default();
            check(&mut part, &mut reads, 0)?;
            match (reads.dims.first(), reads.measures.first()) {
                (Some((dim, _)), Some((measure, _))) => {
                    return Err(wrong(format!(
                        "'{part}' compares the dimension {dim} and the measure {measure} in one condition: edges are chosen before they are grouped, measures are known after; join the two by AND"
                    )));
                }
                (_, Some(_)) => filter.measures.and(&part, reads.measures),
                _ => filter.dims.and(&part, reads.dims),
            }
        }
        Ok(filter)
    }
}

impl<T> Condition<T> {
    fn and(&mut self, part: &Expr, reads: Vec<(String, T)>) {
        self.sql = Some(match self.sql.take() {
            Some(sql) => format!("{sql} AND ({part})"),
            None => format!("({part})"),
        });
        for (name, read) in reads {
            if !self.reads.iter().any(|(known, _)| *known == name) {
                self.reads.push((name, read));
            }
        }
    }

    /// Whether everything passes.
    pub(crate) fn is_open(&self) -> bool {
        self.sql.is_none()
    }

    /// Which rows pass; null counts as not.
    pub(crate) fn passes(&self, rows: &RecordBatch) -> Result<BooleanArray, QueryError> {
        let Some(sql) = &self.sql else { return Ok(BooleanArray::from(vec![true; rows.num_rows()])) };
        let fail = |e: datafusion::error::DataFusionError| wrong(e.strip_backtrace().lines().next().unwrap_or_default().to_owned());
        let schema = DFSchema::try_from(rows.schema()).map_err(fail)?;
        let expression = PLANNER.parse_sql_expr(sql, &schema).map_err(fail)?;
        let expression = PLANNER.create_physical_expr(expression, &schema).map_err(fail)?;
        if expression.data_type(&rows.schema()).map_err(fail)? != DataType::Boolean {
            return Err(wrong(format!("'{sql}' is not a condition: compare it with something")));
        }
        let passed = expression.evaluate(rows).and_then(|value| value.into_array(rows.num_rows())).map_err(fail)?;
        Ok(passed.as_boolean().iter().map(|pass| Some(pass == Some(true))).collect())
    }
}

fn wrong(reason: impl Into<String>) -> QueryError {
    QueryError::Filter(reason.into())
}

fn conjuncts(expr: Expr, parts: &mut Vec<Expr>) {
    match expr {
        Expr::BinaryOp { left, op: Op::And, right } => {
            conjuncts(*left, parts);
            conjuncts(*right, parts);
        }
        Expr::Nested(inner) if matches!(*inner, Expr::BinaryOp { op: Op::And, .. } | Expr::Nested(_)) => conjuncts(*inner, parts),
        other => parts.push(other),
    }
}

/// Lets only comparisons, logic and arithmetic over catalogue names pass, notes the names, and quotes them.
fn check(expr: &mut Expr, reads: &mut Reads, depth: usize) -> Result<(), QueryError> {
    if depth > DEPTH_MAX {
        return Err(wrong(format!("nested deeper than {DEPTH_MAX}")));
    }
    let mut inner = |expr: &mut Expr| check(expr, reads, depth + 1);
    match expr {
        Expr::Identifier(ident) => {
            let name = resolve(&ident.value, reads)?;
            *expr = Expr::Identifier(Ident::with_quote('"', name));
            Ok(())
        }
        Expr::CompoundIdentifier(parts) => {
            let name = parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".");
            let name = resolve(&name, reads)?;
            *expr = Expr::Identifier(Ident::with_quote('"', name));
            Ok(())
        }
        Expr::Value(value) => match &value.value {
            Value::Number(..) | Value::SingleQuotedString(_) | Value::Boolean(_) | Value::Null => Ok(()),
            other => Err(wrong(format!("cannot read the value {other}: write numbers, 'text', true or false"))),
        },
        Expr::Nested(nested) => inner(nested),
        Expr::UnaryOp { op: UnaryOperator::Not | UnaryOperator::Minus | UnaryOperator::Plus, expr } => inner(expr),
        Expr::IsNull(of) | Expr::IsNotNull(of) | Expr::IsTrue(of) | Expr::IsNotTrue(of) | Expr::IsFalse(of) | Expr::IsNotFalse(of) => inner(of),
        Expr::BinaryOp { left, op, right } => match op {
            Op::Eq
            | Op::NotEq
            | Op::Lt
            | Op::LtEq
            | Op::Gt
            | Op::GtEq
            | Op::And
            | Op::Or
            | Op::Plus
            | Op::Minus
            | Op::Multiply
            | Op::Divide
            | Op::Modulo => {
                inner(left)?;
                inner(right)
            }
            other => Err(wrong(format!("no operator {other}: use = <> < <= > >= AND OR NOT + - * / % IN BETWEEN LIKE ILIKE IS NULL"))),
        },
        Expr::InList { expr, list, .. } => {
            inner(expr)?;
            list.iter_mut().try_for_each(inner)
        }
        Expr::Between { expr, low, high, .. } => [expr, low, high].into_iter().try_for_each(|part| inner(part)),
        Expr::Like { expr, pattern, any: false, .. } | Expr::ILike { expr, pattern, any: false, .. } => {
            inner(expr)?;
            inner(pattern)
        }
        other => Err(wrong(format!("cannot use '{other}': use names, values, = <> < <= > >= AND OR NOT + - * / % IN BETWEEN LIKE ILIKE IS NULL"))),
    }
}

fn resolve(name: &str, reads: &mut Reads) -> Result<String, QueryError> {
    if let Ok(dim) = Dim::parse(name) {
        reads.dims.push((name.to_owned(), dim));
    } else if let Ok(measure) = Measure::parse(name) {
        reads.measures.push((name.to_owned(), measure));
    } else {
        let dims = Dim::all().map(|dim| dim.to_string()).collect::<Vec<_>>().join(", ");
        return Err(wrong(format!(
            "no dimension or measure '{name}': write text in 'single quotes', a measure such as tcp.bytes, or a dimension, one of {dims}"
        )));
    }
    Ok(name.to_owned())
}

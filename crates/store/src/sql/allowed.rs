//! What a statement may use. DataFusion counts what its operators hold, not what one expression makes of one batch: `repeat('x', 1 << 31)` would
//! take its two gigabytes beside every limit. So only functions that make no more out of a value than is in it are there, and joining of texts is
//! bounded.

use datafusion::logical_expr::ScalarUDF;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, TableFactor, ValueWithSpan, Visitor};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Functions by their first names; their other names go with them.
const FUNCTIONS: [&str; 74] = [
    "abs",
    "acos",
    "arrow_typeof",
    "ascii",
    "asin",
    "atan",
    "atan2",
    "bit_length",
    "btrim",
    "cbrt",
    "ceil",
    "character_length",
    "coalesce",
    "contains",
    "cos",
    "current_date",
    "current_time",
    "date_bin",
    "date_part",
    "date_trunc",
    "degrees",
    "ends_with",
    "exp",
    "find_in_set",
    "floor",
    "from_unixtime",
    "gcd",
    "greatest",
    "initcap",
    "isnan",
    "iszero",
    "lcm",
    "least",
    "left",
    "ln",
    "log",
    "log10",
    "log2",
    "lower",
    "ltrim",
    "make_date",
    "nanvl",
    "now",
    "nullif",
    "nvl",
    "nvl2",
    "octet_length",
    "pi",
    "power",
    "radians",
    "random",
    "regexp_count",
    "regexp_like",
    "reverse",
    "right",
    "round",
    "rtrim",
    "signum",
    "sin",
    "split_part",
    "sqrt",
    "starts_with",
    "strpos",
    "substr",
    "substr_index",
    "tan",
    "to_date",
    "to_local_time",
    "to_timestamp",
    "to_timestamp_millis",
    "to_timestamp_seconds",
    "to_unixtime",
    "trunc",
    "upper",
];
/// Most `||` of one statement, each of which can double a text at worst, and longest text written out: 8,192 rows of a batch × 1 KiB × 2⁶ is
/// the 512 MiB that a query may hold.
const JOINS_MAX: usize = 6;
const TEXT_BYTES_MAX: usize = 1 << 10;

/// Those of the functions that may be used.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    datafusion::functions::all_default_functions().into_iter().filter(|function| FUNCTIONS.contains(&function.name())).collect()
}

/// Finds what a statement may not hold; breaks with the reason.
#[derive(Default)]
pub(crate) struct Forbidden {
    joins: usize,
}

impl Visitor for Forbidden {
    type Break = String;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<String> {
        // Functions used as tables make rows out of nothing, or out of files.
        let name = match factor {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => name.to_string(),
            TableFactor::TableFunction { expr, .. } => expr.to_string(),
            _ => return ControlFlow::Continue(()),
        };
        ControlFlow::Break(format!("table function '{name}' is not allowed: select from the tables"))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        match expr {
            Expr::Array(_) => ControlFlow::Break("arrays are not allowed".to_owned()),
            Expr::BinaryOp { op: BinaryOperator::StringConcat, .. } => {
                self.joins += 1;
                if self.joins > JOINS_MAX {
                    return ControlFlow::Break(format!("'||' stands more than {JOINS_MAX} times"));
                }
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<String> {
        let bytes = value.to_string().len();
        if bytes > TEXT_BYTES_MAX {
            return ControlFlow::Break(format!("a value of {bytes} bytes, at most {TEXT_BYTES_MAX}"));
        }
        ControlFlow::Continue(())
    }
}

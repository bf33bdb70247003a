//! Which group each edge belongs to, by the integers that stand for its dimensions.

use super::filter::Condition;
use crate::dims::{Dims, Edge, Place};
use datafusion::arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::HashMap;
use edgescope_model::dims::Dim;
use edgescope_model::query::QueryError;
use std::sync::Arc;

/// Edges by key, and groups by number.
#[derive(Default)]
pub(crate) struct Groups {
    pub of_edge: HashMap<i64, u32>,
    /// Values of the group-by dimensions of each group.
    pub keys: Vec<Vec<String>>,
    /// Group of edges whose dimensions are not known, if they pass the filter.
    pub unknown: Option<u32>,
}

impl Groups {
    /// Groups the edges that pass the condition.
    pub(crate) fn of(dims: &Dims, by: &[Dim], condition: &Condition<Dim>) -> Result<Self, QueryError> {
        let passes = condition.passes(&rows(dims, &condition.reads)?)?;
        let places: Vec<Place> = by.iter().copied().map(Place::of).collect();
        let mut groups = Self::default();
        let mut numbers = HashMap::<Vec<u32>, u32>::new();
        for (edge, _) in dims.edges().iter().zip(passes.values().iter()).filter(|(_, passes)| *passes) {
            let ids: Vec<u32> = places.iter().map(|place| dims.id(edge, *place)).collect();
            let next = groups.keys.len() as u32;
            let number = *numbers.entry(ids).or_insert(next);
            if number == next {
                groups.keys.push(places.iter().map(|place| dims.text(edge, *place).to_owned()).collect());
            }
            groups.of_edge.insert(edge.key, number);
        }
        if condition.is_open() {
            // Every fact counts, named or not: its edge's dimensions are all unknown.
            let nameless = vec![String::new(); by.len()];
            let number = groups.keys.iter().position(|key| *key == nameless).unwrap_or_else(|| {
                groups.keys.push(nameless);
                groups.keys.len() - 1
            });
            groups.unknown = Some(number as u32);
        }
        Ok(groups)
    }
}

/// The edges as rows of the dimensions that a condition reads.
fn rows(dims: &Dims, reads: &[(String, Dim)]) -> Result<RecordBatch, QueryError> {
    let field = |(name, dim): &(String, Dim)| {
        let kind = match dim {
            Dim::Port => DataType::Int64,
            Dim::AzEqual => DataType::Boolean,
            _ => DataType::Utf8,
        };
        Field::new(name, kind, true)
    };
    let column = |(_, dim): &(String, Dim)| -> ArrayRef {
        let place = Place::of(*dim);
        let texts = dims.edges().iter().map(|edge: &Edge| dims.text(edge, place));
        match dim {
            Dim::Port => Arc::new(texts.map(|text| text.parse().ok()).collect::<Int64Array>()),
            Dim::AzEqual => Arc::new(texts.map(|text| text.parse().ok()).collect::<BooleanArray>()),
            _ => Arc::new(texts.map(Some).collect::<StringArray>()),
        }
    };
    let schema = Arc::new(Schema::new(reads.iter().map(field).collect::<Vec<_>>()));
    let options = datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(dims.edges().len()));
    RecordBatch::try_new_with_options(schema, reads.iter().map(column).collect(), &options).map_err(|e| QueryError::Store(e.to_string()))
}

//! `/catalogue`: what can be asked for.

use axum::Json;
use edgescope_model::dims::Dim;
use edgescope_model::signal::{CATALOGUE, DERIVED, Ends, Kind, Unit};
use serde::Serialize;
use utoipa::ToSchema;

/// One measured series.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CatalogueSignal {
    pub name: &'static str,
    pub kind: Kind,
    pub ends: Ends,
    pub unit: Unit,
    /// UCUM symbol of the shown unit.
    pub symbol: &'static str,
    pub brief: &'static str,
    /// The measures that can be asked of it.
    pub measures: Vec<String>,
}

/// A quotient of sums.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CatalogueDerived {
    pub name: &'static str,
    pub unit: Unit,
    pub symbol: &'static str,
    pub brief: &'static str,
    /// Sums above the line; a minus in front takes away.
    pub numerator: Vec<String>,
    pub denominator: Vec<String>,
}

/// Every dimension, signal and derived measure.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Catalogue {
    pub dimensions: Vec<String>,
    pub signals: Vec<CatalogueSignal>,
    pub derived: Vec<CatalogueDerived>,
}

/// Lists dimensions and measures.
#[utoipa::path(get, path = "/catalogue", tag = "edges", responses((status = 200, body = Catalogue)))]
pub async fn get() -> Json<Catalogue> {
    Json(catalogue())
}

fn catalogue() -> Catalogue {
    let signals = CATALOGUE.iter().map(|s| CatalogueSignal {
        name: s.name,
        kind: s.kind,
        ends: s.ends,
        unit: s.unit,
        symbol: s.unit.symbol(),
        brief: s.brief,
        measures: s.measures(),
    });
    let part = |parts: &[(&str, i8)]| parts.iter().map(|(name, sign)| if *sign < 0 { format!("-{name}") } else { (*name).to_owned() }).collect();
    let derived = DERIVED.iter().map(|d| CatalogueDerived {
        name: d.name,
        unit: d.unit,
        symbol: d.unit.symbol(),
        brief: d.brief,
        numerator: part(d.numerator),
        denominator: part(d.denominator),
    });
    Catalogue { dimensions: Dim::all().map(|d| d.to_string()).collect(), signals: signals.collect(), derived: derived.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgescope_model::signal::Measure;

    #[test]
    fn every_listed_measure_can_be_asked_for() {
        let all = catalogue();
        let measures: Vec<_> = all.signals.iter().flat_map(|s| s.measures.clone()).chain(all.derived.iter().map(|d| d.name.to_owned())).collect();
        assert!(measures.len() > 60);
        for measure in measures {
            assert!(Measure::parse(&measure).is_ok(), "{measure}");
        }
    }
}

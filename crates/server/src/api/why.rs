//! `/why`: why an address has its name.

use super::error::{ApiError, ErrorBody, Params};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use chrono::Utc;
use edgescope_identity::directory::{Claimed, End};
use edgescope_model::time::{from_micros, parse_time};
use edgescope_model::why::{Claim, Why};
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use utoipa::IntoParams;

/// Most claims in one answer: an address has a few, unless ports by the thousand are served on it.
const CLAIMS_MAX: usize = 100;

/// Whose name.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct WhyParams {
    /// An address, with the port that it serves where several workloads share it: `10.0.0.5`, `10.0.0.5:443`, `[fd00::5]:443`.
    #[param(required = true, example = "10.0.0.5:443")]
    pub address: String,
    /// When: RFC 3339 or a distance from now such as `-1h`; now if absent.
    pub at: Option<String>,
}

/// What an address is called at a moment, why, and who said so.
#[utoipa::path(get, path = "/why", tag = "edges", params(WhyParams), responses((status = 200, body = Why), (status = 400, body = ErrorBody)))]
pub async fn get(State(state): State<Arc<AppState>>, Params(params): Params<WhyParams>) -> Result<Json<Why>, ApiError> {
    let end = read_end(&params.address)?;
    let at = parse_time(params.at.as_deref().unwrap_or("now"), Utc::now()).map_err(|error| ApiError::bad("at", error.to_string()))?;
    let (found, reason, claims) = state.intake.names.read(|directory| directory.explain(end, at.timestamp_micros()));
    Ok(Json(Why {
        address: end.address.to_string(),
        port: end.port,
        at,
        name: (*found.dims).clone(),
        owned: found.owned,
        named: found.named || found.told,
        reason,
        claims_total: claims.len(),
        claims: claims.into_iter().take(CLAIMS_MAX).map(shown).collect(),
    }))
}

fn read_end(text: &str) -> Result<End, ApiError> {
    let text = text.trim();
    let plain = text.parse::<IpAddr>().map(|address| End { address, port: None });
    let end = plain.or_else(|_| text.parse::<SocketAddr>().map(|at| End { address: at.ip(), port: Some(at.port()) }));
    // As agents tell them: IPv4 is IPv4, however it is written.
    let end = end.map(|end| End { address: end.address.to_canonical(), ..end });
    end.map_err(|_| ApiError::bad("address", format!("'{text}' is no address")).remedy("write 10.0.0.5, 10.0.0.5:443, fd00::5 or [fd00::5]:443"))
}

fn shown(claim: Claimed) -> Claim {
    let Claimed { agent, port, owner, shared, from_us, until_us, open, .. } = claim;
    Claim { agent, port, owner: (*owner).clone(), shared, from: from_micros(from_us), until: from_micros(until_us), open }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_with_and_without_a_port() {
        let read = |text: &str| read_end(text).ok().map(|end| (end.address.to_string(), end.port));
        assert_eq!(read("10.0.0.5"), Some(("10.0.0.5".into(), None)));
        assert_eq!(read(" 10.0.0.5:443 "), Some(("10.0.0.5".into(), Some(443))));
        assert_eq!(read("[fd00::5]:443"), Some(("fd00::5".into(), Some(443))));
        assert_eq!(read("::ffff:10.0.0.5"), Some(("10.0.0.5".into(), None)));
        for wrong in ["", "cart", "10.0.0.5:", "10.0.0.5:99999", "10.0.0.0/8"] {
            assert_eq!(read_end(wrong).unwrap_err().body.field.as_deref(), Some("address"), "{wrong}");
        }
    }
}

//! Customers: requests at random times, whether or not earlier ones were answered.

use super::Shared;
use super::client::Client;
use super::server::InFlight;
use std::sync::Arc;
use tokio::time::{Instant, sleep_until};

/// Customers who wait at once; further ones go away (counted as shed): 70 requests/s for 7 s.
const WAITING_MAX: u64 = 512;

/// Makes requests at the configured rate until told to drain.
pub(crate) async fn generate(shared: Arc<Shared>, client: Arc<Client>) {
    let mean_s = 1.0 / shared.config.rate_per_s.max(f64::MIN_POSITIVE);
    let mut next = Instant::now();
    while !shared.is_draining() {
        next += shared.exponential(mean_s);
        sleep_until(next).await;
        if shared.ledger.in_flight.get() >= WAITING_MAX {
            shared.ledger.effects.requests_shed.add(1);
            continue;
        }
        let (shared, client) = (shared.clone(), client.clone());
        tokio::spawn(async move {
            let _in_flight = InFlight::new(&shared);
            client.call_all().await;
        });
    }
}

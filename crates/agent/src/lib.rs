//! Readings to observations: deltas, local identity, batches, shipping.

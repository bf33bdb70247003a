//! Times of batches that were made before the agent had ever met a server: it took its own clock for the server's.

use edgescope_model::wire::Batch;

/// Stands where the offset was not known. A measured one is not zero to the microsecond; should it be, nothing is moved anyway.
pub const UNKNOWN_OFFSET_US: i64 = 0;

/// Moves a batch's times into server time, by whole windows, if it was made without knowing how far its clock is off. `correction_us` is server
/// time less the clock that windows go by, `offset_us` server time less the wall clock, both as known now.
pub fn rebase(batch: &mut Batch, correction_us: i64, offset_us: i64, interval_us: i64) {
    if batch.clock_offset_us != UNKNOWN_OFFSET_US || interval_us <= 0 {
        return;
    }
    let windows = (correction_us as f64 / interval_us as f64).round() as i64;
    let shift_us = windows.saturating_mul(interval_us);
    let move_us = |at: &mut i64| *at = at.saturating_add(shift_us);
    [&mut batch.window_start_us, &mut batch.window_end_us].into_iter().for_each(move_us);
    for endpoint in &mut batch.endpoints {
        // Zero is "still held".
        [&mut endpoint.from_us, &mut endpoint.to_us].into_iter().filter(|at| **at != 0).for_each(move_us);
    }
    batch.clock_offset_us = offset_us;
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgescope_model::wire::Endpoint;

    const WINDOW_US: i64 = 10_000_000;

    fn batch(clock_offset_us: i64) -> Batch {
        let endpoints = vec![Endpoint { from_us: 900 * WINDOW_US, to_us: 0, ..Endpoint::default() }];
        Batch { window_start_us: 1_000 * WINDOW_US, window_end_us: 1_001 * WINDOW_US, clock_offset_us, endpoints, ..Batch::default() }
    }

    #[test]
    fn a_batch_of_a_fast_clock_comes_back_by_whole_windows() {
        let mut early = batch(0);
        rebase(&mut early, -302_000_000, -300_000_000, WINDOW_US);
        assert_eq!(early.clock_offset_us, -300_000_000, "against the wall clock, as batches that knew");
        assert_eq!((early.window_start_us, early.window_end_us), (970 * WINDOW_US, 971 * WINDOW_US));
        assert_eq!((early.endpoints[0].from_us, early.endpoints[0].to_us), (870 * WINDOW_US, 0));
        let moved = early.clone();
        rebase(&mut early, -302_000_000, -300_000_000, WINDOW_US);
        assert_eq!(early, moved, "once");
    }

    #[test]
    fn a_batch_that_knew_stays_where_it_is() {
        let mut known = batch(35);
        rebase(&mut known, -302_000_000, -300_000_000, WINDOW_US);
        assert_eq!(known, batch(35));
    }
}

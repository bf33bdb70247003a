//! Log-linear histograms: eight buckets an octave, so that a quantile is within 6.25 % of the truth (half a bucket's width at its lower bound).
//!
//! The kernel side (`bpf/`) uses the same bucket function; values are integers, microseconds for durations. A histogram is a sparse, sorted list of
//! `(bucket, count)`, so that merging two is a merge of sorted lists and a mostly quiet one costs a few bytes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Sub-buckets of one octave, as a power of two.
const GROUPING_POWER: u32 = 3;
/// Highest bucket: (26 - 2) * 8 + 7, whose lower bound is 2^26 * 15/8 µs ≈ 126 s; everything larger falls in here.
pub const BUCKET_MAX: u16 = 199;

/// The bucket that holds `value`.
pub fn bucket_of(value: u64) -> u16 {
    if value < 1 << GROUPING_POWER {
        return value as u16;
    }
    let exponent = 63 - value.leading_zeros();
    let sub = (value >> (exponent - GROUPING_POWER)) & ((1 << GROUPING_POWER) - 1);
    let index = u64::from((exponent - GROUPING_POWER + 1) << GROUPING_POWER) + sub;
    index.min(u64::from(BUCKET_MAX)) as u16
}

/// Lower bound (inclusive) of a bucket.
pub fn bucket_lower(bucket: u16) -> u64 {
    let bucket = u64::from(bucket.min(BUCKET_MAX));
    if bucket < 1 << GROUPING_POWER {
        return bucket;
    }
    let octave = (bucket >> GROUPING_POWER) - 1;
    let sub = bucket & ((1 << GROUPING_POWER) - 1);
    ((1 << GROUPING_POWER) + sub) << octave
}

/// Upper bound (exclusive) of a bucket.
pub fn bucket_upper(bucket: u16) -> u64 {
    bucket_lower(bucket.min(BUCKET_MAX - 1) + 1).max(bucket_lower(bucket) + 1)
}

/// A sparse histogram: buckets ascending, counts above zero.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Histogram {
    buckets: Vec<(u16, u64)>,
}

impl Histogram {
    /// Builds one from pairs in any order; buckets above [`BUCKET_MAX`] fall into it, zero counts vanish.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (u16, u64)>) -> Self {
        let mut all: Vec<(u16, u64)> = pairs.into_iter().map(|(b, c)| (b.min(BUCKET_MAX), c)).filter(|&(_, c)| c > 0).collect();
        all.sort_unstable_by_key(|&(b, _)| b);
        all.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 = kept.1.saturating_add(next.1);
            }
            same
        });
        Self { buckets: all }
    }

    /// Counts one value.
    pub fn record(&mut self, value: u64) {
        let bucket = bucket_of(value);
        match self.buckets.binary_search_by_key(&bucket, |&(b, _)| b) {
            Ok(at) => self.buckets[at].1 = self.buckets[at].1.saturating_add(1),
            Err(at) => self.buckets.insert(at, (bucket, 1)),
        }
    }

    /// The pairs, ascending by bucket.
    pub fn pairs(&self) -> &[(u16, u64)] {
        &self.buckets
    }

    /// Number of values counted; sums saturate here and everywhere, since counts come from outside.
    pub fn count(&self) -> u64 {
        total(&self.buckets, |_| true)
    }

    /// Sum of the values, each taken as the middle of its bucket: within 6.25 % of the true one.
    pub fn sum(&self) -> f64 {
        self.buckets.iter().map(|&(bucket, count)| (bucket_lower(bucket) as f64 + bucket_upper(bucket) as f64) / 2.0 * count as f64).sum()
    }

    /// Mean of the values, as near as [`Self::sum`]; `None` when empty.
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum() / count as f64)
    }

    /// True if nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Adds the other's counts.
    pub fn merge(&mut self, other: &Histogram) {
        if other.is_empty() {
            return;
        }
        let mine = std::mem::take(&mut self.buckets);
        *self = Self::from_pairs(mine.into_iter().chain(other.buckets.iter().copied()));
    }

    /// What was counted since `earlier`, a former state of the same cumulative histogram; `None` if it is not one (a count fell).
    pub fn since(&self, earlier: &Histogram) -> Option<Histogram> {
        let mut old = earlier.buckets.iter().copied().peekable();
        let mut delta = Vec::with_capacity(self.buckets.len());
        for &(bucket, count) in &self.buckets {
            if old.peek().is_some_and(|&(b, _)| b < bucket) {
                return None;
            }
            let before = old.next_if(|&(b, _)| b == bucket).map_or(0, |(_, c)| c);
            delta.push((bucket, count.checked_sub(before)?));
        }
        old.next().is_none().then(|| Self::from_pairs(delta))
    }

    /// The `q` quantile (0..=1), interpolated within its bucket; `None` when empty.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        let rank = q.clamp(0.0, 1.0) * total as f64;
        let mut before = 0.0;
        for &(bucket, count) in &self.buckets {
            let here = count as f64;
            if before + here >= rank {
                let (low, high) = (bucket_lower(bucket) as f64, bucket_upper(bucket) as f64);
                return Some(low + (high - low) * ((rank - before) / here).clamp(0.0, 1.0));
            }
            before += here;
        }
        self.buckets.last().map(|&(b, _)| bucket_upper(b) as f64)
    }

    /// Share of values in buckets that lie wholly above `value`.
    pub fn share_above(&self, value: u64) -> Option<f64> {
        let all = self.count();
        (all > 0).then(|| total(&self.buckets, |bucket| bucket_lower(bucket) > value) as f64 / all as f64)
    }

    /// Compact form for a table cell: LEB128 varints, bucket distance then count, ascending. Empty histogram, empty bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.buckets.len() * 3);
        let mut previous = 0;
        for &(bucket, count) in &self.buckets {
            put_varint(&mut out, u64::from(bucket - previous));
            put_varint(&mut out, count);
            previous = bucket;
        }
        out
    }

    /// Reads [`Self::to_bytes`] back; `None` if the bytes are not such a form.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut histogram = Self::default();
        histogram.merge_bytes(bytes)?;
        Some(histogram)
    }

    /// Adds the counts of a [`Self::to_bytes`] form without building a histogram of it; `None`, and nothing added, if the bytes are not such a form.
    pub fn merge_bytes(&mut self, bytes: &[u8]) -> Option<()> {
        if !Pairs::new(bytes).all(|pair| pair.is_some()) {
            return None;
        }
        let mut at = 0;
        for (bucket, count) in Pairs::new(bytes).flatten().filter(|&(_, count)| count > 0) {
            while self.buckets.get(at).is_some_and(|&(b, _)| b < bucket) {
                at += 1;
            }
            match self.buckets.get_mut(at) {
                Some((b, sum)) if *b == bucket => *sum = sum.saturating_add(count),
                _ => self.buckets.insert(at, (bucket, count)),
            }
        }
        Some(())
    }
}

/// Sum of the counts of some buckets.
fn total(pairs: &[(u16, u64)], counts: impl Fn(u16) -> bool) -> u64 {
    pairs.iter().filter(|(bucket, _)| counts(*bucket)).fold(0, |sum, (_, count)| sum.saturating_add(*count))
}

/// Pairs of a [`Histogram::to_bytes`] form, ascending; `None` where it is broken, and nothing after.
struct Pairs<'a> {
    bytes: &'a [u8],
    bucket: u64,
    left: u16,
}

impl<'a> Pairs<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        // At most one pair a bucket: a longer list is not ours.
        Self { bytes, bucket: 0, left: BUCKET_MAX + 1 }
    }

    fn pair(&mut self) -> Option<(u16, u64)> {
        self.left = self.left.checked_sub(1)?;
        self.bucket = self.bucket.checked_add(take_varint(&mut self.bytes)?)?;
        let bucket = u16::try_from(self.bucket).ok().filter(|b| *b <= BUCKET_MAX)?;
        Some((bucket, take_varint(&mut self.bytes)?))
    }
}

impl Iterator for Pairs<'_> {
    type Item = Option<(u16, u64)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let pair = self.pair();
        if pair.is_none() {
            self.bytes = &[];
        }
        Some(pair)
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_tile_the_line() {
        assert_eq!(bucket_of(7), 7);
        assert_eq!(bucket_of(8), 8);
        assert_eq!(bucket_of(15), 15);
        assert_eq!(bucket_of(16), 16);
        assert_eq!(bucket_of(18), 17);
        for bucket in 0..BUCKET_MAX {
            assert_eq!(bucket_upper(bucket), bucket_lower(bucket + 1), "bucket {bucket}");
            assert_eq!(bucket_of(bucket_lower(bucket)), bucket);
            assert_eq!(bucket_of(bucket_upper(bucket) - 1), bucket);
        }
        assert_eq!(bucket_of(u64::MAX), BUCKET_MAX);
    }

    #[test]
    fn counts_beyond_all_measure_saturate() {
        let mut h = Histogram::from_pairs([(3, u64::MAX), (90, u64::MAX)]);
        h.record(3);
        assert_eq!(h.count(), u64::MAX);
        assert_eq!(h.share_above(4), Some(1.0));
        assert!(h.quantile(0.5).is_some());
    }

    proptest! {
        #[test]
        fn bytes_round_trip(values in prop::collection::vec(0u64..200_000_000, 0..200)) {
            let mut h = Histogram::default();
            values.iter().for_each(|&v| h.record(v));
            prop_assert_eq!(Histogram::from_bytes(&h.to_bytes()), Some(h));
        }

        #[test]
        fn merging_bytes_is_merging(a in prop::collection::vec(0u64..200_000_000, 0..100), b in prop::collection::vec(0u64..200_000_000, 0..100), broken in any::<bool>()) {
            let of = |vs: &[u64]| { let mut h = Histogram::default(); vs.iter().for_each(|&v| h.record(v)); h };
            let (mut by_bytes, other) = (of(&a), of(&b));
            let mut merged = by_bytes.clone();
            let mut bytes = other.to_bytes();
            if broken {
                bytes.push(1);
                prop_assert_eq!(by_bytes.merge_bytes(&bytes), None);
            } else {
                merged.merge(&other);
                prop_assert_eq!(by_bytes.merge_bytes(&bytes), Some(()));
            }
            prop_assert_eq!(by_bytes, merged);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Histogram::from_bytes(&bytes);
        }

        #[test]
        fn merge_adds_and_since_takes_away(a in prop::collection::vec(0u64..1_000_000, 0..50), b in prop::collection::vec(0u64..1_000_000, 0..50)) {
            let of = |vs: &[u64]| { let mut h = Histogram::default(); vs.iter().for_each(|&v| h.record(v)); h };
            let (first, second) = (of(&a), of(&b));
            let mut both = first.clone();
            both.merge(&second);
            prop_assert_eq!(both.count(), (a.len() + b.len()) as u64);
            prop_assert_eq!(both.since(&first), Some(second));
        }

        #[test]
        fn quantile_is_within_a_bucket(mut values in prop::collection::vec(1u64..10_000_000, 20..200), q in 0.05f64..0.99) {
            let mut h = Histogram::default();
            values.iter().for_each(|&v| h.record(v));
            values.sort_unstable();
            let exact = values[((q * values.len() as f64).ceil() as usize - 1).min(values.len() - 1)] as f64;
            let got = h.quantile(q).unwrap();
            prop_assert!((got - exact).abs() <= exact * 0.126 + 1.0, "{} against {}", got, exact);
        }
    }
}

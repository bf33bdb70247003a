// Histograms of times, as the generated rows hold them: counts by bucket, four buckets to a doubling from 50 microseconds.
const BUCKETS = 72;
const SPREAD = [0.08, 0.3, 0.34, 0.17, 0.07, 0.04];

const bucketOf = (seconds) => Math.max(0, Math.min(BUCKETS - 1, Math.round(4 * Math.log2(seconds / 50e-6))));
export const bucketValue = (bucket) => 50e-6 * 2 ** (bucket / 4);

/** So many samples around a time. */
export function histogram(seconds, samples) {
  const counts = new Float64Array(BUCKETS);
  const middle = bucketOf(seconds);
  SPREAD.forEach((share, i) => {
    counts[Math.min(BUCKETS - 1, middle + i - 1)] += Math.round(share * samples);
  });
  return counts;
}

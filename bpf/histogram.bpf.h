/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Log-linear histograms: 8 buckets an octave, so that a bucket is at most 1/8 as wide as its values.
 *   v < 8: bucket v;   else e = floor(log2 v): bucket (e - 2) * 8 + ((v >> (e - 3)) & 7), at most the last
 */
#ifndef HISTOGRAM_BPF_H
#define HISTOGRAM_BPF_H

static __always_inline u32 log2_floor(u32 v)
{
	u32 e = 0;

	if (v >> 16) { e += 16; v >>= 16; }
	if (v >> 8) { e += 8; v >>= 8; }
	if (v >> 4) { e += 4; v >>= 4; }
	if (v >> 2) { e += 2; v >>= 2; }
	return e + (v >> 1);
}

static __always_inline u32 bucket_of(u32 v)
{
	u32 e, bucket;

	if (v < 8)
		return v;
	e = log2_floor(v);
	bucket = (e - 2) * 8 + ((v >> (e - 3)) & 7);
	return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

/* Another CPU that got in first has raised it too, so each turn starts from a larger value; 8 turns suffice for most. */
static __always_inline void raise(u64 *extreme, u64 to)
{
	u64 seen = *extreme;

#pragma unroll
	for (int turn = 0; turn < 8; turn++) {
		u64 was;

		if (seen >= to)
			return;
		was = __sync_val_compare_and_swap(extreme, seen, to);
		if (was == seen)
			return;
		seen = was;
	}
	lose(LOSS_EXTREME_CONTENDED);
}

static __always_inline struct histogram *histogram_of(void *map, const struct flow_key *key)
{
	struct histogram *h = bpf_map_lookup_elem(map, key);

	if (h)
		return h;
	bpf_map_update_elem(map, key, &no_histogram, BPF_NOEXIST);
	return bpf_map_lookup_elem(map, key);
}

static __always_inline void count(struct histogram *h, u32 us)
{
	u32 bucket = bucket_of(us);

	/* Never out of bounds, but the verifier does not follow the arithmetic, and the compiler must not take out the check. */
	barrier_var(bucket);
	if (bucket < HISTOGRAM_BUCKETS)
		__sync_fetch_and_add(&h->counts[bucket], 1);
}

static __always_inline void stretch(struct histogram *h, u32 window, u32 least_us, u32 most_us)
{
	u64 stamp = (u64)window << 32;

	raise(&h->max[window & 1], stamp | most_us);
	raise(&h->min_inverted[window & 1], stamp | (u32)~least_us);
}

static __always_inline void observe(void *map, const struct flow_key *key, u32 us, u32 window, u32 full)
{
	struct histogram *h = histogram_of(map, key);

	if (!h) {
		lose(full);
		return;
	}
	count(h, us);
	stretch(h, window, us, us);
}

/* Three round trips wait in one word, so that taking them out is one exchange. */
#define RTT_BITS 21
#define RTTS_KEPT 3
#define RTT_KEPT_US_MAX ((1U << RTT_BITS) - 1) /* 2.1 s; what is longer does not wait */

static __always_inline void observe_kept(void *map, const struct flow_key *key, u64 kept, u32 window, u32 full)
{
	u32 least_us = RTT_KEPT_US_MAX, most_us = 0;
	struct histogram *h;

	if (!kept)
		return;
	h = histogram_of(map, key);
#pragma unroll
	for (int i = 0; i < RTTS_KEPT; i++) {
		u32 us = kept & RTT_KEPT_US_MAX;

		kept >>= RTT_BITS;
		if (!us)
			continue;
		if (!h) {
			lose(full);
			continue;
		}
		count(h, us);
		least_us = us < least_us ? us : least_us;
		most_us = us > most_us ? us : most_us;
	}
	if (h)
		stretch(h, window, least_us, most_us);
}

#endif

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * From a socket's counters to its flow's. A flush adds what the socket has counted since the last one.
 *
 * The sweep and the socket's close may flush at the same time on two CPUs. Each counter moves forward by compare-and-exchange,
 * and only who moved it adds the step: nothing is lost and nothing is counted twice, without a lock. A sweep that read
 * before the close has the lower reading and finds nothing left to add.
 */
#ifndef FLUSH_BPF_H
#define FLUSH_BPF_H

/*
 * The step from `at` to `now`, or 0 if another flush has been there. Two turns: there are only two flushers.
 * Global functions, so that the verifier looks at them once instead of along every path through a flush.
 */
__noinline u64 advance64(u64 *at, u64 now)
{
	u64 seen;

	if (!at)
		return 0;
	seen = *at;
#pragma unroll
	for (int turn = 0; turn < 2; turn++) {
		u64 was;

		if ((s64)(now - seen) <= 0)
			return 0;
		was = __sync_val_compare_and_swap(at, seen, now);
		if (was == seen)
			return now - seen;
		seen = was;
	}
	return 0;
}

/* For counters that wrap at 32 bits. */
__noinline u32 advance32(u32 *at, u32 now)
{
	u32 seen;

	if (!at)
		return 0;
	seen = *at;
#pragma unroll
	for (int turn = 0; turn < 2; turn++) {
		u32 was;

		if ((s32)(now - seen) <= 0)
			return 0;
		was = __sync_val_compare_and_swap(at, seen, now);
		if (was == seen)
			return now - seen;
		seen = was;
	}
	return 0;
}

static __always_inline bool fin_queued(int state)
{
	return state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 || state == TCP_CLOSING || state == TCP_LAST_ACK ||
	       state == TCP_TIME_WAIT;
}

/* Some CPU is inside the socket right now, so two fields read one after the other may not belong together. */
static __always_inline bool in_use(const struct sock *sk)
{
	if (sk->sk_lock.owned)
		return true;
	if (bpf_core_field_exists(sk->sk_lock.slock.rlock.raw_lock))
		return sk->sk_lock.slock.rlock.raw_lock.val.counter != 0;
	return false;
}

static __always_inline u32 chrono(const struct tcp_sock *tp, u32 kind, u32 running, u32 jiffies)
{
	u32 spent = tp->chrono_stat[kind - 1];

	return running == kind ? spent + (jiffies - tp->chrono_start) : spent;
}

enum { CHRONO_BUSY = 1, CHRONO_RWND, CHRONO_SNDBUF };

/*
 * The kernel's byte counters include FIN (and SYN, which the first baseline takes off). `live`: nobody holds the socket for
 * us. If it is in use at the instant between the reading of a counter and of the flag that says whether FIN is in it, one
 * byte is held back till the next flush; the flush at close is always exact.
 */
static __always_inline void read_bytes(struct reading *r, const struct tcp_sock *tp, int state, bool live)
{
	const struct sock *sk = &tp->inet_conn.icsk_inet.sk;
	u64 acked = tp->bytes_acked, received = tp->bytes_received;
	bool unsure, fin_received;

	barrier();
	unsure = live && in_use(sk);
	/* After the counters: a state from before them could miss a FIN that they hold, and that byte would stay. */
	if (live)
		state = sk->__sk_common.skc_state;
	barrier();
	fin_received = sk->__sk_common.skc_flags & (1UL << SOCK_DONE);
	if (acked && fin_queued(state) && (unsure || tp->snd_una == tp->write_seq))
		acked--;
	if (received && (unsure || fin_received))
		received--;
	r->bytes_sent = acked;
	r->bytes_received = received;
}

static __always_inline void read_socket(struct reading *r, const struct tcp_sock *tp, int state, bool live)
{
	u32 jiffies = bpf_jiffies64();
	u32 running = BPF_CORE_READ_BITFIELD(tp, chrono_type);

	read_bytes(r, tp, state, live);
	r->retrans_bytes = tp->bytes_retrans;
	r->segs_sent = tp->data_segs_out;
	r->segs_received = tp->data_segs_in;
	r->retrans_segs = tp->total_retrans;
	r->spurious = tp->dsack_dups;
	r->out_of_order = tp->rcv_ooopack;
	r->rto = bpf_core_field_exists(tp->total_rto) ? tp->total_rto : 0;
	r->blocked_rwnd = chrono(tp, CHRONO_RWND, running, jiffies);
	r->blocked_sndbuf = chrono(tp, CHRONO_SNDBUF, running, jiffies);
	/* As TCP_INFO has it: busy is all the time with something to send, the blocked parts included. */
	r->busy = chrono(tp, CHRONO_BUSY, running, jiffies) + r->blocked_rwnd + r->blocked_sndbuf;
}

/* Turns a reading into steps since the last flush; says whether any is above 0. */
static __always_inline bool step(struct reading *flushed, struct reading *r)
{
	u64 any = 0;

	any |= r->bytes_sent = advance64(&flushed->bytes_sent, r->bytes_sent);
	any |= r->bytes_received = advance64(&flushed->bytes_received, r->bytes_received);
	any |= r->retrans_bytes = advance64(&flushed->retrans_bytes, r->retrans_bytes);
	any |= r->segs_sent = advance32(&flushed->segs_sent, r->segs_sent);
	any |= r->segs_received = advance32(&flushed->segs_received, r->segs_received);
	any |= r->retrans_segs = advance32(&flushed->retrans_segs, r->retrans_segs);
	any |= r->spurious = advance32(&flushed->spurious, r->spurious);
	any |= r->out_of_order = advance32(&flushed->out_of_order, r->out_of_order);
	/* 16 bits in the kernel: extended here by what it has moved since. */
	r->rto = flushed->rto + (s16)((u16)r->rto - (u16)flushed->rto);
	any |= r->rto = advance32(&flushed->rto, r->rto);
	any |= r->busy = advance32(&flushed->busy, r->busy);
	any |= r->blocked_rwnd = advance32(&flushed->blocked_rwnd, r->blocked_rwnd);
	any |= r->blocked_sndbuf = advance32(&flushed->blocked_sndbuf, r->blocked_sndbuf);
	return any != 0;
}

static __always_inline void add_steps(struct flow *flow, const struct reading *d, u64 tick_us)
{
#define add_some(counter, n)                       \
	do {                                       \
		if (n)                             \
			add(flow, counter, (u64)(n)); \
	} while (0)
	add_some(bytes_sent, d->bytes_sent);
	add_some(bytes_received, d->bytes_received);
	add_some(retrans_bytes, d->retrans_bytes);
	add_some(segs_sent, d->segs_sent);
	add_some(segs_received, d->segs_received);
	add_some(retrans_segs, d->retrans_segs);
	add_some(spurious, d->spurious);
	add_some(out_of_order, d->out_of_order);
	add_some(rto, d->rto);
	add_some(busy_us, d->busy * tick_us);
	add_some(blocked_rwnd_us, d->blocked_rwnd * tick_us);
	add_some(blocked_sndbuf_us, d->blocked_sndbuf * tick_us);
#undef add_some
}

/* Tells the flow what waited in the socket's record; whether anything did but round trips. `window` is the one that it belongs to. */
static __always_inline bool settle(struct socket_state *s, const struct flow_key *key, struct flow *flow, u32 window)
{
	u32 untold = __sync_lock_test_and_set(&s->untold, 0);

	observe_kept(&rtts, key, __sync_lock_test_and_set(&s->rtts_us, 0), window, LOSS_RTTS_FULL);
	if (!untold)
		return false;
	if (untold & UNTOLD_ATTEMPT)
		add(flow, connect_attempts, 1);
	if (untold & UNTOLD_ACCEPT)
		add(flow, accepts, 1);
	if (untold & UNTOLD_ESTABLISHED) {
		add(flow, connect_established, 1);
		if (s->handshake_us)
			observe(&handshakes, key, s->handshake_us, window, LOSS_HANDSHAKES_FULL);
	}
	return true;
}

/*
 * How long the server took to answer, by two stamps that TCP keeps anyway: of the last data received and of the last data sent. Only
 * the latest answer since the last flush can be seen. One that was sent again tells of the path as well, and is left out.
 */
static __always_inline void sample_response(struct flow *flow, const struct flow_key *key, const struct reading *d,
					    const struct tcp_sock *tp, u64 tick_us)
{
	u32 took = tp->lsndtime - tp->inet_conn.icsk_ack.lrcvtime;

	if (key->role != ROLE_SERVER || !d->segs_sent || !d->segs_received || d->retrans_segs)
		return;
	if ((s32)took < 0) /* a request that waits for its answer */
		return;
	add(flow, response_us, took * tick_us);
	add(flow, responses, 1);
}

#endif

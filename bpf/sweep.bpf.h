/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The pass at a window's end: one look at every marked socket of every namespace. Writes a record for each listener. */
#ifndef SWEEP_BPF_H
#define SWEEP_BPF_H

/* How long a socket must have been still for the last flush to have seen all of it. */
#define SETTLED_US 1000000

/* Unacknowledged data and nothing delivered for so long, or this many time-outs in a row: the path is stuck. */
#define STALL_US 3000000
#define STALL_BACKOFF 2

/*
 * TCP stamps a socket whenever it sends, receives or times out; only a running chronometer counts without a stamp. One field
 * is read, without asking first what the socket is: most sockets of most hosts are still, and what costs is memory.
 */
static __always_inline bool still(const struct socket_state *s, struct sock *sk)
{
	return !s->running && BPF_CORE_READ((struct tcp_sock *)sk, tcp_mstamp) + SETTLED_US < s->flushed_us;
}

/* For how long of the last `passed_ms` nothing came through. */
static __always_inline u64 stalled_ms(const struct tcp_sock *tp, int state, u64 now_us, u64 passed_ms)
{
	u64 undelivered_us, undelivered_ms;

	if (!tp->packets_out || state == TCP_SYN_SENT || state == TCP_SYN_RECV)
		return 0;
	undelivered_us = now_us - tp->delivered_mstamp;
	if ((s64)undelivered_us < 0)
		return 0;
	if (tp->inet_conn.icsk_backoff < STALL_BACKOFF && undelivered_us < STALL_US)
		return 0;
	undelivered_ms = undelivered_us / 1000;
	return undelivered_ms < passed_ms ? undelivered_ms : passed_ms;
}

static __always_inline void sample_rtt(const struct control *ctl, struct flow *flow, const struct flow_key *key,
				       const struct tcp_sock *tp)
{
	u32 srtt_us = tp->srtt_us >> 3;

	if (!srtt_us)
		return;
	add(flow, srtt_us_sum, srtt_us);
	add(flow, srtt_samples, 1);
	/* A pass raises the window before it looks: what it sees is of the one that ended. */
	if (!ctl->rtt_callback)
		observe(&rtts, key, srtt_us, ctl->window - 1, LOSS_RTTS_FULL);
}

/* Time goes by for an open socket whether it moves or not. */
static __always_inline void sweep_still(const struct control *ctl, struct socket_state *s, u64 now_us)
{
	u64 passed_ms = advance64(&s->gauged_ms, now_us / 1000);
	struct flow_key key;
	struct flow *flow;

	if (!passed_ms)
		return;
	key_now(&key, ctl, s);
	flow = flow_of(&key);
	if (flow)
		add(flow, active_ms, passed_ms);
}

static __always_inline void sweep_moving(const struct control *ctl, struct socket_state *s, struct sock *sk, u64 now_us)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	u64 passed_ms, stuck_ms;
	struct flow_key key;
	struct flow *flow;
	struct reading r;
	bool moved;
	int state;

	if (!tp)
		return;
	state = sk->__sk_common.skc_state;
	read_socket(&r, tp, state, true);
	/* A socket closed meanwhile may be emptied at once; a reading taken before its phase changed is whole. */
	if (__sync_fetch_and_add(&s->phase, 0) != PHASE_OPEN)
		return;
	moved = step(&s->flushed, &r);
	s->flushed_us = now_us;
	s->running = BPF_CORE_READ_BITFIELD(tp, chrono_type);
	passed_ms = advance64(&s->gauged_ms, now_us / 1000);
	key_now(&key, ctl, s);
	flow = flow_of(&key);
	if (!flow)
		return;
	/* A pass raises the window before it looks: what it finds is of the one that ended. */
	if (settle(s, &key, flow, ctl->window - 1))
		touch(flow, now_us / 1000, s->tgid);
	add(flow, active_ms, passed_ms);
	stuck_ms = stalled_ms(tp, state, now_us, passed_ms);
	if (stuck_ms)
		add(flow, stalled_ms, stuck_ms);
	if (!moved)
		return;
	add_steps(flow, &r, ctl->tick_us);
	sample_response(flow, &key, &r, tp, ctl->tick_us);
	sample_rtt(ctl, flow, &key, tp);
	touch(flow, now_us / 1000, s->tgid);
}

static __always_inline void sweep_open(const struct control *ctl, struct socket_state *s, struct sock *sk)
{
	/* One time for all: reading the clock for each would cost as much as the rest of the arithmetic. */
	u64 now_us = ctl->pass_us;
	struct tally *t = tally();

	if (t)
		t->swept++;
	if (still(s, sk))
		sweep_still(ctl, s, now_us);
	else
		sweep_moving(ctl, s, sk, now_us);
}

/* Of a socket whose counters say nothing yet. */
static __always_inline void settle_young(const struct control *ctl, struct socket_state *s)
{
	struct flow_key key;
	struct flow *flow;

	if (!s->untold)
		return;
	key_now(&key, ctl, s);
	flow = flow_of(&key);
	if (!flow)
		return;
	settle(s, &key, flow, ctl->window - 1);
	touch(flow, now_ms(), s->tgid);
}

/*
 * Not established yet: all there can be is the attempt and repeated SYNs; or the change to established was left out. The state is set after the
 * change was told, so that whoever finds it set and the phase as it was knows that nobody told.
 */
static __always_inline void sweep_young(const struct control *ctl, struct socket_state *s, struct sock *sk)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	int state = sk->__sk_common.skc_state;

	if (!tp)
		return;
	barrier();
	if (!catch_up(ctl, s, sk, tp, state) && __sync_fetch_and_add(&s->phase, 0) == PHASE_CONNECTING)
		flush_syn(ctl, s, tp);
	settle_young(ctl, s);
}

/* Who listens without binding gets a port after the state change. */
static __always_inline void learn_port(struct socket_state *s, const struct sock *sk)
{
	struct owner o = { .cgroup = s->key.cgroup, .tgid = s->tgid };

	if (s->key.service_port || !sk->__sk_common.skc_num)
		return;
	s->key.service_port = sk->__sk_common.skc_num;
	copy_comm(o.comm, s->key.comm);
	serve(sk, &o);
}

/*
 * What the listener dropped since the last pass beyond what is known to be no overflow (drops.bpf.h; without it, SYNs that it answered
 * again). SYN-ACKs that a timer repeats have no drop: they must not hide one of the next window.
 */
static __always_inline u32 overflows(struct socket_state *s, const struct sock *sk)
{
	u32 drops = sk->sk_drops.counter;
	u32 seen = s->flushed.drops;

	if ((s32)(drops - seen) >= 0)
		return advance32(&s->flushed.drops, drops);
	__sync_val_compare_and_swap(&s->flushed.drops, seen, drops);
	return 0;
}

static __always_inline void sweep_listener(struct seq_file *seq, struct socket_state *s, const struct sock *sk)
{
	struct listener_record record = {
		.netns = s->key.netns,
		.port = s->key.service_port,
		.owner = { .cgroup = s->key.cgroup, .tgid = s->tgid },
	};
	u32 dropped = overflows(s, sk);
	struct flow_key key = s->key;
	struct flow *flow;

	copy_comm(record.owner.comm, s->key.comm);
	__builtin_memcpy(record.local, s->key.local, sizeof(record.local));
	bpf_seq_write(seq, &record, sizeof(record));
	if (!dropped)
		return;
	flow = other_flow(&key);
	if (!flow)
		return;
	add(flow, accept_overflow, dropped);
	touch(flow, now_ms(), s->tgid);
}

/* Its scope is another now: nothing of it counts any more, until a marking finds it in scope again. */
static __always_inline void leave(struct socket_state *s)
{
	if (__sync_lock_test_and_set(&s->phase, PHASE_NEW) == PHASE_LISTENING)
		stop_serving(s);
}

SEC("iter/bpf_sk_storage_map")
int sweep(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct control *ctl = controls();
	struct socket_state *s = ctx->value;
	struct sock *sk = ctx->sk;

	if (!ctl || !s || !sk)
		return 0;
	if (!still_in_scope(ctl, s, sk)) {
		leave(s);
		return 0;
	}
	switch (s->phase) {
	case PHASE_OPEN:
		sweep_open(ctl, s, sk);
		break;
	case PHASE_CONNECTING:
		sweep_young(ctl, s, sk);
		break;
	case PHASE_LISTENING:
		if (sk->__sk_common.skc_state != TCP_LISTEN) { /* a clone on its way to be established */
			sweep_young(ctl, s, sk);
			break;
		}
		learn_port(s, sk);
		sweep_listener(ctx->meta->seq, s, sk);
		break;
	}
	return 0;
}

#endif

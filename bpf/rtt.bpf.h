/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* One raw round-trip time a round trip, by TCP's own callback. */
#ifndef RTT_BPF_H
#define RTT_BPF_H

static __always_inline void ask_for_rtt(struct bpf_sock_ops *ctx, const struct control *ctl)
{
	struct bpf_sock *sk = ctx->sk;
	struct socket_state *s;
	struct tcp_sock *tp;

	if (!sk)
		return;
	s = bpf_sk_storage_get(&socks, sk, NULL, 0);
	if (!s || s->scope_version != ctl->scope_version) {
		tp = bpf_skc_to_tcp_sock(sk);
		if (!tp || !in_scope(ctl, &tp->inet_conn.icsk_inet.sk))
			return;
	}
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_RTT_CB_FLAG);
}

/* A socket has one callback at a time; only a flush takes out what is kept meanwhile. */
static __always_inline void keep_rtt(const struct control *ctl, struct socket_state *s, u32 rtt_us)
{
	u64 kept = s->rtts_us;
	struct flow_key key;

	if (rtt_us > RTT_KEPT_US_MAX) {
		key_now(&key, ctl, s);
		observe(&rtts, &key, rtt_us, ctl->window, LOSS_RTTS_FULL);
		return;
	}
	if (kept >> (RTT_BITS * (RTTS_KEPT - 1))) {
		key_now(&key, ctl, s);
		observe_kept(&rtts, &key, __sync_lock_test_and_set(&s->rtts_us, 0), ctl->window, LOSS_RTTS_FULL);
		kept = 0;
	}
	if (__sync_val_compare_and_swap(&s->rtts_us, kept, kept << RTT_BITS | rtt_us) != kept)
		__sync_lock_test_and_set(&s->rtts_us, rtt_us); /* taken out meanwhile */
}

/* Another probe may have asked for this call: only the sockets of this one have a record here. */
static __always_inline void take_rtt(struct bpf_sock_ops *ctx, const struct control *ctl)
{
	u32 rtt_us = ctx->args[0];
	struct bpf_sock *sk = ctx->sk;
	struct socket_state *s;
	struct tcp_sock *tp;

	if (!sk)
		return;
	s = bpf_sk_storage_get(&socks, sk, NULL, 0);
	if (!s || s->phase != PHASE_OPEN)
		return;
	if (!rtt_us || s->scope_version != ctl->scope_version) {
		tp = bpf_skc_to_tcp_sock(sk);
		if (!tp || !still_in_scope(ctl, s, &tp->inet_conn.icsk_inet.sk))
			return;
		if (!rtt_us) /* Linux before 6.10 gives no argument */
			rtt_us = tp->rack.rtt_us;
	}
	if (rtt_us)
		keep_rtt(ctl, s, rtt_us);
}

SEC("sockops")
int on_sockops(struct bpf_sock_ops *ctx)
{
	bool is_established = ctx->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB || ctx->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB;
	struct control *ctl;

	/* Most calls are of other kinds. */
	if (!is_established && ctx->op != BPF_SOCK_OPS_RTT_CB)
		return 1;
	ctl = controls();
	if (!ctl)
		return 1;
	if (is_established)
		ask_for_rtt(ctx, ctl);
	else
		take_rtt(ctx, ctl);
	return 1;
}

#endif

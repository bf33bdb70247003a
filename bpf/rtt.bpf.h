/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* One raw round-trip time a round trip, by TCP's own callback. */
#ifndef RTT_BPF_H
#define RTT_BPF_H

static __always_inline void ask_for_rtt(struct bpf_sock_ops *ctx, const struct control *ctl)
{
	struct bpf_sock *sk = ctx->sk;
	struct tcp_sock *tp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;

	if (tp && in_scope(ctl, &tp->inet_conn.icsk_inet.sk))
		bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_RTT_CB_FLAG);
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
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp || !in_scope(ctl, &tp->inet_conn.icsk_inet.sk))
		return;
	s = bpf_sk_storage_get(&socks, sk, NULL, 0);
	if (!s || s->phase != PHASE_OPEN)
		return;
	if (!rtt_us) /* Linux before 6.10 gives no argument */
		rtt_us = tp->rack.rtt_us;
	if (rtt_us)
		observe(&rtts, &s->key, rtt_us, ctl->window, LOSS_RTTS_FULL);
}

SEC("sockops")
int on_sockops(struct bpf_sock_ops *ctx)
{
	struct control *ctl = controls();

	if (!ctl)
		return 1;
	switch (ctx->op) {
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		ask_for_rtt(ctx, ctl);
		break;
	case BPF_SOCK_OPS_RTT_CB:
		take_rtt(ctx, ctl);
		break;
	}
	return 1;
}

#endif

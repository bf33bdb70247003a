/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What can be had from packets alone: these programs see every packet of every socket, and leave most of them at once. Attached only if something of it is
 * asked for.
 */
#ifndef PACKETS_BPF_H
#define PACKETS_BPF_H

static __always_inline void look_at(struct __sk_buff *ctx, bool sent)
{
	struct control *ctl;
	u8 transport = transport_of(ctx);

	if (transport != IPPROTO_UDP && transport != IPPROTO_TCP)
		return;
	ctl = controls();
	if (!ctl)
		return;
	if (transport == IPPROTO_UDP)
		count_datagram(ctx, ctl, sent);
	else if (ctl->packets & (PACKETS_DNS | PACKETS_HTTP | PACKETS_HTTP2))
		look_at_segment(ctx, ctl, sent);
}

SEC("cgroup_skb/egress")
int on_egress(struct __sk_buff *ctx)
{
	look_at(ctx, true);
	return PASS;
}

SEC("cgroup_skb/ingress")
int on_ingress(struct __sk_buff *ctx)
{
	look_at(ctx, false);
	return PASS;
}

#endif

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Resets sent and received. */
#ifndef RESETS_BPF_H
#define RESETS_BPF_H

/* Of a closed one too: who closes with unread data sends the reset after the state change. */
static __always_inline struct flow *flow_of_socket(const struct control *ctl, const struct socket_state *s)
{
	struct flow_key key;

	if (!s || (s->phase != PHASE_CONNECTING && s->phase != PHASE_OPEN && s->phase != PHASE_CLOSED))
		return NULL;
	key_now(&key, ctl, s);
	return flow_of(&key);
}

SEC("tp_btf/tcp_receive_reset")
int BPF_PROG(on_receive_reset, struct sock *sk)
{
	struct control *ctl = controls();
	struct socket_state *s;
	struct flow *flow;

	if (!ctl || sk->sk_protocol != IPPROTO_TCP)
		return 0;
	s = known(sk);
	if (!s || !still_in_scope(ctl, s, sk))
		return 0;
	flow = flow_of_socket(ctl, s);
	if (flow)
		add(flow, resets_received, 1);
	return 0;
}

struct ports {
	__be16 source;
	__be16 dest;
};

/*
 * The flow that the segment `skb`, just received, would belong to if somebody listened; its owner left open. A listener that knows no
 * connection of it is given: TCP has taken the device from such a segment.
 */
static __always_inline bool key_of_segment(struct flow_key *key, struct sk_buff *skb, const struct sock *listener)
{
	unsigned char *ip = skb->head + skb->network_header;
	unsigned char *tcp = skb->head + skb->transport_header;
	u32 source4 = 0, dest4 = 0;
	struct ports ports;
	u8 version;

	if (bpf_probe_read_kernel(&version, 1, ip) || bpf_probe_read_kernel(&ports, sizeof(ports), tcp))
		return false;
	switch (version >> 4) {
	case 4:
		bpf_probe_read_kernel(&source4, 4, ip + 12);
		bpf_probe_read_kernel(&dest4, 4, ip + 16);
		map_ipv4(key->remote, source4);
		map_ipv4(key->local, dest4);
		break;
	case 6:
		bpf_probe_read_kernel(key->remote, ADDRESS_LEN, ip + 8);
		bpf_probe_read_kernel(key->local, ADDRESS_LEN, ip + 24);
		break;
	default:
		return false;
	}
	key->netns = listener ? netns_of(listener) : skb->dev->nd_net.net->ns.inum;
	key->service_port = bpf_ntohs(ports.dest);
	key->role = ROLE_SERVER;
	key->protocol = IPPROTO_TCP;
	return true;
}

/*
 * No socket: somebody knocked where nobody listens. It tells a dead service from a network that resets, so it is counted for the
 * service that listened there last. Anyone can knock on any port: no known service, no flow.
 */
static __always_inline struct flow *flow_of_segment(const struct control *ctl, struct sk_buff *skb, const struct sock *listener)
{
	struct service_key at = {};
	struct flow_key key = {};
	struct service *service;
	struct flow *flow;

	if (!key_of_segment(&key, skb, listener))
		return NULL;
	at.netns = key.netns;
	at.port = key.service_port;
	if (ctl->scope_mode == SCOPE_NAMESPACES && !bpf_map_lookup_elem(&scope, &at.netns))
		return NULL;
	service = bpf_map_lookup_elem(&services, &at);
	if (!service)
		return NULL;
	key.cgroup = service->owner.cgroup;
	copy_comm(key.comm, service->owner.comm);
	flow = bpf_map_lookup_elem(&flows, &key);
	return flow ?: other_flow(&key);
}

/* Its being there says that the tracepoint has a third argument; both came with Linux 6.10. */
enum sk_rst_reason {
	SK_RST_REASON_NOT_SPECIFIED,
};

/* By the reason that the kernel gave, if it did. */
static __always_inline void explain_reset(struct flow *flow, u32 reason)
{
	u8 class;

	if (reason >= RESET_REASONS)
		return;
	barrier_var(reason); /* as in class_of_drop() */
	class = classes.resets[reason & (RESET_REASONS - 1)];
	if (class == RESET_UNEXPLAINED)
		return;
	add(flow, resets_explained, 1);
	if (class == RESET_NO_LISTENER)
		add(flow, resets_no_listener, 1);
	else if (class == RESET_ABORTED)
		add(flow, resets_aborted, 1);
}

SEC("tp_btf/tcp_send_reset")
int BPF_PROG(on_send_reset, struct sock *sk, struct sk_buff *skb)
{
	struct control *ctl = controls();
	struct flow *flow = NULL;

	if (!ctl)
		return 0;
	if (sk) {
		/* May be a mini socket without more than its common part; the look-up of a record then finds none. */
		flow = flow_of_socket(ctl, known(sk));
		if (!flow && sk->__sk_common.skc_state != TCP_LISTEN)
			return 0;
		if (!in_scope(ctl, sk))
			return 0;
	}
	if (!flow && skb)
		flow = flow_of_segment(ctl, skb, sk);
	if (!flow)
		return 0;
	add(flow, resets_sent, 1);
	if (bpf_core_type_exists(enum sk_rst_reason))
		explain_reset(flow, ctx[2]);
	touch(flow, now_ms(), 0);
	return 0;
}

#endif

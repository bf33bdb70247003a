/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * UDP, per flow: what a socket sends and what reaches it. A datagram has its addresses in its packet alone: a server's socket knows no peer.
 * docs/decisions/003 has why, and what it costs.
 */
#ifndef UDP_BPF_H
#define UDP_BPF_H

#define UDP_HEADER 8

/* The application chose the port itself: what servers do. */
#define SOCK_BINDPORT_LOCK 8

/* A conversation goes on over a silence as long as a window. */
#define CONVERSATION_GAP_MS 10000

/* Ports are in host order. */
struct datagram {
	u8 from[ADDRESS_LEN];
	u8 to[ADDRESS_LEN];
	u16 from_port;
	u16 to_port;
	u32 bytes;
	u32 count;
	/* Where the payload begins. */
	u32 payload;
};

struct ipv4_header {
	u8 words_and_version;
	u8 unused[5];
	u8 fragment[2];
	u8 ttl;
	u8 protocol;
	u16 checksum;
	u32 from;
	u32 to;
};

struct ipv6_header {
	u8 unused[6];
	u8 next_header;
	u8 hop_limit;
	struct in6_addr from;
	struct in6_addr to;
};

struct udp_header {
	u16 from_port;
	u16 to_port;
	u16 length;
	u16 checksum;
};

/* Reads the headers; false if they are cut short. */
static __always_inline bool read_datagram(struct __sk_buff *ctx, struct datagram *d)
{
	struct udp_header udp;
	struct ipv4_header v4;
	struct ipv6_header v6;
	u32 header;

	if (ctx->protocol == bpf_htons(ETH_P_IP)) {
		if (bpf_skb_load_bytes(ctx, 0, &v4, sizeof(v4)))
			return false;
		map_ipv4(d->from, v4.from);
		map_ipv4(d->to, v4.to);
		header = (v4.words_and_version & 0xf) * 4;
	} else {
		if (bpf_skb_load_bytes(ctx, 0, &v6, sizeof(v6)))
			return false;
		copy_ipv6(d->from, &v6.from);
		copy_ipv6(d->to, &v6.to);
		header = IPV6_HEADER;
	}
	if (bpf_skb_load_bytes(ctx, header, &udp, sizeof(udp)) || ctx->len < header + UDP_HEADER)
		return false;
	d->from_port = bpf_ntohs(udp.from_port);
	d->to_port = bpf_ntohs(udp.to_port);
	d->payload = header + UDP_HEADER;
	d->bytes = ctx->len - d->payload;
	/* Several of one size in one packet, which is cut up later (GSO) or was put together before (GRO). */
	d->count = ctx->gso_segs ?: 1;
	return true;
}

/*
 * Nobody opens a conversation by a handshake. The one of the two ports that is no ephemeral one is the server's. Else a connected socket is a
 * client's, a port that the application chose is a server's, and so is one that is heard at before it speaks.
 */
static __always_inline u8 datagram_role(const struct control *ctl, const struct sock *sk, const struct datagram_socket *s, u16 local_port,
					u16 remote_port)
{
	bool local_low = local_port < ctl->ephemeral_from;
	bool remote_low = remote_port < ctl->ephemeral_from;
	bool chosen = sk->sk_userlocks & SOCK_BINDPORT_LOCK;
	bool connected = sk->__sk_common.skc_dport;

	if (local_low != remote_low && (connected || chosen))
		return local_low ? ROLE_SERVER : ROLE_CLIENT;
	if (connected)
		return ROLE_CLIENT;
	return chosen || !s || s->first == FIRST_HEARD ? ROLE_SERVER : ROLE_CLIENT;
}

/* The key as its socket has it; `client_port` tells one conversation. */
static __always_inline void datagram_key(struct flow_key *key, u16 *client_port, const struct control *ctl, const struct sock *sk, const struct datagram_socket *s,
					 const struct datagram *d, bool sent)
{
	u16 local_port = sent ? d->from_port : d->to_port;
	u16 remote_port = sent ? d->to_port : d->from_port;

	__builtin_memcpy(key->local, sent ? d->from : d->to, ADDRESS_LEN);
	__builtin_memcpy(key->remote, sent ? d->to : d->from, ADDRESS_LEN);
	key->netns = netns_of(sk);
	key->cgroup = cgroup_of(sk);
	if (s)
		copy_comm(key->comm, s->owner.comm);
	key->protocol = IPPROTO_UDP;
	key->role = datagram_role(ctl, sk, s, local_port, remote_port);
	key->service_port = key->role == ROLE_SERVER ? local_port : remote_port;
	*client_port = key->role == ROLE_SERVER ? remote_port : local_port;
}

/* Accounts the time since the last datagram, once: whoever moves the mark adds it. */
static __always_inline void go_on(struct flow *flow, u32 tgid)
{
	u64 at_ms = now_ms();
	u64 last_ms = flow->last_change_ms;

	if (tgid)
		flow->last_tgid = tgid;
	if (at_ms <= last_ms || __sync_val_compare_and_swap(&flow->last_change_ms, last_ms, at_ms) != last_ms)
		return;
	if (last_ms && at_ms - last_ms <= CONVERSATION_GAP_MS)
		add(flow, active_ms, at_ms - last_ms);
}

/* Who binds or sends is who acts; whoever did neither since the probe is there was seen by `mark_owner`. */
static __always_inline struct datagram_socket *acting(struct bpf_sock *at, const struct sock *sk)
{
	struct datagram_socket *s = bpf_sk_storage_get(&datagram_socks, at, NULL, BPF_SK_STORAGE_GET_F_CREATE);

	if (!s)
		lose(LOSS_STORAGE);
	else if (!s->owner.tgid)
		acting_owner(&s->owner, sk);
	return s;
}

static __always_inline void count_datagram(struct __sk_buff *ctx, const struct control *ctl, bool sent)
{
	struct flow_key key = {}, where;
	struct datagram d = {};
	struct bpf_sock *at = ctx->sk;
	struct datagram_socket *s;
	struct sk_buff *skb;
	u16 client_port = 0;
	struct flow *flow;
	struct sock *sk;

	if (!at)
		return;
	skb = bpf_cast_to_kern_ctx(ctx);
	sk = skb->sk;
	if (!sk || sk->sk_protocol != IPPROTO_UDP || !in_scope(ctl, sk) || !read_datagram(ctx, &d))
		return;
	if (!(ctl->packets & PACKETS_UDP) && !of_dns(d.from_port, d.to_port))
		return;
	s = sent ? acting(at, sk) : bpf_sk_storage_get(&datagram_socks, at, NULL, 0);
	if (s && s->first == FIRST_UNKNOWN)
		s->first = sent ? FIRST_SENT : FIRST_HEARD;
	datagram_key(&key, &client_port, ctl, sk, s, &d, sent);
	where = key;
	place(&where, ctl, client_port);
	flow = datagram_flow(&where);
	if (!flow)
		return;
	if (sent) {
		add(flow, bytes_sent, d.bytes);
		add(flow, segs_sent, d.count);
	} else {
		add(flow, bytes_received, d.bytes);
		add(flow, segs_received, d.count);
	}
	go_on(flow, s ? s->owner.tgid : 0);
	if (ctl->packets & PACKETS_DNS && key.service_port == DNS_PORT)
		heed_message(ctx, ctl, flow, &key, client_port, d.payload, sent);
}

static __always_inline int bound(struct bpf_sock *ctx)
{
	struct sock *sk;

	if (ctx->protocol != IPPROTO_UDP || !controls())
		return PASS;
	sk = bpf_cast_to_kern_ctx(ctx);
	acting(ctx, sk);
	return PASS;
}

SEC("cgroup/post_bind4")
int on_bind4(struct bpf_sock *ctx)
{
	return bound(ctx);
}

SEC("cgroup/post_bind6")
int on_bind6(struct bpf_sock *ctx)
{
	return bound(ctx);
}

/* The packet's own words, as it lies in the kernel. */
static __always_inline void read_queued(const struct sk_buff *skb, struct datagram *d)
{
	unsigned char *head = BPF_CORE_READ(skb, head);
	unsigned char *ip = head + BPF_CORE_READ(skb, network_header);
	struct udp_header udp = {};
	struct ipv4_header v4 = {};
	struct ipv6_header v6 = {};

	bpf_probe_read_kernel(&v4, sizeof(v4), ip);
	if (v4.words_and_version >> 4 == 4) {
		map_ipv4(d->from, v4.from);
		map_ipv4(d->to, v4.to);
	} else {
		bpf_probe_read_kernel(&v6, sizeof(v6), ip);
		copy_ipv6(d->from, &v6.from);
		copy_ipv6(d->to, &v6.to);
	}
	bpf_probe_read_kernel(&udp, sizeof(udp), head + BPF_CORE_READ(skb, transport_header));
	d->from_port = bpf_ntohs(udp.from_port);
	d->to_port = bpf_ntohs(udp.to_port);
}

/* A datagram that reached its socket and found the queue full. */
SEC("tp_btf/udp_fail_queue_rcv_skb")
int BPF_PROG(on_datagram_drop, int error, struct sock *sk, struct sk_buff *skb)
{
	struct control *ctl = controls();
	struct flow_key key = {};
	struct datagram d = {};
	u16 client_port = 0;
	struct flow *flow;

	if (!ctl || sk->sk_protocol != IPPROTO_UDP || !in_scope(ctl, sk))
		return 0;
	read_queued(skb, &d);
	datagram_key(&key, &client_port, ctl, sk, bpf_sk_storage_get(&datagram_socks, sk, NULL, 0), &d, false);
	place(&key, ctl, client_port);
	flow = datagram_flow(&key);
	if (flow)
		add(flow, receive_drops, 1);
	return 0;
}

#endif

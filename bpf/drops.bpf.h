/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Packets that the kernel dropped: by namespace and reason, and by edge and class of reasons where it tells the socket. Linux 6.11 and later, which tell
 * the receiving one. docs/decisions/014 says what counts.
 */
#ifndef DROPS_BPF_H
#define DROPS_BPF_H

/* 0: not known. A packet that TCP holds has other things where its device was, but then its socket is given. */
static __always_inline u32 netns_of_drop(const struct sk_buff *skb, const struct sock *receiver)
{
	return receiver ? netns_of(receiver) : skb->dev->nd_net.net->ns.inum;
}

static __always_inline bool drop_in_scope(const struct control *ctl, const struct sock *receiver, u32 netns)
{
	switch (ctl->scope_mode) {
	case SCOPE_ALL:
		return true;
	case SCOPE_NAMESPACES:
		return bpf_map_lookup_elem(&scope, &netns) != NULL;
	case SCOPE_CGROUP:
		return receiver && in_cgroup(receiver, ctl->scope_cgroup, ctl->scope_level);
	}
	return false;
}

static __always_inline void count_for_node(const struct control *ctl, const struct sk_buff *skb, const struct sock *receiver, u32 reason)
{
	struct drop_key key = { .reason = reason };
	u64 *count, first = 1;

	key.netns = netns_of_drop(skb, receiver);
	if (!drop_in_scope(ctl, receiver, key.netns))
		return;
	count = bpf_map_lookup_elem(&drops, &key);
	if (count) {
		__sync_fetch_and_add(count, 1);
		return;
	}
	if (!bpf_map_update_elem(&drops, &key, &first, BPF_NOEXIST))
		return;
	/* Full, or another CPU was first. */
	count = bpf_map_lookup_elem(&drops, &key);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		lose(LOSS_DROPS_FULL);
}

static __always_inline u8 class_of_drop(u32 reason)
{
	if (reason >= DROP_REASONS)
		return DROP_OTHER;
	barrier_var(reason); /* else the compiler leaves out the mask, by which the verifier sees that it stays inside */
	return classes.drops[reason & (DROP_REASONS - 1)];
}

_Static_assert(__builtin_offsetof(struct flow, sent_drops_invalid) ==
		       __builtin_offsetof(struct flow, sent_drops_other) + DROP_INVALID * sizeof(u64), "in the order of enum drop_class");
_Static_assert(__builtin_offsetof(struct flow, received_drops_invalid) ==
		       __builtin_offsetof(struct flow, received_drops_other) + DROP_INVALID * sizeof(u64), "in the order of enum drop_class");

static __always_inline void count_drop(struct flow *flow, u8 class, bool sent)
{
	u64 *first = sent ? &flow->sent_drops_other : &flow->received_drops_other;

	if (class < DROP_CLASSES)
		__sync_fetch_and_add(first + class, 1);
}

/* The packet's own words; false if it is of another protocol than its socket, or no first fragment. */
static __always_inline bool read_dropped(const struct sk_buff *skb, u16 protocol, struct datagram *d)
{
	unsigned char *ip = skb->head + skb->network_header;
	struct ipv4_header v4 = {};
	u8 next_header = 0;

	bpf_probe_read_kernel(&v4, sizeof(v4), ip);
	if (v4.words_and_version >> 4 == 4) {
		if (v4.protocol != protocol || v4.fragment[0] & 0x1f || v4.fragment[1])
			return false;
	} else {
		bpf_probe_read_kernel(&next_header, sizeof(next_header), ip + __builtin_offsetof(struct ipv6_header, next_header));
		if (v4.words_and_version >> 4 != 6 || next_header != protocol)
			return false;
	}
	read_queued(skb, d);
	return true;
}

static __always_inline bool same_address(const u8 *a, const u8 *b)
{
	const u32 *x = (const u32 *)a, *y = (const u32 *)b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3];
}

/* Whether the packet came from a connected socket's far end. The kernel looks sockets of such packets up before it filters them. */
static __always_inline bool is_from_far_end(const struct sock_common *c, const struct datagram *d)
{
	u8 remote[ADDRESS_LEN];

	if (c->skc_num != d->to_port || bpf_ntohs(c->skc_dport) != d->from_port)
		return false;
	remote_address(remote, c);
	return same_address(remote, d->from);
}

static __always_inline void count_for_connection(const struct control *ctl, struct sock *sk, const struct datagram *d, u8 class, bool received)
{
	struct socket_state *s = known(sk);
	struct flow *flow;

	if (!s || !still_in_scope(ctl, s, sk))
		return;
	flow = flow_of_socket(ctl, s);
	if (flow)
		count_drop(flow, class, !received && !is_from_far_end(&sk->__sk_common, d));
}

/* A filter may drop what a socket sends before any program saw it send. */
static __always_inline struct datagram_socket *speaking(struct sock *sk)
{
	struct datagram_socket *s = bpf_sk_storage_get(&datagram_socks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);

	if (!s) {
		lose(LOSS_STORAGE);
		return NULL;
	}
	if (!s->owner.tgid)
		acting_owner(&s->owner, sk);
	if (s->first == FIRST_UNKNOWN)
		s->first = FIRST_SENT;
	return s;
}

static __always_inline void count_for_conversation(const struct control *ctl, struct sock *sk, const struct datagram *d, u8 class, bool received)
{
	struct datagram_socket *s;
	struct flow_key key = {};
	u16 client_port = 0;
	struct flow *flow;

	if (!in_scope(ctl, sk))
		return;
	received = received || is_from_far_end(&sk->__sk_common, d);
	/* A full queue of a socket is told by on_datagram_drop. */
	if (received && class == DROP_QUEUE)
		return;
	s = received ? bpf_sk_storage_get(&datagram_socks, sk, NULL, 0) : speaking(sk);
	datagram_key(&key, &client_port, ctl, sk, s, d, !received);
	place(&key, ctl, client_port);
	flow = datagram_flow(&key);
	if (flow)
		count_drop(flow, class, !received);
}

/* `sk` may be a mini socket, which has its common part alone: its state tells. */
static __always_inline void count_for_edge(const struct control *ctl, const struct sk_buff *skb, struct sock *sk, u8 class, bool received)
{
	struct datagram d = {};
	u16 family = sk->__sk_common.skc_family;
	u8 state = sk->__sk_common.skc_state;
	u16 protocol;

	if ((family != AF_INET && family != AF_INET6) || state == TCP_TIME_WAIT || state == TCP_NEW_SYN_RECV || state == TCP_LISTEN)
		return;
	protocol = sk->sk_protocol;
	if (protocol == IPPROTO_TCP) {
		if (received || read_dropped(skb, protocol, &d))
			count_for_connection(ctl, sk, &d, class, received);
	} else if (protocol == IPPROTO_UDP && ctl->packets & PACKETS_UDP && read_dropped(skb, protocol, &d)) {
		count_for_conversation(ctl, sk, &d, class, received);
	}
}

#define TCP_FLAGS_AT 13
#define TCP_ACK 0x10

static __always_inline bool acknowledges(const struct sk_buff *skb)
{
	u8 flags = 0;

	bpf_probe_read_kernel(&flags, sizeof(flags), skb->head + skb->transport_header + TCP_FLAGS_AT);
	return flags & TCP_ACK;
}

/*
 * A listener counts the SYNs and last ACKs that found no room without a word (tcp_listendrop), and in the same counter whatever else it drops: resets
 * and repeated SYNs of half-open connections, filtered and malformed segments. Each of these comes by here, so what is left is the overflow, as `ListenDrops` of
 * nstat has it. It counts segments, of which a packet may hold several. A last ACK without room counts twice, and comes by once.
 */
static __always_inline void excuse(const struct sk_buff *skb, struct sock *listener, u32 reason)
{
	u8 class = class_of_drop(reason);
	struct socket_state *s;
	u16 segments = 0;

	if (class & DROP_BESIDE_LISTENER || (class & DROP_BESIDE_LISTENER_IF_ACK && acknowledges(skb)))
		return;
	s = known(listener);
	if (!s || s->phase != PHASE_LISTENING)
		return;
	bpf_probe_read_kernel(&segments, sizeof(segments),
			      skb->head + skb->end + bpf_core_field_offset(((struct skb_shared_info *)0)->gso_segs));
	__sync_fetch_and_add(&s->flushed.drops, segments ?: 1);
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(on_drop, struct sk_buff *skb, void *location, u32 reason, struct sock *receiver)
{
	struct control *ctl = controls();
	struct sock *sender;
	u8 class;

	if (!ctl)
		return 0;
	if (receiver && receiver->__sk_common.skc_state == TCP_LISTEN)
		excuse(skb, receiver, reason);
	/* Without a reason it is an ordinary end of a packet. */
	if (reason <= SKB_DROP_REASON_NOT_SPECIFIED)
		return 0;
	count_for_node(ctl, skb, receiver, reason);
	class = class_of_drop(reason) & DROP_CLASS_MASK;
	if (class >= DROP_CLASSES)
		return 0;
	if (receiver) {
		count_for_edge(ctl, skb, receiver, class, true);
		return 0;
	}
	sender = skb->sk;
	if (sender)
		count_for_edge(ctl, skb, sender, class, false);
	return 0;
}

#endif

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A socket's life, told by its state changes: who opened it, how connecting went, and its last counters at close. */
#ifndef STATE_BPF_H
#define STATE_BPF_H

#define EPROTO 71
#define ENOPROTOOPT 92
#define EACCES 13
#define ENETDOWN 100
#define ENETUNREACH 101
#define ECONNRESET 104
#define ETIMEDOUT 110
#define ECONNREFUSED 111
#define EHOSTDOWN 112
#define EHOSTUNREACH 113
#define ENONET 64

static __always_inline struct socket_state *known(struct sock *sk)
{
	return bpf_sk_storage_get(&socks, sk, NULL, 0);
}

/* A socket that starts a new life gets a new record, so that a sweep still busy with the old one cannot touch it. */
static __always_inline struct socket_state *start_over(const struct control *ctl, struct sock *sk)
{
	struct socket_state *s = known(sk);

	if (s && s->phase != PHASE_NEW) {
		bpf_sk_storage_delete(&socks, sk);
		s = NULL;
	}
	if (!s)
		s = bpf_sk_storage_get(&socks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (s)
		s->scope_version = ctl->scope_version;
	else
		lose(LOSS_STORAGE);
	return s;
}

static __always_inline void enter(struct socket_state *s, u32 phase)
{
	__sync_lock_test_and_set(&s->phase, phase);
}

static __always_inline void own(struct socket_state *s, const struct owner *o)
{
	s->key.cgroup = o->cgroup;
	copy_comm(s->key.comm, o->comm);
	s->tgid = o->tgid;
}

static __always_inline void connecting(const struct control *ctl, struct sock *sk, struct tcp_sock *tp)
{
	struct socket_state *s = start_over(ctl, sk);
	struct owner o = {};

	if (!s)
		return;
	acting_owner(&o, sk);
	own(s, &o);
	fill_key(&s->key, &sk->__sk_common, ROLE_CLIENT);
	read_socket(&s->flushed, tp, TCP_SYN_SENT, false);
	s->flushed.bytes_sent++; /* for the SYN, which the kernel counts as an acknowledged byte */
	s->connect_ns = bpf_ktime_get_ns();
	s->untold = UNTOLD_ATTEMPT;
	enter(s, PHASE_CONNECTING);
}

/* Retransmitted before the handshake's end: SYNs. */
static __always_inline void flush_syn(const struct control *ctl, struct socket_state *s, const struct tcp_sock *tp)
{
	u32 again = advance32(&s->flushed.retrans_segs, tp->total_retrans);
	struct flow_key key;
	struct flow *flow;

	if (!again)
		return;
	learn_client_port(s, &tp->inet_conn.icsk_inet.sk);
	key_now(&key, ctl, s);
	flow = flow_of(&key);
	if (!flow)
		return;
	add(flow, retrans_segs, again);
	add(flow, retrans_syn, again);
	touch(flow, now_ms(), s->tgid);
}

/* Seen by the state change, else by whoever looks at the socket next: counted once. */
static __always_inline void connected(const struct control *ctl, struct socket_state *s, struct tcp_sock *tp, bool just_now)
{
	u64 now_ns = bpf_ktime_get_ns();

	learn_client_port(s, &tp->inet_conn.icsk_inet.sk);
	flush_syn(ctl, s, tp);
	s->gauged_ms = now_ns / 1000000;
	if (__sync_val_compare_and_swap(&s->phase, PHASE_CONNECTING, PHASE_OPEN) != PHASE_CONNECTING)
		return;
	if (s->connect_ns && just_now)
		s->handshake_us = (now_ns - s->connect_ns) / 1000 ?: 1;
	__sync_fetch_and_or(&s->untold, UNTOLD_ESTABLISHED);
}

static __always_inline void owner_of_service(struct socket_state *s, const struct sock *sk)
{
	struct service_key key = { .netns = netns_of(sk), .port = sk->__sk_common.skc_num };
	struct service *service = bpf_map_lookup_elem(&services, &key);

	if (service) {
		own(s, &service->owner);
		return;
	}
	s->key.cgroup = cgroup_of(sk);
	lose(LOSS_OWNER_UNKNOWN);
}

/* The record is a clone of the listener's, with its owner; none if the listener is not known. */
static __always_inline void accepted(const struct control *ctl, struct socket_state *s, struct sock *sk, struct tcp_sock *tp, bool just_now)
{
	u16 port;
	u32 was;

	if (!s) {
		s = start_over(ctl, sk);
		if (!s)
			return;
	} else {
		/* Whoever takes it up is one: a pass and a close may both find that nobody has. */
		was = s->phase;
		if (was == PHASE_OPEN || was == PHASE_CLOSED || __sync_val_compare_and_swap(&s->phase, was, PHASE_NEW) != was)
			return;
	}
	if (!s->tgid)
		owner_of_service(s, sk);
	port = s->key.service_port;
	fill_key(&s->key, &sk->__sk_common, ROLE_SERVER);
	if (!s->key.service_port) /* a socket that closes has given its port back; its listener's is the same */
		s->key.service_port = port;
	s->key.flags = 0;
	__builtin_memset(&s->flushed, 0, sizeof(s->flushed));
	/*
	 * Starts at the number of repeated SYN-ACKs, which on_retransmit_synack has counted. Taken up late it may hold repeated data as
	 * well; hardly a connection has both, and data tells itself by its bytes.
	 */
	if (just_now || !tp->bytes_retrans)
		s->flushed.retrans_segs = tp->total_retrans;
	s->client_port = bpf_ntohs(sk->__sk_common.skc_dport);
	s->connect_ns = 0;
	s->flushed_us = 0;
	s->running = 0;
	s->gauged_ms = now_ms();
	s->untold = UNTOLD_ACCEPT;
	__sync_val_compare_and_swap(&s->phase, PHASE_NEW, PHASE_OPEN); /* unless closed meanwhile */
}

static __always_inline void established(const struct control *ctl, struct sock *sk, struct tcp_sock *tp, int old)
{
	struct socket_state *s = known(sk);

	if (s ? !still_in_scope(ctl, s, sk) : !in_scope(ctl, sk))
		return;
	if (s && s->phase == PHASE_CONNECTING)
		connected(ctl, s, tp, true);
	else if (old == TCP_SYN_RECV)
		accepted(ctl, s, sk, tp, true);
}

static __always_inline void serve(const struct sock *sk, const struct owner *o)
{
	struct service_key key = { .netns = netns_of(sk), .port = sk->__sk_common.skc_num };
	struct service *service = bpf_map_lookup_elem(&services, &key);
	struct service first = { .owner = *o, .listeners = 1 };

	if (service) {
		service->owner = *o;
		__sync_fetch_and_add(&service->listeners, 1);
	} else {
		bpf_map_update_elem(&services, &key, &first, BPF_ANY);
	}
}

static __always_inline void listening(const struct control *ctl, struct sock *sk)
{
	struct socket_state *s = start_over(ctl, sk);
	struct owner o = {};

	if (!s)
		return;
	acting_owner(&o, sk);
	own(s, &o);
	fill_key(&s->key, &sk->__sk_common, ROLE_SERVER);
	s->flushed.drops = sk->sk_drops.counter;
	enter(s, PHASE_LISTENING);
	if (s->key.service_port) /* else the sweep learns it */
		serve(sk, &o);
}

static __always_inline void stop_serving(const struct socket_state *s)
{
	struct service_key key = { .netns = s->key.netns, .port = s->key.service_port };
	struct service *service = bpf_map_lookup_elem(&services, &key);

	if (service && service->listeners)
		__sync_fetch_and_add(&service->listeners, -1);
}

/*
 * A client that gives up before the kernel does leaves no error: that it repeated its SYN tells it from a change of mind. Nor does
 * an attempt that never got as far as a SYN, as without a free port: it is nothing that the network did, and counts as cancelled.
 */
static __always_inline void count_outcome(struct flow *flow, const struct socket_state *s, const struct sock *sk,
					  const struct tcp_sock *tp)
{
	switch (sk->sk_err ?: sk->sk_err_soft ?: s->connect_error) {
	case ETIMEDOUT:
		add(flow, connect_timeout, 1);
		return;
	case ECONNREFUSED:
		add(flow, connect_refused, 1);
		return;
	case ECONNRESET:
		add(flow, connect_reset, 1);
		return;
	case EHOSTUNREACH:
	case ENETUNREACH:
	case ENETDOWN:
	case EHOSTDOWN:
	case ENONET:
	case EACCES:
	case EPROTO:
	case ENOPROTOOPT:
		add(flow, connect_unreachable, 1);
		return;
	}
	if (tp->total_retrans)
		add(flow, connect_timeout, 1);
	else
		add(flow, connect_cancelled, 1);
}

static __always_inline void not_connected(const struct control *ctl, struct socket_state *s, const struct sock *sk, const struct tcp_sock *tp)
{
	struct flow_key key;
	struct flow *flow;

	flush_syn(ctl, s, tp);
	learn_client_port(s, sk);
	key_now(&key, ctl, s);
	flow = flow_of(&key);
	if (!flow)
		return;
	settle(s, &key, flow, ctl->window);
	count_outcome(flow, s, sk, tp);
	touch(flow, now_ms(), s->tgid);
}

/* All counters are still there at this change, whatever the way to it; in TIME_WAIT they are gone. */
static __always_inline void ended(const struct control *ctl, struct socket_state *s, const struct tcp_sock *tp, int old)
{
	u64 at_ms = now_ms();
	struct flow_key key;
	struct reading r;
	struct flow *flow;

	read_socket(&r, tp, old, false);
	step(&s->flushed, &r);
	key_now(&key, ctl, s);
	flow = flow_of(&key);
	if (!flow)
		return;
	settle(s, &key, flow, ctl->window);
	add_steps(flow, &r, ctl->tick_us);
	sample_response(flow, &key, &r, tp, ctl->tick_us);
	add(flow, active_ms, advance64(&s->gauged_ms, at_ms));
	add(flow, closes, 1);
	give_up_requests(s, flow);
	end_http2(ctl, s, tp);
	touch(flow, at_ms, s->tgid);
}

/*
 * The kernel leaves a run of a program out if it came in the midst of another on the same CPU, as when a softirq completes a
 * handshake while a task closes its socket. That a socket was established is then told by the state that it is found in.
 */
static __always_inline bool was_established(int state)
{
	return state != TCP_SYN_SENT && state != TCP_SYN_RECV && state != TCP_LISTEN && state != TCP_CLOSE;
}

/* Takes up what nobody told of; whether the socket counts as open from here on. */
static __always_inline bool catch_up(const struct control *ctl, struct socket_state *s, struct sock *sk, struct tcp_sock *tp, int state)
{
	if (!was_established(state))
		return false;
	switch (s->phase) {
	case PHASE_CONNECTING:
		connected(ctl, s, tp, false);
		return true;
	case PHASE_LISTENING: /* a clone of its listener's record */
		accepted(ctl, s, sk, tp, false);
		return true;
	}
	return false;
}

static __always_inline void closed(const struct control *ctl, struct sock *sk, struct tcp_sock *tp, int old)
{
	struct socket_state *s = known(sk);

	if (!s || !still_in_scope(ctl, s, sk))
		return;
	catch_up(ctl, s, sk, tp, old);
	switch (__sync_lock_test_and_set(&s->phase, PHASE_CLOSED)) {
	case PHASE_LISTENING:
		enter(s, PHASE_STOPPED);
		if (old == TCP_LISTEN) /* else a clone that did not live to be established */
			stop_serving(s);
		break;
	case PHASE_CONNECTING:
		not_connected(ctl, s, sk, tp);
		break;
	case PHASE_OPEN:
		ended(ctl, s, tp, old);
		break;
	}
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_state, struct sock *sk, int old, int new)
{
	struct control *ctl;
	struct tcp_sock *tp;

	/* Half of all changes: of one way of closing to another. */
	if (new != TCP_SYN_SENT && new != TCP_ESTABLISHED && new != TCP_LISTEN && new != TCP_CLOSE)
		return 0;
	ctl = controls();
	/* The tracepoint fires for MPTCP and others too. */
	if (!ctl || sk->sk_protocol != IPPROTO_TCP)
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 0;
	switch (new) {
	case TCP_SYN_SENT:
		if (in_scope(ctl, sk))
			connecting(ctl, sk, tp);
		break;
	case TCP_ESTABLISHED:
		established(ctl, sk, tp, old);
		break;
	case TCP_LISTEN:
		if (in_scope(ctl, sk))
			listening(ctl, sk);
		break;
	case TCP_CLOSE:
		closed(ctl, sk, tp, old);
		break;
	}
	return 0;
}

/* An ICMP error is queued for the application before it becomes the socket's soft error. */
static __always_inline u32 queued_error(const struct sock *sk)
{
	struct sk_buff *last;

	if (!BPF_CORE_READ(sk, sk_error_queue.qlen))
		return 0;
	last = BPF_CORE_READ(sk, sk_error_queue.prev);
	return BPF_CORE_READ((struct sock_exterr_skb *)&last->cb, ee.ee_errno);
}

/* An application may take an error that came while its connect() still ran, and only then close. */
SEC("tp_btf/inet_sk_error_report")
int BPF_PROG(on_error_report, struct sock *sk)
{
	struct control *ctl = controls();
	struct socket_state *s;

	if (!ctl || sk->sk_protocol != IPPROTO_TCP)
		return 0;
	s = known(sk);
	if (s && s->phase == PHASE_CONNECTING && still_in_scope(ctl, s, sk))
		s->connect_error = sk->sk_err ?: sk->sk_err_soft ?: queued_error(sk);
	return 0;
}

/*
 * A repeated SYN-ACK belongs to no socket yet. A remote address that never completed a handshake may be forged, so it makes
 * no flow of its own: what is not known yet is counted under the unspecified remote address.
 */
SEC("tp_btf/tcp_retransmit_synack")
int BPF_PROG(on_retransmit_synack, struct sock *sk, struct request_sock *req)
{
	struct control *ctl = controls();
	struct socket_state *s;
	struct flow_key key;
	struct flow *flow;

	if (!ctl || sk->sk_protocol != IPPROTO_TCP)
		return 0;
	s = known(sk);
	if (!s || !still_in_scope(ctl, s, sk))
		return 0;
	/*
	 * The SYN that made it repeat is a drop to the kernel (`discard_and_relse` of tcp_v4_rcv), but no overflow: it was answered. Where
	 * `on_drop` sees the drop itself, this would count it twice.
	 */
	if (!ctl->drops)
		__sync_fetch_and_add(&s->flushed.drops, 1);
	key = s->key;
	fill_key(&key, &req->__req_common, ROLE_SERVER);
	key.flags = 0;
	place_end(&key, ctl, bpf_ntohs(req->__req_common.skc_dport), false);
	flow = bpf_map_lookup_elem(&flows, &key);
	if (!flow)
		flow = other_flow(&key);
	if (!flow)
		return 0;
	add(flow, retrans_synack, 1);
	touch(flow, now_ms(), s->tgid);
	return 0;
}

#endif

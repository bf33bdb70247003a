/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Sockets that are older than the probe. First `mark_owner` over all open files of all processes: who has which socket;
 * then `mark_socket` in each namespace: what each socket is, and its counters as the baseline.
 */
#ifndef MARK_BPF_H
#define MARK_BPF_H

#define SOL_TCP 6
#define TCP_BPF_SOCK_OPS_CB_FLAGS 1008

#define tell(what)                        \
	do {                              \
		struct tally *t = tally(); \
                                          \
		if (t)                    \
			t->marked_##what++; \
	} while (0)

/* A UDP socket that only receives says nothing of its owner itself. */
static __always_inline void mark_datagram_owner(struct sock *sk, struct task_struct *task)
{
	struct datagram_socket *s = bpf_sk_storage_get(&datagram_socks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);

	if (!s) {
		lose(LOSS_STORAGE);
		return;
	}
	if (s->owner.tgid) /* known from its own deeds, or by another process that shares it */
		return;
	owned_by(&s->owner, task, sk);
}

SEC("iter/task_file")
int mark_owner(struct bpf_iter__task_file *ctx)
{
	struct control *ctl = controls();
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct socket_state *s;
	struct socket *socket;
	struct sock *sk;
	u16 family;

	if (!ctl || !task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk)
		return 0;
	family = sk->__sk_common.skc_family;
	if ((family != AF_INET && family != AF_INET6) || !in_scope(ctl, sk))
		return 0;
	if (sk->sk_protocol == IPPROTO_UDP)
		mark_datagram_owner(sk, task);
	if (sk->sk_protocol != IPPROTO_TCP || sk->__sk_common.skc_state == TCP_CLOSE)
		return 0;
	s = bpf_sk_storage_get(&socks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!s) {
		lose(LOSS_STORAGE);
		return 0;
	}
	s->scope_version = ctl->scope_version;
	if (s->tgid) /* known from its state changes, or by another process that shares it */
		return 0;
	bpf_probe_read_kernel_str(s->key.comm, sizeof(s->key.comm), task->group_leader->comm);
	s->tgid = task->tgid;
	tell(owners);
	return 0;
}

static __always_inline bool is_served(const struct control *ctl, const struct sock_common *c)
{
	struct service_key key = { .netns = c->skc_net.net->ns.inum, .port = c->skc_num };
	struct service *service = bpf_map_lookup_elem(&services, &key);

	if (service && service->listeners)
		return true;
	/* The listener is gone. An ephemeral port never becomes a service port if the other is none. */
	return c->skc_num < ctl->ephemeral_from && bpf_ntohs(c->skc_dport) >= ctl->ephemeral_from;
}

static __always_inline void mark_listener(struct socket_state *s, struct tcp_sock *tp)
{
	struct sock *sk = &tp->inet_conn.icsk_inet.sk;
	struct owner o = { .cgroup = s->key.cgroup, .tgid = s->tgid };

	copy_comm(o.comm, s->key.comm);
	s->flushed.drops = sk->sk_drops.counter;
	enter(s, PHASE_LISTENING);
	serve(sk, &o);
	tell(listeners);
}

static __always_inline void want_rtt(struct tcp_sock *tp)
{
	int flags = 0;

	bpf_getsockopt(tp, SOL_TCP, TCP_BPF_SOCK_OPS_CB_FLAGS, &flags, sizeof(flags));
	flags |= BPF_SOCK_OPS_RTT_CB_FLAG;
	if (bpf_setsockopt(tp, SOL_TCP, TCP_BPF_SOCK_OPS_CB_FLAGS, &flags, sizeof(flags)))
		tell(without_rtt);
}

static __always_inline void mark_live(const struct control *ctl, struct socket_state *s, struct tcp_sock *tp, int state)
{
	read_socket(&s->flushed, tp, state, false);
	s->gauged_ms = now_ms();
	if (state == TCP_SYN_SENT) {
		s->flushed.bytes_sent++; /* its SYN, as in connecting() */
		s->untold = UNTOLD_ATTEMPT;
		enter(s, PHASE_CONNECTING);
	} else {
		enter(s, PHASE_OPEN);
	}
	if (ctl->rtt_callback)
		want_rtt(tp);
	tell(sockets);
}

/* Sees the listeners of a namespace before its connections. The kernel holds the socket's lock meanwhile. */
SEC("iter/tcp")
int mark_socket(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct control *ctl = controls();
	struct socket_state *s;
	struct tcp_sock *tp;
	struct sock *sk;
	int state;
	u8 role;

	if (!ctl || !common)
		return 0;
	tp = bpf_skc_to_tcp_sock(common);
	if (!tp)
		return 0;
	sk = &tp->inet_conn.icsk_inet.sk;
	state = sk->__sk_common.skc_state;
	if (sk->sk_protocol != IPPROTO_TCP || state == TCP_CLOSE || state == TCP_SYN_RECV || !in_scope(ctl, sk))
		return 0;
	s = bpf_sk_storage_get(&socks, tp, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!s) {
		lose(LOSS_STORAGE);
		return 0;
	}
	s->scope_version = ctl->scope_version;
	if (s->phase != PHASE_NEW)
		return 0;
	role = state == TCP_LISTEN || (state != TCP_SYN_SENT && is_served(ctl, &sk->__sk_common)) ? ROLE_SERVER : ROLE_CLIENT;
	s->key.cgroup = cgroup_of(sk);
	fill_key(&s->key, &sk->__sk_common, role);
	learn_client_port(s, sk);
	if (state == TCP_LISTEN) {
		mark_listener(s, tp);
		return 0;
	}
	if (state != TCP_SYN_SENT)
		s->key.flags = FLOW_ROLE_INFERRED;
	mark_live(ctl, s, tp, state);
	return 0;
}

#endif

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A socket's flow: its key, and where its counters are. */
#ifndef FLOW_BPF_H
#define FLOW_BPF_H

#define AF_INET 2
#define AF_INET6 10

static __always_inline void copy_comm(char *to, const char *from)
{
	__builtin_memcpy(to, from, COMM_LEN);
}

/* A process as the owner of a socket, named by its main thread. */
static __always_inline void owned_by(struct owner *o, struct task_struct *task, const struct sock *sk)
{
	o->cgroup = cgroup_of(sk);
	o->tgid = task->tgid;
	/* Stops at the end of the name: what follows stays zero. */
	bpf_probe_read_kernel_str(o->comm, sizeof(o->comm), task->group_leader->comm);
}

/* The process that acts now. */
static __always_inline void acting_owner(struct owner *o, const struct sock *sk)
{
	owned_by(o, (struct task_struct *)bpf_get_current_task_btf(), sk);
}

static __always_inline void map_ipv4(u8 *to, u32 address)
{
	u32 *words = (u32 *)to;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = address;
}

static __always_inline void copy_ipv6(u8 *to, const struct in6_addr *from)
{
	u32 *words = (u32 *)to;

	words[0] = from->in6_u.u6_addr32[0];
	words[1] = from->in6_u.u6_addr32[1];
	words[2] = from->in6_u.u6_addr32[2];
	words[3] = from->in6_u.u6_addr32[3];
}

/* An IPv6 socket that talks IPv4 holds mapped addresses already. */
static __always_inline void local_address(u8 *to, const struct sock_common *c)
{
	if (c->skc_family == AF_INET6)
		copy_ipv6(to, &c->skc_v6_rcv_saddr);
	else
		map_ipv4(to, c->skc_rcv_saddr);
}

static __always_inline void remote_address(u8 *to, const struct sock_common *c)
{
	if (c->skc_family == AF_INET6)
		copy_ipv6(to, &c->skc_v6_daddr);
	else
		map_ipv4(to, c->skc_daddr);
}

/* Of a TCP socket: fills all but the owner. */
static __always_inline void fill_key(struct flow_key *key, const struct sock_common *c, u8 role)
{
	key->netns = c->skc_net.net->ns.inum;
	local_address(key->local, c);
	remote_address(key->remote, c);
	key->protocol = IPPROTO_TCP;
	key->role = role;
	key->service_port = role == ROLE_SERVER ? c->skc_num : bpf_ntohs(c->skc_dport);
}

/* For a flow that has no room of its own, or whose remote address must not be believed. */
static __always_inline struct flow *other_flow(const struct flow_key *key)
{
	struct flow_key other = *key;
	struct flow *flow;
	bool made;

	__builtin_memset(other.remote, 0, sizeof(other.remote));
	other.client_port = 0;
	flow = bpf_map_lookup_elem(&others, &other);
	if (flow)
		return flow;
	made = !bpf_map_update_elem(&others, &other, &no_flow, BPF_NOEXIST);
	flow = bpf_map_lookup_elem(&others, &other);
	if (!flow)
		lose(LOSS_OTHERS_FULL);
	else if (made)
		flow->born_ms = (u32)now_ms() | 1;
	return flow;
}

/* A key's flow in its protocol's map; `full` is what is lost if that has no room. */
static __always_inline struct flow *flow_in(void *map, const struct flow_key *key, u32 full)
{
	struct flow *flow = bpf_map_lookup_elem(map, key);
	bool made;

	if (flow)
		return flow;
	made = !bpf_map_update_elem(map, key, &no_flow, BPF_NOEXIST);
	flow = bpf_map_lookup_elem(map, key);
	if (flow) {
		if (made)
			flow->born_ms = (u32)now_ms() | 1;
		return flow;
	}
	lose(full);
	return other_flow(key);
}

static __always_inline struct flow *flow_of(const struct flow_key *key)
{
	return flow_in(&flows, key, LOSS_FLOWS_FULL);
}

static __always_inline struct flow *datagram_flow(const struct flow_key *key)
{
	return flow_in(&datagrams, key, LOSS_DATAGRAMS_FULL);
}

#define add(flow, counter, n) ((void)__sync_fetch_and_add(&(flow)->counter, (n)))

static __always_inline void touch(struct flow *flow, u64 at_ms, u32 tgid)
{
	flow->last_change_ms = at_ms;
	if (tgid)
		flow->last_tgid = tgid;
}

#endif

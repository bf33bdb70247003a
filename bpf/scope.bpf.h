/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Which sockets are this probe's business. Asked first by every program: several probes may share a kernel. */
#ifndef SCOPE_BPF_H
#define SCOPE_BPF_H

#define CGROUP_DEPTH_MAX 64

/* Linux before 6.1 keeps the ids of a cgroup's ancestors, later ones pointers to them. */
struct cgroup___before_6_1 {
	u64 ancestor_ids[0];
} __attribute__((preserve_access_index));

static __always_inline u32 netns_of(const struct sock *sk)
{
	return sk->__sk_common.skc_net.net->ns.inum;
}

static __always_inline u64 cgroup_of(const struct sock *sk)
{
	return sk->sk_cgrp_data.cgroup->kn->id;
}

static __always_inline bool in_cgroup(const struct sock *sk, u64 wanted, u32 level)
{
	struct cgroup *at = sk->sk_cgrp_data.cgroup;
	struct cgroup *ancestor = NULL;
	u64 id = 0;

	if (!at || level >= CGROUP_DEPTH_MAX || at->level < (int)level)
		return false;
	if (bpf_core_field_exists(at->ancestors)) {
		bpf_probe_read_kernel(&ancestor, sizeof(ancestor), &at->ancestors[level]);
		return BPF_CORE_READ(ancestor, kn, id) == wanted;
	}
	bpf_probe_read_kernel(&id, sizeof(id), &((struct cgroup___before_6_1 *)at)->ancestor_ids[level]);
	return id == wanted;
}

static __always_inline bool in_scope(const struct control *ctl, const struct sock *sk)
{
	u32 netns;

	switch (ctl->scope_mode) {
	case SCOPE_ALL:
		return true;
	case SCOPE_NAMESPACES:
		netns = netns_of(sk);
		return bpf_map_lookup_elem(&scope, &netns) != NULL;
	case SCOPE_CGROUP:
		return in_cgroup(sk, ctl->scope_cgroup, ctl->scope_level);
	}
	return false;
}

/* Of a socket with a record: looked up once, and again after each change of the scope. */
static __always_inline bool still_in_scope(const struct control *ctl, struct socket_state *s, const struct sock *sk)
{
	if (s->scope_version == ctl->scope_version)
		return true;
	if (!in_scope(ctl, sk))
		return false;
	s->scope_version = ctl->scope_version;
	return true;
}

#endif

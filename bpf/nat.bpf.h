/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The key under which a socket counts where its far address stands for several ends: a service's virtual address, or one behind which a
 * router hides others. Asked whenever a flow is chosen, so that what user space learns of a connection later than its first packet still
 * holds; the socket's own key stays as it is. docs/decisions/004 says why.
 */
#ifndef NAT_BPF_H
#define NAT_BPF_H

#define DNS_PORT 53

/* So long may user space need until it has heard what an address stands for; it takes a millisecond on an idle node. */
#define NEWCOMER_MS 3000
/* Most flows that a new address makes: as many choices. */
#define NEWCOMER_CHOICES_MAX 1024

/* Puts the real far end into a socket's key; false if it is not known. */
static __always_inline bool translate(struct flow_key *key, u16 client_port)
{
	struct connection c = { .client_port = client_port, .server_port = key->service_port, .role = key->role, .protocol = key->protocol };
	bool client = key->role == ROLE_CLIENT;
	struct real_end *real;

	__builtin_memcpy(c.client, client ? key->local : key->remote, ADDRESS_LEN);
	__builtin_memcpy(c.server, client ? key->remote : key->local, ADDRESS_LEN);
	real = bpf_map_lookup_elem(&translations, &c);
	if (!real)
		return false;
	__builtin_memcpy(key->remote, real->address, ADDRESS_LEN);
	if (key->service_port == DNS_PORT && real->service_port != DNS_PORT)
		key->flags |= FLOW_DNS;
	key->service_port = real->service_port;
	if (real->masked)
		key->flags |= FLOW_MASKED;
	return true;
}

/*
 * Nobody knows of the first connections to or from an address whether it stands for others: they may be over before user space has heard of them. So they are
 * kept apart as well, and added up by user space, which knows by the window's end.
 */
static __always_inline bool is_newcomer(const struct flow_key *key)
{
	struct newcomer_key end = { .role = key->role };
	struct newcomer fresh = {};
	struct newcomer *known;

	__builtin_memcpy(end.address, key->remote, ADDRESS_LEN);
	known = bpf_map_lookup_elem(&newcomers, &end);
	if (!known) {
		fresh.since_ms = now_ms();
		fresh.chosen = 1;
		bpf_map_update_elem(&newcomers, &end, &fresh, BPF_NOEXIST);
		return true;
	}
	if (known->chosen >= NEWCOMER_CHOICES_MAX)
		return false;
	if (now_ms() - known->since_ms >= NEWCOMER_MS) {
		/* For good, and without a look at the clock. */
		known->chosen = NEWCOMER_CHOICES_MAX;
		return false;
	}
	__sync_fetch_and_add(&known->chosen, 1);
	return true;
}

/*
 * Flows of such an address are kept apart by connection, until it is known where each goes. `proven`: the far end is who it says, so that it may
 * count as new; else a flood from forged addresses would make all others new again.
 */
static __always_inline void place_end(struct flow_key *key, const struct control *ctl, u16 client_port, bool proven)
{
	u32 wanted = key->role == ROLE_CLIENT ? SPLIT_FOR_CLIENTS : SPLIT_FOR_SERVERS;
	struct in6_addr remote;
	u32 *split_for;

	if (!ctl->nat && !ctl->split_count)
		return;
	__builtin_memcpy(&remote, key->remote, sizeof(remote));
	split_for = bpf_map_lookup_elem(&split, &remote);
	if (split_for && *split_for & wanted) {
		if (!translate(key, client_port))
			key->client_port = client_port;
	} else if (ctl->nat && proven && is_newcomer(key)) {
		key->client_port = client_port;
	}
}

/* Whoever sends a datagram to a server has proven nothing. */
static __always_inline void place(struct flow_key *key, const struct control *ctl, u16 client_port)
{
	place_end(key, ctl, client_port, key->protocol == IPPROTO_TCP || key->role == ROLE_CLIENT);
}

/* The key of a TCP socket's flow as of now. */
static __always_inline void key_now(struct flow_key *key, const struct control *ctl, const struct socket_state *s)
{
	*key = s->key;
	place(key, ctl, s->client_port);
}

/* A server's socket is known by its far port, a client's by its own, which it has from the first SYN on and keeps when it closes. */
static __always_inline void learn_client_port(struct socket_state *s, const struct sock *sk)
{
	if (s->client_port)
		return;
	if (s->key.role == ROLE_SERVER)
		s->client_port = bpf_ntohs(sk->__sk_common.skc_dport);
	else
		s->client_port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
}

#endif

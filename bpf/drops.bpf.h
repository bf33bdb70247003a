/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Packets that the kernel dropped, by namespace and reason. Linux 6.11 and later, which tell the receiving socket. */
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

SEC("tp_btf/kfree_skb")
int BPF_PROG(on_drop, struct sk_buff *skb, void *location, u32 reason, struct sock *receiver)
{
	struct control *ctl = controls();
	struct drop_key key = { .reason = reason };
	u64 *count, first = 1;

	/* Without a reason it is an ordinary end of a packet. */
	if (!ctl || reason <= SKB_DROP_REASON_NOT_SPECIFIED)
		return 0;
	key.netns = netns_of_drop(skb, receiver);
	if (!drop_in_scope(ctl, receiver, key.netns))
		return 0;
	count = bpf_map_lookup_elem(&drops, &key);
	if (count) {
		__sync_fetch_and_add(count, 1);
		return 0;
	}
	if (!bpf_map_update_elem(&drops, &key, &first, BPF_NOEXIST))
		return 0;
	/* Full, or another CPU was first. */
	count = bpf_map_lookup_elem(&drops, &key);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		lose(LOSS_DROPS_FULL);
	return 0;
}

#endif

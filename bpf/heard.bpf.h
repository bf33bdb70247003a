/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What clients hear and say of the names of whom they talk to: answers of DNS, and the greeting of TLS with the server's name in it. Passed on as they are, through a
 * ring, and read in user space; nothing here depends on them, so what finds no room costs a name and no count. docs/decisions/016 has why.
 */
#ifndef HEARD_BPF_H
#define HEARD_BPF_H

/* What most answers fit into: names and addresses come first. */
#define ANSWER_BYTES 1024
/* A greeting with a key of post-quantum exchange has 1.8 KiB, and its extensions come in any order. */
#define GREETING_BYTES 2048

/* User space looks once a second: nobody is woken for it. */
#define HEARD_FLAGS BPF_RB_NO_WAKEUP

static __always_inline bool hears_names(const struct control *ctl, const struct flow_key *key)
{
	return ctl->packets & PACKETS_NAMES && key->role == ROLE_CLIENT;
}

/* `room` is a constant where it is called: a ring wants to know. */
static __always_inline void hear(struct __sk_buff *ctx, const struct control *ctl, const struct flow_key *key, u32 kind, u32 room, u32 at, u32 bytes)
{
	struct heard *heard;

	if (!hears_names(ctl, key))
		return;
	if (bytes > room)
		bytes = room;
	/* For the verifier of Linux 6.12: two comparisons of what is read, not one of something made of both. */
	barrier_var(bytes);
	if (!bytes)
		return;
	barrier_var(bytes);
	if (bytes > room)
		return;
	heard = bpf_ringbuf_reserve(&names, sizeof(*heard) + room, 0);
	if (!heard) {
		lose(LOSS_NAMES_FULL);
		return;
	}
	heard->flow = *key;
	heard->kind = kind;
	heard->bytes = bytes;
	if (bpf_skb_load_bytes(ctx, at, heard + 1, bytes))
		bpf_ringbuf_discard(heard, HEARD_FLAGS);
	else
		bpf_ringbuf_submit(heard, HEARD_FLAGS);
}

static __always_inline void hear_answer(struct __sk_buff *ctx, const struct control *ctl, const struct flow_key *key, u32 at, u32 bytes)
{
	hear(ctx, ctl, key, HEARD_ANSWER, ANSWER_BYTES, at, bytes);
}

static __always_inline void hear_greeting(struct __sk_buff *ctx, const struct control *ctl, const struct flow_key *key, u32 at, u32 bytes)
{
	hear(ctx, ctl, key, HEARD_GREETING, GREETING_BYTES, at, bytes);
}

#endif

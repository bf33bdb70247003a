/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Protocols that ask and answer: how many requests, how they were answered, and how long that took. Counted where both pass by, so nothing of them is kept. */
#ifndef EXCHANGE_BPF_H
#define EXCHANGE_BPF_H

#define EEXIST 17

/* What resolvers wait for an answer before they ask again or elsewhere (resolv.conf(5)). */
#define UNANSWERED_NS 5000000000ULL

/* The five ways in which a request is answered; what they are is the protocol's. */
#define OUTCOMES 5

static __always_inline void answer(struct flow *flow, u32 outcome)
{
	switch (outcome) {
	case 0:
		add(flow, answers_0, 1);
		break;
	case 1:
		add(flow, answers_1, 1);
		break;
	case 2:
		add(flow, answers_2, 1);
		break;
	case 3:
		add(flow, answers_3, 1);
		break;
	default:
		add(flow, answers_4, 1);
	}
}

static __always_inline void take_time(const struct control *ctl, const struct flow_key *key, u64 from_ns)
{
	observe(&durations, key, (u32)((bpf_ktime_get_ns() - from_ns) / 1000), ctl->window, LOSS_DURATIONS_FULL);
}

/* `key` is the socket's own, here and in what follows: what it counts under may become known between question and answer. */
static __always_inline void question_of(struct question *q, const struct flow_key *key, u16 client_port, u16 id)
{
	q->flow = *key;
	q->client_port = client_port;
	q->id = id;
}

/* Asked again it is the same question, which waits since it was asked first. */
static __always_inline void ask(struct flow *flow, const struct flow_key *key, u16 client_port, u16 id)
{
	struct asked a = { .at_ns = bpf_ktime_get_ns() };
	struct question q = {};
	long error;

	add(flow, requests, 1);
	question_of(&q, key, client_port, id);
	error = bpf_map_update_elem(&questions, &q, &a, BPF_NOEXIST);
	if (error && error != -EEXIST)
		lose(LOSS_QUESTIONS_FULL);
}

/* True if the question was waited for. */
static __always_inline bool settle_question(const struct control *ctl, const struct flow_key *key, u16 client_port, u16 id)
{
	struct question q = {};
	struct asked *a;
	u64 at_ns;

	question_of(&q, key, client_port, id);
	a = bpf_map_lookup_elem(&questions, &q);
	if (!a)
		return false;
	at_ns = a->at_ns;
	/* Whoever deletes it is one: an answer may come twice. */
	if (bpf_map_delete_elem(&questions, &q))
		return false;
	place(&q.flow, ctl, client_port);
	take_time(ctl, &q.flow, at_ns);
	return true;
}

/* At each pass: questions that have waited for too long. */
SEC("iter/bpf_map_elem")
int sweep_questions(struct bpf_iter__bpf_map_elem *ctx)
{
	struct control *ctl = controls();
	struct question *waits = ctx->key;
	struct asked *a = ctx->value;
	struct question q;
	struct flow_key key;
	struct flow *flow;

	if (!ctl || !waits || !a || ctl->pass_us * 1000 < a->at_ns + UNANSWERED_NS)
		return 0;
	q = *waits;
	key = q.flow;
	if (bpf_map_delete_elem(&questions, &q))
		return 0;
	place(&key, ctl, q.client_port);
	flow = key.protocol == IPPROTO_UDP ? datagram_flow(&key) : flow_of(&key);
	if (flow)
		add(flow, unanswered, 1);
	return 0;
}

#endif

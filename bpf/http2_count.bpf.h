/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What user space has read out of HTTP/2 comes back here and is added to the flow's own counters: so it lasts, is read and is told exactly once as all
 * that is counted in the kernel. One reader runs this, and nobody else.
 */
#ifndef HTTP2_COUNT_BPF_H
#define HTTP2_COUNT_BPF_H

struct http2_times {
	struct http2_count *count;
	struct flow_key key;
	u32 window;
};

static long take_one_time(u32 nth, void *context)
{
	struct http2_times *t = context;

	if (nth >= HTTP2_TIMES_MAX)
		return 1;
	observe(&durations, &t->key, t->count->times_us[nth], t->window, LOSS_DURATIONS_FULL);
	return 0;
}

static __always_inline void lose_many(u32 reason, u32 n)
{
	u64 *count = bpf_map_lookup_elem(&losses, &reason);

	if (count)
		__sync_fetch_and_add(count, n);
}

SEC("syscall")
int count_http2(void *unused)
{
	struct control *ctl = controls();
	struct http2_times t = {};
	struct http2_count *c;
	struct flow *flow;
	u32 only = 0;

	c = bpf_map_lookup_elem(&http2_counts, &only);
	/* Another build is in charge: its own reader counts. */
	if (!ctl || !c)
		return 1;
	if (c->unreadable)
		lose_many(LOSS_HTTP2_UNREADABLE, c->unreadable);
	if (!c->key.role)
		return 0;
	t.key = c->key;
	place(&t.key, ctl, (u16)c->client_port);
	flow = flow_of(&t.key);
	if (!flow)
		return 0;
	add(flow, requests, c->requests);
	add(flow, answers_0, c->answers[0]);
	add(flow, answers_1, c->answers[1]);
	add(flow, answers_2, c->answers[2]);
	add(flow, answers_3, c->answers[3]);
	add(flow, answers_4, c->answers[4]);
	add(flow, unanswered, c->unanswered);
	add(flow, grpc_requests, c->grpc_requests);
	add(flow, grpc_ok, c->grpc_ok);
	add(flow, grpc_unavailable, c->grpc_unavailable);
	add(flow, grpc_deadline, c->grpc_deadline);
	add(flow, grpc_other, c->grpc_other);
	add(flow, grpc_unsaid, c->grpc_unsaid);
	t.count = c;
	t.window = ctl->window;
	bpf_loop(c->times, take_one_time, &t, 0);
	return 0;
}

#endif

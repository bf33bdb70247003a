/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What is said over TCP connections: looked at where a segment brings something new. */
#ifndef SEGMENT_BPF_H
#define SEGMENT_BPF_H

/* Before each message over TCP stands its length (RFC 1035, 4.2.2). */
#define DNS_LENGTH 2

/*
 * Sent for the first time, or not yet received. TCP raises `snd_nxt` after it has handed a segment on, and `rcv_nxt` after a segment has passed here. What arrives out of
 * order is new, and again if it is sent twice: seldom, and then its answer or question is counted twice.
 */
static __always_inline bool is_new(const struct bpf_tcp_sock *tp, const struct segment *g, bool sent)
{
	if (sent)
		return (s32)(g->seq - tp->snd_nxt) >= 0;
	return (s32)(g->seq + g->bytes - tp->rcv_nxt) > 0;
}

/*
 * A message that begins with the segment, as programs write them: of several in one segment the first counts. Those that go on from an earlier segment look
 * like anything; an answer must have been asked for, and a question must fill its segment.
 */
static __always_inline void heed_stream(struct __sk_buff *ctx, const struct control *ctl, const struct socket_state *s, const struct bpf_sock *at,
					const struct segment *g, bool sent)
{
	struct flow_key key = s->key, where;
	u8 head[DNS_LENGTH + DNS_HEADER];
	struct flow *flow;
	bool by_client = (key.role == ROLE_CLIENT) == sent;
	u16 client_port, id;
	bool is_answer;

	if (bpf_skb_load_bytes(ctx, g->payload, head, sizeof(head)))
		return;
	is_answer = head[4] & DNS_RESPONSE;
	if (is_answer == by_client || head[4] & DNS_OPCODE)
		return;
	client_port = key.role == ROLE_CLIENT ? at->src_port : bpf_ntohs(at->dst_port);
	id = (u16)head[2] << 8 | head[3];
	if (!is_answer && ((u32)head[0] << 8 | head[1]) + DNS_LENGTH > g->bytes)
		return;
	if (is_answer && !settle_question(ctl, &key, client_port, id))
		return;
	where = key;
	place(&where, ctl, client_port);
	flow = flow_of(&where);
	if (!flow)
		return;
	if (is_answer)
		answer(flow, dns_outcome(head[5] & DNS_CODE));
	else
		ask(flow, &key, client_port, id);
}

/* What is not HTTP/2's, whose heads differ from all of these; true if it is. */
static __always_inline bool is_http2(struct __sk_buff *ctx, const struct control *ctl, struct socket_state *s, struct bpf_sock *at,
				     const struct segment *g, bool by_client)
{
	if (!(ctl->packets & PACKETS_HTTP2))
		return false;
	if (s->http == HTTP2_SPOKEN)
		return true;
	return s->http < HTTP_TRIES && may_begin_http2(ctx, ctl, s, at, g, by_client);
}

static __always_inline void heed_request_or_answer(struct __sk_buff *ctx, const struct control *ctl, struct socket_state *s, struct bpf_sock *at,
						   const struct segment *g, bool sent)
{
	bool by_client = (s->key.role == ROLE_CLIENT) == sent;
	struct bpf_tcp_sock *tp;
	u8 head[HTTP_HEAD];
	struct flow_key key;
	struct flow *flow;
	u32 status = 0;

	if (is_http2(ctx, ctl, s, at, g, by_client)) {
		heed_http2(ctx, ctl, s, at, g, by_client);
		return;
	}
	if (bpf_skb_load_bytes(ctx, g->payload, head, sizeof(head)))
		return;
	if (by_client && !is_request(head)) {
		if (sent && !s->http && head[0] == TLS_HANDSHAKE)
			hear_greeting(ctx, ctl, &s->key, g->payload, g->bytes);
		if (s->http != HTTP_SPOKEN)
			is_no_http(s, head);
		return;
	}
	if (!by_client) {
		status = status_of(head);
		if (!status)
			return;
	}
	if (!(ctl->packets & PACKETS_HTTP))
		return;
	tp = bpf_tcp_sock(at);
	if (!tp || !is_new(tp, g, sent))
		return;
	key_now(&key, ctl, s);
	flow = flow_of(&key);
	if (!flow)
		return;
	if (by_client)
		requested(s, flow);
	else
		responded(ctl, s, flow, &key, status);
}

static __always_inline void look_at_segment(struct __sk_buff *ctx, const struct control *ctl, bool sent)
{
	struct bpf_sock *at = ctx->sk;
	struct bpf_tcp_sock *tp;
	struct socket_state *s;
	struct segment g;
	bool is_dns;

	if (!at || !read_segment(ctx, &g))
		return;
	at = bpf_sk_fullsock(at);
	if (!at)
		return;
	is_dns = of_dns(at->src_port, bpf_ntohs(at->dst_port));
	if (!(ctl->packets & (is_dns ? PACKETS_DNS : PACKETS_HTTP | PACKETS_HTTP2)))
		return;
	s = bpf_sk_storage_get(&socks, at, NULL, 0);
	if (!s || s->http == HTTP_NOT || s->scope_version != ctl->scope_version)
		return;
	/* Connecting still: data goes, so the change to established was left out, and will be made up for. */
	if (s->phase != PHASE_OPEN && s->phase != PHASE_CONNECTING)
		return;
	if (!is_dns) {
		heed_request_or_answer(ctx, ctl, s, at, &g, sent);
		return;
	}
	tp = bpf_tcp_sock(at);
	if (tp && is_new(tp, &g, sent))
		heed_stream(ctx, ctl, s, at, &g, sent);
}

#endif

/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * HTTP/1 (RFC 9112) in clear text: requests and answers where a segment begins with one, as programs write them. Method and status class are all that is read, and only
 * the class is counted. What a connection speaks is guessed from what its client says first; whoever says something else a few times is left alone for good.
 */
#ifndef HTTP_BPF_H
#define HTTP_BPF_H

/* The shortest request and the shortest answer are longer. */
#define HTTP_HEAD 16

/* socket_state.http: up to HTTP_TRIES segments of the client were none of it; then it is known. */
#define HTTP_TRIES 4
#define HTTP_NOT 100
#define HTTP_SPOKEN 101
#define HTTP2_SPOKEN 102 /* see http2.bpf.h */

#define TLS_HANDSHAKE 22

static __always_inline u32 word(const u8 *at)
{
	return (u32)at[0] << 24 | (u32)at[1] << 16 | (u32)at[2] << 8 | at[3];
}

#define WORD(a, b, c, d) ((u32)(a) << 24 | (u32)(b) << 16 | (u32)(c) << 8 | (u32)(d))

/* A path, an asterisk or a whole address follows the method (RFC 9112, 3.2). */
static __always_inline bool is_target(u8 first)
{
	return first == '/' || first == '*' || first == 'h' || first == 'H';
}

static __always_inline bool is_request(const u8 *head)
{
	switch (word(head)) {
	case WORD('G', 'E', 'T', ' '):
	case WORD('P', 'U', 'T', ' '):
		return is_target(head[4]);
	case WORD('P', 'O', 'S', 'T'):
	case WORD('H', 'E', 'A', 'D'):
		return head[4] == ' ' && is_target(head[5]);
	case WORD('P', 'A', 'T', 'C'):
	case WORD('T', 'R', 'A', 'C'):
		return head[5] == ' ' && is_target(head[6]);
	case WORD('D', 'E', 'L', 'E'):
		return head[6] == ' ' && is_target(head[7]);
	case WORD('O', 'P', 'T', 'I'):
		return head[7] == ' ' && is_target(head[8]);
	case WORD('C', 'O', 'N', 'N'):
		return head[7] == ' ';
	}
	return false;
}

static __always_inline bool is_digit(u8 c)
{
	return c >= '0' && c <= '9';
}

/* The status of an answer; 0 if it is none. */
static __always_inline u32 status_of(const u8 *head)
{
	bool is_answer = word(head) == WORD('H', 'T', 'T', 'P') && head[4] == '/' && head[5] == '1' && head[8] == ' ';

	if (!is_answer || !is_digit(head[9]) || !is_digit(head[10]) || !is_digit(head[11]))
		return 0;
	return (head[9] - '0') * 100 + (head[10] - '0') * 10 + (head[11] - '0');
}

static __always_inline void requested(struct socket_state *s, struct flow *flow)
{
	u64 asked_ns = bpf_ktime_get_ns();

	s->http = HTTP_SPOKEN;
	add(flow, requests, 1);
	/* Of several that wait it is not known which is answered when. */
	if (__sync_fetch_and_add(&s->waiting, 1))
		asked_ns = 0;
	s->asked_ns = asked_ns;
}

static __always_inline void responded(const struct control *ctl, struct socket_state *s, struct flow *flow, const struct flow_key *key, u32 status)
{
	u64 asked_ns = s->asked_ns;

	/* 100 and its like come before the answer; after 101 something else is spoken. */
	if (status < 200 && status != 101)
		return;
	s->http = status == 101 ? HTTP_NOT : HTTP_SPOKEN;
	answer(flow, status >= 200 && status < 600 ? status / 100 - 2 : OUTCOMES - 1);
	s->asked_ns = 0;
	if (!s->waiting)
		return; /* asked before the probe was there */
	__sync_fetch_and_add(&s->waiting, -1);
	if (asked_ns)
		take_time(ctl, key, asked_ns);
}

static __always_inline void is_no_http(struct socket_state *s, const u8 *head)
{
	if (s->http < HTTP_TRIES && head[0] != TLS_HANDSHAKE)
		s->http++;
	else
		s->http = HTTP_NOT;
}

/* Who hears of a connection's end tells what is still asked. */
static __always_inline void give_up_requests(struct socket_state *s, struct flow *flow)
{
	u32 waiting = s->waiting;

	if (waiting && __sync_val_compare_and_swap(&s->waiting, waiting, 0) == waiting)
		add(flow, unanswered, waiting);
}

#endif

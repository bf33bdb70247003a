/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * HTTP/2 (RFC 9113) in clear text: connections are followed from frame to frame, and the frames that open, answer and end requests are passed on to user
 * space. What they say is packed by what went before, so nobody can read them here. docs/decisions/013 has why, and what it costs.
 */
#ifndef HTTP2_BPF_H
#define HTTP2_BPF_H

#define HTTP2_HEADER 9
#define HTTP2_PREFACE 24

#define HTTP2_DATA 0
#define HTTP2_HEADERS 1
#define HTTP2_RST_STREAM 3
#define HTTP2_SETTINGS 4
#define HTTP2_PUSH_PROMISE 5
#define HTTP2_PING 6
#define HTTP2_WINDOW_UPDATE 8
#define HTTP2_CONTINUATION 9
/* Kinds above are extensions; who sends many is not speaking HTTP/2. */
#define HTTP2_KINDS 0x20

#define HTTP2_END_STREAM 1

/* Frames and pieces of a segment that are looked at: 64 KiB in frames of 64 bytes. Some 40 ns each. */
#define HTTP2_TURNS 1024

/* Of a segment after a hole so many pieces are passed on: 64 KiB. */
#define HTTP2_WHOLE_MAX 64

/* Records have room for so much, whichever suffices: nearly all frames with requests and answers are below 64 bytes once a connection has begun. */
#define HTTP2_SMALL 64
#define HTTP2_MIDDLE 256
#define HTTP2_LARGE 1024

/*
 * The reader is woken whenever so much more waits, and looks by itself now and then. To be woken costs it little, but the segment that does it some
 * microseconds: the processor interrupts itself.
 */
#define HTTP2_WAKE_BYTES (HTTP2_RING_BYTES / 16)

/* A segment of a direction, on the way through its frames. */
struct http2_walk {
	struct __sk_buff *ctx;
	const struct socket_state *s;
	const struct http2_talk *talk;
	struct http2_direction *said;
	u64 at_ns;
	u32 seq;
	u32 payload;
	u32 bytes;
	u32 by_client;
	u32 what;
	/* enum loss; 0: none of these */
	u32 fault;
};

/* For a record of this size, which has its place already. */
static __always_inline u64 http2_wakeup(u32 bytes)
{
	u64 waits = bpf_ringbuf_query(&http2_records, BPF_RB_AVAIL_DATA);

	return waits / HTTP2_WAKE_BYTES != (waits - bytes) / HTTP2_WAKE_BYTES ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

static __always_inline void describe(struct http2_record *r, const struct socket_state *s, const struct http2_talk *talk, u8 what)
{
	__builtin_memcpy(&r->key, &s->key, sizeof(r->key));
	r->at_ns = 0;
	r->id = talk->id;
	r->reader = talk->reader;
	r->client_port = s->client_port;
	r->bytes = 0;
	r->what = what;
	r->by_client = 0;
	__builtin_memset(r->unused, 0, sizeof(r->unused));
	r->seq = 0;
}

/* A record without frames; false if there is no room. */
static __always_inline bool tell_http2(const struct socket_state *s, const struct http2_talk *talk, u8 what)
{
	struct http2_record *r = bpf_ringbuf_reserve(&http2_records, sizeof(*r), 0);

	if (!r)
		return false;
	describe(r, s, talk, what);
	r->at_ns = bpf_ktime_get_ns();
	bpf_ringbuf_submit(r, http2_wakeup(sizeof(*r)));
	return true;
}

/* That it is neither nothing nor too much, we know, but not the verifier; as one comparison, into which the compiler would turn two, Linux 6.12 cannot read it. */
static __always_inline bool load_piece(struct http2_walk *w, u8 *to, u32 room, u32 at, u64 bytes)
{
	barrier_var(bytes);
	if (bytes > room)
		return false;
	barrier_var(bytes);
	if (bytes == 0)
		return false;
	return !bpf_skb_load_bytes(w->ctx, w->payload + at, to, bytes);
}

/* Passes on a piece of the segment, or a header alone. `room` is a constant. */
static __always_inline bool pass_in(struct http2_walk *w, u32 room, const u8 *header, u32 at, u32 bytes)
{
	struct http2_record *r = bpf_ringbuf_reserve(&http2_records, sizeof(*r) + room, 0);
	u8 *frames;

	if (!r)
		return false;
	describe(r, w->s, w->talk, w->what);
	r->seq = w->seq + at;
	r->at_ns = w->at_ns;
	r->by_client = w->by_client;
	r->bytes = bytes;
	frames = (u8 *)(r + 1);
	if (header) {
		__builtin_memcpy(frames, header, HTTP2_HEADER);
	} else if (!load_piece(w, frames, room, at, bytes)) {
		bpf_ringbuf_discard(r, BPF_RB_NO_WAKEUP);
		return false;
	}
	/* A hole is short, if whoever has to say where it ends hears of it at once. */
	if (w->what == HTTP2_WHOLE && at + bytes >= w->bytes)
		bpf_ringbuf_submit(r, BPF_RB_FORCE_WAKEUP);
	else
		bpf_ringbuf_submit(r, http2_wakeup(sizeof(*r) + room));
	return true;
}

/* 1 if there was no room, which ends the walk. */
static __always_inline long passed_on(struct http2_walk *w, bool passed)
{
	if (!passed)
		w->fault = LOSS_HTTP2_RING_FULL;
	return !passed;
}

static __always_inline long pass_header(struct http2_walk *w, const u8 *header)
{
	return passed_on(w, pass_in(w, HTTP2_SMALL, header, 0, HTTP2_HEADER));
}

static __always_inline long pass_on(struct http2_walk *w, u32 at, u32 bytes)
{
	if (bytes <= HTTP2_SMALL)
		return passed_on(w, pass_in(w, HTTP2_SMALL, NULL, at, bytes));
	if (bytes <= HTTP2_MIDDLE)
		return passed_on(w, pass_in(w, HTTP2_MIDDLE, NULL, at, bytes));
	return passed_on(w, pass_in(w, HTTP2_LARGE, NULL, at, bytes));
}

static __always_inline u32 http2_length(const u8 *header)
{
	return (u32)header[0] << 16 | (u32)header[1] << 8 | header[2];
}

/* Frames whose whole payload matters: blocks of fields, and resets. */
static __always_inline bool is_read(u8 kind)
{
	return kind == HTTP2_HEADERS || kind == HTTP2_CONTINUATION || kind == HTTP2_PUSH_PROMISE || kind == HTTP2_RST_STREAM;
}

/* At a whole header, which ends at `after` in the segment. What is read is passed on; of a stream's last data a frame without any. */
static __always_inline long begin_frame(struct http2_walk *w, u8 *header, u32 after, bool collected)
{
	struct http2_direction *said = w->said;
	u32 length = http2_length(header);
	u32 left = w->bytes - after;
	u32 here = 0;

	if (header[3] >= HTTP2_KINDS) {
		w->fault = LOSS_HTTP2_UNREADABLE;
		return 1;
	}
	if (!is_read(header[3])) {
		said->next = w->seq + after + length;
		if (header[3] != HTTP2_DATA || !(header[4] & HTTP2_END_STREAM) || w->by_client)
			return 0;
		header[0] = header[1] = header[2] = 0;
		return pass_header(w, header);
	}
	if (collected) {
		said->missing = length;
		return pass_header(w, header);
	}
	here = length < left ? length : left;
	here = here < HTTP2_LARGE - HTTP2_HEADER ? here : HTTP2_LARGE - HTTP2_HEADER;
	said->missing = length - here;
	said->next = w->seq + after + here;
	return pass_on(w, after - HTTP2_HEADER, HTTP2_HEADER + here);
}

/* A header that began in another segment, byte by byte: few do. */
static __always_inline long collect_header(struct http2_walk *w, u32 at)
{
	struct http2_direction *said = w->said;
	u32 have = said->have;
	u8 c;

	if (bpf_skb_load_bytes(w->ctx, w->payload + at, &c, sizeof(c)))
		return 1;
	said->header[have & 15] = c;
	said->next++;
	if (have + 1 < HTTP2_HEADER) {
		said->have = have + 1;
		return 0;
	}
	said->have = 0;
	return begin_frame(w, said->header, at + 1, true);
}

/* One frame, or one piece; 1 ends the walk. */
static long walk_on(u32 turn, void *context)
{
	struct http2_walk *w = context;
	struct http2_direction *said = w->said;
	u32 at = said->next - w->seq;
	u8 header[HTTP2_HEADER];
	u32 left, missing;

	if (at >= w->bytes)
		return 1;
	left = w->bytes - at;
	missing = said->missing;
	if (missing) {
		missing = missing < left ? missing : left;
		missing = missing < HTTP2_LARGE ? missing : HTTP2_LARGE;
		said->missing -= missing;
		said->next += missing;
		return pass_on(w, at, missing);
	}
	if (said->have || left < HTTP2_HEADER)
		return collect_header(w, at);
	if (bpf_skb_load_bytes(w->ctx, w->payload + at, header, sizeof(header)))
		return 1;
	return begin_frame(w, header, at + HTTP2_HEADER, false);
}

static __always_inline void give_up_http2(struct socket_state *s, struct http2_talk *talk, u32 fault)
{
	s->http = HTTP_NOT;
	if (__sync_lock_test_and_set(&talk->given_up, 1))
		return;
	/* Else it has been counted. */
	if (fault < LOSS_COUNT)
		lose(fault);
	tell_http2(s, talk, HTTP2_GIVEN_UP);
}

/* A server's first frame (RFC 9113, 3.4), which may come before or after the client's preface. */
static __always_inline bool is_greeting(const u8 *header)
{
	return header[3] == HTTP2_SETTINGS && !header[4] && !word(header + 5) && http2_length(header) % 6 == 0 && !header[0];
}

/* A client's frame as it may stand at the start of a segment: what a connection looks like whose beginning nobody saw. */
static __always_inline bool is_midway(const u8 *header, u32 bytes)
{
	u32 length = http2_length(header), stream = word(header + 5);

	switch (header[3]) {
	case HTTP2_DATA:
		return stream & 1 && !(header[4] & ~9) && length <= 16384;
	case HTTP2_HEADERS:
		return stream & 1 && !(header[4] & ~0x2d) && length && length + HTTP2_HEADER <= bytes;
	case HTTP2_WINDOW_UPDATE:
	case HTTP2_RST_STREAM:
		return length == 4 && !header[4];
	case HTTP2_SETTINGS:
		return !stream && length % 6 == 0 && length + HTTP2_HEADER <= bytes && header[4] < 2;
	case HTTP2_PING:
		return length == 8 && !stream && header[4] < 2;
	}
	return false;
}

static __always_inline bool is_preface(const u8 *head)
{
	return word(head) == WORD('P', 'R', 'I', ' ') && word(head + 4) == WORD('*', ' ', 'H', 'T') && word(head + 8) == WORD('T', 'P', '/', '2');
}

/* Of a connection of which nobody knows yet what it speaks. */
static __always_inline bool may_begin_http2(struct __sk_buff *ctx, const struct control *ctl, struct socket_state *s, struct bpf_sock *at,
					    const struct segment *g, bool by_client)
{
	u8 head[HTTP2_HEADER + 3];
	struct http2_talk *talk;

	if (bpf_skb_load_bytes(ctx, g->payload, head, by_client ? sizeof(head) : HTTP2_HEADER))
		return false;
	if (by_client ? !is_preface(head) : !is_greeting(head)) {
		if (by_client && s->key.flags & FLOW_ROLE_INFERRED && is_midway(head, g->bytes)) {
			s->http = HTTP_NOT;
			lose(LOSS_HTTP2_MIDWAY);
		}
		return false;
	}
	talk = bpf_sk_storage_get(&http2_talks, at, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!talk) {
		lose(LOSS_STORAGE);
		s->http = HTTP_NOT;
		return false;
	}
	talk->id = bpf_get_socket_cookie(ctx);
	talk->reader = ctl->http2_reader;
	s->http = HTTP2_SPOKEN;
	return true;
}

/* The first that a side says; false if it is no beginning of HTTP/2. */
static __always_inline bool begin_direction(struct __sk_buff *ctx, struct socket_state *s, struct http2_talk *talk, struct http2_direction *said,
					    const struct segment *g, bool by_client)
{
	u8 head[HTTP2_HEADER + 3] = {};

	if (bpf_skb_load_bytes(ctx, g->payload, head, by_client ? sizeof(head) : HTTP2_HEADER))
		return false;
	if (by_client ? !is_preface(head) : !is_greeting(head))
		return false;
	said->next = g->seq + (by_client ? HTTP2_PREFACE : 0);
	said->started = 1;
	if (by_client && !tell_http2(s, talk, HTTP2_BEGINS))
		give_up_http2(s, talk, LOSS_HTTP2_RING_FULL);
	return true;
}

/* Who says something else first speaks something else; if it looks like a frame, its beginning went by. */
static __always_inline void no_http2(struct __sk_buff *ctx, struct socket_state *s, struct http2_talk *talk, const struct segment *g)
{
	u8 head[HTTP2_HEADER] = {};

	if (!bpf_skb_load_bytes(ctx, g->payload, head, sizeof(head)) && is_midway(head, g->bytes))
		give_up_http2(s, talk, LOSS_HTTP2_MIDWAY);
	s->http = HTTP_NOT;
}

/* Tells where the hole begins, with the start of a header that lies before it. */
static __always_inline bool tell_hole(struct http2_walk *w)
{
	struct http2_record *r = bpf_ringbuf_reserve(&http2_records, sizeof(*r) + HTTP2_SMALL, 0);
	struct http2_direction *said = w->said;

	if (!r)
		return false;
	describe(r, w->s, w->talk, HTTP2_MISSES);
	r->seq = said->next - said->have;
	r->at_ns = w->at_ns;
	r->by_client = w->by_client;
	r->bytes = said->have;
	__builtin_memcpy(r + 1, said->header, HTTP2_HEADER);
	bpf_ringbuf_submit(r, BPF_RB_FORCE_WAKEUP);
	said->whole = 1;
	said->have = 0;
	said->missing = 0;
	return true;
}

static long pass_whole(u32 nth, void *context)
{
	struct http2_walk *w = context;
	u32 at = nth * HTTP2_LARGE;
	u32 bytes;

	if (at >= w->bytes)
		return 1;
	bytes = w->bytes - at;
	bytes = bytes < HTTP2_LARGE ? bytes : HTTP2_LARGE;
	w->said->wholes++;
	return pass_on(w, at, bytes);
}

/* Whether user space has found where a frame begins, in this segment or after it, and has read all that was passed on for that. */
static __always_inline bool may_resume(struct http2_walk *w)
{
	u64 key = w->talk->id << 1 | w->by_client;
	struct http2_resumption *r = bpf_map_lookup_elem(&http2_resumptions, &key);
	u32 next;

	if (!r)
		return false;
	if (r->wholes == HTTP2_LEAVE) {
		w->fault = LOSS_COUNT;
		return false;
	}
	next = r->next;
	if (r->wholes != w->said->wholes || (s32)(next - w->seq) < 0)
		return false;
	w->said->next = next;
	w->said->whole = 0;
	bpf_map_delete_elem(&http2_resumptions, &key);
	return true;
}

/* Where something was missed; what lies before that is not looked at. */
static __always_inline void pass_segment(struct http2_walk *w)
{
	if ((s32)(w->seq + w->bytes - w->said->next) <= 0)
		return;
	w->what = HTTP2_WHOLE;
	bpf_loop(HTTP2_WHOLE_MAX, pass_whole, w, 0);
	if (!w->fault && w->bytes > HTTP2_WHOLE_MAX * HTTP2_LARGE)
		w->fault = LOSS_HTTP2_GAPPED;
}

static __always_inline void take_segment(struct http2_walk *w)
{
	struct http2_direction *said = w->said;

	if (said->whole && !may_resume(w)) {
		if (!w->fault)
			pass_segment(w);
		return;
	}
	/* Behind what was seen; what lies within a frame that nobody reads is not missed. */
	if ((s32)(said->next - w->seq) < 0) {
		if (tell_hole(w))
			pass_segment(w);
		else
			w->fault = LOSS_HTTP2_RING_FULL;
		return;
	}
	bpf_loop(HTTP2_TURNS, walk_on, w, 0);
	if (!w->fault && (s32)(said->next - w->seq - w->bytes) < 0)
		w->fault = LOSS_HTTP2_UNREADABLE;
}

static __noinline void walk_frames(struct http2_walk *w, struct socket_state *s, struct http2_talk *talk)
{
	struct http2_direction *said = w->said;

	if (__sync_lock_test_and_set(&said->busy, 1)) {
		/* Two segments at the same time: in which order, nobody knows. */
		give_up_http2(s, talk, LOSS_HTTP2_GAPPED);
		return;
	}
	take_segment(w);
	__sync_lock_test_and_set(&said->busy, 0);
	if (w->fault)
		give_up_http2(s, talk, w->fault);
}

static __always_inline void heed_http2(struct __sk_buff *ctx, const struct control *ctl, struct socket_state *s, struct bpf_sock *at,
				       const struct segment *g, bool by_client)
{
	struct http2_walk w = { .ctx = ctx, .s = s, .seq = g->seq, .payload = g->payload, .bytes = g->bytes, .by_client = by_client, .what = HTTP2_SAYS };
	struct http2_talk *talk = bpf_sk_storage_get(&http2_talks, at, NULL, 0);

	if (!talk)
		return;
	if (talk->reader != ctl->http2_reader) {
		give_up_http2(s, talk, LOSS_HTTP2_MIDWAY);
		return;
	}
	w.talk = talk;
	w.said = by_client ? &talk->by_client : &talk->by_server;
	if (!w.said->started && !begin_direction(ctx, s, talk, w.said, g, by_client)) {
		no_http2(ctx, s, talk, g);
		return;
	}
	w.at_ns = bpf_ktime_get_ns();
	walk_frames(&w, s, talk);
}

/* What still waits for its answer gets none. */
static __always_inline void end_http2(const struct control *ctl, struct socket_state *s, const struct tcp_sock *tp)
{
	struct http2_talk *talk;

	if (s->http != HTTP2_SPOKEN)
		return;
	talk = bpf_sk_storage_get(&http2_talks, (void *)tp, NULL, 0);
	if (talk && talk->reader == ctl->http2_reader && !tell_http2(s, talk, HTTP2_ENDS))
		lose(LOSS_HTTP2_RING_FULL);
}

#endif

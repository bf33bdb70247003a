/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the kernel side and user space share. Defined here once; crates/probe mirrors it and checks the mirror against the
 * BTF of the compiled object. No holes, everything zeroed before use: keys are compared byte by byte.
 */
#ifndef EDGESCOPE_H
#define EDGESCOPE_H

/* Raise with every change of a struct below or of a counter's meaning: pinned maps of another layout are replaced. */
#define EDGESCOPE_LAYOUT 10

#define COMM_LEN 16
#define ADDRESS_LEN 16

/* 8 buckets an octave, 1 us and up; the last one holds 126 s and more. See histogram.bpf.h. */
#define HISTOGRAM_BUCKETS 200

enum role {
	ROLE_CLIENT = 1,
	ROLE_SERVER = 2,
};

enum flow_flag {
	/* The socket is older than the probe: its role follows from who listens, not from its handshake. */
	FLOW_ROLE_INFERRED = 1,
	/* The far end is not the address that the socket talks to, and sees another than the socket's own. */
	FLOW_MASKED = 2,
	/* The socket talks to port 53, which its real far end does not serve. */
	FLOW_DNS = 4,
};

/* Addresses are IPv6, IPv4 as ::ffff:a.b.c.d; ports are in host order. */
struct flow_key {
	__u64 cgroup;
	__u32 netns;
	__u16 service_port;
	/* 0 unless the remote address is in the `split` set or new, see nat.bpf.h. With it a flow is one connection. */
	__u16 client_port;
	__u8 local[ADDRESS_LEN];
	__u8 remote[ADDRESS_LEN];
	char comm[COMM_LEN];
	__u8 role;
	__u8 flags;
	/* IPPROTO_TCP or IPPROTO_UDP. */
	__u8 protocol;
	__u8 unused[5];
};

/* Cumulative since the flow was made; only ever grows. */
struct flow {
	__u64 bytes_sent;
	__u64 bytes_received;
	__u64 retrans_bytes;
	__u64 segs_sent;
	__u64 segs_received;
	__u64 retrans_segs;
	__u64 retrans_syn;
	__u64 retrans_synack;
	__u64 rto;
	__u64 spurious;
	__u64 out_of_order;
	__u64 busy_us;
	__u64 blocked_rwnd_us;
	__u64 blocked_sndbuf_us;
	__u64 active_ms;
	__u64 stalled_ms;
	__u64 srtt_us_sum;
	__u64 srtt_samples;
	__u64 response_us;
	__u64 responses;
	__u64 connect_attempts;
	__u64 connect_established;
	__u64 connect_timeout;
	__u64 connect_cancelled;
	__u64 connect_refused;
	__u64 connect_unreachable;
	__u64 connect_reset;
	__u64 accepts;
	__u64 closes;
	__u64 resets_sent;
	__u64 resets_received;
	/* Of resets_sent: those that the kernel gave a reason for (Linux 6.10), and which of them it gave some reasons. */
	__u64 resets_explained;
	__u64 resets_no_listener;
	__u64 resets_aborted;
	__u64 accept_overflow;
	/* Of UDP: datagrams that found their socket's queue full. Its segments are datagrams. */
	__u64 receive_drops;
	/* Packets that this host's kernel dropped, as it has them, in the order of enum drop_class: what the socket sent, and what was on its way to it. */
	__u64 sent_drops_other;
	__u64 sent_drops_policy;
	__u64 sent_drops_queue;
	__u64 sent_drops_invalid;
	__u64 received_drops_other;
	__u64 received_drops_policy;
	__u64 received_drops_queue;
	__u64 received_drops_invalid;
	/* Of protocols that ask and answer. A client sends the requests, a server gets them. */
	__u64 requests;
	/* By outcome. DNS: NOERROR, NXDOMAIN, SERVFAIL, REFUSED, other codes. HTTP: 2xx, 3xx, 4xx, 5xx, other. */
	__u64 answers_0;
	__u64 answers_1;
	__u64 answers_2;
	__u64 answers_3;
	__u64 answers_4;
	/* Requests that got no answer in time; of HTTP, before their connection or stream ended. */
	__u64 unanswered;
	/* Of gRPC, whose requests and answers count among HTTP's: calls, and how they ended. */
	__u64 grpc_requests;
	__u64 grpc_ok;
	__u64 grpc_unavailable;
	__u64 grpc_deadline;
	/* With another status. */
	__u64 grpc_other;
	/* Without a status. */
	__u64 grpc_unsaid;
	/* CLOCK_MONOTONIC. */
	__u64 last_change_ms;
	__u32 last_tgid;
	/* CLOCK_MONOTONIC of its making, low bits, never 0: tells it from one of the same key that was forgotten. 0 for a moment at first. */
	__u32 born_ms;
};

/*
 * max and min carry the window they belong to in their upper half, so that one compare-and-exchange of a larger number
 * is both "a new window" and "a new extreme"; min is kept as its complement for the same reason. Two, by the window's
 * lowest bit: one runs while the other is read.
 */
struct histogram {
	__u64 counts[HISTOGRAM_BUCKETS];
	__u64 max[2];
	__u64 min_inverted[2];
};

/* What is looked for in packets. */
enum packets {
	PACKETS_UDP = 1,
	PACKETS_DNS = 2,
	PACKETS_HTTP = 4,
	PACKETS_HTTP2 = 8,
	/* answers and greetings that name far ends, where DNS and HTTP are looked for */
	PACKETS_NAMES = 16,
};

enum scope_mode {
	SCOPE_ALL = 0,
	SCOPE_NAMESPACES = 1,
	SCOPE_CGROUP = 2,
};

/* What the kernel's reasons for a drop are sorted into; user space does when it loads the programs, since their numbers change between kernels. */
enum drop_class {
	DROP_OTHER = 0, /* of every reason that nobody has sorted */
	DROP_POLICY,	/* someone wants it dropped: a filter, a program, a security rule */
	DROP_QUEUE,	/* no room: a full queue, a full buffer, no memory */
	DROP_INVALID,	/* the packet is broken, or does not belong to its connection */
	DROP_CLASSES,
	/* Nothing is lost by it, or another counter has it. */
	DROP_NO_LOSS = DROP_CLASSES,
	DROP_CLASS_MASK = 7,
	/* Flags beside the class: a listener's own counter of drops has none of these, nor these if the packet is an acknowledgement. */
	DROP_BESIDE_LISTENER = 8,
	DROP_BESIDE_LISTENER_IF_ACK = 16,
};

/* The same for reasons of resets. */
enum reset_class {
	RESET_UNEXPLAINED = 0,
	RESET_NO_LISTENER, /* nobody listens there */
	RESET_ABORTED,	   /* this end gave the connection up: closed with unread data, gave up waiting, ran out of memory */
	RESET_INVALID,	   /* the segment does not belong to its connection, or is too old */
};

/* Reasons have 128 numbers (Linux 6.18), of resets 25; those of modules lie above 65,535 and are not sorted. */
#define DROP_REASONS 256
#define RESET_REASONS 64

struct reason_classes {
	__u8 drops[DROP_REASONS];
	__u8 resets[RESET_REASONS];
};

/* One per probe, written by user space only. */
struct control {
	/* Drawn at random when the maps are made: tells one set of counters from its successor. */
	__u64 epoch;
	__u64 scope_cgroup;
	__u32 layout;
	__u32 scope_mode;
	/* Depth of scope_cgroup below the root. */
	__u32 scope_level;
	/* Counts the passes; the window that runs now. */
	__u32 window;
	/* What the caller of the last pass called its window. */
	__u32 window_label;
	/* Addresses come into `split` and connections into `translations` at any time. */
	__u32 nat;
	/* How many addresses of `split` a server told of. */
	__u32 split_count;
	/* Length of a jiffy. */
	__u32 tick_us;
	/* 0: no round-trip callback, the pass samples the smoothed RTT instead. */
	__u32 rtt_callback;
	/* The first ephemeral port of this host. */
	__u32 ephemeral_from;
	/* Raised with each change of the scope, never 0: a socket that was found in scope under this number is still. */
	__u32 scope_version;
	/* enum packets */
	__u32 packets;
	/* Which build of the programs counts; others that are attached stand still. */
	__u64 programs;
	/* When the pass that runs now, or ran last, was started; CLOCK_MONOTONIC. */
	__u64 pass_us;
	/* `on_drop` is attached: it takes from a listener's drops what was no overflow. */
	__u32 drops;
	/* Who reads what is said by HTTP/2, never 0; each reader only knows connections that began with it. */
	__u32 http2_reader;
};

/* What the iterators did, each since user space last set it to 0. */
struct tally {
	__u64 swept;
	__u64 marked_owners;
	__u64 marked_listeners;
	__u64 marked_sockets;
	__u64 marked_without_rtt;
};

/* Why something was not counted. */
enum loss {
	LOSS_STORAGE = 0,	/* no memory for a socket's record: the socket goes unseen */
	LOSS_FLOWS_FULL,	/* flow kept under the unspecified remote address instead of its own */
	LOSS_OTHERS_FULL,	/* not even that: counters lost */
	LOSS_RTTS_FULL,		/* RTT sample lost */
	LOSS_HANDSHAKES_FULL,	/* handshake time lost */
	LOSS_EXTREME_CONTENDED,	/* window maximum or minimum lost to other CPUs */
	LOSS_OWNER_UNKNOWN,	/* accepted from a listener that the probe has not seen */
	LOSS_DROPS_FULL,	/* drop not counted: too many (namespace, reason) pairs */
	LOSS_DATAGRAMS_FULL,	/* as LOSS_FLOWS_FULL, of UDP */
	LOSS_QUESTIONS_FULL,	/* a question that no time is taken of, nor whether it is answered: too many wait */
	LOSS_DURATIONS_FULL,	/* time to an answer lost */
	LOSS_NAMES_FULL,	/* an answer or greeting not passed on: its names may go unknown */
	/* Connections of HTTP/2 of which nothing more is counted: */
	LOSS_HTTP2_MIDWAY,	/* older than the probe, or than the process that reads for it */
	LOSS_HTTP2_GAPPED,	/* two segments of a direction came at the same time, or more was missed than is kept in mind */
	LOSS_HTTP2_RING_FULL,	/* no room for what they said: the reader is slow, or gone */
	LOSS_HTTP2_UNREADABLE,	/* not in frames, or more of them than are looked at, or too many connections: by the reader's word or the kernel side's */
	LOSS_COUNT,
};

/* Who owns a socket: its cgroup, and the process that opened it or listens for it. */
struct owner {
	__u64 cgroup;
	char comm[COMM_LEN];
	__u32 tgid;
	__u32 unused;
};

struct service_key {
	__u32 netns;
	__u32 port;
};

/* Who listens, or listened last, on a port of a namespace. */
struct service {
	struct owner owner;
	/* Listeners now alive; 0 when all are closed. */
	__u32 listeners;
	__u32 unused;
};

/* A connection or conversation as the socket at one of its ends has it. */
struct connection {
	__u8 client[ADDRESS_LEN];
	__u8 server[ADDRESS_LEN];
	__u16 client_port;
	__u16 server_port;
	/* Of the socket: the same packet may be what a client sent and what a server gets, in a chain of translations. */
	__u8 role;
	__u8 protocol;
	__u8 unused[2];
};

/* The far end that a socket really talks to. */
struct real_end {
	__u8 address[ADDRESS_LEN];
	/* Where the server serves. */
	__u16 service_port;
	/* The far end sees another address than the socket's own. */
	__u8 masked;
	__u8 unused[5];
};

/* Whose sockets look an address of `split` up, in bits: those of clients that talk to it, those of servers that hear from it. */
enum split_for {
	SPLIT_FOR_CLIENTS = 1,
	SPLIT_FOR_SERVERS = 2,
};

enum heard_kind {
	/* A message of DNS, as it reached who asked. */
	HEARD_ANSWER = 1,
	/* The beginning of a TLS connection, as its client sent it. */
	HEARD_GREETING = 2,
};

/* Before what is passed on of a packet. */
struct heard {
	/* The socket's own. */
	struct flow_key flow;
	__u32 kind;
	/* Of the packet's data, beginning with the first; what is behind them in the record means nothing. */
	__u32 bytes;
};

struct drop_key {
	__u32 netns;
	__u32 reason;
};

enum http2_what {
	HTTP2_BEGINS = 1,
	/* The frames that matter, one after the other as they were sent, the last data of a stream without its payload; a frame may come in pieces. */
	HTTP2_SAYS,
	HTTP2_ENDS,
	HTTP2_GIVEN_UP,
	/* A segment was missed at `seq`: what comes from there on is passed on whole, until user space knows again where a frame begins. */
	HTTP2_MISSES,
	/* The stream as it is from `seq` on. */
	HTTP2_WHOLE,
};

/* What user space is told of a connection; `bytes` of frames follow. */
struct http2_record {
	struct flow_key key; /* the socket's own */
	__u64 at_ns;
	/* Of this end of the connection. */
	__u64 id;
	__u32 reader;
	__u16 client_port;
	__u16 bytes;
	__u8 what;
	__u8 by_client;
	__u8 unused[2];
	__u32 seq;
};

/* From user space, of a direction that is passed on whole: it may be walked again. */
struct http2_resumption {
	/* Where a frame begins. */
	__u32 next;
	/* Of how many HTTP2_WHOLE that was found out; HTTP2_LEAVE: nobody cares any more. */
	__u32 wholes;
};
#define HTTP2_LEAVE 0xffffffff

/* What user space found in it, to be added to a flow. */
#define HTTP2_TIMES_MAX 64
struct http2_count {
	struct flow_key key;
	__u32 client_port;
	__u32 requests;
	__u32 answers[5];
	__u32 unanswered;
	__u32 grpc_requests;
	__u32 grpc_ok;
	__u32 grpc_unavailable;
	__u32 grpc_deadline;
	__u32 grpc_other;
	__u32 grpc_unsaid;
	/* Connections that cannot be read. */
	__u32 unreadable;
	__u32 times;
	__u32 times_us[HTTP2_TIMES_MAX];
};

/* What the sweep writes for each listening socket. */
struct listener_record {
	struct owner owner;
	__u32 netns;
	__u32 port;
	__u8 local[ADDRESS_LEN];
};

#endif

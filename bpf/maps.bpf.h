/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The maps, what is kept per socket, and the count of what was lost. */
#ifndef MAPS_BPF_H
#define MAPS_BPF_H

#define SERVICES_MAX 4096 /* 72 B each: a host listens on far fewer ports; the least used entry makes room */
#define OTHERS_MAX 1024	  /* (owner, port) pairs that share the unspecified remote address once `flows` is full */
#define SCOPE_MAX 4096	  /* network namespaces of one scope */
#define SPLIT_MAX 4096	  /* addresses that stand for several ends: shared or virtual ones */
#define TRANSLATIONS_MAX 32768 /* translated connections; user space makes room for new ones */
#define NEWCOMERS_MAX 16384 /* 36 B of key and value each: remote addresses; the least used makes room, and is new again when it returns */
#define DROPS_MAX 4096	  /* (namespace, reason): some 40 namespaces with 100 reasons each */

#define QUESTIONS_MAX 16384 /* 88 B each, when used: 3,000 questions a second that wait for 5 s */

#define NAMES_BYTES (2 << 20) /* 1,800 answers between two looks of user space, a second apart */
#define HTTP2_RESUMPTIONS_MAX 1024 /* directions that had a hole and can be walked again: each for a moment */
#define HTTP2_RING_BYTES (1 << 22) /* 20,000 records of 200 B: 0.1 s of 200,000 frames a second, for a reader that looks every 10 ms and may have to wait for a CPU */

/* The default of `flows` and the histograms; user space sets its own before loading. */
#define FLOWS_MAX 65536
#define DATAGRAMS_MAX 16384

enum phase {
	PHASE_NEW = 0, /* made, not yet filled: at most the owner is known */
	PHASE_LISTENING,
	PHASE_CONNECTING,
	PHASE_OPEN,
	PHASE_CLOSED,  /* after connecting or open: the key still says of whom */
	PHASE_STOPPED, /* after listening */
};

/* A socket's counters as TCP keeps them. */
struct reading {
	u64 bytes_sent;
	u64 bytes_received;
	u64 retrans_bytes;
	u32 segs_sent;
	u32 segs_received;
	u32 retrans_segs;
	u32 spurious;
	u32 out_of_order;
	u32 rto;
	/* jiffies */
	u32 busy;
	u32 blocked_rwnd;
	u32 blocked_sndbuf;
	/* of a listener */
	u32 drops;
};

/* What happened to a socket once and its flow has not been told yet. */
enum untold {
	UNTOLD_ATTEMPT = 1,
	UNTOLD_ESTABLISHED = 2,
	UNTOLD_ACCEPT = 4,
};

/* What a sweep needs of a socket that has been still comes first, in two cache lines. */
struct socket_state {
	struct flow_key key;
	/* Active and stalled time is accounted up to here. */
	u64 gauged_ms;
	u64 flushed_us;
	u32 phase;
	/* 0: not known yet. */
	u32 client_port;
	u32 tgid;
	/* A chronometer of TCP ran at the last flush. */
	u32 running;
	/* Of the scope that the socket was last found in; 0: of none yet. */
	u32 scope_version;
	/* Last error that TCP reported while connecting; the application may have taken it before it closes. */
	u32 connect_error;
	/* What has been added to the flow already. */
	struct reading flushed;
	u64 connect_ns;
	/* The rest waits for the next flush, so that a short connection looks for its flow once. See settle(). */
	u64 rtts_us; /* up to RTTS_KEPT round trips, of RTT_BITS each; 0: none */
	u32 handshake_us;
	u32 untold;
	/* Of HTTP, see http.bpf.h: when the one request that waits passed by, 0 if none waits or several do. */
	u64 asked_ns;
	u32 waiting;
	u32 http;
};

/* Counters per flow. A hash map, since its keys come and go; without preallocation, since most hosts fill a hundredth of it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, FLOWS_MAX);
	__type(key, struct flow_key);
	__type(value, struct flow);
} flows SEC(".maps");

/* Flows of UDP. Apart, since anyone may send from any address: a flood of those must not take the room of TCP's. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, DATAGRAMS_MAX);
	__type(key, struct flow_key);
	__type(value, struct flow);
} datagrams SEC(".maps");

/* Where flows go for which `flows` or `datagrams` has no room, and those whose remote end anyone may forge: remote address unspecified. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, OTHERS_MAX);
	__type(key, struct flow_key);
	__type(value, struct flow);
} others SEC(".maps");

/* Round-trip times per flow; apart from `flows`, since they are six times as large and many flows have none. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, FLOWS_MAX);
	__type(key, struct flow_key);
	__type(value, struct histogram);
} rtts SEC(".maps");

/* Handshake times per flow. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, FLOWS_MAX);
	__type(key, struct flow_key);
	__type(value, struct histogram);
} handshakes SEC(".maps");

/* Times from request to answer per flow: a client's hold the way, a server's do not. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, FLOWS_MAX);
	__type(key, struct flow_key);
	__type(value, struct histogram);
} durations SEC(".maps");

/* A question that waits for its answer. Each end has its own: the role in the flow tells them apart. */
struct question {
	struct flow_key flow; /* the socket's own, whatever it counts under */
	u16 client_port;
	u16 id;
	u32 unused;
};

struct asked {
	u64 at_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, QUESTIONS_MAX);
	__type(key, struct question);
	__type(value, struct asked);
} questions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, NAMES_BYTES);
} names SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct socket_state);
} socks SEC(".maps");

struct http2_direction {
	/* The sequence number of what is looked at next. */
	u32 next;
	/* Of a frame that is passed on, how much is still to come. */
	u32 missing;
	/* A CPU is at it. */
	u32 busy;
	u8 started;
	/* Something was missed: all is passed on, and `next` is where the hole began. */
	u8 whole;
	/* Of a frame's header that came in several segments, how much is there. */
	u8 have;
	u8 unused;
	u8 header[16];
	/* HTTP2_WHOLE of this direction so far. */
	u32 wholes;
};

/* A connection that speaks HTTP/2. Apart, since few do. */
struct http2_talk {
	u64 id;
	u32 reader;
	u32 given_up;
	struct http2_direction by_server;
	struct http2_direction by_client;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct http2_talk);
} http2_talks SEC(".maps");

/* User space makes it a page where HTTP/2 is not wanted. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, HTTP2_RING_BYTES);
} http2_records SEC(".maps");

/* By id of the connection, times two, and whether it is the client that speaks. Written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, HTTP2_RESUMPTIONS_MAX);
	__type(key, u64);
	__type(value, struct http2_resumption);
} http2_resumptions SEC(".maps");

/* What is to be counted next; written by user space only. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct http2_count);
} http2_counts SEC(".maps");

enum first {
	FIRST_UNKNOWN = 0,
	FIRST_SENT,
	FIRST_HEARD,
};

/* Of a UDP socket, all that is not in its packets. */
struct datagram_socket {
	struct owner owner;
	/* Which way its first datagram went: who listens at a port that the kernel chose is a server nevertheless. */
	u32 first;
	u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct datagram_socket);
} datagram_socks SEC(".maps");

/* Least recently used: outlives its listeners, so that resets sent after a crash are still told by service. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SERVICES_MAX);
	__type(key, struct service_key);
	__type(value, struct service);
} services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SCOPE_MAX);
	__type(key, u32);
	__type(value, u32);
} scope SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SPLIT_MAX);
	__type(key, struct in6_addr);
	__type(value, u32);
} split SEC(".maps");

/* What the kernel's connection tracking says of translated connections, as far as user space has heard of it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, TRANSLATIONS_MAX);
	__type(key, struct connection);
	__type(value, struct real_end);
} translations SEC(".maps");

/* The far end of sockets of one role. */
struct newcomer_key {
	u8 address[ADDRESS_LEN];
	u8 role;
	u8 unused[3];
};

/* Since when an address is talked to, and how often a flow was chosen for it since; see nat.bpf.h. */
struct newcomer {
	u64 since_ms;
	u32 chosen;
	u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, NEWCOMERS_MAX);
	__type(key, struct newcomer_key);
	__type(value, struct newcomer);
} newcomers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, DROPS_MAX);
	__type(key, struct drop_key);
	__type(value, u64);
} drops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct control);
} control SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct tally);
} tallies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LOSS_COUNT);
	__type(key, u32);
	__type(value, u64);
} losses SEC(".maps");

static const struct flow no_flow;
static const struct histogram no_histogram;

static __always_inline void lose(u32 reason)
{
	u64 *count = bpf_map_lookup_elem(&losses, &reason);

	if (count)
		__sync_fetch_and_add(count, 1);
}

/* Names this build of the programs; user space sets it before loading. */
const volatile u64 this_build SEC(".rodata.build");

/* What this kernel's reasons mean; user space sets it before loading. All zeros: nothing is known of any. */
const volatile struct reason_classes classes SEC(".rodata.classes");

/*
 * NULL for programs of a build that is not the one in charge: they stand still. While one build replaces another both are
 * attached, and one write to `control` hands over, so that every event has exactly one of them.
 */
static __always_inline struct control *controls(void)
{
	u32 only = 0;
	struct control *ctl = bpf_map_lookup_elem(&control, &only);

	return ctl && ctl->programs == this_build ? ctl : NULL;
}

static __always_inline struct tally *tally(void)
{
	u32 only = 0;

	return bpf_map_lookup_elem(&tallies, &only);
}

static __always_inline u64 now_ms(void)
{
	return bpf_ktime_get_ns() / 1000000;
}

#endif

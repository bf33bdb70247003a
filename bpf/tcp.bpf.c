// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * TCP as the kernel counts it, summed per flow. No program of it runs per packet: sockets are marked at state changes (state), read
 * at each window's end (sweep) and once at close, and give one RTT sample a round trip (rtt). docs/decisions/001 says why
 * the sums are made here. UDP is counted by its packets (udp): docs/decisions/003.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

#include "edgescope.h"
#include "maps.bpf.h"
#include "scope.bpf.h"
#include "flow.bpf.h"
#include "nat.bpf.h"
#include "histogram.bpf.h"
#include "flush.bpf.h"
#include "header.bpf.h"
#include "exchange.bpf.h"
#include "heard.bpf.h"
#include "http.bpf.h"
#include "http2.bpf.h"
#include "http2_count.bpf.h"
#include "state.bpf.h"
#include "sweep.bpf.h"
#include "resets.bpf.h"
#include "rtt.bpf.h"
#include "dns.bpf.h"
#include "udp.bpf.h"
#include "drops.bpf.h"
#include "segment.bpf.h"
#include "packets.bpf.h"
#include "mark.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* No map holds these; named here so that the object's BTF has them, for the check of user space's mirror. */
const struct listener_record *unused_listener_record;
const enum loss *unused_loss;
const struct heard *unused_heard;
const struct http2_record *unused_http2_record;

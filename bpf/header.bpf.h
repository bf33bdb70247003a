/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Headers of a packet as a program at the root of the cgroups gets it: it begins with its IP header. */
#ifndef HEADER_BPF_H
#define HEADER_BPF_H

/* What a program at a cgroup returns to let pass. */
#define PASS 1

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86DD

#define IPV4_HEADER_MIN 20
#define IPV6_HEADER 40
#define TCP_HEADER_MIN 20

/* Linux 6.2 and later; on older ones the programs that need it are refused, the others load. */
extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym __weak;

/* The transport protocol; 0 if it is none. IPv6 extensions are not followed: hardly a packet of a socket has any. */
static __always_inline u8 transport_of(const struct __sk_buff *ctx)
{
	u8 *at = (u8 *)(long)ctx->data;

	if (at + IPV4_HEADER_MIN > (u8 *)(long)ctx->data_end)
		return 0;
	switch (at[0] >> 4) {
	case 4:
		return at[9];
	case 6:
		return at[6];
	}
	return 0;
}

/* What TCP says of a segment with data. */
struct segment {
	u32 seq;
	/* Where the data begins, and how much it is. */
	u32 payload;
	u32 bytes;
};

/* False if there is no data, or the headers are cut short: the kernel itself has them in the packet's first part. */
static __always_inline bool read_segment(const struct __sk_buff *ctx, struct segment *s)
{
	u8 *at = (u8 *)(long)ctx->data;
	u8 *end = (u8 *)(long)ctx->data_end;
	u32 ip = IPV6_HEADER;
	u8 *tcp;

	if (at + IPV4_HEADER_MIN > end)
		return false;
	if (at[0] >> 4 == 4)
		ip = (at[0] & 0xf) * 4;
	tcp = at + ip;
	if (tcp + TCP_HEADER_MIN > end)
		return false;
	s->payload = ip + (tcp[12] >> 4) * 4;
	s->seq = (u32)tcp[4] << 24 | (u32)tcp[5] << 16 | (u32)tcp[6] << 8 | tcp[7];
	s->bytes = ctx->len - s->payload;
	return ctx->len > s->payload;
}

#endif

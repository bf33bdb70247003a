/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* DNS (RFC 1035), by its port: questions and answers, at both ends. Its names are looked at in user space (heard.bpf.h), not here. */
#ifndef DNS_BPF_H
#define DNS_BPF_H

#define DNS_HEADER 12

/* Of the header's flags. */
#define DNS_RESPONSE 0x80 /* in the first byte */
#define DNS_OPCODE 0x78
#define DNS_CODE 0xf /* in the second */

static __always_inline bool of_dns(u16 from_port, u16 to_port)
{
	return from_port == DNS_PORT || to_port == DNS_PORT;
}

/* RFC 1035, 4.1.1: NOERROR 0, SERVFAIL 2, NXDOMAIN 3, REFUSED 5. Codes above 15 need the message's end and count by their lower part. */
static __always_inline u32 dns_outcome(u8 code)
{
	switch (code) {
	case 0:
		return 0;
	case 3:
		return 1;
	case 2:
		return 2;
	case 5:
		return 3;
	}
	return 4;
}

/* A message that begins at `at`. Who is the client asks; what goes the wrong way is none of ours, nor are updates and notifications. */
static __always_inline void heed_message(struct __sk_buff *ctx, const struct control *ctl, struct flow *flow, const struct flow_key *key,
					 u16 client_port, u32 at, bool sent)
{
	u8 header[DNS_HEADER];
	bool by_client = (key->role == ROLE_CLIENT) == sent;
	bool is_answer;
	u16 id;

	if (bpf_skb_load_bytes(ctx, at, header, sizeof(header)) || header[2] & DNS_OPCODE)
		return;
	is_answer = header[2] & DNS_RESPONSE;
	if (is_answer == by_client)
		return;
	id = (u16)header[0] << 8 | header[1];
	if (!is_answer) {
		ask(flow, key, client_port, id);
		return;
	}
	answer(flow, dns_outcome(header[3] & DNS_CODE));
	hear_answer(ctx, ctl, key, at, ctx->len - at);
	settle_question(ctl, key, client_port, id);
}

#endif

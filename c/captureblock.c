/* SPDX-License-Identifier: MIT */
/* captureblock.c - how packets and counts are written down. https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html 4.3, 4.6 */
#include <arpa/inet.h>
#include <string.h>
#include <linux/if_ether.h>
#include "captureblock.h"
#include "packet.h"

#define MENDED 9216 /* bytes: what is longer stands for many packets, and has no checksum of its own */

static void put32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
}

static void put16(uint8_t *p, uint16_t v)
{
	memcpy(p, &v, sizeof(v));
}

static size_t padding(size_t n)
{
	return (4 - n % 4) % 4;
}

uint64_t nslua_captureblock_time(const struct tpacket3_hdr *h)
{
	return (uint64_t)h->tp_sec * 1000000000u + h->tp_nsec;
}

/* Where the checksum of TCP or UDP is left to the device, its field holds the sum of the pseudo header: what stands there is summed up too. */
static void mend(uint8_t *ip, size_t len)
{
	size_t head, size, field;
	uint8_t protocol;
	uint16_t sum;

	if (len >= 20 && ip[0] >> 4 == 4) {
		head = (size_t)(ip[0] & 15) * 4;
		size = (size_t)ip[2] << 8 | ip[3];
		protocol = ip[9];
		if (((ip[6] & 0x3f) | ip[7]) != 0) /* a fragment */
			return;
	} else if (len >= 40 && ip[0] >> 4 == 6) {
		head = 40;
		size = ((size_t)ip[4] << 8 | ip[5]) + 40;
		protocol = ip[6];
	} else {
		return;
	}
	field = protocol == IPPROTO_TCP ? 16 : protocol == IPPROTO_UDP ? 6 : 0;
	if (!field || size > len || size < head + field + 2)
		return;
	sum = nslua_checksum(ip + head, size - head);
	if (!sum && protocol == IPPROTO_UDP)
		sum = 0xffff;
	memcpy(ip + head + field, &sum, sizeof(sum));
}

/* Direction, and how it was addressed. */
static uint32_t flags_of(unsigned int type)
{
	switch (type) {
	case PACKET_OUTGOING:
		return 2;
	case PACKET_HOST:
		return 1 | 1 << 2;
	case PACKET_MULTICAST:
		return 1 | 2 << 2;
	case PACKET_BROADCAST:
		return 1 | 3 << 2;
	case PACKET_OTHERHOST:
		return 1 | 4 << 2;
	default:
		return 0;
	}
}

void nslua_captureblock_read(struct tpacket3_hdr *h, int network, uint32_t snaplen, struct nslua_captureblock *b)
{
	const struct sockaddr_ll *at = (const struct sockaddr_ll *)(const void *)((const uint8_t *)h + TPACKET_ALIGN(sizeof(*h)));
	uint32_t before = h->tp_net > h->tp_mac ? (uint32_t)h->tp_net - h->tp_mac : 0;
	uint32_t skip = network ? before : 0;
	uint32_t have = h->tp_snaplen > skip ? h->tp_snaplen - skip : 0;

	if ((h->tp_status & TP_STATUS_CSUMNOTREADY) && h->tp_len == h->tp_snaplen && h->tp_len <= MENDED && before < h->tp_snaplen)
		mend((uint8_t *)h + h->tp_net, h->tp_snaplen - before);
	b->data = (const uint8_t *)h + h->tp_mac + skip;
	b->when = nslua_captureblock_time(h);
	b->original = h->tp_len > skip ? h->tp_len - skip : 0;
	b->flags = flags_of(at->sll_pkttype);
	b->tagged = (h->tp_status & TP_STATUS_VLAN_VALID) && !network && have >= 14;
	b->tag_type = (h->tp_status & TP_STATUS_VLAN_TPID_VALID) ? h->hv1.tp_vlan_tpid : ETH_P_8021Q;
	b->tag = (uint16_t)h->hv1.tp_vlan_tci;
	if (b->tagged) {
		have += 4;
		b->original += 4;
	}
	b->captured = have < snaplen ? have : snaplen;
	b->tagged = b->tagged && b->captured > 16;
	b->notes_len = 0;
	b->total = 28 + b->captured + (uint32_t)padding(b->captured) + 8 + 4 + 4;
}

void nslua_captureblock_notes(struct nslua_captureblock *b, const uint8_t *notes, size_t len)
{
	b->notes = notes;
	b->notes_len = len;
	b->total += (uint32_t)len;
}

void nslua_captureblock_put(struct nslua_captureout *o, uint32_t interface, const struct nslua_captureblock *b)
{
	uint8_t *p = nslua_captureout_room(o, 28);

	put32(p, 6);
	put32(p + 4, b->total);
	put32(p + 8, interface);
	put32(p + 12, (uint32_t)(b->when >> 32));
	put32(p + 16, (uint32_t)b->when);
	put32(p + 20, b->captured);
	put32(p + 24, b->original);
	if (b->tagged) {
		p = nslua_captureout_room(o, 16);
		memcpy(p, b->data, 12);
		put16(p + 12, htons(b->tag_type));
		put16(p + 14, htons(b->tag));
		nslua_captureout_point(o, b->data + 12, b->captured - 16);
	} else {
		nslua_captureout_point(o, b->data, b->captured);
	}
	p = nslua_captureout_room(o, padding(b->captured) + 8 + b->notes_len + 8);
	memset(p, 0, padding(b->captured));
	p += padding(b->captured);
	put16(p, 2); /* epb_flags */
	put16(p + 2, 4);
	put32(p + 4, b->flags);
	p += 8;
	if (b->notes_len)
		memcpy(p, b->notes, b->notes_len);
	p += b->notes_len;
	put32(p, 0);
	put32(p + 4, b->total);
}

size_t nslua_captureblock_statistics_size(const struct nslua_capture_statistics *s)
{
	return 20 + 4 * 12 + s->notes_len + 8;
}

void nslua_captureblock_statistics(struct nslua_captureout *o, uint32_t interface, const struct nslua_capture_statistics *s)
{
	/* isb_starttime, isb_endtime (their high half first), isb_ifrecv, isb_ifdrop */
	const uint64_t values[] = { s->started >> 32 | s->started << 32, s->now >> 32 | s->now << 32, s->received, s->dropped };
	uint32_t total = (uint32_t)nslua_captureblock_statistics_size(s);
	uint8_t *p = nslua_captureout_room(o, total);

	put32(p, 5);
	put32(p + 4, total);
	put32(p + 8, interface);
	put32(p + 12, (uint32_t)(s->now >> 32));
	put32(p + 16, (uint32_t)s->now);
	p += 20;
	for (uint16_t i = 0; i < 4; i++, p += 12) {
		put16(p, (uint16_t)(i + 2));
		put16(p + 2, 8);
		memcpy(p + 4, &values[i], 8);
	}
	if (s->notes_len)
		memcpy(p, s->notes, s->notes_len);
	p += s->notes_len;
	put32(p, 0);
	put32(p + 4, total);
}

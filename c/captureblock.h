/* SPDX-License-Identifier: MIT */
/* captureblock.h - blocks of pcapng: a packet as the kernel's ring has it, and what was counted at an interface. */
#ifndef NSLUA_CAPTUREBLOCK_H
#define NSLUA_CAPTUREBLOCK_H

#include <linux/if_packet.h>
#include "captureout.h"

struct nslua_captureblock {
	const uint8_t *data;
	uint64_t when; /* nanoseconds of CLOCK_REALTIME */
	uint32_t captured, original, flags, total;
	int tagged; /* the kernel took out a VLAN tag */
	uint16_t tag_type, tag;
	const uint8_t *notes; /* options of comments */
	size_t notes_len;
};

struct nslua_capture_statistics {
	uint64_t started, now, received, dropped;
	const uint8_t *notes;
	size_t notes_len;
};

/* network: it begins with its network header, whatever was before it. */
void nslua_captureblock_read(struct tpacket3_hdr *h, int network, uint32_t snaplen, struct nslua_captureblock *b);
void nslua_captureblock_notes(struct nslua_captureblock *b, const uint8_t *notes, size_t len);
void nslua_captureblock_put(struct nslua_captureout *o, uint32_t interface, const struct nslua_captureblock *b);
size_t nslua_captureblock_statistics_size(const struct nslua_capture_statistics *s);
void nslua_captureblock_statistics(struct nslua_captureout *o, uint32_t interface, const struct nslua_capture_statistics *s);
uint64_t nslua_captureblock_time(const struct tpacket3_hdr *h);

#endif

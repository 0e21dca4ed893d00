/* SPDX-License-Identifier: MIT */
/* frame.c - see frame.h.  What is read is hostile: no offset is believed. */
#include <string.h>
#include <sys/mman.h>
#include "frame.h"
#include "impair.h"

static unsigned int be16(const uint8_t *p)
{
	return (unsigned int)p[0] << 8 | p[1];
}

static uint64_t add(uint64_t h, const uint8_t *p, size_t n)
{
	while (n--)
		h = (h ^ *p++) * UINT64_C(0x100000001b3); /* FNV-1a */
	return h;
}

/* The transport's part: the lower port, or the type of an ICMP message. */
static uint64_t add_transport(uint64_t h, unsigned int protocol, const uint8_t *p, size_t len)
{
	uint8_t word[3] = { (uint8_t)protocol, 0, 0 };

	if ((protocol == 6 || protocol == 17 || protocol == 132 || protocol == 136) && len >= 4) {
		memcpy(word + 1, be16(p) < be16(p + 2) ? p : p + 2, 2);
	} else if ((protocol == 1 || protocol == 58) && len >= 1) {
		word[1] = p[0];
	}
	return add(h, word, sizeof(word));
}

static uint64_t add_ip(uint64_t h, const uint8_t *p, size_t len)
{
	size_t head;

	if (len < 20)
		return h;
	head = (size_t)(p[0] & 15) * 4;
	h = add(h, p + 12, 8);
	if (head > len || head < 20 || (be16(p + 6) & 0x3fff)) /* a fragment: only the first has ports */
		return add_transport(h, p[9], p, 0);
	return add_transport(h, p[9], p + head, len - head);
}

static uint64_t add_ipv6(uint64_t h, const uint8_t *p, size_t len)
{
	unsigned int next;

	if (len < 40)
		return h;
	next = p[6];
	h = add(h, p + 8, 32);
	p += 40;
	len -= 40;
	for (int i = 0; i < 8 && len >= 8; i++) {
		size_t size;

		if (next == 44) {
			return add_transport(h, p[0], p, 0);
		} else if (next == 0 || next == 43 || next == 60) { /* hop by hop, routing, destination options */
			size = ((size_t)p[1] + 1) * 8;
			next = p[0];
			if (size > len)
				return h;
			p += size;
			len -= size;
		} else {
			break;
		}
	}
	return add_transport(h, next, p, len);
}

uint64_t nslua_frame_flow(const uint8_t *frame, size_t len)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	size_t at = 12;

	if (len < 14)
		return nslua_mix64(h);
	while (len >= at + 6 && (be16(frame + at) == 0x8100 || be16(frame + at) == 0x88a8)) {
		h = add(h, frame + at + 2, 2);
		at += 4;
	}
	h = add(h, frame + at, 2);
	if (be16(frame + at) == 0x0800)
		h = add_ip(h, frame + at + 2, len - at - 2);
	else if (be16(frame + at) == 0x86dd)
		h = add_ipv6(h, frame + at + 2, len - at - 2);
	return nslua_mix64(h);
}

/* The Internet checksum over what the sender left to the hardware: the field holds the sum of the pseudo-header. */
static void finish_checksum(const struct virtio_net_hdr *v, uint8_t *frame, size_t len)
{
	size_t start = v->csum_start, field = start + v->csum_offset;
	uint64_t sum = 0;

	if (!(v->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || field + 2 > len)
		return;
	for (size_t i = start; i + 1 < len; i += 2)
		sum += be16(frame + i);
	if ((len - start) & 1)
		sum += (unsigned int)frame[len - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	sum = ~sum & 0xffff;
	if (!sum)
		sum = 0xffff; /* 0 would say that there is none */
	frame[field] = (uint8_t)(sum >> 8);
	frame[field + 1] = (uint8_t)sum;
}

void nslua_frame_finish(uint8_t *data, size_t len)
{
	struct virtio_net_hdr v;

	if (len <= sizeof(v))
		return;
	memcpy(&v, data, sizeof(v));
	/* Of a frame that is to be cut into packets the kernel makes the checksums when it cuts. */
	if (v.gso_type == VIRTIO_NET_HDR_GSO_NONE) {
		finish_checksum(&v, data + sizeof(v), len - sizeof(v));
		memset(data, 0, sizeof(v));
	}
}

void nslua_frame_corrupt(uint8_t *data, size_t len, uint64_t bit)
{
	size_t head = sizeof(struct virtio_net_hdr);

	if (len <= head)
		return;
	nslua_frame_finish(data, len);
	bit %= (len - head) * 8;
	data[head + bit / 8] ^= (uint8_t)(1 << bit % 8);
}

void nslua_frame_shift(uint8_t *data, unsigned int n)
{
	struct virtio_net_hdr v;

	memcpy(&v, data, sizeof(v));
	if (v.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		v.csum_start = (uint16_t)(v.csum_start + n);
	if (v.hdr_len)
		v.hdr_len = (uint16_t)(v.hdr_len + n);
	memcpy(data, &v, sizeof(v));
}

#define SMALL 2048
#define LARGE (sizeof(struct nslua_frame) + NSLUA_FRAME_MAX)
#define CHUNK (256 * 1024)
#define SPARE 64 /* large frames that are kept: their pages were touched */

static void *pages(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void more_small(struct nslua_frames *p)
{
	char *chunk = pages(CHUNK);

	for (size_t at = 0; chunk && at + SMALL <= CHUNK; at += SMALL) {
		struct nslua_frame *f = (struct nslua_frame *)(void *)(chunk + at);

		f->size = SMALL - sizeof(*f);
		f->next = p->small;
		p->small = f;
	}
}

static struct nslua_frame *get_large(struct nslua_frames *p)
{
	struct nslua_frame *f = p->large;

	if (f) {
		p->large = f->next;
		p->spare--;
		return f;
	}
	f = pages(LARGE);
	if (f)
		f->size = NSLUA_FRAME_MAX;
	return f;
}

struct nslua_frame *nslua_frames_get(struct nslua_frames *p, const uint8_t *data, size_t len)
{
	struct nslua_frame *f;

	if (len <= SMALL - sizeof(*f)) {
		if (!p->small)
			more_small(p);
		f = p->small;
		if (f)
			p->small = f->next;
	} else {
		f = len <= NSLUA_FRAME_MAX ? get_large(p) : NULL;
	}
	if (!f)
		return NULL;
	f->len = (uint32_t)len;
	memcpy(f->data, data, len);
	return f;
}

void nslua_frames_put(struct nslua_frames *p, struct nslua_frame *f)
{
	if (f->size < NSLUA_FRAME_MAX) {
		f->next = p->small;
		p->small = f;
	} else if (p->spare < SPARE) {
		f->next = p->large;
		p->large = f;
		p->spare++;
	} else {
		munmap(f, LARGE);
	}
}

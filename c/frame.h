/* SPDX-License-Identifier: MIT */
/* frame.h - Ethernet frames with the header that a TAP device puts before them (IFF_VNET_HDR), and the memory they wait in. */
#ifndef NSLUA_FRAME_H
#define NSLUA_FRAME_H

#include <stddef.h>
#include <stdint.h>
#include <linux/virtio_net.h>

#define NSLUA_VNET sizeof(struct virtio_net_hdr)
/* The largest a device gives: 64 KB of TCP payload and headers. */
#define NSLUA_FRAME_MAX (NSLUA_VNET + 66 * 1024)

/* What belongs together in the count of frames: addresses, protocol, the lower port (the service's), the type of an ICMP message. */
uint64_t nslua_frame_flow(const uint8_t *frame, size_t len);
/* Put in the checksum that the sender left to the hardware; the header says nothing then.  Frames of many packets stay as they are. */
void nslua_frame_finish(uint8_t *data, size_t len);
/* Flip a bit of a frame, header before it; its checksum is real before that, and nobody is told that it was looked at. */
void nslua_frame_corrupt(uint8_t *data, size_t len, uint64_t bit);

/* The header after `n` bytes were put into the frame before its payload. */
void nslua_frame_shift(uint8_t *data, unsigned int n);

struct nslua_frame {
	struct nslua_frame *next; /* in the list of free ones */
	uint32_t size;            /* what fits */
	uint32_t len;
	uint8_t data[];
};

/* Frames to be used again.  Memory is the kernel's own (mmap), not malloc's: see servant.h. */
struct nslua_frames {
	struct nslua_frame *small, *large;
	unsigned int spare; /* large ones */
};

struct nslua_frame *nslua_frames_get(struct nslua_frames *p, const uint8_t *data, size_t len); /* NULL: no memory */
void nslua_frames_put(struct nslua_frames *p, struct nslua_frame *f);

#endif

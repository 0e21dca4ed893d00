/* SPDX-License-Identifier: MIT */
/* captureout.h - the file of a capture: what is gathered for one writev(2), and the files of a ring. */
#ifndef NSLUA_CAPTUREOUT_H
#define NSLUA_CAPTUREOUT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include "capture.h"

#define CAPTUREOUT_PARTS 1000
#define CAPTUREOUT_BUFFER (1 << 20)
#define CAPTUREOUT_SMALL 2048 /* bytes that are cheaper to copy than to point at */

enum nslua_captureout_kind { OUT_FILE, OUT_PIPE, OUT_SOCKET };

struct nslua_captureout {
	int fd, folder;
	enum nslua_captureout_kind kind;
	uint64_t memory;
	uint64_t file_bytes, file_packets, files;
	const char *before, *after;
	uint32_t number;  /* of the file in the ring */
	uint32_t made;    /* files so far */
	uint64_t written, packets; /* of this file, with what is gathered */
	uint32_t gathered; /* packets of the batch */
	uint32_t early, early_lost; /* packets of batches that went out to make room for a head, and of those that did not */
	int failed;       /* errno: it writes nothing more */
	uint8_t *buffer;
	size_t used;
	struct iovec *parts;
	int count;
	size_t total;
	uint8_t *head;    /* what each file begins with */
	size_t head_used, head_size;
	/* Called while the reader takes nothing; 0: give up. */
	int (*stalled)(void *arg);
	void *arg;
};

int nslua_captureout_open(struct nslua_captureout *o, const struct nslua_capture_request *q, int fd);
/* Bytes for the beginning of each file; they go into this one too.  -1: no room. */
int nslua_captureout_head(struct nslua_captureout *o, const void *data, size_t len);
/* Room for `len` bytes that are written next. */
uint8_t *nslua_captureout_room(struct nslua_captureout *o, size_t len);
/* Bytes that stay where they are until the next flush. */
void nslua_captureout_point(struct nslua_captureout *o, const void *data, size_t len);
/* Whether `more` bytes in `parts` parts need a flush first. */
int nslua_captureout_full(const struct nslua_captureout *o, size_t more, int parts);
/* Write what is gathered: how many packets of it were not. */
uint32_t nslua_captureout_flush(struct nslua_captureout *o);
/* Whether the next packet belongs into the next file. */
int nslua_captureout_over(const struct nslua_captureout *o, size_t more);
/* The next file of the ring; nothing is gathered. */
void nslua_captureout_next(struct nslua_captureout *o);
void nslua_captureout_close(struct nslua_captureout *o);

#endif

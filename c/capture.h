/* SPDX-License-Identifier: MIT */
/* capture.h - what the script and the process of a capture say to each other over a socketpair: one request, one answer. */
#ifndef NSLUA_CAPTURE_H
#define NSLUA_CAPTURE_H

#include <stddef.h>
#include <stdint.h>

enum nslua_capture_op {
	CAPTURE_OUTPUT,  /* first: where it is written to, and its limits */
	CAPTURE_BLOCK,   /* a block of pcapng that stands before the packets, in each file */
	CAPTURE_ADD,     /* a packet socket; what follows is the block that describes its interface */
	CAPTURE_COMMENT, /* on the first packet from now on */
	CAPTURE_SYNC,    /* write what has been seen so far */
	CAPTURE_COUNTERS,
	CAPTURE_INTERFACE, /* of one interface: `number` */
	CAPTURE_STOP,
};

#define NSLUA_CAPTURE_PAYLOAD 65536 /* bytes that follow a request, at the most */

struct nslua_capture_request {
	enum nslua_capture_op op;
	uint32_t number;
	/* CAPTURE_OUTPUT.  With it come the fd of the file (of the folder, where there are `files`) and an eventfd. */
	uint32_t snaplen;
	uint64_t count;        /* end after so many packets; 0: never */
	uint64_t memory;       /* at the most so many bytes that nobody has read; 0: no limit */
	uint64_t file_bytes, file_packets; /* then the next file; 0: no limit */
	uint32_t files;        /* 0: one, that is open already */
	char before[256], after[64]; /* of the file's name, around its number */
	/* CAPTURE_ADD */
	uint32_t ifindex, block_size, blocks, network; /* network: packets begin with their network header */
	/* CAPTURE_OUTPUT */
	uint32_t hold; /* milliseconds: packets of several interfaces wait so long for each other, so that they are written in order */
	uint64_t now;  /* CAPTURE_COMMENT: nanoseconds of CLOCK_REALTIME */
};

struct nslua_capture_counters {
	uint64_t packets, bytes; /* that were written; bytes as they were on the network */
	uint64_t dropped;        /* found no room in the kernel's ring */
	uint64_t unwritten;      /* found no room where they are written to */
};

struct nslua_capture_answer {
	int en; /* 0: done */
	char step[32];
	struct nslua_capture_counters counters;
	uint32_t interfaces, files;
	int done;  /* it has ended: by its count, or by `failed` */
	int failed; /* errno of writing */
};

/* The process: a servant's main. */
void nslua_captureloop(int sock, int host);

#endif

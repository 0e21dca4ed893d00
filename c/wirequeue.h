/* SPDX-License-Identifier: MIT */
/* wirequeue.h - what is on its way: frames of every wire, by the time they are due; those of the same time in the order they came. */
#ifndef NSLUA_WIREQUEUE_H
#define NSLUA_WIREQUEUE_H

#include <stddef.h>
#include <stdint.h>
#include "frame.h"

struct nslua_waiting {
	uint64_t due; /* nanoseconds of CLOCK_MONOTONIC */
	uint64_t number;
	uint64_t ready; /* through the delay: from then on it waits for its turn */
	struct nslua_frame *frame;
	void *owner;
};

struct nslua_wirequeue {
	struct nslua_waiting *heap; /* the first one is due first */
	size_t n, room;
	uint64_t number;
};

int nslua_wirequeue_add(struct nslua_wirequeue *q, uint64_t due, uint64_t ready, struct nslua_frame *frame, void *owner); /* -1: no memory */
struct nslua_waiting nslua_wirequeue_take(struct nslua_wirequeue *q);
/* Take out all of an owner: each is given to drop(). */
void nslua_wirequeue_purge(struct nslua_wirequeue *q, const void *owner, void (*drop)(void *arg, struct nslua_frame *frame), void *arg);
/* Let an owner's be due at other times: due() is asked for each, in the order they were due. */
void nslua_wirequeue_retime(struct nslua_wirequeue *q, const void *owner, uint64_t (*due)(void *arg, const struct nslua_waiting *w), void *arg);

#endif

/* SPDX-License-Identifier: MIT */
/* wire.h - what the script and the process of the wires say to each other over a socketpair: one request, one answer. */
#ifndef NSLUA_WIRE_H
#define NSLUA_WIRE_H

#include "impair.h"

enum nslua_wire_op { WIRE_ADD, WIRE_CHANGE, WIRE_CARRIER, WIRE_REMOVE, WIRE_COUNTERS,
	WIRE_AT, WIRE_UNSCHEDULE, WIRE_KEEP /* outlive the script */ };

/* Of one direction.  taken + duplicated = sent + lost + limited + down + queued. */
struct nslua_wire_counters {
	uint64_t taken;      /* frames that came from the end */
	uint64_t sent, bytes; /* that the other end got */
	uint64_t lost, duplicated, reordered, corrupted; /* by chance */
	uint64_t limited;    /* found the queue full */
	uint64_t down;       /* met a wire, or an interface, that was down */
	uint64_t queued, queued_bytes; /* are on their way now */
};

struct nslua_wire_request {
	enum nslua_wire_op op;
	uint32_t seq; /* the answer has it too: who was killed before it came left his behind */
	uint32_t id;
	int up;      /* WIRE_CARRIER, WIRE_AT */
	int plug;    /* WIRE_AT: `up` is meant */
	uint64_t due, every; /* WIRE_AT: nanoseconds of CLOCK_MONOTONIC; 0: once */
	uint32_t times;      /* in all; 0: on and on */
	int given[2]; /* WIRE_CHANGE, WIRE_AT: which directions */
	struct nslua_impairment set[2]; /* from the first end to the second, and back; with WIRE_ADD come the fds of the two devices */
};

struct nslua_wire_answer {
	uint32_t seq;
	int en; /* 0: done */
	char step[32];
	struct nslua_wire_counters counters[2];
};

/* The process: a servant's main. */
void nslua_wireloop(int sock, int host);

struct lua_State;
/* Adds its functions to the table on top of the stack. */
void nslua_open_divert(struct lua_State *L);

#endif

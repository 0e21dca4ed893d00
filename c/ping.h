/* SPDX-License-Identifier: MIT */
/* ping.h - the state of many echo requests at once: made and told of in ping.c, sent and received in pingloop.c. */
#ifndef NSLUA_PING_H
#define NSLUA_PING_H

#include <netinet/in.h>
#include <poll.h>
#include "echo.h"

#define PING "nslua.ping"

enum state { WAITING, ANSWERED, LOST, FAILED, RETRIED };

struct request {
	uint32_t target;
	uint32_t next; /* of the same target; its number + 1 */
	uint64_t sent; /* CLOCK_REALTIME, ns */
	double at;     /* CLOCK_MONOTONIC, s */
	double rtt;    /* s, of an answered or failed one */
	uint8_t state, attempt, from_len;
	bool cold;
	uint8_t from[16]; /* who answered, or who said the error */
	uint16_t duplicates;
	int16_t ttl;
	uint32_t bytes;
	struct sock_extended_err error;
};

struct target {
	union {
		struct sockaddr a;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} to;
	uint32_t socket;
	uint32_t left, open; /* requests that are to be sent yet; that wait, or wait to be sent again */
	uint32_t first, last;
	bool warm; /* something has come of it: no neighbour on the way to it is asked for any more */
	double due;
};

struct wire {
	bool v6, raw;
	uint32_t waiting, most; /* requests on the way, and how many the receive buffer has room for */
	uint32_t cold, cold_most; /* those that may wait for a neighbour, and how many its queue has room for */
};

struct ping {
	uint32_t targets, wires, requests, sent; /* counts; of `requests` there is room for */
	uint32_t oldest;                         /* before it none waits */
	uint32_t waiting, window;
	uint32_t queue_first, queued;  /* ring of targets, by the time that they are due */
	uint32_t again_first, again;   /* requests that are sent again, in a list */
	uint32_t finished, told;       /* targets of the list of finished ones */
	uint32_t size, retries, run;
	uint16_t id;
	double interval, timeout;
	double hold, held_since; /* nothing is sent before; since when, 0: not */
	struct target *target;
	struct wire *wire;
	struct request *request;
	uint32_t *queue, *again_list, *finished_list;
	struct pollfd *poll;
	uint8_t *out, *in;
	size_t in_size;
};

/* ping:run of ping.c's methods. */
int ping_run(lua_State *L); /* pingloop.c */

#endif

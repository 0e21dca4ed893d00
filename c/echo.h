/* SPDX-License-Identifier: MIT */
/* echo.h - echo requests of ICMP: how they are written and read (echo.c), and many of them at once (ping.c). */
#ifndef NSLUA_ECHO_H
#define NSLUA_ECHO_H

#include "packet.h"

#define ECHO_HEADER 8
#define ECHO_COOKIE 8 /* the payload begins with whose and which it is, where it is that long */

struct echo {
	uint16_t id, seq;
	bool marked; /* the cookie is there: */
	uint32_t run, number;
	size_t bytes; /* of ICMP, the header included */
};

/* Write a request of `size` bytes of payload; `out` has room for size + ECHO_HEADER. */
void echo_write(uint8_t *out, bool v6, const struct echo *e, size_t size);
/*
 * Read what came as a reply, or (`request`) what an ICMP error sent back of a request.  `header`: an IPv4 header is before it, as raw sockets
 * give it.  `have` bytes are there of the `len` that the packet had.  False where it is something else.
 */
bool echo_read(const uint8_t *p, size_t have, size_t len, bool v6, bool header, bool request, struct echo *e);

/* The functions of ping.c, added to the table on top of the stack. */
void nslua_open_ping(lua_State *L);

#endif

/* SPDX-License-Identifier: MIT */
/* packet.h - what the parts that send and receive packets share: addresses, control messages, checksums. */
#ifndef NSLUA_PACKET_H
#define NSLUA_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h> /* before linux/errqueue.h, which declares with struct timespec */
#include <sys/socket.h>
#include <linux/errqueue.h>
#include "nslua.h"

/* The socket address of an IP address of 4 or 16 bytes; its length, or 0 where there are neither. */
socklen_t nslua_sockaddr(const void *ip, size_t len, uint16_t port, uint32_t scope, struct sockaddr_storage *out);
/* The bytes of the IP address in there; NULL where it is no IP address. */
const uint8_t *nslua_sockaddr_ip(const struct sockaddr_storage *a, size_t *len);
uint16_t nslua_sockaddr_port(const struct sockaddr_storage *a);

/* The Internet checksum, RFC 1071, as it stands in a packet. */
uint16_t nslua_checksum(const void *data, size_t len);

/* CLOCK_REALTIME in nanoseconds: what the kernel's time stamps are of. */
uint64_t nslua_realtime(void);

/* What recvmsg(2) says beside the data. */
struct nslua_control {
	uint64_t time; /* CLOCK_REALTIME, ns; 0: none */
	int ttl;       /* or hop limit; -1: none */
	uint8_t to[16]; /* the address it came to, of `to_len` bytes; 0: not told (pktinfo) */
	size_t to_len;
	uint32_t dev_index; /* the link it came in by; 0: not told */
	bool failed;   /* of the error queue: `error` and who said it are there */
	struct sock_extended_err error;
	struct sockaddr_storage offender; /* family 0: none */
};
#define NSLUA_CONTROL_SPACE 512
void nslua_control_read(struct msghdr *m, struct nslua_control *out);
/* Push { errno=, origin=, type=, code=, info=, from= }. */
void nslua_push_error(lua_State *L, const struct nslua_control *c);

/* Adds its functions to the table on top of the stack. */
void nslua_open_datagram(lua_State *L); /* datagram.c */

#endif

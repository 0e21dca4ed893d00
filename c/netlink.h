/* SPDX-License-Identifier: MIT */
/* netlink.h - a netlink socket and what of it dump.c, batch.c and extack.c share. */
#ifndef NSLUA_NETLINK_H
#define NSLUA_NETLINK_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <linux/netlink.h>
#include "nslua.h"

#define NSLUA_NETLINK "nslua.netlink"
#define NSLUA_DUMP "nslua.dump"
#define NSLUA_ALIKE "nslua.alike"
#define NL_BUFFER 65536 /* the kernel caps a dump's datagram at 32 KiB; other messages may be longer */

struct nslua_netlink {
	int fd;
	pid_t owner;       /* not to be used in a child of fork */
	uint32_t portid;
	uint32_t seq;
	uint32_t stale;    /* sequence of a dump that was left before its end; 0: none */
	int rcvbuf;        /* SO_RCVBUF as the kernel counts it */
	bool member;       /* of a multicast group: then it is for events */
	bool busy;
	uint8_t *buffer;   /* NL_BUFFER bytes */
	size_t have, at;   /* an event datagram not yet handed out */
	int nsid;          /* where it came from, of LISTEN_ALL_NSID; INT_MIN: here */
};

/* A socket usable now: open, ours, not in use by an outer call (a finaliser may run in the middle of one). */
struct nslua_netlink *nslua_netlink_use(lua_State *L, int arg, bool request);
/* Seconds from an optional argument to a deadline of nslua_netlink_recv; negative: none. */
double nslua_netlink_deadline(lua_State *L, int arg);
uint32_t nslua_netlink_seq(struct nslua_netlink *s);
/* 0 or -1/errno. */
int nslua_netlink_send(lua_State *L, struct nslua_netlink *s, const struct iovec *iov, int n);
/* One datagram of the kernel into buf: its length; 0 when the time is over; -1/errno.  A signal's hook runs in it, and may raise. */
ssize_t nslua_netlink_recv(lua_State *L, struct nslua_netlink *s, void *buf, size_t size, double deadline);
/* Read what is left of a dump that was abandoned, or the next one would get EBUSY. */
int nslua_netlink_settle(lua_State *L, struct nslua_netlink *s);
/* Keep a copy of a message for the specs, if they asked for it. */
void nslua_netlink_record(lua_State *L, uint16_t type, const void *payload, size_t n);

/* Step through a datagram; false at its end. */
static inline bool nslua_netlink_next(const uint8_t **p, size_t *left, const struct nlmsghdr **h)
{
	const struct nlmsghdr *m = (const void *)*p;
	size_t step;

	if (*left < sizeof(*m) || m->nlmsg_len < sizeof(*m) || m->nlmsg_len > *left)
		return false;
	step = NLMSG_ALIGN(m->nlmsg_len);
	if (step > *left)
		step = *left;
	*p += step;
	*left -= step;
	*h = m;
	return true;
}

/* A reply to request seq: not an event (sequence 0), not of an earlier request that was given up. */
static inline bool nslua_netlink_ours(const struct nslua_netlink *s, const struct nlmsghdr *h, uint32_t seq)
{
	return h->nlmsg_seq == seq && h->nlmsg_pid == s->portid;
}

/* The negative errno in NLMSG_ERROR or NLMSG_DONE; 0: none. */
int nslua_netlink_error(const struct nlmsghdr *h);
/* Push the extended ack of NLMSG_ERROR or NLMSG_DONE as a table, or nil. */
void nslua_extack_push(lua_State *L, const struct nlmsghdr *h);
/* nil, "netlink: reason", errno, extack */
int nslua_netlink_fail(lua_State *L, const struct nlmsghdr *h);

int nslua_netlink_dump(lua_State *L);  /* dump.c */
int nslua_netlink_list(lua_State *L);
void nslua_dump_init(lua_State *L);
int nslua_netlink_batch(lua_State *L); /* batch.c */
int nslua_netlink_index(lua_State *L); /* device.c */
int nslua_alike_new(lua_State *L);     /* alike.c */
void nslua_alike_init(lua_State *L);
bool nslua_alike_is(lua_State *L, int slot);
/* Payload i, from 0, of what is one; NULL: it has no more. */
const char *nslua_alike_payload(lua_State *L, int slot, size_t i, size_t *len);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * hold.h - what a keeper is asked about the lab it holds: by the script on its socketpair, by other processes on the socket of the lab's name.
 * One request, one answer, on SOCK_SEQPACKET.
 */
#ifndef NSLUA_HOLD_H
#define NSLUA_HOLD_H

#include <stdint.h>
#include <sys/socket.h>

enum nslua_hold_op {
	HOLD_TAKE,  /* the script: hold the fds that come along, behind those that came before */
	HOLD_SERVE, /* the script: the fd that comes along is bound to a name; answer there */
	HOLD_KEEP,  /* the script: outlive it */
	HOLD_GET,   /* another process: give the fds from `first` on, as many as one message takes */
	HOLD_END,   /* another process: end what is kept */
	HOLD_TELL,  /* the script: the fd that comes along takes the place of the first */
};

#define HOLD_MAGIC 0x6e6c6131u
#define HOLD_FDS 250 /* of one message: SCM_MAX_FD is 253, net/scm.h */

struct nslua_hold_request {
	uint32_t magic, op, first;
};

struct nslua_hold_answer {
	uint32_t magic;
	int32_t en;     /* 0: done */
	uint32_t total; /* fds that are held */
	uint32_t kept;  /* it outlives its script */
};

/* Control messages: fds, and the credentials of who sends. */
union nslua_hold_control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(HOLD_FDS * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
};

/* Room for a message's control data, and n fds in it. */
void nslua_hold_attach(struct msghdr *m, union nslua_hold_control *control, const int *fds, int n);
/* The fds of a message that was received, at most HOLD_FDS; how many. */
int nslua_hold_detach(struct msghdr *m, int *fds);

/* What a keeper does once it is up, until its end. */
void nslua_hold(int sock, int host);

#endif

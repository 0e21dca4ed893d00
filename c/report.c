/* SPDX-License-Identifier: MIT */
/*
 * report.c - what a new child tells its maker: over the status socket, or in place where the memory is shared.
 * Called from every step of the child: system calls only, no malloc (child.c says why).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "spawn.h"

static void fill(struct report *r, int type, const char *step, int err, const char *detail, pid_t pid)
{
	memset(r, 0, sizeof(*r));
	r->type = type;
	r->err = err;
	r->pid = pid;
	snprintf(r->step, sizeof(r->step), "%s", step);
	snprintf(r->detail, sizeof(r->detail), "%s", detail ? detail : "");
}

static void send_report(int to, struct report *r, int fd)
{
	struct iovec v = { r, sizeof(*r) };
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		m.msg_control = &control;
		m.msg_controllen = sizeof(control.space);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	while (sendmsg(to, &m, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

/* Tell the maker; fd (or -1) goes along, where there is a socket for it. */
void spawn_say(struct plan *p, int type, const char *step, int err, const char *detail, pid_t pid, int fd)
{
	int to = fd >= 0 && p->gift >= 0 ? p->gift : p->status;
	struct report r;

	if (to < 0) {
		fill(p->report, type, step, err, detail, pid);
		return;
	}
	fill(&r, type, step, err, detail, pid);
	send_report(to, &r, fd);
}

void spawn_die(struct plan *p, const char *step, int err, const char *detail)
{
	spawn_say(p, REPORT_FAIL, step, err, detail, 0, -1);
	spawn_dismiss(&p->writer); /* the younger first: it holds the other's socket too */
	spawn_dismiss(&p->binder);
	if (p->in_place && getpid() == p->parent)
		longjmp(*p->back, 1);
	_exit(127);
}

/* SPDX-License-Identifier: MIT */
/*
 * outside.c - a copy of the child that stays where the child was, for what can only be done from there: writing the maps of its new user
 * namespace, binding its new namespaces onto files.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "idmap.h"
#include "spawn.h"

static int receive(int from, struct report *r)
{
	ssize_t n;

	do
		n = recv(from, r, sizeof(*r), 0);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof(*r);
}

static int bind_files(struct plan *p, pid_t whose, int types, struct report *r)
{
	char from[64];

	for (int i = 0; i < p->npersist; i++) {
		if (!(p->persist[i].type & types))
			continue;
		snprintf(from, sizeof(from), "/proc/%d/ns/%s", (int)whose, p->persist[i].word);
		if (mount(from, p->persist[i].path, NULL, MS_BIND, NULL) < 0) {
			r->err = errno;
			snprintf(r->detail, sizeof(r->detail), "%s", p->persist[i].path);
			if (p->in_place) /* else the maker does, who also sees what fails later */
				spawn_unbind(p);
			return -1;
		}
		p->persist[i].bound = 1;
		if (!p->in_place)
			spawn_say(p, REPORT_BOUND, "persist", 0, NULL, i, -1);
	}
	return 0;
}

/* Of a plan that failed nothing is left. */
void spawn_unbind(struct plan *p)
{
	for (int i = p->npersist - 1; i >= 0; i--)
		if (p->persist[i].bound)
			umount2(p->persist[i].path, MNT_DETACH);
}

/* Leave the copy.  It ends when it is told to, or with this process. */
void spawn_leave(struct plan *p, struct outside *o, const char *step)
{
	struct report r;
	pid_t me = getpid();
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		spawn_die(p, step, errno, NULL);
	o->pid = spawn_fork(0, NULL);
	if (o->pid < 0)
		spawn_die(p, step, errno, NULL);
	if (o->pid) {
		close(pair[1]);
		o->to = pair[0];
		return;
	}
	close(pair[0]);
	while (receive(pair[1], &r)) {
		r.err = 0;
		if (r.type == REPORT_BIND)
			bind_files(p, me, (int)r.pid, &r);
		else if (nslua_idmap_apply(me, p->uid_map, p->gid_map, p->setgroups, r.detail, sizeof(r.detail)) < 0)
			r.err = errno;
		send(pair[1], &r, sizeof(r), MSG_NOSIGNAL);
	}
	_exit(0);
}

/* Have it done; types: of REPORT_BIND.  The plan fails where it fails. */
void spawn_ask(struct plan *p, struct outside *o, int what, int types, const char *step)
{
	struct report r = { .type = what, .pid = types };

	if (send(o->to, &r, sizeof(r), MSG_NOSIGNAL) != (ssize_t)sizeof(r) || !receive(o->to, &r))
		spawn_die(p, step, EPIPE, NULL);
	if (r.err)
		spawn_die(p, step, r.err, r.detail);
}

/* The copy goes and is waited for: nobody else would, where this process is pid 1 or goes on. */
void spawn_dismiss(struct outside *o)
{
	if (o->pid <= 0)
		return;
	close(o->to);
	while (waitpid(o->pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	o->pid = 0;
}

/* SPDX-License-Identifier: MIT */
/* enter.c - a new child joins namespaces and makes new ones.  See child.c for what may be called here. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "namespace.h"
#include "spawn.h"

static void die(struct plan *p, const char *step)
{
	spawn_die(p, step, errno, NULL);
}

static const struct {
	int type;
	const char *join, *unshare;
} names[] = {
	{ CLONE_NEWNET, "join net", "unshare net" },       { CLONE_NEWNS, "join mount", "unshare mount" },
	{ CLONE_NEWPID, "join pid", "unshare pid" },       { CLONE_NEWUTS, "join uts", "unshare uts" },
	{ CLONE_NEWIPC, "join ipc", "unshare ipc" },       { CLONE_NEWCGROUP, "join cgroup", "unshare cgroup" },
	{ CLONE_NEWTIME, "join time", "unshare time" },    { CLONE_NEWUSER, "join user", "unshare user" },
};

static const char *step_name(int type, int joining)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].type == type)
			return joining ? names[i].join : names[i].unshare;
	return joining ? "join" : "unshare";
}

/* In a user namespace just joined: its root, where it has one.  Else what is made next belongs to the overflow ids. */
static void become_root(struct plan *p)
{
	if (spawn_set_groups(0, NULL) < 0 && errno != EPERM) /* setgroups = deny */
		die(p, "join user: setgroups");
	if (spawn_set_gid(0) < 0 && errno != EINVAL)
		die(p, "join user: setgid");
	if (spawn_set_uid(0) < 0 && errno != EINVAL)
		die(p, "join user: setuid");
}

/*
 * Owners may be mixed: what our rights reach is joined before the user namespace, what they do not, after it.
 * The mount namespace is last, for paths.
 */
void spawn_join(struct plan *p)
{
	int user = -1, done[PLAN_JOINS] = { 0 };

	for (int i = 0; i < p->njoin; i++)
		if (p->join[i].type == CLONE_NEWUSER)
			user = i;
	for (int pass = user >= 0 ? 1 : 2; pass <= 2; pass++) {
		for (int mount = 0; mount <= 1; mount++) {
			for (int i = 0; i < p->njoin; i++) {
				struct plan_join *j = &p->join[i];

				if (i == user || done[i] || (j->type == CLONE_NEWNS) != mount)
					continue;
				if (setns(j->fd, j->type) == 0)
					done[i] = 1;
				else if (pass == 2 || errno != EPERM)
					die(p, step_name(j->type, 1));
			}
		}
		if (pass == 1) {
			/* Where setgroups is denied inside, the caller's groups can be dropped here only. */
			if (!p->keep_ids && spawn_set_groups(0, NULL) < 0 && errno != EPERM)
				die(p, "join user: setgroups");
			if (setns(p->join[user].fd, CLONE_NEWUSER) < 0)
				die(p, "join user");
			if (!p->keep_ids)
				become_root(p);
		}
	}
}

/* The answer of the caller, who writes the maps, or the end of this child. */
static void await_maps(struct plan *p)
{
	struct report answer;
	ssize_t n;

	do
		n = recv(p->status, &answer, sizeof(answer), 0);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(answer))
		_exit(127); /* the caller is gone */
	if (answer.err)
		spawn_die(p, "map users", answer.err, answer.detail);
}

/* Its ids own the new user namespace: whoever makes it. */
static void become_owner(struct plan *p)
{
	if (p->owner_uid < 0)
		return;
	if (spawn_set_groups(0, NULL) < 0 || spawn_set_gid((gid_t)p->owner_gid) < 0 || spawn_set_uid((uid_t)p->owner_uid) < 0)
		die(p, "owner");
}

/* A new user namespace, alone and first, so that the rest is owned by it. */
static void step_user(struct plan *p)
{
	/* In one that was joined, maps are written from inside of it: the caller is outside.  In place there is no other caller. */
	int apart = p->uid_map && ((p->joined & CLONE_NEWUSER) || p->in_place);

	if (apart)
		spawn_leave(p, &p->writer, "map users");
	become_owner(p);
	if (unshare(CLONE_NEWUSER) < 0)
		die(p, "unshare user");
	if (p->uid_map)
		prctl(PR_SET_DUMPABLE, 1); /* else the files of /proc/PID belong to root */
	if (apart) {
		spawn_ask(p, &p->writer, REPORT_MAP, 0, "map users");
		spawn_dismiss(&p->writer);
	} else if (p->uid_map) {
		spawn_say(p, REPORT_MAP, "map users", 0, NULL, 0, -1);
		await_maps(p);
	}
	if (p->become_gid >= 0 || p->become_uid >= 0)
		if (spawn_set_groups(0, NULL) < 0 && errno != EPERM)
			die(p, "map users: setgroups");
	if (p->become_gid >= 0 && spawn_set_gid((gid_t)p->become_gid) < 0)
		die(p, "map users: setgid");
	if (p->become_uid >= 0 && spawn_set_uid((uid_t)p->become_uid) < 0)
		die(p, "map users: setuid");
}

/* Offsets can be written until the first process is inside: now. */
static void step_time(struct plan *p)
{
	char line[128];
	int n = 0, fd;

	if (!p->noffset)
		return;
	prctl(PR_SET_DUMPABLE, 1);
	fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		die(p, "time");
	for (int i = 0; i < p->noffset; i++)
		n += snprintf(line + n, sizeof(line) - (size_t)n, "%s %lld %ld\n", p->offset[i].clock, p->offset[i].sec,
			      p->offset[i].nsec);
	if (write(fd, line, (size_t)n) < 0)
		die(p, "time");
	close(fd);
}

static void step_lo(struct plan *p)
{
	int fd;

	if (!p->lo)
		return;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || nslua_lo_up(fd) < 0)
		die(p, "lo");
	close(fd);
}

void spawn_unshare(struct plan *p)
{
	int rest = p->unshare & ~CLONE_NEWUSER;

	if (p->unshare & CLONE_NEWUSER)
		step_user(p);
	if (rest && unshare(rest) < 0) {
		int err = errno;

		/* One at a time, to name the one that is refused. */
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if ((rest & names[i].type) && unshare(names[i].type) < 0)
				spawn_die(p, names[i].unshare, errno, NULL);
		spawn_die(p, "unshare", err, NULL);
	}
	step_time(p);
	step_lo(p);
}


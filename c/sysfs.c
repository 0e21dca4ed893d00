/* SPDX-License-Identifier: MIT */
/*
 * sysfs.c - a /sys of the network namespace this process has joined, with everything that was mounted below the old
 * one.  A sysfs shows the network namespace of whoever mounts it, so a new one goes over the old one; what hangs
 * below (cgroup, bpf, tracefs ...) is copied first and moved onto it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "mountlist.h"
#include "place.h"

#define CHILDREN 96 /* mounts below /sys, at any depth */

struct line {
	int id, parent;
	char place[256];
	unsigned int flags; /* MOUNT_ATTR_* */
};

/* /proc/self/mountinfo, line by line, from a buffer on the stack.  proc(5) */
struct mountinfo {
	int fd;
	size_t have, at;
	char buf[8192];
};

static int next_text(struct mountinfo *m, char **line)
{
	for (;;) {
		char *end = memchr(m->buf + m->at, '\n', m->have - m->at);
		ssize_t n;

		if (end) {
			*end = 0;
			*line = m->buf + m->at;
			m->at = (size_t)(end - m->buf) + 1;
			return 1;
		}
		memmove(m->buf, m->buf + m->at, m->have - m->at);
		m->have -= m->at;
		m->at = 0;
		if (m->have == sizeof(m->buf)) /* an overlay with very many layers: its line is no child of /sys */
			m->have = 0;
		n = read(m->fd, m->buf + m->have, sizeof(m->buf) - m->have);
		if (n <= 0)
			return 0;
		m->have += (size_t)n;
	}
}

static int number(const char **s)
{
	int n = 0;

	while (**s >= '0' && **s <= '9')
		n = n * 10 + *(*s)++ - '0';
	while (**s == ' ')
		(*s)++;
	return n;
}

/* "\040" is a blank. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && s[1] && s[2] && s[3]) {
			*to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + s[3] - '0');
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = 0;
}

static int next_line(struct mountinfo *m, struct line *l)
{
	static const struct {
		const char *word;
		unsigned int flag;
	} options[] = { { "ro", MOUNT_ATTR_RDONLY },
			{ "nosuid", MOUNT_ATTR_NOSUID },
			{ "nodev", MOUNT_ATTR_NODEV },
			{ "noexec", MOUNT_ATTR_NOEXEC } };
	char *text;
	const char *s;
	size_t len;

	do {
		if (!next_text(m, &text))
			return 0;
		s = text;
		l->id = number(&s);
		l->parent = number(&s);
		for (int skip = 0; skip < 2; skip++) { /* device, root */
			s += strcspn(s, " ");
			s += *s == ' ';
		}
		len = strcspn(s, " ");
	} while (len >= sizeof(l->place));
	memcpy(l->place, s, len);
	l->place[len] = 0;
	unescape(l->place);
	s += len;
	s += *s == ' ';
	l->flags = 0;
	while (*s && *s != ' ') {
		len = strcspn(s, ", ");
		for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
			if (strlen(options[i].word) == len && !strncmp(s, options[i].word, len))
				l->flags |= options[i].flag;
		s += len;
		s += *s == ',';
	}
	return 1;
}

static int open_info(struct mountinfo *m)
{
	m->have = m->at = 0;
	m->fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	return m->fd;
}

static void keep_old(struct plan *p, int err, const char *why)
{
	spawn_say(p, REPORT_NOTE, "sys", err, why, 0, -1);
}

/* A sysfs of this network namespace, not in the tree yet: if the kernel allows none, nothing has been touched. */
static int new_sysfs(unsigned int flags)
{
	int fs = (int)syscall(SYS_fsopen, "sysfs", FSOPEN_CLOEXEC), fd = -1, err;

	if (fs < 0)
		return -1;
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, flags);
	err = errno;
	close(fs);
	errno = err;
	return fd;
}

/* What is mounted on /sys. */
struct sys {
	int there; /* 0: this system has no /sys to be wrong */
	unsigned int flags; /* MOUNT_ATTR_* of the one on top */
	int n;
	struct line below[CHILDREN]; /* on that one, not on each other */
};

/* By the kernel's lists, 6.8: a tenth of the time that the text takes.  -1: not to be had. */
static int ask_kernel(struct sys *s)
{
	union {
		struct nslua_statmount is;
		char room[sizeof(struct nslua_statmount) + sizeof(s->below[0].place)];
	} mount;
	struct nslua_mnt_id_req req = { .size = sizeof(req) };
	uint64_t top, ids[CHILDREN];
	struct statx st;
	long n;

	if (statx(AT_FDCWD, "/sys", AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, NSLUA_STATX_MNT_ID_UNIQUE, &st) < 0 ||
	    !(st.stx_mask & NSLUA_STATX_MNT_ID_UNIQUE))
		return -1;
	s->there = (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
	if (!s->there)
		return 0;
	memcpy(&top, (const char *)&st + offsetof(struct statx, stx_mnt_id), sizeof(top));
	req.mnt_id = top;
	n = syscall(SYS_listmount, &req, ids, (size_t)CHILDREN, 0);
	req.param = NSLUA_STATMOUNT_MNT_BASIC;
	if (n < 0 || n == CHILDREN || syscall(SYS_statmount, &req, &mount, sizeof(mount), 0) < 0)
		return -1;
	s->flags = (unsigned int)mount.is.mnt_attr;
	for (long i = 0; i < n; i++) { /* those on each other, too */
		const char *place;

		req.mnt_id = ids[i];
		req.param = NSLUA_STATMOUNT_MNT_BASIC;
		if (syscall(SYS_statmount, &req, &mount, sizeof(mount), 0) < 0)
			return -1;
		if (mount.is.mnt_parent_id != top)
			continue;
		req.param = NSLUA_STATMOUNT_MNT_POINT; /* costs more */
		if (syscall(SYS_statmount, &req, &mount, sizeof(mount), 0) < 0)
			return -1;
		place = mount.is.str + mount.is.mnt_point;
		if (strncmp(place, "/sys/", 5) != 0)
			return -1;
		memcpy(s->below[s->n++].place, place, strlen(place) + 1);
	}
	return 0;
}

static int read_text(struct sys *s)
{
	struct mountinfo m;
	struct line l;
	int old = -1, seen = 0;

	if (open_info(&m) < 0)
		return -1;
	while (next_line(&m, &l)) {
		if (!strcmp(l.place, "/sys")) { /* of several, the last is on top */
			old = l.id;
			s->flags = l.flags;
		} else if (!strncmp(l.place, "/sys/", 5) && seen < CHILDREN) {
			s->below[seen++] = l;
		}
	}
	close(m.fd);
	s->there = old >= 0;
	for (int i = 0; i < seen; i++)
		if (s->below[i].parent == old)
			s->below[s->n++] = s->below[i];
	return 0;
}

void spawn_sys(struct plan *p)
{
	struct sys s;
	int trees[CHILDREN], n = 0, dir, fresh;

	s.there = s.n = 0;
	if (ask_kernel(&s) < 0) {
		s.n = 0;
		if (read_text(&s) < 0) {
			keep_old(p, errno, "no /proc: the old /sys was kept");
			return;
		}
	}
	if (!s.there)
		return;
	for (int i = 0; i < s.n; i++) { /* each with what is mounted below it in turn */
		trees[n] = place_open_tree(AT_FDCWD, s.below[i].place, AT_RECURSIVE);
		if (trees[n] >= 0)
			s.below[n++] = s.below[i];
	}
	fresh = new_sysfs(s.flags & (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
	if (fresh < 0) {
		/* Parts of the old one are masked (containers do): the kernel shows no new one then. */
		keep_old(p, errno, "no new sysfs may be mounted here: the old /sys was kept");
	} else {
		umount2("/sys", MNT_DETACH | UMOUNT_NOFOLLOW); /* not ours to take away in a user namespace: covered then */
		dir = open("/sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0 || place_move(fresh, dir) < 0)
			spawn_die(p, "sys", errno, "/sys");
		for (int i = 0; i < n; i++) {
			int to = open(s.below[i].place, O_PATH | O_CLOEXEC);

			if (to < 0 || place_move(trees[i], to) < 0)
				keep_old(p, errno, s.below[i].place);
			if (to >= 0)
				close(to);
		}
		close(dir);
		close(fresh);
	}
	for (int i = 0; i < n; i++)
		close(trees[i]);
}

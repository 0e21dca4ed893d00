/* SPDX-License-Identifier: MIT */
/*
 * etc.c - /etc/netns/NAME/X over /etc/X, as ip-netns(8) does.  Where /etc/X is a symlink (resolv.conf of systemd or
 * resolvconf), the symlink itself is covered: its target belongs to a daemon which renames new files over it, and
 * that would tear a mount there away.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "place.h"

struct entry { /* getdents64(2) */
	unsigned long long ino, off;
	unsigned short size;
	unsigned char type;
	char name[];
};

static void cover(struct plan *p, int from, int etc, const char *name)
{
	int tree = (int)syscall(SYS_open_tree, from, name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	int to = openat(etc, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (tree < 0 || to < 0) {
		spawn_say(p, REPORT_NOTE, "etc", errno, name, 0, -1);
	} else if (place_move(tree, to) < 0) {
		int err = errno, target = -1;

		/* A kernel that mounts on no symlink: its target, then. */
		if (fstat(to, &st) == 0 && S_ISLNK(st.st_mode))
			target = openat(etc, name, O_PATH | O_CLOEXEC);
		if (target < 0 || place_move(tree, target) < 0)
			spawn_say(p, REPORT_NOTE, "etc", err, name, 0, -1);
		if (target >= 0)
			close(target);
	}
	if (tree >= 0)
		close(tree);
	if (to >= 0)
		close(to);
}

void spawn_etc(struct plan *p)
{
	char buf[4096] __attribute__((aligned(8)));
	int from = open(p->etc, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int etc = open("/etc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	long n;

	if (from < 0 || etc < 0) {
		spawn_say(p, REPORT_NOTE, "etc", errno, p->etc, 0, -1);
	} else {
		while ((n = syscall(SYS_getdents64, from, buf, sizeof(buf))) > 0) {
			for (long at = 0; at < n;) {
				struct entry *e = (struct entry *)(buf + at);

				at += e->size;
				if (strcmp(e->name, ".") && strcmp(e->name, ".."))
					cover(p, from, etc, e->name);
			}
		}
	}
	if (from >= 0)
		close(from);
	if (etc >= 0)
		close(etc);
}

/* SPDX-License-Identifier: MIT */
/*
 * etc.c - /etc/netns/NAME/X over /etc/X, as ip-netns(8) does, and files whose text a plan brings along.  Where /etc/X is a symlink (resolv.conf of systemd or
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

/* Lay a detached file over the one of that name; takes the tree.  -1: errno says why there is none. */
static void cover(struct plan *p, int tree, int etc, const char *name)
{
	int to = tree < 0 ? -1 : openat(etc, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
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

static int take(int from, const char *name)
{
	return (int)syscall(SYS_open_tree, from, name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
}

static int new_tmpfs(void)
{
	int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC), fd = -1;

	if (fs < 0)
		return -1;
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	close(fs);
	return fd;
}

static int write_file(int dir, const char *name, const char *text, size_t n)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	ssize_t wrote;

	if (fd < 0)
		return -1;
	wrote = write(fd, text, n);
	fchmod(fd, 0644); /* whatever the umask */
	close(fd);
	return wrote == (ssize_t)n ? take(dir, name) : -1;
}

/* They are in a file system of their own, which nothing but what lies over /etc keeps. */
void spawn_files(struct plan *p)
{
	int etc = open("/etc", O_PATH | O_DIRECTORY | O_CLOEXEC), fs = new_tmpfs();

	/* Before Linux 6.15 nothing can be taken of what is mounted nowhere: for a moment it is mounted here. */
	if (etc < 0 || fs < 0 || place_move(fs, etc) < 0) {
		spawn_say(p, REPORT_NOTE, "etc", errno, p->files[0].name, 0, -1);
	} else {
		for (int i = 0; i < p->nfiles; i++)
			p->files[i].tree = write_file(fs, p->files[i].name, p->files[i].text, p->files[i].len);
		umount2("/etc", MNT_DETACH);
		for (int i = 0; i < p->nfiles; i++)
			cover(p, p->files[i].tree, etc, p->files[i].name);
	}
	if (fs >= 0)
		close(fs);
	if (etc >= 0)
		close(etc);
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
					cover(p, take(from, e->name), etc, e->name);
			}
		}
	}
	if (from >= 0)
		close(from);
	if (etc >= 0)
		close(etc);
}

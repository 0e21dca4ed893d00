/* SPDX-License-Identifier: MIT */
/* mountinfo.c - bind mounts of namespaces, in this and in other mount namespaces.  proc_pid_mountinfo(5) */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "census.h"

#ifndef SYS_openat2
#define SYS_openat2 437
#endif

/* linux/openat2.h, since 5.6 */
struct how {
	uint64_t flags, mode, resolve;
};
#define BELOW_ROOT 0x10 /* RESOLVE_IN_ROOT */
#define CACHED 0x20     /* RESOLVE_CACHED, since 5.12 */

/* A whole file of /proc with a NUL behind it, in c->file. */
static char *read_file(struct census *c, int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t n = -1;

	if (fd < 0)
		return NULL;
	while (census_grow(c, (void **)&c->file, &c->file_room, used + 8192, 1)) {
		n = read(fd, c->file + used, c->file_room - used - 1);
		if (n <= 0)
			break;
		used += (size_t)n;
	}
	close(fd);
	if (n < 0)
		return NULL;
	c->file[used] = '\0';
	return c->file;
}

/* A path as mountinfo writes it, in place: "\040" is a blank. */
static size_t unescape(char *path)
{
	char *to = path;

	for (const char *from = path; *from; to++) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] && from[3]) {
			*to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
	return (size_t)(to - path);
}

int census_look_up(int dir, const char *path)
{
	struct how how = { O_PATH | O_CLOEXEC, 0, BELOW_ROOT | CACHED };
	int fd = -1;

	/*
	 * What something is mounted on is in the kernel's cache, and so is all that is above it.  A file system behind which is another's
	 * server is not asked: it may never answer.  EAGAIN is also said where something was mounted meanwhile.
	 */
	for (int i = 0; i < 50; i++) {
		fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	if (fd < 0 && errno == EINVAL) {
		how.resolve = BELOW_ROOT;
		fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
	}
	return fd;
}

int census_reopen(const struct census *c, int at, uint64_t inode)
{
	struct stat st;
	char self[40];
	int fd = -1;

	if (at < 0)
		return -1;
	if (fstat(at, &st) == 0 && st.st_dev == c->nsfs && st.st_ino == inode) {
		snprintf(self, sizeof(self), "/proc/thread-self/fd/%d", at);
		fd = open(self, O_RDONLY | O_CLOEXEC);
	}
	close(at);
	return fd;
}

/*
 * The namespace behind a path below a process's root.  The path is another's: it is looked up in that root, and nothing is opened for
 * reading before it is known to be the namespace meant.
 */
static int open_below(struct census *c, int dir, const char *path, uint64_t inode)
{
	int root = openat(dir, "root", O_PATH | O_DIRECTORY | O_CLOEXEC), at;

	if (root < 0)
		return -1;
	at = census_look_up(root, path);
	close(root);
	return census_reopen(c, at, inode);
}

/* 43 42 0:4 net:[4026532246] /run/netns/blue rw shared:2 - nsfs nsfs rw */
static void line(struct census *c, int dir, char *text, struct census_mount mount)
{
	char *kind = strstr(text, " - nsfs "), *root = text, *path, *end;
	const struct nslua_nstype *type;
	uint64_t inode;
	bool open_it;

	if (!kind)
		return;
	for (int i = 0; i < 3 && root; i++)
		root = strchr(root + 1, ' ');
	if (!root || !(path = strchr(root + 1, ' ')) || !(end = strchr(path + 1, ' ')))
		return;
	root++;
	path++;
	*end = '\0';
	inode = nslua_nsfs_inode(root, &type);
	if (!inode)
		return;
	mount.inode = inode;
	mount.length = unescape(path);
	if (!census_add(c, type, inode, BY_MOUNT, 0, &open_it))
		return;
	census_mounted(c, &mount, path);
	if (open_it) {
		int fd = open_below(c, dir, path, inode);

		if (fd >= 0)
			census_know(c, inode, fd);
	}
}

void census_mountinfo(struct census *c, int dir, uint64_t mntns, uint64_t view, pid_t pid)
{
	struct census_mount mount = { .mntns = mntns, .view = view, .pid = pid };
	struct census_view seen = { view, mntns, pid, 0 };
	char *text = read_file(c, dir, "mountinfo"), *next;

	for (; text && *text; text = next) {
		next = strchr(text, '\n');
		if (next)
			*next++ = '\0';
		line(c, dir, text, mount);
		seen.mounts++;
	}
	if (census_grow(c, (void **)&c->view, &c->view_room, c->views + 1, sizeof(*c->view)))
		c->view[c->views++] = seen;
}

/* SPDX-License-Identifier: MIT */
/* place.c - the view of the file system a plan asks for: propagation, binds, tmpfs, proc, root, directory. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <linux/openat2.h>
#include <unistd.h>
#include "place.h"

static void die(struct plan *p, const char *step, const char *what)
{
	spawn_die(p, step, errno, what);
}

int place_open_tree(int dir, const char *path, unsigned int flags)
{
	return (int)syscall(SYS_open_tree, dir, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags);
}

int place_move(int tree, int to)
{
	return (int)syscall(SYS_move_mount, tree, "", to, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

/* A path of the program's view; under `root` no symlink leads out of it. */
int place_open(int root, const char *path)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	int fd = -1;

	for (int tries = 0; tries < 1000; tries++) { /* EAGAIN: something was renamed or mounted meanwhile, anywhere; ".." is not certain then */
		fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	return fd;
}

/* mount(2) on top of an open directory, without a path to it; the working directory is back afterwards. */
int place_mount_at(int dir, const char *type, unsigned long flags, const char *data)
{
	int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), rc = -1, err;

	if (fchdir(dir) == 0) {
		if (!strcmp(type, "proc")) /* on a shared proc it would appear for everybody */
			mount("none", ".", NULL, MS_PRIVATE | MS_REC, NULL);
		rc = mount(type, ".", type, flags, data);
	}
	err = errno;
	if (here >= 0) {
		if (fchdir(here) < 0 && rc == 0) {
			rc = -1;
			err = errno;
		}
		close(here);
	}
	errno = err;
	return rc;
}

/* Sources of binds are of the caller's view: after a join of a mount namespace they could not be found any more. */
void spawn_take_trees(struct plan *p)
{
	if (!(p->joined & CLONE_NEWNS))
		return;
	for (int i = 0; i < p->nmounts; i++) {
		struct plan_mount *m = &p->mounts[i];

		if (!m->bind)
			continue;
		m->tree = place_open_tree(AT_FDCWD, m->bind, AT_RECURSIVE);
		if (m->tree < 0)
			die(p, "mounts", m->bind);
	}
}

/* The same from the root of the mount namespace: a chroot is no mount point, so nothing of it can be named there. */
static int propagate_all(unsigned long flags)
{
	int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int self = (int)syscall(SYS_pidfd_open, getpid(), 0), rc = -1;

	if (root >= 0 && here >= 0 && self >= 0 && setns(self, CLONE_NEWNS) == 0) /* puts us at that root */
		rc = mount("none", "/", NULL, flags, NULL) < 0 || fchdir(root) < 0 || chroot(".") < 0 || fchdir(here) < 0 ? -1 : 0;
	close(root);
	close(here);
	close(self);
	return rc;
}

/* Before any mount: a new mount namespace starts as a peer of the old one, and what is mounted would appear there. */
void spawn_propagation(struct plan *p)
{
	unsigned long flags = MS_REC | p->propagation;

	if (!p->propagation || mount("none", "/", NULL, flags, NULL) == 0)
		return;
	if (errno != EINVAL || propagate_all(flags) < 0)
		die(p, "propagation", NULL);
}

static int open_root(struct plan *p, const char *step)
{
	int fd = p->root_fd >= 0 ? fcntl(p->root_fd, F_DUPFD_CLOEXEC, 3) : open(p->root ? p->root : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		die(p, step, p->root);
	return fd;
}

void spawn_mounts(struct plan *p)
{
	int root;

	if (!p->nmounts)
		return;
	root = open_root(p, "mounts");
	for (int i = 0; i < p->nmounts; i++) {
		struct plan_mount *m = &p->mounts[i];
		int to = place_open(root, m->to);

		if (to < 0)
			die(p, "mounts", m->to);
		if (!m->bind) {
			if (place_mount_at(to, "tmpfs", MS_NOSUID | MS_NODEV | (m->ro ? MS_RDONLY : 0), m->data) < 0)
				die(p, "mounts", m->to);
			close(to);
			continue;
		}
		if (m->tree < 0)
			m->tree = place_open_tree(AT_FDCWD, m->bind, AT_RECURSIVE);
		if (m->tree < 0)
			die(p, "mounts", m->bind);
		if (m->ro) {
			struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };

			if (syscall(SYS_mount_setattr, m->tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
				die(p, "mounts", m->bind);
		}
		if (place_move(m->tree, to) < 0)
			die(p, "mounts", m->to);
		close(m->tree);
		close(to);
	}
	close(root);
}

/* A proc of the pid namespace this process is in, over the old one: the old one must be visible for it. */
void spawn_proc(struct plan *p)
{
	int root, to;

	if (!p->proc)
		return;
	root = open_root(p, "mount_proc");
	to = place_open(root, p->proc);
	if (to < 0)
		die(p, "mount_proc", p->proc);
	if (place_mount_at(to, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		die(p, "mount_proc", p->proc);
	close(to);
	close(root);
}

/* binfmt_misc of the new user namespace; an interpreter that is opened at once ("F") is looked for outside of the new root. */
void spawn_binfmt(struct plan *p)
{
	struct open_how how = { .flags = O_WRONLY | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	char path[PATH_MAX];
	int root, to, fd;

	if (!p->binfmt)
		return;
	root = open_root(p, "binfmt");
	to = place_open(root, p->binfmt);
	if (to < 0 || place_mount_at(to, "binfmt_misc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		die(p, "binfmt", p->binfmt);
	close(to);
	if (p->binfmt_register) {
		snprintf(path, sizeof(path), "%s/register", p->binfmt);
		fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
		if (fd < 0 || write(fd, p->binfmt_register, strlen(p->binfmt_register)) < 0)
			die(p, "binfmt", p->binfmt_register);
		close(fd);
	}
	close(root);
}

/* In a mount namespace of our own the old root goes away; elsewhere, or where it cannot be left, chroot(2). */
static int pivot(int root)
{
	int tree = place_open_tree(root, "", AT_EMPTY_PATH | AT_RECURSIVE);
	int rc = -1;

	if (tree < 0)
		return -1;
	if (place_move(tree, root) == 0 && fchdir(tree) == 0 && syscall(SYS_pivot_root, ".", ".") == 0)
		rc = umount2(".", MNT_DETACH);
	close(tree);
	return rc;
}

void spawn_root(struct plan *p)
{
	int root;

	if (!p->root && p->root_fd < 0)
		return;
	root = open_root(p, "root");
	if (!(p->unshare & CLONE_NEWNS) || pivot(root) < 0) {
		if (fchdir(root) < 0 || chroot(".") < 0)
			die(p, "root", p->root);
	}
	if (chdir("/") < 0)
		die(p, "root", p->root);
	close(root);
}

/* `moved`: a mount namespace was joined, which put us at its root; the caller's directory is looked for by path. */
void spawn_cwd(struct plan *p, int moved)
{
	char path[PATH_MAX];

	if (p->cwd_fd >= 0) { /* wherever it is: the caller has opened it */
		if (fchdir(p->cwd_fd) < 0)
			die(p, "cwd", NULL);
		return;
	}
	if (p->cwd) {
		if (chdir(p->cwd) < 0)
			die(p, "cwd", p->cwd);
	} else if (moved && !p->root && p->root_fd < 0 && p->here && p->here[0]) {
		if (chdir(p->here) < 0 && chdir("/") < 0)
			die(p, "cwd", "/");
	} else {
		return;
	}
	/* A directory outside of the root is a way out of it: such a path has no leading "/". */
	if (syscall(SYS_getcwd, path, sizeof(path)) > 0 && path[0] != '/')
		spawn_die(p, "cwd", EXDEV, p->cwd ? p->cwd : p->here);
}

/* SPDX-License-Identifier: MIT */
/*
 * kernel.c - namespaces that the kernel itself lists, for the census: listns(2), 6.19; and all mount namespaces with their mounts, 6.12.  An
 * older kernel, or one without the right, says nothing.  nsfs(5), statmount(2), listmount(2)
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "census.h"
#include "mountlist.h"

#ifndef SYS_listns
#define SYS_listns 470
#endif

/* linux/nsfs.h */
struct mnt_ns {
	uint32_t size, mounts;
	uint64_t id;
};
#define MNT_NS_INFO _IOR(0xb7, 10, struct mnt_ns)
#define MNT_NS_NEXT _IOR(0xb7, 11, struct mnt_ns)
#define MNT_NS_PREV _IOR(0xb7, 12, struct mnt_ns)
struct ns_request {
	uint32_t size, spare;
	uint64_t last; /* the id after which the list goes on */
	uint32_t types, spare2;
	uint64_t owner; /* 0: whoever owns them */
};

/* Of another mount namespace: version 1, 6.10. */
struct mount_request {
	struct nslua_mnt_id_req its;
	uint64_t mntns;
};
#define ALL_MOUNTS UINT64_C(0xffffffffffffffff) /* LSMT_ROOT */
struct mount_status {
	struct nslua_statmount its;
	char text[PATH_MAX + 64]; /* str of it */
};

#define INITIAL_USER 0xEFFFFFFDU /* linux/nsfs.h: enum init_ns_ino */
#define INITIAL_PID 0xEFFFFFFCU

static bool own_is(const char *path, uint64_t inode)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_ino == inode;
}

/* Nothing is kept from this thread: the kernel leaves out, without a word, what its rights do not reach. */
static bool all_rights(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	return own_is("/proc/thread-self/ns/user", INITIAL_USER) && own_is("/proc/thread-self/ns/pid", INITIAL_PID) &&
	       syscall(SYS_capget, &header, data) == 0 && data[0].effective & 1U << CAP_SYS_ADMIN;
}

static void known(struct census *c, int flag, int fd)
{
	struct stat st;
	bool open_it = false;

	if (fstat(fd, &st) == 0)
		census_add(c, nslua_nstype(flag), st.st_ino, BY_KERNEL, 0, &open_it);
	if (open_it)
		census_know(c, st.st_ino, fd);
	else
		close(fd);
}

/* What is open somewhere or has a process. */
static void listed(struct census *c)
{
	struct {
		unsigned int bytes;
		int kind;
		uint64_t id;
		uint32_t type, inode;
	} handle = { 16, NSLUA_FILEID_NSFS, 0, 0, 0 };
	struct ns_request request = { sizeof(request), 0, 0, (uint32_t)c->wanted, 0, 0 };
	struct census_set seen = { 0 };
	uint64_t ids[512];
	long n;

	for (size_t i = 0; i < c->count; i++)
		if (c->ns[i].id)
			census_first(c, &seen, c->ns[i].id);
	while ((n = syscall(SYS_listns, &request, ids, sizeof(ids) / sizeof(ids[0]), 0)) > 0) {
		for (long i = 0; i < n; i++) {
			int fd, flag;

			if (census_has(&seen, ids[i]))
				continue;
			handle.id = ids[i];
			fd = (int)syscall(SYS_open_by_handle_at, NSLUA_FD_NSFS_ROOT, &handle, O_RDONLY | O_CLOEXEC);
			flag = fd < 0 ? -1 : nslua_nsfs_type(fd);
			if (flag >= 0 && nslua_nstype(flag))
				known(c, flag, fd);
			else if (fd >= 0)
				close(fd);
		}
		request.last = ids[n - 1];
	}
	c->kernel_listed = n == 0 && all_rights();
	census_set_release(&seen);
}

struct there {
	int mntns, fd;
	const char *path;
};

static int look_there(void *arg)
{
	struct there *t = arg;

	if (setns(t->mntns, CLONE_NEWNS) == 0)
		t->fd = census_look_up(AT_FDCWD, t->path);
	_exit(0);
}

/* What is mounted there, as an O_PATH fd: by a child that shares fds and memory, for this thread stays where it is. */
static int open_there(int mntns, const char *path)
{
	_Alignas(16) char stack[16384];
	struct there t = { mntns, -1, path };
	sigset_t all, old;
	pid_t pid;

	if (!nslua_may_copy())
		return -1;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pid = nslua_vfork(look_there, stack + sizeof(stack), CLONE_FILES, &t, sizeof(t)); /* no exit signal */
	while (pid > 0 && waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return t.fd;
}

/* A process that has another root sees the end of the path only. */
static bool has_mount(const struct census *c, uint64_t inode, uint64_t mntns, const char *path, size_t length)
{
	for (size_t i = 0; i < c->mounts; i++) {
		const struct census_mount *m = c->mount + i;

		if (m->inode == inode && m->mntns == mntns && m->length <= length &&
		    !memcmp(path + length - m->length, c->text + m->path, m->length))
			return true;
	}
	return false;
}

static void bind_mount(struct census *c, int fd, uint64_t mntns, const struct mount_status *s)
{
	const char *path = s->text + s->its.mnt_point;
	struct census_mount mount = { .mntns = mntns, .length = strlen(path) };
	const struct nslua_nstype *type;
	bool open_it;

	mount.inode = nslua_nsfs_inode(s->text + s->its.mnt_root, &type);
	if (!mount.inode || has_mount(c, mount.inode, mntns, path, mount.length) ||
	    !census_add(c, type, mount.inode, BY_MOUNT, 0, &open_it))
		return;
	census_mounted(c, &mount, path);
	if (open_it) {
		fd = census_reopen(c, open_there(fd, path), mount.inode);
		if (fd >= 0)
			census_know(c, mount.inode, fd);
	}
}

/* The bind mounts of namespaces in a mount namespace; false where the kernel does not tell. */
static bool mounts(struct census *c, int fd, uint64_t inode, uint64_t id)
{
	struct mount_request list = { { sizeof(list), 0, ALL_MOUNTS, 0 }, id };
	uint64_t ids[256];
	long n;

	while ((n = syscall(SYS_listmount, &list, ids, sizeof(ids) / sizeof(ids[0]), 0)) > 0) {
		for (long i = 0; i < n; i++) {
			const uint64_t both = NSLUA_STATMOUNT_MNT_ROOT | NSLUA_STATMOUNT_MNT_POINT;
			struct mount_request one = { { sizeof(one), 0, ids[i], NSLUA_STATMOUNT_SB_BASIC }, id };
			struct mount_status s;

			if (syscall(SYS_statmount, &one, &s, sizeof(s), 0) < 0 || s.its.sb_magic != NSLUA_NSFS_MAGIC)
				continue;
			one.its.param = both;
			if (syscall(SYS_statmount, &one, &s, sizeof(s), 0) == 0 && (s.its.mask & both) == both)
				bind_mount(c, fd, inode, &s);
		}
		list.its.param = ids[n - 1];
	}
	return n == 0;
}

/* Whether mountinfo of a process showed all of its mounts: its root may be below that of its mount namespace. */
static bool shown(const struct census *c, uint64_t inode, uint32_t n)
{
	for (size_t i = 0; i < c->views; i++)
		if (c->view[i].mntns == inode && c->view[i].mounts >= n)
			return true;
	return false;
}

/* Those after or before a mount namespace; closes its fd. */
static bool neighbours(struct census *c, int fd, unsigned long request)
{
	struct mnt_ns info = { .size = sizeof(info) };
	bool all = true;
	struct stat st;
	int next;

	for (; (next = ioctl(fd, request, &info)) >= 0; fd = next) {
		close(fd);
		if (fstat(next, &st) == 0 && !shown(c, st.st_ino, info.mounts))
			all &= mounts(c, next, st.st_ino, info.id);
		known(c, CLONE_NEWNS, fcntl(next, F_DUPFD_CLOEXEC, 0));
	}
	all &= errno == ENOENT;
	close(fd);
	return all;
}

void census_kernel(struct census *c)
{
	struct mnt_ns info = { .size = sizeof(info) };
	int own = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC), copy;

	listed(c);
	if (own >= 0 && ioctl(own, MNT_NS_INFO, &info) == 0 && (copy = fcntl(own, F_DUPFD_CLOEXEC, 0)) >= 0) {
		c->kernel_mounts = neighbours(c, own, MNT_NS_PREV);
		c->kernel_mounts &= neighbours(c, copy, MNT_NS_NEXT) && all_rights();
	} else if (own >= 0) {
		close(own);
	}
}

/* SPDX-License-Identifier: MIT */
/* census.h - what the parts of the census share: the namespaces found so far, and how each was found. */
#ifndef NSLUA_CENSUS_H
#define NSLUA_CENSUS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include "namespace.h"

/* What shows a namespace; the first of these counts. */
enum census_how { BY_PROCESS, BY_CHILDREN, BY_THREAD, BY_FD, BY_SOCKET, BY_MOUNT, BY_RELATION, BY_KERNEL, CENSUS_HOWS };

struct census_ns {
	uint64_t inode, id, owner, parent; /* 0: not known */
	const struct nslua_nstype *type;
	uint32_t nprocs;
	pid_t pid;                         /* the lowest; 0: none */
	uid_t user;                        /* of that process, else who made a user namespace */
	bool has_user;
	unsigned int found;                /* bit by census_how */
	pid_t holder;                      /* the lowest process by which it was found; 0: none */
	size_t mount;                      /* 1 + index of its last mount; 0: none */
};

/* A bind mount of a namespace. */
struct census_mount {
	uint64_t inode, mntns, view; /* view: of the mount namespace from one root */
	size_t path, length; /* in census.text */
	size_t before;       /* 1 + index of the namespace's mount before this one */
	pid_t pid;           /* whose mountinfo showed it; 0: this thread's own, or the kernel did */
};

/* What a process sees of a mount namespace from its root, whose mounts were read. */
struct census_view {
	uint64_t key, mntns;
	pid_t pid;
	uint32_t mounts; /* that it saw, of whatever file system */
};

/* A set of numbers, open addressing; 0 is no member. */
struct census_set {
	uint64_t *slot;
	size_t size, used;
};

/* All memory of a census: a userdata owns it, and Lua is not called before the walk has ended. */
struct census {
	int wanted; /* CLONE_NEW* of the types asked for */
	bool fds, sockets;
	bool failed; /* out of memory */
	struct census_ns *ns;
	size_t count, room;
	uint32_t *slot; /* inode -> 1 + index in ns */
	size_t slots;
	struct census_mount *mount;
	size_t mounts, mount_room;
	struct census_view *view;
	size_t views, view_room;
	char *text;
	size_t used, text_room;
	pid_t *pids; /* to be looked at, but for this process */
	size_t pid_count, pid_room;
	char *file; /* a file that is being read */
	size_t file_room;
	struct census_set seen_sockets, seen_cookies, seen_views;
	dev_t nsfs;
	uint64_t own_mntns, own_cookie;
	unsigned int unreadable; /* processes */
	unsigned int walkers;    /* processes that did the walk */
	bool kernel_listed;      /* the kernel listed all namespaces that are open somewhere */
	bool kernel_mounts;      /* it told all mount namespaces, and what is mounted there */
};

/* found.c */
bool census_grow(struct census *c, void **array, size_t *room, size_t want, size_t size);
bool census_has(const struct census_set *set, uint64_t member);
bool census_first(struct census *c, struct census_set *set, uint64_t member); /* adds it; whether it was new */
struct census_ns *census_find(struct census *c, uint64_t inode);
struct census_ns *census_insert(struct census *c, const struct census_ns *ns); /* a new one; NULL where there is no memory */
/*
 * A namespace that was found, of any type; NULL where nobody asked for it.  holder: the process that showed it, or 0.  Where it is new,
 * *open_it says that census_know() wants an fd of it.
 */
struct census_ns *census_add(struct census *c, const struct nslua_nstype *type, uint64_t inode, enum census_how how, pid_t holder,
			     bool *open_it);
void census_know(struct census *c, uint64_t inode, int fd); /* what only an fd tells; closes it */
void census_mounted(struct census *c, const struct census_mount *mount, const char *path);
void census_release(struct census *c);
void census_set_release(struct census_set *set);

/* walk.c: 0, or -1/errno where /proc cannot be read. */
int census_walk(struct census *c);
void census_process(struct census *c, int proc, pid_t pid);

/* pair.c: the processes of c->pids, by two processes where that is faster. */
void census_processes(struct census *c, int proc);
/* merge.c; before: the census when the two went apart. */
void census_send(const struct census *c, const struct census *before, int to);
bool census_receive(struct census *came, const struct census *before, int from); /* false: it did not all come */
void census_merge(struct census *c, const struct census *before, const struct census *came);

/* mountinfo.c: the bind mounts that a process or thread sees; `dir` is its directory in /proc. */
void census_mountinfo(struct census *c, int dir, uint64_t mntns, uint64_t view, pid_t pid);
int census_look_up(int dir, const char *path); /* an O_PATH fd of what is mounted there, or -1/errno; system calls only */
int census_reopen(const struct census *c, int at, uint64_t inode); /* an O_PATH fd, which it closes, for reading if it is that namespace; or -1 */

/* kernel.c: what the kernel lists itself. */
void census_kernel(struct census *c);

#endif

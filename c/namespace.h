/* SPDX-License-Identifier: MIT */
/*
 * namespace.h - what the namespace parts share: kernel constants that older headers lack (a feature is probed at run time,
 * never at build time), and the visit of another network namespace.
 */
#ifndef NSLUA_NAMESPACE_H
#define NSLUA_NAMESPACE_H

#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <linux/sockios.h>
#include "nslua.h"

#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif
#define NSLUA_NSFS_MAGIC 0x6e736673 /* linux/magic.h */

/* linux/nsfs.h */
#define NSLUA_NS_GET_USERNS _IO(0xb7, 0x1)    /* 4.9 */
#define NSLUA_NS_GET_PARENT _IO(0xb7, 0x2)    /* 4.9 */
#define NSLUA_NS_GET_NSTYPE _IO(0xb7, 0x3)    /* 4.11 */
#define NSLUA_NS_GET_OWNER_UID _IO(0xb7, 0x4) /* 4.11 */
#define NSLUA_NS_GET_ID _IOR(0xb7, 0xd, uint64_t) /* 6.18 */

/* linux/exportfs.h, linux/fcntl.h: namespaces by file handle, 6.18 */
#define NSLUA_FILEID_NSFS 0xf1
#define NSLUA_FD_NSFS_ROOT -10003

/* linux/sockios.h, 4.9 */
#ifndef SIOCGSKNS
#define SIOCGSKNS 0x894C
#endif

/* linux/pidfd.h */
#define NSLUA_PIDFD_THREAD 0x80 /* 6.9: O_EXCL */
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

/* One of the eight types. */
struct nslua_nstype {
	const char *name; /* ours: "mount" */
	const char *proc; /* /proc/PID/ns/: "mnt" */
	int flag;         /* CLONE_NEW* */
	int pidfd;        /* number of its PIDFD_GET_*_NAMESPACE, 6.11 */
};
extern const struct nslua_nstype nslua_nstypes[]; /* ends with name NULL */
const struct nslua_nstype *nslua_nstype(int flag); /* NULL: none */
/* The type an integer argument names; raises if it is not exactly one CLONE_NEW* flag. */
const struct nslua_nstype *nslua_checknstype(lua_State *L, int arg);

/* nsfs.c */
int nslua_nsfs_type(int fd); /* CLONE_NEW* flag, or -1/errno: EINVAL where fd is no namespace */
/* The number in a link's text, "net:[4026531833]", and the type before it; 0 for other text. */
uint64_t nslua_nsfs_inode(const char *text, const struct nslua_nstype **type);
extern const luaL_Reg nslua_nsfs_functions[];

/* pidfd.c */
int nslua_pidfd_ns(int pidfd, const struct nslua_nstype *type); /* fd, or -1/errno */
int nslua_thread_ns(const struct nslua_nstype *type);           /* fd of this thread's own, or -1/errno */
extern const luaL_Reg nslua_pidfd_functions[];

/*
 * visit.c: run work(arg) in the network namespace nsfd (-1: in a new one) and come back; work() may only make system calls and write to the
 * `size` bytes at arg.  What it returns, with its errno; -1 also where the visit itself failed.
 */
int nslua_visit(int nsfd, int (*work)(void *), void *arg, size_t size);
/* lo of that socket's namespace goes up; 0, or -1/errno. */
int nslua_lo_up(int socket);
extern const luaL_Reg nslua_visit_functions[];
void nslua_visit_classes(lua_State *L);

#endif

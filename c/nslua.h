/* SPDX-License-Identifier: MIT */
/* nslua.h - what the parts of nslua.core share: failure values, fd handles, 64-bit numbers. */
#ifndef NSLUA_H
#define NSLUA_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "compat.h"

#define NSLUA_EXPORT __attribute__((visibility("default")))

/* nil, "what: reason", errno.  The whole return of a core function that failed at run time. */
int nslua_fail(lua_State *L, const char *what);                /* reads errno first */
int nslua_failen(lua_State *L, const char *what, int en);      /* a given errno */

/* An owned file descriptor: the only way an fd lives in Lua.  -1 is closed. */
#define NSLUA_FD "nslua.fd"
struct nslua_fd {
	int fd;
};
/* Push a closed handle; the caller stores the fd in it afterwards, so that no error can leak one. */
struct nslua_fd *nslua_newfd(lua_State *L);
/* The number of an fd handle (raises if closed) or of a plain integer >= 0. */
int nslua_checkfd(lua_State *L, int arg);
/* Closes every fd but these two, in a child: servant.c. */
void nslua_close_except(unsigned int lo, unsigned int hi);

/* copy.c.  A copy of this process would be where this one is: not the first of a new pid namespace, which ends with it, or of a time namespace. */
bool nslua_may_copy(void);
/*
 * A copy of this process does work(arg, to) and ends, with us if need be; of its fds it has `keep` and `to`, what it writes there comes from *from.
 * Its pid, to be waited for with __WALL; or -1.
 */
pid_t nslua_copy(void (*work)(void *arg, int to), void *arg, int keep, int *from);
/* It begins on another processor, where there is one.  This one is its too from now on, while we wait. */
void nslua_copy_anywhere(pid_t copy);

/*
 * vfork.c: fn(arg) in a child that shares memory, on a stack that ends at `top`; this thread sleeps until it has ended or is another program.
 * Its pid, or -1 and errno; it is to be waited for.  `flags`: CLONE_FILES, or 0.  What fn() leaves for the caller is in the `size` bytes at
 * arg, nowhere else: where the kernel lets no memory be shared, only these are.
 */
pid_t nslua_vfork(int (*fn)(void *), char *top, int flags, void *arg, size_t size);

/* A u64: an integer where Lua has 64-bit integers, else a number up to 2^53 and a decimal string above. */
void nslua_pushu64(lua_State *L, uint64_t v);
uint64_t nslua_checku64(lua_State *L, int arg);

/* One class: metatable `tname` with __index = methods, __name, and the metamethods given (NULL: none). */
void nslua_newclass(lua_State *L, const char *tname, const luaL_Reg *methods, const luaL_Reg *meta);

/* Each part pushes its table of functions; core.c names it. */
int nslua_open_fd(lua_State *L);        /* fd.c */
int nslua_open_namespace(lua_State *L); /* namespace.c */
int nslua_open_mount(lua_State *L);     /* mount.c */
int nslua_open_file(lua_State *L);      /* file.c */
int nslua_open_idmap(lua_State *L);     /* idmap.c */
int nslua_open_process(lua_State *L);   /* process.c, spawn.c */
int nslua_open_errand(lua_State *L);    /* errand.c */
int nslua_open_keeper(lua_State *L);    /* keeper.c */
int nslua_open_running(lua_State *L);    /* running.c */
int nslua_open_board(lua_State *L);      /* board.c */
int nslua_open_netlink(lua_State *L);
int nslua_open_watch(lua_State *L);   /* netlink.c */
int nslua_open_schema(lua_State *L);    /* schema.c */
int nslua_open_inet(lua_State *L);      /* inet.c */
int nslua_open_limits(lua_State *L);    /* limits.c */
void nslua_limits_restore(void);        /* in a child: the limit of open files that this process began with */
int nslua_open_tun(lua_State *L);
int nslua_open_foreign(lua_State *L);   /* foreign.c */
int nslua_open_xtables(lua_State *L);   /* xtables.c */
int nslua_open_owners(lua_State *L);    /* owners.c */
int nslua_open_socktext(lua_State *L);  /* socktext.c */
int nslua_open_cgroups(lua_State *L);   /* cgroups.c */
int nslua_open_json(lua_State *L);      /* jsonread.c */
int nslua_open_netaddr(lua_State *L);   /* netaddr.c */
int nslua_open_wire(lua_State *L);      /* wire.c */
int nslua_open_capture(lua_State *L);   /* capture.c */
int nslua_pcap_compile(lua_State *L);   /* pcapfilter.c */
int nslua_open_perf(lua_State *L);      /* perf.c */
int nslua_open_census(lua_State *L);    /* census.c */
int nslua_open_packet(lua_State *L);    /* packet.c, datagram.c */
int nslua_open_echo(lua_State *L);      /* echo.c, ping.c, pingloop.c */

NSLUA_EXPORT int luaopen_nslua_core(lua_State *L); /* core.c */

#endif

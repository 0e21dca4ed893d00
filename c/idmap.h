/* SPDX-License-Identifier: MIT */
/* idmap.h - the id maps of a new user namespace: read from Lua before a fork, written after it. */
#ifndef NSLUA_IDMAP_H
#define NSLUA_IDMAP_H

#include <stddef.h>
#include <sys/types.h>
#include "nslua.h"

#define NSLUA_MAP_LINES 340              /* user_namespaces(7), since Linux 4.15 */
#define NSLUA_MAP_TEXT (NSLUA_MAP_LINES * 33 + 1) /* "4294967295 4294967295 4294967295\n" */

/* One map.  No pointers: it may be copied. */
struct nslua_idmap {
	int lines;  /* 0: leave this map unwritten */
	int helper; /* newuidmap(1) or newgidmap(1) writes it */
	size_t len;
	char text[NSLUA_MAP_TEXT]; /* as the kernel takes it; for the helper every separator is a NUL */
};

/*
 * Read what nslua.idmap.resolve() returned: { uid = { ranges = { { inside, outside, count }, ... }, helper = }, gid = ..., setgroups = }.
 * nil there leaves everything alone.  Raises on anything else; *setgroups is -1 (leave), 0 (deny) or 1 (allow).
 */
void nslua_idmap_check(lua_State *L, int arg, struct nslua_idmap *uid, struct nslua_idmap *gid, int *setgroups);

/*
 * Write setgroups, gid map and uid map of the process `pid`, a child of ours in a user namespace it has just made.  Makes system calls only
 * (no malloc, no Lua), so that it may run with all signals blocked between a fork and its synchronisation, and in a vfork child.
 * Either map may be NULL.  0, or -1 with errno and in `detail` what failed: a file of /proc, or the helper's own words.
 */
int nslua_idmap_apply(pid_t pid, const struct nslua_idmap *uid, const struct nslua_idmap *gid, int setgroups, char *detail, size_t size);

#endif

/* SPDX-License-Identifier: MIT */
/* owners.h - the processes that have sockets open, as owners.c found them. */
#ifndef NSLUA_OWNERS_H
#define NSLUA_OWNERS_H

#include <stddef.h>
#include <stdint.h>
#include "nslua.h"

struct nslua_owners;

struct nslua_owner {
	uint64_t inode;
	uint32_t process; /* index of its command */
	int pid, fd;
};

struct nslua_owners *nslua_owners_check(lua_State *L, int arg); /* waits until the walk is done */
/* Those of a socket, as part of the list; valid as long as the scan is. */
const struct nslua_owner *nslua_owners_of(const struct nslua_owners *s, uint64_t inode, size_t *count);

#endif

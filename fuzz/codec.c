/* SPDX-License-Identifier: MIT */
/*
 * codec.c - a libFuzzer program for the codec: any bytes are decoded, encoded, read as a row, as JSON, by path, and as the kernel's
 * extended ack, with every schema of nslua.  What must hold is in codec.lua; a failed assertion, a sanitizer's find or a leak ends it.
 */
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../c/netlink.h"

static lua_State *L;
static int check; /* function of codec.lua */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	L = luaL_newstate();
	luaL_openlibs(L);
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "preload");
	lua_pushcfunction(L, luaopen_nslua_core);
	lua_setfield(L, -2, "nslua.core");
	lua_settop(L, 0);
	if (luaL_dofile(L, "fuzz/codec.lua")) {
		fprintf(stderr, "%s\n", lua_tostring(L, -1));
		abort();
	}
	check = luaL_ref(L, LUA_REGISTRYINDEX);
	return 0;
}

/* As if the kernel had sent these bytes as an error or the end of a dump. */
static void extack(const uint8_t *data, size_t size)
{
	struct nlmsghdr *h = malloc(NLMSG_LENGTH(size)); /* to its byte, so that reading past it is seen */

	h->nlmsg_len = (uint32_t)NLMSG_LENGTH(size);
	h->nlmsg_type = size & 1 ? NLMSG_ERROR : NLMSG_DONE;
	h->nlmsg_flags = NLM_F_ACK_TLVS | (size & 2 ? NLM_F_CAPPED : 0);
	h->nlmsg_seq = h->nlmsg_pid = 0;
	memcpy(NLMSG_DATA(h), data, size);
	nslua_netlink_error(h);
	nslua_extack_push(L, h);
	lua_settop(L, 0);
	free(h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, check);
	lua_pushlstring(L, (const char *)data, size);
	if (lua_pcall(L, 1, 0, 0)) {
		fprintf(stderr, "%s\n", lua_tostring(L, -1));
		abort();
	}
	extack(data, size);
	return 0;
}

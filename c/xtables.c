/* SPDX-License-Identifier: MIT */
/* xtables.c - a table of the older iptables, as the kernel keeps it.  The rules of iptables-nft are nf_tables'. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include "nslua.h"

#define MOST (64u << 20) /* bytes of a table */

static void push_hooks(lua_State *L, const struct ipt_getinfo *info, const unsigned int *offsets)
{
	lua_newtable(L);
	for (int i = 0; i < NF_INET_NUMHOOKS; i++) {
		if (!(info->valid_hooks & (1u << i)))
			continue;
		lua_pushinteger(L, (lua_Integer)offsets[i]);
		lua_rawseti(L, -2, i);
	}
}

/*
 * xtables.read(fd, version, table) -> entries, hooks, underflows.  fd is a raw socket of IPv4 (version 4) or IPv6 (6); `entries` the bytes of
 * struct ipt_entry or ip6t_entry, one after the other; `hooks` and `underflows` offsets in there by number of hook: where a built-in chain begins,
 * and where its policy stands.  A table that is not there would be made: ask for those in /proc/net/ip_tables_names alone.
 */
static int xtables_read(lua_State *L)
{
	int fd = nslua_checkfd(L, 1), level = luaL_checkinteger(L, 2) == 6 ? IPPROTO_IPV6 : IPPROTO_IP;
	size_t n;
	const char *name = luaL_checklstring(L, 3, &n);
	struct ipt_getinfo info;
	struct ipt_get_entries *all;
	socklen_t len;

	luaL_argcheck(L, n < XT_TABLE_MAXNAMELEN, 3, "too long");
	for (int tries = 0; tries < 100; tries++) {
		memset(&info, 0, sizeof(info));
		memcpy(info.name, name, n);
		len = sizeof(info);
		if (getsockopt(fd, level, IPT_SO_GET_INFO, &info, &len) < 0)
			return nslua_fail(L, name);
		if (info.size > MOST)
			return nslua_failen(L, name, EFBIG);
		len = (socklen_t)(sizeof(*all) + info.size);
		all = lua_newuserdatauv(L, len, 0);
		memset(all, 0, sizeof(*all));
		memcpy(all->name, name, n);
		all->size = info.size;
		if (getsockopt(fd, level, IPT_SO_GET_ENTRIES, all, &len) == 0) {
			lua_pushlstring(L, (const char *)all->entrytable, info.size);
			push_hooks(L, &info, info.hook_entry);
			push_hooks(L, &info, info.underflow);
			return 3;
		}
		if (errno != EAGAIN) /* somebody loaded another table meanwhile: ask for its size again */
			return nslua_fail(L, name);
		lua_pop(L, 1);
	}
	return nslua_failen(L, name, EAGAIN);
}

int nslua_open_xtables(lua_State *L)
{
	static const luaL_Reg functions[] = { { "read", xtables_read }, { NULL, NULL } };

	luaL_newlib(L, functions);
	return 1;
}

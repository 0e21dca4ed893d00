/* SPDX-License-Identifier: MIT */
/* tun.c - TUN and TAP devices: rtnetlink lists and deletes them, only an ioctl makes them (tun(4), linux/if_tun.h). */
#include <string.h>
#include <sys/ioctl.h>
#include <net/if.h>
#include <linux/if_tun.h>
#include "nslua.h"

static int flag(lua_State *L, const char *key, int bit)
{
	int on;

	lua_getfield(L, 3, key);
	on = lua_toboolean(L, -1);
	lua_pop(L, 1);
	return on ? bit : 0;
}

/*
 * tun.attach(fd, name or "", { tap=, pi=, vnet_hdr=, multi_queue=, napi=, excl= }) -> name.  fd is /dev/net/tun, opened inside the network
 * namespace that is to have the device, which is as alive as that fd until tun.persist.  A "%d" in the name is filled in by the kernel.
 */
static int tun_attach(lua_State *L)
{
	int fd = nslua_checkfd(L, 1);
	size_t len;
	const char *name = luaL_checklstring(L, 2, &len);
	struct ifreq r;

	luaL_argcheck(L, len < IFNAMSIZ, 2, "name of more than 15 bytes");
	luaL_checktype(L, 3, LUA_TTABLE);
	memset(&r, 0, sizeof(r));
	memcpy(r.ifr_name, name, len);
	r.ifr_flags = (short)(flag(L, "tap", 1) ? IFF_TAP : IFF_TUN);
	r.ifr_flags |= (short)(flag(L, "pi", 1) ? 0 : IFF_NO_PI);
	r.ifr_flags |= (short)(flag(L, "vnet_hdr", IFF_VNET_HDR) | flag(L, "multi_queue", IFF_MULTI_QUEUE) |
			       flag(L, "napi", IFF_NAPI) | flag(L, "excl", IFF_TUN_EXCL));
	if (ioctl(fd, TUNSETIFF, &r) < 0)
		return nslua_fail(L, "TUNSETIFF");
	r.ifr_name[IFNAMSIZ - 1] = 0;
	lua_pushstring(L, r.ifr_name);
	return 1;
}

/* tun.persist(fd [, uid] [, gid]) -> true: the device outlives its fd, and that user or group may attach to it. */
static int tun_persist(lua_State *L)
{
	int fd = nslua_checkfd(L, 1);

	if (!lua_isnoneornil(L, 2) && ioctl(fd, TUNSETOWNER, (unsigned long)luaL_checknumber(L, 2)) < 0)
		return nslua_fail(L, "TUNSETOWNER");
	if (!lua_isnoneornil(L, 3) && ioctl(fd, TUNSETGROUP, (unsigned long)luaL_checknumber(L, 3)) < 0)
		return nslua_fail(L, "TUNSETGROUP");
	if (ioctl(fd, TUNSETPERSIST, 1UL) < 0)
		return nslua_fail(L, "TUNSETPERSIST");
	lua_pushboolean(L, 1);
	return 1;
}

static const luaL_Reg tun_functions[] = {
	{ "attach", tun_attach }, { "persist", tun_persist }, { NULL, NULL },
};

int nslua_open_tun(lua_State *L)
{
	luaL_newlib(L, tun_functions);
	return 1;
}

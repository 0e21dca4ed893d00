/* SPDX-License-Identifier: MIT */
/* divert.c - frames of the end of a wire (a TAP device with IFF_VNET_HDR, or a packet socket on a veth) for a script that looks at each. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <linux/if_packet.h>
#include "frame.h"
#include "nslua.h"
#include "wire.h"
#include "wiredevice.h"

/* wire.take(fd, is a packet socket) -> the next frame with its checksums in it; or nil, "take: reason", errno (EAGAIN: none waits). */
static int divert_take(lua_State *L)
{
	int fd = nslua_checkfd(L, 1);
	uint8_t *buf = lua_newuserdatauv(L, NSLUA_FRAME_MAX, 0);
	ssize_t n = nslua_wiredevice_get(fd, lua_toboolean(L, 2), buf);

	if (n < 0)
		return nslua_fail(L, "take");
	if (n < (ssize_t)NSLUA_VNET)
		return nslua_failen(L, "take", EBADMSG);
	nslua_frame_finish(buf, (size_t)n);
	lua_pushlstring(L, (const char *)buf + NSLUA_VNET, (size_t)n - NSLUA_VNET);
	return 1;
}

/* wire.give(fd, frame) -> true: to the other side of the device, as it is. */
static int divert_give(lua_State *L)
{
	struct virtio_net_hdr none = { 0 };
	int fd = nslua_checkfd(L, 1);
	size_t len;
	const char *frame = luaL_checklstring(L, 2, &len);
	/* writev(2) reads only. */
	struct iovec iov[2] = { { &none, sizeof(none) }, { (void *)(uintptr_t)frame, len } };

	if (writev(fd, iov, 2) < 0)
		return nslua_fail(L, "give");
	lua_pushboolean(L, 1);
	return 1;
}

/* wire.missed(fd) -> how many frames a packet socket could not hold since this was last asked. */
static int divert_missed(lua_State *L)
{
	struct tpacket_stats s;
	socklen_t size = sizeof(s);

	if (getsockopt(nslua_checkfd(L, 1), SOL_PACKET, PACKET_STATISTICS, &s, &size) < 0)
		return nslua_fail(L, "PACKET_STATISTICS");
	lua_pushinteger(L, s.tp_drops);
	return 1;
}

static const luaL_Reg functions[] = {
	{ "take", divert_take }, { "give", divert_give }, { "missed", divert_missed }, { NULL, NULL },
};

void nslua_open_divert(lua_State *L)
{
	luaL_setfuncs(L, functions, 0);
}

/* SPDX-License-Identifier: MIT */
/* bpf_program.c - a Lua module that loads a program of two instructions, for specs that want one: its fd, or nil and errno. */
#include <errno.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <lauxlib.h>

int luaopen_bpf_program(lua_State *L);
int luaopen_bpf_program_xdp(lua_State *L);

static int load(lua_State *L, uint32_t type, int32_t value)
{
	struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = value },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr;
	long fd;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = type;
	attr.insns = (uint64_t)(uintptr_t)code;
	attr.insn_cnt = 2;
	attr.license = (uint64_t)(uintptr_t)"MIT";
	fd = syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	if (fd < 0) {
		lua_pushnil(L);
		lua_pushinteger(L, errno);
		return 2;
	}
	lua_pushinteger(L, fd);
	return 1;
}

int luaopen_bpf_program(lua_State *L)
{
	return load(L, BPF_PROG_TYPE_SCHED_CLS, 0);
}

/* It drops all that comes in at a link of this namespace, whose index is given, as long as the fd is open that this returns. */
int luaopen_bpf_program_xdp(lua_State *L)
{
	uint32_t index = (uint32_t)luaL_checkinteger(L, 1);
	union bpf_attr attr;
	long fd;

	if (load(L, BPF_PROG_TYPE_XDP, XDP_DROP) != 1)
		return 2;
	memset(&attr, 0, sizeof(attr));
	attr.link_create.prog_fd = (uint32_t)lua_tointeger(L, -1);
	attr.link_create.target_ifindex = index;
	attr.link_create.attach_type = BPF_XDP;
	attr.link_create.flags = 2; /* XDP_FLAGS_SKB_MODE */
	fd = syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
	close((int)lua_tointeger(L, -1));
	if (fd < 0) {
		lua_pushnil(L);
		lua_pushinteger(L, errno);
		return 2;
	}
	lua_pushinteger(L, fd);
	return 1;
}

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

int luaopen_bpf_program(lua_State *L)
{
	struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr;
	long fd;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_SCHED_CLS;
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

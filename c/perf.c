/* SPDX-License-Identifier: MIT */
/* perf.c - a tracepoint of the kernel, heard on every processor; it ends with its fds and leaves nothing in tracefs. perf_event_open(2) */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <linux/perf_event.h>
#include "nslua.h"

#define PERF "nslua.perf"
#define MOST 1024 /* processors */

struct perf {
	int count;
	size_t size; /* of a ring's data */
	struct {
		int fd;
		struct perf_event_mmap_page *page;
	} rings[];
};

static int perf_close(lua_State *L)
{
	struct perf *p = luaL_checkudata(L, 1, PERF);
	long page = sysconf(_SC_PAGESIZE);

	for (int i = 0; i < p->count; i++) {
		if (p->rings[i].page)
			munmap(p->rings[i].page, p->size + (size_t)page);
		close(p->rings[i].fd);
	}
	p->count = 0;
	lua_pushboolean(L, 1);
	return 1;
}

static int listen_on(struct perf *p, uint64_t id, int cpu)
{
	struct perf_event_attr a = { .type = PERF_TYPE_TRACEPOINT, .size = sizeof(a), .config = id, .sample_period = 1, .wakeup_events = 1,
		.sample_type = PERF_SAMPLE_TIME | PERF_SAMPLE_RAW, .use_clockid = 1, .clockid = CLOCK_MONOTONIC };
	int fd = (int)syscall(SYS_perf_event_open, &a, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	void *m;

	if (fd < 0)
		return errno == ENODEV ? 0 : -1; /* a processor that is off */
	p->rings[p->count].fd = fd;
	p->rings[p->count++].page = NULL;
	m = mmap(NULL, p->size + (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (m == MAP_FAILED)
		return -1;
	p->rings[p->count - 1].page = m;
	return 0;
}

/* perf.open(id of a tracepoint, pages of each ring: a power of two) -> perf. */
static int perf_open(lua_State *L)
{
	uint64_t id = (uint64_t)luaL_checkinteger(L, 1);
	lua_Integer pages = luaL_checkinteger(L, 2);
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	struct perf *p;

	luaL_argcheck(L, pages > 0 && pages <= 1024 && (pages & (pages - 1)) == 0, 2, "no power of two");
	if (cpus < 1 || cpus > MOST)
		cpus = MOST;
	p = lua_newuserdatauv(L, sizeof(*p) + (size_t)cpus * sizeof(p->rings[0]), 0);
	p->count = 0;
	p->size = (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
	luaL_setmetatable(L, PERF);
	for (int i = 0; i < cpus; i++)
		if (listen_on(p, id, i) < 0)
			return nslua_fail(L, "perf_event_open");
	return 1;
}

static void copy(const uint8_t *data, size_t size, uint64_t at, void *out, size_t len)
{
	size_t first = (size_t)(at % size), n = size - first < len ? size - first : len;

	memcpy(out, data + first, n);
	memcpy((uint8_t *)out + n, data, len - n);
}

struct sample {
	uint64_t time;
	uint32_t size;
} __attribute__((packed));

/* Append what a ring has to the list on top of the stack; how many were lost. */
static uint64_t take(lua_State *L, struct perf_event_mmap_page *page, size_t size, char *buffer)
{
	const uint8_t *data = (const uint8_t *)page + sysconf(_SC_PAGESIZE);
	uint64_t head = __atomic_load_n(&page->data_head, __ATOMIC_ACQUIRE), tail = page->data_tail, lost = 0;

	while (head - tail >= sizeof(struct perf_event_header)) {
		struct perf_event_header h;
		struct sample s;

		copy(data, size, tail, &h, sizeof(h));
		if (h.size < sizeof(h))
			break;
		if (h.type == PERF_RECORD_SAMPLE && h.size >= sizeof(h) + sizeof(s)) {
			copy(data, size, tail + sizeof(h), &s, sizeof(s));
			if (s.size <= h.size - sizeof(h) - sizeof(s)) {
				copy(data, size, tail + sizeof(h) + sizeof(s), buffer, s.size);
				lua_createtable(L, 0, 2);
				lua_pushnumber(L, (lua_Number)s.time / 1e9);
				lua_setfield(L, -2, "time");
				lua_pushlstring(L, buffer, s.size);
				lua_setfield(L, -2, "raw");
				lua_rawseti(L, -2, (int)lua_rawlen(L, -2) + 1);
			}
		} else if (h.type == PERF_RECORD_LOST && h.size >= sizeof(h) + 16) {
			uint64_t values[2];

			copy(data, size, tail + sizeof(h), values, sizeof(values));
			lost += values[1];
		}
		tail += h.size;
		__atomic_store_n(&page->data_tail, tail, __ATOMIC_RELEASE);
	}
	return lost;
}

/* perf:read() -> { { time = seconds of the monotonic clock, raw = bytes of the record }, ... }, how many were lost. */
static int perf_read(lua_State *L)
{
	struct perf *p = luaL_checkudata(L, 1, PERF);
	char *buffer = lua_newuserdatauv(L, 65536, 0);
	uint64_t lost = 0;

	lua_newtable(L);
	for (int i = 0; i < p->count; i++)
		if (p->rings[i].page)
			lost += take(L, p->rings[i].page, p->size, buffer);
	nslua_pushu64(L, lost);
	return 2;
}

#ifndef SYS_fsopen
#define SYS_fsopen 430
#define SYS_fsconfig 431
#define SYS_fsmount 432
#endif
#define CONFIG_CREATE 6 /* FSCONFIG_CMD_CREATE */

/* perf.tracefs() -> the root of a tracefs that is mounted nowhere: it is gone with the fd. Linux 5.2 */
static int perf_tracefs(lua_State *L)
{
	struct nslua_fd *context = nslua_newfd(L), *root = nslua_newfd(L);

	context->fd = (int)syscall(SYS_fsopen, "tracefs", 1); /* FSOPEN_CLOEXEC */
	if (context->fd < 0 || syscall(SYS_fsconfig, context->fd, CONFIG_CREATE, NULL, NULL, 0) < 0)
		return nslua_fail(L, "tracefs");
	root->fd = (int)syscall(SYS_fsmount, context->fd, 1, 0);
	if (root->fd < 0)
		return nslua_fail(L, "tracefs");
	close(context->fd);
	context->fd = -1;
	return 1;
}

static const luaL_Reg perf_methods[] = {
	{ "read", perf_read }, { "close", perf_close }, { NULL, NULL },
};
static const luaL_Reg perf_meta[] = {
	{ "__gc", perf_close }, { "__close", perf_close }, { NULL, NULL },
};
static const luaL_Reg perf_functions[] = {
	{ "open", perf_open }, { "tracefs", perf_tracefs }, { NULL, NULL },
};

int nslua_open_perf(lua_State *L)
{
	nslua_newclass(L, PERF, perf_methods, perf_meta);
	luaL_newlib(L, perf_functions);
	return 1;
}

/* SPDX-License-Identifier: MIT */
/* pcapfilter.c - filters by libpcap, where it is installed: it is loaded when first asked for, and nothing else needs it. pcap_compile(3) */
#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include "nslua.h"

/* As pcap/bpf.h has it; the instructions are the kernel's. */
struct program {
	unsigned int len;
	struct sock_filter *code;
};

static struct {
	void *library;
	void *(*open_dead)(int, int);
	int (*compile)(void *, struct program *, const char *, int, uint32_t);
	void (*freecode)(struct program *);
	char *(*geterr)(void *);
	void (*close)(void *);
} pcap;

#define ANY_NETMASK 0xffffffff /* PCAP_NETMASK_UNKNOWN */

static int load(void)
{
	if (pcap.library)
		return 1;
	pcap.library = dlopen("libpcap.so.0.8", RTLD_NOW | RTLD_LOCAL);
	if (!pcap.library)
		pcap.library = dlopen("libpcap.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!pcap.library)
		return 0;
	*(void **)&pcap.open_dead = dlsym(pcap.library, "pcap_open_dead");
	*(void **)&pcap.compile = dlsym(pcap.library, "pcap_compile");
	*(void **)&pcap.freecode = dlsym(pcap.library, "pcap_freecode");
	*(void **)&pcap.geterr = dlsym(pcap.library, "pcap_geterr");
	*(void **)&pcap.close = dlsym(pcap.library, "pcap_close");
	if (pcap.open_dead && pcap.compile && pcap.freecode && pcap.geterr && pcap.close)
		return 1;
	dlclose(pcap.library);
	pcap.library = NULL;
	return 0;
}

/*
 * capture.compile(text, link type, snaplen) -> program, as capture.filter takes it; nil, why, EINVAL where the text is wrong; nil, why, ENOSYS where
 * there is no libpcap.
 */
int nslua_pcap_compile(lua_State *L)
{
	const char *text = luaL_checkstring(L, 1);
	int type = (int)luaL_checkinteger(L, 2), snaplen = (int)luaL_checkinteger(L, 3);
	struct program p = { 0, NULL };
	luaL_Buffer b;
	void *handle;

	if (!load())
		return nslua_failen(L, "libpcap", ENOSYS);
	luaL_buffinit(L, &b); /* before anything is owned: it may raise, what is below may too only where memory is out */
	handle = pcap.open_dead(type, snaplen);
	if (!handle)
		return nslua_failen(L, "libpcap", ENOMEM);
	if (pcap.compile(handle, &p, text, 1, ANY_NETMASK) < 0) {
		char why[256];
		size_t n = 0;

		for (const char *s = pcap.geterr(handle); s[n] && n + 1 < sizeof(why); n++)
			why[n] = s[n];
		why[n] = 0;
		pcap.close(handle);
		luaL_pushfail(L);
		lua_pushstring(L, why);
		lua_pushinteger(L, EINVAL);
		return 3;
	}
	luaL_addlstring(&b, (const char *)p.code, p.len * sizeof(*p.code));
	pcap.freecode(&p);
	pcap.close(handle);
	luaL_pushresult(&b);
	return 1;
}

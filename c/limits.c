/* SPDX-License-Identifier: MIT */
/* limits.c - the limit of open files, which a lab of many namespaces needs high, and programs of the lab get as it was. getrlimit(2) */
#include <errno.h>
#include <sys/resource.h>
#include "nslua.h"

static struct rlimit before; /* what children get back; rlim_max 0: nothing was raised */

void nslua_limits_restore(void)
{
	if (before.rlim_max)
		setrlimit(RLIMIT_NOFILE, &before);
}

/* limits.files(n) -> true where n files more than are usual may be open, else nil, message, errno.  The soft limit is raised to the hard one. */
static int limits_files(lua_State *L)
{
	lua_Integer n = luaL_checkinteger(L, 1);
	struct rlimit now;

	if (getrlimit(RLIMIT_NOFILE, &now) < 0)
		return nslua_fail(L, "limit of open files");
	if ((rlim_t)n > now.rlim_cur && now.rlim_cur < now.rlim_max) {
		struct rlimit high = { now.rlim_max, now.rlim_max };

		if (setrlimit(RLIMIT_NOFILE, &high) < 0)
			return nslua_fail(L, "limit of open files");
		if (!before.rlim_max)
			before = now;
		now = high;
	}
	if ((rlim_t)n > now.rlim_cur)
		return nslua_failen(L, "limit of open files", EMFILE);
	lua_pushboolean(L, 1);
	return 1;
}

int nslua_open_limits(lua_State *L)
{
	static const luaL_Reg functions[] = { { "files", limits_files }, { NULL, NULL } };

	luaL_newlib(L, functions);
	return 1;
}

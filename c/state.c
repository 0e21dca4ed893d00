/* SPDX-License-Identifier: MIT */
/* state.c - the host's Lua state: made anew, or taken as the build left it in the program (arena.c). */
#include <stdlib.h>
#include <sys/random.h>
#include "host.h"

/* What every state of the host has, whoever starts it. */
static void open_all(lua_State *L, int use_environment)
{
#if !defined(__SANITIZE_ADDRESS__) /* which tells of what was not freed */
	host_finish_early(L);
#endif
	luaL_openlibs(L);
	host_interrupt_wrap(L);
	lua_pushboolean(L, 1);
	lua_setfield(L, LUA_REGISTRYINDEX, "nslua.host");
	luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
	lua_pushcfunction(L, luaopen_nslua_core);
	lua_setfield(L, -2, "nslua.core");
	lua_pushcfunction(L, luaopen_nslua_host);
	lua_setfield(L, -2, "nslua.host");
	lua_pop(L, 1);
	host_embed_open(L, use_environment);
}

static void no_environment(lua_State *L, int yes)
{
	if (yes)
		lua_pushboolean(L, 1);
	else
		lua_pushnil(L);
	lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV");
}

/* What the build could not know: where libc is this time, and what nobody should guess. */
static void revive(lua_State *L, int use_environment)
{
	static const struct {
		const char *name;
		FILE **file;
	} files[] = { { "stdin", &stdin }, { "stdout", &stdout }, { "stderr", &stderr } };
	lua_Integer seed[2] = { 0, 0 };

	lua_getglobal(L, "io");
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		lua_getfield(L, -1, files[i].name);
		((luaL_Stream *)luaL_checkudata(L, -1, LUA_FILEHANDLE))->f = *files[i].file;
		lua_pop(L, 1);
	}
	lua_getglobal(L, "math");
	lua_getfield(L, -1, "randomseed");
	if (getrandom(seed, sizeof(seed), GRND_NONBLOCK) == sizeof(seed)) {
		lua_pushinteger(L, seed[0]);
		lua_pushinteger(L, seed[1]);
		lua_call(L, 2, 0);
	}
	lua_settop(L, 0);
	if (!use_environment)
		no_environment(L, 1);
	host_embed_use(use_environment);
}

/* Whether the environment asks for other files, or other places for them, than the program has, or for a trace from the first on. */
static int is_asked_for_others(void)
{
	static const char *const names[] = { "NSLUA_LUA", "LUA_PATH", "LUA_CPATH", "LUA_PATH" LUA_VERSUFFIX, "LUA_CPATH" LUA_VERSUFFIX,
					   "NSLUA_TRACE" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (getenv(names[i]))
			return 1;
	return 0;
}

lua_State *host_new_state(int use_environment)
{
	lua_State *L = use_environment && is_asked_for_others() ? NULL : host_saved_state();

	return L ? L : luaL_newstate();
}

void host_open_state(lua_State *L, int use_environment)
{
	if (L == host_saved_state()) {
		revive(L, use_environment);
		return;
	}
	if (!use_environment)
		no_environment(L, 1);
	open_all(L, use_environment);
}

static int prepare(lua_State *L)
{
	const char *script = lua_touserdata(L, 1);

	no_environment(L, 1);
	open_all(L, 0);
	no_environment(L, 0);
	if (luaL_dofile(L, script) != LUA_OK)
		return lua_error(L);
	return 0;
}

/* nslua --save-heap FILE SCRIPT: for the build. The state as SCRIPT leaves it, for objcopy to put into the program. */
int host_save(const char *path, const char *script)
{
	lua_State *L;
	int status;

	unsetenv("NSLUA_TRACE");
	if (host_begin_saving() < 0) {
		fprintf(stderr, "nslua: this build keeps no state: it looks after every piece of memory\n");
		return EXIT_FAILURE;
	}
	L = luaL_newstate();
	if (!L)
		return EXIT_FAILURE;
	lua_pushcfunction(L, prepare);
	lua_pushlightuserdata(L, (void *)script);
	status = lua_pcall(L, 1, 0, 0);
	if (status != LUA_OK) {
		fprintf(stderr, "nslua: --save-heap: %s\n", luaL_tolstring(L, -1, NULL));
		return EXIT_FAILURE;
	}
	lua_settop(L, 0);
	lua_gc(L, LUA_GCCOLLECT);
	lua_gc(L, LUA_GCCOLLECT); /* what had finalizers; the next one comes when there is twice as much, which short runs do not reach */
	if (host_save_state(L, path) < 0) {
		perror(path);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}

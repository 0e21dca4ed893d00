/* SPDX-License-Identifier: MIT */
/* embed.c - the Lua files in the program: a searcher for them, and nslua.host, what the commands know of the program. */
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include "host.h"

static int use_env;

static const struct host_file *find_file(const char *module)
{
	size_t low = 0, high = host_file_count;

	while (low < high) {
		size_t mid = (low + high) / 2;
		int order = strcmp(module, host_files[mid].module);

		if (order == 0)
			return &host_files[mid];
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

/* The folder whose files go before those in the program, or NULL. */
static const char *folder_of_user(void)
{
	const char *folder = use_env ? getenv("NSLUA_LUA") : NULL;

	return folder && *folder ? folder : NULL;
}

/* Push the text of nslua's own module: the file below $NSLUA_LUA if there is one, else the copy in the program. */
static int push_source(lua_State *L, const struct host_file *f)
{
	const char *folder = folder_of_user();

	if (folder) {
		lua_getglobal(L, "io");
		lua_getfield(L, -1, "open");
		lua_pushfstring(L, "%s/nslua/%s", folder, f->chunk + sizeof(HOST_CHUNKS) - 1);
		lua_pushliteral(L, "rb");
		lua_call(L, 2, 1);
		lua_remove(L, -2);
		if (!lua_isnil(L, -1)) {
			lua_getfield(L, -1, "read");
			lua_pushvalue(L, -2);
			lua_pushliteral(L, "a");
			lua_call(L, 2, 1);
			lua_getfield(L, -2, "close");
			lua_pushvalue(L, -3);
			lua_call(L, 1, 0);
			lua_remove(L, -2);
			return 1;
		}
		lua_pop(L, 1);
	}
	lua_pushlstring(L, f->source, f->length);
	return 1;
}

/* The searcher.  The chunk is named as in the program wherever it came from, so that it counts as nslua's own. */
static int search(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1);
	const struct host_file *f = find_file(name);
	const char *text;
	size_t length;

	if (!f) {
		if (strncmp(name, "nslua", 5) != 0)
			return 0;
		lua_pushfstring(L, "no '%s' in the nslua program", name);
		return 1;
	}
	/* Bytecode has no mark of the release within a version, but is of that release. */
	if (folder_of_user() || strcmp(host_files_release, LUA_RELEASE) != 0 ||
	    luaL_loadbufferx(L, f->compiled, f->compiled_length, f->chunk, "b") != LUA_OK) {
		lua_settop(L, 1);
		push_source(L, f);
		text = lua_tolstring(L, -1, &length);
		if (!text || luaL_loadbufferx(L, text, length, f->chunk, "t") != LUA_OK)
			return luaL_error(L, "error loading module '%s': %s", name, lua_tostring(L, -1));
	}
	lua_pushstring(L, f->chunk + 1);
	return 2;
}

/* host.modules() -> the names of the modules in the program, sorted. */
static int modules(lua_State *L)
{
	lua_createtable(L, (int)host_file_count, 0);
	for (size_t i = 0; i < host_file_count; i++) {
		lua_pushstring(L, host_files[i].module);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return 1;
}

/* host.source(module) -> its text, or nil. */
static int source(lua_State *L)
{
	const struct host_file *f = find_file(luaL_checkstring(L, 1));

	if (!f)
		return 0;
	return push_source(L, f);
}

/* host.getenv(name) -> value, nil where the program was told to ignore the environment (-E). */
static int host_getenv(lua_State *L)
{
	lua_pushstring(L, use_env ? getenv(luaL_checkstring(L, 1)) : NULL);
	return 1;
}

/* host.is_terminal(number) -> boolean. */
static int is_terminal(lua_State *L)
{
	lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
	return 1;
}

/* host.terminal() -> the settings of the terminal at stdin, if there is one; host.terminal(settings): as they were. */
static int terminal(lua_State *L)
{
	struct termios t;

	if (lua_isnone(L, 1)) {
		if (tcgetattr(0, &t))
			return 0;
		lua_pushlstring(L, (const char *)&t, sizeof(t));
		return 1;
	}
	luaL_argcheck(L, lua_rawlen(L, 1) == sizeof(t), 1, "settings expected");
	memcpy(&t, luaL_checkstring(L, 1), sizeof(t));
	tcsetattr(0, TCSANOW, &t);
	return 0;
}

struct folder {
	DIR *dir;
};

static int folder_close(lua_State *L)
{
	struct folder *f = lua_touserdata(L, 1);

	if (f->dir)
		closedir(f->dir);
	f->dir = NULL;
	return 0;
}

/* host.files(folder) -> the names in it (empty if it cannot be read). */
static int files(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	struct folder *f = lua_newuserdatauv(L, sizeof(*f), 0);
	struct dirent *e;
	lua_Integer n = 0;

	f->dir = NULL;
	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, folder_close);
	lua_setfield(L, -2, "__gc");
	lua_setmetatable(L, -2);
	lua_newtable(L);
	f->dir = opendir(path);
	while (f->dir && (e = readdir(f->dir))) {
		lua_pushstring(L, e->d_name);
		lua_rawseti(L, -2, ++n);
	}
	if (f->dir)
		closedir(f->dir);
	f->dir = NULL;
	return 1;
}

/*
 * host.loop(step): call step(interrupted) until it returns false.  SIGINT ends the step it comes in, not the loop:
 * interrupted is true in the step after it.  No Lua code runs between the steps that it could hit.
 */
static int loop(lua_State *L)
{
	int interrupted = 0;

	lua_settop(L, 1);
	for (;;) {
		int status, more;

		lua_pushvalue(L, 1);
		lua_pushboolean(L, interrupted);
		status = lua_pcall(L, 1, 1, 0);
		interrupted = host_interrupt_pending() == SIGINT;
		if (interrupted)
			host_interrupt_clear();
		else if (status != LUA_OK)
			return lua_error(L);
		more = interrupted || lua_toboolean(L, -1);
		lua_settop(L, 1);
		if (!more)
			return 0;
	}
}

/* host.interrupted() -> whether a signal is ending the program: then nobody asked for a message. */
static int interrupted(lua_State *L)
{
	lua_pushboolean(L, host_interrupt_pending() != 0);
	return 1;
}

static const luaL_Reg functions[] = {
	{ "modules", modules }, { "source", source },   { "getenv", host_getenv },
	{ "files", files },     { "loop", loop },       { "traceback", host_traceback },
	{ "is_terminal", is_terminal }, { "getopt", host_getopt }, { "regex", host_regex }, { "die_of", host_die_of }, { "interrupted", interrupted },
	{ "terminal", terminal },
	{ NULL, NULL },
};

int luaopen_nslua_host(lua_State *L)
{
	luaL_newlib(L, functions);
	return 1;
}

void host_embed_use(int use_environment)
{
	use_env = use_environment;
}

/* After package.preload, before the disk: what is in the program belongs to it. */
void host_embed_open(lua_State *L, int use_environment)
{
	use_env = use_environment;
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "searchers");
	for (lua_Integer i = (lua_Integer)lua_rawlen(L, -1); i >= 2; i--) {
		lua_rawgeti(L, -1, i);
		lua_rawseti(L, -2, i + 1);
	}
	lua_pushcfunction(L, search);
	lua_rawseti(L, -2, 2);
	lua_pop(L, 2);
}

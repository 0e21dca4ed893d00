/* SPDX-License-Identifier: MIT */
/* host.h - what the parts of the nslua program share. None of this is in nslua.core. */
#ifndef NSLUA_HOST_H
#define NSLUA_HOST_H

#include <stddef.h>
#include "nslua.h"

/* The Lua files below lua/, built into the program by tools/embed.lua; sorted by module name. */
struct host_file {
	const char *module; /* "nslua.rtnl.link" */
	const char *chunk;  /* "@[nslua]/rtnl/link.lua": no file of a user can have that name */
	const char *source;
	size_t length;
	const char *compiled;
	size_t compiled_length;
};
extern const char host_files_release[]; /* the Lua that compiled them: "Lua 5.4.4" */
extern const struct host_file host_files[];
extern const size_t host_file_count;

#define HOST_CHUNKS "@[nslua]/"

/* interrupt.c: a signal unwinds the script. */
void host_interrupt_open(lua_State *L);  /* handlers, and the pcall, xpcall and os.exit that go with them */
int host_interrupt_pending(void);        /* the signal that is unwinding the script, or 0 */
void host_interrupt_clear(void);         /* the interactive prompt goes on after SIGINT */
int host_die_of(lua_State *L);
_Noreturn void host_finish(lua_State *L, int status); /* close the state, flush, exit or die of the signal */

/* embed.c: the searcher, and the nslua.host module for the commands. */
void host_embed_open(lua_State *L, int use_environment);
int luaopen_nslua_host(lua_State *L);
int host_getopt(lua_State *L); /* getopt.c */
int host_regex(lua_State *L);  /* regex.c */

/* nslua.c */
int host_traceback(lua_State *L);        /* the message handler: text and traceback, for error objects too */

#endif

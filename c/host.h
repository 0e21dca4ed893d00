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

/* arena.c: the memory of the state, and the state that the build left in the program (NULL: none). */
lua_State *host_saved_state(void);
int host_begin_saving(void);                           /* before the state is made; -1: not in this build */
int host_save_state(lua_State *L, const char *path);   /* -1/errno */

/* state.c */
lua_State *host_new_state(int use_environment);        /* the saved one, where it is what is asked for */
void host_open_state(lua_State *L, int use_environment);
int host_save(const char *path, const char *script);

/* interrupt.c: a signal unwinds the script. */
void host_interrupt_wrap(lua_State *L);  /* the pcall, xpcall and os.exit that go with the handlers */
void host_interrupt_open(lua_State *L);  /* handlers */
int host_interrupt_pending(void);        /* the signal that is unwinding the script, or 0 */
void host_interrupt_clear(void);         /* the interactive prompt goes on after SIGINT */
void host_finish_early(lua_State *L);    /* before anything else of the state: host_finish need not free its memory */
_Noreturn void host_finish(lua_State *L, int status); /* close the state, flush, exit or die of the signal */

/* finish.c */
_Noreturn void host_default_action(int sig);
_Noreturn void host_end(int status);
int host_stdout_is_broken(void);
int host_die_of(lua_State *L);

/* embed.c: the searcher, and the nslua.host module for the commands. */
void host_embed_open(lua_State *L, int use_environment);
void host_embed_use(int use_environment);
int luaopen_nslua_host(lua_State *L);
int host_getopt(lua_State *L); /* getopt.c */
int host_regex(lua_State *L);  /* regex.c */

/* nslua.c */
int host_traceback(lua_State *L);        /* the message handler: text and traceback, for error objects too */

#endif

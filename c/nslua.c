/* SPDX-License-Identifier: MIT */
/* nslua.c - the host: the options of lua(1), scripts and commands, the interactive prompt. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "host.h"

static const char *progname = "nslua";

struct options {
	int script;      /* index in argv of the first word that is no option, argc if none */
	const char *bad; /* the option that cannot be read */
	int interactive, version, execute, ignore_env, help;
	const char *netns;
	const char *trace; /* where to: "" is stderr */
};

static void report_text(const char *text)
{
	fflush(stdout);
	fprintf(stderr, "%s: %s\n", progname, text);
	fflush(stderr);
}

/* Report the error on top of the stack, if there is one; a script that a signal ended says nothing. */
static int report(lua_State *L, int status)
{
	if (status != LUA_OK && !host_interrupt_pending()) {
		const char *text = luaL_tolstring(L, -1, NULL);

		report_text(text);
		lua_pop(L, 1);
	}
	if (status != LUA_OK)
		lua_pop(L, 1);
	return status;
}

int host_traceback(lua_State *L)
{
	const char *text = lua_tostring(L, 1);

	if (!text) {
		if (lua_isnil(L, 1) || (!luaL_getmetafield(L, 1, "__tostring") && !lua_isnil(L, 1))) {
			text = lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
		} else {
			text = luaL_tolstring(L, 1, NULL);
		}
	}
	luaL_traceback(L, L, text, 1);
	return 1;
}

/* The message handler of a command: an error object is for its user, everything else is a bug. */
static int command_message(lua_State *L)
{
	if (lua_istable(L, 1) && luaL_getmetafield(L, 1, "__name")) {
		int plain = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "nslua.Error") == 0;

		lua_pop(L, 1);
		if (plain) {
			luaL_tolstring(L, 1, NULL);
			return 1;
		}
	}
	return host_traceback(L);
}

static int call(lua_State *L, int nargs, int nresults, lua_CFunction message)
{
	int base = lua_gettop(L) - nargs;
	int status;

	lua_pushcfunction(L, message);
	lua_insert(L, base);
	status = lua_pcall(L, nargs, nresults, base);
	lua_remove(L, base);
	return status;
}

static int run_text(lua_State *L, const char *text, const char *name)
{
	int status = luaL_loadbuffer(L, text, strlen(text), name);

	return report(L, status ? status : call(L, 0, 0, host_traceback));
}

static void usage(FILE *out)
{
	fprintf(out,
		"usage: %s [options] [script | command] [arguments]\n"
		"A word with a '/' or ending in .lua is a script, any other a command; '-' is a script on standard input.\n"
		"  -e STAT   run the text STAT\n"
		"  -l NAME   require NAME into the global NAME (-l G=NAME into G)\n"
		"  -n NETNS  start in that network namespace: a name, a /path or pid:N\n"
		"  -i        prompt when the script has ended\n"
		"  -v        print the version\n"
		"  -E        ignore the environment\n"
		"  -W        turn warnings on\n"
		"  --trace[=all|FILE|all:FILE]  print what is done to the system as lines of ip(8), unshare(1) ...\n"
		"  -h        print this\n"
		"  --        end of the options\n"
		"`%s help` lists the commands, `%s help NAME` explains one.\n",
		progname, progname, progname);
}

static void print_version(void)
{
	printf("nslua " NSLUA_VERSION "  " LUA_COPYRIGHT "\n");
	fflush(stdout);
}

/* Read the options; nothing is run yet. */
static struct options read_options(char **argv, int argc)
{
	struct options o = { .script = argc };
	int i;

	for (i = 1; i < argc; i++) {
		const char *word = argv[i];

		if (word[0] != '-' || word[1] == '\0')
			break;
		if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
			o.help = 1;
			continue;
		}
		if (strcmp(word, "--version") == 0) {
			o.version = 1;
			continue;
		}
		if (strcmp(word, "--trace") == 0 || strncmp(word, "--trace=", 8) == 0) {
			o.trace = word[7] ? word + 8 : "";
			continue;
		}
		switch (word[1]) {
		case '-':
			if (word[2] != '\0')
				goto bad;
			i++;
			goto done;
		case 'E': case 'W': case 'i': case 'v':
			if (word[2] != '\0')
				goto bad;
			o.ignore_env |= word[1] == 'E';
			o.interactive |= word[1] == 'i';
			o.version |= word[1] == 'i' || word[1] == 'v';
			break;
		case 'e': case 'l': case 'n':
			o.execute |= word[1] == 'e';
			if (word[2] == '\0' && (i + 1 >= argc || argv[i + 1][0] == '-'))
				goto bad;
			if (word[1] == 'n')
				o.netns = word[2] ? word + 2 : argv[i + 1];
			i += word[2] == '\0';
			break;
		default:
			goto bad;
		}
	}
done:
	o.script = i < argc ? i : argc;
	return o;
bad:
	o.bad = argv[i];
	return o;
}

/* -l NAME or -l GLOBAL=NAME. */
static int require_module(lua_State *L, char *text)
{
	char *equals = strchr(text, '=');
	const char *module = equals ? equals + 1 : text;

	lua_getglobal(L, "require");
	lua_pushstring(L, module);
	if (call(L, 1, 1, host_traceback) != LUA_OK)
		return report(L, LUA_ERRRUN);
	lua_pushlstring(L, text, equals ? (size_t)(equals - text) : strlen(text));
	lua_insert(L, -2);
	lua_pushglobaltable(L);
	lua_insert(L, -3);
	lua_settable(L, -3);
	lua_pop(L, 1);
	return LUA_OK;
}

/* What -e, -l and -W ask for, in order. */
static int run_options(lua_State *L, char **argv, int end)
{
	for (int i = 1; i < end; i++) {
		char option = argv[i][1];

		if (option == 'W')
			lua_warning(L, "@on", 0);
		if (option == 'e' || option == 'l' || option == 'n') {
			char *text = argv[i][2] ? argv[i] + 2 : argv[++i];
			int status = LUA_OK;

			if (option == 'e')
				status = run_text(L, text, "=(command line)");
			else if (option == 'l')
				status = require_module(L, text);
			if (status != LUA_OK)
				return 0;
		}
	}
	return 1;
}

static int run_init(lua_State *L)
{
	const char *name = "=LUA_INIT" LUA_VERSUFFIX;
	const char *init = getenv(name + 1);

	if (!init) {
		name = "=LUA_INIT";
		init = getenv(name + 1);
	}
	if (!init)
		return LUA_OK;
	if (init[0] == '@') {
		int status = luaL_loadfile(L, init + 1);

		return report(L, status ? status : call(L, 0, 0, host_traceback));
	}
	return run_text(L, init, name);
}

static void set_arg(lua_State *L, char **argv, int argc, int script)
{
	if (script == argc)
		script = 0; /* no script: argv[0] is at 0 */
	lua_createtable(L, argc - script > 0 ? argc - script - 1 : 0, script + 1);
	for (int i = 0; i < argc; i++) {
		lua_pushstring(L, argv[i]);
		lua_rawseti(L, -2, i - script);
	}
	lua_setglobal(L, "arg");
}

static int is_script(const char *word)
{
	size_t n = strlen(word);

	return strcmp(word, "-") == 0 || strchr(word, '/') || (n >= 4 && strcmp(word + n - 4, ".lua") == 0);
}

static int run_script(lua_State *L, char **argv, int argc, int script)
{
	const char *name = argv[script];
	int is_stdin = strcmp(name, "-") == 0 && strcmp(argv[script - 1], "--") != 0;
	int status = luaL_loadfile(L, is_stdin ? NULL : name);

	if (status == LUA_OK) {
		luaL_checkstack(L, argc - script, "too many arguments to script");
		for (int i = script + 1; i < argc; i++)
			lua_pushstring(L, argv[i]);
		status = call(L, argc - script - 1, 0, host_traceback);
	}
	return report(L, status) == LUA_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* The Lua half, nslua.command, finds the command and calls it; its number is the exit status. */
static int run_command(lua_State *L, char **argv, int argc, int script)
{
	int status;

	lua_getglobal(L, "require");
	lua_pushliteral(L, "nslua.command");
	status = call(L, 1, 1, host_traceback);
	if (status == LUA_OK) {
		lua_getfield(L, -1, "main");
		lua_remove(L, -2);
		lua_pushstring(L, argv[script]);
		lua_createtable(L, argc - script - 1, 1);
		for (int i = script; i < argc; i++) {
			lua_pushstring(L, argv[i]);
			lua_rawseti(L, -2, i - script);
		}
		status = call(L, 2, 1, command_message);
	}
	if (status == LUA_OK) {
		status = (int)lua_tointeger(L, -1);
		lua_pop(L, 1);
		return status;
	}
	report(L, status);
	return EXIT_FAILURE;
}

static int run_prompt(lua_State *L)
{
	int status;

	lua_getglobal(L, "require");
	lua_pushliteral(L, "nslua.command.repl");
	status = call(L, 1, 1, host_traceback);
	if (status == LUA_OK) {
		lua_newtable(L);
		status = call(L, 1, 0, host_traceback);
	}
	return report(L, status) == LUA_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* --trace: before anything else of nslua is loaded. */
static int start_trace(lua_State *L, const char *where)
{
	static const char text[] = "require('nslua.trace').start(...)";
	int status = luaL_loadbuffer(L, text, sizeof(text) - 1, "=(option --trace)");

	if (status == LUA_OK) {
		lua_pushstring(L, where);
		status = call(L, 1, 0, command_message);
	}
	return report(L, status);
}

/* -n: this thread, and all that the script starts, in another network namespace. */
static int enter_netns(lua_State *L, const char *name)
{
	static const char text[] = "local name = ...\n"
				   "local ns = require 'nslua'\n"
				   "local handle = require 'nslua.command.cli.place'.open(name)\n"
				   "ns.setns(handle, 'net')\n"
				   "handle:close()\n";
	int status = luaL_loadbuffer(L, text, sizeof(text) - 1, "=(option -n)");

	if (status == LUA_OK) {
		lua_pushstring(L, name);
		status = call(L, 1, 0, command_message);
	}
	return report(L, status);
}

/* The global `ns` is require "nslua". */
static int load_ns(lua_State *L)
{
	lua_getglobal(L, "require");
	lua_pushliteral(L, "nslua");
	if (call(L, 1, 1, host_traceback) != LUA_OK)
		return report(L, LUA_ERRRUN);
	lua_setglobal(L, "ns");
	return LUA_OK;
}

static int pmain(lua_State *L)
{
	int argc = (int)lua_tointeger(L, 1);
	char **argv = lua_touserdata(L, 2);
	struct options o = read_options(argv, argc);
	int status = EXIT_SUCCESS, is_command;

	lua_settop(L, 0);
	if (o.bad || o.help) {
		if (o.bad)
			fprintf(stderr, "%s: unrecognized option, or one without its value: '%s'\n", progname, o.bad);
		usage(o.bad ? stderr : stdout);
		lua_pushinteger(L, o.bad ? EXIT_FAILURE : EXIT_SUCCESS);
		return 1;
	}
	if (o.version)
		print_version();
	host_open_state(L, !o.ignore_env);
	host_interrupt_open(L);
	set_arg(L, argv, argc, o.script);
	is_command = o.script < argc && !is_script(argv[o.script]);
	if (o.ignore_env)
		unsetenv("NSLUA_TRACE");
	if ((o.trace && start_trace(L, o.trace) != LUA_OK) || load_ns(L) != LUA_OK || (o.netns && enter_netns(L, o.netns) != LUA_OK) ||
	    (!o.ignore_env && run_init(L) != LUA_OK) || !run_options(L, argv, o.script)) {
		lua_pushinteger(L, EXIT_FAILURE);
		return 1;
	}
	if (o.script < argc) {
		status = (is_command ? run_command : run_script)(L, argv, argc, o.script);
	}
	if (host_interrupt_pending()) {
		/* no prompt */
	} else if (o.interactive || (o.script == argc && !o.execute && !o.version && isatty(STDIN_FILENO))) {
		if (!o.version)
			print_version();
		status = run_prompt(L);
	} else if (o.script == argc && !o.execute && !o.version) {
		int load = luaL_loadfile(L, NULL);

		status = report(L, load ? load : call(L, 0, 0, host_traceback)) == LUA_OK ? EXIT_SUCCESS : EXIT_FAILURE;
	}
	lua_pushinteger(L, status);
	return 1;
}

int main(int argc, char **argv)
{
	struct options o = read_options(argv, argc);
	lua_State *L;
	int status = EXIT_FAILURE;

	if (argv[0] && argv[0][0])
		progname = argv[0];
	if (argc == 4 && strcmp(argv[1], "--save-heap") == 0)
		return host_save(argv[2], argv[3]);
	/* a trace begins before the files that are loaded in the saved state */
	L = o.trace ? luaL_newstate() : host_new_state(!o.ignore_env);
	if (!L) {
		report_text("not enough memory for a Lua state");
		return EXIT_FAILURE;
	}
	lua_pushcfunction(L, pmain);
	lua_pushinteger(L, argc);
	lua_pushlightuserdata(L, argv);
	if (report(L, lua_pcall(L, 2, 1, 0)) == LUA_OK)
		status = (int)lua_tointeger(L, -1);
	host_finish(L, status);
}

/* SPDX-License-Identifier: MIT */
/*
 * interrupt.c - SIGINT, SIGTERM, SIGHUP (and SIGPIPE on stdout) unwind the script, then the program dies of the signal.
 *
 * The rule: while a signal is pending, Lua code is stopped unless it runs under a close handler.
 *   - A hook on every running coroutine raises at the next call or instruction, again and again.
 *   - pcall and xpcall raise again what they caught, so a script cannot swallow it.
 *   - A coroutine that dies of it is reset, because only that runs its close handlers.
 * Code is under a close handler if some function on the stack was called by the end of a scope (Lua names it a "close"
 * metamethod), by the reset of a coroutine, or by a C function whose protected call is of another function than the one
 * running: that call has failed then, and its scopes are being closed.  Nothing has to be kept while no signal is there.
 *
 * nslua's own Lua files clean up with pcall (they also run on Lua 5.1): a pcall of theirs returns the error once, and what
 * the function that called it does then is not stopped; script code that it calls is.
 *
 * lua_resume, lua_resetthread and lua_pcallk below stand before Lua's own (renamed nslua_lua_* by the Makefile), also
 * for C modules: so it is known which coroutines are running, and what a C function protects.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "host.h"

int nslua_lua_resume(lua_State *L, lua_State *from, int narg, int *nres);
int nslua_lua_resetthread(lua_State *L);
int nslua_lua_pcallk(lua_State *L, int nargs, int nresults, int msgh, lua_KContext ctx, lua_KFunction k);

/* What is running, innermost first; the records live on the C stack of the calls they stand for. */
struct running {
	struct running *up;
	lua_State *L;
	enum { RESUMED, RESET, PROTECTED } kind;
	struct CallInfo *ci;  /* PROTECTED: the C function that made the call ... */
	const void *function; /* ... and what it called */
};
static _Thread_local struct running *volatile innermost;

static lua_State *main_state;
static struct running main_record;
static pthread_t main_thread;
static pid_t main_pid;
static volatile sig_atomic_t pending; /* the signal */
static volatile sig_atomic_t seen;    /* the hook has run since */
static struct timespec pending_since;

/* Stack frames known to be close handlers (they may tail call, which hides it), and frames of nslua that clean up. */
static struct mark {
	lua_State *L;
	struct CallInfo *ci;
	int soft;
} marks[64];
static size_t mark_count;

static void enter(struct running *r, lua_State *L, int kind)
{
	r->L = L;
	r->kind = kind;
	r->ci = NULL;
	r->function = NULL;
	r->up = innermost;
	atomic_signal_fence(memory_order_release); /* the handler walks the list */
	innermost = r;
}

static struct mark *find_mark(const lua_State *L, const struct CallInfo *ci)
{
	for (size_t i = 0; i < mark_count; i++)
		if (marks[i].L == L && marks[i].ci == ci)
			return &marks[i];
	return NULL;
}

static void add_mark(lua_State *L, struct CallInfo *ci, int soft)
{
	if (mark_count < sizeof(marks) / sizeof(marks[0]))
		marks[mark_count++] = (struct mark){ L, ci, soft };
}

static lua_CFunction lua_load_function; /* load, which protects the reader at 1 */
static int host_pcall(lua_State *L);
static int host_xpcall(lua_State *L);

/* Push the function that the C function at `ar` (its own value on top of the stack) protects; false if none is known. */
static int push_protected(lua_State *L, lua_Debug *ar)
{
	lua_CFunction f = lua_tocfunction(L, -1);

	if ((f != host_pcall && f != host_xpcall && f != lua_load_function) || !lua_getlocal(L, ar, 1))
		return 0;
	while (!lua_isfunction(L, -1) && luaL_getmetafield(L, -1, "__call") != LUA_TNIL)
		lua_remove(L, -2);
	return 1;
}

static int closing; /* the state is being closed: os.exit in there just ends */

static const void *protected_by_c(const lua_State *L, const struct CallInfo *ci)
{
	for (struct running *r = innermost; r; r = r->up)
		if (r->kind == PROTECTED && r->L == L && r->ci == ci)
			return r->function;
	return NULL;
}

/* Whether the function at this level was called as a close handler. */
static int is_handler(lua_State *L, int level)
{
	lua_Debug ar, caller;
	const void *function, *protected = NULL;
	int found;

	if (!lua_getstack(L, level, &ar))
		return 0;
	lua_getinfo(L, "ntf", &ar);
	function = lua_topointer(L, -1);
	lua_pop(L, 1);
	if (ar.istailcall) /* who was called first is gone: only a mark tells */
		return 0;
	if (strcmp(ar.namewhat, "metamethod") == 0 && (strcmp(ar.name, "close") == 0 || strcmp(ar.name, "__gc") == 0))
		return 1;
	if (!lua_getstack(L, level + 1, &caller))
		return 0;
	lua_getinfo(L, "Sf", &caller);
	found = 0;
	if (*caller.what == 'C') {
		if (push_protected(L, &caller)) {
			protected = lua_isfunction(L, -1) ? lua_topointer(L, -1) : NULL;
			lua_pop(L, 1);
		} else {
			protected = protected_by_c(L, caller.i_ci);
		}
		found = protected && protected != function;
	}
	lua_pop(L, 1);
	return found;
}

/* Whether the message handler of the xpcall at `level` (its function on top of the stack) is what runs above it. */
static int in_message_handler(lua_State *L, lua_Debug *xpcall, int level)
{
	const void *handler;
	lua_Debug ar;

	if (lua_tocfunction(L, -1) != host_xpcall || !lua_getlocal(L, xpcall, 2))
		return 0;
	handler = lua_topointer(L, -1);
	lua_pop(L, 1);
	for (int i = 0; i < level; i++) {
		int same;

		lua_getstack(L, i, &ar);
		lua_getinfo(L, "f", &ar);
		same = lua_topointer(L, -1) == handler;
		lua_pop(L, 1);
		if (same)
			return 1;
	}
	return 0;
}

static int inside_nslua(const lua_Debug *ar)
{
	return strncmp(ar->source, HOST_CHUNKS, sizeof(HOST_CHUNKS) - 1) == 0;
}

enum { STOP, CLEANING, CLOSING };

/* What this stack of one coroutine says. */
static int stack_state(lua_State *L)
{
	lua_Debug ar;
	int state = STOP;

	if (!lua_checkstack(L, 8))
		return CLOSING;
	for (int level = 0; lua_getstack(L, level, &ar); level++) {
		struct mark *m = find_mark(L, ar.i_ci);
		int handling;

		if (m && m->soft)
			state = CLEANING;
		if ((m && !m->soft) || is_handler(L, level))
			return CLOSING;
		lua_getinfo(L, "f", &ar);
		handling = in_message_handler(L, &ar, level);
		lua_pop(L, 1);
		if (handling)
			return CLOSING;
	}
	return state;
}

/* What everything that is running says: STOP it, or let it clean up or close. */
static int running_state(lua_State *L)
{
	int state = closing ? CLOSING : stack_state(L);
	lua_State *last = L;

	for (struct running *r = innermost; r && state != CLOSING; r = r->up) {
		if (r->kind == RESET)
			return CLOSING;
		if (r->L != last) {
			int s = stack_state(r->L);

			state = s > state ? s : state;
			last = r->L;
		}
	}
	return state;
}

static void push_interrupted(lua_State *L)
{
	const char *name = sigabbrev_np(pending);

	lua_pushfstring(L, "interrupted by SIG%s", name ? name : "?");
}

static int is_interrupted(lua_State *L, int index)
{
	int same;

	index = lua_absindex(L, index);
	push_interrupted(L);
	same = lua_rawequal(L, index, -1);
	lua_pop(L, 1);
	return same;
}

/*
 * A signal just before a blocking call would be missed by it: a timer knocks again, with the same signal, until the hook
 * has run.  After that it must be quiet, or it would end the calls of close handlers.
 */
static timer_t timer;
static int timer_signal; /* what it sends; 0: there is no timer yet */

static void knock(int sig, long nanoseconds)
{
	struct itimerspec in = { .it_value = { .tv_nsec = nanoseconds } };
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = sig };

	if (nanoseconds && timer_signal != sig) {
		if (timer_signal)
			syscall(SYS_timer_delete, timer);
		ev._sigev_un._tid = (pid_t)syscall(SYS_gettid);
		timer_signal = syscall(SYS_timer_create, CLOCK_MONOTONIC, &ev, &timer) == 0 ? sig : 0;
	}
	if (timer_signal)
		syscall(SYS_timer_settime, timer, 0, &in, NULL);
}

enum { KNOCK_AFTER = 20 * 1000 * 1000, KNOCK_NO_MORE = 0 };

static void hook(lua_State *L, lua_Debug *ar)
{
	int state;

	if (!pending || closing) { /* left on a coroutine after host_interrupt_clear */
		lua_sethook(L, NULL, 0, 0);
		return;
	}
	if (!seen) {
		seen = 1;
		knock(pending, KNOCK_NO_MORE);
	}
	if (ar->event == LUA_HOOKCALL) { /* a new function in this frame */
		struct mark *m = find_mark(L, ar->i_ci);

		if (m)
			*m = marks[--mark_count];
		if (is_handler(L, 0))
			add_mark(L, ar->i_ci, 0);
	}
	state = running_state(L);
	if (state == CLEANING) {
		lua_getinfo(L, "S", ar);
		if (*ar->what != 'C' && !inside_nslua(ar))
			state = STOP;
	}
	if (state != STOP)
		return;
	push_interrupted(L);
	lua_error(L);
}

static void arm(lua_State *L)
{
	lua_sethook(L, hook, LUA_MASKCALL | LUA_MASKCOUNT, 1);
}

/* Lua's own entry points, with a record kept. */

NSLUA_EXPORT int lua_resume(lua_State *L, lua_State *from, int narg, int *nres)
{
	struct running r;
	int status;

	enter(&r, L, RESUMED);
	if (pending)
		arm(L);
	status = nslua_lua_resume(L, from, narg, nres);
	innermost = r.up;
	if (pending && status > LUA_YIELD && running_state(from ? from : main_state) == STOP)
		lua_resetthread(L); /* leaves the error on top, as it was */
	return status;
}

NSLUA_EXPORT int lua_resetthread(lua_State *L)
{
	struct running r;
	int status;

	enter(&r, L, RESET);
	if (pending)
		arm(L);
	status = nslua_lua_resetthread(L);
	innermost = r.up;
	return status;
}

#if LUA_VERSION_RELEASE_NUM >= 50406
int nslua_lua_closethread(lua_State *L, lua_State *from);

NSLUA_EXPORT int lua_closethread(lua_State *L, lua_State *from)
{
	struct running r;
	int status;

	enter(&r, L, RESET);
	if (pending)
		arm(L);
	status = nslua_lua_closethread(L, from);
	innermost = r.up;
	return status;
}
#endif

NSLUA_EXPORT int lua_pcallk(lua_State *L, int nargs, int nresults, int msgh, lua_KContext ctx, lua_KFunction k)
{
	struct running r;
	lua_Debug ar;
	int status;

	if (k) /* may be left by a yield, which would leave the record behind */
		return nslua_lua_pcallk(L, nargs, nresults, msgh, ctx, k);
	enter(&r, L, PROTECTED);
	if (lua_getstack(L, 0, &ar)) {
		r.function = lua_topointer(L, -(nargs + 1));
		r.ci = ar.i_ci;
	}
	status = nslua_lua_pcallk(L, nargs, nresults, msgh, ctx, NULL);
	innermost = r.up;
	return status;
}

/* pcall and xpcall of Lua, except that what a signal raised goes on.  The first `extra` values are for the walk above. */

static int finish_pcall(lua_State *L, int status, lua_KContext extra)
{
	if (status == LUA_OK || status == LUA_YIELD)
		return lua_gettop(L) - (int)extra;
	if (pending) {
		int state = running_state(L);
		int again = state == CLEANING && is_interrupted(L, -1);

		if (state == STOP) {
			lua_Debug ar;

			again = 1;
			if (lua_getstack(L, 1, &ar) && lua_getinfo(L, "S", &ar) && inside_nslua(&ar)) {
				add_mark(L, ar.i_ci, 1);
				again = 0;
			}
		}
		if (again) {
			push_interrupted(L);
			return lua_error(L);
		}
	}
	lua_pushboolean(L, 0);
	lua_pushvalue(L, -2);
	return 2;
}

/* stack: f, true, f, arguments */
static int host_pcall(lua_State *L)
{
	luaL_checkany(L, 1);
	lua_pushvalue(L, 1);
	lua_pushboolean(L, 1);
	lua_rotate(L, 1, 2);
	return finish_pcall(L, nslua_lua_pcallk(L, lua_gettop(L) - 3, LUA_MULTRET, 0, 1, finish_pcall), 1);
}

/* stack: f, handler, true, f, arguments */
static int host_xpcall(lua_State *L)
{
	luaL_checktype(L, 2, LUA_TFUNCTION);
	lua_pushboolean(L, 1);
	lua_pushvalue(L, 1);
	lua_rotate(L, 3, 2);
	return finish_pcall(L, nslua_lua_pcallk(L, lua_gettop(L) - 4, LUA_MULTRET, 2, 2, finish_pcall), 2);
}

/* Signals */

static void on_signal(int sig, siginfo_t *info, void *context)
{
	int en = errno;
	struct timespec now;

	(void)context;
	if (getpid() != main_pid) /* a fork of the script: what it would close is not its own */
		host_default_action(sig);
	if (!pthread_equal(pthread_self(), main_thread)) {
		pthread_kill(main_thread, sig);
		goto out;
	}
	if (info->si_code == SI_TIMER) {
		if (pending && !seen)
			knock(sig, KNOCK_AFTER);
		goto out;
	}
	if (sig == SIGPIPE && (pending || !host_stdout_is_broken()))
		goto out; /* the writer of another pipe sees EPIPE */
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (pending) {
		/* timeout(1) and closing terminals send the same signal twice at once: that is one. */
		double s = (double)(now.tv_sec - pending_since.tv_sec) + (double)(now.tv_nsec - pending_since.tv_nsec) / 1e9;

		if (sig != pending || s > 0.05)
			host_default_action(sig);
		goto out;
	}
	pending_since = now;
	seen = 0;
	pending = sig;
	for (struct running *r = innermost; r; r = r->up)
		arm(r->L); /* documented as safe in a handler */
	knock(sig, KNOCK_AFTER);
out:
	errno = en;
}

int host_interrupt_pending(void)
{
	return pending;
}

void host_interrupt_clear(void)
{
	mark_count = 0;
	knock(pending, KNOCK_NO_MORE);
	pending = 0;
	for (struct running *r = innermost; r; r = r->up)
		lua_sethook(r->L, NULL, 0, 0);
}

/* The end */

/* Close what the running coroutines and the main one hold, innermost first, then the state. */
static void close_everything(void)
{
	if (closing)
		return;
	for (struct running *r = innermost; r; r = r->up)
		if (r->kind == RESUMED && r->L != main_state)
			lua_resetthread(r->L); /* this may be the caller's, who does not use it any more */
	closing = 1;
	lua_close(main_state);
}

static int finishing, finish_status;

/* Finalizers run from the youngest to the oldest, and this is the oldest: what is left is memory, which the kernel frees faster. */
static int last_finalizer(lua_State *L)
{
	(void)L;
	if (finishing && closing)
		host_end(finish_status);
	return 0;
}

void host_finish_early(lua_State *L)
{
	lua_newtable(L);
	lua_newtable(L);
	lua_pushcfunction(L, last_finalizer);
	lua_setfield(L, -2, "__gc");
	lua_setmetatable(L, -2);
	lua_setfield(L, LUA_REGISTRYINDEX, "nslua.last");
}

_Noreturn void host_finish(lua_State *L, int status)
{
	finishing = 1;
	finish_status = status;
	if (L == main_state)
		close_everything();
	else
		lua_close(L); /* the options were wrong: nothing was opened */
	host_end(status);
}

/* A C module that ends the program by itself, as luv does for an error in a callback, ends it as the signal should. */
static void at_exit(void)
{
	if (!pending || closing || getpid() != main_pid)
		return;
	close_everything();
	fflush(stdout);
	host_default_action(pending);
}

/* os.exit([code [, close]]): closes everything that is running unless close is false. */
static int host_exit(lua_State *L)
{
	int status = lua_isboolean(L, 1) ? (lua_toboolean(L, 1) ? EXIT_SUCCESS : EXIT_FAILURE) :
					   (int)luaL_optinteger(L, 1, EXIT_SUCCESS);
	int keep = lua_isboolean(L, 2) && !lua_toboolean(L, 2);

	if (getpid() != main_pid) { /* a fork of the script: what it would close is not its own */
		fflush(NULL);
		_exit(status);
	}
	if (keep || closing)
		exit(status);
	host_finish(main_state, status);
}

void host_interrupt_wrap(lua_State *L)
{
	lua_register(L, "pcall", host_pcall);
	lua_register(L, "xpcall", host_xpcall);
	lua_getglobal(L, "os");
	lua_pushcfunction(L, host_exit);
	lua_setfield(L, -2, "exit");
	lua_pop(L, 1);
}

void host_interrupt_open(lua_State *L)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE };
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO }; /* no SA_RESTART: a blocked call ends */
	lua_Integer ignored = 0;

	main_state = L;
	main_thread = pthread_self();
	main_pid = getpid();
	enter(&main_record, L, RESUMED);
	sigfillset(&sa.sa_mask);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		struct sigaction old;

		sigaction(signals[i], NULL, &old);
		if (signals[i] == SIGHUP && old.sa_handler == SIG_IGN) /* nohup */
			continue;
		if (old.sa_handler == SIG_IGN)
			ignored |= (lua_Integer)1 << signals[i];
		sigaction(signals[i], &sa, NULL);
	}
	lua_pushinteger(L, ignored); /* programs that are started get these back */
	lua_setfield(L, LUA_REGISTRYINDEX, "nslua.ignored");
	atexit(at_exit);
	lua_getglobal(L, "load");
	lua_load_function = lua_tocfunction(L, -1);
	lua_pop(L, 1);
}

/* SPDX-License-Identifier: MIT */
/* idmap.c - writes uid_map, gid_map and setgroups: directly, or by newuidmap(1) and newgidmap(1).  user_namespaces(7). */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "idmap.h"

static int fail_at(char *detail, size_t size, const char *what)
{
	int en = errno;

	snprintf(detail, size, "%s", what);
	errno = en;
	return -1;
}

/* The kernel takes a map once, in one write at offset 0. */
static int write_file(pid_t pid, const char *name, const char *text, size_t len, char *detail, size_t size)
{
	char path[48];
	ssize_t n;
	int fd, en;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return fail_at(detail, size, name);
	n = write(fd, text, len);
	en = errno;
	close(fd);
	if (n == (ssize_t)len)
		return 0;
	errno = n < 0 ? en : EIO;
	return fail_at(detail, size, name);
}

struct helper {
	const char *const *argv;
	int err; /* the write end of a pipe: its stderr */
	int en;  /* why exec failed */
};

static int helper_main(void *p)
{
	struct helper *h = p;

	if (dup2(h->err, 1) >= 0 && dup2(h->err, 2) >= 0) {
		/* A table of its own: nothing of ours but 0, 1 and 2 reaches a setuid program. */
		syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */);
		execvp(h->argv[0], (char *const *)h->argv);
	}
	h->en = errno;
	_exit(127);
}

/* What the helper said, on one line. */
static void read_words(int fd, char *detail, size_t size)
{
	size_t len = 0;
	char rest[256];
	ssize_t n;

	for (;;) {
		int full = len + 1 >= size;

		n = full ? read(fd, rest, sizeof(rest)) : read(fd, detail + len, size - 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		if (!full)
			len += (size_t)n;
	}
	while (len && detail[len - 1] == '\n')
		len--;
	detail[len] = '\0';
	for (char *c = detail; *c; c++)
		if (*c == '\n')
			*c = ' ';
}

static int run_helper(const char *program, pid_t pid, const struct nslua_idmap *m, char *detail, size_t size)
{
	const char *argv[2 + 3 * NSLUA_MAP_LINES + 1];
	_Alignas(16) char stack[32768]; /* execvp keeps PATH_MAX and more on it */
	char number[16];
	struct helper h = { argv, -1, 0 };
	int p[2], n = 0, status = 0;
	pid_t child;

	argv[n++] = program;
	snprintf(number, sizeof(number), "%d", (int)pid);
	argv[n++] = number;
	for (const char *c = m->text; c < m->text + m->len; c += strlen(c) + 1)
		argv[n++] = c;
	argv[n] = NULL;
	if (pipe2(p, O_CLOEXEC) < 0)
		return fail_at(detail, size, program);
	h.err = p[1];
	/* No exit signal: nobody else's wait() sees it, and an ignored SIGCHLD does not reap it. */
	child = nslua_vfork(helper_main, stack + sizeof(stack), 0, &h, sizeof(h));
	close(p[1]);
	if (child < 0) {
		int en = errno;

		close(p[0]);
		errno = en;
		return fail_at(detail, size, program);
	}
	read_words(p[0], detail, size);
	close(p[0]);
	while (waitpid(child, &status, __WALL) < 0)
		if (errno != EINTR) {
			status = -1;
			break;
		}
	if (h.en) {
		errno = h.en;
		return fail_at(detail, size, program);
	}
	if (status == 0)
		return 0;
	if (!*detail)
		snprintf(detail, size, WIFSIGNALED(status) ? "%s: killed by signal %d" : "%s: exit status %d", program,
			 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	errno = EPERM;
	return -1;
}

static int write_map(pid_t pid, const struct nslua_idmap *m, const char *file, const char *program, char *detail, size_t size)
{
	if (!m || !m->lines)
		return 0;
	if (m->helper)
		return run_helper(program, pid, m, detail, size);
	if (m->len >= (size_t)sysconf(_SC_PAGESIZE)) {
		snprintf(detail, size, "%s: %zu bytes, and the kernel takes less than a page", file, m->len);
		errno = EINVAL;
		return -1;
	}
	return write_file(pid, file, m->text, m->len, detail, size);
}

int nslua_idmap_apply(pid_t pid, const struct nslua_idmap *uid, const struct nslua_idmap *gid, int setgroups, char *detail, size_t size)
{
	if (setgroups >= 0) {
		const char *word = setgroups ? "allow" : "deny";

		/* Before Linux 3.19 there is no such file, and a gid map needs no deny. */
		if (write_file(pid, "setgroups", word, strlen(word), detail, size) < 0 && errno != ENOENT)
			return -1;
	}
	if (write_map(pid, gid, "gid_map", "newgidmap", detail, size) < 0)
		return -1;
	return write_map(pid, uid, "uid_map", "newuidmap", detail, size);
}

static unsigned int check_id(lua_State *L, int arg, int i)
{
	lua_Number v;

	lua_rawgeti(L, -1, i);
	luaL_argcheck(L, lua_type(L, -1) == LUA_TNUMBER, arg, "id map: three numbers expected");
	v = lua_tonumber(L, -1);
	luaL_argcheck(L, v >= 0 && v <= 4294967295.0 && v == (lua_Number)(unsigned int)v, arg, "id map: not an id");
	lua_pop(L, 1);
	return (unsigned int)v;
}

static void check_map(lua_State *L, int arg, const char *key, struct nslua_idmap *m)
{
	int n;

	m->lines = m->helper = 0;
	m->len = 0;
	lua_getfield(L, arg, key);
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		return;
	}
	luaL_argcheck(L, lua_istable(L, -1), arg, "id map: a table expected");
	lua_getfield(L, -1, "helper");
	m->helper = lua_toboolean(L, -1);
	lua_pop(L, 1);
	lua_getfield(L, -1, "ranges");
	luaL_argcheck(L, lua_istable(L, -1), arg, "id map: ranges expected");
	n = (int)lua_rawlen(L, -1);
	luaL_argcheck(L, n <= NSLUA_MAP_LINES, arg, "id map: more than 340 lines");
	for (int i = 1; i <= n; i++) {
		unsigned int inside, outside, count;
		char sep = m->helper ? '\0' : ' ';

		lua_rawgeti(L, -1, i);
		luaL_argcheck(L, lua_istable(L, -1), arg, "id map: a range expected");
		inside = check_id(L, arg, 1);
		outside = check_id(L, arg, 2);
		count = check_id(L, arg, 3);
		lua_pop(L, 1);
		m->len += (size_t)snprintf(m->text + m->len, sizeof(m->text) - m->len, "%u%c%u%c%u%c", inside, sep, outside, sep, count,
					   m->helper ? '\0' : '\n');
	}
	m->lines = n;
	lua_pop(L, 2);
}

void nslua_idmap_check(lua_State *L, int arg, struct nslua_idmap *uid, struct nslua_idmap *gid, int *setgroups)
{
	static const char *const words[] = { "deny", "allow", NULL };

	uid->lines = gid->lines = 0;
	*setgroups = -1;
	if (lua_isnoneornil(L, arg))
		return;
	arg = lua_absindex(L, arg);
	luaL_checktype(L, arg, LUA_TTABLE);
	check_map(L, arg, "uid", uid);
	check_map(L, arg, "gid", gid);
	lua_getfield(L, arg, "setgroups");
	if (!lua_isnil(L, -1))
		*setgroups = luaL_checkoption(L, -1, NULL, words);
	lua_pop(L, 1);
}

/* idmap.apply(pid, maps) -> true: write the maps of a child of ours. */
static int idmap_apply(lua_State *L)
{
	struct {
		struct nslua_idmap uid, gid;
	} *maps = lua_newuserdatauv(L, sizeof(*maps), 0);
	pid_t pid = (pid_t)luaL_checkinteger(L, 1);
	char detail[400];
	sigset_t all, old;
	int setgroups, rc, en;

	nslua_idmap_check(L, 2, &maps->uid, &maps->gid, &setgroups);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = nslua_idmap_apply(pid, &maps->uid, &maps->gid, setgroups, detail, sizeof(detail));
	en = errno;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc < 0)
		return nslua_failen(L, detail, en);
	lua_pushboolean(L, 1);
	return 1;
}

/* idmap.who() -> effective uid, effective gid, user name or nil, login shell or nil. */
static int idmap_who(lua_State *L)
{
	struct passwd pw, *found = NULL;
	char *buf;
	uid_t uid = geteuid();

	buf = lua_newuserdatauv(L, 16384, 0);
	lua_pushinteger(L, (lua_Integer)uid);
	lua_pushinteger(L, (lua_Integer)getegid());
	if (getpwuid_r(uid, &pw, buf, 16384, &found) != 0 || !found)
		return 2;
	lua_pushstring(L, pw.pw_name);
	lua_pushstring(L, pw.pw_shell);
	return 4;
}

/* idmap.lookup("uid" | "gid", name) -> its id on this system, or nil.  getpwnam(3), getgrnam(3) */
static int idmap_lookup(lua_State *L)
{
	static const char *const kinds[] = { "uid", "gid", NULL };
	int kind = luaL_checkoption(L, 1, NULL, kinds);
	const char *name = luaL_checkstring(L, 2);
	char *buf = lua_newuserdatauv(L, 65536, 0);
	struct passwd pw, *user = NULL;
	struct group gr, *group = NULL;

	if (kind == 0 && getpwnam_r(name, &pw, buf, 65536, &user) == 0 && user)
		lua_pushinteger(L, (lua_Integer)user->pw_uid);
	else if (kind == 1 && getgrnam_r(name, &gr, buf, 65536, &group) == 0 && group)
		lua_pushinteger(L, (lua_Integer)group->gr_gid);
	else
		lua_pushnil(L);
	return 1;
}

/* idmap.name(uid) -> the user's name on this system, or nil.  getpwuid(3) */
static int idmap_name(lua_State *L)
{
	uid_t uid = (uid_t)luaL_checknumber(L, 1);
	char *buf = lua_newuserdatauv(L, 65536, 0);
	struct passwd pw, *user = NULL;

	if (getpwuid_r(uid, &pw, buf, 65536, &user) == 0 && user)
		lua_pushstring(L, user->pw_name);
	else
		lua_pushnil(L);
	return 1;
}

/* idmap.capable("sys_admin") -> whether the calling thread has it in its own user namespace.  capabilities(7). */
static int idmap_capable(lua_State *L)
{
	static const char *const names[] = { "setgid", "setuid", "net_admin", "sys_admin", "setfcap", NULL };
	static const int numbers[] = { CAP_SETGID, CAP_SETUID, CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_SETFCAP };
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];
	int cap = numbers[luaL_checkoption(L, 1, NULL, names)];

	if (syscall(SYS_capget, &head, data) < 0)
		return nslua_fail(L, "capget");
	lua_pushboolean(L, data[CAP_TO_INDEX(cap)].effective & CAP_TO_MASK(cap));
	return 1;
}

static const luaL_Reg idmap_functions[] = {
	{ "apply", idmap_apply }, { "who", idmap_who }, { "lookup", idmap_lookup }, { "name", idmap_name }, { "capable", idmap_capable }, { NULL, NULL },
};

int nslua_open_idmap(lua_State *L)
{
	luaL_newlib(L, idmap_functions);
	return 1;
}

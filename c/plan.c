/* SPDX-License-Identifier: MIT */
/*
 * plan.c - read a normalised plan (lua/nslua/plan.lua makes it) into one struct before the fork.
 * Every block is a userdata anchored in a table which stays on the stack: an error frees all, and after the fork
 * nothing is allocated any more.
 */
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>
#include "idmap.h"
#include "spawn.h"

extern char **environ;

#define PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct reader {
	lua_State *L;
	int table;  /* the plan */
	int anchor; /* what keeps the blocks */
};

static void *block(struct reader *r, size_t size)
{
	void *p = lua_newuserdatauv(r->L, size ? size : 1, 0);

	memset(p, 0, size ? size : 1);
	lua_rawseti(r->L, r->anchor, (int)lua_rawlen(r->L, r->anchor) + 1);
	return p;
}

/* A string of the plan: kept by the table the caller passed, which outlives the call. */
static const char *text(struct reader *r, const char *key)
{
	const char *s;

	lua_getfield(r->L, r->table, key);
	s = lua_isnil(r->L, -1) ? NULL : luaL_checkstring(r->L, -1);
	lua_pop(r->L, 1);
	return s;
}

static long number(struct reader *r, const char *key, long absent)
{
	long n;

	lua_getfield(r->L, r->table, key);
	n = lua_isnil(r->L, -1) ? absent : (long)luaL_checknumber(r->L, -1);
	lua_pop(r->L, 1);
	return n;
}

static int flag(struct reader *r, const char *key)
{
	int v;

	lua_getfield(r->L, r->table, key);
	v = lua_toboolean(r->L, -1);
	lua_pop(r->L, 1);
	return v;
}

/* Push plan[key] and return its length, or 0 with nothing pushed where it is absent. */
static int list(struct reader *r, const char *key)
{
	int n;

	lua_getfield(r->L, r->table, key);
	if (lua_isnil(r->L, -1)) {
		lua_pop(r->L, 1);
		return 0;
	}
	luaL_checktype(r->L, -1, LUA_TTABLE);
	n = (int)lua_rawlen(r->L, -1);
	if (!n)
		lua_pop(r->L, 1);
	return n;
}

/* Fields of the table on top of the stack. */
static const char *field_text(struct reader *r, const char *key)
{
	const char *s;

	lua_getfield(r->L, -1, key);
	s = lua_isnil(r->L, -1) ? NULL : luaL_checkstring(r->L, -1);
	lua_pop(r->L, 1);
	return s;
}

static int field_fd(struct reader *r, const char *key)
{
	int fd;

	lua_getfield(r->L, -1, key);
	fd = nslua_checkfd(r->L, lua_gettop(r->L));
	lua_pop(r->L, 1);
	return fd;
}

static double field_number(struct reader *r, const char *key)
{
	double n;

	lua_getfield(r->L, -1, key);
	n = luaL_optnumber(r->L, -1, 0);
	lua_pop(r->L, 1);
	return n;
}

static void read_argv(struct reader *r, struct plan *p)
{
	int n = list(r, "argv");

	if (!n)
		return;
	p->argv = (char **)block(r, sizeof(char *) * (size_t)(n + 2)) + 1;
	for (int i = 0; i < n; i++) {
		lua_rawgeti(r->L, -1, i + 1);
		p->argv[i] = (char *)(uintptr_t)luaL_checkstring(r->L, -1);
		lua_pop(r->L, 1);
	}
	lua_pop(r->L, 1);
}

static const char *env_get(char **envp, const char *name)
{
	size_t len = strlen(name);

	for (; *envp; envp++)
		if (!strncmp(*envp, name, len) && (*envp)[len] == '=')
			return *envp + len + 1;
	return NULL;
}

/* env = { "X=1", "Y" } sets X and unsets Y in the caller's environment, or in an empty one. */
static void read_env(struct reader *r, struct plan *p)
{
	static char *nothing[] = { NULL };
	int nset, count = 0, n = 0;
	char **base = environ && !flag(r, "clear_env") ? environ : nothing;

	while (base[count])
		count++;
	nset = list(r, "env");
	if (!nset && base == environ) {
		p->envp = environ;
		return;
	}
	p->envp = block(r, sizeof(char *) * (size_t)(count + nset + 1));
	for (int i = 0; i < count; i++) {
		int replaced = 0;

		for (int k = 1; k <= nset && !replaced; k++) {
			const char *e;
			size_t len;

			lua_rawgeti(r->L, -1, k);
			e = luaL_checkstring(r->L, -1);
			len = strcspn(e, "=");
			replaced = !strncmp(base[i], e, len) && base[i][len] == '=';
			lua_pop(r->L, 1);
		}
		if (!replaced)
			p->envp[n++] = base[i];
	}
	for (int k = 1; k <= nset; k++) {
		const char *e;

		lua_rawgeti(r->L, -1, k);
		e = luaL_checkstring(r->L, -1);
		if (strchr(e, '=')) /* without one: unset */
			p->envp[n++] = (char *)(uintptr_t)e;
		lua_pop(r->L, 1);
	}
	if (nset)
		lua_pop(r->L, 1);
}

/* The candidates of execvp(3), looked for in the view of the program, with the PATH of the program. */
static void read_paths(struct reader *r, struct plan *p)
{
	const char *name = p->argv[0], *path;
	size_t count = 1, len = strlen(name);
	int n = 0;

	if (strchr(name, '/') || !*name) {
		p->paths = block(r, sizeof(char *) * 2);
		p->paths[0] = p->argv[0];
		return;
	}
	path = env_get(p->envp, "PATH");
	if (!path)
		path = PATH_DEFAULT;
	for (const char *s = path; *s; s++)
		count += *s == ':';
	p->paths = block(r, sizeof(char *) * (count + 1));
	for (;;) {
		size_t dir = strcspn(path, ":");
		char *full = block(r, dir + len + 3);

		memcpy(full, dir ? path : ".", dir ? dir : 1);
		full[dir ? dir : 1] = '/';
		memcpy(full + (dir ? dir : 1) + 1, name, len + 1);
		p->paths[n++] = full;
		if (!path[dir])
			break;
		path += dir + 1;
	}
}

static void read_joins(struct reader *r, struct plan *p)
{
	int n = list(r, "join");

	luaL_argcheck(r->L, n <= PLAN_JOINS, 1, "too many namespaces to join");
	for (int i = 0; i < n; i++) {
		lua_rawgeti(r->L, -1, i + 1);
		p->join[i].fd = field_fd(r, "fd");
		p->join[i].type = (int)field_number(r, "type");
		p->joined |= p->join[i].type;
		lua_pop(r->L, 1);
	}
	p->njoin = n;
	if (n)
		lua_pop(r->L, 1);
}

static void read_mounts(struct reader *r, struct plan *p)
{
	int n = list(r, "mounts");

	if (!n)
		return;
	p->mounts = block(r, sizeof(*p->mounts) * (size_t)n);
	p->nmounts = n;
	for (int i = 0; i < n; i++) {
		struct plan_mount *m = &p->mounts[i];

		lua_rawgeti(r->L, -1, i + 1);
		m->bind = field_text(r, "bind");
		m->to = field_text(r, "to");
		m->data = field_text(r, "data");
		m->ro = field_number(r, "ro") != 0;
		m->tree = -1;
		luaL_argcheck(r->L, m->to, 1, "mount without a place");
		lua_pop(r->L, 1);
	}
	lua_pop(r->L, 1);
}

static void read_files(struct reader *r, struct plan *p)
{
	int n = list(r, "files");

	if (!n)
		return;
	p->files = block(r, sizeof(*p->files) * (size_t)n);
	p->nfiles = n;
	for (int i = 0; i < n; i++) {
		lua_rawgeti(r->L, -1, i + 1);
		p->files[i].name = field_text(r, "name");
		p->files[i].text = field_text(r, "text");
		luaL_argcheck(r->L, p->files[i].name && p->files[i].text, 1, "file without a name or text");
		p->files[i].len = strlen(p->files[i].text);
		lua_pop(r->L, 1);
	}
	lua_pop(r->L, 1);
}

static void read_offsets(struct reader *r, struct plan *p)
{
	int n = list(r, "time");

	luaL_argcheck(r->L, n <= 2, 1, "too many clocks");
	for (int i = 0; i < n; i++) {
		lua_rawgeti(r->L, -1, i + 1);
		p->offset[i].clock = field_text(r, "clock");
		p->offset[i].sec = (long long)field_number(r, "sec");
		p->offset[i].nsec = (long)field_number(r, "nsec");
		lua_pop(r->L, 1);
	}
	p->noffset = n;
	if (n)
		lua_pop(r->L, 1);
}

/* What nslua.idmap.resolve() returned. */
static void read_maps(struct reader *r, struct plan *p)
{
	p->setgroups = -1;
	lua_getfield(r->L, r->table, "maps");
	if (!lua_isnil(r->L, -1)) {
		p->uid_map = block(r, sizeof(*p->uid_map));
		p->gid_map = block(r, sizeof(*p->gid_map));
		nslua_idmap_check(r->L, lua_gettop(r->L), p->uid_map, p->gid_map, &p->setgroups);
	}
	lua_pop(r->L, 1);
}

static void read_groups(struct reader *r, struct plan *p)
{
	int n;

	p->ngroups = -1;
	lua_getfield(r->L, r->table, "groups");
	if (lua_type(r->L, -1) == LUA_TSTRING) {
		p->ngroups = GROUPS_KEEP;
	} else if (!lua_isnil(r->L, -1)) {
		luaL_checktype(r->L, -1, LUA_TTABLE);
		n = (int)lua_rawlen(r->L, -1);
		p->groups = block(r, sizeof(gid_t) * (size_t)n);
		for (int i = 0; i < n; i++) {
			lua_rawgeti(r->L, -1, i + 1);
			p->groups[i] = (gid_t)luaL_checknumber(r->L, -1);
			lua_pop(r->L, 1);
		}
		p->ngroups = n;
	}
	lua_pop(r->L, 1);
}

/* persist = { { type = CLONE_NEW*, word = "net", path = }, ... } */
static void read_persist(struct reader *r, struct plan *p)
{
	int n = list(r, "persist");

	luaL_argcheck(r->L, n <= PLAN_TYPES, 1, "too many namespaces to bind");
	for (int i = 0; i < n; i++) {
		lua_rawgeti(r->L, -1, i + 1);
		p->persist[i].type = (int)field_number(r, "type");
		p->persist[i].word = field_text(r, "word");
		p->persist[i].path = field_text(r, "path");
		luaL_argcheck(r->L, p->persist[i].word && p->persist[i].path, 1, "nothing to bind");
		lua_pop(r->L, 1);
	}
	p->npersist = n;
	if (n)
		lua_pop(r->L, 1);
}

static void read_cgroup(struct reader *r, struct plan *p)
{
	int n = list(r, "cgroup");

	luaL_argcheck(r->L, n <= PLAN_CGROUPS, 1, "too many cgroups");
	for (int i = 0; i < n; i++) {
		lua_rawgeti(r->L, -1, i + 1);
		p->cgroup[i] = nslua_checkfd(r->L, lua_gettop(r->L));
		lua_pop(r->L, 1);
	}
	p->ncgroup = n;
	if (n)
		lua_pop(r->L, 1);
}

/* stdin, stdout, stderr: an fd, "inherit", or "stdout" for stderr: where stdout goes. */
static void read_stdio(struct reader *r, struct plan *p)
{
	static const char *const keys[] = { "stdin", "stdout", "stderr" };

	for (int i = 0; i < 3; i++) {
		lua_getfield(r->L, r->table, keys[i]);
		p->stdio_fd[i] = -1;
		if (lua_type(r->L, -1) == LUA_TSTRING) {
			p->stdio[i] = *lua_tostring(r->L, -1) == 's' ? STDIO_OUT : STDIO_INHERIT;
		} else if (!lua_isnil(r->L, -1)) {
			p->stdio[i] = STDIO_FD;
			p->stdio_fd[i] = nslua_checkfd(r->L, lua_gettop(r->L));
		}
		lua_pop(r->L, 1);
	}
}

static void read_keep(struct reader *r, struct plan *p)
{
	int n = list(r, "fds");

	p->inherit = flag(r, "inherit_fds");
	if (!n)
		return;
	p->keep = block(r, sizeof(*p->keep) * (size_t)n);
	p->nkeep = n;
	for (int i = 0; i < n; i++) {
		lua_rawgeti(r->L, -1, i + 1);
		p->keep[i].fd = field_fd(r, "fd");
		p->keep[i].as = (int)field_number(r, "as");
		lua_pop(r->L, 1);
	}
	lua_pop(r->L, 1);
}

static int optional_fd(struct reader *r, const char *key)
{
	int fd = -1;

	lua_getfield(r->L, r->table, key);
	if (!lua_isnil(r->L, -1))
		fd = nslua_checkfd(r->L, lua_gettop(r->L));
	lua_pop(r->L, 1);
	return fd;
}

struct plan *nslua_readplan(lua_State *L, int arg)
{
	struct reader reader = { .L = L, .table = arg }, *r = &reader;
	const char *argv0;
	struct plan *p;

	luaL_checktype(L, arg, LUA_TTABLE);
	luaL_checkstack(L, 16, "plan");
	lua_newtable(L);
	r->anchor = lua_gettop(L);
	p = block(r, sizeof(*p));
	p->report = block(r, sizeof(*p->report));
	p->status = p->gift = -1;

	read_argv(r, p);
	read_env(r, p);
	p->fork = flag(r, "fork");
	lua_getfield(L, LUA_REGISTRYINDEX, "nslua.ignored");
	p->ignored = (long)lua_tointeger(L, -1);
	lua_pop(L, 1);
	if (p->argv)
		read_paths(r, p);
	argv0 = text(r, "argv0");
	if (argv0 && p->argv)
		p->argv[0] = (char *)(uintptr_t)argv0;
	read_joins(r, p);
	p->unshare = (int)number(r, "unshare", 0);
	read_maps(r, p);
	p->become_uid = number(r, "become_uid", -1);
	p->become_gid = number(r, "become_gid", -1);
	read_offsets(r, p);
	p->propagation = (unsigned long)number(r, "propagation", 0);
	p->hostname = text(r, "hostname");
	p->lo = flag(r, "lo");
	p->owner_uid = number(r, "owner_uid", -1);
	p->owner_gid = number(r, "owner_gid", -1);
	read_persist(r, p);
	read_cgroup(r, p);
	p->sys = flag(r, "sys");
	p->etc = text(r, "etc");
	read_files(r, p);
	read_mounts(r, p);
	p->proc = text(r, "mount_proc");
	p->binfmt = text(r, "binfmt");
	p->binfmt_register = text(r, "binfmt_register");
	p->root = text(r, "root");
	p->root_fd = optional_fd(r, "root_fd");
	p->cwd = text(r, "cwd");
	p->cwd_fd = optional_fd(r, "cwd_fd");
	p->uid = number(r, "uid", -1);
	p->gid = number(r, "gid", -1);
	read_groups(r, p);
	p->keep_ids = flag(r, "keep_ids");
	p->keep_caps = flag(r, "keep_caps");
	p->context = text(r, "context");
	p->death_signal = (int)number(r, "death_signal", SIGKILL);
	read_stdio(r, p);
	read_keep(r, p);
	p->pty = optional_fd(r, "pty");
	p->group = flag(r, "group");
	p->keyboard = flag(r, "keyboard");
	p->foreground = optional_fd(r, "foreground");
	p->init = flag(r, "init");
	p->give_view = flag(r, "give_view");
	p->tell = flag(r, "tell");
	if ((p->joined & CLONE_NEWNS) && !p->cwd && p->cwd_fd < 0) {
		p->here = block(r, PATH_MAX);
		if (!getcwd(p->here, PATH_MAX))
			p->here[0] = 0;
	}
	return p;
}

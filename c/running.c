/* SPDX-License-Identifier: MIT */
/* running.c - running labs from outside of them: the socket of a lab's name, and conversations with the keeper that answers there (hold.c). */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include "hold.h"
#include "nslua.h"

#define RUNNING "nslua.running"
#define PATIENCE 5                   /* seconds for an answer: it comes at once */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define DESCRIPTION_MAX (64 << 20)

/* The name as an abstract address; its length, 0 where it does not fit. unix(7) */
static socklen_t address(lua_State *L, int arg, struct sockaddr_un *a)
{
	size_t len;
	const char *name = luaL_checklstring(L, arg, &len);

	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	if (len > sizeof(a->sun_path) - 1)
		return 0;
	memcpy(a->sun_path + 1, name, len);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len);
}

/* running.bind(name) -> fd that has the abstract name and nobody else can have; nobody answers there yet. */
static int running_bind(lua_State *L)
{
	struct sockaddr_un a;
	socklen_t len = address(L, 1, &a);
	struct nslua_fd *h = nslua_newfd(L);

	if (!len)
		return nslua_failen(L, "bind", ENAMETOOLONG);
	h->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (h->fd < 0)
		return nslua_fail(L, "socket");
	if (bind(h->fd, (struct sockaddr *)&a, len) < 0)
		return nslua_fail(L, "bind");
	return 1;
}

/* running.describe(text) -> fd of a memory file with that text, which nobody can change any more. */
static int running_describe(lua_State *L)
{
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	struct nslua_fd *h = nslua_newfd(L);

	h->fd = memfd_create("nslua-lab", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (h->fd < 0)
		return nslua_fail(L, "memfd_create");
	for (size_t done = 0; done < len;) {
		ssize_t n = write(h->fd, text + done, len - done);

		if (n < 0 && errno != EINTR)
			return nslua_fail(L, "write");
		done += n > 0 ? (size_t)n : 0;
	}
	if (fcntl(h->fd, F_ADD_SEALS, SEALS) < 0)
		return nslua_fail(L, "F_ADD_SEALS");
	return 1;
}

/* running.read(fd) -> the text of such a file.  Any other is refused: reading it could take for ever. */
static int running_read(lua_State *L)
{
	int fd = nslua_checkfd(L, 1), seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	char *buf;
	size_t done = 0;

	if (seals < 0 || (seals & SEALS) != SEALS)
		return nslua_failen(L, "no sealed file", EINVAL);
	if (fstat(fd, &st) < 0)
		return nslua_fail(L, "fstat");
	if (st.st_size > DESCRIPTION_MAX)
		return nslua_failen(L, "description", EFBIG);
	buf = lua_newuserdatauv(L, (size_t)st.st_size + 1, 0);
	while (done < (size_t)st.st_size) {
		ssize_t n = pread(fd, buf + done, (size_t)st.st_size - done, (off_t)done); /* others read it too: no place of ours */

		if (n == 0)
			break;
		if (n < 0 && errno != EINTR)
			return nslua_fail(L, "pread");
		done += n > 0 ? (size_t)n : 0;
	}
	lua_pushlstring(L, buf, done);
	return 1;
}

struct running {
	struct nslua_fd fd;
	struct ucred keeper; /* its pid and user, as seen from here */
	uid_t uid;           /* whom we ask for */
};

static int running_gc(lua_State *L)
{
	struct running *r = luaL_checkudata(L, 1, RUNNING);

	if (r->fd.fd >= 0)
		close(r->fd.fd);
	r->fd.fd = -1;
	return 0;
}

static int connect_to(struct running *r, const struct sockaddr_un *a, socklen_t len, const char **step)
{
	struct timeval t = { .tv_sec = PATIENCE };
	socklen_t size = sizeof(r->keeper);

	*step = "socket";
	r->fd.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (r->fd.fd < 0)
		return -1;
	*step = "connect";
	setsockopt(r->fd.fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(r->fd.fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
	if (connect(r->fd.fd, (const struct sockaddr *)a, len) < 0)
		return -1;
	*step = "SO_PEERCRED";
	if (getsockopt(r->fd.fd, SOL_SOCKET, SO_PEERCRED, &r->keeper, &size) < 0)
		return -1;
	*step = "the name belongs to another user";
	errno = EPERM;
	return r->keeper.uid == r->uid ? 0 : -1;
}

/* running.connect(name, uid) -> conversation with the keeper of a lab of that user. */
static int running_connect(lua_State *L)
{
	struct sockaddr_un a;
	socklen_t len = address(L, 1, &a);
	uid_t uid = (uid_t)luaL_checkinteger(L, 2);
	struct running *r = lua_newuserdatauv(L, sizeof(*r), 0);
	const char *step = "connect";

	r->fd.fd = -1;
	r->uid = uid;
	luaL_setmetatable(L, RUNNING);
	if (!len)
		return nslua_failen(L, step, ENAMETOOLONG);
	if (connect_to(r, &a, len, &step) < 0)
		return nslua_fail(L, step);
	return 1;
}

/* Root may say that it is the lab's user; the kernel checks that it may. unix(7), SCM_CREDENTIALS */
static int ask(const struct running *r, enum nslua_hold_op op, uint32_t first)
{
	struct nslua_hold_request q = { HOLD_MAGIC, op, first };
	struct ucred u = { getpid(), r->uid, getegid() };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(u))];
	} control = { .buf = { 0 } };
	struct iovec iov = { &q, sizeof(q) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (r->uid != geteuid()) {
		m.msg_control = control.buf;
		m.msg_controllen = sizeof(control.buf);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_CREDENTIALS;
		control.align.cmsg_len = CMSG_LEN(sizeof(u));
		memcpy(CMSG_DATA(&control.align), &u, sizeof(u));
	}
	return sendmsg(r->fd.fd, &m, MSG_NOSIGNAL) == (ssize_t)sizeof(q) ? 0 : -1;
}

/* The answer and how many fds came along; -1 with errno. */
static int hear(const struct running *r, struct nslua_hold_answer *a, int *fds)
{
	union nslua_hold_control control;
	struct iovec iov = { a, sizeof(*a) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf) };
	ssize_t n;
	int count, en;

	do
		n = recvmsg(r->fd.fd, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -1;
	count = nslua_hold_detach(&m, fds);
	en = n == 0 ? ECONNRESET : n != (ssize_t)sizeof(*a) || a->magic != HOLD_MAGIC ? EPROTO : m.msg_flags & MSG_CTRUNC ? EMFILE : a->en;
	if (!en)
		return count;
	while (count > 0)
		close(fds[--count]);
	errno = en;
	return -1;
}

static struct running *self(lua_State *L)
{
	struct running *r = luaL_checkudata(L, 1, RUNNING);

	luaL_argcheck(L, r->fd.fd >= 0, 1, "closed");
	return r;
}

/* conversation:get(first) -> fds from that number (from 0) on, as many as come at once; how many there are; whether the lab is kept. */
static int running_get(lua_State *L)
{
	const struct running *r = self(L);
	uint32_t first = (uint32_t)luaL_checkinteger(L, 2);
	struct nslua_fd *handles[HOLD_FDS];
	struct nslua_hold_answer a;
	int fds[HOLD_FDS + 3], n;

	lua_createtable(L, HOLD_FDS, 0);
	for (int i = 0; i < HOLD_FDS; i++) { /* before there is anything to lose */
		handles[i] = nslua_newfd(L);
		lua_rawseti(L, -2, i + 1);
	}
	if (ask(r, HOLD_GET, first) < 0)
		return nslua_fail(L, "ask");
	n = hear(r, &a, fds);
	if (n < 0)
		return nslua_fail(L, "ask");
	for (int i = 0; i < HOLD_FDS; i++) {
		if (i < n) {
			handles[i]->fd = fds[i];
		} else {
			lua_pushnil(L);
			lua_rawseti(L, -2, i + 1);
		}
	}
	lua_pushinteger(L, a.total);
	lua_pushboolean(L, a.kept != 0);
	return 3;
}

/* conversation:finish() -> true: the keeper ends, and everything in its pid namespace. */
static int running_finish(lua_State *L)
{
	const struct running *r = self(L);
	struct nslua_hold_answer a;
	int fds[HOLD_FDS + 3], n;

	if (ask(r, HOLD_END, 0) < 0)
		return nslua_fail(L, "ask");
	n = hear(r, &a, fds);
	if (n < 0)
		return nslua_fail(L, "ask");
	while (n > 0)
		close(fds[--n]);
	lua_pushboolean(L, 1);
	return 1;
}

/* conversation:pid() -> of the keeper, as seen from here; 0 where it cannot be seen. */
static int running_pid(lua_State *L)
{
	lua_pushinteger(L, self(L)->keeper.pid);
	return 1;
}

static int running_close(lua_State *L)
{
	running_gc(L);
	lua_pushboolean(L, 1);
	return 1;
}

static const luaL_Reg running_methods[] = {
	{ "get", running_get }, { "finish", running_finish }, { "pid", running_pid }, { "close", running_close }, { NULL, NULL },
};
static const luaL_Reg running_meta[] = {
	{ "__gc", running_gc }, { "__close", running_close }, { NULL, NULL },
};
static const luaL_Reg running_functions[] = {
	{ "bind", running_bind }, { "describe", running_describe }, { "read", running_read }, { "connect", running_connect }, { NULL, NULL },
};

int nslua_open_running(lua_State *L)
{
	nslua_newclass(L, RUNNING, running_methods, running_meta);
	luaL_newlib(L, running_functions);
	return 1;
}

/* SPDX-License-Identifier: MIT */
/*
 * board.c - a text in memory that several processes share: whoever holds the fd writes another or reads the last, and sees at once whether it is
 * new.  A memory file: what others hold may be read without waiting for anybody.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "nslua.h"

#define BOARD_MAX (64 << 20)
#define TRIES 100
#define PATIENCE 5000 /* milliseconds for another writer, who needs none: else it was stopped */

struct text {
	uint64_t at; /* in the file */
	uint64_t len;
};

/* The text of a generation is texts[generation % 2]. The other one is written meanwhile, so that who is killed at it leaves the last. */
struct head {
	uint64_t generation;
	struct text texts[2];
};

static ssize_t put(int fd, const void *from, size_t len, off_t at)
{
	const char *p = from;
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(fd, p + done, len - done, at + (off_t)done);

		if (n < 0 && errno != EINTR)
			return -1;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* How much was there. */
static ssize_t get(int fd, void *to, size_t len, off_t at)
{
	char *p = to;
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, p + done, len - done, at + (off_t)done);

		if (n < 0 && errno != EINTR)
			return -1;
		if (n == 0)
			break;
		done += n > 0 ? (size_t)n : 0;
	}
	return (ssize_t)done;
}

/* board.new() -> fd of one that is empty. */
static int board_new(lua_State *L)
{
	struct nslua_fd *h = nslua_newfd(L);

	h->fd = memfd_create("nslua-board", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (h->fd < 0)
		return nslua_fail(L, "memfd_create");
	return 1;
}

enum { WRITER, TURN }; /* places in the file that locks are of */

/* The lock is of this process: copies of the fd in others are kept out. */
static int lock(int fd, int how, off_t place, short type)
{
	struct flock f = { .l_type = type, .l_whence = SEEK_SET, .l_start = place, .l_len = 1 };
	int rc;

	do
		rc = fcntl(fd, how, &f);
	while (rc < 0 && errno == EINTR);
	return rc;
}

/* board.lock(fd, on) -> true: other processes that want it are told EAGAIN until it is off, or this process ends. */
static int board_lock(lua_State *L)
{
	if (lock(nslua_checkfd(L, 1), F_SETLK, TURN, lua_toboolean(L, 2) ? F_WRLCK : F_UNLCK) < 0)
		return nslua_failen(L, "lock", errno == EACCES ? EAGAIN : errno);
	lua_pushboolean(L, 1);
	return 1;
}

/* Where so much finds room beside the text that others read. */
static off_t room(const struct text *now, size_t len)
{
	off_t begin = (off_t)sizeof(struct head);

	return now->len == 0 || (off_t)(begin + len) <= (off_t)now->at ? begin : (off_t)(now->at + now->len);
}

/* board.write(fd, text) -> its generation. */
static int board_write(lua_State *L)
{
	int fd = nslua_checkfd(L, 1), rc, en;
	size_t len;
	const char *text = luaL_checklstring(L, 2, &len);
	struct head h = { 0 };
	struct text *next = NULL;

	luaL_argcheck(L, len <= BOARD_MAX, 2, "too long");
	rc = lock(fd, F_SETLK, WRITER, F_WRLCK);
	for (int waited = 0; rc < 0 && (errno == EAGAIN || errno == EACCES) && waited < PATIENCE; waited++) {
		usleep(1000);
		rc = lock(fd, F_SETLK, WRITER, F_WRLCK);
	}
	if (rc < 0)
		return nslua_fail(L, "lock");
	rc = get(fd, &h, sizeof(h), 0) < 0 ? -1 : 0;
	if (rc == 0) {
		off_t at = room(&h.texts[h.generation % 2], len);

		h.generation++;
		next = &h.texts[h.generation % 2];
		*next = (struct text){ .at = (uint64_t)at, .len = len };
		rc = (int)put(fd, text, len, at);
	}
	rc = rc < 0 ? rc : (int)put(fd, next, sizeof(*next), (off_t)(offsetof(struct head, texts) + h.generation % 2 * sizeof(*next)));
	rc = rc < 0 ? rc : (int)put(fd, &h.generation, sizeof(h.generation), 0); /* from now on it is the last */
	en = errno;
	lock(fd, F_SETLK, WRITER, F_UNLCK);
	errno = en;
	if (rc < 0)
		return nslua_fail(L, "write");
	lua_pushinteger(L, (lua_Integer)h.generation);
	return 1;
}

/*
 * board.read(fd [, generation]) -> text, its generation; nil where nothing was written, or nothing since that generation; nil, "what: reason", errno.
 * What is no memory file is refused: reading it could take for ever.
 */
static int board_read(lua_State *L)
{
	int fd = nslua_checkfd(L, 1);
	uint64_t known = (uint64_t)luaL_optinteger(L, 2, 0), again;
	struct head h = { 0 };
	const struct text *t;
	char *buf;

	if (fcntl(fd, F_GET_SEALS) < 0)
		return nslua_failen(L, "no memory file", EINVAL);
	for (int i = 0; i < TRIES; i++) {
		if (get(fd, &h, sizeof(h), 0) < 0)
			return nslua_fail(L, "read");
		if (!h.generation || h.generation == known) {
			lua_pushnil(L);
			return 1;
		}
		t = &h.texts[h.generation % 2];
		if (t->len <= BOARD_MAX && t->at <= 4 * (uint64_t)BOARD_MAX) {
			buf = lua_newuserdatauv(L, (size_t)t->len + 1, 0);
			if (get(fd, buf, (size_t)t->len, (off_t)t->at) == (ssize_t)t->len && get(fd, &again, sizeof(again), 0) == (ssize_t)sizeof(again)
			    && again == h.generation) {
				lua_pushlstring(L, buf, (size_t)t->len);
				lua_pushinteger(L, (lua_Integer)h.generation);
				return 2;
			}
			lua_pop(L, 1);
		}
		usleep(100); /* another has been written meanwhile */
	}
	return nslua_failen(L, "board", h.texts[h.generation % 2].len > BOARD_MAX ? EFBIG : EAGAIN);
}

static const luaL_Reg board_functions[] = {
	{ "new", board_new }, { "write", board_write }, { "read", board_read }, { "lock", board_lock }, { NULL, NULL },
};

int nslua_open_board(lua_State *L)
{
	luaL_newlib(L, board_functions);
	return 1;
}

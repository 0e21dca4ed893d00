/* SPDX-License-Identifier: MIT */
/* place.h - mounts by file descriptor, for the children of spawn.c. */
#ifndef NSLUA_PLACE_H
#define NSLUA_PLACE_H

#include "spawn.h"

int place_open_tree(int dir, const char *path, unsigned int flags); /* a detached copy */
int place_move(int tree, int to);                                   /* a detached tree onto an open place */
int place_open(int root, const char *path);                         /* O_PATH, no symlink leads out of root */
int place_mount_at(int dir, const char *type, unsigned long flags, const char *data);

#endif

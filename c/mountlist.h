/* SPDX-License-Identifier: MIT */
/* mountlist.h - statmount(2) and listmount(2), Linux 6.8: mounts without the text of mountinfo.  linux/mount.h, for older headers. */
#ifndef NSLUA_MOUNTLIST_H
#define NSLUA_MOUNTLIST_H

#include <stdint.h>
#include <sys/syscall.h>

#ifndef SYS_statmount
#define SYS_statmount 457
#endif
#ifndef SYS_listmount
#define SYS_listmount 458
#endif

#define NSLUA_STATX_MNT_ID_UNIQUE 0x4000U
#define NSLUA_STATMOUNT_SB_BASIC 0x1U
#define NSLUA_STATMOUNT_MNT_BASIC 0x2U
#define NSLUA_STATMOUNT_MNT_ROOT 0x8U
#define NSLUA_STATMOUNT_MNT_POINT 0x10U

struct nslua_mnt_id_req {
	uint32_t size; /* of this, version 0: 24 */
	uint32_t mnt_ns_fd;
	uint64_t mnt_id;
	uint64_t param; /* statmount: what is asked; listmount: the last id of the list before */
};

struct nslua_statmount {
	uint32_t size;
	uint32_t mnt_opts;
	uint64_t mask;
	uint32_t sb_dev_major, sb_dev_minor;
	uint64_t sb_magic;
	uint32_t sb_flags;
	uint32_t fs_type;
	uint64_t mnt_id, mnt_parent_id;
	uint32_t mnt_id_old, mnt_parent_id_old;
	uint64_t mnt_attr; /* MOUNT_ATTR_* */
	uint64_t mnt_propagation, mnt_peer_group, mnt_master, propagate_from;
	uint32_t mnt_root, mnt_point; /* [str] */
	uint64_t spare[50];
	char str[];
};

_Static_assert(sizeof(struct nslua_statmount) == 512, "struct statmount of linux/mount.h");

#endif

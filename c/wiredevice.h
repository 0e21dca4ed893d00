/* SPDX-License-Identifier: MIT */
#ifndef NSLUA_WIREDEVICE_H
#define NSLUA_WIREDEVICE_H

#include <stdint.h>
#include <sys/types.h>

/* One frame with its header into `buf`, of NSLUA_FRAME_MAX bytes; or -1.  `packet`: of a packet socket, not of a TAP device. */
ssize_t nslua_wiredevice_get(int fd, int packet, uint8_t *buf);
/* Of a TAP: whether frames of many packets come.  Only where nothing is decided packet by packet; the script tells a veth, which has no fd. */
int nslua_wiredevice_offload(int fd, int each_packet);
int nslua_wiredevice_carrier(int fd, int up);

#endif

/* SPDX-License-Identifier: MIT */
/* wiredevice.c - the devices at a wire's ends: TAP devices and packet sockets, with a struct virtio_net_hdr before each frame. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include "frame.h"
#include "wiredevice.h"

#ifndef TUNSETCARRIER
#define TUNSETCARRIER _IOW('T', 226, int) /* Linux 5.0 */
#endif
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20 /* 6.2 */
#define TUN_F_USO6 0x40
#endif

/* The kernel takes the VLAN tag out of a frame that a packet socket gets: it is put back. */
static size_t put_tag(uint8_t *data, size_t len, struct msghdr *m)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(m);
	struct tpacket_auxdata aux;
	uint8_t *frame = data + NSLUA_VNET;
	unsigned int type = 0x8100;

	if (!c || c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA || len < NSLUA_VNET + 14 || len + 4 > NSLUA_FRAME_MAX)
		return len;
	memcpy(&aux, CMSG_DATA(c), sizeof(aux));
	if (!(aux.tp_status & TP_STATUS_VLAN_VALID))
		return len;
	if (aux.tp_status & TP_STATUS_VLAN_TPID_VALID)
		type = aux.tp_vlan_tpid;
	memmove(frame + 16, frame + 12, len - NSLUA_VNET - 12);
	frame[12] = (uint8_t)(type >> 8);
	frame[13] = (uint8_t)type;
	frame[14] = (uint8_t)(aux.tp_vlan_tci >> 8);
	frame[15] = (uint8_t)aux.tp_vlan_tci;
	nslua_frame_shift(data, 4);
	return len + 4;
}

ssize_t nslua_wiredevice_get(int fd, int packet, uint8_t *buf)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	} control;
	struct iovec iov = { buf, NSLUA_FRAME_MAX };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf) };
	ssize_t n;

	if (!packet)
		return read(fd, buf, NSLUA_FRAME_MAX);
	n = recvmsg(fd, &m, MSG_DONTWAIT);
	if (n < 0 && errno == ENETDOWN) /* said once, when the device goes down */
		n = recvmsg(fd, &m, MSG_DONTWAIT);
	return n > 0 ? (ssize_t)put_tag(buf, (size_t)n, &m) : n;
}

int nslua_wiredevice_offload(int fd, int each_packet)
{
	unsigned int all = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

	if (each_packet)
		return ioctl(fd, TUNSETOFFLOAD, (unsigned long)TUN_F_CSUM);
	if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)(all | TUN_F_USO4 | TUN_F_USO6)) == 0)
		return 0;
	return ioctl(fd, TUNSETOFFLOAD, (unsigned long)all);
}

int nslua_wiredevice_carrier(int fd, int up)
{
	return ioctl(fd, TUNSETCARRIER, &up);
}

# python3 bench/peers/routes.py WORK COUNT [NETNS]: what bench/works.lua does, with pyroute2; prints its nanoseconds.
# Works: routes-add COUNT, in the namespace it is started in; routes-list ROUNDS NETNS.
import socket
import sys
import time

from pyroute2 import IPBatch, IPRoute, netns

# Requests in one datagram. All 10,000 are 440,000 bytes, and net.core.wmem_max, as it is without settings (212992, doubled), lets 425,952 through.
BATCH = 1000


def destination(n):
    return "16.%d.%d.%d/32" % (n >> 16, n >> 8 & 255, n & 255)


# IPBatch asks for an answer to each request and offers no way to read them: they overrun the socket, and whether the requests succeeded has to be
# seen elsewhere. Waiting for each answer instead, route("add") takes longer.
def routes_add(count):
    with IPRoute() as ip:
        ip.link("set", index=1, state="up")
        start = time.monotonic_ns()
        batch = IPBatch()
        for first in range(0, count, BATCH):
            batch.reset()
            for n in range(first, min(first + BATCH, count)):
                batch.route("add", dst=destination(n), oif=1)
            ip.sendto(batch.batch, (0, 0))
        took = time.monotonic_ns() - start
    with IPRoute() as ip:
        there = len(ip.get_routes(family=socket.AF_INET, table=254))
    if there != count:
        sys.exit("%d routes are there, not %d" % (there, count))
    return took


# In the namespace itself; NetNS(name), which has a process there, takes as long.
def routes_list(rounds, name):
    netns.setns(name)
    with IPRoute() as ip:
        start = time.monotonic_ns()
        for _ in range(rounds):
            n = 0
            for route in ip.get_routes(family=socket.AF_INET):
                n += len(route.get_attr("RTA_DST")) + route.get_attr("RTA_OIF")
            if n == 0:
                sys.exit("no routes")
        return time.monotonic_ns() - start


WORKS = {"routes-add": routes_add, "routes-list": routes_list}

if len(sys.argv) < 3 or sys.argv[1] not in WORKS:
    sys.exit("usage: python3 bench/peers/routes.py routes-add COUNT | routes-list ROUNDS NETNS")
print(WORKS[sys.argv[1]](int(sys.argv[2]), *sys.argv[3:]))

// routes-go routes-list ROUNDS NETNS: what bench/works.lua does, with the Go netlink library; prints its nanoseconds.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// The IPv4 routes of the main table, as RouteList gives them: two fields of each are read.
func routesList(rounds int, name string) time.Duration {
	ns, err := netns.GetFromName(name)
	check(err)
	handle, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	check(err)
	start := time.Now()
	for i := 0; i < rounds; i++ {
		routes, err := handle.RouteList(nil, netlink.FAMILY_V4)
		check(err)
		sum := 0
		for i := range routes {
			sum += len(routes[i].Dst.IP) + routes[i].LinkIndex
		}
		if sum == 0 {
			check(fmt.Errorf("no routes"))
		}
	}
	return time.Since(start)
}

func main() {
	if len(os.Args) != 4 || os.Args[1] != "routes-list" {
		check(fmt.Errorf("usage: routes-go routes-list ROUNDS NETNS"))
	}
	rounds, err := strconv.Atoi(os.Args[2])
	check(err)
	fmt.Println(routesList(rounds, os.Args[3]).Nanoseconds())
}

-- nlmon: shows the netlink messages of its namespace to packet sockets; it has no options.
return { kind = "nlmon" }

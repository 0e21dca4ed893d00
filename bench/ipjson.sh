# sh bench/ipjson.sh NETNS: its routes by ip -j, read by the fastest JSON parser there is for Lua.
ip -n "$1" -j route | lua5.4 -e 'assert(#require("cjson").decode(io.read("a")) > 0)'

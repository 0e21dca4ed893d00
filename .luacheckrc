std = "lua54"
max_line_length = 150
files["spec/**/*.lua"] = { std = "+busted", ignore = { "211/_.*" } } -- held only to be closed
files["examples/*.lua"].globals = { "ns" }
files["lua/nslua/command/*.lua"].globals = { "ns" }
include_files = { "lua", "spec", "examples", "tools", "bench/*.lua", "*.rockspec", ".busted", ".luacheckrc" }
exclude_files = { "**/*.c" }

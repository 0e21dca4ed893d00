-- Prints the rockspec: lua5.4 tools/rockspec.lua > nslua-scm-1.rockspec. Every file of the tree is in it; a spec compares.

local function lines(command)
  local out = {}
  local p = assert(io.popen(command))
  for line in p:lines() do
    out[#out + 1] = line
  end
  p:close()
  return out
end

-- The program is built by make; LuaRocks builds the module.
local program = {}
for line in io.lines "Makefile" do
  for word in (line:match "^HOST%s+= (.*)$" or ""):gmatch "%S+" do
    program["c/" .. word .. ".c"] = true
  end
end
assert(next(program), "the Makefile has no HOST")

print [[
-- Made by tools/rockspec.lua.
rockspec_format = "3.0"
package = "nslua"
version = "scm-1"
source = { url = "git+https://example.org/nslua.git" }
description = {
  summary = "Linux namespaces and the kernel's network configuration in Lua",
  detailed = "Namespaces, processes in them, rtnetlink: the library. The nslua program is built by make, not by LuaRocks.",
  license = "MIT",
}
supported_platforms = { "linux" }
dependencies = { "lua >= 5.1" }
external_dependencies = {
  LIBMNL = { header = "libmnl/libmnl.h", library = "mnl" },
}
build = {
  type = "builtin",
  modules = {
    ["nslua.core"] = {
      sources = {]]
for _, path in ipairs(lines "ls c/*.c | LC_ALL=C sort") do
  if not program[path] then
    print(('        "%s",'):format(path))
  end
end
print [[
      },
      defines = { "_GNU_SOURCE" },
      libraries = { "mnl" },
      incdirs = { "$(LIBMNL_INCDIR)" },
      libdirs = { "$(LIBMNL_LIBDIR)" },
    },]]
for _, path in ipairs(lines "find lua -name '*.lua' | LC_ALL=C sort") do
  local module = path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
  print(('    ["%s"] = "%s",'):format(module, path))
end
print [[
  },
}
test = { type = "busted" }]]

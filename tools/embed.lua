-- Writes the Lua files below a folder as one C file, for the host: lua5.4 tools/embed.lua lua "$(lua5.4 -v)" FILE... > out.c
-- Each as source, which `nslua help` reads, and compiled, which loads in a tenth of the time; what was compiled by another release of Lua than
-- the program's is not used. Sorted by module name, which the searcher relies on.

package.path = arg[0]:gsub("[^/]*$", "") .. "?.lua;" .. package.path
local strip = require "strip"

local root = arg[1] .. "/"
local release = arg[2]:match "^Lua [%d.]+" or ""
local files = {}
for i = 3, #arg do
  local path = arg[i]
  assert(path:sub(1, #root) == root, path .. " is not below " .. root)
  local name = path:sub(#root + 1)
  local module = name:gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
  local f = assert(io.open(path, "rb"))
  local chunk, source = "@[nslua]/" .. name:gsub("^nslua/", ""), f:read "a"
  f:close()
  local compiled = strip(string.dump(assert(load(source, chunk, "t"))))
  assert(load(compiled, chunk, "b"))
  files[#files + 1] = { module = module, chunk = chunk, source = source, compiled = compiled }
end
table.sort(files, function(a, b) return a.module < b.module end)

local escapes = { ["\n"] = "\\n", ["\\"] = "\\\\", ['"'] = '\\"', ["?"] = "\\?" }
local function escape(c)
  return escapes[c] or ("\\%03o"):format(c:byte())
end

local function octal(c)
  return ("\\%03o"):format(c:byte())
end

print "/* Made by tools/embed.lua. */"
print '#include "host.h"'
print(('const char host_files_release[] = "%s";'):format(release))
print "const struct host_file host_files[] = {"
for _, f in ipairs(files) do
  print(('\t{ "%s", "%s",'):format(f.module, f.chunk))
  for line in f.source:gmatch "[^\n]*\n?" do
    print('\t  "' .. line:gsub('[^%w %!#-%>%@-%[%]-~]', escape) .. '"')
  end
  print(("\t  , %d,"):format(#f.source))
  for from = 1, #f.compiled, 64 do
    print('\t  "' .. f.compiled:sub(from, from + 63):gsub(".", octal) .. '"')
  end
  print(("\t  , %d },"):format(#f.compiled))
end
print "};"
print "const size_t host_file_count = sizeof(host_files) / sizeof(host_files[0]);"

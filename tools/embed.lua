-- Writes the Lua files below a folder as one C file, for the host: lua5.4 tools/embed.lua lua FILE... > out.c
-- Source, not bytecode: it is what tracebacks and `nslua help` read. Sorted by module name, which the searcher relies on.

local root = arg[1] .. "/"
local files = {}
for i = 2, #arg do
  local path = arg[i]
  assert(path:sub(1, #root) == root, path .. " is not below " .. root)
  local name = path:sub(#root + 1)
  local module = name:gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
  local f = assert(io.open(path, "rb"))
  files[#files + 1] = { module = module, chunk = "@[nslua]/" .. name:gsub("^nslua/", ""), source = f:read "a" }
  f:close()
end
table.sort(files, function(a, b) return a.module < b.module end)

local escapes = { ["\n"] = "\\n", ["\\"] = "\\\\", ['"'] = '\\"', ["?"] = "\\?" }
local function escape(c)
  return escapes[c] or ("\\%03o"):format(c:byte())
end

print "/* Made by tools/embed.lua. */"
print '#include "host.h"'
print "const struct host_file host_files[] = {"
for _, f in ipairs(files) do
  print(('\t{ "%s", "%s",'):format(f.module, f.chunk))
  for line in f.source:gmatch "[^\n]*\n?" do
    print('\t  "' .. line:gsub('[^%w %!#-%>%@-%[%]-~]', escape) .. '"')
  end
  print(("\t  , %d },"):format(#f.source))
end
print "};"
print "const size_t host_file_count = sizeof(host_files) / sizeof(host_files[0]);"

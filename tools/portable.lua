-- Prints the spec files that `make portability` runs: those of floors 0 and 1, written in Lua 5.1 (no <close>, goto, //, &).
-- A file is found out by what it is: spec/portable/*_spec.lua, and each of the others that luajit can parse and that is not
-- about the program, its commands, floor 2, the tree or the examples.

local elsewhere = { host = true, signals = true, repl = true, floors = true, rockspec = true, examples = true, docs = true,
  apidoc = true, article = true, readme = true, docs_schemas = true, docs_containers = true, docker = true, podman = true, bench = true,
  doctor = true, map = true, why = true, record = true }

local p = assert(io.popen "ls spec/*_spec.lua spec/portable/*_spec.lua 2>/dev/null")
for file in p:read("a"):gmatch "[^\n]+" do
  local name = file:match "([%w_]+)_spec%.lua$"
  if not elsewhere[name] and not (name:find "^command_" or name:find "^probe_" or name:find "^lab_" or name:find "_labs$"
      or name:find "^container")
    and os.execute(("luajit -e 'os.exit(loadfile(%q) and 0 or 1)'"):format(file)) then
    print(file)
  end
end
p:close()

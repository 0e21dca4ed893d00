-- What is in the state that the build leaves in the program: nslua --save-heap FILE tools/heap.lua (c/state.c).
-- Loaded here are the files that the short commands need; the rest is loaded when asked for. What is loaded here must not ask, while it loads,
-- for what differs between runs (the environment, ids, time), nor make a userdata whose memory is elsewhere: that is looked for below.

_G.ns = require "nslua"
for _, name in ipairs {
  "command", "command.cli.options", "command.cli.program", "command.netns", "command.netns.exec", "command.netns.verbs", "command.netns.words",
  "command.nsenter", "command.nsenter.plan", "command.unshare", "command.unshare.plan", "check", "error", "exec", "namespace", "netns", "owned",
  "plan", "privilege", "rundir", "spawnhint", "stdio", "sysview", "units",
} do
  require("nslua." .. name)
end

local seen = {}
local function look(value, path)
  local kind = type(value)
  if seen[value] or kind == "string" or kind == "number" or kind == "boolean" or kind == "nil" then
    return
  end
  seen[value] = true
  if kind == "userdata" then
    -- math.random has one that is numbers only; c/state.c looks after the files
    assert(io.type(value) or not debug.getmetatable(value), "a userdata at " .. path)
  elseif kind == "thread" then
    assert(path:find "registry", "a coroutine at " .. path)
  elseif kind == "function" then
    for i = 1, math.huge do
      local name, upvalue = debug.getupvalue(value, i)
      if not name then
        break
      end
      look(upvalue, path .. "^" .. i)
    end
  elseif kind == "table" then
    for k, v in next, value do
      look(k, path .. "[]")
      look(v, path .. "." .. tostring(k))
    end
  end
  look(debug.getmetatable(value), path .. ":metatable")
  if kind == "userdata" then
    look(debug.getuservalue(value, 1), path .. ":uservalue")
  end
end
look(debug.getregistry(), "registry")

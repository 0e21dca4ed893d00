-- The rockspec lists every file of the tree, and LuaRocks builds a module from it that works.

local helper = require "spec.helper"

it("is what tools/rockspec.lua makes of the tree", function()
  local f = assert(io.open "nslua-scm-1.rockspec")
  local text = f:read "a"
  f:close()
  assert.equal((helper.sh "lua5.4 tools/rockspec.lua"), (text:gsub("\n$", "")),
    "the tree has changed: lua5.4 tools/rockspec.lua > nslua-scm-1.rockspec")
end)

it("passes luarocks lint", function()
  if not helper.has "luarocks" then
    pending "luarocks is not installed"
  end
  local out, ok = helper.sh "luarocks --lua-version 5.4 lint nslua-scm-1.rockspec"
  assert.is_true(ok, out)
end)

it("builds and installs a module that works, without the checkout", function()
  if not helper.has "luarocks" then
    pending "luarocks is not installed"
  end
  local folder = helper.sh "mktemp -d"
  finally(function() helper.sh("rm -rf " .. folder) end)
  helper.sh(("cp -r c lua LICENSE nslua-scm-1.rockspec %s"):format(folder))
  local out, ok = helper.sh(("cd %s && HOME=%s luarocks --lua-version 5.4 --tree %s/tree make --deps-mode=none nslua-scm-1.rockspec"):format(
    folder, folder, folder))
  assert.is_true(ok, out)
  out, ok = helper.sh(([[cd / && LUA_PATH='%s/tree/share/lua/5.4/?.lua;%s/tree/share/lua/5.4/?/init.lua' LUA_CPATH='%s/tree/lib/lua/5.4/?.so' \
    lua5.4 -e 'local ns = require "nslua"; print(ns._VERSION, ns.netns.current().inode, #ns.netns.current().link:list() > 0)']]):format(
    folder, folder, folder))
  assert.is_true(ok, out)
  assert.matches("^nslua %S+\t%d+\ttrue$", out)
end)

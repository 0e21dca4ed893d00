-- Id maps: words and ranges against unshare(1), subuid matching, limits, what the errors say.

local core = require "nslua.core"
local errors = require "nslua.error"
local helper = require "spec.helper"
local idmap = require "nslua.idmap"
local unprivileged = require "spec.unprivileged"

local function lines(map)
  local out = {}
  for i, r in ipairs(map.ranges) do
    out[i] = ("%.0f %.0f %.0f"):format(r[1], r[2], r[3])
  end
  table.sort(out)
  return table.concat(out, "\n")
end

describe("idmap.resolve", function()
  local uid, gid = core.idmap.who()

  it("maps the caller alone by root and current, groups as users", function()
    assert.equal(("0 %d 1"):format(uid), lines(idmap.resolve("root").uid))
    assert.equal(("0 %d 1"):format(gid), lines(idmap.resolve("root").gid))
    assert.equal(("%d %d 1"):format(uid, uid), lines(idmap.resolve("current").uid))
    assert.equal(("%d %d 1"):format(gid, gid), lines(idmap.resolve("root", "current").gid))
    assert.equal(("0 %d 1"):format(gid), lines(idmap.resolve(nil, "root").gid))
    assert.same({}, idmap.resolve())
  end)

  it("leaves groups alone where users are given in numbers", function()
    assert.is_nil(idmap.resolve { { 0, 1000, 10 } }.gid)
    assert.equal("0 1000 10", lines(idmap.resolve { 0, 1000, 10 }.uid))
  end)

  it("punches single ids out of ranges, inside and outside", function()
    assert.equal("0 1000 5\n5 7 1\n6 1005 4", lines(idmap.resolve { { 0, 1000, 10 }, { 5, 7, 1 } }.uid))
    assert.equal("0 1000 3\n3 1004 2\n5 1003 1\n6 1006 4", lines(idmap.resolve { { 0, 1000, 10 }, { 5, 1003, 1 } }.uid))
    assert.equal("0 7 1\n1 1000 9", lines(idmap.resolve { { 0, 7, 1 }, { 0, 1000, 10 } }.uid))
    assert.equal("0 1000 9\n9 7 1", lines(idmap.resolve { { 9, 7, 1 }, { 0, 1000, 10 } }.uid))
    assert.equal("0 1000 10\n10 7 1", lines(idmap.resolve { { 10, 7, 1 }, { 0, 1000, 10 } }.uid))
    assert.equal("0 0 1\n1 1 4294967294", lines(idmap.resolve { { 0, 0, 1 }, { 0, 0, 4294967295 } }.uid))
  end)

  it("refuses what is no map, by its place", function()
    local function refused(pattern, ...)
      local ok, message = pcall(idmap.resolve, ...)
      assert.is_false(ok)
      assert.matches(pattern, message)
    end
    refused("unknown word 'rot' %(did you mean 'root'%?%)", "rot")
    refused("map_groups: unknown word", "root", "autoo")
    refused("map_users: an empty map", {})
    refused("a range is", { { 1, 2 } })
    refused("a range is", { { 1, 2, 3, 4 } })
    refused("a range is", { { -1, 2, 3 } })
    refused("a range is", { { 0, 0.5, 3 } })
    refused("a range of no ids", { { 0, 0, 0 } })
    refused("past id 4294967294", { { 1, 0, 4294967295 } })
    refused("past id 4294967294", { { 4294967294, 0, 2 } })
    refused("id 3 is mapped twice inside", { { 0, 5, 10 }, { 3, 30, 10 } })
    refused("id 7 is mapped twice from outside", { { 0, 5, 10 }, { 20, 7, 10 } })
    refused("id 4 is mapped twice inside", { { 4, 5, 1 }, { 4, 7, 1 } })
    refused("must be a word or a list", 5)
    refused("got boolean", { true })
    refused("got key", { root = true })
    refused("setgroups must be", "root", nil, "maybe")
  end)

  it("takes 340 lines and not 341", function()
    local list = {}
    for i = 1, 340 do
      list[i] = { 2 * i, 2 * i, 1 }
    end
    assert.equal(340, #idmap.resolve(list).uid.ranges)
    list[341] = { 5000, 5000, 1 }
    local ok, message = pcall(idmap.resolve, list)
    assert.is_false(ok)
    assert.matches("341 lines, and the kernel takes at most 340", message)
  end)
end)

describe("maps of a user namespace", function()
  local ns = require "nslua"

  it("are those that unshare(1) writes: root, current", function()
    for word, flag in pairs { root = "-r", current = "-c" } do
      local u = ns.userns.new { map_users = word }
      local oracle = helper.sh(("unshare -U %s sh -c 'cat /proc/self/uid_map; echo; cat /proc/self/gid_map'"):format(flag))
      local m = u:maps()
      assert.equal((oracle:gsub("[ \t]+", " "):gsub("^ ", ""):gsub("\n ", "\n")), lines(m.uid) .. "\n\n" .. lines(m.gid))
      u:close()
    end
  end)

  it("are left unwritten where none is asked for", function()
    local u = ns.userns.new()
    assert.equal("", lines(u:maps().uid))
    u:close()
  end)

  it("take 340 lines in one write, and say why not more than a page", function()
    if not core.idmap.capable "setuid" then
      pending "no CAP_SETUID"
      return
    end
    local list = {}
    for i = 1, 340 do
      list[i] = { 999 + i, 2000 + 2 * i, 1 }
    end
    local u = ns.userns.new { map_users = list }
    assert.equal(340, #u:maps().uid.ranges)
    u:close()
    for i = 1, 340 do
      list[i] = { 4000000000 + i, 4000000000 + 2 * i, 1 }
    end
    local ok, e = pcall(ns.userns.new, { map_users = list })
    assert.is_false(ok)
    assert.is_true(errors.is(e, "EINVAL"))
    assert.matches("less than a page", tostring(e))
  end)

  it("leave setgroups alone for who may set groups, and deny it on request", function()
    if not core.idmap.capable "setgid" then
      pending "no CAP_SETGID"
      return
    end
    local u = ns.userns.new { map_users = "root" }
    assert.equal("allow", u:maps().setgroups)
    u:close()
    u = ns.userns.new { map_users = "root", setgroups = "deny" }
    assert.equal("deny", u:maps().setgroups)
    u:close()
  end)

  it("of all ids are those of the parent", function()
    if not core.idmap.capable "setuid" or not core.idmap.capable "setfcap" then
      pending "no CAP_SETUID and CAP_SETFCAP"
      return
    end
    local u = ns.userns.new { map_users = "all" }
    local own = helper.sh "cat /proc/self/uid_map"
    local n = 0
    for first, _, count in own:gmatch "(%d+)%s+(%d+)%s+(%d+)" do
      n = n + 1
      assert.same({ tonumber(first), tonumber(first), tonumber(count) }, u:maps().uid.ranges[n])
    end
    assert.equal(n, #u:maps().uid.ranges)
    u:close()
  end)
end)

-- A getsubids(1) on PATH that says what a directory server would, and a /etc/nsswitch.conf that names it: in a mount namespace of its own.
describe("subordinate ids of another source", function()
  local folder, user

  local function write(name, text)
    local f = assert(io.open(folder .. "/" .. name, "w"))
    f:write(text)
    f:close()
  end

  setup(function()
    folder = helper.sh "mktemp -d"
    write("subuid", "root:300000:1000\n")
    -- root in a user namespace of his own, where this is somebody else
    user = helper.is_root() and "unshare -m" or "unshare -Urm"
  end)
  teardown(function()
    helper.sh("rm -r " .. folder)
  end)

  -- What blocks() and resolve() say of users and groups.
  local show = [[
    local idmap = require "nslua.idmap"
    for _, kind in ipairs { "uid", "gid" } do
      local out = {}
      for i, b in ipairs(idmap.blocks(kind)) do out[i] = ("%.0f+%.0f"):format(b[1], b[2]) end
      print(kind, table.concat(out, " "))
    end
    local ok, e = pcall(idmap.resolve, "auto", nil, nil, "userns.new")
    print(ok and ("%.0f %.0f"):format(e.uid.ranges[1][2], e.gid.ranges[1][2]) or tostring(e))
  ]]

  local function told(nsswitch, getsubids, path)
    write("nsswitch", nsswitch)
    write("getsubids", "#!/bin/sh\n" .. (getsubids or "exit 99") .. "\n")
    local out = helper.sh(([[chmod 755 %s/getsubids; exec %s sh -e -c 'for f in subuid subgid; do mount --bind %s/subuid /etc/$f; done
      mount --bind %s/nsswitch /etc/nsswitch.conf; lua=$(command -v lua5.4); PATH=%s; export PATH; %s exec $lua -' <<'END'
%s
END]]):format(folder, user, folder, folder, path or folder .. ":$PATH", (helper.lua:gsub("lua5.4$", ""):gsub("'", '"')), show))
    return out
  end

  local server = [[case "$*" in
    root) echo "0: root 500000 1000"; echo "1: root 4294967000 1000"; echo "2: root 700000 0"; echo "3: root 800000 10" ;;
    "-g root") echo "0: root 600000 2000" ;;
    *) echo "Error fetching ranges" >&2; exit 1 ;;
  esac]]

  it("come from getsubids, in place of the files", function()
    for _, line in ipairs { "subid: sss", "subid:sss files", "# subid: files\nsubid:\nSubid: \t sss" } do
      assert.equal("uid\t500000+1000 800000+10\ngid\t600000+2000\n500000 600000", told("passwd: files\n" .. line .. "\n", server))
    end
  end)

  it("come from the files where these are the source, and nothing is run", function()
    for _, line in ipairs { "subid: files sss", "# subid: sss", "", "subid:", "notsubid: sss" } do
      assert.equal("uid\t300000+1000\ngid\t300000+1000\n300000 300000", told(line .. "\n", server))
    end
  end)

  it("come from the files where getsubids is not there to ask", function()
    assert.equal("uid\t300000+1000\ngid\t300000+1000\n300000 300000", told("subid: sss\n", nil, "/nowhere"))
    write("subuid", "alice:300000:1000\n")
    finally(function() write("subuid", "root:300000:1000\n") end)
    assert.matches('^uid\t\ngid\t\nuserns.new: EPERM: no line for root in /etc/subuid; /etc/nsswitch.conf says "subid: sss",'
      .. " which getsubids%(1%) would ask, and it is not installed", (told("subid: sss\n", nil, "/nowhere"):gsub("stdin:%d+: ", "")))
  end)

  it("that getsubids does not give are an error in its words", function()
    local out = told("subid: sss\n", "echo 'x' >&2; echo 'no such server' >&2; exit 1")
    assert.matches("^uid\t\ngid\t\n.*userns.new: EPERM: no subuids for root: getsubids: no such server;"
      .. ' /etc/nsswitch.conf says "subid: sss": they are given there, not in /etc/subuid$', out)
    assert.matches("getsubids: it names none; ", (told("subid: sss\n", "true")))
    assert.matches("getsubids: it names none; ", (told("subid: sss\n", "echo '0: root 5x 7'; echo '0: root'; echo 5 6; printf '0: root 5 6'x")))
  end)

  it("are what the real getsubids says, which has no such plugin here and reads the files", function()
    if not helper.has "getsubids" then
      pending "no getsubids(1)"
    end
    local real = helper.sh "dirname $(command -v getsubids)"
    assert.equal("uid\t300000+1000\ngid\t300000+1000\n300000 300000", told("subid: nslua-none\n", nil, real))
  end)

  it("map a user namespace", function()
    if not helper.is_root() then
      pending "not root: ids of others are mapped by newuidmap alone"
    end
    write("nsswitch", "subid: sss\n")
    write("getsubids", "#!/bin/sh\n" .. server .. "\n")
    local out = helper.sh(([[chmod 755 %s/getsubids; exec unshare -m sh -e -c 'mount --bind %s/nsswitch /etc/nsswitch.conf; PATH=%s:$PATH; export PATH
      exec env %s -' <<'END'
      local u = require("nslua").userns.new { map_users = "auto" }
      local m = u:maps()
      print(table.concat(m.uid.ranges[1], " "), table.concat(m.gid.ranges[1], " "))
END]]):format(folder, folder, folder, (helper.lua:gsub("'", '"'))))
    assert.equal("0 500000 1000\t0 600000 2000", out)
  end)
end)

describe("maps for a normal user", function()
  local can, why = unprivileged.can()
  if not can then
    pending("normal user: " .. why)
    return
  end
  local passwd = helper.sh "cat /etc/passwd" .. "\nnsluaspec:x:23456:23456::/:/bin/sh\n"

  local function files(subuid, subgid)
    return { ["/etc/passwd"] = passwd, ["/etc/subuid"] = subuid, ["/etc/subgid"] = subgid or subuid }
  end
  local show = [[
    local ok, u = pcall(ns.userns.new, %s)
    if not ok then print(u) return end
    local m = u:maps()
    local out = {}
    for _, k in ipairs { "uid", "gid" } do
      local list = {}
      for i, r in ipairs(m[k].ranges) do list[i] = table.concat(r, " ") end
      table.sort(list)
      out[#out + 1] = table.concat(list, "\n")
    end
    print(table.concat(out, "\n-\n") .. "\n" .. m.setgroups)
  ]]
  local function mapped(options, subuid, subgid)
    return (unprivileged.lua(show:format(options), { uid = 23456, files = files(subuid, subgid) }))
  end

  it("deny setgroups for the own group alone", function()
    assert.equal("0 23456 1\n-\n0 23456 1\ndeny", mapped([[{ map_users = "root" }]], ""))
    assert.matches("EPERM.*setgroups", mapped([[{ map_users = "root", setgroups = "allow" }]], ""))
  end)

  it("come from the lines of exactly that name, both files by user", function()
    local decoys = "nsluaspecx:1:5\nnsluaspe:2:5\n2345:3:5\n234567:4:5\n# nsluaspec:5:5\nnsluaspec\n"
    assert.equal("0 300000 1000\n-\n0 400000 2000\nallow",
      mapped([[{ map_users = "auto" }]], decoys .. "nsluaspec:300000:1000\nnsluaspec:1300000:10\n", "nsluaspec:400000:2000\n"))
    assert.equal("300000 300000 1000\n-\n400000 400000 2000\nallow",
      mapped([[{ map_users = "subids" }]], decoys .. "nsluaspec:300000:1000\n", "nsluaspec:400000:2000\n"))
  end)

  it("come from the lines of exactly that number", function()
    assert.equal("0 300000 1000\n-\n0 300000 1000\nallow", mapped([[{ map_users = "auto" }]], "alice:1:5\n023456:2:5\n23456:300000:1000\n"))
  end)

  it("are never those of a name that only begins like a number", function()
    local out = unprivileged.lua(show:format [[{ map_users = "auto" }]], { uid = 0, files = { ["/etc/subuid"] = "alice:100000:65536\n" } })
    assert.matches("userns.new: EPERM: no line for root in /etc/subuid", out)
  end)

  it("are those that unshare(1) writes", function()
    local sub = "nsluaspec:300000:1000\n"
    for options, flags in pairs {
      [ [[{ map_users = "auto" }]] ] = "--map-auto",
      [ [[{ map_users = { "root", "auto" } }]] ] = "-r --map-auto",
      [ [[{ map_users = { "auto", "current" } }]] ] = "-c --map-auto",
      [ [[{ map_users = { "root", "auto" }, map_groups = { { 5, 23456, 1 }, { 0, 300000, 10 } } }]] ] =
        "-r --map-auto --map-group 5 --map-groups 300000,0,10",
    } do
      local oracle, ok = unprivileged.sh(
        ("unshare -U %s sh -c 'sort /proc/self/uid_map; echo -; sort /proc/self/gid_map; cat /proc/self/setgroups'"):format(flags),
        { uid = 23456, files = files(sub) })
      if not ok then
        pending("unshare " .. flags .. ": " .. oracle)
        return
      end
      local function sorted(text)
        local out = {}
        for line in (text:gsub("[ \t]+", " ") .. "\n"):gmatch " ?([^\n]*)\n" do
          out[#out + 1] = line
        end
        table.sort(out)
        return table.concat(out, "\n")
      end
      assert.equal(sorted(oracle), sorted(mapped(options, sub)), flags)
    end
  end)

  it("fail in the words of newuidmap", function()
    local out = mapped([[{ map_users = { { 0, 300000, 1001 } } }]], "nsluaspec:300000:1000\n")
    assert.matches("userns.new: EPERM: .*newuidmap: uid range %[0%-1001%) %-> %[300000%-301001%) not allowed", out)
    assert.matches("/etc/subuid grants", out)
    out = mapped([[{ map_users = "auto" }]], "nsluaspec:300000:1000\n", "")
    assert.matches("EPERM: no line for nsluaspec in /etc/subgid; usermod %-%-add%-subgids", out)
  end)

  it("say that newuidmap is not installed", function()
    local out = unprivileged.lua(show:format [[{ map_users = { { 0, 300000, 5 } } }]], {
      uid = 23456, files = files "nsluaspec:300000:1000\n",
    })
    assert.matches("^0 300000 5", out)
    out = unprivileged.sh("lua=$(command -v lua5.4); PATH=/nonexistent; " .. helper.lua:gsub("lua5.4$", "") .. "exec $lua -e "
      .. unprivileged.quote("local ns = require 'nslua'\n" .. show:format [[{ map_users = { { 0, 300000, 5 } } }]]),
      { uid = 23456, files = files "nsluaspec:300000:1000\n" })
    assert.matches("newuidmap%(1%) is not installed", out)
  end)

  it("name CAP_SETFCAP where uid 0 cannot be mapped", function()
    local out = unprivileged.sh("exec setpriv --bounding-set -setfcap env " .. helper.lua .. " -e "
      .. unprivileged.quote("local ns = require 'nslua'\n" .. show:format [[{ map_users = "root" }]]), { uid = 0 })
    assert.matches("EPERM.*uid_map.*CAP_SETFCAP", out)
  end)
end)

-- `nslua schema`: what there is, what is in it, by path, as text and as JSON; what it says is what is declared.

local cjson = require "cjson"
local helper = require "spec.helper"

local function run(words)
  return helper.sh("build/bin/nslua schema " .. words)
end

local function says(words, ...)
  local out, ok = run(words)
  assert(ok, out)
  local flat = out:gsub(" +", " ")
  for _, text in ipairs { ... } do
    assert(flat:find(text, 1, true), ("%q is not in:\n%s"):format(text, out))
  end
  return out
end

describe("nslua schema", function()
  it("lists objects, kinds of link and families", function()
    says("", "NAME IS SOURCE\n", "\nlink object IFLA_* <linux/if_link.h>", "\nlink.vxlan kind IFLA_VXLAN_* <linux/if_link.h>", "\nroute object RTA_*",
      "\nethtool family <linux/ethtool_netlink.h>", "\nwireguard family <linux/wireguard.h>")
    local out = run "-n"
    assert.falsy(out:find "NAME")
    local list = cjson.decode((run "-J")).schemas
    assert.equal(select(2, (out .. "\n"):gsub("\n", "")), #list)
  end)

  it("prints numbers, keys, types, names of numbers, and what is nested where", function()
    says("link", "link: message RTM_NEWLINK 16, RTM_DELLINK 17, RTM_GETLINK 18, RTM_SETLINK 19 IFLA_* <linux/if_link.h>", "NUMBER KEY TYPE VALUES",
      "\n +4 index s32", "\n 3 name strz(15)", "\n 18 linkinfo nest(linkinfo) -> link.linkinfo", "unknown=0 notpresent=1 down=2", " altnames ")
    says("link.vxlan", "link.linkinfo.data.vxlan: attributes IFLA_VXLAN_*", "\n 29 df u8:enum(vxlan_df) unset=0 set=1 inherit=2", " remote ",
      "\n 28 ttl_inherit_flag flag writeonly")
    says("link.vxlan.port_range", "struct", "\n +0 low be16", "\n +2 high be16")
    says("link.vxlan.df", "\n 0 unset\n 1 set\n 2 inherit")
    says("link.linkinfo.data", "link.linkinfo.data: union", " vxlan nest(linkinfo_vxlan) -> link.linkinfo.data.vxlan")
    says("link.mtu", "link.mtu: u32")
    says("wireguard", "wireguard: generic netlink family, version 1", "\n 0 get_device device dump -> wireguard.get_device")
    says("wireguard.device", "\n 8 peers list(nest(peer)) -> wireguard.device.peers")
    says("wireguard.set_device.peers.allowedips", "\n 3 cidr_mask u8")
    says("ethtool", "(groups: monitor)", "\n 11 features_get features reply dump -> ethtool.features_get",
      "\n 13 features_ntf event -> ethtool.features_ntf")
    says("ethtool.features_ntf", "event 13", "\n 4 active bitset")
    says("ethtool.linkinfo_get", "command 2, lists, answers with linkinfo", "tp=0 aui=1")
    says("-r wireguard.set_device", "\n\nwireguard.set_device.peers: ", "\n\nwireguard.set_device.peers.allowedips: ",
      "\n\nwireguard.set_device.peers.last_handshake_time: ")
    -- a set in itself ends
    says("-r ethtool.stats_get", "\n 5 hist_rx nest(stats_grp) multi -> ethtool.stats_get.grp.hist_rx")
    says("route rule", "route: message", "rule: message")
  end)

  it("prints JSON", function()
    local out = cjson.decode((run "--json link.vxlan"))
    assert.equal("link.linkinfo.data.vxlan", out.name)
    assert.equal("linux/if_link.h", out.header)
    local df
    for _, entry in ipairs(out.entries) do
      df = entry.key == "df" and entry or df
    end
    assert.same({ key = "df", number = 29, type = "u8:enum(vxlan_df)", c = "IFLA_VXLAN_DF", values = { unset = 0, set = 1, inherit = 2 } }, df)
    out = cjson.decode((run "-J -r wireguard.set_device"))
    assert.equal("peers", out.entries[8].key)
    assert.equal("public_key", out.entries[8].inside.entries[1].key)
    out = cjson.decode((run "-J link route"))
    assert.equal("route", out[2].name)
    assert.equal(0, out[1].entries[1].offset)
  end)

  it("tells the words of queues, classes and filters", function()
    says("qdisc.tbf", "words: burst latency limit linklayer ")
    says("class.htb", " ceil ")
    says("filter.u32", " match")
    says("filter.bpf", "words: direct_action fd name ops")
    says("filter.matchall", "filter.options.matchall: ")
  end)

  it("prints a family of one's own", function()
    local name = os.tmpname()
    local f = assert(io.open(name, "w"))
    f:write [[
      return ns.netlink.family{ name = "mine", flags = { f = "a b" }, sets = { s = "1 x u32:flags(f)\n 7 y list(nest(s)) multi" },
        commands = { get = { 3, "s", reply = "s" } }, groups = { "news" } }
    ]]
    f:close()
    finally(function()
      os.remove(name)
    end)
    says("-f " .. name .. " mine", "mine: generic netlink family (groups: news)", "\n 3 get s reply -> mine.get")
    says("-f " .. name .. " mine.get", "\n 1 x u32:flags(f) a=1 b=2", "\n 7 y list(nest(s)) multi -> mine.get.y")
    f = assert(io.open(name, "w"))
    f:write "return 3"
    f:close()
    local out, ok, status = run("-f " .. name)
    assert.is_false(ok)
    assert.equal(1, status)
    assert.equal(("nslua schema: %s returns no family of ns.netlink.family, but a number"):format(name), out)
    assert.truthy(run "-f /nonexistent":find "^nslua schema: cannot open /nonexistent")
  end)

  it("tells what the kernel has, and drafts a declaration of it", function()
    local out, ok = run "-k"
    assert(ok, out)
    assert.truthy(out:find "\nnlctrl +16 +2 +%d+ notify")
    local name = os.tmpname()
    finally(function()
      os.remove(name)
    end)
    assert.truthy(select(2, run("-k nlctrl > " .. name)))
    says("-f " .. name .. " nlctrl", "nlctrl: generic netlink family, version 2 (groups: notify)", "\n 3 c3 s0 reply dump -> nlctrl.c3")
    out, ok = run "-k nlctl"
    assert.is_false(ok)
    assert.equal("nslua schema: this kernel has no family 'nlctl' (did you mean 'nlctrl'?)", out)
  end)

  it("names the nearest of what there is not", function()
    for words, message in pairs {
      lnik = "unknown name 'lnik' (did you mean 'link'?)", ["link.vxlna"] = "link: unknown name 'vxlna' (did you mean 'vxlan'?)",
      ["link.linkinfo.knid"] = "link.linkinfo: unknown name 'knid' (did you mean 'kind'?)", ["link.mtu.x"] = "link.mtu: unknown name 'x'",
      ["wireguard.set_devices"] = "wireguard: unknown name 'set_devices' (did you mean 'set_device'?)", ["''"] = "no name",
    } do
      local out, ok, status = run(words)
      assert.is_false(ok)
      assert.equal(1, status)
      assert.equal("nslua schema: " .. message, out)
    end
    local out = run "--jsno"
    assert.truthy(out:find("unrecognized option '--jsno'", 1, true), out)
  end)

  it("knows every object, and every path that it prints", function()
    for name in (run "-n"):gmatch "(%S+)[^\n]*" do
      local seen, paths = { [name] = true }, { name }
      for depth = 0, name:find("ethtool", 1, true) and 0 or 2 do -- all that the level above names, at once
        local out, ok = run("-J " .. table.concat(paths, " "))
        assert(ok, out)
        local nodes = cjson.decode(out)
        nodes = nodes.name and { nodes } or nodes -- where several lead to the same
        paths = {}
        for _, node in ipairs(nodes) do
          for _, entry in ipairs(node.entries or {}) do
            local path = entry.path
            if path and depth < 2 and not seen[path] then
              seen[path] = true
              paths[#paths + 1] = path
            end
          end
        end
        if not paths[1] then
          break
        end
      end
    end
  end)
end)

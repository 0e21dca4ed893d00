-- tun and tap: links whose other end is a program. The kernel calls both "tun"; here `kind` is "tun" or "tap".
-- linux/if_tun.h, linux/if_link.h. rtnetlink lists, changes and deletes them; making one is an ioctl (c/tun.c).

local core = require "nslua.core"
local inside = require "nslua.inside"
local schema = require "nslua.schema"

schema.enum("tun_type", { header = "linux/if_tun.h", prefix = "IFF_" }, { tun = 1, tap = 2 })

local creation = { "pi", "vnet_hdr", "multi_queue" }

-- A persistent device in the namespace of `handle`; its name, or nil, message, errno.
local function create(handle, name, data, kind)
  local options = { tap = kind == "tap", excl = true }
  for _, word in ipairs(creation) do
    options[word] = data[word] == true
  end
  -- the device belongs to the namespace its fd was opened in
  local fd, message, errno = inside.open(handle, "link.add", "/dev/net/tun")
  if not fd then
    return nil, message, errno
  end
  name, message, errno = core.tun.attach(fd, name or "", options)
  local ok = name
  if ok then
    ok, message, errno = core.tun.persist(fd, data.user, data.group)
  end
  fd:close()
  if not ok then
    return nil, message, errno == core.errno.EBUSY and core.errno.EEXIST or errno
  end
  return name
end

local function kind(name)
  return {
    kind = name,
    wire = "tun", -- what the kernel calls it
    header = "linux/if_link.h",
    prefix = "IFLA_TUN_",
    attributes = [[
      1  OWNER                user                 u32   -- may attach to it
      2  GROUP                group                u32
      3  TYPE                 type                 u8:enum(tun_type)
      4  PI                   pi                   bool
      5  VNET_HDR             vnet_hdr             bool
      6  PERSIST              persist              bool
      7  MULTI_QUEUE          multi_queue          bool
      8  NUM_QUEUES           numqueues            u32
      9  NUM_DISABLED_QUEUES  numdisabled          u32
    ]],
    hidden = { "type" },
    create = create,
  }
end

local tun = kind "tun"
tun.also = { kind "tap" }
return tun

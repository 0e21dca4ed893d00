-- What has changed from one map to another.

local M = {}

local FIELDS = { "name", "kind", "mtu", "up", "operstate", "address", "master", "alias" }

local function by(list, key)
  local out = {}
  for _, each in ipairs(list) do
    out[each[key]] = each
  end
  return out
end

-- "docker:web eth0": what a wire leads to, by name, so that a namespace that was made anew tells.
local function leads(each)
  local far = each.peer or each.lower
  return far and ("%s %s"):format(far.title or "unseen", far.link or far.index) or nil
end

local function links(out, before, after, title)
  local old, new = by(before.links, "index"), by(after.links, "index")
  local function add(action, link, more)
    local change = more or {}
    change.what, change.action, change.netns, change.title, change.link = change.what or "link", action, after.inode, title, link.name
    out[#out + 1] = change
  end
  for _, link in ipairs(before.links) do
    if not new[link.index] then
      add("delete", link)
    end
  end
  for _, link in ipairs(after.links) do
    local was = old[link.index]
    if not was then
      add("new", link)
    else
      local changes = {}
      for _, field in ipairs(FIELDS) do
        if was[field] ~= link[field] then
          changes[field] = { before = was[field], after = link[field] }
        end
      end
      if leads(was) ~= leads(link) then
        changes.peer = { before = leads(was), after = leads(link) }
      end
      if next(changes) then
        add("change", link, { changes = changes })
      end
    end
    local had, has = {}, {}
    for _, address in ipairs(was and was.addresses or {}) do
      had[address] = true
    end
    for _, address in ipairs(link.addresses) do
      has[address] = true
    end
    for _, address in ipairs(was and was.addresses or {}) do
      if not has[address] then
        add("delete", link, { what = "address", address = address })
      end
    end
    for _, address in ipairs(link.addresses) do
      if not had[address] then
        add("new", link, { what = "address", address = address })
      end
    end
  end
end

-- A namespace is the same one where its 64-bit id is; inodes are used again.
local function key(space)
  return space.id or -space.inode
end

---@param before nslua.Map
---@param after nslua.Map
---@return nslua.map.Change[]
function M.of(before, after)
  local out, old, new = {}, {}, {}
  for _, space in ipairs(before.namespaces) do
    old[key(space)] = space
  end
  for _, space in ipairs(after.namespaces) do
    new[key(space)] = space
  end
  for _, space in ipairs(before.namespaces) do
    if not new[key(space)] then
      out[#out + 1] = { what = "namespace", action = "delete", netns = space.inode, title = space.title }
    end
  end
  for _, space in ipairs(after.namespaces) do
    local was = old[key(space)]
    if was then
      links(out, was, space, space.title)
    else
      out[#out + 1] = { what = "namespace", action = "new", netns = space.inode, title = space.title }
      links(out, { links = {} }, space, space.title)
    end
  end
  return out
end

return M

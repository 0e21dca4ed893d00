-- Impaired links on every kernel: a veth with netem at both ends where the kernel has netem and netem knows the words, else a wire. The same words,
-- the same methods.

local check = require "nslua.check"
local connect = require "nslua.connect"
local errors = require "nslua.error"
local follow = require "nslua.lab.follow"
local impairment = require "nslua.impairment"
local netem = require "nslua.netem"
local netns = require "nslua.netns"
local schedule = require "nslua.schedule"
local wire = require "nslua.wire"

local M = {}

---@class nslua.ImpairedLink  a wire, or this
---@field backend "netem"|"wire"
---@field a { dev: string }
---@field b { dev: string }
---@field to nslua.Impairment
---@field from nslua.Impairment
local Link = { __name = "nslua.ImpairedLink" }
Link.__index = Link

local end_words = { true, dev = "string", address = "string|table", mtu = "integer", lladdr = "string", txqlen = "integer", up = "boolean" }
local ways = { "to", "from" }

---A frame of many packets would be lost or delayed as one: the sender's TCP makes none where a packet is what counts. What is forwarded in such a
---frame stays one: all links of a path have to be told.
---@param handle nslua.Netns
---@param dev string
---@param each_packet boolean
function M.segments(handle, dev, each_packet)
  handle.link:change(dev, { gso_max_segs = each_packet and 1 or 65535 })
end

-- What leaves `handle` by `dev` is impaired as `t` says; `single`: frames are single packets whatever it says.
local function impair(handle, dev, call, t, seed, single)
  local options = netem.options(call, t)
  options.seed = t.seed or seed or false
  M.segments(handle, dev, single or impairment.each_packet(t))
  local row = handle.qdisc:get(dev)
  if next(t) == nil then
    handle.qdisc:delete(dev, { absent = "ok" })
  elseif row and row.kind == "netem" then
    handle.qdisc:change(dev, { "netem", netem = options })
  else
    for word, value in pairs(options) do
      options[word] = value or nil
    end
    handle.qdisc:replace { "netem", dev = dev, netem = options }
  end
end

-- The words are changed, and no others.
local function alter(handle, dev, call, words, seed)
  local row = handle.qdisc:get(dev)
  if row and row.kind == "netem" then
    local options = netem.changes(call, words)
    if words and words.seed ~= nil then
      options.seed = words.seed or seed or false
    end
    handle.qdisc:change(dev, { "netem", netem = options })
  elseif words then
    impair(handle, dev, call, impairment.merge(call, {}, words), seed, true)
  end
end

local function of_end(t, name)
  return { name = name, mtu = t.mtu, address = t.lladdr, txqlen = t.txqlen, up = t.up ~= false }
end

local function build(options, first, second, words)
  local a, b = options.a, options.b
  local name = a.dev or connect.free_name(first)
  local far_name = b.dev or connect.free_name(second, first == second and name or nil)
  local link, peer = of_end(a, name), of_end(b, far_name)
  peer.netns, link.kind, link.peer = second, "veth", peer
  first.link:add(link)
  local self = setmetatable({ backend = "netem", a = { dev = name, netns = first }, b = { dev = far_name, netns = second }, to = words.to,
    from = words.from, seed = options.seed, opened = {}, followers = {}, touched = { to = {}, from = {} } }, Link)
  local ok, err = pcall(function()
    for i, handle in ipairs { first, second } do
      local t = i == 1 and a or b
      local dev = i == 1 and name or far_name
      connect.give(handle, dev, type(t.address) == "table" and t.address or { t.address })
      impair(handle, dev, "impair.link: " .. ways[i], words[ways[i]], options.seed)
    end
  end)
  if not ok then
    self:close()
    error(err, 0)
  end
  return self
end

local function with_netem(options, words)
  local opened = {}
  local function open(target)
    local handle = netns.open(target)
    opened[#opened + 1] = not rawequal(handle, target) and handle or nil
    return handle
  end
  local ok, link = pcall(function()
    return build(options, open(options.a[1]), open(options.b[1]), words)
  end)
  if not ok then
    for _, handle in ipairs(opened) do
      handle:close()
    end
    error(link, 0)
  end
  link.opened = opened
  return link
end

---A link between two namespaces, impaired in each direction as said.
---@param options nslua.NewWire  besides: `hub`, a ns.wire.hub, and `backend`, "netem" or "wire", which is chosen where it is missing
---@return nslua.ImpairedLink|nslua.Wire
function M.link(options)
  check.options("impair.link", options, { a = "table", b = "table", to = "table", from = "table", seed = "integer|string", hub = "table",
    backend = "string" })
  local backend, words = options.backend, {}
  for _, which in ipairs { "a", "b" } do
    check.options("impair.link: " .. which, options[which] or errors.misuse("impair.link: %s is missing", which), end_words)
  end
  for _, way in ipairs(ways) do
    words[way] = impairment.merge("impair.link: " .. way, {}, options[way] or {})
    impairment.numbers("impair.link: " .. way, words[way])
  end
  backend = backend or (netem.knows(words.to) and netem.knows(words.from) and netem.available() and "netem" or "wire")
  if backend == "netem" then
    return with_netem(options, words)
  elseif backend ~= "wire" then
    errors.misuse("impair.link: %s", check.unknown("backend", backend, { "netem", "wire" }))
  end
  local hub = options.hub
  local new = { a = options.a, b = options.b, to = options.to, from = options.from, seed = options.seed }
  local made = hub and hub:new(new) or wire.new(new)
  made.backend = "wire"
  return made
end

local function handles(self, call)
  if self.closed then
    errors.misuse("%s: the link is closed", call)
  end
  return { self.a, self.b }
end

---As of a wire.
---@param t { to: nslua.Impairment|false, from: nslua.Impairment|false }
---@return true
function Link:change(t)
  local ends = handles(self, "impair.change")
  check.options("impair.change", t, { to = "table|false", from = "table|false" })
  local new = {}
  for _, way in ipairs(ways) do
    new[way] = t[way] ~= nil and impairment.merge("impair.change: " .. way, self[way], t[way]) or nil
    if new[way] then
      netem.options("impair.change: " .. way, new[way])
    end
  end
  for i, way in ipairs(ways) do
    if new[way] then
      local handle, dev = ends[i].netns, ends[i].dev
      if self.unplugged then
        self[way] = new[way]
      elseif self.scheduled and t[way] ~= false then -- what the steps did is left as it is
        M.segments(handle, dev, self.single or impairment.each_packet(new[way]))
        alter(handle, dev, "impair.change: " .. way, t[way], self.seed)
      else
        impair(handle, dev, "impair.change: " .. way, new[way], self.seed, self.single)
      end
      self[way] = new[way]
    end
  end
  return true
end

-- One step, in the copy of the script that does them. Down is a loss of all, over what is lost otherwise.
local function act(self, step)
  for i, way in ipairs(ways) do
    local side = self[i == 1 and "a" or "b"]
    if step[way] ~= nil then
      alter(side.netns, side.dev, step.what, step[way], self.seed)
    end
    if step.up == false then
      local row = side.netns.qdisc:get(side.dev)
      side.lost = row and row.kind == "netem" and row.netem.loss or 0 -- of a copy made while it was down: what was said at first
      alter(side.netns, side.dev, step.what, { loss = 1 }, self.seed)
    elseif step.up then
      alter(side.netns, side.dev, step.what, { loss = side.lost or self[way].loss or 0 }, self.seed)
    end
  end
end

local function follow_steps(self, steps, began, since)
  table.insert(self.followers, follow.start(steps, function(step)
    act(self, step)
  end, began, since))
end

local function schedule_steps(self, call, steps)
  local ends = handles(self, call)
  local single, plug = false, false
  for _, step in ipairs(steps) do
    for _, way in ipairs(ways) do
      if step[way] ~= nil then
        netem.changes(step.what .. ": " .. way, step[way])
        single = single or step[way] and impairment.each_packet(step[way]) or false
        for word in pairs(step[way] or impairment.words) do
          self.touched[way][word] = true
        end
      end
      self.touched[way].loss = self.touched[way].loss or step.up ~= nil or nil
    end
    plug = plug or step.up ~= nil
  end
  self.scheduled, self.plugs = true, self.plugs or plug
  if single or plug then
    self.single = true
    for _, side in ipairs(ends) do
      M.segments(side.netns, side.dev, true)
    end
  end
  follow_steps(self, steps)
  return true
end

---As of a wire, but that a copy of the script does it.
---@param after number|string
---@param t { to: nslua.Impairment|false, from: nslua.Impairment|false, up: boolean? }
---@return true
function Link:at(after, t)
  return schedule_steps(self, "impair.at", schedule.at("impair.at", after, t))
end

---As of a wire.
---@param t nslua.Flap
---@return true
function Link:flap(t)
  return schedule_steps(self, "impair.flap", schedule.flap("impair.flap", t))
end

---As of a wire, but that what waits is sent at the rate there was when it came.
---@param t nslua.Replay
---@return true
function Link:replay(t)
  return schedule_steps(self, "impair.replay", schedule.replay("impair.replay", t))
end

---End the copies of the script that do its steps.
function Link:let_go()
  follow.stop(self.followers)
  self.followers = {}
end

---As of a wire.
---@return true
function Link:unschedule()
  local ends = handles(self, "impair.unschedule")
  self:let_go()
  if self.plugs and not self.unplugged then
    for i, way in ipairs(ways) do
      alter(ends[i].netns, ends[i].dev, "impair.unschedule", { loss = self[way].loss or 0 }, self.seed)
    end
  end
  self.plugs = nil
  return true
end

---What has happened so far, as far as netem tells: sent, bytes, queued, queued_bytes; `lost` is what was dropped, by chance or at the limit.
---@return { to: table, from: table }
function Link:counters()
  local out = {}
  for i, side in ipairs(handles(self, "impair.counters")) do
    local row = side.netns.qdisc:get(side.dev)
    local s = row and row.kind == "netem" and row.stats or {}
    out[ways[i]] = { sent = s.packets or 0, bytes = s.bytes or 0, lost = s.drops or 0, queued = s.qlen or 0, queued_bytes = s.backlog or 0 }
  end
  return out
end

---Nothing gets through. Other than a wire's, the carrier stays: a veth would lose it at one end only, and its routes at the other.
---@return true
function Link:down()
  for i, side in ipairs(handles(self, "impair.down")) do
    impair(side.netns, side.dev, "impair.down: " .. ways[i], { loss = 1 })
  end
  self.unplugged = true
  return true
end

---@return true
function Link:up()
  for i, side in ipairs(handles(self, "impair.up")) do
    impair(side.netns, side.dev, "impair.up: " .. ways[i], self[ways[i]], self.seed, self.single)
  end
  self.unplugged = false
  return true
end

---As of a wire. The kernel takes netem off a device that leaves a namespace.
---@param which "a"|"b"
---@param handle nslua.Netns
---@param dev? string
---@return true
function Link:move(which, handle, dev)
  handles(self, "impair.move")
  local i = which == "a" and 1 or which == "b" and 2 or errors.misuse("impair.move: %s", check.unknown("end", which, { "a", "b" }))
  local at, followers = self[which], self.followers
  dev = dev or at.dev
  local since = follow.pause(followers)
  self.followers = {}
  local row, now = self.scheduled and at.netns.qdisc:get(at.dev), {}
  for word in pairs(row and row.kind == "netem" and self.touched[ways[i]] or {}) do
    now[word] = row.netem[word] or false
  end
  local ok, e = pcall(at.netns.link.change, at.netns.link, at.dev, { netns = handle, name = dev })
  if ok then
    at.netns, at.dev = handle, dev
    impair(handle, dev, "impair.move: " .. ways[i], self.unplugged and { loss = 1 } or self[ways[i]], self.seed, self.single)
    if next(now) then -- what the steps have done so far
      alter(handle, dev, "impair.move: " .. ways[i], now, self.seed)
    end
  end
  for _, each in ipairs(followers) do -- the copies that did them know the old place
    follow_steps(self, each.steps, each.began, since)
  end
  if not ok then
    error(e, 0)
  end
  return true
end

---@return boolean
function Link:isopen()
  return not self.closed and self.a.netns:isopen() and self.b.netns:isopen()
end

---Take it away. Idempotent.
---@return true
function Link:close()
  if not self.closed then
    self.closed = true
    self:let_go()
    for _, side in ipairs { self.a, self.b } do
      if side.netns:isopen() then -- else it went with its namespace
        side.netns.link:delete(side.dev, { absent = "ok" })
      end
    end
    for _, handle in ipairs(self.opened) do
      handle:close()
    end
  end
  return true
end

Link.__close = Link.close

return M

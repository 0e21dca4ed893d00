-- A veth with netem at both ends, as a wire is. What each direction is impaired by now is known here and not asked of the kernel, which is told all
-- of it whenever something changes; the copy of the script that does what is scheduled knows it from then on, and gives it back.

local check = require "nslua.check"
local connect = require "nslua.connect"
local core = require "nslua.core"
local errors = require "nslua.error"
local follow = require "nslua.lab.follow"
local impairment = require "nslua.impairment"
local netem = require "nslua.netem"
local netns = require "nslua.netns"
local schedule = require "nslua.schedule"

local M = {}

---@class nslua.ImpairedLink  a wire, or this
---@field backend "netem"|"wire"
---@field a { dev: string }
---@field b { dev: string }
---@field to nslua.Impairment    as it was said
---@field from nslua.Impairment
local Link = { __name = "nslua.ImpairedLink" }
Link.__index = Link

local ways = { "to", "from" }
local ends = { "a", "b" }
local ADOPTED = 1000 -- changes, before which the seeds are those of who made a link

---A frame of many packets would be lost or delayed as one: the sender's TCP makes none where a packet is what counts. What is forwarded in such a
---frame stays one: all links of a path have to be told.
---@param handle nslua.Netns
---@param dev string
---@param each_packet boolean
function M.segments(handle, dev, each_packet)
  handle.link:change(dev, { gso_max_segs = each_packet and 1 or 65535 })
end

-- What netem knows --------------------------------------------------------------------------------------------------------------------

local function netem_of(side)
  local row = side.netns.qdisc:get(side.dev)
  return row and row.kind == "netem" and row or nil
end

-- Other numbers each time: netem begins again with those of the seed whenever it is changed, and every change would lose the same packets.
local function seed_of(self, i)
  local state = self.state
  local seed, turn = state[ways[i]].seed or self.seed, state.turns[i]
  state.turns[i] = turn + 1
  local number = math.tointeger(tonumber(seed))
  return number and number + turn * 0x9e3779b9 + (i - 1) * 0x85ebca6b or seed or false
end

-- What has been counted by a netem that goes; what waits there goes with it.
local function remember(self, i, row)
  local sum, s = self.state.counts[i], row and row.stats or {}
  sum.sent, sum.bytes = sum.sent + (s.packets or 0), sum.bytes + (s.bytes or 0)
  sum.lost = sum.lost + (s.drops or 0) + (s.qlen or 0)
end

-- Tell the kernel how a direction is now; `fresh`: what is on its way is lost.
local function tell(self, i, fresh)
  local state, side = self.state, self[ends[i]]
  local words, dark = state[ways[i]], state.unplugged or state.silent
  local row = netem_of(side)
  if not row and not dark and next(words) == nil then
    return
  end
  local options = netem.words(words)
  if dark then
    options.loss = 1
  end
  options.seed = seed_of(self, i)
  if row and not fresh then
    side.netns.qdisc:change(side.dev, { "netem", netem = options })
    return
  end
  for word, value in pairs(options) do
    options[word] = value or nil
  end
  local handle = row and (row.handle == "1:" and "2:" or "1:") or nil -- another is another netem, and takes the place of the one there is
  side.netns.qdisc:replace { "netem", dev = side.dev, handle = handle, netem = options }
  remember(self, i, row)
end

local function tell_both(self, fresh)
  for i = 1, 2 do
    tell(self, i, fresh)
  end
end

-- Whether frames are single packets at the end of a direction.
local function frames(self, i)
  local side = self[ends[i]]
  M.segments(side.netns, side.dev, self.single or impairment.each_packet(self[ways[i]]))
end

-- Making and taking away --------------------------------------------------------------------------------------------------------------

local function of_end(t, name)
  return { name = name, mtu = t.mtu, address = t.lladdr, txqlen = t.txqlen, up = t.up ~= false }
end

local function counts()
  return { sent = 0, bytes = 0, lost = 0 }
end

-- turn: how often the seed is thought to have been used.
local function make(a, b, words, seed, turn)
  return setmetatable({ backend = "netem", a = a, b = b, to = words.to, from = words.from, seed = seed, opened = {}, steps = {},
    state = { to = words.to, from = words.from, silent = false, unplugged = false, turns = { turn, turn }, counts = { counts(), counts() } } }, Link)
end

local function build(options, first, second, words)
  local a, b = options.a, options.b
  local name = a.dev or connect.free_name(first)
  local far_name = b.dev or connect.free_name(second, first == second and name or nil)
  local link, peer = of_end(a, name), of_end(b, far_name)
  peer.netns, link.kind, link.peer = second, "veth", peer
  first.link:add(link)
  local self = make({ dev = name, netns = first }, { dev = far_name, netns = second }, words, options.seed, 0)
  local ok, err = pcall(function()
    for i, t in ipairs { a, b } do
      local side = self[ends[i]]
      connect.give(side.netns, side.dev, type(t.address) == "table" and t.address or { t.address })
      frames(self, i)
      tell(self, i)
    end
  end)
  if not ok then
    self:close()
    error(err, 0)
  end
  return self
end

---@param options nslua.NewWire
---@param words { to: nslua.Impairment, from: nslua.Impairment }
---@return nslua.ImpairedLink
function M.new(options, words)
  for _, way in ipairs(ways) do
    netem.refuse("impair.link: " .. way, words[way])
  end
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

---One that another process has made.
---@param at { a: { netns: nslua.Netns, dev: string }, b: { netns: nslua.Netns, dev: string } }
---@param words { to: nslua.Impairment, from: nslua.Impairment }
---@param seed integer|string|nil
---@return nslua.ImpairedLink
function M.adopt(at, words, seed)
  return make(at.a, at.b, words, seed, ADOPTED)
end

-- The copy that does what is scheduled ------------------------------------------------------------------------------------------------

-- One step, in the copy.
local function act(self, step)
  local state = self.state
  local was = state.silent
  if step.up ~= nil then
    state.silent = not step.up
  end
  for i, way in ipairs(ways) do
    if step[way] ~= nil then
      state[way] = impairment.merge(step.what, state[way], step[way])
    end
    if step[way] ~= nil or was ~= state.silent then
      local ok, err = pcall(tell, self, i, state.silent and not was)
      if not ok and not state.failed then
        state.failed = { what = step.what, after = step.after, text = tostring(err), errno = errors.is(err) and err.errno or nil }
      end
    end
  end
end

-- What has been counted in all.
local function totals(self)
  local out = {}
  for i, way in ipairs(ways) do
    local row, sum = netem_of(self[ends[i]]), self.state.counts[i]
    local s = row and row.stats or {}
    out[way] = { sent = sum.sent + (s.packets or 0), bytes = sum.bytes + (s.bytes or 0), lost = sum.lost + (s.drops or 0), queued = s.qlen or 0,
      queued_bytes = s.backlog or 0 }
  end
  return out
end

-- Take over from the copy what there is by now: it goes on (`quit` is false), or it is at its end.
local function take_over(self, quit)
  local follower = self.follower
  if not follower then
    return
  elseif not follower:mine() then -- that of the process this one was forked from
    self.follower, self.steps = nil, {}
    return
  end
  local since, told = follower:ask(quit)
  if since then
    self.state, self.steps = told, follow.after(self.steps, since)
  else
    self.steps = {}
    self.state.failed = self.state.failed or { ended = told }
  end
  self.follower = not follower.closed and follower or nil
end

local function go_on(self)
  if self.steps[1] and not self.follower then
    self.follower = follow.start(self.steps, function(step)
      act(self, step)
    end, function()
      local ok, counted = pcall(totals, self)
      self.state.totals = ok and counted or nil
      return self.state
    end)
  end
end

-- Raise what a step has failed by, to the first who asks; nothing is done of what they ask for.
local function raise_failed(self, call)
  local failed = self.state.failed
  if failed then
    self.state.failed = nil
    local message = failed.ended and ("the process that does what was scheduled has ended (%s): nothing of it is to come"):format(failed.ended)
      or ("what was to be done after %g s (%s) has failed, and what follows is done all the same: %s"):format(failed.after, failed.what, failed.text)
    errors.raise { call = call, errno = failed.errno, message = message }
  end
end

-- Do something while nothing else changes it.
local function alone(self, call, fn)
  take_over(self, true)
  local ok, err = pcall(function()
    raise_failed(self, call)
    fn()
  end)
  local went_on, why = pcall(go_on, self)
  if not went_on then
    self.steps = {}
  end
  if not (ok and went_on) then
    error(not ok and err or why, 0)
  end
  return true
end

-- What a method is called in messages.
local function called(self, method)
  local call = (self.called or "impair") .. "." .. method
  if self.closed then
    errors.misuse("%s: the link is closed", call)
  end
  return call
end

-- Its methods -------------------------------------------------------------------------------------------------------------------------

---As of a wire.
---@param t { to: nslua.Impairment|false, from: nslua.Impairment|false }
---@return true
function Link:change(t)
  local call = called(self, "change")
  check.options(call, t, { to = "table|false", from = "table|false" })
  local new = {}
  for _, way in ipairs(ways) do
    new[way] = t[way] ~= nil and impairment.merge(call .. ": " .. way, self[way], t[way]) or nil
    if new[way] then
      impairment.numbers(call .. ": " .. way, new[way])
      netem.refuse(call .. ": " .. way, new[way])
    end
  end
  return alone(self, call, function()
    local state = self.state
    for i, way in ipairs(ways) do
      if new[way] then
        local old, before = self[way], state[way]
        self[way], state[way] = new[way], impairment.merge(call, state[way], t[way])
        local ok, err = pcall(function()
          frames(self, i)
          tell(self, i)
        end)
        if not ok then
          self[way], state[way] = old, before
          error(err, 0)
        end
      end
    end
  end)
end

local function schedule_steps(self, call, steps)
  local single = false
  for _, step in ipairs(steps) do
    for _, way in ipairs(ways) do
      if step[way] ~= nil then
        impairment.changes(step.what .. ": " .. way, step[way])
        netem.refuse(step.what .. ": " .. way, step[way])
        single = single or step[way] and impairment.each_packet(step[way]) or false
      end
    end
    single = single or step.up ~= nil
  end
  return alone(self, call, function()
    if single and not self.single then
      self.single = true
      frames(self, 1)
      frames(self, 2)
    end
    table.move(follow.due(steps, core.fd.clock()), 1, #steps, #self.steps + 1, self.steps)
  end)
end

---As of a wire, but that a copy of the script does it.
---@param after number|string
---@param t { to: nslua.Impairment|false, from: nslua.Impairment|false, up: boolean? }
---@return true
function Link:at(after, t)
  local call = called(self, "at")
  return schedule_steps(self, call, schedule.at(call, after, t))
end

---As of a wire.
---@param t nslua.Flap
---@return true
function Link:flap(t)
  local call = called(self, "flap")
  return schedule_steps(self, call, schedule.flap(call, t))
end

---As of a wire, but that what waits is sent at the rate there was when it came, and is lost where that was 0.
---@param t nslua.Replay
---@return true
function Link:replay(t)
  local call = called(self, "replay")
  return schedule_steps(self, call, schedule.replay(call, t))
end

---End the copy of the script that does its steps. Raises what one of them failed by, if nobody was told.
function Link:let_go()
  take_over(self, true)
  self.steps = {}
  raise_failed(self, (self.called or "impair") .. ".at")
end

---As of a wire.
---@return true
function Link:unschedule()
  local call = called(self, "unschedule")
  take_over(self, true)
  self.steps = {}
  if self.state.silent then
    self.state.silent = false
    tell_both(self)
  end
  raise_failed(self, call)
  return true
end

---What has happened so far, as far as netem tells: sent, bytes, queued, queued_bytes; `lost` is what was dropped, by chance or at the limit.
---@return { to: table, from: table }
function Link:counters()
  local call = called(self, "counters")
  take_over(self, false)
  raise_failed(self, call)
  return self.follower and self.state.totals or totals(self)
end

local function plug(self, call, unplugged)
  return alone(self, call, function()
    local before = self.state.unplugged
    self.state.unplugged = unplugged
    if before ~= unplugged then
      tell_both(self, unplugged)
    end
  end)
end

---Nothing gets through, and what is on its way is lost. Other than a wire's, the carrier stays: a veth would lose it at one end only, and its routes
---at the other.
---@return true
function Link:down()
  return plug(self, called(self, "down"), true)
end

---@return true
function Link:up()
  return plug(self, called(self, "up"), false)
end

---As of a wire.
---@param which "a"|"b"
---@param mtu integer
---@return true
function Link:mtu(which, mtu)
  local call = called(self, "mtu")
  local side = (which == "a" or which == "b") and self[which] or errors.misuse("%s: %s", call, check.unknown("end", which, ends))
  check.argument(call, "mtu", mtu, "68-65535")
  side.netns.link:change(side.dev, { mtu = mtu })
  return true
end

---As of a wire. The kernel takes netem off a device that leaves a namespace.
---@param which "a"|"b"
---@param handle nslua.Netns
---@param dev? string
---@return true
function Link:move(which, handle, dev)
  local call = called(self, "move")
  local i = which == "a" and 1 or which == "b" and 2 or errors.misuse("%s: %s", call, check.unknown("end", which, ends))
  return alone(self, call, function()
    local at = self[which]
    local row
    if at.netns.link:get(at.dev) or not handle.link:get(dev or at.dev) then -- else it is there already
      row = netem_of(at)
      at.netns.link:change(at.dev, { netns = handle, name = dev or at.dev })
    end
    at.netns, at.dev = handle, dev or at.dev
    remember(self, i, row)
    frames(self, i)
    tell(self, i)
  end)
end

local function same(a, b)
  for _, t in ipairs { a, b } do
    for word in pairs(t) do
      if a[word] ~= b[word] then
        return false
      end
    end
  end
  return true
end

---Another process has moved an end of it, or changed what it is impaired by; it has told the kernel.
---@package
function Link:follow(at, words)
  local changed, moved = false, false
  for i, way in ipairs(ways) do
    changed = changed or not same(self[way], words[way])
    moved = moved or self[ends[i]].netns ~= at[ends[i]].netns or self[ends[i]].dev ~= at[ends[i]].dev
  end
  if changed or moved then
    take_over(self, true)
    self.a, self.b = at.a, at.b
    for _, way in ipairs(changed and ways or {}) do
      self[way], self.state[way] = words[way], words[way]
    end
    if not pcall(go_on, self) then
      self.steps = {}
    end
  end
end

---@return boolean
function Link:isopen()
  return not self.closed and self.a.netns:isopen() and self.b.netns:isopen()
end

---Take it away. Idempotent. Raises what a step of a schedule failed by, if nobody was told.
---@return true
function Link:close(err)
  if not self.closed then
    self.closed = true
    local ok, failed = pcall(self.let_go, self)
    for _, side in ipairs { self.a, self.b } do
      if side.netns:isopen() then -- else it went with its namespace
        side.netns.link:delete(side.dev, { absent = "ok" })
      end
    end
    for _, handle in ipairs(self.opened) do
      handle:close()
    end
    if not ok and err == nil then
      error(failed, 0)
    end
  end
  return true
end

Link.__close = Link.close

return M

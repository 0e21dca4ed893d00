-- Probes of many targets at the same time: what a method does for one target it does for a list of them.

local check = require "nslua.check"
local errors = require "nslua.error"
local namespace = require "nslua.namespace"
local pings = require "nslua.inspect.pings"
local target = require "nslua.inspect.target"
local together = require "nslua.inspect.together"

local M = {}

M.together = together.run

-- A list of targets, not an object that is one.
local function is_list(value)
  return type(value) == "table" and getmetatable(value) == nil and type(value.address_of) ~= "function"
end

-- What a result has where nothing was sent.
local nothing = {
  ["netns.ping"] = function()
    return { sent = 0, received = 0, loss = 1, duplicates = 0, rtt = {}, replies = {}, errors = {} }
  end,
  ["netns.trace"] = function()
    return { reached = false }
  end,
  ["netns.path_mtu"] = function()
    return { limits = {}, black_hole = false }
  end,
  ["netns.resolve"] = function(item)
    return { ok = false, answers = {}, addresses = {}, name = item[1], elapsed = 0 }
  end,
  ["netns.http"] = function()
    return { ok = false, body = "", elapsed = 0 }
  end,
  ["netns.tcp"] = function(item)
    return { ok = false, connected = false, elapsed = 0, dport = item[2] }
  end,
  ["netns.udp"] = function(item)
    return { ok = false, elapsed = 0, dport = item[2] }
  end,
}

-- The positions and the options of an item of a list: "10.0.0.2", { "10.0.0.2", 80, timeout = 1 }.
local function item_of(call, i, item, positions, common)
  if not is_list(item) then
    item = { item }
  end
  local options = {}
  for key, value in pairs(common) do
    options[key] = value
  end
  for key, value in pairs(item) do
    if type(key) == "string" then
      options[key] = value
    elseif math.type(key) ~= "integer" or key < 1 or key > positions then
      errors.misuse("%s: [%d] has more than %s", call, i, positions == 2 and "a target and a port" or "a target")
    end
  end
  if item[1] == nil then
    errors.misuse("%s: [%d] has no target", call, i)
  end
  return item, options
end

local function all(self, call, probe, positions, list, common)
  check.argument(call, "options", common, "table")
  local jobs, items = {}, {}
  local each = common.each
  for i, given in ipairs(list) do
    local item, options = item_of(call, i, given, positions, common)
    items[i], options.each = item, nil
    jobs[i] = function()
      local tell = each and function(event)
        each(event, i)
      end
      local ok, result
      if positions == 2 then
        ok, result = pcall(probe, self, item[1], item[2], options, tell)
      else
        ok, result = pcall(probe, self, item[1], options, tell)
      end
      if ok then
        return result
      elseif not errors.is(result) then
        return { misuse = result }
      end
      local out = nothing[call](item)
      out.error, out.message = result.code, result.message
      return out
    end
  end
  local out = together.run(jobs)
  for i, result in ipairs(out) do
    if result.misuse ~= nil then
      errors.misuse("%s", tostring(result.misuse))
    end
    result.to, result.port = items[i][1], items[i][2]
  end
  return out
end

---Give a probe a second form, for a list of targets.
---@param call string       "netns.tcp"
---@param probe function    of one target
---@param positions? integer  what stands in an item without a key: 1, the target; 2, a port too
---@return function
function M.of(call, probe, positions)
  if positions == 2 then
    return function(self, to, port, options)
      if is_list(to) then
        return all(self, call, probe, 2, to, port or {})
      end
      return probe(self, to, port, options)
    end
  end
  return function(self, to, options)
    if is_list(to) then
      return all(self, call, probe, 1, to, options or {})
    end
    return probe(self, to, options)
  end
end

---A ping that tells of each reply as it comes, and one of many targets.
---@param ping function  of one target
---@return function
function M.of_ping(ping)
  local call = "netns.ping"
  local function told(self, to, options, tell)
    check.options(call, options, { count = "1-4194304", interval = "number|string", timeout = "number|string", size = "integer|string",
      ttl = "1-255", family = "string", dont_fragment = "boolean", from = "string" })
    namespace.fd_of(self, call)
    target.check_family(call, options.family)
    return pings.run(self, call, target.resolve(self, call, to, options), options, tell or function() end)
  end
  return function(self, to, options)
    local each = type(options) == "table" and options.each
    if each ~= nil and each and type(each) ~= "function" then
      errors.misuse("%s: each must be a function, got %s", call, type(each))
    elseif is_list(to) then
      return all(self, call, told, 1, to, options or {})
    elseif each then
      local plain = {}
      for key, value in pairs(options) do
        plain[key] = key ~= "each" and value or nil
      end
      return told(self, to, plain, each)
    end
    return ping(self, to, options)
  end
end

return M

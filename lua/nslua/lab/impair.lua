-- Impaired links on every kernel: a veth with netem at both ends where the kernel has netem and netem knows the words, else a wire. The same words,
-- the same methods.

local check = require "nslua.check"
local errors = require "nslua.error"
local impairment = require "nslua.impairment"
local netem = require "nslua.netem"
local netemlink = require "nslua.lab.netemlink"
local wire = require "nslua.wire"

local M = { segments = netemlink.segments, adopt = netemlink.adopt }

local end_words = { true, dev = "string", address = "string|table", mtu = "integer", lladdr = "string", txqlen = "integer", up = "boolean" }
local ways = { "to", "from" }

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
    return netemlink.new(options, words)
  elseif backend ~= "wire" then
    errors.misuse("impair.link: %s", check.unknown("backend", backend, { "netem", "wire" }))
  end
  local hub = options.hub
  local new = { a = options.a, b = options.b, to = options.to, from = options.from, seed = options.seed }
  local made = hub and hub:new(new) or wire.new(new)
  made.backend, made.called = "wire", "impair"
  return made
end

return M

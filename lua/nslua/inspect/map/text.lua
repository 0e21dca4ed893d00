-- A map as text: each namespace that others hang on is a block, its bridges are stars of what hangs on them; many leaves that are alike are
-- few lines.

local outline = require "nslua.inspect.map.outline"
local plain = require("nslua.draw").plain

local M = {}

local forms = {
  box = { fork = "├─ ", last = "└─ ", bar = "│  ", wire = " ── ", down = " ╌╌ ", cut = "…", dot = " · " },
  ascii = { fork = "+- ", last = "`- ", bar = "|  ", wire = " -- ", down = " ~~ ", cut = "~", dot = ", " },
}
local SHOWN = 6  -- leaves of a bridge before they are summed up
local MANY = 9   -- that many are
local LEAST = 30 -- columns

-- What is said of a link behind its name.
local function state(each)
  if not each.up then
    return "down"
  elseif each.carrier == false and each.kind ~= "bridge" then
    return "no carrier"
  end
end

local function join(words, between)
  local out = {}
  for i = 1, words.n do
    if words[i] and words[i] ~= "" then
      out[#out + 1] = words[i]
    end
  end
  return table.concat(out, between)
end

local function tunnel_words(each)
  local has = each.tunnel
  local over = has.underlay
  local there = has.peer and ("%s in %s"):format(has.peer.link, has.peer.title) or has.remote or has.group
  return join(table.pack(each.kind, has.id and ("id %d"):format(has.id), there and "to " .. there, over and "over " .. (over.link or "?")), " ")
end

---@param map nslua.Map
---@param options { columns: integer?, ascii: boolean?, all: boolean? }
---@return string
function M.draw(map, options)
  local columns, form = math.max(options.columns or 80, LEAST), options.ascii and forms.ascii or forms.box
  local plan, lines = outline.of(map), {}
  local function put(line)
    line = plain.text(line)
    if options.ascii then
      line = line:gsub("[\x80-\xff]+", "?")
    end
    lines[#lines + 1] = plain.clip(line, columns, form.cut)
  end
  local function addresses(each)
    return table.concat(outline.addresses(each, options.all), " ")
  end
  -- The other end of a link; of a port the far end alone is told.
  local function leads(each)
    local far = each.peer or each.lower
    if not far then
      return each.tunnel and tunnel_words(each) or nil
    end
    local other, there = outline.far(plan, far)
    if not there then
      return "leads to a namespace that is not seen"
    elseif each.lower then
      return ("%s on %s%s"):format(each.kind, far.link or "?", there.inode ~= each.space and " in " .. there.title or "")
    end
    return join(table.pack(there.inode ~= each.space and there.title or "", far.link, other and addresses(other), other and state(other)), " ")
  end
  local function wire(each)
    local other = each.peer and outline.far(plan, each.peer)
    return (state(each) or other and state(other)) and form.down or form.wire
  end
  local function line_of(each, wide)
    local to = leads(each)
    local own = join(table.pack(each.name .. (" "):rep(wide - plain.width(each.name)), not each.tunnel and not each.lower and not each.peer
      and each.kind or "", addresses(each), state(each)), " ")
    return own:gsub("%s+$", "") .. (to and to ~= "" and wire(each) .. to or "")
  end
  -- Below a bridge: leaves that are alike are summed up.
  local function star(list, stem)
    local leaves, wide, simple = 0, 0, {}
    for _, each in ipairs(list) do
      wide = math.max(wide, plain.width(each.name))
      local _, there = outline.far(plan, each.peer or {})
      simple[each] = there and plan.leaf[there] and not state(each) or false
      leaves = leaves + (simple[each] and 1 or 0)
    end
    local shown, rest, said = 0, {}, {}
    for _, each in ipairs(list) do
      if simple[each] and leaves >= MANY and not options.all then
        shown = shown + 1
        table.insert(shown > SHOWN and rest or said, each)
      else
        said[#said + 1] = each
      end
    end
    for i, each in ipairs(said) do
      put(stem .. ((i == #said and not rest[1]) and form.last or form.fork) .. line_of(each, math.min(wide, 15)))
    end
    if rest[1] then
      local first, last = outline.far(plan, rest[1].peer), outline.far(plan, rest[#rest].peer)
      local from, to = first and outline.addresses(first)[1], last and outline.addresses(last)[1]
      put(("%s%sand %d more like these: %s to %s%s"):format(stem, form.last, #rest, rest[1].peer.title, rest[#rest].peer.title,
        from and to and (" (%s to %s)"):format(from, to) or ""))
    end
  end
  local function head(space)
    local also = {}
    for i, each in ipairs(space.containers) do
      also[#also + 1] = i > 1 and each.name or nil
    end
    for _, name in ipairs(space.names) do
      also[#also + 1] = name ~= space.title and "netns " .. name or nil
    end
    local first = space.containers[1]
    put(join(table.pack(space.title, space.current and space.title ~= "this namespace" and "you are here", first and first.image,
      space.processes > 0 and ("%d process%s"):format(space.processes, space.processes == 1 and "" or "es"), table.concat(also, form.dot),
      space.holder and ("held by pid %d %s"):format(space.holder, (space.holder_command or ""):match "^%S*":match "[^/]*$"),
      space.error), form.dot))
  end
  local brief = false -- the block before is one line
  for _, space in ipairs(plan.blocks) do
    if lines[1] then
      put ""
    end
    local start = #lines
    head(space)
    for _, each in ipairs(space.links) do
      each.space = space.inode
    end
    local ports, rest = outline.ports(space, function(each)
      return each.peer and each.peer.title or "~"
    end)
    local wide, loose = 0, {}
    for _, each in ipairs(rest) do
      wide = math.max(wide, plain.width(each.name))
    end
    wide = math.min(wide, 15)
    for _, each in ipairs(rest) do
      if ports[each.index] or each.kind == "bridge" then
        put("  " .. line_of(each, wide) .. (ports[each.index] and "" or form.dot .. "no ports"))
        star(ports[each.index] or {}, "  ")
      else
        loose[#loose + 1] = each
      end
    end
    for i = 1, math.min(#loose, options.all and #loose or 24) do
      put("  " .. line_of(loose[i], wide))
    end
    if #loose > 24 and not options.all then
      put(("  and %d more links"):format(#loose - 24))
    end
    for _, each in ipairs(space.links) do
      each.space = nil
    end
    local whole = #lines == start + 2 and not space.host and lines[start + 1] .. form.dot .. lines[start + 2]:gsub("^ +", "")
    if whole and plain.width(whole) <= columns then
      lines[start + 1], lines[start + 2] = whole, nil
      if brief then
        table.remove(lines, start)
      end
      brief = true
    else
      brief = false
    end
  end
  if plan.alone[1] then
    if lines[1] then
      put ""
    end
    put(("%d with nothing but lo:"):format(#plan.alone))
    local line, left = " ", nil
    for i, space in ipairs(plan.alone) do
      local word = " " .. space.title .. (plan.alone[i + 1] and "," or "")
      if plain.width(line) + plain.width(word) > columns and line ~= " " then
        put(line)
        line = " "
        if #lines > 400 and not options.all then
          left = #plan.alone - i + 1
          break
        end
      end
      line = line .. word
    end
    put(left and ("  and %d more"):format(left) or line)
  end
  return table.concat(lines, "\n") .. "\n"
end

return M

-- A result as text: hop by hop, and what is wrong.

local M = {}

local function safe(text)
  return (tostring(text):gsub("[%c\127]", "?"))
end

local signs = { route = "route", neighbour = "neighbour", link = "link", bridge = "bridge", hook = "filter", socket = "socket", nat = "nat" }

local function add_steps(out, steps, finding)
  for _, step in ipairs(steps) do
    if step.arrives then
      goto continue -- the step before says so
    elseif step.kind == "space" then
      out[#out + 1] = "* " .. safe(step.space.label)
    else
      out[#out + 1] = ("|   %-10s %s"):format(signs[step.kind] or step.kind, safe(step.text))
    end
    ::continue::
  end
  if finding then
    out[#out + 1] = ("%s %s: %s"):format(finding.unknown and "?" or "X", safe(finding.space.label), safe(finding.why))
  end
end

local function of_probe(out, probe)
  local words = probe.ok and "reached" or probe.error or "no answer"
  out[#out + 1] = ("probe: %s%s"):format(words, probe.elapsed and probe.ok and (" after %.1f ms"):format(probe.elapsed * 1000) or "")
  for _, line in ipairs(probe.seen or {}) do
    out[#out + 1] = "  " .. safe(line)
  end
  for _, line in ipairs(probe.notes or {}) do
    out[#out + 1] = "  " .. safe(line)
  end
end

---@param result nslua.Why
---@return string
function M.text(result)
  local p, out = result.prediction, {}
  out[1] = ("%s to %s: %s%s"):format(safe(result.from), safe(result.to), result.proto,
    result.port and (" %s port %d"):format(result.address, result.port) or " " .. result.address)
  add_steps(out, p.forward, p.direction == "forward" and p.verdict == "failed" and p.finding or nil)
  if p.back and p.back[1] and (p.verdict ~= "reached" or result.verbose) then
    out[#out + 1] = "and back:"
    add_steps(out, p.back, p.direction == "back" and p.finding or p.then_)
  elseif p.back and p.back[1] then
    local list = {}
    for _, step in ipairs(p.back) do
      list[#list + 1] = step.kind == "space" and safe(step.space.label) or nil
    end
    out[#out + 1] = "and back: " .. table.concat(list, ", ")
  end
  for _, text in ipairs(p.doubts) do
    out[#out + 1] = "not sure: " .. safe(text)
  end
  if result.probe then
    of_probe(out, result.probe)
  end
  local guessed = result.ok and not result.probe and p.doubts[1] and ", if that lets it through" or ""
  out[#out + 1] = ("%s%s%s"):format(result.ok and "reached" or result.verdict, result.error and " (" .. result.error .. ")" or "", guessed)
  if result.why then
    out[#out + 1] = ("why: %s"):format(safe(result.why))
  end
  if result.fix and not result.ok then
    out[#out + 1] = ("mend: %s"):format(safe(result.fix))
  end
  if result.disagree then
    out[#out + 1] = "note: " .. safe(result.disagree)
  end
  return table.concat(out, "\n") .. "\n"
end

return M

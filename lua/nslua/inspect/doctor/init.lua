-- ns.doctor: what is wrong with the network of a container, a namespace, a lab, and how it is mended.

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local examination = require "nslua.inspect.doctor.examination"
local expected = require "nslua.inspect.doctor.expected"
local netns = require "nslua.netns"
local together = require "nslua.inspect.together"

local M = {}

---@class nslua.doctor.Check  a file returns it; users have theirs in ~/.config/nslua/checks, or in the folder "checks" of one in $NSLUA_PATH
---@field name string
---@field why string                  what it is and what it does to traffic, in a few sentences
---@field probe? boolean              it sends something: left out of quick examinations
---@field on_request? boolean         it is no fault in itself: looked for only where its name is among those asked for
---@field run fun(target: nslua.doctor.Snapshot, report: nslua.doctor.Report)

---@class nslua.doctor.Report  what a check tells to
---@field found fun(self: nslua.doctor.Report, finding: table)  `problem`, `evidence` (a text or a list), `fix`, `sure`; `at`: the snapshot it is of;
---`here`: `fix` is typed from here; `command`: what is typed from here, where no shell in the place can mend it

---@class nslua.Finding
---@field check string        the check that found it
---@field problem string      one line
---@field evidence string[]   what was seen, each with where it was read
---@field why string
---@field fix string?         the command that mends it, for a shell in `place`; nil where no command does
---@field command string?     the same, as it is typed from here; of a lab's node it may be a line of the script
---@field outside boolean?    `fix` is for a shell here, not in `place`: it names processes, or files of this machine
---@field place string        the namespace it is wrong in
---@field target string       the one that was asked about
---@field sure number         0 to 1
---@field handle nslua.Netns? of `place`, where this process had it open before; not in JSON

-- Those that are here already: causes before what follows from them.
---@type nslua.doctor.Check[]
local built_in = {
  require "nslua.inspect.doctor.checks.link_down",
  require "nslua.inspect.doctor.checks.loopback_down",
  require "nslua.inspect.doctor.checks.bridge_port",
  require "nslua.inspect.doctor.checks.wrong_bridge",
  require "nslua.inspect.doctor.checks.wrong_vlan",
  require "nslua.inspect.doctor.checks.stale_veth",
  require "nslua.inspect.doctor.checks.queue_full",
  require "nslua.inspect.doctor.checks.duplicate_address",
  require "nslua.inspect.doctor.checks.ipv6_duplicate",
  require "nslua.inspect.doctor.checks.ipv6_off",
  require "nslua.inspect.doctor.checks.ra_ignored",
  require "nslua.inspect.doctor.checks.duplicate_mac",
  require "nslua.inspect.doctor.checks.arp_silent",
  require "nslua.inspect.doctor.checks.wrong_neighbour",
  require "nslua.inspect.doctor.checks.neighbours_full",
  require "nslua.inspect.doctor.checks.rule_rejects",
  require "nslua.inspect.doctor.checks.gateway_missing",
  require "nslua.inspect.doctor.checks.default_rejects",
  require "nslua.inspect.doctor.checks.no_default_route",
  require "nslua.inspect.doctor.checks.blackhole_route",
  require "nslua.inspect.doctor.checks.no_forwarding",
  require "nslua.inspect.doctor.checks.mixed_firewalls",
  require "nslua.inspect.doctor.checks.loopback_filter",
  require "nslua.inspect.doctor.checks.output_drop",
  require "nslua.inspect.doctor.checks.bridge_nf_on",
  require "nslua.inspect.doctor.checks.forward_drop",
  require "nslua.inspect.doctor.checks.input_drop",
  require "nslua.inspect.doctor.checks.packet_drop",
  require "nslua.inspect.doctor.checks.conntrack_full",
  require "nslua.inspect.doctor.checks.service_gone",
  require "nslua.inspect.doctor.checks.stale_connection",
  require "nslua.inspect.doctor.checks.no_masquerade",
  require "nslua.inspect.doctor.checks.hairpin",
  require "nslua.inspect.doctor.checks.bridge_nf_off",
  require "nslua.inspect.doctor.checks.rp_filter",
  require "nslua.inspect.doctor.checks.asymmetric_route",
  require "nslua.inspect.doctor.checks.checksum_offload",
  require "nslua.inspect.doctor.checks.mtu_black_hole",
  require "nslua.inspect.doctor.checks.no_mss_clamp",
  require "nslua.inspect.doctor.checks.neighbour_silent",
  require "nslua.inspect.doctor.checks.path_mtu",
  require "nslua.inspect.doctor.checks.icmp_blocked",
  require "nslua.inspect.doctor.checks.accept_queue",
  require "nslua.inspect.doctor.checks.syn_queue",
  require "nslua.inspect.doctor.checks.port_exhaustion",
  require "nslua.inspect.doctor.checks.socket_drops",
  require "nslua.inspect.doctor.checks.loopback_only",
  require "nslua.inspect.doctor.checks.not_listening",
  require "nslua.inspect.doctor.checks.dns_config",
  require "nslua.inspect.doctor.checks.dns_silent",
  require "nslua.inspect.doctor.checks.ping_group_range",
  (require "nslua.inspect.doctor.checks.softnet_drops"),
}

-- Folders of the user's own.
local function folders()
  local out = {}
  for folder in (os.getenv "NSLUA_PATH" or ""):gmatch "[^:]+" do
    out[#out + 1] = folder .. "/checks"
  end
  local config, home = os.getenv "XDG_CONFIG_HOME", os.getenv "HOME"
  if config and config:sub(1, 1) == "/" then
    out[#out + 1] = config .. "/nslua/checks"
  elseif home then
    out[#out + 1] = home .. "/.config/nslua/checks"
  end
  return out
end

-- Checks of the user's own, by their files.
local files_of = setmetatable({}, { __mode = "k" })

local function load_check(path)
  local chunk, message = loadfile(path, "t")
  local ok, value = true, nil
  if chunk then
    ok, value = pcall(chunk, path)
  end
  if not chunk or not ok then
    errors.raise { call = "doctor", detail = path, message = tostring(message or value):gsub("^.-:(%d+): ", "line %1, ") .. "" }
  elseif type(value) ~= "table" or type(value.run) ~= "function" or type(value.name) ~= "string" or type(value.why) ~= "string" then
    errors.misuse("doctor: %s returns no check: { name =, why =, run = function(target, report) end }", path)
  end
  files_of[value] = path
  return value
end

---The checks: those that are here already, then the user's own, which replace one of the same name.
---@return nslua.doctor.Check[]
function M.checks()
  local own, seen, out = {}, {}, {}
  for _, folder in ipairs(folders()) do
    local files = core.file.list(folder) or {}
    table.sort(files)
    for _, file in ipairs(files) do
      local value = file:find "^[^.].*%.lua$" and load_check(folder .. "/" .. file)
      if value and not seen[value.name] then
        seen[value.name] = value
        own[#own + 1] = value
      end
    end
  end
  for _, each in ipairs(built_in) do
    out[#out + 1] = seen[each.name] or each
    seen[each.name] = seen[each.name] or each
  end
  for _, each in ipairs(own) do
    local placed = false
    for _, other in ipairs(out) do
      placed = placed or other == each
    end
    out[#out + 1] = not placed and each or nil
  end
  return out
end

local function command_of(fix, enter)
  if not enter then
    return fix
  elseif fix:find "[;&|'\"$*{<>()]" then
    return ("nslua %s sh -c '%s'"):format(enter, (fix:gsub("'", "'\\''")))
  end
  return ("nslua %s %s"):format(enter, fix)
end

-- What one check says of one namespace.
local function run(exam, one, target, order)
  local report = {}
  function report.found(_, finding)
    local at = finding.at or target
    if type(finding) ~= "table" or type(finding.problem) ~= "string" or finding.sure ~= nil and type(finding.sure) ~= "number" then
      error("report:found: { problem = a text, evidence = a text or a list, sure = 0 to 1, fix = a command } expected", 2)
    end
    local evidence = type(finding.evidence) == "table" and finding.evidence or { finding.evidence }
    for i, text in ipairs(evidence) do
      evidence[i] = tostring(text)
    end
    local key = one.name .. "\0" .. at.handle.inode .. "\0" .. finding.problem
    if not exam.findings[key] then
      local row = { check = one.name, problem = finding.problem, evidence = evidence, why = one.why, fix = finding.fix, place = at.title,
        target = target.title, sure = finding.sure or 0.5, handle = at.handle,
        outside = finding.here or nil,
        command = finding.command or finding.fix and (finding.here and finding.fix or command_of(finding.fix, at.enter)) }
      exam.findings[key] = row
      exam.findings[#exam.findings + 1] = { row, order }
    end
  end
  local ok, e = pcall(one.run, target, report)
  if not ok then
    -- a mistake in the user's own is theirs, and keeps nothing else from being looked at
    if not errors.is(e) and (not files_of[one] or tostring(e):find "^interrupted by SIG") then
      error(e, 0)
    end
    exam.unseen[#exam.unseen + 1] = ("%s of %s: %s"):format(one.name, target.title, tostring(e))
  end
end

---@class nslua.DoctorOptions
---@field quick? boolean   nothing is sent: what can be read is looked at
---@field checks? string[] these alone
---@field port? integer|string|table  that the target should listen on: 80, "53/udp", or a list of such

---Find out what is wrong with a network: the findings, the most likely cause first; none where all is well. The namespaces that the target's
---links lead to are looked at too, as far as this process may: the bridge of a container is its host's, and so is what forwards for it.
---@param target any  a handle, a lab, a list of them, or whatever ns.netns.open takes
---@param options? nslua.DoctorOptions
---@return nslua.Finding[] findings  `unseen` is a list of what could not be looked at
function M.doctor(target, options)
  options = options or {}
  check.options("doctor", options, { quick = "boolean", checks = "table", port = "integer|string|table" })
  local ports = expected.ports(options.port or {}) or errors.misuse("doctor: port: 80, \"53/udp\" or a list of such expected")
  local wanted, known = nil, {}
  local checks = M.checks()
  for _, each in ipairs(checks) do
    known[each.name] = true
  end
  for _, name in ipairs(options.checks or {}) do
    wanted = wanted or {}
    wanted[name] = known[name] or errors.misuse("doctor: %s", check.unknown("check", name, known))
  end
  local exam <close> = examination.new { quick = options.quick, ports = ports }
  local opened = {}
  local handles = {}
  if type(target) == "table" and rawget(target, "nodes") then
    handles = target.nodes
  elseif type(target) == "table" and not getmetatable(target) then
    handles = target
  else
    handles[1] = target
  end
  local _ <close> = setmetatable({}, { __close = function()
    for _, handle in ipairs(opened) do
      handle:close()
    end
  end })
  local targets = {}
  for _, each in ipairs(handles) do
    local handle = each
    if type(each) ~= "table" or getmetatable(each) == nil or not rawget(each, "fd") then
      handle = netns.open(each)
      opened[#opened + 1] = handle
    end
    local space = exam:of(handle)
    local ok, e = pcall(function()
      return space.links
    end)
    if not ok and not errors.is(e) then
      error(e, 0)
    elseif ok then
      targets[#targets + 1] = space
    else -- it is gone, or this process may not look
      exam.unseen[#exam.unseen + 1] = ("%s: %s"):format(space.title, tostring(e))
    end
  end
  local probes = {}
  for order, one in ipairs(checks) do
    if wanted and wanted[one.name] or not wanted and not one.on_request then
      for _, each in ipairs(one.probe and {} or targets) do
        run(exam, one, each, order)
      end
      probes[#probes + 1] = one.probe and not exam.quick and { one, order } or nil
    end
  end
  -- what waits for answers does so for all targets at the same time
  local jobs = {}
  for i, each in ipairs(probes[1] and targets or {}) do
    jobs[i] = function()
      for _, probe in ipairs(probes) do
        run(exam, probe[1], each, probe[2])
      end
    end
  end
  together.run(jobs)
  local list = exam.findings
  table.sort(list, function(a, b)
    if a[1].sure ~= b[1].sure then
      return a[1].sure > b[1].sure
    elseif a[2] ~= b[2] then
      return a[2] < b[2]
    elseif a[1].place ~= b[1].place then
      return a[1].place < b[1].place
    end
    return a[1].problem < b[1].problem
  end)
  local out = { unseen = exam.unseen }
  for i, each in ipairs(list) do
    out[i] = each[1]
    local handle = each[1].handle
    for _, list_of in ipairs { exam.spaces.owned, opened } do
      for _, own in ipairs(list_of) do
        each[1].handle = not rawequal(own, handle) and each[1].handle or nil
      end
    end
  end
  return out
end

return setmetatable(M, { __call = function(_, ...)
  return M.doctor(...)
end })

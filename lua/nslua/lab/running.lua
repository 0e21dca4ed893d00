-- Labs that run: each has a keeper that answers on an abstract socket, @nslua/UID/NAME, and hands out what the lab is made of. The socket is the
-- name's only trace: nothing is left of it when the keeper is gone, and two cannot have one. unix(7)

local carry = require "nslua.carry"
local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local namespace = require "nslua.namespace"
local wires = require "nslua.lab.wires"

local M = {}

local E = core.errno
local VERSION = 1 -- of the description
local LAYOUT = 2 -- of the board
local LONGEST = 64 -- bytes of a name; with "nslua/4294967295/" it fits sun_path
local PATIENCE = 1 -- seconds for the end of whoever had a name, who was killed a moment ago; else it is a lab that is being built
local FILES = 4 -- that a node opens at most here
local LISTENS, SEQPACKET = "00010000", "0005" -- __SO_ACCEPTCON and SOCK_SEQPACKET, as /proc/net/unix has them

local function own_uid()
  return (core.idmap.who())
end

-- What may be a name: text that a terminal and /proc/net/unix show as it is; "/" stands between a user and a name.
local function is_name(name)
  return #name > 0 and #name <= LONGEST and utf8.len(name) ~= nil and not name:find "[%c/]" and not name:find "^[-%s]" and not name:find "%s$"
    and not name:find "\xc2[\x80-\x9f]"
end

---A name that a lab may have, or misuse.
---@param call string
---@param name string
---@return string
function M.check_name(call, name)
  if not is_name(name) then
    errors.misuse("%s: %q is no name of a lab: at most %d bytes of text, no control characters, no \"/\", no \"-\" or blank before it", call, name,
      LONGEST)
  end
  return name
end

local function address(uid, name)
  return ("nslua/%d/%s"):format(uid, name)
end

-- A lab that is being built ------------------------------------------------------------------------------------------------------------

-- Whether a lab answers there.
local function answers(uid, name)
  local conversation <close> = core.running.connect(address(uid, name), uid)
  local fds = conversation and conversation:get(0)
  for _, fd in ipairs(fds or {}) do
    fd:close()
  end
  return fds ~= nil
end

---Take a name: nobody else of this user can have it as long as the fd is open. Nobody answers there yet.
---@param name? string  (default: the pid of this process, with a number where it has several)
---@return string name
---@return nslua.fd socket
function M.claim(name)
  local uid = own_uid()
  local base, number = name or core.file.readlink "/proc/self" or "lab", 1
  local deadline = core.fd.clock() + PATIENCE
  while true do
    local try = number == 1 and base or ("%s.%d"):format(base, number)
    local fd, message, errno = core.running.bind(address(uid, try))
    if fd then
      return try, fd
    elseif errno ~= E.EADDRINUSE then
      errors.check("lab", { detail = "name = " .. try }, fd, message, errno)
    elseif name and not answers(uid, name) and core.fd.clock() < deadline then
      core.fd.poll({}, 0.005)
      number = 0 -- the same again
    elseif name then
      errors.raise { call = "lab", errno = E.EEXIST, message = ("a lab named %q runs already"):format(name),
        hint = ("`nslua lab list` shows it, ns.lab.open(%q) opens it, ns.lab.destroy(%q) ends it where it is kept"):format(name, name) }
    end
    number = number + 1
  end
end

-- What may change while it runs. The topology is text in the text: it may be large, and is mostly what it was.
local function state_of(lab)
  lab.topology_text = lab.topology_text or carry.pack("lab", 1, lab.topology)
  local down, routed = {}, {}
  for _, link in pairs(lab.link_of) do
    down[link.number] = link.is_down or nil
  end
  for _, node in ipairs(lab.nodes) do
    routed[node.node_name] = rawget(node, "routed")
  end
  return carry.pack("lab", 1, { topology = lab.topology_text, down = down, routed = routed, agenda = lab.agenda or {},
    begun = lab.begun })
end

-- What other processes are told of a lab, as an fd. `at`: which of the fds is which.
local function description(lab, at)
  local names = {}
  for i, node in ipairs(lab.nodes) do
    names[i] = node.node_name
  end
  local text = carry.pack("lab", 1, { version = VERSION, name = lab.name, script = core.file.readlink "/proc/self", since = rawget(lab, "since"),
    nodes = names, common = lab.common, userns = lab.home ~= nil, board = at.board, layout = LAYOUT,
    hub = at.hub, wires = wires.told(lab) })
  return (errors.check("lab", nil, core.running.describe(text)))
end

---Tell other processes of a lab that has changed: its services, and who has opened it or will.
---@param lab nslua.Lab
function M.describe(lab)
  local generation, message, errno = core.board.write(lab.board, state_of(lab))
  rawset(lab, "seen", errors.check("lab", { detail = "describe" }, generation, message, errno))
end

---What another process has told of a lab since this one last looked.
---@param board nslua.fd
---@param seen? integer      when that was
---@return { topology: string, down: table<integer, true>, routed: table<string, table>, agenda: table, begun: table? }? said  nil: nothing
---@return integer? seen
function M.news(board, seen)
  local text, generation, errno = core.board.read(board, seen)
  if not text then
    if generation then
      errors.check("lab", { detail = "what it is now" }, text, generation, errno)
    end
    return nil
  end
  local ok, values = pcall(carry.unpack, text)
  local said = ok and values[1]
  if type(said) ~= "table" or type(said.topology) ~= "string" or type(said.down) ~= "table" or type(said.routed) ~= "table"
    or type(said.agenda) ~= "table" then
    errors.raise { call = "lab", errno = E.EPROTO, message = "what its board says is of no lab of this version of nslua" }
  end
  return said, generation
end

---@param said { topology: string }  of M.news
---@return nslua.lab.Topology
function M.topology_of(said)
  return carry.unpack(said.topology)[1]
end

---Let a lab's keeper hold what it is made of and answer on its socket; the last step of building it.
---@param lab nslua.Lab
---@param socket nslua.fd  of M.claim
---@param keep boolean     it outlives the script
function M.publish(lab, socket, keep)
  rawset(lab, "since", os.time())
  local board, message, errno = core.board.new()
  lab.board = errors.check("lab", { detail = "board" }, board, message, errno)
  M.describe(lab)
  local fds = { false }
  for i, node in ipairs(lab.nodes) do
    fds[i + 1] = node.fd
  end
  fds[#fds + 1] = lab.home and lab.home.fd
  fds[#fds + 1] = board
  local at, socket_of_hub = { board = #fds }, nil
  if rawget(lab, "hub") then
    socket_of_hub = lab.hub:share()
    fds[#fds + 1] = socket_of_hub
    at.hub = #fds
  end
  fds[1] = description(lab, at)
  local process = lab.keeper.process
  local ok
  ok, message, errno = process:take(fds)
  fds[1]:close()
  if socket_of_hub then
    socket_of_hub:close()
  end
  errors.check("lab", { detail = "hold the namespaces", hint = errno == E.EMFILE and "RLIMIT_NOFILE (`ulimit -Hn`)" or nil }, ok, message, errno)
  errors.check("lab", { detail = lab.name }, process:serve(socket))
  if keep then
    if rawget(lab, "hub") then
      lab.hub:keep() -- it still ends with the keeper, where this is the last that the script does
    end
    errors.check("lab", { detail = lab.name }, process:keep())
  end
end

-- Labs of others -----------------------------------------------------------------------------------------------------------------------

-- Names that somebody listens on, of a user (nil: of all): { uid, name }, sorted.
local function names_of(uid)
  local out = {}
  local f = io.open("/proc/thread-self/net/unix", "r")
  for line in f and f:lines() or function() end do
    local flags, type, id, name = line:match "^%x+: %x+ %x+ (%x+) (%x+) %x+%s+%d+ @nslua/(%d+)/(.+)$"
    if flags == LISTENS and type == SEQPACKET and is_name(name) and #id <= 10 and (not uid or tonumber(id) == uid) then
      out[#out + 1] = { uid = tonumber(id), name = name }
    end
  end
  if f then
    f:close()
  end
  table.sort(out, function(a, b)
    return a.uid < b.uid or a.uid == b.uid and a.name < b.name
  end)
  return out
end

-- Its description, checked as far as it is used: it is another process's word.
local function read_description(fd)
  local text, message = core.running.read(fd)
  local ok, values = pcall(carry.unpack, text or "")
  local said = ok and values[1]
  if type(said) ~= "table" or said.version ~= VERSION or type(said.nodes) ~= "table"
    or not (math.type(said.board) == "integer" or type(said.topology) == "table") then -- the topology stood there, before there were boards
    errors.raise { call = "lab.open", errno = E.EPROTO, message = message or "what answers there is no lab of this version of nslua" }
  end
  return said
end

local function close_all(fds)
  for _, fd in pairs(fds) do
    fd:close()
  end
end

-- The fds from the first to the last that are wanted (default: all), and whether it is kept.
local function fetch(conversation, most)
  local all = {}
  while true do
    local fds, total, is_kept = conversation:get(#all)
    if not fds then
      close_all(all)
      return nil, total, is_kept
    end
    table.move(fds, 1, #fds, #all + 1, all)
    if #all < total and not most then
      core.limits.files(total * FILES + 128) -- where that is refused, what follows says so
    end
    if #all >= total or #all >= (most or total) or #fds == 0 then
      return all, is_kept
    end
  end
end

---@class nslua.RunningLab
---@field name string
---@field uid integer       whose it is
---@field nodes string[]    their names
---@field pid integer?      of its keeper; nil where that is in a pid namespace that cannot be seen from here
---@field script integer    pid of the script that built it, as that saw it
---@field since integer     when it was built; as of os.time
---@field kept boolean      it outlives its script

local function row_of(found)
  local conversation <close> = core.running.connect(address(found.uid, found.name), found.uid)
  local fds, kept
  if conversation then
    fds, kept = fetch(conversation, 1)
  end
  if not fds then
    return nil -- it has gone meanwhile, or is not what its name says
  end
  local ok, said = pcall(read_description, fds[1])
  close_all(fds)
  if not ok then
    return nil
  end
  local pid = conversation:pid()
  return { name = found.name, uid = found.uid, nodes = said.nodes, pid = pid > 0 and pid or nil, script = tonumber(said.script),
    since = tonumber(said.since), kept = kept }
end

---The labs that run in the network namespace of this process: this user's, and for root those of all users.
---@return nslua.RunningLab[]
function M.list()
  local uid = own_uid()
  local out = {}
  for _, found in ipairs(names_of(uid ~= 0 and uid or nil)) do
    out[#out + 1] = row_of(found)
  end
  return out
end

local function not_there(call, name)
  local known = {}
  for _, row in ipairs(M.list()) do
    known[#known + 1] = row.name
  end
  errors.raise { call = call, errno = E.ENOENT, message = ("no lab named %q runs here"):format(name),
    hint = known[1] and "there are " .. table.concat(known, ", ") or nil }
end

-- A conversation with the keeper of a lab: "name", or "1000/name" for another user's. And the name that is whole.
local function connect(call, name)
  check.argument(call, "name", name, "string")
  local said, rest = name:match "^(%d+)/(.*)$"
  local uid = tonumber(said) or own_uid()
  M.check_name(call, rest or name)
  local conversation, message, errno = core.running.connect(address(uid, rest or name), uid)
  if not conversation and errno == E.ECONNREFUSED and not said and uid == 0 then
    local others = {}
    for _, found in ipairs(names_of()) do
      if found.name == name and found.uid ~= 0 then
        others[#others + 1] = ("%d/%s"):format(found.uid, name)
      end
    end
    if others[2] then
      errors.raise { call = call, errno = E.ENOTUNIQ, message = ("several users have a lab named %q"):format(name),
        hint = table.concat(others, ", ") }
    elseif others[1] then
      return connect(call, others[1])
    end
  end
  if not conversation and errno == E.ECONNREFUSED then
    not_there(call, name)
  end
  return errors.check(call, { detail = name }, conversation, message, errno), ("%d/%s"):format(uid, rest or name)
end

---Whether a lab has ended: nobody listens to its name any more.
---@param name string
---@return boolean
function M.has_ended(name)
  local said, rest = name:match "^(%d+)/(.*)$"
  local uid = tonumber(said) or own_uid()
  local conversation, _, errno = core.running.connect(address(uid, rest or name), uid)
  if conversation then
    conversation:close()
  end
  return not conversation and errno == E.ECONNREFUSED
end

local function refused(call, name, message, errno)
  if errno == E.EPIPE or errno == E.ECONNRESET then -- it has ended meanwhile
    not_there(call, name)
  end
  local hint = (errno == E.EACCES or errno == E.EPERM) and "it is another user's; root may" or nil
  errors.check(call, { detail = name, hint = hint }, nil, message, errno)
end

---What a running lab is made of. The fds are the caller's.
---@param name string
---@return table said           its description
---@return nslua.Namespace[] nets  in the order of said.nodes
---@return nslua.Namespace? userns
---@return boolean kept
---@return { board: nslua.fd?, hub: nslua.fd? } more  for M.news; of its wires. A lab of an older version has none
---@return string whole         the name with its user
function M.fetch(name)
  local found, whole = connect("lab.open", name)
  local conversation <close> = found
  local fds, kept, errno = fetch(conversation)
  if not fds then
    refused("lab.open", name, kept, errno)
  end
  local nets, userns, said, more = {}, nil, nil, {}
  local ok, e = pcall(function()
    said = read_description(fds[1])
    if said.board and said.layout ~= LAYOUT then
      errors.raise { call = "lab.open", errno = E.EPROTO, message = "it was built by another version of nslua",
        hint = ("ns.lab.destroy(%q) ends it where it is kept"):format(name) }
    end
    for i = 1, #said.nodes do
      nets[i] = namespace.open(fds[i + 1], "net", "lab.open") -- a copy, known to be one
    end
    userns = said.userns and namespace.open(fds[#said.nodes + 2], "user", "lab.open") or nil
    for _, what in ipairs { "board", "hub" } do
      if said[what] then
        more[what], fds[said[what]] = fds[said[what]], nil
      end
    end
  end)
  close_all(fds)
  if not ok then
    close_all(nets)
    error(e, 0)
  end
  return said, nets, userns, kept, more, whole
end

---@class nslua.LabMember
---@field lab string     its name
---@field uid integer    whose it is
---@field node string
---@field inode integer  of the node's network namespace

---The nodes of every lab that runs, as `list` finds them: which network namespace is which node. What does not answer any more is left out.
---@return nslua.LabMember[]
function M.members()
  local out = {}
  for _, row in ipairs(M.list()) do
    local ok, said, nets, userns, _, more = pcall(M.fetch, ("%d/%s"):format(row.uid, row.name))
    if ok then
      for i, handle in ipairs(nets) do
        out[#out + 1] = { lab = row.name, uid = row.uid, node = said.nodes[i], inode = handle.inode }
      end
      close_all(nets)
      close_all { userns, more.board, more.hub }
    end
  end
  return out
end

---End a lab that is kept, with its wires and services; its namespaces go with the last program in them.
---@param name string  "name", or "1000/name" for root: another user's
---@return true
function M.destroy(name)
  local conversation <close> = connect("lab.destroy", name)
  local pid = conversation:pid()
  local pidfd = pid > 0 and core.namespace.pidfd(pid) or nil
  local ok, message, errno = conversation:finish()
  if ok and pidfd then
    core.fd.poll({ { pidfd, "r" } }, 2) -- it may wait for who has to reap what was in it
  end
  if pidfd then
    pidfd:close()
  end
  if errno == E.EBUSY then
    errors.raise { call = "lab.destroy", errno = errno, message = ("lab %q is not kept: it ends with its script"):format(name) }
  elseif not ok then
    refused("lab.destroy", name, message, errno)
  end
  return true
end

return M

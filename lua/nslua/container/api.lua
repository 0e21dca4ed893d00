-- What the daemon of an engine says where its files say nothing: one question to its socket, in HTTP 1.0, with little patience.

local core = require "nslua.core"
local docker = require "nslua.container.docker"
local state = require "nslua.container.state"

local M = {}

local PATIENCE = 2         -- seconds for each step, and for all: a daemon that hangs is why one is here, and users' may do what they like
local MOST = 16 << 20      -- bytes of an answer

-- The sockets of docker's and podman's daemons, and whose they are where that is not root; both know docker's words.
local function sockets(files, engine)
  local out = {}
  local host = files.root == "" and os.getenv(engine == "docker" and "DOCKER_HOST" or "CONTAINER_HOST")
  local told = host and host:match "^unix://(/.*)$"
  out[1] = told and { told } or nil
  out[#out + 1] = { engine == "docker" and "/run/docker.sock" or "/run/podman/podman.sock" }
  for _, user in ipairs(state.users(files)) do
    out[#out + 1] = user.run and { user.run .. (engine == "docker" and "/docker.sock" or "/podman/podman.sock"), user.uid } or nil
  end
  return out
end

local function ask(path, what)
  local fd <close>, _, errno = core.foreign.connect(path, PATIENCE)
  if not fd then
    return nil, errno
  end
  local request = ("GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n"):format(what)
  local ok, _, why = core.process.write(fd, request, 1)
  if not ok then
    return nil, why
  end
  local parts, size, began = {}, 0, core.fd.clock()
  while size <= MOST do
    local text, _, failed = fd:read()
    if not text or core.fd.clock() - began > PATIENCE then -- a byte now and then is no answer
      return nil, failed or core.errno.EAGAIN
    elseif text == "" then
      break
    end
    parts[#parts + 1], size = text, size + #text
  end
  local status, body = table.concat(parts):match "^HTTP/1%.%d (%d+).-\r?\n\r?\n(.*)$"
  return status and { status = tonumber(status), body = body } or nil, core.errno.EPROTO
end

---A container by its name or id, as the daemon knows it.
---@param files nslua.container.Files
---@param engine "docker"|"podman"
---@param word string
---@return nslua.container.Entry[]
function M.find(files, engine, word)
  if not word:find "^[%w_.-]+$" then
    return {}
  end
  for _, socket in ipairs(sockets(files, engine)) do
    local path, uid = socket[1], socket[2]
    local answer, errno = ask(files.root .. path, ("/containers/%s/json"):format(word))
    if answer and answer.status == 200 then
      local said = files:decode(answer.body, path)
      if said and type(said.Id) == "string" then
        local entry = docker.entry(said.Id, said)
        entry.engine, entry.uid = engine, uid
        return { entry }
      end
    elseif not answer and errno ~= core.errno.ENOENT and errno ~= core.errno.ECONNREFUSED then
      files:problem(path, errno == core.errno.EAGAIN and ("no answer within %d s"):format(PATIENCE) or core.strerror(errno))
    end
  end
  return {}
end

return M

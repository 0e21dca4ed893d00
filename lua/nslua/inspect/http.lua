-- Requests of HTTP/1.1 from inside a namespace. RFC 9110, RFC 9112. No TLS.

local core = require "nslua.core"
local check = require "nslua.check"
local errors = require "nslua.error"
local message = require "nslua.inspect.http_message"
local namespace = require "nslua.namespace"
local socket = require "nslua.inspect.socket"
local target = require "nslua.inspect.target"
local tcp = require "nslua.inspect.tcp"
local units = require "nslua.units"

local M = {}

local CALL = "netns.http"

---@param url string
---@return { host: string, port: integer, path: string, authority: string }
local function parse(url)
  local scheme, rest = url:match "^(%a[%w+.-]*)://(.*)$"
  if not scheme then
    scheme, rest = "http", url
  end
  if scheme:lower() == "https" then
    errors.misuse("%s: no TLS is spoken here: %q needs a program, as in a:run{ \"curl\", ... }", CALL, url)
  elseif scheme:lower() ~= "http" then
    errors.misuse("%s: %q is not of http", CALL, url)
  end
  local authority, path = rest:match "^([^/?#]*)([^#]*)"
  local host, port = authority:match "^%[([%x:.%%%w]+)%]:?(%d*)$"
  if not host then
    host, port = authority:match "^([^:@%[%]]+):?(%d*)$"
  end
  local number = host and (port == "" and 80 or math.tointeger(tonumber(port)))
  if not number or number < 1 or number > 65535 or #port > 5 then
    errors.misuse("%s: %q has no host, or a port that is none", CALL, url)
  elseif (authority .. path):find "[%c%s\x7f-\xff]" then
    errors.misuse("%s: %q has bytes that a URL cannot have; they are written like %%20", CALL, url)
  end
  if path:sub(1, 1) ~= "/" then
    path = "/" .. path
  end
  return { host = host, port = number, path = path, authority = authority }
end

local function request(method, url, headers, body)
  local lines, given = {}, {}
  for name, value in pairs(headers) do
    value = tostring(value)
    if type(name) ~= "string" or not name:match "^[%w!#$%%&'*+.^_`|~-]+$" or value:find "[\r\n\0]" then
      errors.misuse("%s: %q is no header field", CALL, tostring(name))
    end
    given[name:lower()] = true
    lines[#lines + 1] = name .. ": " .. value
  end
  table.sort(lines)
  table.insert(lines, 1, ("%s %s HTTP/1.1"):format(method, url.path))
  local function default(name, value)
    if not given[name:lower()] then
      lines[#lines + 1] = name .. ": " .. value
    end
  end
  default("Host", url.authority)
  default("Connection", "close")
  default("Accept", "*/*")
  default("User-Agent", "nslua")
  if body or method == "POST" or method == "PUT" then
    default("Content-Length", #(body or ""))
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or "")
end

---@class nslua.HttpOptions
---@field method? string            "GET"; with a `body` "POST"
---@field headers? table<string, string|number>
---@field body? string
---@field timeout? number|string    seconds for all of it, 5
---@field max? integer|string       bytes of body that are taken: 16mb
---@field address? string           that is connected to, whatever the URL says
---@field family? "inet"|"inet6"    where the host is a name
---@field from? string              an address or a link of the namespace

---@class nslua.HttpResult
---@field ok boolean               a whole answer with a status below 400
---@field status? integer          nil where none came; `error` says why
---@field reason? string
---@field headers? table<string, string>  by name in lower case; repeated ones are joined by ", "
---@field fields? { name: string, value: string }[]  in their order
---@field body string              what came of it
---@field elapsed number           seconds
---@field connect? number          seconds until it was connected
---@field error? string            "ECONNREFUSED", "ETIMEDOUT", "EMSGSIZE" (more than `max`), "EBADMSG" (with `detail`); and what an ICMP error said

---Ask by HTTP. Redirections are not followed. That it fails is a result, no error; a name that has no address is an error. A list of URLs is asked at
---the same time, and gives a list of results.
---@param url string  "http://10.0.0.2:8080/path"; or a list of such
---@param options? nslua.HttpOptions
---@return nslua.HttpResult
function M:http(url, options)
  options = options or {}
  check.argument(CALL, "url", url, "string")
  check.options(CALL, options, { method = "string", headers = "table", body = "string", timeout = "number|string", max = "integer|string",
    address = "string", family = "string", from = "string" })
  namespace.fd_of(self, CALL)
  target.check_family(CALL, options.family)
  local method = options.method or options.body and "POST" or "GET"
  if not method:match "^%u+$" then
    errors.misuse("%s: %q is no method", CALL, method)
  end
  local timeout = units.duration(options.timeout or 5, CALL .. ": timeout")
  local most = units.size(options.max or "16mb", CALL .. ": max")
  local where = parse(url)
  local text = request(method, where, options.headers or {}, options.body)
  local start = core.fd.clock()
  local t = target.resolve(self, CALL, options.address or where.host, options)
  local fd = socket.open(self, CALL, t.family, "stream", options)
  local closer <close> = fd -- luacheck: ignore
  local deadline = start + timeout
  local connected, why = tcp.connect(fd, t, where.port, deadline)
  local out
  if connected then
    local connect = core.fd.clock() - start
    local unsent = tcp.send(fd, text, deadline) -- a server may answer before it has heard all, and close
    out = message.read(function()
      return tcp.receive(fd, deadline)
    end, method, math.max(math.floor(most), 0))
    if not out.status and unsent then
      out.error, out.detail = unsent, nil
    end
    out.connect = connect
  else
    out = why
    out.body = ""
  end
  out.ok = not out.error and out.status < 400
  out.elapsed = core.fd.clock() - start
  return out
end

return M

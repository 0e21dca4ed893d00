-- "http": answers of HTTP/1.1 from a table of files, or from a function. RFC 9112

local core = require "nslua.core"
local errors = require "nslua.error"
local server = require "nslua.lab.service.server"
local units = require "nslua.units"

local M = {}

local HEAD, BODY = 16384, 1 << 20 -- bytes of a request that are taken
local LARGEST = 1 << 26           -- bytes of a file below `root`
local reasons = { [200] = "OK", [201] = "Created", [204] = "No Content", [301] = "Moved Permanently", [302] = "Found", [304] = "Not Modified",
  [400] = "Bad Request", [401] = "Unauthorized", [403] = "Forbidden", [404] = "Not Found", [405] = "Method Not Allowed", [408] = "Request Timeout",
  [413] = "Content Too Large", [429] = "Too Many Requests", [431] = "Request Header Fields Too Large", [500] = "Internal Server Error",
  [501] = "Not Implemented", [502] = "Bad Gateway", [503] = "Service Unavailable", [504] = "Gateway Timeout" }
local types = { html = "text/html", css = "text/css", js = "text/javascript", json = "application/json", svg = "image/svg+xml", png = "image/png",
  xml = "application/xml" }

---@class nslua.lab.HttpRequest
---@field method string
---@field path string      without what is behind "?"
---@field query? string
---@field headers table<string, string>  by name in lower case
---@field body string
---@field from string      the client's address
---@field port integer

---@class nslua.lab.HttpAnswer
---@field status? integer  200
---@field headers? table<string, string>
---@field body? string

local function decode(path)
  return (path:gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

-- A request at the beginning of a text: itself and what is behind it; nil: it is not whole; false and a status: it is none.
local function parse(text)
  text = text:gsub("^[\r\n]+", "")
  local stop, after = text:match "()\r?\n\r?\n()"
  if not stop then
    if #text > HEAD then
      return false, 431
    end
    return nil
  elseif stop > HEAD then
    return false, 431
  end
  local head = text:sub(1, stop - 1)
  local method, target, minor = head:match "^(%u+) (%S+) HTTP/1%.([01])\r?\n?"
  if not method then
    return false, 400
  end
  local headers = {}
  for line in head:gsub("^[^\n]*\n?", ""):gmatch "[^\r\n]+" do
    local name, value = line:match "^([%w!#$%%&'*+.^_`|~-]+):[ \t]*(.-)[ \t]*$"
    if not name then
      return false, 400
    end
    name = name:lower()
    headers[name] = headers[name] and headers[name] .. ", " .. value or value
  end
  local length = 0
  if headers["transfer-encoding"] then
    return false, 501
  elseif headers["content-length"] then
    local digits = headers["content-length"]:match "^%d+$"
    if not digits then
      return false, 400
    elseif #digits > 9 or tonumber(digits) > BODY then
      return false, 413
    end
    length = tonumber(digits)
  end
  if #text - after + 1 < length then
    return nil, (headers.expect or ""):lower() == "100-continue"
  end
  local path, query = target:gsub("^%a+://[^/]*", ""):match "^([^?#]*)%??([^#]*)"
  local keep = (headers.connection or ""):lower()
  return { method = method, path = decode(path == "" and "/" or path), query = query ~= "" and query or nil, headers = headers,
    body = text:sub(after, after + length - 1),
    keep = minor == "1" and not keep:find "close" or keep:find "keep%-alive" ~= nil },
    text:sub(after + length)
end

local function render(request, answer)
  local status, body = answer.status or 200, answer.body or ""
  local lines = { ("HTTP/1.1 %d %s"):format(status, reasons[status] or "Unknown") }
  local seen = {}
  for name, value in pairs(answer.headers or {}) do
    lines[#lines + 1] = ("%s: %s"):format(name, (tostring(value):gsub("[\r\n]", " ")))
    seen[name:lower()] = true
  end
  if not seen["content-type"] and body ~= "" then
    lines[#lines + 1] = "Content-Type: " .. (types[(request.path or ""):match "%.(%w+)$" or ""] or "text/plain")
  end
  if not seen["content-length"] and status ~= 204 and status ~= 304 then
    lines[#lines + 1] = "Content-Length: " .. #body
  end
  lines[#lines + 1] = "Connection: " .. (request.keep and "keep-alive" or "close")
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (request.method == "HEAD" and "" or body)
end

-- What is wrong with an answer; nil: nothing.
local function answer_fault(answer)
  local status, body, headers = answer.status, answer.body, answer.headers
  if status ~= nil and (math.type(status) ~= "integer" or status < 200 or status > 999) then
    return ("status is a number as 404, not %s"):format(tostring(status))
  elseif body ~= nil and type(body) ~= "string" then
    return ("body is text, not %s"):format(type(body))
  elseif headers ~= nil and type(headers) ~= "table" then
    return ("headers are a table, not %s"):format(type(headers))
  end
  for name in pairs(headers or {}) do
    if type(name) ~= "string" or not name:find "^[%w!#$%%&'*+.^_`|~-]+$" then
      return ("%s is no name of a header"):format(tostring(name))
    end
  end
end

-- What a file or a function says, as an answer.
local function answer_of(value, request)
  if type(value) == "function" then
    local ok, said = pcall(value, request)
    if not ok then
      print("error: " .. tostring(said))
      return { status = 500, body = tostring(said) .. "\n" }
    end
    value = said
  end
  if type(value) == "string" then
    return { body = value }
  elseif type(value) == "table" then
    local fault = answer_fault(value)
    if fault then
      print("error: " .. fault)
      return { status = 500, body = fault .. "\n" }
    end
    return value
  end
  return { status = 404, body = ("no %s here\n"):format(request.path) }
end

-- A file below a directory, as an answer; no path leads out of it, but for links that stand in it.
local function file_below(root, path)
  if path:find("\0", 1, true) or (path .. "/"):find("/../", 1, true) then
    return { status = 403, body = "no\n" }
  end
  local name = root .. path
  local st = core.file.stat(name)
  if st and st.type == "directory" then
    if path:sub(-1) ~= "/" then
      return { status = 301, headers = { Location = path:gsub("[^%w/._~-]", function(c)
        return ("%%%02X"):format(c:byte())
      end) .. "/" } }
    end
    name = name .. "index.html"
    st = core.file.stat(name)
  end
  if not st or st.type ~= "file" then -- a pipe would never end
    return nil
  end
  local f = io.open(name, "rb")
  local body = f and f:read(LARGEST)
  if f then
    f:close()
  end
  return f and { body = body or "", headers = { ["Content-Type"] = types[name:match "%.(%w+)$" or ""] } } or { status = 403, body = "no\n" }
end

local function shown(text)
  return (text:gsub("[^\x21-\x7e]", "?"):sub(1, 200))
end

M.http = { port = 80, protos = { "tcp" }, words = { files = "table", root = "string", handler = "function", delay = "number|string" },
  check = function(options, call, node)
    for path, value in pairs(options.files or {}) do
      if type(path) ~= "string" or path:sub(1, 1) ~= "/" then
        errors.misuse("%s: files: %s is no path: it begins with \"/\"", call, tostring(path))
      elseif type(value) ~= "string" and type(value) ~= "table" and type(value) ~= "function" then
        errors.misuse("%s: files[%q] must be text, an answer (a table) or a function, got %s", call, path, type(value))
      end
      local fault = type(value) == "table" and answer_fault(value)
      if fault then
        errors.misuse("%s: files[%q]: %s", call, path, fault)
      end
    end
    options.delay = units.duration(options.delay or 0, call .. ": delay")
    if options.root then
      local st, message, errno = core.file.stat(options.root)
      errors.check(call, { detail = "root = " .. options.root }, st, message, errno)
    elseif not options.files and not options.handler then
      options.files = { ["/"] = node.node_name .. "\n" }
    end
  end,
  run = function(sockets, options)
    local self
    local function respond(client, request, answer)
      client:send(render(request, answer))
      print(("%s %s %s %d"):format(client.from, request.method or "-", request.path and shown(request.path) or "-", answer.status or 200))
      if not request.keep then
        client:finish()
      end
    end
    self = server.new { data = function(client, bytes)
      client.buffer = client.buffer .. bytes
      while client.buffer ~= "" and not client.late and not client.closing and not client:is_full() do
        local request, rest = parse(client.buffer)
        if request == nil then
          if rest and not client.continued then
            client:send "HTTP/1.1 100 Continue\r\n\r\n"
          end
          client.continued = rest
          return
        elseif not request then
          return respond(client, { keep = false }, { status = rest, body = (reasons[rest] or "") .. "\n" })
        end
        client.buffer, request.from, request.port, client.continued = rest, client.from, client.port, nil
        local file = options.files and options.files[request.path]
        if file == nil and options.root then
          file = file_below(options.root, request.path)
        end
        local answer = answer_of(file == nil and options.handler or file, request)
        if options.delay > 0 then
          client.late = true
          self:after(options.delay, function()
            respond(client, request, answer)
            self:resume(client)
          end)
        else
          respond(client, request, answer)
        end
      end
    end }
    self:run(sockets)
  end }

return M

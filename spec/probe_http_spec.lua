-- a:http against servers that are honest, slow and broken; and answers of HTTP as such.

local core = require "nslua.core"
local ns = require "nslua"
local probe = require "spec.probe_helper"
local rtnl = require "spec.rtnl_helper"
local servers = require "spec.probe_servers"
local message = require "nslua.inspect.http_message"

-- A source for message.read: texts one after the other, then the end.
local function source(texts)
  local i = 0
  return function()
    i = i + 1
    return texts[i] or ""
  end
end

describe("a:http", function()
  local why = probe.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end
  after_each(servers.close)

  -- The head of a request, and its body.
  local function hear(connection)
    local text = ""
    while true do
      local head, body = text:match "^(.-\r\n\r\n)(.*)$"
      local length = head and tonumber(head:match "\r\n[Cc]ontent%-[Ll]ength: (%d+)" or 0)
      if head and #body >= length then
        return head, body
      end
      local bytes = core.fd.poll { { connection, "r" } } and connection:read()
      if not bytes or bytes == "" then
        return text, ""
      end
      text = text .. bytes
    end
  end

  local function serve(connection)
    local head, body = hear(connection)
    local method, path = head:match "^(%u+) (%S+) HTTP/1.1\r\n"
    local function say(status, text, more)
      connection:write(("HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s"):format(status, #text, more or "", method == "HEAD" and "" or text))
    end
    if path == "/echo" then
      say("200 OK", head .. body, "X-A: 1\r\nx-a: 2\r\n")
    elseif path == "/chunked" then
      connection:write "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r"
      connection:write "\n7;x=y\r\n, world\r\n0\r\nTrailer: 1\r\n\r\n"
    elseif path == "/end" then
      connection:write "HTTP/1.0 200\r\n\r\nuntil the end"
    elseif path == "/slow" then
      connection:write "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
      core.fd.poll({ { connection, "r" } }, 60)
    elseif path == "/large" then
      say("200 OK", ("x"):rep(100000))
    elseif path == "/broken" then
      connection:write "SSH-2.0-x\r\n"
    elseif path == "/continue" then
      connection:write "HTTP/1.1 100 Continue\r\n\r\n"
      say("201 Created", "made")
    elseif path == "/moved" then
      say("302 Found", "", "Location: /echo\r\n")
    else
      say("404 Not Found", "no " .. path)
    end
  end

  local function net()
    local row = probe.row(2)
    servers.tcp(row[2], "10.0.1.2", 80, serve)
    servers.tcp(row[2], "fd00:1::2", 8080, serve)
    return row[1], row[2]
  end

  it("asks, and gets status, headers and body", function()
    local a = net()
    local r = a:http "http://10.0.1.2/echo"
    assert.same({ true, 200, "OK", "1, 2" }, { r.ok, r.status, r.reason, r.headers["x-a"] })
    assert.equal("GET /echo HTTP/1.1\r\nHost: 10.0.1.2\r\nConnection: close\r\nAccept: */*\r\nUser-Agent: nslua\r\n\r\n", r.body)
    assert.same({ name = "x-a", value = "2" }, r.fields[3])
    assert.is_true(r.elapsed < 5 and r.connect <= r.elapsed)
    r = a:http("http://[fd00:1::2]:8080/echo", { body = "a=b", headers = { ["Content-Type"] = "text/x" } })
    assert.matches("^POST /echo HTTP/1.1\r\nContent%-Type: text/x\r\nHost: %[fd00:1::2%]:8080\r\n.*\r\nContent%-Length: 3\r\n\r\na=b$", r.body)
    r = a:http("10.0.1.2/echo", { method = "HEAD" })
    assert.same({ 200, "" }, { r.status, r.body })
    assert.is_true(tonumber(r.headers["content-length"]) > 50)
    r = a:http("http://10.0.1.2/none?x=1#part")
    assert.same({ false, 404, "no /none?x=1" }, { r.ok, r.status, r.body })
    r = a:http("http://example.org:80/echo", { address = "10.0.1.2", headers = { Host = "other" } })
    assert.matches("\r\nHost: other\r\n", r.body)
    assert.is_nil(r.body:find "example")
    assert.equal(302, a:http("http://10.0.1.2/moved").status)
    assert.same({ 201, "made" }, { a:http("http://10.0.1.2/continue").status, a:http("http://10.0.1.2/continue").body })
  end)

  it("puts chunks together, and takes what comes until the end", function()
    local a = net()
    assert.same({ "hello, world", true }, { a:http("http://10.0.1.2/chunked").body, a:http("http://10.0.1.2/chunked").ok })
    assert.equal("until the end", a:http("http://10.0.1.2/end").body)
    assert.equal(100000, #a:http("http://10.0.1.2/large").body)
    local r = a:http("http://10.0.1.2/large", { max = "1kb" })
    assert.same({ false, 200, "EMSGSIZE", 1024 }, { r.ok, r.status, r.error, #r.body })
  end)

  it("says what went wrong", function()
    local a, b = net()
    local r = a:http("http://10.0.1.2/slow", { timeout = "200ms" })
    assert.same({ false, 200, "ETIMEDOUT", "half" }, { r.ok, r.status, r.error, r.body })
    r = a:http "http://10.0.1.2:81/"
    assert.same({ false, "ECONNREFUSED", "" }, { r.ok, r.error, r.body })
    assert.is_nil(r.status)
    r = a:http "http://10.0.1.2/broken"
    assert.same({ false, "EBADMSG", "no status line" }, { r.ok, r.error, r.detail })
    servers.tcp(b, "10.0.1.2", 82, function() end)
    r = a:http("http://10.0.1.2:82/", { body = ("x"):rep(1000000) })
    assert.is_false(r.ok)
    assert.is_string(r.error)
    assert.equal("ENETUNREACH", a:http("http://192.0.2.1/").error)
  end)

  it("teaches what is wrong with a call, and leaves no fd", function()
    local a = net()
    local before = rtnl.fds()
    for text, arguments in pairs { ["no TLS is spoken here"] = { "https://x/" }, ["is not of http"] = { "ftp://x" },
      ["has no host"] = { "http://:80/" }, ["a port that is none"] = { "http://x:99999/" }, ["cannot have"] = { "http://x/a b" },
      ["is no header field"] = { "http://10.0.1.2/", { headers = { X = "a\r\nB: c" } } }, ["is no method"] =
      { "http://10.0.1.2", { method = "get x" } },
      ["or a port"] = { "http://user:word@x/" } } do
      local ok, e = pcall(a.http, a, arguments[1], arguments[2])
      assert.is_false(ok)
      assert.truthy(tostring(e):find(text, 1, true), tostring(e))
    end
    a:http "http://10.0.1.2/echo"
    a:http "http://10.0.1.2:81/"
    assert.same(before, rtnl.fds())
  end)
end)

describe("an answer of HTTP", function()
  local function read(text, method, most)
    return message.read(source { text }, method or "GET", most or 1000)
  end

  it("is read byte by byte as well as at once", function()
    for _, text in ipairs {
      "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 3\r\n\r\nabcdef",
      "HTTP/1.1 200 OK\nTransfer-Encoding: Chunked\n\n3\nabc\n00\nX: y\n\n",
      "HTTP/1.0 500 \r\n\r\nabc" } do
      local one, bytes = read(text), {}
      for i = 1, #text do
        bytes[i] = text:sub(i, i)
      end
      assert.same(one, message.read(source(bytes), "GET", 1000))
      assert.equal("abc", one.body)
      assert.is_nil(one.error)
    end
    assert.equal("b c", read("HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n").headers.a)
  end)

  it("is refused where it is broken", function()
    local function why(text)
      local r = read(text)
      assert.equal("EBADMSG", r.error)
      return r.detail
    end
    local ok = "HTTP/1.1 200 OK\r\n"
    assert.equal("no answer", why "")
    assert.equal("no status line", why "HTTP/2 200 OK\r\n\r\n")
    assert.equal("the answer ends in a line", why "HTTP/1.1 200")
    assert.equal("the answer ends too soon", why(ok))
    assert.equal("a line of the head that is no field", why(ok .. "no field\r\n\r\n"))
    assert.equal("a line of the head that is no field", why(ok .. " folded: first\r\n\r\n"))
    assert.equal("a head of more than 64 kilobytes", why(ok .. ("A: b\r\n"):rep(12000)))
    assert.equal("a head of more than 64 kilobytes", why(("x"):rep(70000)))
    assert.equal("the body ends too soon", why(ok .. "Content-Length: 5\r\n\r\nabc"))
    assert.matches("a length that is none", why(ok .. "Content-Length: -5\r\n\r\nabc"))
    assert.matches("a length that is none", why(ok .. "Content-Length: 1\r\nContent-Length: 2\r\n\r\nabc"))
    assert.matches("a length that is none", why(ok .. "Content-Length: 99999999999999999999\r\n\r\nabc"))
    assert.equal("no size of a chunk", why(ok .. "Transfer-Encoding: chunked\r\n\r\nxyz\r\n"))
    assert.equal("no size of a chunk", why(ok .. "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"))
    assert.equal("a chunk that is longer than it says", why(ok .. "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n"))
    assert.matches("not read here: gzip, chunked", why(ok .. "Transfer-Encoding: gzip, chunked\r\n\r\n1\r\nab\r\n"))
    local r = read(ok .. "Transfer-Encoding: chunked\r\n\r\nffffffff\r\n" .. ("x"):rep(2000))
    assert.same({ "EMSGSIZE", 1000 }, { r.error, #r.body })
    assert.same({ "ECONNRESET" }, { message.read(function()
      return nil, "ECONNRESET"
    end, "GET", 1).error })
  end)

  it("is read, or not, whatever is done to it", function()
    math.randomseed(11)
    local whole = { "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n c\r\nTransfer-Encoding: chunked\r\n\r\n"
      .. "5;a\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\nT: 1\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nServer: x\r\n\r\n0123456789" }
    local good, bad = 0, 0
    for _ = 1, 20000 do
      local text = whole[math.random(2)]
      local bytes = { text:byte(1, math.random(4) == 1 and math.random(#text) or #text) }
      for _ = 1, math.random(0, 4) do
        bytes[math.random(#bytes)] = math.random(3) == 1 and ("\r\n:0 ,"):byte(math.random(6)) or math.random(0, 255)
      end
      text = string.char(table.unpack(bytes))
      local cut = math.random(0, #text)
      local r = message.read(source { text:sub(1, cut) ~= "" and text:sub(1, cut) or nil, text:sub(cut + 1) }, "GET", 12)
      assert.is_true(#r.body <= 12)
      if r.error then
        bad = bad + 1
        assert.is_true(r.error == "EBADMSG" or r.error == "EMSGSIZE")
      else
        good = good + 1
      end
    end
    assert.is_true(good > 1000 and bad > 1000, good .. " " .. bad)
  end)
end)

describe("ns.probe", function()
  it("is the methods of every handle of a network namespace, and says so where Lua is too old", function()
    for _, name in ipairs { "ping", "tcp", "udp", "trace", "path_mtu", "resolve", "http" } do
      local here <close> = ns.netns.current()
      assert.equal("function", type(here[name]), name)
      assert.equal("function", type(ns.probe.methods[name]))
      assert.has_error(function()
        here[name](12)
      end)
    end
  end)
end)

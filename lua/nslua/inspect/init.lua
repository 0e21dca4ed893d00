-- What inspect knows that others need too: the messages of its protocols, the headers of packets, and what can be seen of a namespace.

return setmetatable({ dns = require "nslua.inspect.dns", headers = require "nslua.inspect.capture.headers" }, {
  __index = function(t, key)
    if key == "look" then -- when first asked for: it takes much
      t.look = require "nslua.inspect.look"
      return t.look
    end
  end,
})

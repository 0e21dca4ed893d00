-- What inspect knows that others need too: the messages of its protocols, and the headers of packets.

return { dns = require "nslua.inspect.dns", headers = require "nslua.inspect.capture.headers" }

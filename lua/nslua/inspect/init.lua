-- What inspect knows that others need too: the messages of its protocols.

return { dns = require "nslua.inspect.dns" }

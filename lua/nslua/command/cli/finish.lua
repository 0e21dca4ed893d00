-- How a command that stands for its program ends: with the program's exit status, or of the signal that ended it.

local host = require "nslua.host"
local owned = require "nslua.owned"

---@param result nslua.Result
---@return integer status  for the command to return
return function(result)
  if result.signal then
    local signal = owned.signal_number("finish", result.signal)
    host.die_of(signal)
    return 128 + signal
  end
  return result.status or 1
end

-- The method of handles: a:capture{ file = "x.pcapng" }.

local M = {}

---Capture packets of this namespace's interfaces, into a file or as values. It runs in a process of its own until `stop`, `close`, or the end of
---the script.
---@param options? nslua.CaptureOptions
---@return nslua.Capture
function M:capture(options)
  return require("nslua.inspect.capture").many({ self }, options)
end

return M

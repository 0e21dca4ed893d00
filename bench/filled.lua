-- Memory that is used: pages which a virtual machine has from its host already cost what they do elsewhere.

---Write a file of so many megabytes, half of the memory that is free at the most.
---@param path string  in memory: below /dev/shm
---@param megabytes integer
return function(path, megabytes)
  local meminfo <close> = assert(io.open "/proc/meminfo")
  local free = tonumber(meminfo:read "a":match "MemAvailable:%s*(%d+) kB")
  local file <close> = assert(io.open(path, "w"))
  local some = ("\0"):rep(1 << 20)
  for _ = 1, math.min(megabytes, free // 2048) do
    if not file:write(some) then
      return -- no more has room there
    end
  end
end

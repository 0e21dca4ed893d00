-- Two on a segment have one link-layer address: the bridge sends to whoever spoke last.

local function fresh(address, salt)
  return ("02:%s:%02x"):format(address:sub(4, 14), (tonumber(address:sub(16, 17), 16) ~ 0x80 ~ salt) & 0xff)
end

return {
  name = "duplicate_mac",
  why = "A bridge learns behind which port an address is. Where two have the same, as cloned machines do, it sends to whoever spoke last.",
  run = function(target, report)
    for _, link in ipairs(target.links) do
      if link.name ~= "lo" and not link.master and target:addresses_of(link)[1] and not target:parted(link) then
        for i, each in ipairs(target:segment(link)) do
          if i > 1 and each.space ~= target and each.link.address == link.address and each.space:addresses_of(each.link)[1] then
            report:found { problem = ("%s and %s have one link-layer address"):format(target.title, each.space.title), sure = 0.94,
              evidence = { ("%s of %s on this segment has %s too (rtnetlink link)"):format(each.link.name, each.space.title, link.address) },
              fix = ("ip link set dev %s address %s"):format(link.name, fresh(link.address, link.index)) }
            break
          end
        end
      end
    end
  end,
}

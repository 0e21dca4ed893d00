-- xfrm: a link whose packets go through the IPsec policies and states of its `if_id`. linux/if_link.h, ip-link(8).
return {
  kind = "xfrm",
  header = "linux/if_link.h",
  prefix = "IFLA_XFRM_",
  attributes = [[
    1  LINK              dev_index  u32
    2  IF_ID             if_id      u32
    3  COLLECT_METADATA  external   flag
  ]],
  dev = { dev = "dev_index" },
  whole = true,
}

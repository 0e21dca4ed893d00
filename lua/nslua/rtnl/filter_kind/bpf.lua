-- bpf: a program decides. tc-bpf(8). `fd`: of a loaded program; `ops`: one in classic bytecode, { { code, jt, jf, k }, ... }.

local errors = require "nslua.error"
local schema = require "nslua.schema"

schema.struct("tc_sock_filter", { c = "struct sock_filter", header = "linux/filter.h", prefix = "" }, [[ code u16  jt u8  jf u8  k u32 ]])

local DIRECT = 1 -- TCA_BPF_FLAG_ACT_DIRECT

return {
  kind = "bpf",
  header = "linux/pkt_cls.h",
  prefix = "TCA_BPF_",
  attributes = [[
    1   ACT        action     list(nest(tc_action))
    2   POLICE     police     bin
    3   CLASSID    classid    u32
    4   OPS_LEN    ops_len    u16
    5   OPS        ops        array(struct(tc_sock_filter))
    6   FD         fd         u32
    7   NAME       name       strz
    8   FLAGS      bpf_flags  u32
    9   FLAGS_GEN  flags      u32
    10  TAG        tag        bin
    11  ID         id         u32
  ]],
  words = { fd = "any", name = "any", ops = "any", direct_action = "boolean", tag = "any", id = "count" },
  only_read = { tag = true, id = true },
  untold = { fd = true },
  write = function(data, call)
    local fd, ops = data.fd, data.ops
    if (fd == nil) == (ops == nil) then
      errors.misuse("%s: bpf: one of fd (of a loaded program) and ops (classic bytecode) is needed", call)
    end
    if ops then
      if type(ops) ~= "table" then
        errors.misuse("%s: bpf: ops must be a list of { code, jt, jf, k }, got %s", call, type(ops))
      end
      data.ops = {}
      for i, op in ipairs(ops) do
        data.ops[i] = { code = op[1] or op.code, jt = op[2] or op.jt, jf = op[3] or op.jf, k = op[4] or op.k }
      end
      data.ops_len = #data.ops
    elseif type(fd) ~= "number" then
      data.fd = fd.number and fd:number() or errors.misuse("%s: bpf: fd must be a number, got %s", call, type(fd))
    end
    data.bpf_flags, data.direct_action = data.direct_action and DIRECT or nil, nil
  end,
  read = function(data)
    data.direct_action = (data.bpf_flags or 0) % 2 == DIRECT
    if data.ops then
      local ops = {}
      for i, op in ipairs(data.ops) do
        ops[i] = { op.code, op.jt, op.jf, op.k }
      end
      data.ops = ops
    end
    if data.tag then
      data.tag = data.tag:gsub(".", function(c)
        return ("%02x"):format(c:byte())
      end)
    end
  end,
}

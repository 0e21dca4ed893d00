-- nlctrl: the family that knows the others, by name: their numbers, commands, multicast groups and what they accept. linux/genetlink.h

local declare = require "nslua.genl.declare"

return declare.family {
  name = "nlctrl", id = 16, version = 2, header = "linux/genetlink.h", prefix = "CTRL_CMD_",
  flags = { op_flags = { prefix = "GENL_", c = { admin_perm = "GENL_ADMIN_PERM", dump = "GENL_CMD_CAP_DUMP", do_ = "GENL_CMD_CAP_DO",
    policy = "GENL_CMD_CAP_HASPOL", uns_admin_perm = "GENL_UNS_ADMIN_PERM" }, "admin_perm do_ dump policy uns_admin_perm" } },
  enums = { attr_type = { header = "linux/netlink.h", prefix = "NL_ATTR_TYPE_", c = { sint = false, uint = false },
    "invalid flag u8 u16 u32 u64 s8 s16 s32 s64 binary string nul_string nested nested_array bitfield32 sint uint" } },
  sets = {
    family = { prefix = "CTRL_ATTR_", [[
      1   FAMILY_ID     family_id     u16
      2   FAMILY_NAME   family_name   strz
      3   VERSION       version       u32
      4   HDRSIZE       hdrsize       u32
      5   MAXATTR       maxattr       u32
      6   OPS           ops           list(nest(op))
      7   MCAST_GROUPS  mcast_groups  list(nest(mcast_group))
      8   POLICY        policy        indexed(indexed(nest(policy)))   -- number of a policy -> attribute -> what it accepts
      9   OP_POLICY     op_policy     indexed(nest(op_policy))         -- command -> numbers of its policies
      10  OP            op            u32
    ]] },
    op = { prefix = "CTRL_ATTR_OP_", [[
      1   ID            id            u32
      2   FLAGS         flags         u32:flags(op_flags)
    ]] },
    mcast_group = { prefix = "CTRL_ATTR_MCAST_GRP_", [[
      1   NAME          name          strz
      2   ID            id            u32
    ]] },
    op_policy = { prefix = "CTRL_ATTR_POLICY_", [[
      1   DO            do_           u32
      2   DUMP          dump          u32
    ]] },
    policy = { header = "linux/netlink.h", prefix = "NL_POLICY_TYPE_ATTR_", [[
      1   TYPE              type              u32:enum(attr_type)
      2   MIN_VALUE_S       min_value_s       s64
      3   MAX_VALUE_S       max_value_s       s64
      4   MIN_VALUE_U       min_value_u       u64
      5   MAX_VALUE_U       max_value_u       u64
      6   MIN_LENGTH        min_length        u32
      7   MAX_LENGTH        max_length        u32
      8   POLICY_IDX        policy_idx        u32
      9   POLICY_MAXTYPE    policy_maxtype    u32
      10  BITFIELD32_MASK   bitfield32_mask   u32
      11  PAD               -                 pad
      12  MASK              mask              u64
    ]] },
  },
  commands = {
    newfamily = { 1, "family" },
    delfamily = { 2, "family" },
    getfamily = { 3, "family", reply = "family", dump = true },
    newmcast_grp = { 7, "family" },
    delmcast_grp = { 8, "family" },
    getpolicy = { 10, "family", reply = "family", dump = true },
  },
  groups = { "notify" },
  detail = { "family_name", "family_id" },
}

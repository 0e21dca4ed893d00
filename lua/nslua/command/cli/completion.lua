-- The completion of words for bash, made of the commands' declarations.

local command = require "nslua.command"

-- What completes a kind of value; anything else is a word list.
local kinds = {
  file = '$(compgen -f -- "$cur")',
  dir = '$(compgen -d -- "$cur")',
  program = '$(compgen -c -- "$cur")',
  netns = '$(compgen -W "$(ls /run/netns 2>/dev/null)" -- "$cur")',
  command = '$(compgen -W "$(nslua help --list)" -- "$cur")',
  pid = '$(compgen -W "$(cd /proc && echo [0-9]*)" -- "$cur")',
}

local function quote(words)
  return "'" .. table.concat(words, " "):gsub("'", "'\\''") .. "'"
end

local function reply(kind)
  if type(kind) == "table" then
    return ('COMPREPLY=($(compgen -W %s -- "$cur"))'):format(quote(kind))
  end
  return ("COMPREPLY=(%s)"):format(kinds[kind] or "")
end

-- Cases of a command: the values of options, then the options, then operands.
local function cases(out, declaration)
  local function add(...)
    out[#out + 1] = (...):format(select(2, ...))
  end
  local all, values = {}, {}
  for _, option in ipairs(declaration) do
    if type(option) == "table" then
      local names = {}
      if option[1] then
        names[#names + 1] = "-" .. option[1]
      end
      if option[2] then
        names[#names + 1] = "--" .. option[2]
      end
      for _, name in ipairs(names) do
        all[#all + 1] = name
      end
      if option.arg then
        values[#values + 1] = { names = names, optional = option.optional, kind = option.words or option.arg }
      end
    end
  end
  add("  %s)", declaration.name)
  add "    case $prev in"
  for _, value in ipairs(values) do
    local long = value.names[#value.names]
    local names = value.optional and {} or value.names -- an optional one is written to its option
    if long:sub(1, 2) == "--" then
      names[#names + 1] = long .. "="
    end
    if names[1] then
      add("      %s) %s; return ;;", table.concat(names, "|"), reply(value.kind))
    end
  end
  add "    esac"
  add "    case $cur in"
  add("      -*) %s; return ;;", reply(all))
  add "    esac"
  if declaration.commands then
    local words = {}
    for _, sub in ipairs(declaration.commands) do
      words[#words + 1] = sub[1]
    end
    add('    case " ${words[*]:2:cword-2} " in')
    for _, sub in ipairs(declaration.commands) do
      if sub.operands then
        add('      *" %s "*) %s; return ;;', sub[1], reply(sub.operands))
      end
    end
    add("    esac")
    add("    %s", reply(words))
  else
    add("    %s", reply(declaration.operands or "file"))
  end
  add "    ;;"
end

---The script for bash: install it as bash-completion/completions/nslua, or source it.
---@return string
return function()
  local all, names = command.all(), {}
  for name, entry in pairs(all) do
    if entry.module then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  local out = {
    "# bash completion of nslua, made by `nslua help --completion bash`",
    "_nslua() {",
    "  local cur prev words cword",
    '  words=("${COMP_WORDS[@]}") cword=$COMP_CWORD cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}',
    "  # --option=value comes as three words",
    "  if [[ $cur == = ]]; then prev=$prev= cur=; elif [[ $prev == = ]]; then prev=${words[cword-2]}=; fi",
    "  COMPREPLY=()",
    "  if ((cword == 1)); then",
    ('    COMPREPLY=($(compgen -W "$(nslua help --list 2>/dev/null || echo %s)" -- "$cur") $(compgen -f -X \'!*.lua\' -- "$cur"))'):format(
      table.concat(names, " ")),
    "    return",
    "  fi",
    "  case ${words[1]} in",
  }
  for _, name in ipairs(names) do
    local declaration = command.declaration(all[name])
    if declaration then
      cases(out, declaration)
    end
  end
  out[#out + 1] = "  *) COMPREPLY=($(compgen -f -- \"$cur\")) ;;"
  out[#out + 1] = "  esac"
  out[#out + 1] = "}"
  out[#out + 1] = "complete -o filenames -F _nslua nslua"
  return table.concat(out, "\n") .. "\n"
end

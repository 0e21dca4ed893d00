-- The completion of words for bash, made of the commands' declarations.

local command = require "nslua.command"

-- What completes a kind of value, a line each; anything else is a word list.
local kinds = {
  file = 'compgen -f -- "$cur"',
  dir = 'compgen -d -- "$cur"',
  program = 'compgen -c -- "$cur"',
  netns = 'compgen -W "$(ls /run/netns 2>/dev/null)" -- "$cur"',
  command = 'compgen -W "$(nslua help --list)" -- "$cur"',
  pid = 'compgen -W "$(cd /proc && echo [0-9]*)" -- "$cur"',
  signame = 'compgen -A signal -- "$cur"',
  ["uid|name"] = 'compgen -u -- "$cur"',
  ["gid|name"] = 'compgen -g -- "$cur"',
  lab = 'compgen -W "$(nslua lab list -q 2>/dev/null)" -- "$cur"',
  schema = 'compgen -W "$(nslua schema -n | cut -d" " -f1)" -- "$cur"',
}

local function quote(words)
  return "'" .. table.concat(words, " "):gsub("'", "'\\''") .. "'"
end

-- A name with blanks is one answer.
local function reply(kind)
  local by = type(kind) == "table" and ('compgen -W %s -- "$cur"'):format(quote(kind)) or kinds[kind]
  return by and ("mapfile -t COMPREPLY < <(%s)"):format(by) or ":"
end

-- Of a command whose first operand is a program: which words are options, so that the program's own words are left to the program.
local function program_words(out, letters, long)
  out[#out + 1] = ([==[
    local i=2
    while ((i < cword)); do
      case ${words[i]} in
        --) ((i++)); break ;;
        %s) [[ ${words[i+1]} == = ]] && ((i+=3)) || ((i+=2)) ;;
        --*) [[ ${words[i+1]} == = ]] && ((i+=3)) || ((i++)) ;;
        -?*) [[ ${words[i]} =~ %s ]] && ((i+=2)) || ((i++)) ;;
        *) break ;;
      esac
    done
    if ((i < cword)); then
      if declare -F _command_offset >/dev/null; then _command_offset $i; else %s; fi
      return
    fi]==]):format(table.concat(long, "|"), letters, reply "file")
end

-- Cases of a command: the values of options, then the options, then operands.
local function cases(out, declaration)
  local function add(...)
    out[#out + 1] = (...):format(select(2, ...))
  end
  local all, values, flags, letters, long = {}, {}, {}, {}, {}
  for _, option in ipairs(declaration) do
    if type(option) == "table" then
      local names = {}
      local takes = option.arg and not option.optional
      if option[1] then
        names[#names + 1] = "-" .. option[1]
        if takes then
          letters[#letters + 1] = option[1]
        elseif not option.attached then
          flags[#flags + 1] = option[1]
        end
      end
      if option[2] then
        names[#names + 1] = "--" .. option[2]
        if takes then
          long[#long + 1] = "--" .. option[2]
        end
      end
      for _, name in ipairs(names) do
        all[#all + 1] = name
      end
      if option.arg then
        values[#values + 1] = { names = names, optional = option.optional, kind = option.words or option.arg }
      end
    end
  end
  -- A letter that takes a value may end a word of several.
  local cluster = ("^-%s(%s)$"):format(flags[1] and "[" .. table.concat(flags) .. "]*" or "", letters[1] and table.concat(letters, "|") or "-")
  add("  %s)", declaration.name)
  if declaration.stop then
    program_words(out, cluster, long)
  end
  add("    [[ $prev =~ %s ]] && prev=-${BASH_REMATCH[1]}", cluster)
  add "    case $prev in"
  for _, value in ipairs(values) do
    local name = value.names[#value.names]
    local names = value.optional and {} or value.names -- an optional one is written to its option
    if name:sub(1, 2) == "--" then
      names[#names + 1] = name .. "="
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
    "  # options of the program itself stand before the command",
    "  local i=1",
    "  while ((i < cword)); do",
    "    case ${words[i]} in",
    "      --trace) [[ ${words[i+1]} == = ]] && ((i += 2)) ;;",
    "      -[eln]) ((i++)) ;;",
    "      -*) ;;",
    "      *) break ;;",
    "    esac",
    "    ((i++))",
    "  done",
    "  if ((i > cword)); then",
    "    case $prev in",
    "      --trace=) mapfile -t COMPREPLY < <(compgen -W all -- \"$cur\"; compgen -f -- \"$cur\") ;;",
    "      -n) " .. reply "netns" .. " ;;",
    "    esac",
    "    return",
    "  fi",
    "  words=(\"${words[0]}\" \"${words[@]:i}\")",
    "  ((cword -= i - 1))",
    "  if ((cword == 1)) && [[ $cur == -* ]]; then",
    "    " .. reply { "-E", "-W", "-e", "-h", "-i", "-l", "-n", "-v", "--help", "--trace", "--version" },
    "    return",
    "  fi",
    "  if ((cword == 1)); then",
    ('    mapfile -t COMPREPLY < <(compgen -W "$(nslua help --list 2>/dev/null || echo %s)" -- "$cur"; compgen -f -X \'!*.lua\' -- "$cur")'):format(
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
  out[#out + 1] = "  *) " .. reply "file" .. " ;;"
  out[#out + 1] = "  esac"
  out[#out + 1] = "}"
  out[#out + 1] = "complete -o filenames -F _nslua nslua"
  return table.concat(out, "\n") .. "\n"
end

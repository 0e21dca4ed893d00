-- Prints doc/nslua.1: build/bin/nslua tools/manpage.lua > doc/nslua.1. The options of commands come from their declarations. mdoc(7)

local command = require "nslua.command"

local out = {}

local function add(line)
  out[#out + 1] = line
end

-- Text as mdoc takes it: no macro at the start of a line, no escape that is not meant.
local function text(s)
  return (s:gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("^([.'])", "\\&%1"))
end

-- A sentence a line, and none longer than 80 bytes.
local function flow(s)
  for sentence in (s:gsub("%s+", " ") .. "\n"):gsub("([.?!:]) (%u)", "%1\n%2"):gmatch "([^\n]+)\n" do
    local line = ""
    for word in sentence:gmatch "%S+" do
      word = text(word)
      if line ~= "" and #line + #word > 78 then
        add(line)
        line = ""
      end
      line = line == "" and (word:find "^%.?$" and "\\&" .. word or word) or line .. " " .. word
    end
    add(line)
  end
end

local function paragraph(s)
  local first = true
  for part in (s .. "\n\n"):gmatch "(.-)\n%s*\n" do
    if part:find "%S" then
      if not first then
        add ".Pp"
      end
      first = false
      flow(part)
    end
  end
end

-- ".It Fl m , Fl \-mount Ns Op = Ns Ar file"
local function item(option)
  local value = ""
  if option.arg then
    value = option.optional and (" Ns Op = Ns Ar %s"):format(text(option.arg)) or " Ar " .. text(option.arg)
  end
  local names = {}
  if option[1] then
    names[#names + 1] = "Fl " .. text(option[1])
  end
  if option[2] then
    names[#names + 1] = "Fl \\-" .. text(option[2])
  end
  add(".It " .. table.concat(names, " , ") .. value)
end

local function section(entry)
  local summary, rest = command.comment(entry)
  add(".Ss nslua " .. entry.name)
  local declaration = command.declaration(entry)
  if declaration then
    flow(declaration.summary)
    add ".Pp"
    add(".D1 nslua " .. entry.name .. " " .. text(declaration.usage))
  else
    flow(summary)
  end
  if rest ~= "" then
    add ".Pp"
    paragraph(rest:gsub("^%s+", ""))
  end
  if declaration then
    if declaration.commands then
      add ".Bl -tag -width Ds"
      for _, sub in ipairs(declaration.commands) do
        add(".It Cm " .. text(sub[1]) .. (sub.usage and " " .. text(sub.usage) or ""))
        paragraph(sub.help)
      end
      add ".El"
    end
    local open
    for _, option in ipairs(declaration) do
      if type(option) == "string" then
        if open then
          add ".El"
          open = false
        end
        add ".Pp"
        add(text(option) .. ":")
      else
        if not open then
          add ".Bl -tag -width Ds"
          open = true
        end
        item(option)
        paragraph(option.help)
      end
    end
    if open then
      add ".El"
    end
    if declaration.notes then
      add ".Pp"
      paragraph(declaration.notes)
    end
  end
end

add [[
.\" Made by tools/manpage.lua.
.Dd November 25, 2026
.Dt NSLUA 1
.Os
.Sh NAME
.Nm nslua
.Nd run Lua recipes for Linux namespaces and networks
.Sh SYNOPSIS
.Nm
.Op Fl E i v W
.Op Fl e Ar stat
.Op Fl l Ar name
.Op Fl n Ar netns
.Op Fl \-trace Ns Op = Ns Ar where
.Op Ar script | command
.Op Ar arguments
.Sh DESCRIPTION
.Nm
runs Lua 5.4 scripts with the global
.Va ns ,
a library for the eight types of Linux namespaces, programs in them,
and the network configuration of the kernel.
What a script made is gone when the script ends.
.Pp
A word with a slash or ending in .lua is a script, and
.Sq -
is a script on standard input; any other word is a command.
Without either, and on a terminal,
.Nm
prompts for statements.
.Pp
The options are:
.Bl -tag -width Ds
.It Fl e Ar stat
Run the text
.Ar stat .
.It Fl l Ar name
Require
.Ar name
into the global of that name;
.Ar global Ns = Ns Ar name
into
.Ar global .
.It Fl n Ar netns
Start in that network namespace: a name in
.Pa /run/netns ,
a path, or
.Li pid:N .
.It Fl i
Prompt when the script has ended.
.It Fl v
Print the version.
.It Fl E
Ignore the environment.
.It Fl W
Turn warnings on.
.It Fl \-trace Ns Op = Ns Ar where
Print every effect on the system as the line of
.Xr ip 8 ,
.Xr unshare 1 ,
.Xr nsenter 1 ,
.Xr mount 8
or
.Xr sysctl 8
that it stands for, with its time and result,
to the file
.Ar where ,
by default to standard error;
.Li all
or
.Sm off
.Li all:\& Ar file
.Sm on
prints what only reads, too.
.Xr sh 1
can run the lines, and builds what the script built when it ended:
what failed, what reads, what no tool has words for,
and what the end of the script undid are comments.
A namespace that has no name gets one there, nslua-PID-X.
.It Fl h
Print a summary of the options.
.El
.Pp
SIGINT, SIGTERM and SIGHUP unwind the script,
so that it closes what it has open, and then
.Nm
dies of the signal; a second one ends it at once.
.Sh COMMANDS
A command is a file
.Ar name Ns .lua
that returns a function of its arguments.
Those that follow are built in;
.Ql nslua help Ar name
prints the same.]]
local all, names = command.all(), {}
for name, entry in pairs(all) do
  if entry.module then
    names[#names + 1] = name
  end
end
table.sort(names)
for _, name in ipairs(names) do
  section(all[name])
end
add [[
.Sh ENVIRONMENT
.Bl -tag -width Ds
.It Ev NSLUA_PATH
Folders, separated by colons, in which commands are looked for first.
.It Ev NSLUA_LUA
A folder whose Lua files are used in place of those in the program.
.It Ev NSLUA_TRACE
As
.Fl \-trace ,
1 for standard error, in programs that use the library, too;
lines go after what the file has.
.It Ev LUA_INIT , LUA_PATH , LUA_CPATH
As in
.Xr lua 1 .
.El
.Sh FILES
.Bl -tag -width Ds
.It Pa ~/.config/nslua/commands
Commands of the user.
.It Pa ~/.nslua_history
Statements of the prompt, where the Lua module readline is installed.
.It Pa /run/netns
Named network namespaces, shared with
.Xr ip-netns 8 .
.It Pa /etc/netns/ Ns Ar name
Files that stand in for those of
.Pa /etc
in programs run in the namespace
.Ar name .
.El
.Sh EXIT STATUS
A script that ends exits 0, or as
.Fn os.exit
says; one that fails prints its error and exits 1.
A command that stands for another program exits as that one does.
.Sh EXAMPLES
Two hosts with a cable between them, and a ping:
.Bd -literal -offset indent
local a <close> = ns.netns.new{ lo = true }
local b <close> = ns.netns.new{ lo = true }
ns.connect(a, b, { "10.0.0.1/24", "10.0.0.2/24" })
print(a:run{ "ping", "\-c1", "10.0.0.2" }.stdout)
.Ed
.Sh SEE ALSO
.Xr lua 1 ,
.Xr nsenter 1 ,
.Xr unshare 1 ,
.Xr namespaces 7 ,
.Xr ip-netns 8 ,
.Xr lsns 8]]
io.write(table.concat(out, "\n"), "\n")

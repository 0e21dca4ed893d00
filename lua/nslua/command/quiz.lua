-- a network that is broken, for you to mend: with hints, and a check of whether it works again
--
-- It builds a lab, breaks it, and says what a user complains of. At the prompt you look and mend, as at that of nslua lab: h1 ip route, h1 ping h2,
-- r1 sh, and Lua. Then `check` sends packets: all that worked before must work again, however you mended it. `hint` tells more each time, `solution`
-- tells all. Leaving takes the lab down. The status is 0 where all was solved, 1 where it was not, 2 for misuse.

local core = require "nslua.core"
local errors = require "nslua.error"
local host = require "nslua.host"
local json = require "nslua.command.list.json"
local ns = require "nslua"
local options = require "nslua.command.cli.options"
local prompt = require "nslua.command.lab.prompt"
local wrap = require "nslua.command.cli.wrap"

local declaration = options.declare {
  name = "quiz", usage = "[options] [<number> | <fault>]", status = 2, summary = "Mend a network that is broken. Without a number a random one.",
  { "l", "list", help = "list what there is, by level; it does not give the answers away" },
  { "L", "level", arg = "level", words = { "easy", "medium", "hard" }, help = "of a random one; hard: two faults at once, where the lab allows" },
  { "s", "seed", arg = "number", help = "the same one for all who say the same number" },
  { "c", "command", arg = "line", many = true, help = "what is typed, in place of what is read; may be said again" },
  { "N", "name", arg = "name", help = "of the lab, for `nslua lab enter`" },
  { "j", "json", help = "at the end a line of JSON for each network: solved, hints, checks, seconds, points; what it says itself goes to stderr" },
  { "q", "quiet", help = "do not draw it, and do not say how it is done" },
  examples = {
    { "nslua quiz", "any one, and a prompt" },
    { "nslua quiz --level hard --seed 7", "for a class: the same for all" },
    { "nslua quiz -c 'h1 ip route add default via 10.0.1.254' -c check --json no_default_route", "an answer, checked" },
  },
}

local HELP = [[
task                   the lab and the complaint again
check                  does all work again? Packets are sent; how it was mended does not matter
hint                   the next hint: each says more, and costs 2 points
solution, give up      what was wrong, why, and what mends it
next                   another network
score                  how it stands
]]

local function say(format, ...)
  io.write(format:format(...), "\n")
end

local function width()
  local _, limit = core.process.winsize(1)
  return math.min(host.is_terminal(1) and limit and limit > 20 and limit or 100, 100)
end

local function paragraph(text, indent)
  io.write(indent, wrap(text, indent, width() - #indent), "\n")
end

local function count(n, word)
  return ("%d %s%s"):format(n, word, n == 1 and "" or "s")
end

local function duration(seconds)
  local s = math.floor(seconds + 0.5)
  return s < 60 and ("%d s"):format(s) or ("%d min %d s"):format(s // 60, s % 60)
end

local function points(quiz)
  local faults = #quiz.faults
  return quiz.solved and math.max(10 * faults - 2 * quiz.hints, 2 * faults) or 0
end

-- What is kept of one that is over, or still played.
local function result(quiz)
  local out = { level = quiz.level, solved = quiz.solved, given_up = quiz.given_up, hints = quiz.hints, checks = quiz.checks, seconds = quiz.seconds,
    points = points(quiz), faults = {}, complaints = quiz.complaints, seed = quiz.seed }
  for i, fault in ipairs(quiz.faults) do
    out.faults[i] = fault.name
  end
  return out
end

local function show_task(quiz, o)
  if not o.quiet then
    io.write(quiz.lab:draw { addresses = true, columns = width() }, "\n")
  end
  io.write(quiz.complaints[2] and "Users complain:\n" or "A user complains:\n")
  for _, complaint in ipairs(quiz.complaints) do
    paragraph(complaint, "  ")
  end
end

local function show_answers(quiz)
  for _, answer in ipairs(quiz:solution()) do
    say("%s on %s: %s.", answer.fault, answer.at, answer.what)
    if answer.why then
      paragraph(answer.why, "  ")
    end
    for _, line in ipairs(answer.mend) do
      say("  mend  %s", line)
    end
  end
end

local function check(quiz)
  local was = quiz.solved
  local ok, left = quiz:check()
  if not ok then
    for i = 1, math.min(#left, 3) do
      say("not yet: %s", left[i])
    end
    return left[4] and say("... and %d more", #left - 3)
  elseif was or quiz.given_up then
    return say "all works again"
  end
  say("Solved, in %s, with %s and %s: %s. It was", duration(quiz.seconds), count(quiz.hints, "hint"), count(quiz.checks, "check"),
    count(points(quiz), "point"))
  show_answers(quiz)
  say "next, or quit?"
end

local function show_score(results)
  local sum, solved = 0, 0
  for i, each in ipairs(results) do
    local how = each.solved and "solved" or each.given_up and "given up" or "open"
    say("%2d  %-6s  %-8s  %-12s %s, %s, %s", i, each.level, how, duration(each.seconds), count(each.hints, "hint"), count(each.checks, "check"),
      count(each.points, "point"))
    sum, solved = sum + each.points, solved + (each.solved and 1 or 0)
  end
  say("%d of %d solved, %s", solved, #results, count(sum, "point"))
end

-- The words of the prompt, for one network.
local function words_for(session, quiz)
  local words = {}
  function words.task()
    show_task(quiz, {})
  end
  function words.check()
    check(quiz)
  end
  function words.hint()
    local text = quiz:hint()
    if text then
      io.write(("hint %d of %d: "):format(quiz.hints, quiz.most), wrap(text, "  ", width() - 14), "\n")
    else
      say "there are no more hints; solution tells all"
    end
  end
  function words.solution()
    show_answers(quiz)
  end
  function words.give(said)
    if said[2] ~= "up" then
      return say "give up? Then: give up"
    end
    show_answers(quiz)
  end
  function words.next()
    session.more = true
    return false
  end
  function words.score()
    session.results[session.round] = result(quiz)
    show_score(session.results)
  end
  function words.help()
    io.write(HELP, prompt.help)
  end
  return words
end

-- One network, until it is left.
local function play(o, session)
  session.round, session.more = session.round + 1, false
  local quiz <close> = ns.lab.quiz { session.round == 1 and o[1] or nil, level = o.level, seed = o.seed and o.seed + session.round - 1, name = o.name,
    except = session.played }
  for _, fault in ipairs(quiz.faults) do
    session.played[fault.name] = true
  end
  show_task(quiz, o)
  if not o.quiet then
    say("Look and mend at this prompt (h1 ip route, h1 ping h2, r1 sh), then: check. Also: hint, solution, task, next, score, help, quit.\n"
      .. "From another terminal: nslua lab enter %s h1", quiz.lab.name)
  end
  io.flush()
  local words = words_for(session, quiz)
  prompt.run(quiz.lab, { prompt = "quiz> ", words = words, lines = session.lines })
  session.results[session.round] = result(quiz)
end

local function list(o)
  local all = ns.lab.quizzes()
  if o.json then
    local out = {}
    for i, each in ipairs(all) do
      out[i] = json.object():add("number", each.number):add("level", each.level):add("theme", each.theme):add("complaint", each.complaint)
    end
    print(json.text(out))
    return 0
  end
  for _, each in ipairs(all) do
    if not o.level or each.level == o.level then
      say("%3d  %-6s  %-10s  %s", each.number, each.level, each.theme, wrap(each.complaint, (" "):rep(25), width() - 25))
    end
  end
  return 0
end

local function print_json(results)
  for _, each in ipairs(results) do
    io.stdout:write(json.text(json.object():add("solved", each.solved):add("given_up", each.given_up):add("level", each.level)
      :add("faults", each.faults):add("complaints", each.complaints):add("seed", each.seed):add("hints", each.hints):add("checks", each.checks)
      :add("seconds", math.floor(each.seconds * 100 + 0.5) / 100):add("points", each.points)), "\n")
  end
end

return function(args)
  return declaration:run(args, function(o)
    if o[2] then
      return declaration:wrong "one number, or one name of a fault"
    elseif o.list then
      return list(o)
    elseif o.seed then
      o.seed = math.tointeger(tonumber(o.seed)) or errors.misuse("--seed takes a number, not '%s'", o.seed)
    end
    local session = { round = 0, results = {}, played = {} }
    local given = o.command and table.move(o.command, 1, #o.command, 1, {})
    session.lines = given and function()
      return table.remove(given, 1)
    end
    if o.json then
      io.output(io.stderr)
    end
    repeat
      play(o, session)
    until not session.more
    io.output(io.stdout)
    local solved = true
    for _, each in ipairs(session.results) do
      solved = solved and each.solved
    end
    if o.json then
      print_json(session.results)
    elseif session.results[2] then
      show_score(session.results)
    end
    return solved and 0 or 1
  end)
end

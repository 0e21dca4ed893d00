-- A lab that is broken, to be mended by whoever learns: what users complain of, hints, and a check of whether it works again.

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local judge = require "nslua.lab.quiz.judge"
local units = require "nslua.units"

local M = {}

---@class nslua.lab.quiz.Exercise
---@field fault string              of lab:fault
---@field lab string
---@field at string                 the node it is made on
---@field level "easy"|"medium"|"hard"
---@field theme string
---@field complaint string          as a user says it
---@field works nslua.lab.quiz.Probe[]  what must work again, and does not while it is broken
---@field hints string[]            each says more
---@field before? fun(lab: nslua.Lab)   what must be there before it is broken
---@field after? fun(lab: nslua.Lab)    what happens once it is
---@field check? string             the doctor's check that explains it (default: the fault's name)
---@field here? boolean            of two that the doctor blames it is this node that is mended
---@field mend? string[]            what is typed, where the doctor has no command

---@type nslua.lab.quiz.Exercise[]
local exercises = {}
for _, group in ipairs {
  require "nslua.lab.quiz.filters",
  require "nslua.lab.quiz.names",
  require "nslua.lab.quiz.nat",
  require "nslua.lab.quiz.paths",
  require "nslua.lab.quiz.services",
  (require "nslua.lab.quiz.switches"),
} do
  for _, each in ipairs(group) do
    exercises[#exercises + 1] = each
  end
end
local levels = { easy = 1, medium = 2, hard = 3 }
-- Numbers tell nothing: within a level the order is that of what is complained of.
table.sort(exercises, function(a, b)
  if a.level ~= b.level then
    return levels[a.level] < levels[b.level]
  elseif a.complaint ~= b.complaint then
    return a.complaint < b.complaint
  end
  return a.fault < b.fault -- two may look alike
end)

---@class nslua.lab.Quiz
---@field lab nslua.Lab
---@field level "easy"|"medium"|"hard"
---@field complaints string[]          one of each fault
---@field faults nslua.lab.Fault[]     the answer
---@field hints integer                that were given
---@field most integer                 hints that there are
---@field checks integer               that were made
---@field solved boolean               a check has found all well, and the solution was not asked for before
---@field given_up boolean
---@field seconds number               until it was solved or given up, or until now
local Quiz = { __name = "nslua.lab.Quiz" }
local methods = {}

function Quiz:__index(key)
  if key == "seconds" then
    return (rawget(self, "ended") or core.fd.clock()) - self.started
  end
  return methods[key]
end

---The next hint; nil where there are no more. Of several faults each gives one in turn.
---@return string?
function methods:hint()
  local at, which = self.hints // #self.exercises + 1, self.hints % #self.exercises + 1
  local text = self.exercises[which].hints[at]
  if text then
    self.hints = self.hints + 1
  end
  return text
end

---Whether all works again: what was complained of, and what else worked before it was broken. Packets are sent; how it was mended does not matter.
---@param options? { timeout: number|string, within: number|string }  of one packet (1), and what a repair may take until it shows (1)
---@return boolean
---@return string[] left  what does not work
function methods:check(options)
  check.options("quiz.check", options or {}, { timeout = "number|string", within = "number|string" })
  options = options or {}
  self.checks = self.checks + 1
  local left = judge.left(self.lab, self.works, self.state, units.duration(options.timeout or 1), units.duration(options.within or 1))
  if not left[1] and not self.given_up and not self.solved then
    self.solved, self.ended = true, core.fd.clock()
  end
  return not left[1], left
end

local function why_of(name)
  for _, each in ipairs(require("nslua").doctor.checks()) do
    if each.name == name then
      return each.why
    end
  end
end

---@class nslua.lab.quiz.Answer
---@field fault string
---@field at string        the node
---@field what string      what it is, in a line
---@field why string?      what it does to traffic, as the doctor tells
---@field mend string[]    what is typed at the prompt of the lab, as far as it is not mended yet

---What was broken, why it matters, and what mends it. It is not solved any more after that, unless it was before.
---@return nslua.lab.quiz.Answer[]
function methods:solution()
  if not self.solved and not self.given_up then
    self.given_up, self.ended = true, core.fd.clock()
  end
  local out, asked = {}, {}
  for _, exercise in ipairs(self.exercises) do
    asked[#asked + 1] = not exercise.mend and (exercise.check or exercise.fault) or nil
  end
  local found = asked[1] and require("nslua").doctor(self.lab, { checks = asked }) or {}
  for i, exercise in ipairs(self.exercises) do
    local name = exercise.check or exercise.fault
    local mend, seen = {}, {}
    for _, line in ipairs(not self.solved and exercise.mend or {}) do
      mend[#mend + 1] = line
    end
    for _, each in ipairs(exercise.mend and {} or found) do
      local fits = each.check == name and each.fix and (not exercise.here or each.place == exercise.at)
      local text = fits and ("%s %s"):format(each.place, each.fix)
      if text and not seen[text] then
        seen[text] = true
        mend[#mend + 1] = text
      end
    end
    out[i] = { fault = exercise.fault, at = exercise.at, what = self.faults[i].why, why = why_of(name), mend = mend }
  end
  return out
end

---@return boolean
function methods:isopen()
  return self.lab:isopen()
end

---Take the lab down.
---@return true
function methods:close()
  return self.lab:close()
end
Quiz.__close = methods.close

function Quiz:__tostring()
  return ("quiz of %d %s, %s"):format(#self.exercises, #self.exercises == 1 and "fault" or "faults",
    self.solved and "solved" or self.given_up and "given up" or "open")
end

-- Numbers from a seed, the same everywhere.
local function draws(seed)
  local state = seed
  return function(n)
    state = state * 6364136223846793005 + 1442695040888963407
    return (state >> 33) % n + 1
  end
end

-- All, or those of a level, in a random order. Hard are also those that can be two at once.
local function candidates(level, draw)
  local list = {}
  for _, each in ipairs(exercises) do
    local fits = not level or each.level == level
    if level == "hard" then
      for _, other in ipairs(exercises) do
        fits = fits or other ~= each and other.lab == each.lab and other.at ~= each.at and not each.after
      end
    end
    list[#list + 1] = fits and each or nil
  end
  for i = #list, 2, -1 do
    local k = draw(i)
    list[i], list[k] = list[k], list[i]
  end
  return list
end

-- One that is somewhere else in the same lab.
local function companion(first, draw)
  for _, each in ipairs(candidates(nil, draw)) do
    local apart = each.at ~= first.at and each.before == first.before and not (each.after or first.after)
    if each.lab == first.lab and apart then
      return each
    end
  end
end

local function named(word)
  local number, known = math.tointeger(tonumber(word)), {}
  for i, each in ipairs(exercises) do
    if each.fault == word or i == number then
      return each
    end
    known[each.fault] = true
  end
  if number then
    errors.misuse("quiz: there is no number %d, the last is %d", number, #exercises)
  end
  if require("nslua").lab.faults()[word] then
    errors.misuse("quiz: nothing is asked about the fault %s", word)
  end
  errors.misuse("quiz: %s", check.unknown("fault", word, known))
end

local function build(list, options, seed)
  local lab = require("nslua").lab(list[1].lab, { name = options.name })
  local self = { lab = lab, exercises = list, level = options.level or list[1].level, seed = seed, complaints = {}, faults = {}, works = {}, most = 0,
    hints = 0, checks = 0, solved = false, given_up = false }
  local ok, e = pcall(function()
    if list[1].before then
      list[1].before(lab)
    end
    self.state = judge.state(lab)
    for i, exercise in ipairs(list) do
      self.complaints[i] = exercise.complaint
      self.faults[i] = lab:fault(exercise.fault, exercise.at)
      if exercise.after then
        exercise.after(lab)
      end
      self.most = self.most + #exercise.hints
      table.move(exercise.works, 1, #exercise.works, #self.works + 1, self.works)
    end
  end)
  if not ok then
    lab:close()
    error(e, 0)
  end
  self.started = core.fd.clock()
  return setmetatable(self, Quiz)
end

---@class nslua.lab.QuizOptions
---@field [1] string|integer?  the fault, or its number in ns.lab.quizzes(); else it is a random one
---@field level? "easy"|"medium"|"hard"  of a random one; hard: two at once, where the lab allows
---@field seed? integer        of the choice
---@field name? string         of the lab
---@field except? table<string, boolean>  faults that are not chosen by chance

---Build a lab and break it: `local q <close> = ns.lab.quiz { level = "easy" }`, then work on `q.lab` until `q:check()`.
---@param options? nslua.lab.QuizOptions|string
---@return nslua.lab.Quiz
function M.new(options)
  options = type(options) == "table" and options or { options }
  check.options("quiz", options, { true, level = "string", seed = "integer", name = "string", except = "table" })
  if options.level and not levels[options.level] then
    errors.misuse("quiz: %s", check.unknown("level", options.level, levels))
  end
  if options[1] then
    return build({ named(options[1]) }, options, options.seed)
  end
  local seed = options.seed or math.floor(core.fd.clock() * 1e6) % 1000000
  local draw, failed = draws(seed), nil
  for _, first in ipairs(candidates(options.level, draw)) do
    if not (options.except or {})[first.fault] then
      local list = { first, options.level == "hard" and companion(first, draw) or nil }
      local ok, quiz = pcall(build, list, options, seed)
      if ok then
        return quiz
      elseif not errors.is(quiz) then
        error(quiz, 0)
      end
      failed = quiz -- this machine cannot: another one
    end
  end
  if failed then
    error(failed, 0)
  end
  errors.misuse "quiz: all there are have been played"
end

---What there is to be asked: numbers, levels, themes and complaints. `fault` is the answer.
---@return { number: integer, level: string, theme: string, complaint: string, fault: string }[]
function M.list()
  local out = {}
  for i, each in ipairs(exercises) do
    out[i] = { number = i, level = each.level, theme = each.theme, complaint = each.complaint, fault = each.fault }
  end
  return out
end

return M
